//! Canonical: what of an inspect document somebody wrote, in one way of writing it.
//!
//! An Engine's document tells how a thing was made, how it is just now, and what both lead to, and
//! lists of it come in any order. Only the first is a definition. It is named here field by field:
//! what a newer Engine adds to tell how a thing is must not look like a change.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::docker::Noun;

/// Of a container, beside its mounts and networks. `Config` and `HostConfig` are what was asked for.
const CONTAINER: &[&str] = &["Config", "HostConfig", "Image", "Name", "Platform"];
const NETWORK: &[&str] = &[
    "Attachable",
    "ConfigFrom",
    "ConfigOnly",
    "Driver",
    "EnableIPv4",
    "EnableIPv6",
    "IPAM",
    "Ingress",
    "Internal",
    "Labels",
    "Name",
    "Options",
    "Scope",
];
const VOLUME: &[&str] = &["Driver", "Labels", "Name", "Options", "Scope"];
/// An image's id is the hash of all that it is; its tags may be another image's tomorrow.
const IMAGE: &[&str] = &["Architecture", "Id", "Os"];

/// What was asked for of a mount.
const MOUNT: [&str; 7] = ["Destination", "Driver", "Mode", "Name", "Propagation", "RW", "Type"];
/// What was asked for where a container is in a network.
const ENDPOINT: [&str; 4] = ["Aliases", "DriverOpts", "IPAMConfig", "Links"];

/// So many digits of its id are a container's host name and alias where nobody chose one.
const SHORT_ID: usize = 12;
/// An anonymous volume's name has so many digits.
const LONG_ID: usize = 64;

/// The definition in `document`, on one line: equal for what was made equally.
pub(super) fn canonical(noun: Noun, document: &Value) -> String {
    let kept = match noun {
        Noun::Container => container(document),
        Noun::Network => only(document, NETWORK),
        Noun::Volume => named(only(document, VOLUME)),
        Noun::Image => only(document, IMAGE),
        Noun::Exec | Noun::Engine => Map::new(),
    };
    sorted(&Value::Object(kept)).to_string()
}

fn container(document: &Value) -> Map<String, Value> {
    let id = document.get("Id").and_then(Value::as_str).unwrap_or_default();
    let short = id.get(..SHORT_ID).unwrap_or(id);
    let mut kept = only(document, CONTAINER);
    if let Some(Value::Object(config)) = kept.get_mut("Config")
        && config.get("Hostname").and_then(Value::as_str) == Some(short)
    {
        config.remove("Hostname");
    }
    // Whoever asks Docker's own client for binds has them in another order each time.
    if let Some(Value::Array(binds)) = kept.get_mut("HostConfig").and_then(|it| it.get_mut("Binds"))
    {
        binds.sort_by_key(ToString::to_string);
    }
    let mounts = document.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    // The Engine keeps them in a map, and lists them in another order each time.
    let mounts: BTreeMap<String, Value> = mounts
        .map(|it| (it.get("Destination").unwrap_or_default().to_string(), mount(it)))
        .collect();
    kept.insert("Mounts".to_owned(), mounts.into_values().collect());
    let networks = document.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let networks = networks.into_iter().flatten();
    let networks = networks.map(|(name, it)| (name.clone(), endpoint(it, short))).collect();
    kept.insert("Networks".to_owned(), Value::Object(networks));
    kept
}

fn mount(document: &Value) -> Value {
    let mut kept = named(only(document, &MOUNT));
    if document.get("Type").and_then(Value::as_str) == Some("bind") {
        // A volume's source is where the Engine put it.
        kept.insert("Source".to_owned(), document.get("Source").cloned().unwrap_or_default());
    }
    Value::Object(kept)
}

/// Without the name of a volume that nobody named.
fn named(mut volume: Map<String, Value>) -> Map<String, Value> {
    let name = volume.get("Name").and_then(Value::as_str).unwrap_or_default();
    if name.len() == LONG_ID && name.bytes().all(|it| it.is_ascii_hexdigit()) {
        volume.remove("Name");
    }
    volume
}

fn endpoint(document: &Value, short: &str) -> Value {
    let mut kept = only(document, &ENDPOINT);
    if let Some(Value::Array(aliases)) = kept.get_mut("Aliases") {
        aliases.retain(|it| it.as_str() != Some(short));
    }
    Value::Object(kept)
}

