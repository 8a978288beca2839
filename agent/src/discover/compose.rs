//! Compose files: which other files they name. Nothing else of them is understood here.

use serde_json::Value;

/// What a compose file refers to, each as it is written there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    /// `env_file`s, configs, secrets.
    pub(super) files: Vec<Reference>,
    /// `include`d and `extend`ed compose files.
    pub(super) compose: Vec<Reference>,
}

/// A file that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// `env_file of app`, for messages.
    pub(super) what: String,
    /// As written: relative to the project directory, or absolute.
    pub(super) path: String,
}

/// The references in a compose file.
///
/// # Errors
///
/// Why it is not YAML, in one line.
pub(super) fn references(text: &str) -> Result<References, String> {
    let parsed: Result<Value, _> = serde_saphyr::from_str(text);
    let document = parsed.map_err(|error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().chars().take(200).collect::<String>()
    })?;
    let mut found = References::default();
    for (service, body) in entries(document.get("services")) {
        for path in paths(body.get("env_file")) {
            found.files.push(Reference { what: format!("env_file of {service}"), path });
        }
        if let Some(path) = body.pointer("/extends/file").and_then(Value::as_str) {
            let what = format!("extends of {service}");
            found.compose.push(Reference { what, path: path.to_owned() });
        }
    }
    for kind in ["configs", "secrets"] {
        for (name, body) in entries(document.get(kind)) {
            if let Some(path) = body.get("file").and_then(Value::as_str) {
                let what = format!("{kind} {name}");
                found.files.push(Reference { what, path: path.to_owned() });
            }
        }
    }
    for included in document.get("include").and_then(Value::as_array).into_iter().flatten() {
        let what = || "include".to_owned();
        let files = if included.is_string() { Some(included) } else { included.get("path") };
        found.compose.extend(paths(files).map(|path| Reference { what: what(), path }));
        let env = paths(included.get("env_file"));
        found.files.extend(env.map(|path| Reference { what: "env_file of include".into(), path }));
    }
    Ok(found)
}

fn entries(map: Option<&Value>) -> impl Iterator<Item = (String, &Value)> {
    let map = map.and_then(Value::as_object).into_iter().flatten();
    map.map(|(name, body)| (name.escape_debug().to_string(), body))
}

/// A path, a list of paths, or a list of maps with a `path`.
fn paths(value: Option<&Value>) -> impl Iterator<Item = String> {
    let one = |value: &Value| {
        let text = value.as_str().or_else(|| value.get("path").and_then(Value::as_str));
        text.map(str::to_owned)
    };
    let all: Vec<String> = match value {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    };
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_naming_a_file_is_found() {
        let text = "
x-env: &env { env_file: [common.env] }
services:
  app:
    <<: *env
    image: app
  db: { image: postgres, env_file: db.env, extends: { file: base.yml, service: db } }
  worker:
    env_file:
      - ./a.env
      - path: b.env
        required: false
configs: { nginx: { file: ./nginx.conf } }
secrets:
  password: { file: secrets/password }
  outer: { external: true }
include:
  - other.yml
  - path: [more.yml]
    env_file: more.env
";
        let found = references(text).unwrap();
        let paths = |list: &[Reference]| {
            let mut paths: Vec<_> = list.iter().map(|it| it.path.clone()).collect();
            paths.sort();
            paths
        };

        assert_eq!(
            paths(&found.files),
            [
                "./a.env",
                "./nginx.conf",
                "b.env",
                "common.env",
                "db.env",
                "more.env",
                "secrets/password"
            ]
        );
        assert_eq!(paths(&found.compose), ["base.yml", "more.yml", "other.yml"]);
    }

    #[test]
    fn b3_what_is_no_yaml_or_a_bomb_is_an_error_in_one_line() {
        let mut lines = vec!["a: &a [x, x, x, x, x, x, x, x, x]".to_owned()];
        for (inner, outer) in "abcdefghij".chars().zip("bcdefghijk".chars()) {
            let list = vec![format!("*{inner}"); 9].join(", ");
            lines.push(format!("{outer}: &{outer} [{list}]"));
        }
        let bomb = lines.join("\n");
        for text in ["a: [", &bomb, &"[".repeat(10_000)] {
            let error = references(text).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
        assert_eq!(references("").unwrap_or_default(), References::default());
    }
}
