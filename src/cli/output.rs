//! What commands print: lines, JSON, and the verdict.

use std::fmt::Display;
use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::model::printable_json;

/// Standard output, or what stands in for it.
pub(super) struct Output<'a>(&'a mut dyn Write);

impl<'a> Output<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Output(out)
    }

    /// One line, or several.
    pub(super) fn line(&mut self, text: impl Display) -> Result<()> {
        writeln!(self.0, "{text}").map_err(broken)
    }

    /// A value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|e| Error::new(Kind::Internal, "cannot write JSON").because(e))?;
        self.line(printable_json(&text))
    }

    /// Lets a reader see what was printed, before the command ends.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.0.flush().map_err(broken)
    }

    /// The verdict's line; gives the exit code.
    pub(super) fn verdict(&mut self, verdict: &Verdict) -> Result<u8> {
        self.line(verdict.words())?;
        Ok(verdict.code())
    }

    /// For bytes.
    pub(super) fn bytes(&mut self) -> &mut dyn Write {
        self.0
    }
}

fn broken(e: std::io::Error) -> Error {
    Error::new(Kind::Storage, "cannot write to standard output").because(e)
}

/// Counts with their names; of those after the first, only what occurred.
pub(super) fn counts(all: &[(&str, u64)]) -> String {
    let told = all.iter().enumerate().filter(|(at, (_, n))| *at == 0 || *n > 0);
    told.map(|(_, (name, n))| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

/// How a command that did or checked something ended, unless it failed as a whole.
pub(super) enum Verdict {
    /// All well.
    Pass(String),
    /// Finished, with exceptions that are listed.
    WithExceptions(String),
}

impl Verdict {
    pub(super) fn words(&self) -> String {
        match self {
            Verdict::Pass(what) => format!("PASS: {what}"),
            Verdict::WithExceptions(what) => format!("PASS WITH EXCEPTIONS: {what}"),
        }
    }

    pub(super) fn code(&self) -> u8 {
        match self {
            Verdict::Pass(_) => 0,
            Verdict::WithExceptions(_) => 1,
        }
    }
}

/// A moment for people, in UTC.
pub(super) fn shown_time(at: Timestamp) -> String {
    at.strftime("%F %T").to_string()
}
