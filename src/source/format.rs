//! The names of the formats.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A source format, as `--as` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Maildir++: subfolders are `.Name.Sub` beside `cur`, `new`, `tmp`
    #[value(name = "maildir++")]
    #[serde(rename = "maildir++")]
    MaildirPlusPlus,
    /// Maildir with nested folders (Dovecot LAYOUT=fs), or a single Maildir
    MaildirFs,
    /// mbox in any dialect: one file, or a folder of them
    Mbox,
    /// Thunderbird or SeaMonkey mail folders (mbox with .sbd folders)
    Thunderbird,
    /// Google Takeout (mbox with X-Gmail-Labels)
    Takeout,
    /// A tree of .eml files (or other files of one message each)
    Eml,
    /// Calendars (.ics) and address books (.vcf): files, or folders of them
    Pim,
    /// Notes: vNotes (.vnt), Google Keep (.json)
    Notes,
    /// Plain files
    Files,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::MaildirPlusPlus => "maildir++",
            Format::MaildirFs => "maildir-fs",
            Format::Mbox => "mbox",
            Format::Thunderbird => "thunderbird",
            Format::Takeout => "takeout",
            Format::Eml => "eml",
            Format::Pim => "pim",
            Format::Notes => "notes",
            Format::Files => "files",
        })
    }
}
