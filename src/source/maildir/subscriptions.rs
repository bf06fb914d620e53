//! What an account says of its folders in files at the top of the store: subscriptions and special use.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::names::folder_text;
use super::tree::Folder;
use super::uidlist::each_line;
use crate::model::CollectionPath;
use crate::source::{Format, disk};

/// Files that list the folders that the owner is subscribed to.
pub(super) const FILES: [&str; 3] = ["subscriptions", "courierimapsubscribed", "dovecot-attributes"];

/// Notes on every folder whether it is subscribed to, where there is a list, and its special use.
pub(super) fn apply(root: &Path, format: Format, folders: &mut [Folder]) {
    let known: HashSet<CollectionPath> = folders.iter().map(|f| f.head.path.clone()).collect();
    let mut listed = HashSet::new();
    let mut any = false;
    for name in ["subscriptions", "courierimapsubscribed"] {
        let Ok((file, _)) = disk::open_regular(&root.join(name)) else { continue };
        any = true;
        let mut version_2 = false;
        let mut first = true;
        let _ = each_line(file, &mut |line| {
            if std::mem::take(&mut first) && line == b"V\t2" {
                version_2 = true;
            } else if let Some(path) = folder_of(line, version_2, format, &known) {
                listed.insert(path);
            }
            true
        });
    }
    let uses = special_uses(root);
    for folder in folders {
        if any {
            let subscribed = listed.contains(&folder.head.path);
            // Servers show INBOX whether it is listed or not, so its absence says nothing.
            folder.head.subscribed = (subscribed || folder.head.path.0 != ["INBOX"]).then_some(subscribed);
        }
        folder.head.special_use = folder.head.guid.as_ref().and_then(|guid| uses.get(guid)).cloned();
    }
}

/// The folder that a line means. The separator depends on the server's settings, so the likely one is tried first.
fn folder_of(line: &[u8], version_2: bool, format: Format, known: &HashSet<CollectionPath>) -> Option<CollectionPath> {
    let separators: &[Option<u8>] = match format {
        _ if version_2 => &[Some(b'\t')],
        Format::MaildirPlusPlus => &[Some(b'.'), Some(b'/'), None],
        _ => &[Some(b'/'), Some(b'.'), None],
    };
    separators.iter().find_map(|separator| {
        let mut parts: Vec<&[u8]> = line.split(|b| Some(*b) == *separator).collect();
        if parts.len() > 256 {
            return None;
        }
        let text = |parts: &[&[u8]]| {
            let plain = parts.iter().map(|part| folder_text(&unescape(part, version_2), false));
            let path = CollectionPath::new(plain);
            if known.contains(&path) {
                return Some(path);
            }
            let utf8 = CollectionPath::new(parts.iter().map(|part| folder_text(&unescape(part, version_2), true)));
            known.contains(&utf8).then_some(utf8)
        };
        text(&parts).or_else(|| {
            // Courier, and Dovecot with a prefix, put every folder under INBOX.
            let first = parts.first()?.eq_ignore_ascii_case(b"inbox");
            if !first {
                return None;
            }
            parts.remove(0);
            if parts.is_empty() { Some(CollectionPath::new(["INBOX"])).filter(|p| known.contains(p)) } else { text(&parts) }
        })
    })
}

/// Undoes Dovecot's escapes of a version 2 list: 1 and a letter for NUL, 1, TAB, CR, LF.
fn unescape(part: &[u8], version_2: bool) -> Vec<u8> {
    if !version_2 {
        return part.to_vec();
    }
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, if byte == 1 { bytes.next() } else { None }) {
            (1, Some(b'0')) => out.push(0),
            (1, Some(b'1')) => out.push(1),
            (1, Some(b't')) => out.push(b'\t'),
            (1, Some(b'r')) => out.push(b'\r'),
            (1, Some(b'n')) => out.push(b'\n'),
            (byte, other) => {
                out.push(byte);
                out.extend(other);
            }
        }
    }
    out
}

/// Special uses by the folder's GUID, from Dovecot's attribute file: a line with a key, then a line with its value.
fn special_uses(root: &Path) -> HashMap<String, String> {
    const MAX_FOLDERS: usize = 10_000;
    let mut uses = HashMap::new();
    let Ok((file, _)) = disk::open_regular(&root.join("dovecot-attributes")) else { return uses };
    let mut guid: Option<String> = None;
    let mut is_key = true;
    let _ = each_line(file, &mut |line| {
        let text = String::from_utf8_lossy(line);
        if is_key {
            let mut parts = text.rsplit('/');
            guid = (parts.next() == Some("specialuse")).then(|| parts.next().unwrap_or_default().to_owned());
        } else if let Some(guid) = guid.take()
            && let Some(first) = text.split(' ').find(|w| w.starts_with('\\'))
        {
            uses.insert(guid, first.to_owned());
        }
        is_key = !is_key;
        uses.len() < MAX_FOLDERS
    });
    uses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribed(format: Format, list: (&str, &str), dirs: &[&str]) -> Vec<(String, Option<bool>)> {
        let store = tempfile::tempdir().unwrap();
        for dir in dirs {
            std::fs::create_dir_all(store.path().join(dir).join("cur")).unwrap();
        }
        std::fs::write(store.path().join(list.0), list.1).unwrap();
        let mut folders = super::super::tree::folders(store.path(), format).unwrap();
        apply(store.path(), format, &mut folders);
        folders.iter().map(|f| (f.head.path.to_string(), f.head.subscribed)).collect()
    }

    #[test]
    fn all_ways_of_writing_subscriptions_are_read() {
        let dirs = ["", ".A.B", ".&AMQ-", ".C"];
        let want: Vec<_> =
            [("A/B", Some(true)), ("C", Some(false)), ("INBOX", None), ("Ä", Some(true))].map(|(n, s)| (n.to_owned(), s)).into();
        for list in [
            ("subscriptions", "A.B\n&AMQ-\ngone\n"),
            ("subscriptions", "V\t2\n\nA\tB\n&AMQ-\n"),
            ("subscriptions", "A/B\n&AMQ-\n"),
            ("courierimapsubscribed", "INBOX.A.B\nINBOX.&AMQ-\n"),
        ] {
            assert_eq!(subscribed(Format::MaildirPlusPlus, list, &dirs), want, "{list:?}");
        }
    }

    #[test]
    fn a_dot_in_a_nested_name_is_no_separator() {
        let got = subscribed(Format::MaildirFs, ("subscriptions", "INBOX\na.b\n"), &["", "a.b", "a/b"]);
        let want = [("INBOX", Some(true)), ("a/b", Some(false)), ("a.b", Some(true))];
        let mut want: Vec<_> = want.map(|(n, s)| (n.to_owned(), s)).into();
        want.sort();
        let mut got = got;
        got.sort();
        assert_eq!(got, want);
    }

    #[test]
    fn special_use_is_found_by_guid() {
        let store = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(store.path().join(".Gesendet/cur")).unwrap();
        std::fs::write(store.path().join("dovecot-attributes"), "shared/00ff/comment\nx\nshared/00ff/specialuse\n\\Sent\n")
            .unwrap();
        let mut folders = super::super::tree::folders(store.path(), Format::MaildirPlusPlus).unwrap();
        folders[0].head.guid = Some("00ff".into());
        apply(store.path(), Format::MaildirPlusPlus, &mut folders);
        assert_eq!(folders[0].head.special_use.as_deref(), Some("\\Sent"));
    }
}
