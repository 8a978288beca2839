//! Definition: all that is needed to create a stack's containers, networks and volumes again.

mod canonical;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use lazarette_core::{
    definition::StackDefinition,
    error::{Reason, ReasonedError as _},
    evidence::{Evidence, Fact},
    name::StackName,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::canonical::canonical;
use crate::{
    discover::containers_of,
    docker::{Docker, DockerError, Noun},
    driver::{Cx, Driver, DriverError, Inspection},
    sink::Sink,
    source::Source,
};

/// The file that holds the definition in a snapshot.
const FILE: &str = "definition.json";

/// The format of the document that is written.
const FORMAT: u32 = 1;

/// Networks that every Engine has.
const BUILT_IN: [&str; 3] = ["bridge", "host", "none"];

/// What Compose writes on what belongs to a project.
const PROJECT: &str = "com.docker.compose.project";

/// The driver of definitions.
///
/// A definition is for people, and for a host that has nothing of the stack yet. Where the stack is
/// there its containers are its definition: a restore in place leaves it out, and all that belongs
/// to one does nothing here.
#[derive(Debug)]
pub struct Definition;

#[async_trait]
impl Driver for Definition {
    fn word(&self) -> &'static str {
        "definition"
    }

    async fn inspect(&self, _cx: &Cx<'_>) -> Result<Inspection, DriverError> {
        Ok(Inspection::default())
    }

    async fn dump(&self, cx: &Cx<'_>, sink: &mut Sink) -> Result<Evidence, DriverError> {
        let doing = || format!("read the definition of stack `{}`", cx.stack);
        let read = read(cx.docker, cx.stack).await;
        let definition = read.map_err(|it| DriverError::new(it.reason(), doing(), it))?;
        if definition.containers.is_empty() {
            return Err(DriverError::new(
                Reason::ContainerGone,
                doing(),
                "it has no containers any more",
            ));
        }
        let text = serde_json::to_string_pretty(&definition)
            .map_err(|it| DriverError::new(Reason::Internal, doing(), it))?;
        sink.put_text(FILE, text).await?;
        Ok(evidence(&definition))
    }

    async fn restore(&self, _cx: &Cx<'_>, _source: &mut Source) -> Result<(), DriverError> {
        Ok(())
    }

    /// What was saved: nothing was put beside that could differ.
    async fn verify(&self, _cx: &Cx<'_>, saved: &Evidence) -> Result<Evidence, DriverError> {
        Ok(saved.clone())
    }

    async fn swap(&self, _cx: &Cx<'_>) -> Result<(), DriverError> {
        Ok(())
    }

    async fn undo(&self, _cx: &Cx<'_>) -> Result<(), DriverError> {
        Ok(())
    }

    async fn accept(&self, _cx: &Cx<'_>) -> Result<(), DriverError> {
        Ok(())
    }
}

/// Reads what the Engine knows of `stack`.
///
/// # Errors
///
/// [`DockerError::Gone`] when something of it went away meanwhile.
pub async fn read(docker: &Docker, stack: &StackName) -> Result<StackDefinition, DockerError> {
    let version = docker.version().await?;
    let mut containers = Vec::new();
    for id in containers_of(docker, stack).await? {
        containers.push(docker.document(Noun::Container, &id).await?);
    }
    let projects: BTreeSet<&str> = containers
        .iter()
        .filter_map(|it| it.pointer("/Config/Labels")?.get(PROJECT)?.as_str())
        .collect();
    let is_own = |project: Option<&String>| project.is_some_and(|it| projects.contains(&**it));

    let mut networks = names(&containers, network_names);
    for network in docker.networks().await? {
        if is_own(network.labels.as_ref().and_then(|it| it.get(PROJECT))) {
            networks.extend(network.name);
        }
    }
    networks.retain(|name| !BUILT_IN.contains(&name.as_str()));
    let mut volumes = names(&containers, volume_names);
    for volume in docker.volumes().await? {
        if is_own(volume.labels.get(PROJECT)) {
            volumes.insert(volume.name);
        }
    }
    let images = names(&containers, |it| it.get("Image").into_iter().collect());
    Ok(StackDefinition {
        format: FORMAT,
        engine_version: version.engine,
        api_version: version.api,
        architecture: std::env::consts::ARCH.to_owned(),
        networks: documents(docker, Noun::Network, &networks).await?,
        volumes: documents(docker, Noun::Volume, &volumes).await?,
        images: documents(docker, Noun::Image, &images).await?,
        containers,
    })
}

/// What was counted: how many of each there are, and a hash of all that somebody wrote.
pub fn evidence(definition: &StackDefinition) -> Evidence {
    let mut evidence = Evidence::default();
    let mut hash = Sha256::new();
    let all = [
        ("containers", Noun::Container, &definition.containers),
        ("networks", Noun::Network, &definition.networks),
        ("volumes", Noun::Volume, &definition.volumes),
        ("images", Noun::Image, &definition.images),
    ];
    for (what, noun, documents) in all {
        let count = u64::try_from(documents.len()).unwrap_or(u64::MAX);
        evidence.insert(what, Fact::Count(count));
        let mut lines: Vec<String> = documents.iter().map(|it| canonical(noun, it)).collect();
        lines.sort_unstable();
        hash.update(format!("{what}\n{}\n", lines.join("\n")));
    }
    evidence.insert("sha256", Fact::Text(hex::encode(hash.finalize())));
    evidence
}

/// Names that documents of containers hold.
fn names(documents: &[Value], of: impl Fn(&Value) -> Vec<&Value>) -> BTreeSet<String> {
    let all = documents.iter().flat_map(of);
    all.filter_map(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn volume_names(container: &Value) -> Vec<&Value> {
    let mounts = container.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    let volumes = mounts.filter(|it| it.get("Type").and_then(Value::as_str) == Some("volume"));
    volumes.filter_map(|it| it.get("Name")).collect()
}

fn network_names(container: &Value) -> Vec<&Value> {
    // A container's networks are the keys of a map; their ids are what can be asked for.
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let networks = networks.into_iter().flatten();
    let own = networks.filter(|(name, _)| !BUILT_IN.contains(&name.as_str()));
    own.filter_map(|(_, it)| it.get("NetworkID")).collect()
}

async fn documents(
    docker: &Docker,
    noun: Noun,
    names: &BTreeSet<String>,
) -> Result<Vec<Value>, DockerError> {
    let mut by_name = BTreeMap::new();
    for name in names {
        let document = docker.document(noun, name).await?;
        let key = document.get("Name").or_else(|| document.get("Id")).and_then(Value::as_str);
        by_name.insert(key.unwrap_or(name).to_owned(), document);
    }
    Ok(by_name.into_values().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(containers: Vec<Value>) -> StackDefinition {
        StackDefinition {
            format: FORMAT,
            engine_version: "28.2.2".to_owned(),
            api_version: "1.50".to_owned(),
            architecture: "x86_64".to_owned(),
            containers,
            networks: vec![],
            volumes: vec![],
            images: vec![],
        }
    }

    #[test]
    fn the_evidence_counts_and_hashes_whatever_order_things_come_in() {
        let [one, two] = ["/a", "/b"].map(|name| json!({ "Name": name }));

        let counted = evidence(&definition(vec![one.clone(), two.clone()]));
        let turned = evidence(&definition(vec![two, one.clone()]));

        assert_eq!(counted.0["containers"], Fact::Count(2));
        assert_eq!(counted, turned);
        assert_ne!(counted.0["sha256"], evidence(&definition(vec![one])).0["sha256"]);
    }
}
