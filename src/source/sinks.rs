//! For the tests of the readers: small trees, and a sink that keeps everything.

use std::fs;
use std::path::PathBuf;

use super::{FoundItem, ItemSink, Reader};
use crate::error::Result;
use crate::model::{Outcome, Place};

/// Keeps what a reader hands on.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) items: Vec<FoundItem>,
    pub(super) exceptions: Vec<(String, Outcome, String)>,
    pub(super) originals: Vec<PathBuf>,
}

impl Kept {
    pub(super) fn places(&self) -> Vec<String> {
        self.items.iter().map(|i| i.place.path.clone()).collect()
    }

    pub(super) fn reasons(&self) -> Vec<String> {
        self.exceptions.iter().map(|e| e.2.clone()).collect()
    }
}

impl ItemSink for Kept {
    fn item(&mut self, item: FoundItem) -> Result<()> {
        self.items.push(item);
        Ok(())
    }

    fn exception(&mut self, place: Place, outcome: Outcome, reason: &str, _: String) -> Result<()> {
        self.exceptions.push((place.path, outcome, reason.to_owned()));
        Ok(())
    }

    fn original(&mut self, _: Place, path: PathBuf) -> Result<()> {
        self.originals.push(path);
        Ok(())
    }

    fn read_up_to(&mut self, _: u64, _: u128) {}

    fn resumed(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Reads all collections, checks every ledger, and gives their names and what was in them.
pub(super) fn read_all(reader: &dyn Reader) -> (Vec<String>, Kept) {
    let mut all = Kept::default();
    let heads = reader.collections().unwrap();
    for head in &heads {
        let before = all.items.len() + all.exceptions.len();
        let found = reader.count(head).unwrap();
        reader.read(head, None, &mut all).unwrap();
        assert_eq!(found, (all.items.len() + all.exceptions.len() - before) as u64, "the ledger of {} balances", head.path);
    }
    (heads.iter().map(|h| h.path.to_string()).collect(), all)
}

/// A tree of small files; names that end in `/` are folders.
pub(super) fn tree_of(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        let path = dir.path().join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("Subject: {name}\n\nx\n")).unwrap();
        }
    }
    dir
}
