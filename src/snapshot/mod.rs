//! Stage one: from readers to one committed snapshot. Here, and only here, sources and archive meet.

mod capture;
mod dissect;
mod forms;
mod pipeline;
mod run;
mod seen;

pub(crate) use capture::known_by_bytes;
pub(crate) use dissect::sort_of;
pub use dissect::{Dissected, NewObject, dissect, verbatim};
pub use run::{Done, run};
pub use seen::check as check_seen;
