//! Plans, in and out.

use lazarette_core::plan::{BackupPlan, RestorePlan};

use super::{ConvertError, all, parse};
use crate::common::v1 as wire;

fn to_layers(layers: Vec<Vec<String>>) -> Vec<wire::Layer> {
    layers.into_iter().map(|containers| wire::Layer { containers }).collect()
}

fn from_layers(layers: Vec<wire::Layer>) -> Vec<Vec<String>> {
    layers.into_iter().map(|layer| layer.containers).collect()
}

impl From<BackupPlan> for wire::BackupPlan {
    fn from(it: BackupPlan) -> Self {
        Self {
            stack: it.stack.to_string(),
            stop: to_layers(it.stop),
            components: it.components.into_iter().map(Into::into).collect(),
            uncovered: it.uncovered.into_iter().map(Into::into).collect(),
            warnings: it.warnings,
            hold_budget_seconds: it.hold_budget_seconds,
        }
    }
}

impl TryFrom<wire::BackupPlan> for BackupPlan {
    type Error = ConvertError;

    fn try_from(it: wire::BackupPlan) -> Result<Self, Self::Error> {
        Ok(Self {
            stack: parse("stack", &it.stack)?,
            stop: from_layers(it.stop),
            components: all("components", it.components)?,
            uncovered: it.uncovered.into_iter().map(Into::into).collect(),
            warnings: it.warnings,
            hold_budget_seconds: it.hold_budget_seconds,
        })
    }
}

impl From<RestorePlan> for wire::RestorePlan {
    fn from(it: RestorePlan) -> Self {
        Self {
            stack: it.stack.to_string(),
            snapshot_id: it.snapshot.to_string(),
            stop: to_layers(it.stop),
            components: it.components.into_iter().map(Into::into).collect(),
            left_out: it.left_out.into_iter().map(Into::into).collect(),
            warnings: it.warnings,
        }
    }
}

impl TryFrom<wire::RestorePlan> for RestorePlan {
    type Error = ConvertError;

    fn try_from(it: wire::RestorePlan) -> Result<Self, Self::Error> {
        Ok(Self {
            stack: parse("stack", &it.stack)?,
            snapshot: parse("snapshot_id", &it.snapshot_id)?,
            stop: from_layers(it.stop),
            components: all("components", it.components)?,
            left_out: it.left_out.into_iter().map(Into::into).collect(),
            warnings: it.warnings,
        })
    }
}
