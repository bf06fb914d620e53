//! Keeping collections apart that would get the same name, and INBOX recognised in any case.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;

use crate::model::CollectionPath;

/// Names given so far, and how often one was taken already: with thousands of folders of one name, no number is tried twice.
#[derive(Default)]
pub(super) struct Apart {
    given: HashSet<CollectionPath>,
    tries: HashMap<CollectionPath, u32>,
}

impl Apart {
    /// The path, or if it is taken already, with its last segment as on disk, and if need be with a number.
    pub(super) fn path(&mut self, segments: Vec<String>, on_disk: Option<&OsStr>) -> CollectionPath {
        let mut path = CollectionPath(segments);
        if let [only] = path.0.as_mut_slice()
            && only.eq_ignore_ascii_case("inbox")
        {
            "INBOX".clone_into(only);
        }
        let on_disk = on_disk.unwrap_or_default().to_string_lossy();
        if self.given.insert(path.clone()) {
            return path;
        }
        let mut name = |text: String| {
            if let Some(last) = path.0.last_mut() {
                *last = text;
            }
            path.clone()
        };
        let tries = self.tries.entry(name(on_disk.clone().into_owned())).or_insert(0);
        loop {
            *tries = tries.saturating_add(1);
            let path = name(if *tries == 1 { on_disk.clone().into_owned() } else { format!("{on_disk} ({tries})") });
            if self.given.insert(path.clone()) {
                return path;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_collections_share_a_path() {
        let mut apart = Apart::default();
        let paths: Vec<_> =
            [(vec!["INBOX"], "x"), (vec!["inbox"], ".inbox"), (vec!["INBOX"], ".inbox"), (vec!["a", "Inbox"], "b")]
                .into_iter()
                .map(|(segments, disk)| {
                    apart.path(segments.into_iter().map(str::to_owned).collect(), Some(disk.as_ref())).to_string()
                })
                .collect();
        assert_eq!(paths, ["INBOX", ".inbox", ".inbox (2)", "a/Inbox"]);
    }
}
