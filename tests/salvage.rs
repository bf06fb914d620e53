//! Salvage: whatever was done to the packs, each whole frame comes out, what is lost is named, and the new archive is valid.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::archives::{copy, export, files, roots, wanted};
use support::mail::{Item, Maildir, Random, message};
use support::program::{Ran, floe, on, run, snapshot};

/// An archive of three packs and three snapshots of two accounts.
struct Sample {
    folder: tempfile::TempDir,
    items: Vec<Item>,
}

impl Sample {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(seed);
        let mut anna = Maildir::new(&folder.path().join("anna"), "anna");
        let mut boris = Maildir::new(&folder.path().join("boris"), "boris");
        let shared = random.bytes(9000);
        for round in 0..3 {
            anna.fill(&mut random, "", 5, 12_000);
            anna.fill(&mut random, ".Sent", 3, 12_000);
            anna.put("", &format!("1800.{round}"), format!("From: a@b.example\nSubject: short {round}\n\nshort\n").as_bytes());
            boris.fill(&mut random, "", 4, 6000);
            boris.put(".Shared", &format!("1700.{round}"), &message(&format!("shared {round}"), &shared));
            let accounts = [("anna", anna.root.as_path()), ("boris", boris.root.as_path())];
            run(&mut snapshot(&accounts, &folder.path().join("a.floe"))).expect(0);
        }
        let items = anna.items.into_iter().chain(boris.items).collect();
        Sample { folder, items }
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("a.floe")
    }

    /// A copy to be broken.
    fn broken(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        copy(&self.archive(), &path);
        path
    }

    /// Salvages; the new archive is whole, and what it holds and what is named as lost are all that there was.
    #[track_caller]
    fn salvage(&self, broken: &Path) -> (PathBuf, Value) {
        let new = broken.with_extension("saved");
        let ran = salvage(broken, &new, &["--json"]);
        let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let lost = ["lost", "damage"].iter().any(|what| !report[what].as_array().unwrap().is_empty());
        assert_eq!(ran.code(), i32::from(lost || report["broken_recipes"] != 0), "{ran}");
        is_whole(&new);
        (new, report)
    }
}

fn salvage(broken: &Path, new: &Path, more: &[&str]) -> Ran {
    run(floe().arg("salvage").arg(broken).arg("--archive").arg(new).args(more))
}

/// Nothing of the archive is damaged; a check may say that events from before were lost.
#[track_caller]
fn is_whole(archive: &Path) {
    let check = run(&mut on(archive, "verify", &["--full"]));
    let text = check.text();
    let mut notes = text.lines().filter(|line| line.starts_with("note: "));
    assert!(check.code() <= 1 && !text.contains("damaged: "), "{check}");
    assert!(
        notes.all(|note| note.starts_with("note: the events before snapshot") && note.contains("it was salvaged")),
        "{check}"
    );
}

/// Digests of everything that comes out.
fn out(archive: &Path) -> BTreeMap<String, usize> {
    let (mut out, ran) = export(archive, &[]);
    assert!(ran.code() <= 1, "{ran}");
    // Exported files of a stray collection are files as well.
    out.retain(|_, n| *n > 0);
    out
}

fn packs(archive: &Path) -> Vec<PathBuf> {
    let folder = archive.join("data/packs");
    files(&folder).into_iter().map(|f| folder.join(f)).collect()
}

#[test]
fn with_everything_but_packs_and_roots_gone_the_same_archive_comes_out() {
    let sample = Sample::new(1);
    let heap = sample.folder.path().join("heap");
    fs::create_dir_all(heap.join("lost+found/deep")).unwrap();
    for (n, file) in packs(&sample.archive()).into_iter().chain(roots(&sample.archive())).enumerate() {
        fs::copy(file, heap.join(if n % 2 == 0 { format!("f{n}") } else { format!("lost+found/deep/#{n}") })).unwrap();
    }
    fs::write(heap.join("notes.txt"), "nothing of this").unwrap();
    let (new, report) = sample.salvage(&heap);
    assert_eq!((report["kept"].as_array().unwrap().len(), report["strays"].as_u64()), (3, Some(0)), "{report}");
    let names = |archive: &Path| roots(archive).iter().map(|r| fs::read(r).unwrap()).collect::<Vec<_>>();
    assert!(names(&new) == names(&sample.archive()), "the roots are not those that were there");
    is_whole(&new);
    assert!(out(&new) == wanted(&sample.items), "the items that come out are not those that went in");
    // There is an archive now.
    salvage(&heap, &new, &[]).expect(64);
    salvage(&heap, &heap.join("new"), &[]).expect(64);
    salvage(&sample.folder.path().join("anna/new"), &sample.folder.path().join("none"), &[]).expect(64);
}

