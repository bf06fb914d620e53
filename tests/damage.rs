//! Damage to an archive: any of it is found, what it touches is named, and everything else still comes out.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use support::archives::{copy, export, files, next_second, roots, wanted};
use support::mail::{Item, Maildir, Random, message};
use support::program::{Ran, on, run, snapshot};

/// An archive of three packs and three snapshots, and what its newest holds.
struct Sample {
    _folder: tempfile::TempDir,
    archive: PathBuf,
    items: Vec<Item>,
}

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(41);
        let mut anna = Maildir::new(&folder.path().join("anna"), "anna");
        let mut boris = Maildir::new(&folder.path().join("boris"), "boris");
        let archive = folder.path().join("a.floe");
        let shared = random.bytes(9000);
        for round in 0..3 {
            if round > 0 {
                next_second();
            }
            anna.fill(&mut random, "", 6, 12_000);
            anna.fill(&mut random, ".Sent", 3, 12_000);
            boris.fill(&mut random, "", 4, 6000);
            boris.put(".Shared", &format!("1700.{round}"), &message(&format!("shared {round}"), &shared));
            let accounts = [("anna", anna.root.as_path()), ("boris", boris.root.as_path())];
            run(&mut snapshot(&accounts, &archive)).expect(0);
        }
        assert_eq!((files(&archive.join("data/packs")).len(), roots(&archive).len()), (3, 3));
        let items = anna.items.into_iter().chain(boris.items).collect();
        Sample { _folder: folder, archive, items }
    }

    /// The files that are no cache.
    fn files(&self) -> Vec<PathBuf> {
        files(&self.archive).into_iter().filter(|f| !f.starts_with("index")).collect()
    }

    /// Runs a test with a file changed, and puts it back.
    fn with_changed(&self, file: &Path, changed: Option<&[u8]>, test: impl FnOnce()) {
        let path = self.archive.join(file);
        let good = fs::read(&path).unwrap();
        match changed {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        test();
        fs::write(&path, good).unwrap();
    }

    fn verify(&self, more: &[&str]) -> Ran {
        run(&mut on(&self.archive, "verify", more))
    }

    /// A quick check finds it.
    #[track_caller]
    fn is_found(&self, what: &str) -> Ran {
        let ran = self.verify(&[]);
        assert_eq!(ran.code(), 2, "{what}: {ran}");
        assert!(ran.text().contains("damaged: "), "{what}: {ran}");
        ran
    }

    /// A full check finds it and names every item that no longer comes out; the others do come out.
    #[track_caller]
    fn is_named_and_contained(&self, what: &str) {
        let full = self.verify(&["--full"]);
        assert_eq!(full.code(), 2, "{what}: {full}");
        let (out, exported) = export(&self.archive, &[]);
        let lost = missing(&self.items, &out);
        assert!(out.keys().all(|d| self.items.iter().any(|i| i.sha256 == *d)), "{what}: bytes come out that never went in");
        if lost.is_empty() {
            return;
        }
        assert_eq!(exported.code(), 1, "{what}: {exported}");
        let (full, exported) = (full.text(), exported.text());
        for item in lost {
            assert!(names(&full, item), "{what}: the check does not name {item:?}:\n{full}");
            assert!(names(&exported, item), "{what}: export does not name {item:?}:\n{exported}");
        }
    }
}

/// The items that did not come out.
fn missing<'a>(items: &'a [Item], out: &BTreeMap<String, usize>) -> Vec<&'a Item> {
    let mut left = out.clone();
    let lost = |item: &&Item| match left.get_mut(&item.sha256) {
        Some(n) if *n > 0 => {
            *n -= 1;
            false
        }
        _ => true,
    };
    items.iter().filter(lost).collect()
}

/// Does a line name the item by account and file, or say that the account's or the folder's listing is gone?
fn names(text: &str, item: &Item) -> bool {
    text.lines().any(|line| line.contains(&item.account) && (line.contains(&item.file) || line.contains("listing")))
}

/// Positions over a file: its two ends, and an even spread.
fn positions(random: &mut Random, length: usize, count: usize) -> Vec<usize> {
    let mut at: Vec<usize> = (0..count).map(|n| (n * length + random.below(length as u64) as usize) / count).collect();
    at.extend([
        0,
        1,
        4,
        5,
        length / 2,
        length - 1,
        length.saturating_sub(4),
        length.saturating_sub(9),
        length.saturating_sub(12),
    ]);
    at.retain(|at| *at < length);
    at.sort_unstable();
    at.dedup();
    at
}