/// Those fields that say something: an Engine writes none, `null` or an empty list for the same.
fn only(document: &Value, keys: &[&str]) -> Map<String, Value> {
    let fields = document.as_object().into_iter().flatten();
    let kept = fields.filter(|(key, value)| keys.contains(&key.as_str()) && !is_empty(value));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn is_empty(value: &Value) -> bool {
    [json!(null), json!([]), json!({}), json!("")].contains(value)
}

/// The value with the keys of all its maps sorted, whatever order this build's maps keep.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields: BTreeMap<&String, Value> =
                map.iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.into_iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(change: fn(&mut Value)) -> String {
        let mut document = json!({
            "Id": "0123456789abcdef0123",
            "Name": "/shop-web-1",
            "Created": "2026-11-25T10:00:00Z",
            "State": { "Pid": 1, "StartedAt": "2026-11-25T10:00:00Z" },
            "Config": { "Hostname": "0123456789ab", "Env": ["A=1"], "Labels": { "a": "1", "b": "2" } },
            "HostConfig": { "RestartPolicy": { "Name": "always" } },
            "Mounts": [
                { "Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data", "Destination": "/data" },
                { "Type": "volume", "Name": "0".repeat(64), "Destination": "/anonymous" },
                { "Type": "bind", "Source": "/srv/uploads", "Destination": "/uploads", "RW": true },
            ],
            "NetworkSettings": { "SandboxID": "x", "Networks": { "shop_default": {
                "Aliases": ["web", "0123456789ab"], "IPAMConfig": null, "IPAddress": "172.18.0.3",
            } } },
        });
        change(&mut document);
        canonical(Noun::Container, &document)
    }

    #[test]
    fn how_a_container_is_just_now_is_not_its_definition() {
        let before = web(|_| {});

        let restarted = web(|it| {
            it["State"] = json!({ "Pid": 2, "StartedAt": "2026-11-25T11:00:00Z" });
            it["Mounts"].as_array_mut().unwrap().reverse();
            it["NetworkSettings"]["SandboxID"] = json!("y");
            it["NetworkSettings"]["Networks"]["shop_default"]["IPAddress"] = json!("172.18.0.2");
            it["NewerEngine"] = json!({ "Uptime": 3 });
        });
        assert_eq!(before, restarted);

        let created_again = web(|it| {
            it["Id"] = json!("fedcba9876543210fedc");
            it["Created"] = json!("2026-11-25T12:00:00Z");
            it["Config"]["Hostname"] = json!("fedcba987654");
            it["Mounts"][1]["Name"] = json!("f".repeat(64));
            it["NetworkSettings"]["Networks"]["shop_default"]["Aliases"] =
                json!(["web", "fedcba987654"]);
        });
        assert_eq!(before, created_again);
    }

    #[test]
    fn what_somebody_changed_changes_the_definition() {
        let before = web(|_| {});
        let changes: [fn(&mut Value); 8] = [
            |it| it["Config"]["Env"] = json!(["A=2"]),
            |it| it["Config"]["Hostname"] = json!("chosen"),
            |it| it["Config"]["Labels"]["b"] = json!("3"),
            |it| it["HostConfig"]["RestartPolicy"]["Name"] = json!("no"),
            |it| it["Mounts"][0]["Name"] = json!("other"),
            |it| it["Mounts"][2]["Source"] = json!("/srv/other"),
            |it| it["NetworkSettings"]["Networks"]["more"] = json!({}),
            |it| {
                it["NetworkSettings"]["Networks"]["shop_default"]["IPAMConfig"] =
                    json!({ "IPv4Address": "172.18.0.9" });
            },
        ];

        for (number, change) in changes.into_iter().enumerate() {
            assert_ne!(before, web(change), "change {number}");
        }
    }

    #[test]
    fn an_image_is_known_by_its_id_whatever_it_is_called() {
        let image =
            |id: &str, tag: &str| canonical(Noun::Image, &json!({ "Id": id, "RepoTags": [tag] }));

        assert_eq!(image("sha256:1", "web:latest"), image("sha256:1", "web:old"));
        assert_ne!(image("sha256:1", "web:latest"), image("sha256:2", "web:latest"));
    }
}
