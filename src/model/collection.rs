//! Collections: what kind they are, what they are called, and what the source says of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a collection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CollectionKind {
    /// A mail folder.
    Mail,
    /// Events, tasks and journals, as the source mixes them.
    Calendar,
    /// Contacts.
    AddressBook,
    /// Notes.
    Notes,
    /// Plain files with a path.
    Files,
}

impl fmt::Display for CollectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CollectionKind::Mail => "mail",
            CollectionKind::Calendar => "calendar",
            CollectionKind::AddressBook => "address-book",
            CollectionKind::Notes => "notes",
            CollectionKind::Files => "files",
        })
    }
}

/// A collection's name as Unicode segments from the top, such as `["Customers", "Müller & Söhne"]`.
///
/// As text the segments are joined by `/`; a `/` or `\` inside a segment is written `\/` or `\\`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CollectionPath(pub Vec<String>);

impl CollectionPath {
    /// From segments.
    pub fn new<S: Into<String>>(segments: impl IntoIterator<Item = S>) -> Self {
        CollectionPath(segments.into_iter().map(Into::into).collect())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Self {
        let mut segments = vec![String::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (c, segments.last_mut()) {
                ('/', _) => segments.push(String::new()),
                ('\\', Some(last)) => last.push(chars.next().unwrap_or('\\')),
                (c, Some(last)) => last.push(c),
                (_, None) => {}
            }
        }
        CollectionPath(segments)
    }
}

impl fmt::Display for CollectionPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            f.write_str(&segment.replace('\\', "\\\\").replace('/', "\\/"))?;
        }
        Ok(())
    }
}

/// A collection as the source describes it, before any item is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionHead {
    /// Its name.
    pub path: CollectionPath,
    /// What it holds.
    pub kind: CollectionKind,
    /// Where it lies, relative to the account's root in the source (lossy text for people).
    pub source_path: String,
    /// IMAP UIDVALIDITY (RFC 3501 2.3.1.1), where the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid_validity: Option<u32>,
    /// IMAP UIDNEXT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid_next: Option<u32>,
    /// The source's own lasting id of the collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// Whether the owner is subscribed to it, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribed: Option<bool>,
    /// Special use (RFC 6154), such as `\Sent`, where the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub special_use: Option<String>,
    /// Name to show, where it differs from the last segment of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Colour as the source writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl CollectionHead {
    /// A collection with a name, a kind and a place, and nothing else known.
    pub fn new(path: CollectionPath, kind: CollectionKind, source_path: impl Into<String>) -> Self {
        CollectionHead {
            path,
            kind,
            source_path: source_path.into(),
            uid_validity: None,
            uid_next: None,
            guid: None,
            subscribed: None,
            special_use: None,
            display_name: None,
            color: None,
            description: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_keeps_slashes_in_names() {
        let path = CollectionPath::new(["a/b", "c\\d", ""]);
        assert_eq!(path.to_string(), "a\\/b/c\\\\d/");
        assert_eq!(CollectionPath::parse(&path.to_string()), path);
    }
}
