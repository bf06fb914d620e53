//! Folder names: which are special, which a target cannot hold, and what stands in their place.

use crate::imap::SpecialUse;
use crate::model::CollectionPath;
use crate::replay::sheet::MailSheet;

/// Names of the one folder that every mailbox has, in the exports of programs that translate it. Compared without case.
const INBOX: &[&str] = &[
    "inbox",
    "posteingang",
    "doručená pošta",
    "boîte de réception",
    "bandeja de entrada",
    "posta in arrivo",
    "postvak in",
    "skrzynka odbiorcza",
    "inkorg",
];

/// What stands for a character that a name cannot hold: visible, and legal everywhere.
const SUBSTITUTE: char = '_';

/// Is it the folder that new mail comes into, by its name?
pub fn is_inbox(path: &CollectionPath) -> bool {
    matches!(path.0.as_slice(), [name] if INBOX.contains(&name.to_lowercase().as_str()))
}

/// The special use of a top folder by its name, when it is one that programs use.
pub fn special_use_of(path: &CollectionPath) -> Option<&'static str> {
    let [name] = path.0.as_slice() else { return None };
    SpecialUse::of_name(name).map(SpecialUse::attribute)
}

/// A name that the target can hold in place of `segment`.
pub fn legal_segment(segment: &str, mail: &MailSheet) -> String {
    let legal: String = segment
        .chars()
        .map(|c| if c == mail.delimiter || c.is_control() || mail.not_in_names.contains(c) { SUBSTITUTE } else { c })
        .collect();
    match legal.trim() {
        "" => SUBSTITUTE.to_string(),
        // Shared accounts and public folders have their roots beside the user's own (protocols of the target).
        _ if legal.starts_with('~') => format!("{SUBSTITUTE}{}", &legal[1..]),
        _ => legal,
    }
}

/// Roots on the target that are not the user's own.
pub fn is_foreign_root(segment: &str) -> bool {
    segment.eq_ignore_ascii_case("Public Folders") || segment.eq_ignore_ascii_case("Shared Folders")
}

/// `path` made different from everything that `taken` knows, by a number behind its last segment.
pub fn unlike(path: CollectionPath, taken: impl Fn(&CollectionPath) -> bool) -> CollectionPath {
    let mut candidate = path.clone();
    let mut number = 2;
    while taken(&candidate) {
        candidate = path.clone();
        if let Some(last) = candidate.0.last_mut() {
            last.push_str(&format!(" ({number})"));
        }
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_folders_are_known_by_their_names_at_the_top_only() {
        assert_eq!(special_use_of(&CollectionPath::new(["Gesendete Elemente"])), Some("\\Sent"));
        assert_eq!(special_use_of(&CollectionPath::new(["KOŠ"])), Some("\\Trash"));
        assert_eq!(special_use_of(&CollectionPath::new(["Projects", "Sent"])), None);
    }

    #[test]
    fn what_a_target_cannot_hold_is_replaced_visibly() {
        let mail = MailSheet::assumed();
        assert_eq!(legal_segment("a/b*c\u{7}", &mail), "a_b_c_");
        assert_eq!(legal_segment("~bob", &mail), "_bob");
        assert_eq!(legal_segment(" ", &mail), "_");
        assert_eq!(legal_segment("Müller & Söhne", &mail), "Müller & Söhne");
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let path = CollectionPath::new(["x", "y"]);
        let free = unlike(path.clone(), |p| *p == path);
        assert_eq!(free, CollectionPath::new(["x", "y (2)"]));
    }
}
