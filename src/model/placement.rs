//! A placement: one item in one collection, with its state; one line of a collection listing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Digest;

/// An IMAP system flag (RFC 3501 2.3.2) that a store can hold. `\Recent` belongs to sessions and is never kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Flag {
    /// Answered.
    #[serde(rename = "\\Answered")]
    Answered,
    /// Marked for removal.
    #[serde(rename = "\\Deleted")]
    Deleted,
    /// A draft.
    #[serde(rename = "\\Draft")]
    Draft,
    /// Flagged for attention.
    #[serde(rename = "\\Flagged")]
    Flagged,
    /// Read.
    #[serde(rename = "\\Seen")]
    Seen,
}

impl Flag {
    /// All of them, sorted.
    pub const ALL: [Flag; 5] = [Flag::Answered, Flag::Deleted, Flag::Draft, Flag::Flagged, Flag::Seen];

    /// As IMAP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Flag::Answered => "\\Answered",
            Flag::Deleted => "\\Deleted",
            Flag::Draft => "\\Draft",
            Flag::Flagged => "\\Flagged",
            Flag::Seen => "\\Seen",
        }
    }

    /// From what IMAP writes, in any case.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.name().eq_ignore_ascii_case(name))
    }
}

/// Which rule supplied an internal date, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateRule {
    /// The store holds it as such (an index, a From_ line, an export's own field).
    Stored,
    /// The file's modification time, where the format defines it so (Maildir).
    Mtime,
    /// The topmost `Received` header.
    Received,
    /// The `Date` header.
    DateHeader,
    /// The file's modification time, for want of anything better.
    FileTime,
}

/// An internal date and where it comes from. Always known together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternalDate {
    /// The instant, whole seconds.
    pub at: Timestamp,
    /// Which rule supplied it.
    pub rule: DateRule,
}

/// Digest and size of another form of the same item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// SHA-256 of that form.
    pub sha256: Digest,
    /// Bytes of that form.
    pub size: u64,
}

/// Where an item lies in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// File, relative to the account's root in the source, with `/` between levels.
    pub path: String,
    /// The file name's bytes in base64, only when they are not valid UTF-8 (then `path` is lossy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<String>,
    /// First byte of the item in that file, when the file holds several items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Bytes that the item takes in that file, when the file holds several items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// IMAP UID, where the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

impl Place {
    /// A whole file.
    pub fn file(path: impl Into<String>) -> Self {
        Place { path: path.into(), ..Place::default() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::printable(&self.path))?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        if let Some(uid) = self.uid {
            write!(f, " (UID {uid})")?;
        }
        Ok(())
    }
}

/// One item in one collection: a line of a collection listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// SHA-256 of the item's bytes; the name of its object.
    pub sha256: Digest,
    /// The item's bytes.
    pub size: u64,
    /// The form an IMAP server gives back (every line end CRLF), when it differs. Mail only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crlf: Option<Form>,
    /// The bytes as they lie in the source, when the container changes them (From-quoting, compression).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Form>,
    /// Without the header lines in which mbox programs keep state, when there are such lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stateless: Option<Form>,
    /// Internal date and the rule that supplied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<InternalDate>,
    /// System flags, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// Keywords in the source's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Labels, where the source places one item under several names (Gmail).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Message-ID (RFC 5322 3.6.4), with its angle brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// UID of a calendar or contact object (RFC 5545 3.8.4.7, RFC 6350 6.7.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// `VEVENT`, `VTODO`, `VJOURNAL`, `VFREEBUSY` or `VCARD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Unix permission bits. Files only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// The source's own lasting id of the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// Where it lies in the source.
    pub source: Place,
    /// What is odd about it, in words; captured all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_has_one_name_in_listings_and_on_the_wire() {
        for flag in Flag::ALL {
            assert_eq!(serde_json::to_value(flag).expect("json"), flag.name());
            assert_eq!(Flag::of_name(&flag.name().to_uppercase()), Some(flag));
        }
        assert_eq!(Flag::of_name("\\Recent"), None);
    }
}
