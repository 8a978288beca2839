//! Context: `ctl context`.

use crate::{
    Surroundings,
    args::{ContextVerb, Global},
    contexts::{self, Contexts},
    error::{CtlError, Exit},
    output::Output,
    view::context,
};

pub(super) fn run(
    verb: ContextVerb,
    global: &Global,
    surroundings: &Surroundings,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    let path = contexts::path(global.config.as_deref(), surroundings)?;
    let contexts = match verb {
        ContextVerb::List => Contexts::load_or_new(&path)?,
        ContextVerb::Use { name } => {
            let mut contexts = Contexts::load(&path)?;
            contexts.choose(&name)?;
            contexts
        }
        ContextVerb::Import { file, name } => {
            let from = Contexts::load(&file)?.named(global.context.as_ref())?;
            let mut contexts = Contexts::load_or_new(&path)?;
            contexts.take_over(&from, &name.unwrap_or_else(|| from.name.clone()))?;
            contexts
        }
    };
    output.show(&context::contexts(&contexts))?;
    Ok(Exit::Done)
}
