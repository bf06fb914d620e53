//! A second snapshot: what is unchanged is not read again, what is new is stored, and the listings are those of a full reading.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use floe::archive::{Archive, Check, Options, Writer, verify};
use floe::model::{Digest, Flag, Placement};
use floe::monitor::Silent;
use floe::snapshot;
use floe::source::discover;

/// A Maildir and an mbox, old enough to be trusted by their times.
struct Store {
    folder: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let store = Store { folder: tempfile::tempdir().unwrap() };
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(store.maildir().join(part)).unwrap();
        }
        for n in 0..300 {
            store.deliver(n, "S");
        }
        fs::create_dir_all(store.source().join("anna/mbox")).unwrap();
        store.append_to_mbox(0..50);
        store
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("users")
    }

    fn maildir(&self) -> PathBuf {
        self.source().join("anna/Maildir")
    }

    fn mbox(&self) -> PathBuf {
        self.source().join("anna/mbox/Archive.mbox")
    }

    fn message(&self, n: usize, flags: &str) -> PathBuf {
        self.maildir().join(format!("cur/{n:04}.M1.host:2,{flags}"))
    }

    fn deliver(&self, n: usize, flags: &str) {
        let path = self.message(n, flags);
        fs::write(&path, format!("Subject: mail {n}\nMessage-ID: <{n}@x>\n\n{}", format!("line {n}\n").repeat(n))).unwrap();
        settle(&path);
    }

    fn append_to_mbox(&self, numbers: std::ops::Range<usize>) {
        let mut text = fs::read(self.mbox()).unwrap_or_default();
        for n in numbers {
            text.extend_from_slice(format!("From a@b Mon Jan  1 00:00:00 2024\nSubject: box {n}\n\nbody {n}\n\n").as_bytes());
        }
        fs::write(self.mbox(), text).unwrap();
        settle(&self.mbox());
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("a.floe")
    }

    /// Takes a snapshot; gives its tree and the number of new objects.
    fn snapshot(&self, archive: &Path, reread: bool) -> (Digest, u64) {
        let mut writer = Writer::open(archive, 3).unwrap();
        let found = discover(&[self.source()], &[], None).unwrap();
        let done = snapshot::run(&found, None, &mut writer, Options { level: None, reread }, &Silent).unwrap();
        assert!(done.unbalanced.is_empty(), "{:?}", done.unbalanced);
        (done.snapshot.root.tree, done.new_objects)
    }

    /// The tree that a full reading into a new archive gives.
    fn tree(&self) -> Digest {
        self.snapshot(tempfile::tempdir().unwrap().path(), true).0
    }
}

/// Makes a file so old that a later change would show.
fn settle(path: &Path) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

fn placements(archive: &Path) -> Vec<Placement> {
    let archive = Archive::open(archive).unwrap();
    let mut all = Vec::new();
    for account in &archive.snapshot(None).unwrap().root.accounts {
        for collection in archive.collections(account).unwrap() {
            archive
                .placements(&collection, &mut |p| {
                    all.push(p);
                    Ok(())
                })
                .unwrap();
        }
    }
    all
}

/// Changes a file's last bytes and keeps its length, inode and times, so that only reading it would show it.
fn change_secretly(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.len() - 6;
    bytes[end..end + 3].copy_from_slice(b"xyz");
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn an_unchanged_store_is_not_read_again_unless_asked_for() {
    let store = Store::new();
    let (first, new) = store.snapshot(&store.archive(), false);
    assert!(new >= 350);
    change_secretly(&store.message(7, "S"));
    change_secretly(&store.mbox());
    assert_eq!(store.snapshot(&store.archive(), false), (first, 0));
    let (reread, _) = store.snapshot(&store.archive(), true);
    assert_ne!(reread, first);
    assert_eq!(reread, store.tree());
}

/// The archive as an interrupted run left it, whose pack then broke: bag files, record and roots are those of before, but the index knows what
/// lay in the pack. Gives the pack.
fn interrupt(store: &Store) -> PathBuf {
    let archive = store.archive();
    let folder = |name: &str| {
        let files = fs::read_dir(archive.join(name)).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.is_file()).collect::<BTreeSet<PathBuf>>()
    };
    let tags: Vec<(PathBuf, Vec<u8>)> = folder("").into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let (packs, roots, seen) = (folder("data/packs"), folder("data/snapshots"), folder("index/seen"));
    let before: Vec<(PathBuf, Vec<u8>)> = seen.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    store.snapshot(&archive, false);
    folder("data/snapshots").difference(&roots).for_each(|root| fs::remove_file(root).unwrap());
    folder("index/seen").iter().for_each(|file| fs::remove_file(file).unwrap());
    tags.into_iter().chain(before).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let pack = folder("data/packs").difference(&packs).next().unwrap().clone();
    let bytes = fs::read(&pack).unwrap();
    fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();
    pack
}

