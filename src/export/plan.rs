//! Where everything goes: names only, nothing is written. The same snapshot always gets the same names, whatever is selected.
//!
//! ```text
//! ACCOUNT/Maildir/.Folder.Sub/cur/...     mail as Maildir++
//! ACCOUNT/mbox/Folder/Sub.mbox            mail as mbox
//! ACCOUNT/mail/Folder/Sub/000001-<sha256>.eml
//! ACCOUNT/calendars/Name/UID.ics, contacts/Name/UID.vcf, notes/PATH, files/PATH, originals/PATH
//! ACCOUNT/placements.jsonl, collections.jsonl
//! ```

use base64::Engine as _;

use super::Format;
use super::maildir;
use super::names::Tree;
use crate::model::{CollectionHead, CollectionKind, Place, Placement};

/// Names the accounts of a snapshot.
#[derive(Default)]
pub(super) struct Plan {
    tree: Tree,
}

impl Plan {
    /// The plan of one account; to be asked for all accounts, in order.
    pub(super) fn account(&mut self, name: &str) -> AccountPlan {
        AccountPlan { home: self.tree.file(&[], name.as_bytes(), ""), tree: Tree::default() }
    }
}

/// Names what belongs to one account. All names are relative to `home`.
pub(super) struct AccountPlan {
    /// Name of the account's folder.
    pub home: String,
    tree: Tree,
}