#[test]
fn any_flipped_byte_is_found() {
    let sample = Sample::new();
    let mut random = Random::fresh("flipped bytes");
    let mut tried = 0;
    for file in sample.files() {
        let good = fs::read(sample.archive.join(&file)).unwrap();
        let count = if file.starts_with("data/packs") { 50 } else { 20 };
        for at in positions(&mut random, good.len(), count) {
            let mut bad = good.clone();
            bad[at] ^= 1 << random.below(8);
            sample.with_changed(&file, Some(&bad), || {
                sample.is_found(&format!("{} byte {at}", file.display()));
            });
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
    sample.verify(&["--full"]).expect(0);
}

#[test]
fn a_full_check_names_the_items_that_a_flipped_byte_of_a_pack_touches_and_the_others_come_out() {
    let sample = Sample::new();
    let mut random = Random::fresh("items touched");
    for file in sample.files().into_iter().filter(|f| f.starts_with("data/packs")) {
        let good = fs::read(sample.archive.join(&file)).unwrap();
        for at in positions(&mut random, good.len(), 12) {
            let mut bad = good.clone();
            bad[at] ^= 1 << random.below(8);
            sample.with_changed(&file, Some(&bad), || {
                sample.is_named_and_contained(&format!("{} byte {at} of {}", file.display(), good.len()));
            });
        }
    }
}

#[test]
fn any_file_cut_grown_emptied_or_deleted_is_found_named_and_contained() {
    let sample = Sample::new();
    let mut random = Random::fresh("cut files");
    for file in sample.files() {
        let good = fs::read(sample.archive.join(&file)).unwrap();
        let length = good.len();
        let cuts = [1, 4, 9, 17, 100, length / 2, length].map(|n| length.saturating_sub(n));
        let mut changes: Vec<(String, Option<Vec<u8>>)> =
            cuts.iter().map(|&to| (format!("cut to {to} of {length}"), Some(good[..to].to_vec()))).collect();
        changes.push(("with bytes after its end".into(), Some([good.as_slice(), b"\nmore\n"].concat())));
        changes.push((
            "with zeros instead of a stretch".into(),
            Some({
                let mut bad = good.clone();
                let from = random.below(length as u64 / 2) as usize;
                bad[from..from + length / 4 + 1].fill(0);
                bad
            }),
        ));
        changes.push(("deleted".into(), None));
        for (what, bytes) in changes {
            sample.with_changed(&file, bytes.as_deref(), || {
                let what = format!("{} {what}", file.display());
                sample.is_found(&what);
                if file.starts_with("data/packs") {
                    sample.is_named_and_contained(&what);
                }
            });
        }
    }
    sample.verify(&["--full"]).expect(0);
}

#[test]
fn the_whole_frames_of_a_pack_whose_end_is_gone_are_still_read() {
    let sample = Sample::new();
    for file in sample.files().into_iter().filter(|f| f.starts_with("data/packs")) {
        let good = fs::read(sample.archive.join(&file)).unwrap();
        let mut flipped = good.clone();
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        for bad in [flipped.as_slice(), &good[..last], &good[..last - 30]] {
            sample.with_changed(&file, Some(bad), || {
                sample.is_found(&format!("{} {}", file.display(), bad.len()));
                let (out, ran) = export(&sample.archive, &[]);
                assert!(out == wanted(&sample.items), "{} {}: {ran}", file.display(), bad.len());
            });
        }
    }
}

#[test]
fn swapped_and_strange_files_are_found_and_contained() {
    let sample = Sample::new();
    for folder in ["data/packs", "data/snapshots"] {
        let files: Vec<PathBuf> = sample.files().into_iter().filter(|f| f.starts_with(folder)).collect();
        let path = |n: usize| sample.archive.join(&files[n]);
        let swap = || {
            let other = sample.archive.join("swap");
            fs::rename(path(0), &other).unwrap();
            fs::rename(path(1), path(0)).unwrap();
            fs::rename(&other, path(1)).unwrap();
        };
        swap();
        sample.is_found(&format!("two files of {folder} swapped"));
        if folder == "data/packs" {
            sample.is_named_and_contained("two packs swapped");
        }
        swap();
        // The same bytes under another name that could be one.
        let double = path(0).with_file_name(path(0).file_name().unwrap().to_str().unwrap().replace(char::is_numeric, "0"));
        fs::copy(path(0), &double).unwrap();
        let ran = sample.verify(&[]);
        assert!(matches!(ran.code(), 0 | 2), "a file of {folder} doubled: {ran}");
        let (out, ran) = export(&sample.archive, &[]);
        assert!(out == wanted(&sample.items), "a file of {folder} doubled: {ran}");
        fs::remove_file(double).unwrap();
        // Names that no writer gives are no reason to refuse the rest.
        for name in ["x", "..tar.zst", ".json", "0.tar.zst", "0.json", "20261122T210500Z-0123456789ab.json.age"] {
            fs::write(sample.archive.join(folder).join(name), "junk").unwrap();
            let (out, ran) = export(&sample.archive, &[]);
            assert!(out == wanted(&sample.items), "{folder}/{name}: {ran}");
            fs::remove_file(sample.archive.join(folder).join(name)).unwrap();
        }
    }
    sample.verify(&["--full"]).expect(0);
}

#[test]
fn a_file_in_the_place_of_a_folder_or_a_folder_in_that_of_a_file_is_found() {
    let sample = Sample::new();
    for file in sample.files() {
        let path = sample.archive.join(&file);
        let aside = sample.archive.join("aside");
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        let ran = sample.verify(&[]);
        assert_eq!(ran.code(), 2, "a folder in the place of {}: {ran}", file.display());
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    sample.verify(&["--full"]).expect(0);
}

#[test]
fn one_bad_root_does_not_stop_the_others_from_being_listed_and_taken_out() {
    let sample = Sample::new();
    let all = roots(&sample.archive);
    let id = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let before: Vec<_> = all.iter().map(|root| export(&sample.archive, &["--snapshot", &id(root)]).0).collect();
    for (i, root) in all.iter().enumerate() {
        let good = fs::read(root).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 4;
        let newer = String::from_utf8(good.clone()).unwrap().replace("\"version\": 1", "\"version\": 2").into_bytes();
        let file = root.strip_prefix(&sample.archive).unwrap();
        let changes: [(&str, Option<&[u8]>); 5] = [
            ("flipped", Some(&flipped)),
            ("emptied", Some(b"")),
            ("cut", Some(&good[..good.len() / 2])),
            ("of a later version", Some(&newer)),
            ("deleted", None),
        ];
        for (what, bytes) in changes {
            sample.with_changed(file, bytes, || {
                sample.is_found(&format!("root {i} {what}"));
                for (j, other) in all.iter().enumerate().filter(|(j, _)| *j != i) {
                    let ran = run(&mut on(&sample.archive, "list", &["--snapshot", &id(other)]));
                    assert!(matches!(ran.code(), 0 | 1), "root {i} {what}: list {j}: {ran}");
                    let (out, ran) = export(&sample.archive, &["--snapshot", &id(other)]);
                    assert!(matches!(ran.code(), 0 | 1) && out == before[j], "root {i} {what}: export {j}: {ran}");
                }
            });
        }
    }
}

#[test]
fn a_damaged_or_missing_cache_loses_nothing() {
    let sample = Sample::new();
    let mut random = Random::fresh("cache");
    let good = sample.archive.with_extension("cache");
    copy(&sample.archive.join("index"), &good);
    let check = |what: &str| {
        let (out, ran) = export(&sample.archive, &[]);
        assert!(ran.code() == 0 && out == wanted(&sample.items), "{what}: {ran}");
        let ran = sample.verify(&["--full"]);
        // A check may say that the cache is bad; it must not say that an item is.
        assert!(ran.code() == 0 || ran.text().contains("index"), "{what}: {ran}");
        assert!(!sample.items.iter().any(|item| ran.text().contains(&item.file)), "{what}: {ran}");
    };
    let index = sample.archive.join("index");
    let restore = || {
        fs::remove_dir_all(&index).unwrap();
        copy(&good, &index);
    };
    for file in files(&good) {
        let bytes = fs::read(good.join(&file)).unwrap();
        let path = index.join(&file);
        for at in if bytes.is_empty() { Vec::new() } else { positions(&mut random, bytes.len(), 20) } {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << random.below(8);
            fs::write(&path, &bad).unwrap();
            check(&format!("index/{} byte {at}", file.display()));
            restore();
        }
        for bad in [Vec::new(), bytes[..bytes.len() / 2].to_vec(), random.bytes(bytes.len() + 100), vec![0xff; 4096]] {
            fs::write(&path, &bad).unwrap();
            check(&format!("index/{} of {} other bytes", file.display(), bad.len()));
            restore();
        }
        fs::remove_file(&path).unwrap();
        check(&format!("index/{} deleted", file.display()));
        restore();
    }
    fs::remove_dir_all(&index).unwrap();
    check("no index");
    fs::write(&index, "a file").unwrap();
    check("a file in the place of index/");
}

#[test]
fn after_damage_to_a_pack_a_new_run_stores_the_lost_items_again() {
    let sample = Sample::new();
    let pack = sample.files().into_iter().find(|f| f.starts_with("data/packs")).unwrap();
    fs::remove_file(sample.archive.join(&pack)).unwrap();
    next_second();
    let folder = sample.archive.parent().unwrap();
    let accounts = [("anna", folder.join("anna")), ("boris", folder.join("boris"))];
    let named: Vec<(&str, &Path)> = accounts.iter().map(|(name, path)| (*name, path.as_path())).collect();
    run(&mut snapshot(&named, &sample.archive)).expect(0);
    let (out, ran) = export(&sample.archive, &[]);
    assert!(ran.code() == 0 && out == wanted(&sample.items), "{ran}");
}

#[test]
fn a_damaged_manifest_is_no_reason_to_throw_away_what_is_left_of_a_pack() {
    let sample = Sample::new();
    let pack = sample.files().into_iter().find(|f| f.starts_with("data/packs")).unwrap();
    let bytes = fs::read(sample.archive.join(&pack)).unwrap();
    fs::write(sample.archive.join(&pack), &bytes[..bytes.len() - 1]).unwrap();
    fs::write(sample.archive.join("manifest-sha256.txt"), "no manifest").unwrap();
    let folder = sample.archive.parent().unwrap();
    run(&mut snapshot(&[("anna", &folder.join("anna"))], &sample.archive)).expect(0);
    assert!(sample.archive.join(&pack).is_file());
}
