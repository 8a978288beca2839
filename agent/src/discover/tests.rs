//! Tests of discovery, on documents as a real Engine (20.10) gave them.

use lazarette_core::{
    component::ComponentKind,
    plan::BackupPlan,
    stack::{ContainerSeen, ContainerState, Origin, Part},
};

use super::*;

const CONTAINERS: &str = include_str!("testdata/containers.ndjson");
const VOLUMES: &str = include_str!("testdata/volumes.ndjson");
const IMAGES: &str = include_str!("testdata/images.ndjson");

fn documents<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn found() -> Found {
    let images: Vec<ImageInspect> = documents(IMAGES);
    Found {
        containers: documents(CONTAINERS),
        volumes: documents(VOLUMES),
        images: images.into_iter().map(|it| (it.id.clone().unwrap(), it)).collect(),
    }
}

/// The machine that the documents are of.
fn ground() -> Ground {
    let place = |path: &str, kind| (path.to_owned(), Place { kind, resolved: Some(path.into()) });
    let files = ProjectFiles {
        root: "/srv/shop".to_owned(),
        paths: vec![".env".to_owned(), "compose.yml".to_owned()],
        warnings: vec!["env_file of app `app.env` is missing".to_owned()],
    };
    Ground {
        files: BTreeMap::from([("shop".parse().unwrap(), files)]),
        places: BTreeMap::from([
            place("/srv/shop", PlaceKind::Directory),
            place("/srv/shop/uploads", PlaceKind::Directory),
            place("/mnt/media", PlaceKind::Directory),
            place("/etc/hostname", PlaceKind::File),
            place("/run/docker.sock", PlaceKind::Socket),
        ]),
        servers: BTreeMap::new(),
    }
}

fn policy(extra_paths: &str) -> Policy {
    let text = format!("allow_backup = true\nallow_restore = true\nextra_paths = [{extra_paths}]");
    Policy::parse(std::path::Path::new("/etc/p.toml"), &text).unwrap()
}

fn seen(found: &Found, ground: &Ground, policy: &Policy) -> BTreeMap<String, StackSeen> {
    let stacks = propose(found, ground, policy).into_iter().map(Proposal::unmeasured);
    stacks.map(|stack| (stack.name.to_string(), stack)).collect()
}

fn stacks() -> BTreeMap<String, StackSeen> {
    seen(&found(), &ground(), &policy(""))
}

fn names(stack: &StackSeen) -> Vec<&str> {
    stack.components.iter().map(|it| it.name.as_str()).collect()
}

fn why<'a>(stack: &'a StackSeen, what: &str) -> &'a str {
    let found = stack.uncovered.iter().find(|it| it.what.starts_with(what));
    &found.unwrap_or_else(|| panic!("{what}: {:?}", stack.uncovered)).why
}

fn container<'a>(stack: &'a StackSeen, name: &str) -> &'a ContainerSeen {
    stack.container(name).unwrap()
}

#[test]
fn compose_projects_and_lone_containers_are_stacks() {
    let stacks = stacks();

    let all: Vec<_> = stacks.keys().map(String::as_str).collect();
    assert_eq!(all, ["fleeting", "hostile", "lone-pg", "shop", "watchtower"]);
    let Origin::Compose { working_dir, config_files } = &stacks["shop"].origin else {
        panic!("{:?}", stacks["shop"].origin)
    };
    assert_eq!(working_dir.as_deref(), Some("/srv/shop"));
    assert_eq!(config_files, &["/srv/shop/compose.yml"]);
    assert_eq!(stacks["lone-pg"].origin, Origin::Container);
    assert_eq!(names(&stacks["lone-pg"]), ["definition", "postgres/lone-pg"]);
}

#[test]
fn h11_named_volumes_and_binds_under_the_project_are_saved_and_others_told() {
    let stacks = stacks();
    let shop = &stacks["shop"];

    assert_eq!(
        names(shop),
        [
            "bind/uploads",
            "definition",
            "files",
            "postgres/db",
            "volume/data",
            "volume/old",
            "volume/outer"
        ]
    );
    let uploads = &shop.components[0].kind;
    let mounted_by = vec!["shop-app-1".to_owned(), "shop-sidecar-1".to_owned()];
    let path = "/srv/shop/uploads".to_owned();
    assert_eq!(*uploads, ComponentKind::Bind { path, mounted_by });
    assert!(why(shop, "volume/wiki_pages").contains("belongs to the project `wiki`"));
    assert!(why(shop, "volume/linked").contains("`/mnt/media` by its options"));
    assert!(why(shop, "volume/shop_cache").contains("can be computed again"));
    assert!(why(shop, "bind /mnt/media").contains("outside of the project"));
    assert!(why(shop, "bind /run/docker.sock").contains("socket"));
    assert!(why(shop, "bind /etc/hostname").contains("host's own system"));
    let anonymous = shop.uncovered.iter().find(|it| it.why.contains("anonymous"));
    assert!(anonymous.unwrap().why.contains("/anonymous"));
    assert!(shop.warnings.iter().any(|it| it.contains("app.env")), "{:?}", shop.warnings);
}

#[test]
fn h10_a_database_answers_for_the_volume_or_path_that_holds_its_data() {
    let stacks = stacks();

    assert_eq!(why(&stacks["shop"], "volume/shop_pgdata"), "covered by postgres/db");
    assert_eq!(why(&stacks["lone-pg"], "bind /srv/shop/data/pg"), "covered by postgres/lone-pg");
    assert_eq!(container(&stacks["shop"], "shop-db-1").part, Part::Database);
    let ComponentKind::Database { driver, container, .. } = &stacks["shop"].components[3].kind
    else {
        panic!("{:?}", stacks["shop"].components)
    };
    assert_eq!((driver.as_str(), container.as_str()), ("postgres", "shop-db-1"));
}