/// Where a collection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// A folder of a Maildir++; the top for `None`.
    Maildir(Option<String>),
    /// One file.
    Mbox {
        /// Folder that it lies in.
        folder: Vec<String>,
        /// Its name.
        file: String,
    },
    /// A file a message.
    Messages(Vec<String>),
    /// A file an item, called after its UID.
    Objects(Vec<String>, &'static str),
    /// Files with paths of their own.
    Files(&'static str),
}

impl Destination {
    /// The path, for people and for `collections.jsonl`.
    pub(super) fn shown(&self) -> String {
        match self {
            Destination::Maildir(None) => maildir::TOP.to_owned(),
            Destination::Maildir(Some(name)) => format!("{}/{name}", maildir::TOP),
            Destination::Mbox { folder, file } => format!("{}/{file}", folder.join("/")),
            Destination::Messages(folder) | Destination::Objects(folder, _) => folder.join("/"),
            Destination::Files(top) => (*top).to_owned(),
        }
    }
}

impl Destination {
    /// Is it called as the collection is? Names that file systems or Maildir++ cannot have are changed.
    pub(super) fn keeps_name(&self, head: &CollectionHead) -> bool {
        let plain = head.path.0.join("/");
        match self {
            Destination::Maildir(None) | Destination::Files(_) => true,
            Destination::Maildir(Some(name)) => *name == maildir::plain_name(&head.path),
            Destination::Mbox { folder, file } => {
                [&folder[1..], std::slice::from_ref(file)].concat().join("/") == plain + ".mbox"
            }
            Destination::Messages(folder) | Destination::Objects(folder, _) => folder[1..].join("/") == plain,
        }
    }
}

impl AccountPlan {
    /// Where a collection goes; to be asked for all collections, in order.
    pub(super) fn collection(&mut self, head: &CollectionHead, format: Format) -> Destination {
        let parts = || head.path.0.iter().map(String::as_bytes);
        match (head.kind, format) {
            (CollectionKind::Mail, Format::Maildir) => Destination::Maildir(maildir::folder_name(&head.path).map(|name| {
                let text = head.path.to_string();
                self.tree.claim(&[maildir::TOP.to_owned()], &name, text.as_bytes())
            })),
            (CollectionKind::Mail, Format::Mbox) => {
                let mut parents: Vec<&[u8]> = parts().collect();
                let last = parents.pop().unwrap_or_default();
                let folder = self.tree.folder(&["mbox".to_owned()], parents);
                let file = self.tree.file(&folder, last, ".mbox");
                Destination::Mbox { folder, file }
            }
            (CollectionKind::Mail, Format::Eml) => Destination::Messages(self.tree.folder(&["mail".to_owned()], parts())),
            (CollectionKind::Calendar, _) => Destination::Objects(self.tree.folder(&["calendars".to_owned()], parts()), ".ics"),
            (CollectionKind::AddressBook, _) => Destination::Objects(self.tree.folder(&["contacts".to_owned()], parts()), ".vcf"),
            (CollectionKind::Notes, _) => Destination::Files("notes"),
            (CollectionKind::Files, _) => Destination::Files("files"),
        }
    }

    /// Folder and name of an item that gets a file of its own; to be asked for all items of a collection, in order.
    pub(super) fn item(&mut self, to: &Destination, number: u64, item: &Placement) -> (Vec<String>, String) {
        match to {
            Destination::Objects(folder, extension) => {
                let text = item.uid.clone().unwrap_or_else(|| format!("item-{number:06}"));
                (folder.clone(), self.tree.file(folder, text.as_bytes(), extension))
            }
            Destination::Files(top) => self.file(top, &item.source),
            Destination::Messages(folder) => (folder.clone(), format!("{number:06}-{}.eml", item.sha256)),
            Destination::Mbox { folder, file } => (folder.clone(), file.clone()),
            Destination::Maildir(name) => {
                let folder =
                    [Some(maildir::TOP), name.as_deref(), Some("cur")].into_iter().flatten().map(str::to_owned).collect();
                (folder, maildir::base_name(number, item))
            }
        }
    }

    /// Folder and name of a file that is kept under its own path.
    pub(super) fn file(&mut self, top: &str, place: &Place) -> (Vec<String>, String) {
        let bytes = place.path_bytes.as_ref().and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
        let bytes = bytes.unwrap_or_else(|| place.path.clone().into_bytes());
        let mut parts: Vec<&[u8]> = bytes.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
        let last = parts.pop().unwrap_or_default();
        let folder = self.tree.folder(&[top.to_owned()], parts);
        let name = self.tree.file(&folder, last, "");
        (folder, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::item;
    use crate::model::CollectionPath;

    fn destinations(format: Format, paths: &[&[&str]]) -> Vec<String> {
        let mut plan = Plan::default().account("anna");
        let head = |path: &[&str]| CollectionHead::new(CollectionPath::new(path.iter().copied()), CollectionKind::Mail, "");
        paths.iter().map(|path| plan.collection(&head(path), format).shown()).collect()
    }

    #[test]
    fn no_name_of_the_archive_leaves_its_folder() {
        let hostile: [&[&str]; 5] = [&[".."], &["", ""], &["/etc", "passwd"], &["a\0b", "c\n"], &["con"]];
        let safe =
            |path: &str| path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'));
        for format in [Format::Maildir, Format::Mbox, Format::Eml] {
            let shown = destinations(format, &hostile);
            assert!(shown.iter().all(|path| safe(path)), "{shown:?}");
        }
        let mut plan = Plan::default().account("../../x");
        assert_eq!(plan.home, "%2E.%2F..%2Fx");
        for path in ["../../etc/passwd", "/etc/passwd", "a/../b", "a//b", "", "x\u{1b}[2J", "NUL", "a/b"] {
            let (folder, name) = plan.file("files", &Place::file(path));
            assert!(folder[0] == "files" && safe(&folder.join("/")) && safe(&name), "{path:?} {folder:?} {name:?}");
        }
        let bytes = Place { path: "x\u{fffd}".into(), path_bytes: Some("eP8=".into()), ..Place::default() };
        assert_eq!(plan.file("files", &bytes).1, "x%FF");
    }

    #[test]
    fn folders_that_differ_only_in_case_are_kept_apart() {
        for format in [Format::Maildir, Format::Mbox, Format::Eml] {
            let shown = destinations(format, &[&["Work"], &["work"], &["Work", "a"], &["WORK", "a"]]);
            let mut folded: Vec<String> = shown.iter().map(|s| s.to_lowercase()).collect();
            folded.sort();
            folded.dedup();
            assert_eq!(folded.len(), 4, "{shown:?}");
        }
    }

    #[test]
    fn objects_of_one_uid_get_files_of_their_own() {
        let mut plan = Plan::default().account("anna");
        let head = CollectionHead::new(CollectionPath::new(["Work"]), CollectionKind::Calendar, "");
        let to = plan.collection(&head, Format::Eml);
        let mut name = |uid: Option<&str>| {
            let mut event = item(b"x");
            event.uid = uid.map(str::to_owned);
            plan.item(&to, 7, &event).1
        };
        assert_eq!(name(Some("a@b")), "a@b.ics");
        assert!(name(Some("A@B")).starts_with("A@B~"));
        assert_eq!(name(Some("../up")), "%2E.%2Fup.ics");
        assert_eq!(name(None), "item-000007.ics");
        let long = name(Some(&"x".repeat(300)));
        assert!(long.len() < 140 && long.ends_with(".ics"), "{long}");
    }
}
