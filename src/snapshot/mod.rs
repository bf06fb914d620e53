//! Stage one: from what a reader finds to an archive. The only place where `source` and `archive` meet.

mod dissect;
mod run;

pub use dissect::{NewObject, dissect, verbatim};
pub use run::{Done, run};