#[test]
fn h12_labels_of_the_image_are_ignored_and_named() {
    let hostile = &stacks()["hostile"];

    assert_eq!(hostile.origin, Origin::Container);
    assert_eq!(hostile.containers[0].service, "hostile");
    for label in ["com.docker.compose.project`", "working_dir", "lazarette.exclude"] {
        let told = hostile.warnings.iter().any(|it| it.contains(label) && it.contains("image"));
        assert!(told, "{label}: {:?}", hostile.warnings);
    }
}

#[test]
fn h12_a_link_out_of_the_project_is_outside_and_the_policy_can_allow_paths() {
    let mut ground = ground();
    let uploads = ground.places.get_mut("/srv/shop/uploads").unwrap();
    uploads.resolved = Some("/root/.ssh".into());

    let shop = &seen(&found(), &ground, &policy("'/mnt/media'"))["shop"];

    assert!(why(shop, "bind /srv/shop/uploads").contains("outside of the project"));
    assert!(names(shop).contains(&"bind/mnt-media"), "{:?}", names(shop));
}

#[test]
fn h13_h20_what_may_not_be_stopped_is_refused_with_the_way_out() {
    let stacks = stacks();

    assert!(stacks["fleeting"].refusals.concat().contains("run it without --rm"));
    let shop = &stacks["shop"];
    assert_eq!(shop.refusals.len(), 1, "{:?}", shop.refusals);
    assert!(shop.refusals[0].contains("`shop-app-run-1a2b` runs: wait for its end"));

    let mut found = found();
    found.containers.retain(|it| it.name.as_deref() != Some("/shop-app-run-1a2b"));
    let shop = &seen(&found, &ground(), &policy(""))["shop"];
    assert_eq!(shop.refusals, [""; 0]);
}

#[test]
fn h19_needs_are_services_and_shared_namespaces_and_volumes() {
    let stacks = stacks();
    let shop = &stacks["shop"];

    let needs = |name: &str| container(shop, name).needs.join(" ");
    assert_eq!(needs("shop-app-1"), "shop-db-1 shop-migrate-1");
    assert_eq!(needs("shop-sidecar-1"), "shop-app-1");
    assert_eq!(needs("shop-db-1"), "");
}

#[test]
fn h20_one_shots_are_told_apart_and_disturbers_named() {
    let stacks = stacks();
    let shop = &stacks["shop"];

    assert_eq!(container(shop, "shop-migrate-1").part, Part::OneShot);
    assert_eq!(container(shop, "shop-migrate-1").state, ContainerState::Stopped);
    let database = container(shop, "shop-db-1");
    assert!(database.has_health_check && database.stop_timeout_seconds == 60);
    assert_eq!(container(shop, "shop-app-1").stop_timeout_seconds, 10);
    assert!(shop.warnings.iter().any(|it| it.contains("`watchtower` may restart")));
    assert_eq!(stacks["watchtower"].warnings, [""; 0]);
}

#[test]
fn labels_exclude_include_and_name() {
    let mut found = found();
    let label = |container: &mut ContainerInspectResponse, key: &str, value: &str| {
        let config = container.config.as_mut().unwrap();
        config.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    };
    for it in &mut found.containers {
        match it.name.as_deref() {
            Some("/shop-db-1") => label(it, labels::EXCLUDE, "a replica"),
            Some("/lone-pg") => label(it, labels::NAME, "ledger"),
            Some("/shop-app-1") => {
                label(it, labels::INCLUDE, "true");
                label(it, "lazarette.label.tier", "gold");
            }
            _ => {}
        }
    }

    let stacks = seen(&found, &ground(), &policy(""));

    assert!(names(&stacks["lone-pg"]).contains(&"postgres/ledger"));
    let shop = &stacks["shop"];
    assert_eq!(shop.labels.get("tier").map(String::as_str), Some("gold"));
    assert_eq!(why(shop, "postgres/db"), "excluded by a label: a replica");
    assert_eq!(why(shop, "volume/shop_pgdata"), "excluded by a label: a replica");
    let volumes = names(shop).iter().filter(|it| it.starts_with("volume/")).count();
    assert_eq!(volumes, 5, "{:?}", names(shop));
}

#[test]
fn h10_where_a_server_says_its_data_is_counts_too() {
    let mut ground = ground();
    let server = Server {
        version: "17.2".to_owned(),
        notes: vec!["shop: beside".to_owned()],
        data_dirs: vec!["/linked/tablespace".to_owned(), "/var/lib/postgresql/data".to_owned()],
        silent: String::new(),
    };
    ground.servers.insert("shop-db-1".to_owned(), server);
    let silent = Server { silent: "no connection".to_owned(), ..Server::default() };
    ground.servers.insert("lone-pg".to_owned(), silent);

    let stacks = seen(&found(), &ground, &policy(""));

    let ComponentKind::Database { version, notes, .. } = &stacks["shop"].components[3].kind else {
        panic!("{:?}", stacks["shop"].components)
    };
    assert_eq!((version.as_str(), notes.concat().as_str()), ("17.2", "shop: beside"));
    assert!(stacks["lone-pg"].warnings.concat().contains("cannot be asked: no connection"));
}

#[test]
fn what_is_proposed_can_be_planned() {
    let mut found = found();
    found.containers.retain(|it| it.name.as_deref() != Some("/shop-app-run-1a2b"));
    let shop = &seen(&found, &ground(), &policy(""))["shop"];

    let plan = BackupPlan::of(shop, &[], 60).unwrap();

    assert_eq!(plan.stop, [["shop-sidecar-1"], ["shop-app-1"]]);
    assert_eq!(plan.components[0].name.as_str(), "postgres/db");
}
