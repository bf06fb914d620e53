//! Reports: one model of what a job did and found, written as JSON, CSV and one page of HTML.
//!
//! Whoever ran the job hands what it knows to a [`Builder`], item by item; the builder counts, keeps a few examples of each
//! cause, and writes the full lists to side files while they come, so memory does not grow with the items. [`Builder::finish`]
//! decides the verdict, which is the exit code in words, and writes the report. docs/report.md says what is in it.

mod actions;
mod builder;
mod capture;
mod custody;
mod header;
mod html;
mod model;
mod page;
mod repeats;
mod side;
mod svg;

pub use builder::{Builder, FolderId};
pub use capture::{add_findings, add_folder, add_leftovers, add_snapshot, begin, of_check, of_snapshot};
pub use custody::just_now;
pub use header::{archive_identity, header, options};
pub(crate) use html::Html;
pub use model::*;
pub(crate) use svg::bytes as shown_bytes;
