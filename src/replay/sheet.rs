//! The capability sheet: what a target takes, changes and refuses, as it was seen by probing or is assumed with care.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::Part;
use crate::objects::Mark;

/// The property of its own that the doctor tries.
pub const PROBE: &str = "X-FLOE-PROBE";

/// Something about a message that servers differ over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// No byte at all.
    Empty,
    /// A NUL byte.
    Nul,
    /// A CR in a line.
    BareCr,
    /// More than one CR before the LF that ends a line.
    DoubledCr,
    /// A CR at the end of the message.
    CrAtEnd,
    /// A byte over 127 in the header (RFC 6532 needs UTF8=ACCEPT).
    EightBitHeader,
    /// A header with a line that is no field (RFC 5322 2.2).
    BadHeader,
    /// A message that begins with an empty line.
    NoHeader,
    /// A header that begins with a line that would continue another one.
    FoldedFirst,
    /// A byte over 127 in the name of a field.
    EightBitName,
    /// A message that ends within a line of its header.
    UnendedHeader,
    /// An internal date of 1 January 1970, 00:00:00 UTC.
    DateZero,
    /// An internal date before 1970.
    DateBefore1970,
    /// An internal date after the day it is replayed.
    DateInFuture,
    /// No internal date is known.
    NoDate,
}

impl Oddity {
    /// All of them, in the order in which the doctor tries them.
    pub const ALL: [Oddity; 15] = [
        Oddity::Empty,
        Oddity::Nul,
        Oddity::BareCr,
        Oddity::DoubledCr,
        Oddity::CrAtEnd,
        Oddity::EightBitHeader,
        Oddity::BadHeader,
        Oddity::NoHeader,
        Oddity::FoldedFirst,
        Oddity::EightBitName,
        Oddity::UnendedHeader,
        Oddity::DateZero,
        Oddity::DateBefore1970,
        Oddity::DateInFuture,
        Oddity::NoDate,
    ];

    /// Is it about the internal date, not the bytes?
    pub fn is_of_the_date(self) -> bool {
        matches!(self, Oddity::DateZero | Oddity::DateBefore1970 | Oddity::DateInFuture | Oddity::NoDate)
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Oddity::Empty => "an empty message",
            Oddity::Nul => "a NUL byte",
            Oddity::BareCr => "a CR in a line",
            Oddity::DoubledCr => "more than one CR at the end of a line",
            Oddity::CrAtEnd => "a CR at the end of the message",
            Oddity::EightBitHeader => "8-bit bytes in the header",
            Oddity::BadHeader => "a line in the header that is no field",
            Oddity::NoHeader => "no header",
            Oddity::FoldedFirst => "a header that begins with white space",
            Oddity::EightBitName => "8-bit bytes in the name of a field",
            Oddity::UnendedHeader => "an end within a line of the header",
            Oddity::DateZero => "an internal date of 1970-01-01T00:00:00Z",
            Oddity::DateBefore1970 => "an internal date before 1970",
            Oddity::DateInFuture => "an internal date in the future",
            Oddity::NoDate => "no internal date",
        })
    }
}

/// What becomes of something on the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It comes back as it was sent.
    #[default]
    Kept,
    /// It is taken, and comes back changed.
    Changed,
    /// It is refused.
    Refused,
}

/// What the target's IMAP does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailSheet {
    /// Greeting, made printable.
    pub greeting: String,
    /// CAPABILITY before login.
    pub before_login: Vec<String>,
    /// CAPABILITY after login.
    pub after_login: Vec<String>,
    /// Hierarchy delimiter.
    pub delimiter: char,
    /// Prefix of personal folders, such as `INBOX.`; mostly empty.
    #[serde(default)]
    pub prefix: String,
    /// Special use (RFC 6154) to the folder's real name, with `/` between levels whatever the delimiter.
    pub special_use: BTreeMap<String, String>,
    /// Are APPENDUID codes given?
    pub append_uid: bool,
    /// May the administrator log in on behalf of a user? Unknown when not tried.
    pub on_behalf: Option<bool>,
    /// Largest message in bytes, where the server says so.
    pub largest_message: Option<u64>,
    /// Do keywords of any name last?
    pub keywords: bool,
    /// Characters that folder names cannot hold.
    pub not_in_names: String,
    /// APPENDs a minute before the server slows down; 0 for no limit.
    pub appends_per_minute: Option<u64>,
    /// What becomes of odd messages and dates; what is not named here is kept.
    pub odd: BTreeMap<Oddity, Fate>,
}