#[test]
fn damage_costs_the_frames_that_it_is_in_and_what_is_lost_is_named() {
    let sample = Sample::new(2);
    let mut random = Random::fresh("salvage");
    let all = wanted(&sample.items);
    let mut losses = 0;
    for n in 0..18 {
        let broken = sample.broken(&format!("broken{n}"));
        let pack = packs(&broken)[n % 3].clone();
        let mut bytes = fs::read(&pack).unwrap();
        let length = bytes.len();
        match n / 3 {
            0 | 1 => bytes[random.below(length as u64) as usize] ^= 1 << random.below(8),
            2 => bytes.truncate(random.below(length as u64) as usize),
            3 => {
                let from = random.below(length as u64 / 2) as usize;
                bytes[from..from + length / 8].fill(0);
            }
            // Bytes that were put in, and a beginning that is gone.
            4 => drop(bytes.splice(length / 3..length / 3, random.bytes(700))),
            _ => drop(bytes.drain(..random.below(length as u64 / 2) as usize)),
        }
        fs::write(&pack, bytes).unwrap();
        fs::remove_dir_all(broken.join("index")).unwrap();
        let _ = fs::remove_file(broken.join("manifest-sha256.txt"));
        let (new, report) = sample.salvage(&broken);
        let got = out(&new);
        let text = report["lost"].to_string();
        for item in &sample.items {
            let named = text.contains(&item.sha256) || text.contains("listing");
            assert!(got.contains_key(&item.sha256) || named, "case {n}: {item:?} is neither there nor named: {report}");
        }
        losses += usize::from(got.keys().filter(|d| all.contains_key(*d)).count() < all.len());
        // Nothing that could be had is left behind: each item whose objects are whole in the broken archive is there.
        let (before, _) = export(&broken, &[]);
        assert!(before.keys().all(|d| got.contains_key(d)), "case {n}: the broken archive gives more than the salvaged one");
        // What is lost is counted in the new archive.
        let ran = run(&mut on(&new, "list", &[]));
        assert!(ran.code() <= 1, "{ran}");
    }
    assert!(losses > 3, "hardly anything was ever lost: {losses}");
}

#[test]
fn without_roots_or_listings_every_item_still_comes_out() {
    let sample = Sample::new(3);
    let want: BTreeSet<String> = wanted(&sample.items).into_keys().collect();
    // No roots: account listings are left.
    let broken = sample.broken("rootless");
    fs::remove_dir_all(broken.join("data/snapshots")).unwrap();
    let (new, report) = sample.salvage(&broken);
    assert!(want.iter().all(|d| out(&new).contains_key(d)), "{report}");
    assert!(report["stray_accounts"].as_array().unwrap().len() >= 2, "{report}");
    // The newest root only: its predecessor is missed, and the older listings are kept as accounts of their own.
    let broken = sample.broken("newest");
    for root in &roots(&broken)[..2] {
        fs::remove_file(root).unwrap();
    }
    let (new, report) = sample.salvage(&broken);
    assert!(
        report["damage"].to_string().contains("the snapshot before") && report["remade"].as_array().unwrap().len() == 1,
        "{report}"
    );
    assert!(want.iter().all(|d| out(&new).contains_key(d)), "{report}");
    // One pack alone.
    let alone = sample.folder.path().join("alone");
    fs::create_dir(&alone).unwrap();
    fs::copy(&packs(&sample.archive())[1], alone.join("x")).unwrap();
    let (new, report) = sample.salvage(&alone);
    assert!(!out(&new).is_empty(), "{report}");
    // Nothing at all.
    let nothing = sample.folder.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    fs::write(nothing.join("x.tar.zst"), "no pack").unwrap();
    salvage(&nothing, &sample.folder.path().join("nothing.saved"), &[]).expect(64);
}

