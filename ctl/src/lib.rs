//! ctl: the command line of Lazarette.

pub mod args;
pub mod ask;
pub mod board;
pub mod commands;
pub mod connect;
pub mod contexts;
pub mod error;
pub mod escape;
pub mod follow;
pub mod hints;
pub mod output;
pub mod table;
pub mod view;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser as _;

use crate::{
    args::{Args, Format},
    error::{CtlError, Exit},
    output::Output,
};

/// What the environment says, read once.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The contexts file, when it is not the one in the configuration directory.
    pub contexts_file: Option<PathBuf>,
    /// Where programs of this user keep their configuration; none without a home.
    pub config_home: Option<PathBuf>,
    /// Whether the terminal can do nothing but print lines.
    pub is_dumb: bool,
}

/// The output of a program that may have a terminal.
pub fn terminal(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, is_dumb: bool) -> Output {
    let is_terminal = io::stderr().is_terminal();
    Output::new(out, err)
        .on_terminal(is_terminal && !is_dumb, is_terminal && io::stdin().is_terminal())
}

/// Does what `words` ask, the program's own name first.
pub fn run(
    words: impl IntoIterator<Item = OsString>,
    surroundings: &Surroundings,
    mut output: Output,
) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    let args = match Args::try_parse_from(&words) {
        Ok(args) => args,
        Err(error) => return not_understood(&error, &words, output),
    };
    output.set_format(args.global.output);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(commands::run(args, surroundings, &mut output));
            // A question may still wait for its answer; nobody needs it any more.
            runtime.shutdown_background();
            done
        }
        Err(source) => Err(CtlError::Input { what: "this machine's events".to_owned(), source }),
    };
    match done.and_then(|exit| output.finish().map(|()| exit)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output.fail(&error);
            error.exit().into()
        }
    }
}

/// Help and versions are asked for and end well; anything else is wrong usage.
fn not_understood(error: &clap::Error, words: &[OsString], mut output: Output) -> ExitCode {
    let text = error.render();
    if !error.use_stderr() {
        return match output.write_help(&text.to_string()) {
            Ok(()) => Exit::Done.into(),
            Err(error) => error.exit().into(),
        };
    }
    let json =
        |pair: &[OsString]| matches!(pair, [flag, value] if flag == "--output" && value == "json");
    if words.windows(2).any(json) || words.iter().any(|word| word == "--output=json") {
        output.set_format(Format::Json);
        let line = text.to_string();
        let line = line.trim_start_matches("error: ").lines().next().unwrap_or_default();
        output.fail(&CtlError::Usage(line.to_owned()));
    } else {
        output.say(text.to_string().trim_end());
    }
    Exit::Usage.into()
}