/// What the target's DAV does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DavSheet {
    /// Default collection of each kind: `events`, `tasks`, `journals`, `contacts`, `notes`, `files` to its name.
    pub defaults: BTreeMap<String, String>,
    /// Kinds that new collections can be made for.
    pub creates: Vec<String>,
    /// Properties that did not survive a round trip.
    pub lost_properties: Vec<String>,
    /// Properties whose values came back as others where they had such a mark; [`PROBE`] stands for all that begin with `X-`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost_at: BTreeMap<Mark, BTreeSet<String>>,
    /// Does one collection hold one kind only?
    pub one_kind_each: bool,
    /// Is a UID in one calendar of an account only?
    #[serde(default)]
    pub one_uid_each: bool,
    /// Did mail leave when an event with an attendee was written? Unknown when not tried.
    pub invitations_leave: Option<bool>,
    /// Largest item of each kind in bytes, where the server says so or refused a larger one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub largest: BTreeMap<Part, u64>,
    /// What becomes of cards of version 4.0 as a whole.
    #[serde(default)]
    pub card_4: Fate,
    /// What becomes of events at a time of day with neither end nor duration (RFC 5545 3.6.1).
    #[serde(default)]
    pub event_without_end: Fate,
    /// What becomes of events that end when they begin, which the RFC forbids and programs write.
    #[serde(default)]
    pub event_of_no_length: Fate,
    /// Are modification times of files kept?
    #[serde(default)]
    pub keeps_file_times: bool,
}

/// What the target's administration says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminSheet {
    /// Version of the server.
    pub version: Option<String>,
    /// Server properties that matter to a migration, as read; names in small letters.
    pub properties: BTreeMap<String, String>,
    /// The licence, as far as it was told.
    pub licence: Option<String>,
}

impl DavSheet {
    /// The largest item of that kind, where there is a limit.
    pub fn largest_of(&self, part: Part) -> Option<u64> {
        self.largest.get(&part).copied()
    }

    /// Is the value of that property lost where it has the mark?
    pub fn is_lost_at(&self, mark: Mark, property: &str) -> bool {
        let name = if property.starts_with("X-") { PROBE } else { property };
        self.lost_at.get(&mark).is_some_and(|names| names.contains(name))
    }
}

impl AdminSheet {
    /// A property of the server, where it was told and is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(&name.to_lowercase()).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A property that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// APPENDs a minute before the server slows down; 0 for no limit.
    pub fn appends_per_minute(&self) -> Option<u64> {
        self.number("C_System_Services_IMAP_MaxAppendsPerMinute")
    }

    /// Largest message in bytes that the server's SMTP takes, where it has a limit.
    pub fn largest_message(&self) -> Option<u64> {
        let limited = self.number("C_Mail_SMTP_Delivery_LimitMsgSize").is_some_and(|limited| limited != 0);
        self.number("C_Mail_SMTP_Delivery_MaxMsgSize").filter(|most| limited && *most > 0)
    }
}

/// What a target can do. Absent parts are not spoken by the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    /// Version of this structure: 1.
    pub version: u32,
    /// When the target was looked at; absent when everything here is assumed.
    pub probed: Option<Timestamp>,
    /// IMAP.
    pub mail: Option<MailSheet>,
    /// CalDAV, CardDAV, WebDAV.
    pub dav: Option<DavSheet>,
    /// The admin API.
    pub admin: Option<AdminSheet>,
    /// What the doctor could not find out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

impl MailSheet {
    /// What is assumed of an IceWarp server that nobody has looked at yet: RFC 3501 and nothing more, English folders.
    pub fn assumed() -> Self {
        let special = [("\\Drafts", "Drafts"), ("\\Sent", "Sent"), ("\\Junk", "Spam"), ("\\Trash", "Trash")];
        let odd = [(Oddity::Empty, Fate::Refused), (Oddity::Nul, Fate::Refused), (Oddity::NoDate, Fate::Changed)];
        MailSheet {
            greeting: String::new(),
            before_login: vec!["IMAP4rev1".to_owned()],
            after_login: vec!["IMAP4rev1".to_owned()],
            delimiter: '/',
            prefix: String::new(),
            special_use: special.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            append_uid: false,
            on_behalf: None,
            largest_message: None,
            keywords: true,
            not_in_names: "*%\"\\".to_owned(),
            appends_per_minute: None,
            odd: odd.into_iter().collect(),
        }
    }

    /// What becomes of messages with that oddity.
    pub fn fate(&self, oddity: Oddity) -> Fate {
        self.odd.get(&oddity).copied().unwrap_or(Fate::Kept)
    }
}

impl Sheet {
    /// What is assumed of an IceWarp server that nobody has looked at yet.
    pub fn assumed() -> Self {
        let dav = DavSheet {
            defaults: [
                ("events", "Calendar"),
                ("tasks", "Tasks"),
                ("journals", "Journal"),
                ("contacts", "Contacts"),
                ("notes", "Notes"),
                ("files", "Files"),
            ]
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
            creates: ["events", "tasks", "contacts", "files"].map(str::to_owned).to_vec(),
            one_kind_each: true,
            ..DavSheet::default()
        };
        Sheet {
            version: 1,
            probed: None,
            mail: Some(MailSheet::assumed()),
            dav: Some(dav),
            admin: None,
            unknown: vec!["nobody has looked at the server: run floe doctor".to_owned()],
        }
    }
}
