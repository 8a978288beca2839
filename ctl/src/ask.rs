//! Ask: questions to whoever sits at the terminal.

use std::{
    fs,
    io::{self, BufRead as _, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use zeroize::Zeroizing;

use crate::{error::CtlError, output::Output};

/// The longest passphrase that is read, in bytes.
const LONGEST: u64 = 4096;

/// Goes on when `yes` was given, or when somebody at the terminal agrees.
///
/// # Errors
/// [`CtlError::Declined`] when somebody does not; [`CtlError::Usage`] when nobody can be asked.
pub async fn confirm(output: &mut Output, yes: bool, question: &str) -> Result<(), CtlError> {
    if yes {
        return Ok(());
    }
    if !output.can_ask() {
        let needs = "there is no terminal to ask on: give `--yes` when it may be done";
        return Err(CtlError::Usage(needs.to_owned()));
    }
    output.prompt(&format!("{question} [y/N] "));
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_length| line)
    });
    let line = tokio::select! {
        line = read => line.map_err(io::Error::other).flatten(),
        pressed = tokio::signal::ctrl_c() => pressed.map(|()| String::new()),
    };
    let line = line.map_err(|source| CtlError::Input { what: "the answer".to_owned(), source })?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CtlError::Declined),
    }
}

/// A passphrase from a file, `-` for standard input; or asked for without echo; or none.
///
/// # Errors
/// The file cannot be read.
pub fn passphrase(
    output: &Output,
    file: Option<&Path>,
    question: &str,
) -> Result<Zeroizing<String>, CtlError> {
    let text = match file {
        Some(path) if path == Path::new("-") => read_text(&mut io::stdin().lock()),
        Some(path) => own_file(path).and_then(|mut file| read_text(&mut file)),
        None if output.can_ask() => {
            let terminal = console::Term::stderr();
            let asked = terminal.write_str(question).and_then(|()| terminal.read_secure_line());
            asked.map(Zeroizing::new)
        }
        None => Ok(Zeroizing::default()),
    };
    let what = || match file {
        Some(path) => format!("the passphrase from `{}`", path.display()),
        None => "the passphrase".to_owned(),
    };
    let text = text.map_err(|source| CtlError::Input { what: what(), source })?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Opens a file that nobody else can read; pipes and terminals are not files.
fn own_file(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::open(path)?;
    let about = file.metadata()?;
    let mode = about.permissions().mode() & 0o777;
    if about.is_file() && mode & 0o077 != 0 {
        let shown = path.display();
        let what = format!(
            "it can be read by others than its owner (mode {mode:03o}): run `chmod 600 {shown}`"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(file)
}

fn read_text(from: &mut impl io::Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    from.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}
