//! Looking into archives from outside: their files, what they export, what a check says of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use floe::model::Digest;

use super::mail::Item;
use super::program::{Ran, on, run};

/// All files of a folder, relative to it, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    all.filter(|e| e.file_type().is_file()).map(|e| e.path().strip_prefix(folder).unwrap().to_owned()).collect()
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How often each digest is among the files of a folder.
pub fn digests(folder: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for file in if folder.is_dir() { files(folder) } else { Vec::new() } {
        *found.entry(Digest::of(&fs::read(folder.join(file)).unwrap()).to_string()).or_default() += 1;
    }
    found
}

/// How often each digest is among the items.
pub fn wanted<'a>(items: impl IntoIterator<Item = &'a Item>) -> BTreeMap<String, usize> {
    let mut wanted = BTreeMap::new();
    for item in items {
        *wanted.entry(item.sha256.clone()).or_default() += 1;
    }
    wanted
}

/// How often each digest is among the items of an export; what it tells of them in files of its own is left out, and removed.
pub fn exported(out: &Path) -> BTreeMap<String, usize> {
    let records = ["placements.jsonl", "collections.jsonl"].map(PathBuf::from);
    let accounts = if out.is_dir() { fs::read_dir(out).unwrap().map(|e| e.unwrap().path()).collect() } else { Vec::new() };
    for path in accounts {
        if path.is_dir() {
            records.iter().for_each(|name| drop(fs::remove_file(path.join(name))));
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    digests(out)
}

/// Exports into a new folder; what came out, and what was said.
pub fn export(archive: &Path, more: &[&str]) -> (BTreeMap<String, usize>, Ran) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut options = vec!["--out", out.to_str().unwrap()];
    options.extend(more);
    let mut ran = run(&mut on(archive, "export", &options));
    // Only the first exceptions are shown; all of them are in a file.
    for file in if out.is_dir() { files(&out) } else { Vec::new() } {
        if file.to_str().is_some_and(|name| name.starts_with("exceptions-")) {
            ran.stderr.extend(fs::read(out.join(file)).unwrap());
        }
    }
    (exported(&out), ran)
}

/// The archive verifies in full, and gives back exactly these items.
#[track_caller]
pub fn holds_exactly<'a>(archive: &Path, items: impl IntoIterator<Item = &'a Item>) {
    run(&mut on(archive, "verify", &["--full"])).expect(0);
    let (out, ran) = export(archive, &[]);
    ran.expect(0);
    assert!(out == wanted(items), "the items that come out are not those that went in");
}

/// The roots of an archive, oldest first.
pub fn roots(archive: &Path) -> Vec<PathBuf> {
    let folder = archive.join("data/snapshots");
    if folder.is_dir() { files(&folder).into_iter().map(|f| folder.join(f)).collect() } else { Vec::new() }
}

/// A root as JSON.
pub fn root(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Waits for the next second of the clock: roots are named for the second, and so ordered by it.
pub fn next_second() {
    let past = UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    std::thread::sleep(Duration::from_nanos(u64::from(1_010_000_000 - past)));
}
