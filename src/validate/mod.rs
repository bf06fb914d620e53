//! Does the target hold what the archive holds? Compares what is read back with what was archived, and both with the forecast;
//! writes nothing to the target.

mod bytes;
pub mod dav;
mod folder;
mod judge;
pub mod mail;
pub mod read;
mod reading;
mod run;
mod sample;

pub use bytes::what_differs;
pub use folder::Folder;
pub use judge::{Judged, Judgement};
pub use run::{Job, run};
pub use sample::Sample;

use crate::replay::plan::Cause;

/// One thing that differs between the archive and the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The cause under which a forecast would have foreseen it; none for what no server may do.
    pub cause: Option<Cause>,
    /// What differs, in few fixed words: `flag \Seen`, `header Received`, `internal date`.
    pub what: String,
    /// How.
    pub detail: String,
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Same bytes and same state.
    Identical,
    /// Same by a rule that is named.
    Equivalent(String),
    /// There, but changed.
    Changed(Vec<Difference>),
    /// Not there.
    Missing,
    /// There once more than it should be.
    Duplicate,
    /// There, and not in the archive.
    Extra,
}
