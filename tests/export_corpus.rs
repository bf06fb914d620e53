//! Real and tortured mail through every format and back: whatever comes back differently must be named in the list of exceptions.
//!
//! Reads the corpus in `../shared/corpus`, or where `FLOE_CORPUS` says; says so and ends where there is none.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test")]
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn corpus(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::env::var_os("FLOE_CORPUS").map_or_else(|| root.join("../shared/corpus"), PathBuf::from);
    let file = corpus.join(name);
    if !file.is_file() {
        println!("skipped: {} is not here", file.display());
        return None;
    }
    Some(file)
}

fn floe(args: &[&str]) -> (i32, Vec<u8>) {
    let output = Command::new(env!("CARGO_BIN_EXE_floe")).args(args).output().unwrap();
    (output.status.code().unwrap(), output.stdout)
}

/// By collection, in order: digest, flags, keywords, date, and the place in the source.
type Items = BTreeMap<String, Vec<(String, String, String)>>;

fn items(archive: &str) -> Items {
    let mut items = Items::new();
    let (code, lines) = floe(&["manifest", archive, "--format", "jsonl"]);
    assert_eq!(code, 0);
    for line in String::from_utf8(lines).unwrap().lines() {
        let item: Value = serde_json::from_str(line).unwrap();
        if item["kind"] == "mail" {
            let state = format!("{} {} {}", item["flags"], item["keywords"], item["date"]["at"]);
            let place = item["source"].to_string();
            items.entry(item["collection"].to_string()).or_default().push((item["sha256"].to_string(), state, place));
        }
    }
    items
}

/// The places that the list of exceptions names.
fn named(out: &Path) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for entry in fs::read_dir(out).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("exceptions-") {
            for line in fs::read_to_string(entry.path()).unwrap().lines() {
                places.insert(serde_json::from_str::<Value>(line).unwrap()["source"].to_string());
            }
        }
    }
    places
}

fn round_trip(corpus_file: &str, folder: &str, format: &str) {
    let Some(file) = corpus(corpus_file) else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    assert!(Command::new("tar").args(["--zstd", "-xf"]).arg(file).arg("-C").arg(dir.path()).status().unwrap().success());
    let store = format!("x={}", path(folder));
    assert!(floe(&["snapshot", "--account", &store, "--as", format, "--archive", &path("a")]).0 < 2);
    let before = items(&path("a"));
    let all: usize = before.values().map(Vec::len).sum();
    assert!(all > 100, "{all}");
    for (target, sub, read_as) in [("maildir", "Maildir", "maildir++"), ("mbox", "mbox", "mbox"), ("eml", "mail", "eml")] {
        let (out, again) = (path(target), path(&format!("again-{target}")));
        assert!(floe(&["export", &path("a"), "--out", &out, "--format", target]).0 < 2);
        let store = format!("x={out}/x/{sub}");
        assert!(floe(&["snapshot", "--account", &store, "--as", read_as, "--archive", &again]).0 < 2);
        let after = items(&again);
        assert_eq!(after.values().map(Vec::len).sum::<usize>(), all, "{target}");
        let named = named(Path::new(&out));
        // A Maildir changes names of folders; of all formats it alone keeps digest, state and date.
        let by_name = |name: &str| if target == "maildir" { name.replace('.', "_") } else { name.to_owned() };
        for (collection, before) in &before {
            // What must be equal: all of it in a Maildir, no state in .eml files, no digest in an mbox.
            let facts = |item: &(String, String, String)| match target {
                "mbox" => item.1.clone(),
                "eml" => format!("{} {}", item.0, item.1.rsplit(' ').next().unwrap()),
                _ => format!("{} {}", item.0, item.1),
            };
            let mut after: Vec<String> = after[&by_name(collection)].iter().map(facts).collect();
            // The time of a file is all that an .eml has for a date, so it cannot say that there is none.
            let undated = |item: &(String, String, String)| target == "eml" && item.1.ends_with("null");
            for item in before.iter().filter(|item| !named.contains(&item.2) && !undated(item)) {
                let at = after.iter().position(|other| *other == facts(item));
                after
                    .swap_remove(at.unwrap_or_else(|| panic!("{target}: {} {} is not there and not named", item.2, facts(item))));
            }
        }
    }
}

#[test]
fn tortured_mail_comes_back_or_is_named() {
    round_trip("b-mime-torture/eml.tar.zst", "eml", "eml");
}

#[test]
fn mboxes_of_every_origin_come_back_or_are_named() {
    round_trip("c-mbox-variants/mbox.tar.zst", "mbox", "mbox");
}

#[test]
fn a_list_archive_comes_back_or_is_named() {
    round_trip("a-real-mail/cypherpunks-mbox.tar.zst", "cypherpunks-mbox", "mbox");
}
