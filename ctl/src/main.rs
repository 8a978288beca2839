//! The binary: see the library of this crate.

use std::{env, io, process::ExitCode};

use lazarette_ctl::{Surroundings, terminal};

fn main() -> ExitCode {
    let home = env::home_dir();
    let surroundings = Surroundings {
        contexts_file: env::var_os("LAZARETTE_CONFIG").map(Into::into),
        config_home: env::var_os("XDG_CONFIG_HOME")
            .map(Into::into)
            .or_else(|| home.map(|home| home.join(".config"))),
        is_dumb: env::var_os("TERM").is_some_and(|term| term == "dumb"),
    };
    let output = terminal(Box::new(io::stdout()), Box::new(io::stderr()), surroundings.is_dumb);
    lazarette_ctl::run(env::args_os(), &surroundings, output)
}