#[test]
fn a_pack_that_an_interrupted_run_left_and_that_broke_makes_later_runs_read_once_and_not_for_ever() {
    let store = Store::new();
    let archive = store.archive();
    store.snapshot(&archive, false);
    store.deliver(300, "");
    let pack = interrupt(&store);
    // More mail makes it another pack that the next run writes; it removes the broken one.
    store.deliver(301, "");
    let (tree, new) = store.snapshot(&archive, false);
    assert!(!pack.exists() && new > 0 && tree == store.tree());
    // Whoever checks now does not take it for lost ...
    let found = verify(&Archive::open(&archive).unwrap(), &Check { full: true, ..Check::default() }, &Silent).unwrap();
    assert!(found.damage.is_empty() && found.warnings.is_empty(), "{found:?}");
    // ... and the next but one reads nothing: a change that only reading would show is not seen.
    change_secretly(&store.message(7, "S"));
    assert_eq!(store.snapshot(&archive, false), (tree, 0));
    assert!(Writer::open(&archive, 3).unwrap().is_whole());
}

#[test]
fn a_lost_pack_whose_mail_was_stored_anew_makes_later_runs_read_once_and_not_for_ever() {
    let store = Store::new();
    let archive = store.archive();
    store.snapshot(&archive, false);
    for pack in fs::read_dir(archive.join("data/packs")).unwrap() {
        fs::remove_file(pack.unwrap().path()).unwrap();
    }
    assert!(!Writer::open(&archive, 3).unwrap().is_whole());
    let (tree, new) = store.snapshot(&archive, false);
    assert!(new >= 350 && tree == store.tree(), "{new}");
    change_secretly(&store.message(7, "S"));
    assert_eq!(store.snapshot(&archive, false), (tree, 0));
}

#[test]
fn only_new_mail_is_read_and_the_listings_are_those_of_a_full_reading() {
    let store = Store::new();
    store.snapshot(&store.archive(), false);
    for n in 300..306 {
        store.deliver(n, "");
    }
    // Flags change, a message goes, and one is replaced in a way that only reading it again would show.
    fs::rename(store.message(3, "S"), store.message(3, "FRS")).unwrap();
    fs::remove_file(store.message(4, "S")).unwrap();
    let before = fs::read(store.message(7, "S")).unwrap();
    change_secretly(&store.message(7, "S"));
    let (tree, new) = store.snapshot(&store.archive(), false);
    // Six messages, of which the long ones are a body and a recipe, and the listings.
    assert!((6..=6 * 2 + 4).contains(&new), "{new}");
    let time = fs::metadata(store.message(7, "S")).unwrap().modified().unwrap();
    fs::write(store.message(7, "S"), before).unwrap();
    File::options().write(true).open(store.message(7, "S")).unwrap().set_modified(time).unwrap();
    assert_eq!(tree, store.tree());
    let answered = placements(&store.archive()).into_iter().find(|p| p.source.path.contains("/0003.")).unwrap();
    assert_eq!(answered.flags, [Flag::Answered, Flag::Flagged, Flag::Seen]);
}

#[test]
fn a_grown_mbox_is_read_on_from_its_old_end() {
    let store = Store::new();
    store.snapshot(&store.archive(), false);
    store.append_to_mbox(50..60);
    let (tree, new) = store.snapshot(&store.archive(), false);
    assert!((10..=14).contains(&new), "{new}");
    assert_eq!(tree, store.tree());
    let archive = Archive::open(&store.archive()).unwrap();
    let first = &archive.snapshots().unwrap()[0];
    assert_eq!(first.root.ledger.captured, 350, "the first snapshot is as it was");
}

#[test]
fn a_file_too_young_to_be_trusted_is_read_again() {
    let store = Store::new();
    let path = store.message(7, "S");
    fs::write(&path, "Subject: young\n\naaaa").unwrap();
    // So young that it stays so, however slow the machine is.
    File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    let (first, _) = store.snapshot(&store.archive(), false);
    change_secretly(&path);
    assert_ne!(store.snapshot(&store.archive(), false).0, first);
}

#[test]
fn what_is_lost_with_a_pack_or_the_cache_is_stored_anew() {
    let store = Store::new();
    let (first, _) = store.snapshot(&store.archive(), false);
    fs::remove_dir_all(store.archive().join("index")).unwrap();
    assert_eq!(store.snapshot(&store.archive(), false), (first, 0));
    for entry in fs::read_dir(store.archive().join("data/packs")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let (tree, new) = store.snapshot(&store.archive(), false);
    assert!(tree == first && new >= 350, "{new}");
}
