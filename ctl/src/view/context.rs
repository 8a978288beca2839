//! Contexts, and the version, as they are shown.

use serde::Serialize;

use crate::{contexts::Contexts, output::View, table::Table};

/// One context.
#[derive(Debug, Serialize)]
pub struct ContextView {
    name: String,
    current: bool,
    controller: String,
    credentials_file: String,
}

/// All contexts of a file.
pub fn contexts(all: &Contexts) -> Vec<ContextView> {
    let (contexts, current) = all.all();
    let view = |it: &crate::contexts::Context| ContextView {
        name: it.name.to_string(),
        current: Some(&it.name) == current,
        controller: it.controller.to_string(),
        credentials_file: it.credentials_file.display().to_string(),
    };
    contexts.iter().map(view).collect()
}

impl View for Vec<ContextView> {
    fn table(&self) -> String {
        let mut table = Table::new(&["CURRENT", "NAME", "CONTROLLER", "CREDENTIALS"]);
        for it in self {
            let current = if it.current { "*" } else { "" };
            table.row([&current, &it.name, &it.controller, &it.credentials_file]);
        }
        table.lines(0)
    }
}

/// The version of ctl.
#[derive(Debug, Serialize)]
pub struct VersionView {
    version: &'static str,
    protocol_version: u32,
}

impl VersionView {
    /// Of this program.
    pub const fn own() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            protocol_version: lazarette_proto::PROTOCOL_VERSION,
        }
    }
}

impl View for VersionView {
    fn table(&self) -> String {
        format!("ctl {} (protocol {})\n", self.version, self.protocol_version)
    }
}
