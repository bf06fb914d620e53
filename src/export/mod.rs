//! Taking things out of an archive: mail as Maildir, mbox or `.eml`, events, contacts and files as files, and lists of them.
//!
//! `plan` gives names and writes nothing; `run` goes through the placements; `maildir`, `mbox` and `separate` write. Whatever
//! the format, `placements.jsonl` beside an account's items keeps everything that the archive knows of each.

mod deliver;
pub(crate) mod dir;
mod maildir;
mod manifest;
mod mbox;
mod names;
mod plan;
mod run;
mod select;
mod separate;
mod status;

#[cfg(test)]
mod tests;

pub use manifest::{ManifestFormat, Manifested, manifest};
pub use run::{Done, Request, export};
pub use select::{Selection, Wanted, moment, moment_after};

/// How mail is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Maildir++ as Dovecot keeps it, with flags, keywords, dates, UIDs and subscriptions
    Maildir,
    /// One mbox a folder (mboxrd), flags and keywords in Status lines
    Mbox,
    /// One .eml file a message
    #[default]
    Eml,
}

/// A listing that could not be read to its end.
fn damaged_listing(lost: u64, e: &crate::Error) -> deliver::Loss {
    deliver::Loss::new("its listing is damaged", format!("{lost} items: {e}"))
}
