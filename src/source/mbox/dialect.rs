//! Dialects: has the body's `From ` been quoted with `>`, and must that be undone?
//!
//! mboxo, mboxrd and mboxcl quote, mboxcl2 and MMDF do not. mboxcl and mboxcl2 look the same until a `From ` line stands
//! unquoted inside a `Content-Length` that holds: only then is it known that nobody quotes there. As long as a file shows
//! no such line, the other files of the store are asked, since one program wrote them all; and without any such line
//! anywhere quoting is undone, as in the other dialects.

use std::io;

use memchr::memmem;

use super::scan::{Limits, Opening, Piece, Splitter};
use super::window::ReadAt;
use crate::source::Coding;

/// What must be undone to a piece, and what is to be said about it. `never_quotes` finds out whether the program that
/// wrote the file leaves `From ` lines as they are; it is asked only where that makes a difference.
pub(super) fn coding_of<E>(
    piece: &Piece,
    never_quotes: impl FnOnce() -> Result<bool, E>,
) -> Result<(Coding, Option<&'static str>), E> {
    if matches!(piece.opening, Opening::Mmdf(_)) {
        return Ok((Coding::Plain, None));
    }
    if piece.length_holds {
        let quoted = !piece.whole || memmem::find(&piece.bytes, b"\n>").is_some_and(|_| has_quoted_line(&piece.bytes));
        let plain = piece.bare_count > 0 || quoted && never_quotes()?;
        return Ok((if plain { Coding::Plain } else { Coding::FromQuoted }, None));
    }
    // Taking quotes off could not be reversed: nobody could tell which lines had one.
    let coding = if piece.bare_count > 0 { Coding::Plain } else { Coding::FromQuoted };
    let note = match (piece.unparted_count, piece.bare_count) {
        (0, 0) => None,
        (0, _) => Some("unquoted From line in the body"),
        _ => Some("From_ line with no empty line before it: perhaps two messages"),
    };
    Ok((coding, note))
}

/// Is there a line of `>`s and `From `?
fn has_quoted_line(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, b">From ").any(|hit| {
        let before = bytes.get(..hit).unwrap_or_default();
        before.iter().rposition(|&b| b != b'>').is_none_or(|at| before.get(at) == Some(&b'\n'))
    })
}

/// Does any message from `start` to `end` prove that the file's writer never quotes?
pub(super) fn never_quotes(source: impl ReadAt, start: u64, end: u64) -> io::Result<bool> {
    let mut splitter = Splitter::new(source, start, end, Limits::SURVEY, None);
    while let Some(piece) = splitter.next()? {
        if piece.length_holds && piece.bare_count > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the beginning of a file shows of its dialect, in words. None if it holds no message.
pub(super) fn describe(first: &[u8]) -> io::Result<Option<String>> {
    let mut splitter = Splitter::new(first, 0, first.len() as u64, Limits::READ, None);
    let (mut messages, mut held, mut bare, mut mmdf, mut single, mut double) = (0u64, 0u64, false, false, false, false);
    while let Some(piece) = splitter.next()? {
        mmdf |= matches!(piece.opening, Opening::Mmdf(_));
        if piece.opening == Opening::Nothing {
            return Ok(None);
        }
        messages += 1;
        held += u64::from(piece.length_holds);
        bare |= piece.length_holds && piece.bare_count > 0;
        single |= memmem::find(&piece.bytes, b"\n>From ").is_some();
        double |= memmem::find(&piece.bytes, b"\n>>From ").is_some();
    }
    let words = match (messages, held) {
        (0, _) => return Ok(None),
        _ if mmdf => "MMDF: lines of four control-A part the messages",
        (_, 0) if double => "mboxrd: From_ lines, and lines quoted more than once",
        (_, 0) if single => "mboxo or mboxrd: From_ lines, and quoted From lines",
        (_, 0) => "From_ lines part the messages",
        _ if bare => "mboxcl2: Content-Length holds over unquoted From lines",
        _ if single || double => "mboxcl: Content-Length holds, From lines are quoted",
        _ => "mboxcl or mboxcl2: Content-Length holds",
    };
    Ok(Some(words.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codings(file: &[u8], never: bool) -> Vec<(Coding, bool)> {
        let mut splitter = Splitter::new(file, 0, file.len() as u64, Limits::READ, None);
        std::iter::from_fn(|| splitter.next().unwrap())
            .map(|p| coding_of(&p, || Ok::<_, ()>(never)).unwrap())
            .map(|(coding, note)| (coding, note.is_some()))
            .collect()
    }

    #[test]
    fn a_bare_from_line_makes_undoing_irreversible() {
        let file =
            b"From a@b Mon Jan  1 00:00:00 2024\nA: b\n\n>From x\nFrom y\n\nFrom a@b Mon Jan  1 00:00:00 2024\nA: b\n\n>From x\n";
        assert_eq!(codings(file, false), [(Coding::Plain, true), (Coding::FromQuoted, false)]);
    }

    #[test]
    fn a_length_that_holds_over_a_from_line_proves_that_nobody_quotes() {
        let bare = b"From a@b Mon Jan  1 00:00:00 2024\nContent-Length: 15\n\n>From x\nFrom y\n\n";
        assert!(never_quotes(bare.as_slice(), 0, bare.len() as u64).unwrap());
        assert_eq!(codings(bare, false), [(Coding::Plain, false)]);
        let quoted = b"From a@b Mon Jan  1 00:00:00 2024\nContent-Length: 8\n\n>From x\n\n";
        assert!(!never_quotes(quoted.as_slice(), 0, quoted.len() as u64).unwrap());
        assert_eq!(codings(quoted, false), [(Coding::FromQuoted, false)]);
        assert_eq!(codings(quoted, true), [(Coding::Plain, false)]);
    }

    #[test]
    fn the_dialect_is_named_from_what_is_seen() {
        let words = |file: &[u8]| describe(file).unwrap().unwrap_or_default();
        assert!(words(b"From a@b Mon Jan  1 00:00:00 2024\n\nx\n>>From \n").starts_with("mboxrd"));
        assert!(words(b"\x01\x01\x01\x01\nA: b\n\nc\n\x01\x01\x01\x01\n").starts_with("MMDF"));
        assert_eq!(words(b"A: b\n\nc\n"), "");
    }
}
