//! Dialects: has the body's `From ` been quoted with `>`, and must that be undone?
//!
//! mboxo, mboxrd and mboxcl quote, mboxcl2 and MMDF do not, and no file says what it is. So all of it is asked: a `From `
//! line that stands unquoted shows a writer that does not quote; the lines around quoted ones show whether quoting went one
//! level or all (see `quoting`). Where nothing is shown the bytes stay as they are stored, and a note says so. The file is
//! surveyed only where a message makes a difference.

use std::io;

use super::quoting::{self, Quoting};
use super::scan::{Limits, Opening, Piece, Splitter};
use super::window::ReadAt;
use crate::source::Coding;

/// Messages with quoted lines and a `Content-Length` that holds, without one unquoted line among them, that show that
/// the lines were quoted when they were stored: in letters `From ` begins lines more often than `>From ` does.
const QUOTED_PROOF_COUNT: u64 = 5;

const KEPT_IN_LENGTH: &str = "quoted From lines: it is not known whether the mbox added the quotes, kept as stored";
const KEPT_AMONG_BARE: &str = "quoted From lines, and unquoted ones in the same file: kept as stored";
const KEPT_DEEP: &str = "From lines quoted more than once: mboxo or mboxrd, kept as stored";

/// What messages show of the program that wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Messages with an unquoted `From ` line inside a `Content-Length` that holds.
    bare_held_count: u64,
    /// Messages with quoted lines inside a `Content-Length` that holds.
    quoted_held_count: u64,
    /// Other messages with an unquoted `From ` line.
    bare_count: u64,
    /// Messages with lines quoted more than once.
    deep_count: u64,
    /// Places that speak for mboxrd, or for mboxo.
    by_mboxrd_count: u64,
    by_mboxo_count: u64,
}

/// What is to be done about lines that are quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    /// In messages with a `Content-Length` that holds.
    held: Option<bool>,
    /// In other messages.
    open: bool,
    /// One level only, or all.
    deep: Option<bool>,
}

impl Survey {
    /// Surveys the messages from `start` to `end`.
    pub(super) fn of(source: impl ReadAt, start: u64, end: u64) -> io::Result<Self> {
        let mut survey = Survey::default();
        let mut splitter = Splitter::new(source, start, end, Limits::READ, None);
        while let Some(piece) = splitter.next()? {
            let seen = if piece.whole { quoting::look(&piece.bytes) } else { Quoting::default() };
            survey.deep_count += u64::from(seen.deep);
            survey.by_mboxrd_count += seen.by_mboxrd_count;
            survey.by_mboxo_count += seen.by_mboxo_count;
            if piece.length_holds {
                survey.bare_held_count += u64::from(piece.bare_count > 0);
                survey.quoted_held_count += u64::from(seen.any);
            } else if matches!(piece.opening, Opening::From(_)) {
                survey.bare_count += u64::from(piece.bare_count > piece.unparted_count);
            }
        }
        Ok(survey)
    }

    /// This and another one together.
    pub(super) fn plus(self, other: Survey) -> Self {
        Survey {
            bare_held_count: self.bare_held_count + other.bare_held_count,
            quoted_held_count: self.quoted_held_count + other.quoted_held_count,
            bare_count: self.bare_count + other.bare_count,
            deep_count: self.deep_count + other.deep_count,
            by_mboxrd_count: self.by_mboxrd_count + other.by_mboxrd_count,
            by_mboxo_count: self.by_mboxo_count + other.by_mboxo_count,
        }
    }

    /// This, and where it shows too little, what `store` shows, of which it is a part.
    pub(super) fn or(self, store: impl FnOnce() -> Survey) -> Self {
        let lengths_open = self.bare_held_count == 0 && self.quoted_held_count > 0;
        let levels_open = self.deep_count > 0 && self.verdict().deep.is_none();
        if !lengths_open && !levels_open {
            return self;
        }
        let store = store();
        let levels = if levels_open { store } else { self };
        Survey {
            bare_held_count: store.bare_held_count,
            quoted_held_count: store.quoted_held_count,
            by_mboxrd_count: levels.by_mboxrd_count,
            by_mboxo_count: levels.by_mboxo_count,
            ..self
        }
    }

    /// Would all messages be read in the same way?
    pub(super) fn decides_like(self, other: Survey) -> bool {
        self.verdict() == other.verdict()
    }

    fn verdict(self) -> Verdict {
        let quotes = self.quoted_held_count >= QUOTED_PROOF_COUNT;
        Verdict {
            held: if self.bare_held_count > 0 { Some(false) } else { quotes.then_some(true) },
            open: self.bare_count == 0,
            deep: match self.by_mboxrd_count.cmp(&self.by_mboxo_count) {
                std::cmp::Ordering::Less => Some(false),
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Greater => Some(true),
            },
        }
    }
}

/// What must be undone to a piece, and what is to be said about it. `survey` looks at the whole file; it is asked only
/// where that makes a difference.
pub(super) fn coding_of<E>(
    piece: &Piece,
    survey: impl FnOnce() -> Result<Survey, E>,
) -> Result<(Coding, Option<&'static str>), E> {
    if !matches!(piece.opening, Opening::From(_)) {
        return Ok((Coding::Plain, None));
    }
    if piece.bare_count > 0 {
        // Taking quotes off could not be reversed: nobody could tell which lines had one.
        let note = match (piece.length_holds, piece.unparted_count) {
            (true, _) => None,
            (false, 0) => Some("unquoted From line in the body"),
            (false, _) => Some("From_ line with no empty line before it: perhaps two messages"),
        };
        return Ok((Coding::Plain, note));
    }
    let seen = if piece.whole { quoting::look(&piece.bytes) } else { Quoting { any: true, deep: true, ..Quoting::default() } };
    if !seen.any {
        return Ok((Coding::Plain, None));
    }
    let verdict = survey()?.verdict();
    if piece.length_holds && verdict.held != Some(true) {
        return Ok((Coding::Plain, verdict.held.is_none().then_some(KEPT_IN_LENGTH)));
    }
    if !piece.length_holds && !verdict.open {
        return Ok((Coding::Plain, Some(KEPT_AMONG_BARE)));
    }
    Ok(match verdict.deep {
        Some(true) => (Coding::FromQuoted, None),
        Some(false) => (Coding::FromQuotedOnce, None),
        None => (Coding::FromQuotedOnce, seen.deep.then_some(KEPT_DEEP)),
    })
}

