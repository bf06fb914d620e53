//! Stage one: from what a reader finds to an archive. The only place where `source` and `archive` meet.

mod dissect;

pub use dissect::{NewObject, dissect, verbatim};
