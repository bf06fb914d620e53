//! Distinct names: no two items of an export share a file, also where the file system folds case or Unicode normal forms.
//!
//! Texts come from the archive and are hostile; names are those of `model::safe_file_name`. What is remembered of a name
//! is 16 bytes, so that a folder of a million files stays affordable. Two names whose marks collide only get a suffix that
//! they would not have needed.

use std::collections::{HashMap, HashSet};

use unicode_normalization::UnicodeNormalization as _;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::{Digest, safe_file_name_of_bytes};

/// Levels of folders that are made; deeper ones become part of one name.
const MAX_DEPTH: usize = 32;
/// Longest extension that a suffix is put before.
const MAX_EXTENSION: usize = 12;

/// A name as file systems compare it that fold case and normal forms.
fn folded(name: &str) -> String {
    name.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd().collect()
}

/// Names given so far in a tree of folders.
#[derive(Default)]
pub(super) struct Tree {
    taken: HashSet<u128>,
    /// Folders by what they are called in the source.
    folders: HashMap<Vec<Vec<u8>>, Vec<String>>,
}

impl Tree {
    /// A name in `folder` that no other file or folder there has: `name`, or with a short suffix before its extension.
    /// `text` is what the name was made from; different texts get different suffixes whatever else is there.
    pub(super) fn claim(&mut self, folder: &[String], name: &str, text: &[u8]) -> String {
        let parent: String = folder.iter().map(|part| folded(part) + "/").collect();
        let mut claimed = name.to_owned();
        let mut tries = 0u32;
        while !self.taken.insert(xxh3_128((parent.clone() + &folded(&claimed)).as_bytes())) {
            let mut seed = text.to_vec();
            if tries > 0 {
                seed.extend_from_slice(&tries.to_le_bytes());
            }
            claimed = with_suffix(name, &Digest::of(&seed).short());
            tries += 1;
        }
        claimed
    }

    /// A file in a folder, called after `text`.
    pub(super) fn file(&mut self, folder: &[String], text: &[u8], extension: &str) -> String {
        let name = safe_file_name_of_bytes(text) + extension;
        self.claim(folder, &name, text)
    }

    /// The folder that lies at `path` below `base`, made of names that no other path gets.
    pub(super) fn folder<'a>(&mut self, base: &[String], path: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut key: Vec<Vec<u8>> = base.iter().map(|part| part.as_bytes().to_vec()).collect();
        let mut folder = base.to_vec();
        for part in shallow(path) {
            key.push(part.clone());
            if let Some(known) = self.folders.get(&key) {
                folder.clone_from(known);
                continue;
            }
            let name = self.file(&folder, &part, "");
            folder.push(name);
            self.folders.insert(key.clone(), folder.clone());
        }
        folder
    }
}

/// The parts of a path; what lies too deep is one part.
fn shallow<'a>(path: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = path.into_iter().map(<[u8]>::to_vec).collect();
    if parts.len() > MAX_DEPTH {
        let rest = parts.split_off(MAX_DEPTH - 1).join(&b'/');
        parts.push(rest);
    }
    parts
}

/// `name~suffix`, or `name~suffix.ext`.
fn with_suffix(name: &str, suffix: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= MAX_EXTENSION => format!("{stem}~{suffix}.{extension}"),
        _ => format!("{name}~{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_file_system_may_fold_get_suffixes() {
        let mut tree = Tree::default();
        let top = ["out".to_owned()];
        let names: Vec<String> = ["Straße.txt", "STRASSE.txt", "strasse.TXT", "caf\u{e9}", "cafe\u{301}", "other", "caf\u{e9}"]
            .iter()
            .map(|text| tree.file(&top, text.as_bytes(), ""))
            .collect();
        assert_eq!((names[0].as_str(), names[3].as_str(), names[5].as_str()), ("Straße.txt", "café", "other"));
        let folded: HashSet<String> = names.iter().map(|n| super::folded(n)).collect();
        assert_eq!(folded.len(), names.len(), "{names:?}");
        assert!(names[1].starts_with("STRASSE~") && names[1].ends_with(".txt"), "{names:?}");
        assert_eq!(Tree::default().file(&top, "STRASSE.txt".as_bytes(), ""), "STRASSE.txt", "other folders do not count");
    }

    #[test]
    fn one_path_is_one_folder_and_another_path_another() {
        let mut tree = Tree::default();
        let mut folder = |path: &str| tree.folder(&[], path.split('/').map(str::as_bytes)).join("/");
        assert_eq!(folder("a/b"), "a/b");
        assert_eq!(folder("a/b"), "a/b");
        let upper = folder("A/b");
        assert!(upper.starts_with("A~") && upper.ends_with("/b"), "{upper}");
        assert_eq!(folder("../x"), "%2E%2E/x");
        let deep = "d/".repeat(500) + "e";
        assert_eq!(folder(&deep).matches('/').count(), MAX_DEPTH - 1);
        assert_ne!(folder(&deep), folder(&(deep.clone() + "e")));
    }

    #[test]
    fn a_file_and_a_folder_do_not_share_a_name() {
        let mut tree = Tree::default();
        assert_eq!(tree.folder(&[], [b"a.mbox".as_slice()]), ["a.mbox"]);
        assert!(tree.file(&[], b"a", ".mbox").starts_with("a~"));
    }
}