/// What the beginning of a file shows of its dialect, in words. None if it holds no message.
pub(super) fn describe(first: &[u8]) -> io::Result<Option<String>> {
    let mut splitter = Splitter::new(first, 0, first.len() as u64, Limits::READ, None);
    let (mut messages, mut held, mut bare, mut mmdf) = (0u64, 0u64, false, false);
    let mut all = Quoting::default();
    while let Some(piece) = splitter.next()? {
        mmdf |= matches!(piece.opening, Opening::Mmdf(_));
        if piece.opening == Opening::Nothing {
            return Ok(None);
        }
        messages += 1;
        held += u64::from(piece.length_holds);
        bare |= piece.length_holds && piece.bare_count > 0;
        let seen = quoting::look(&piece.bytes);
        all.any |= seen.any;
        all.by_mboxrd_count += seen.by_mboxrd_count;
        all.by_mboxo_count += seen.by_mboxo_count;
    }
    let words = match (messages, held) {
        (0, _) => return Ok(None),
        _ if mmdf => "MMDF: lines of four control-A part the messages",
        (_, 0) if all.by_mboxrd_count > all.by_mboxo_count => "mboxrd: From_ lines, and lines quoted more than once",
        (_, 0) if all.any => "mboxo or mboxrd: From_ lines, and quoted From lines",
        (_, 0) => "From_ lines part the messages",
        _ if bare => "mboxcl2: Content-Length holds over unquoted From lines",
        _ if all.any => "mboxcl: Content-Length holds, From lines are quoted",
        _ => "mboxcl or mboxcl2: Content-Length holds",
    };
    Ok(Some(words.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "From a@b Mon Jan  1 00:00:00 2024\n";

    fn codings(file: &str) -> Vec<(Coding, Option<&'static str>)> {
        let file = file.as_bytes();
        let survey = || Survey::of(file, 0, file.len() as u64);
        let mut splitter = Splitter::new(file, 0, file.len() as u64, Limits::READ, None);
        std::iter::from_fn(|| splitter.next().unwrap()).map(|p| coding_of(&p, survey).unwrap()).collect()
    }

    #[test]
    fn quotes_come_off_only_where_the_writer_put_them_on() {
        let quoted = format!("{LINE}A: b\n\n>From x\n\n");
        assert_eq!(codings(&quoted), [(Coding::FromQuotedOnce, None)]);
        let bare = format!("{LINE}A: b\n\nFrom y\n\n");
        let note = Some("unquoted From line in the body");
        assert_eq!(codings(&format!("{quoted}{bare}")), [(Coding::Plain, Some(KEPT_AMONG_BARE)), (Coding::Plain, note)]);
        assert_eq!(codings(&format!("{LINE}A: b\n\n>From: x\n")), [(Coding::Plain, None)]);
    }

    #[test]
    fn lines_quoted_twice_are_mboxrd_or_mboxo_by_what_stands_around_them() {
        let rd = format!("{LINE}A: b\n\n>reply\n>>From x\n>reply\n\n");
        let any = format!("{LINE}A: b\n\nSome text\n>>From x\n\n");
        let o = format!("{LINE}A: b\n\n>reply\n>From x\n>reply\n\n");
        let deep = format!("{LINE}A: b\n\n>>reply\n>>From x\n>>reply\n\n");
        assert_eq!(codings(&format!("{rd}{any}")), [(Coding::FromQuoted, None); 2]);
        assert_eq!(codings(&any), [(Coding::FromQuotedOnce, Some(KEPT_DEEP))]);
        assert_eq!(codings(&format!("{o}{deep}")), [(Coding::FromQuotedOnce, None); 2]);
        assert_eq!(codings(&format!("{o}{rd}")), [(Coding::FromQuotedOnce, None), (Coding::FromQuotedOnce, Some(KEPT_DEEP))]);
    }

    #[test]
    fn inside_a_length_that_holds_quotes_come_off_only_on_proof() {
        let quoted = format!("{LINE}Content-Length: 8\n\n>From x\n\n");
        let bare = format!("{LINE}Content-Length: 15\n\n>From x\nFrom y\n\n");
        assert_eq!(codings(&quoted), [(Coding::Plain, Some(KEPT_IN_LENGTH))]);
        assert_eq!(codings(&quoted.repeat(5)), [(Coding::FromQuotedOnce, None); 5]);
        assert_eq!(codings(&format!("{}{bare}", quoted.repeat(5))), [(Coding::Plain, None); 6]);
    }

    #[test]
    fn the_dialect_is_named_from_what_is_seen() {
        let words = |file: &[u8]| describe(file).unwrap().unwrap_or_default();
        assert!(words(b"From a@b Mon Jan  1 00:00:00 2024\n\n>x\n>>From \n>x\n").starts_with("mboxrd"));
        assert!(words(b"\x01\x01\x01\x01\nA: b\n\nc\n\x01\x01\x01\x01\n").starts_with("MMDF"));
        assert_eq!(words(b"A: b\n\nc\n"), "");
    }
}