#[test]
fn what_is_lost_is_listed_in_the_new_archive_as_failed() {
    let sample = Sample::new(4);
    let broken = sample.broken("gone");
    let written = |path: &PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    let oldest = packs(&sample.archive()).into_iter().min_by_key(written).unwrap();
    fs::remove_file(broken.join("data/packs").join(oldest.file_name().unwrap())).unwrap();
    let new = sample.folder.path().join("gone.saved");
    let ran = salvage(&broken, &new, &[]).expect(1).expect_harmless();
    assert!(ran.text().contains("lost: anna") && ran.text().contains("@acme.example>"), "{ran}");
    let newest = support::archives::root(roots(&new).last().unwrap());
    let (ledger, lost) = (&newest["ledger"], &newest["ledger"]["failed"]["lost in the damaged archive"]);
    assert!(lost.as_u64().unwrap() > 0, "{ledger}");
    assert_eq!(ledger["found"].as_u64(), ledger["captured"].as_u64().map(|n| n + lost.as_u64().unwrap()), "{ledger}");
    is_whole(&new);
    // Put together with what another copy has, nothing is lost.
    let copy_of = sample.folder.path().join("both");
    fs::create_dir(&copy_of).unwrap();
    copy(&broken, &copy_of.join("one"));
    fs::create_dir(copy_of.join("two")).unwrap();
    fs::copy(&oldest, copy_of.join("two/pack")).unwrap();
    let (new, report) = sample.salvage(&copy_of);
    assert_eq!((report["lost"].as_array().unwrap().len(), report["kept"].as_array().unwrap().len()), (0, 3), "{report}");
    is_whole(&new);
    assert!(out(&new) == wanted(&sample.items), "the items that come out are not those that went in");
}

#[test]
fn a_salvage_that_was_killed_is_completed_by_the_next_run() {
    let sample = Sample::new(5);
    let new = sample.folder.path().join("new");
    let mut random = Random::fresh("killed salvage");
    let begun = salvage(&sample.archive(), &sample.folder.path().join("trial"), &[]).expect(0).elapsed;
    for _ in 0..12 {
        let mut child = support::program::start(floe().arg("salvage").arg(sample.archive()).arg("--archive").arg(&new));
        std::thread::sleep(begun.mul_f64(random.below(1000) as f64 / 1100.0));
        let _ = child.kill();
        child.wait().unwrap();
    }
    if new.join("index/salvaging").exists() || !new.join("bagit.txt").exists() {
        salvage(&sample.archive(), &new, &[]).expect(0);
    }
    is_whole(&new);
    assert!(out(&new) == wanted(&sample.items), "the items that come out are not those that went in");
}

#[test]
fn a_file_made_to_cost_time_costs_little() {
    let sample = Sample::new(6);
    let broken = sample.broken("hostile");
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    fs::write(broken.join("a.tar.zst"), magic.repeat(2 << 20)).unwrap();
    // Frames within frames: each block's bytes are the beginning of a frame of 16 MiB whose blocks are the next ones.
    let beginning = [&magic[..], &[0xa4], &(16_u32 << 20).to_le_bytes()].concat();
    let block = [&((beginning.len() as u32) << 3).to_le_bytes()[..3], &beginning].concat();
    fs::write(broken.join("b.tar.zst"), [beginning, block.repeat(1 << 20)].concat()).unwrap();
    let (new, report) = sample.salvage(&broken);
    assert!(report["damage"].to_string().contains("were not searched"), "{report}");
    assert_eq!(report["kept"].as_array().unwrap().len(), 3, "{report}");
    is_whole(&new);
    assert!(out(&new) == wanted(&sample.items), "the items that come out are not those that went in");
}
