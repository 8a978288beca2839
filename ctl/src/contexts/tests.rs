//! Tests of contexts: what is found in a file, and what is refused.

use lazarette_core::error::chain;

use super::*;

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("contexts.toml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

const TWO: &str = r#"
current = "admin"
[[contexts]]
name = "admin"
controller = "vault:7443"
credentials_file = "admin.pem"
[[contexts]]
name = "ci"
controller = "[::1]:7443"
credentials_file = "/etc/ci.pem"
"#;

#[test]
fn the_current_context_is_used_and_its_credentials_are_beside_the_file() {
    let (dir, path) = written(TWO);
    let contexts = Contexts::load(&path).unwrap();

    let current = contexts.named(None).unwrap();
    assert_eq!(current.credentials_file, dir.path().join("admin.pem"));
    let ci = contexts.named(Some(&"ci".parse().unwrap())).unwrap();
    assert_eq!(ci.credentials_file, Path::new("/etc/ci.pem"));
}

#[test]
fn an_unknown_context_is_refused_with_those_there_are() {
    let (_dir, path) = written(TWO);
    let error = Contexts::load(&path).unwrap().named(Some(&"x".parse().unwrap())).unwrap_err();
    assert!(error.to_string().ends_with("there are: admin, ci"), "{error}");
}

#[test]
fn every_mistake_in_the_file_is_named_with_its_field() {
    let wrong = TWO.replace("vault:7443", "vault").replace("\"ci\"", "\"../ci\"");
    let wrong =
        wrong.replace("current", "curent").replace("credentials_file = \"/etc", "key = \"/etc");
    let (_dir, path) = written(&wrong);
    let error = chain(&Contexts::load(&path).unwrap_err());
    for part in [
        "curent = \"admin\": is not a key; did you mean `current`?",
        "contexts[0].controller = \"vault\": must be host:port",
        "contexts[1].name = \"../ci\": must be a name",
        "contexts[1].credentials_file: is missing",
        "contexts[1].key = \"/etc/ci.pem\": is not a key",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }

    let (_dir, path) = written("contexts = 3");
    assert!(chain(&Contexts::load(&path).unwrap_err()).contains("[[contexts]]"));
    let (_dir, path) = written("current = ");
    assert!(chain(&Contexts::load(&path).unwrap_err()).contains("line 1"));
}

#[test]
fn the_choice_of_a_context_is_kept() {
    let (_dir, path) = written(TWO);
    let ci: OperatorName = "ci".parse().unwrap();

    Contexts::load(&path).unwrap().choose(&ci).unwrap();

    assert_eq!(Contexts::load(&path).unwrap().named(None).unwrap().name, ci);
}

#[test]
fn credentials_that_others_can_read_are_not_taken_over() {
    let (dir, path) = written(TWO);
    fs::write(dir.path().join("admin.pem"), "x").unwrap();
    let from = Contexts::load(&path).unwrap().named(None).unwrap();
    let mut own = Contexts::load_or_new(&dir.path().join("own/contexts.toml")).unwrap();

    let error = chain(&own.take_over(&from, &from.name).unwrap_err());

    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn a_name_is_not_taken_over_from_another_controller() {
    let (_dir, path) = written(TWO);
    let mut contexts = Contexts::load(&path).unwrap();
    let ci = contexts.named(Some(&"ci".parse().unwrap())).unwrap();

    let error = contexts.take_over(&ci, &"admin".parse().unwrap()).unwrap_err();

    assert!(matches!(error, ContextsError::Taken { .. }), "{error}");
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_home() {
    let home = Surroundings { config_home: Some("/home/a/.config".into()), ..Default::default() };
    let both = Surroundings { contexts_file: Some("/env.toml".into()), ..home.clone() };

    assert_eq!(path(Some(Path::new("/x")), &both).unwrap(), Path::new("/x"));
    assert_eq!(path(None, &both).unwrap(), Path::new("/env.toml"));
    let usual = path(None, &home).unwrap();
    assert_eq!(usual, Path::new("/home/a/.config/lazarette/contexts.toml"));
    assert!(path(None, &Surroundings::default()).is_err());
}
