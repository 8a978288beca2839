//! Gates: dumps that are judged as they pass, and end with an error when they are not whole.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use lazarette_core::error::Reason;

use super::{
    archive::{Archive, ArchiveError, Contents, newlines},
    failure,
};
use crate::{docker::exec::ByteStream, driver::DriverError};

/// A dump on its way into the snapshot.
pub(super) type Body = BoxStream<'static, Result<Bytes, DriverError>>;

/// What judges a dump as it passes.
pub(super) trait Gate: Send + 'static {
    /// What it knows in the end.
    type Verdict: Send + 'static;

    /// Looks at the next piece.
    fn look(&mut self, piece: &[u8]) -> Result<(), ArchiveError>;

    /// Judges the whole.
    fn judge(self) -> Result<Self::Verdict, ArchiveError>;
}

/// A verdict that is there once the body was read to its end.
#[derive(Debug)]
pub(super) struct Verdict<T>(Arc<Mutex<Option<T>>>);

impl<T> Verdict<T> {
    /// The verdict, if the body was read to its end.
    pub(super) fn take(self, doing: &str) -> Result<T, DriverError> {
        let verdict = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        verdict.ok_or_else(|| failure::odd(doing, "the dump was not read to its end"))
    }
}

/// Where a guarded stream is.
enum At<G> {
    Passing { from: ByteStream, gate: G },
    Over,
}

/// `from`, judged by `gate`: ends with an error when the gate refuses a piece or the whole.
pub(super) fn guard<G: Gate>(
    from: ByteStream,
    gate: G,
    doing: String,
) -> (Body, Verdict<G::Verdict>) {
    let cell = Arc::new(Mutex::new(None));
    let verdict = Verdict(Arc::clone(&cell));
    let body = stream::try_unfold(At::Passing { from, gate }, move |at| {
        let (cell, doing) = (Arc::clone(&cell), doing.clone());
        async move {
            let At::Passing { mut from, mut gate } = at else { return Ok(None) };
            let refused = |error| DriverError::new(Reason::DumpInvalid, &*doing, error);
            match from.next().await {
                Some(Ok(piece)) => {
                    gate.look(&piece).map_err(refused)?;
                    Ok(Some((piece, At::Passing { from, gate })))
                }
                Some(Err(error)) => Err(failure::explain(&doing, error)),
                None => {
                    let judged = gate.judge().map_err(refused)?;
                    *cell.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged);
                    Ok(Some((Bytes::new(), At::Over)))
                }
            }
        }
    });
    (body.boxed(), verdict)
}

impl Gate for Archive {
    type Verdict = Contents;

    fn look(&mut self, piece: &[u8]) -> Result<(), ArchiveError> {
        self.feed(piece)
    }

    fn judge(self) -> Result<Contents, ArchiveError> {
        self.finish()
    }
}

/// Counts the rows of a bare `COPY … TO STDOUT`, whose end only the tool's exit tells.
#[derive(Debug, Default)]
pub(super) struct Rows {
    lines: u64,
    ended: Option<u8>,
}

impl Gate for Rows {
    type Verdict = u64;

    fn look(&mut self, piece: &[u8]) -> Result<(), ArchiveError> {
        self.lines += newlines(piece);
        self.ended = piece.last().copied().or(self.ended);
        Ok(())
    }

    fn judge(self) -> Result<u64, ArchiveError> {
        match self.ended {
            None | Some(b'\n') => Ok(self.lines),
            Some(_) => Err(ArchiveError::Cut { after: format!("{} whole rows", self.lines) }),
        }
    }
}

/// What `pg_dumpall` writes last, before a line that newer versions add.
const GLOBALS_END: &str = "-- PostgreSQL database cluster dump complete";

/// How much of the end of a script is looked at.
const TAIL: usize = 512;

/// Asks whether a script of `pg_dumpall` has its last line (M12).
#[derive(Debug, Default)]
pub(super) struct Script(Vec<u8>);

impl Gate for Script {
    type Verdict = ();

    fn look(&mut self, piece: &[u8]) -> Result<(), ArchiveError> {
        self.0.extend_from_slice(piece);
        let surplus = self.0.len().saturating_sub(TAIL);
        self.0.drain(..surplus);
        Ok(())
    }

    fn judge(self) -> Result<(), ArchiveError> {
        if String::from_utf8_lossy(&self.0).contains(GLOBALS_END) {
            Ok(())
        } else {
            Err(ArchiveError::Cut { after: "something else than its last line".to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use lazarette_core::error::ReasonedError as _;

    use super::*;

    fn pieces(pieces: &[&'static str]) -> ByteStream {
        let pieces: Vec<_> = pieces.iter().map(|it| Bytes::from_static(it.as_bytes())).collect();
        stream::iter(pieces).map(Ok).boxed()
    }

    async fn all(body: Body) -> Result<Vec<u8>, DriverError> {
        body.try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
    }

    #[tokio::test]
    async fn rows_pass_unchanged_and_are_counted() {
        let (body, verdict) = guard(pieces(&["1\ta\n2", "\tb\n"]), Rows::default(), "copy".into());

        assert_eq!(all(body).await.unwrap(), b"1\ta\n2\tb\n");
        assert_eq!(verdict.take("copy").unwrap(), 2);
    }

    #[tokio::test]
    async fn a_cut_row_or_script_or_archive_ends_with_an_error() {
        let (rows, _verdict) = guard(pieces(&["1\ta\n2"]), Rows::default(), "copy".into());
        let (script, _verdict) = guard(pieces(&["CREATE ROLE"]), Script::default(), "dump".into());
        let (archive, _verdict) = guard(pieces(&["PGDMP\u{1}"]), Archive::new(), "dump".into());
        for body in [rows, script, archive] {
            assert_eq!(all(body).await.unwrap_err().reason(), Reason::DumpInvalid);
        }
    }

    #[tokio::test]
    async fn a_whole_script_passes_with_lines_behind_its_end() {
        let text = "CREATE ROLE x;\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";
        let (body, verdict) = guard(pieces(&[text]), Script::default(), "dump".into());
        all(body).await.unwrap();
        verdict.take("dump").unwrap();
    }
}
