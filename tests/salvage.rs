//! Salvage: whatever was done to the packs, each whole frame comes out, what is lost is named, and the new archive is valid.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::archives::{copy, export, files, roots, wanted};
use support::keys::{identity, opened};
use support::mail::{Item, Maildir, Random, message};
use support::program::{Ran, floe, on, run, snapshot};

/// An archive of three packs and three snapshots of two accounts.
struct Sample {
    folder: tempfile::TempDir,
    items: Vec<Item>,
    /// What opens it, as options.
    key: Vec<String>,
}

impl Sample {
    fn new(seed: u64) -> Self {
        Self::with(seed, |_| (Vec::new(), Vec::new()))
    }

    /// The same, encrypted for two recipients, one of which opens it.
    fn encrypted(seed: u64) -> Self {
        Self::with(seed, |folder| {
            let mut options = Vec::new();
            for name in ["customer", "escrow", "stranger"] {
                let recipient = identity(&folder.join(name));
                fs::write(folder.join(name).with_extension("pub"), &recipient).unwrap();
                if name != "stranger" {
                    options.extend(["--recipient".to_owned(), recipient]);
                }
            }
            (options, vec!["--identity".to_owned(), folder.join("customer").to_str().unwrap().to_owned()])
        })
    }

    /// With what `options` gives: options of each snapshot, and what opens the archive.
    fn with(seed: u64, options: impl FnOnce(&Path) -> (Vec<String>, Vec<String>)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(seed);
        let mut anna = Maildir::new(&folder.path().join("anna"), "anna");
        let mut boris = Maildir::new(&folder.path().join("boris"), "boris");
        let shared = random.bytes(9000);
        let (options, key) = options(folder.path());
        for round in 0..3 {
            anna.fill(&mut random, "", 5, 12_000);
            anna.fill(&mut random, ".Sent", 3, 12_000);
            anna.put("", &format!("1800.{round}"), format!("From: a@b.example\nSubject: short {round}\n\nshort\n").as_bytes());
            boris.fill(&mut random, "", 4, 6000);
            boris.put(".Shared", &format!("1700.{round}"), &message(&format!("shared {round}"), &shared));
            let accounts = [("anna", anna.root.as_path()), ("boris", boris.root.as_path())];
            run(snapshot(&accounts, &folder.path().join("a.floe")).args(&options).args(&key)).expect(0);
        }
        let items = anna.items.into_iter().chain(boris.items).collect();
        Sample { folder, items, key }
    }

    /// What opens the archive, and then these.
    fn options<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.key.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn recipient(&self, name: &str) -> String {
        fs::read_to_string(self.at(name).with_extension("pub")).unwrap()
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
        let ran = salvage(broken, &new, &self.options(&["--json"]));
        let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let lost = ["lost", "damage"].iter().any(|what| !report[what].as_array().unwrap().is_empty());
        assert_eq!(ran.code(), i32::from(lost || report["broken_recipes"] != 0), "{ran}");
        is_whole_with(&new, &self.options(&[]));
        (new, report)
    }
}

fn salvage(broken: &Path, new: &Path, more: &[&str]) -> Ran {
    run(floe().arg("salvage").arg(broken).arg("--archive").arg(new).args(more))
}

/// Nothing of the archive is damaged; a check may say that events from before were lost.
#[track_caller]
fn is_whole(archive: &Path) {
    is_whole_with(archive, &[]);
}

#[track_caller]
fn is_whole_with(archive: &Path, key: &[&str]) {
    let check = run(on(archive, "verify", &["--full"]).args(key));
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
    out_with(archive, &[])
}

fn out_with(archive: &Path, key: &[&str]) -> BTreeMap<String, usize> {
    let (mut out, ran) = export(archive, key);
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

/// Whoever has this key gets everything out, and nothing in the folder is readable without.
#[track_caller]
fn holds_everything(sample: &Sample, archive: &Path, key: &[&str]) {
    is_whole_with(archive, key);
    assert!(out_with(archive, key) == wanted(&sample.items), "the items that come out are not those that went in");
}

#[track_caller]
fn tells_nothing(archive: &Path) {
    for file in files(&archive.join("data")) {
        let bytes = fs::read(archive.join("data").join(&file)).unwrap();
        assert!(file.to_str().unwrap().ends_with(".age") && bytes.starts_with(b"age-encryption.org/v1\n"), "{file:?}");
    }
    for file in files(archive).into_iter().filter(|f| f.extension().is_none_or(|e| e != "py" && e != "txt")) {
        let bytes = fs::read(archive.join(&file)).unwrap();
        for word in ["Subject", "anna", "boris", "\"account\""] {
            assert!(memchr::memmem::find(&bytes, word.as_bytes()).is_none(), "{word} in {file:?}");
        }
    }
}

#[test]
fn renamed_encrypted_files_without_index_and_bag_give_the_same_archive_for_the_same_recipients() {
    let sample = Sample::encrypted(11);
    let heap = sample.at("heap");
    fs::create_dir_all(heap.join("lost+found/deep")).unwrap();
    for (n, file) in packs(&sample.archive()).into_iter().chain(roots(&sample.archive())).enumerate() {
        fs::copy(file, heap.join(if n % 2 == 0 { format!("f{n}") } else { format!("lost+found/deep/#{n}") })).unwrap();
    }
    let (new, report) = sample.salvage(&heap);
    assert_eq!((report["kept"].as_array().unwrap().len(), report["strays"].as_u64()), (3, Some(0)), "{report}");
    // The roots lie there as they did, so that signatures on them hold.
    let names = |archive: &Path| roots(archive).iter().map(|r| fs::read(r).unwrap()).collect::<Vec<_>>();
    assert!(names(&new) == names(&sample.archive()), "the roots are not those that were there");
    tells_nothing(&new);
    for key in ["customer", "escrow"] {
        holds_everything(&sample, &new, &["--identity", sample.at(key).to_str().unwrap()]);
    }
    run(on(&new, "list", &["--identity"]).arg(sample.at("stranger"))).expect(2);
}

#[test]
fn damage_costs_the_frames_and_pieces_that_it_is_in_in_encrypted_packs_too() {
    let sample = Sample::encrypted(12);
    let mut random = Random::fresh("salvage of encrypted packs");
    let all = wanted(&sample.items);
    let key = sample.options(&[]);
    let (mut losses, mut headers) = (0, 0);
    for n in 0..15 {
        let broken = sample.broken(&format!("broken{n}"));
        let pack = packs(&broken)[n % 3].clone();
        let name = pack.file_name().unwrap().to_str().unwrap().to_owned();
        let mut bytes = fs::read(&pack).unwrap();
        let length = bytes.len();
        match n / 3 {
            0 => bytes[random.below(length as u64) as usize] ^= 1 << random.below(8),
            // In the chunks, not in the header.
            1 => bytes[length / 2 + random.below(length as u64 / 2) as usize] ^= 1 << random.below(8),
            2 => bytes.truncate(length / 4 + random.below(length as u64 / 2) as usize),
            3 => {
                let from = length / 3 + random.below(length as u64 / 3) as usize;
                bytes[from..from + length / 8].fill(0);
            }
            // The header is gone.
            _ => drop(bytes.drain(..random.below(length as u64 / 2) as usize + 100)),
        }
        fs::write(&pack, bytes).unwrap();
        fs::remove_dir_all(broken.join("index")).unwrap();
        let _ = fs::remove_file(broken.join("manifest-sha256.txt"));
        let (new, report) = sample.salvage(&broken);
        tells_nothing(&new);
        let got = out_with(&new, &key);
        let text = report["lost"].to_string();
        for item in &sample.items {
            let named = text.contains(&item.sha256) || text.contains("listing");
            assert!(got.contains_key(&item.sha256) || named, "case {n}: {item:?} is neither there nor named: {report}");
        }
        let damage = report["damage"].to_string();
        if n / 3 == 4 {
            headers += 1;
            assert!(damage.contains(&format!("{name} has lost its header")), "case {n}: {report}");
        }
        assert!(n / 3 == 0 || damage.contains(&name), "case {n}: {report}");
        losses += usize::from(got.keys().filter(|d| all.contains_key(*d)).count() < all.len());
        // Nothing that could be had is left behind.
        let (before, _) = export(&broken, &key);
        assert!(before.keys().all(|d| got.contains_key(d)), "case {n}: the broken archive gives more than the salvaged one");
    }
    assert!(losses > 3 && headers == 3, "hardly anything was ever lost: {losses}");
}

#[test]
fn one_damaged_piece_of_a_large_pack_costs_one_frame_and_the_rest_comes_back() {
    // One attachment a frame: frames of packed bytes hold a megabyte.
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(13);
    let mut mail = Maildir::new(&folder.path().join("anna"), "anna");
    for n in 0..6 {
        mail.put("", &format!("1900.{n}"), &message(&format!("large {n}"), &random.bytes(1_200_000)));
    }
    let (key, archive) = (folder.path().join("key"), folder.path().join("a.floe"));
    let recipient = identity(&key);
    run(snapshot(&[("anna", &mail.root)], &archive).args(["--recipient", &recipient])).expect(0);
    let pack = packs(&archive).remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let new = folder.path().join("new");
    let ran = salvage(&archive, &new, &["--identity", key.to_str().unwrap()]).expect(1);
    assert!(ran.text().contains("1 of its ") && ran.text().contains("encrypted pieces of 64 KiB are damaged"), "{ran}");
    let got = out_with(&new, &["--identity", key.to_str().unwrap()]);
    let there = mail.items.iter().filter(|item| got.contains_key(&item.sha256)).count();
    assert!((3..6).contains(&there), "{there} of 6 came back: {ran}");
}

#[test]
fn without_a_key_what_is_encrypted_is_counted_and_a_wrong_key_is_named() {
    let sample = Sample::encrypted(14);
    let new = sample.at("new");
    let closed = salvage(&sample.archive(), &new, &[]).expect(64);
    assert!(closed.text().contains("files are encrypted: give --identity"), "{closed}");
    let stranger = sample.at("stranger");
    let wrong = salvage(&sample.archive(), &new, &["--identity", stranger.to_str().unwrap()]).expect(2);
    assert!(wrong.text().contains("none of the keys given opens any of them"), "{wrong}");
    // Beside what is not encrypted.
    let (clear, both) = (Sample::new(15), sample.at("both"));
    fs::create_dir(&both).unwrap();
    copy(&sample.archive(), &both.join("encrypted"));
    copy(&clear.archive(), &both.join("clear"));
    let ran = salvage(&both, &sample.at("some"), &[]).expect(1);
    let count = files(&sample.archive()).iter().filter(|f| f.extension().is_some_and(|e| e == "age")).count();
    assert!(ran.text().contains(&format!("{count} encrypted files were skipped, for no key was given")), "{ran}");
    assert!(out(&sample.at("some")) == wanted(&clear.items), "{ran}");
    // With the key everything comes out, in the snapshots of both, and what was in clear is encrypted too.
    let all = sample.at("all");
    let ran = salvage(&both, &all, &sample.options(&[])).expect(0);
    tells_nothing(&all);
    let ids: Vec<String> = roots(&all).iter().map(|r| r.file_name().unwrap().to_str().unwrap()[..29].to_owned()).collect();
    let got: BTreeSet<String> =
        ids.iter().flat_map(|id| out_with(&all, &sample.options(&["--snapshot", id])).into_keys()).collect();
    assert!(sample.items.iter().chain(&clear.items).all(|item| got.contains(&item.sha256)), "{ran}");
}

#[test]
fn the_new_archive_is_for_whom_it_is_said_and_in_clear_only_when_asked_for() {
    let sample = Sample::encrypted(16);
    let archive = sample.archive();
    let (clear, other, words) = (sample.at("clear"), sample.at("other"), sample.at("words"));
    salvage(&archive, &clear, &sample.options(&["--in-clear"])).expect(0);
    holds_everything(&sample, &clear, &[]);
    assert!(files(&clear).iter().all(|f| f.extension().is_none_or(|e| e != "age")));

    let stranger = sample.recipient("stranger");
    let ran = salvage(&archive, &other, &sample.options(&["--recipient", &stranger])).expect(0);
    assert!(ran.text().contains(&format!("encrypted for {stranger}\n")) && ran.text().contains("made anew from"), "{ran}");
    tells_nothing(&other);
    holds_everything(&sample, &other, &["--identity", sample.at("stranger").to_str().unwrap()]);
    run(on(&other, "list", &[]).args(sample.options(&[]))).expect(2);
    let root: Value = serde_json::from_slice(&opened(&roots(&other)[0], &sample.at("stranger"))).unwrap();
    assert_eq!(root["recipients"], serde_json::json!([stranger]));

    fs::write(sample.at("word"), "correct horse\n").unwrap();
    let word = sample.at("word").to_str().unwrap().to_owned();
    salvage(&archive, &words, &sample.options(&["--new-passphrase-file", &word])).expect(0);
    holds_everything(&sample, &words, &["--passphrase-file", &word]);
    salvage(&archive, &sample.at("no"), &sample.options(&["--in-clear", "--recipient", &stranger])).expect(64);

    // Where no root is left nobody knows for whom, and nothing is written before that is said.
    let rootless = sample.broken("rootless");
    fs::remove_dir_all(rootless.join("data/snapshots")).unwrap();
    let ran = salvage(&rootless, &sample.at("none"), &sample.options(&[])).expect(64);
    assert!(ran.text().contains("--in-clear") && !sample.at("none").exists(), "{ran}");
    let some = sample.at("some");
    salvage(&rootless, &some, &sample.options(&["--recipient", &sample.recipient("customer")]));
    tells_nothing(&some);
    let got = out_with(&some, &sample.options(&[]));
    assert!(sample.items.iter().all(|item| got.contains_key(&item.sha256)));
    // What the passphrase archive had goes on with its passphrase, also when the file with its key has another name.
    let heap = sample.at("heap");
    fs::create_dir(&heap).unwrap();
    copy(&words.join("data"), &heap.join("data"));
    fs::copy(words.join("keys/archive.key.age"), heap.join("x")).unwrap();
    let again = sample.at("again");
    salvage(&heap, &again, &["--passphrase-file", &word]).expect(0);
    holds_everything(&sample, &again, &["--passphrase-file", &word]);
    fs::write(sample.at("wrong"), "incorrect horse\n").unwrap();
    let wrong = sample.at("wrong").to_str().unwrap().to_owned();
    salvage(&heap, &sample.at("wronged"), &["--passphrase-file", &wrong]).expect(2);
}

#[test]
fn a_salvage_into_an_encrypted_archive_that_was_killed_is_completed_without_the_new_key() {
    let sample = Sample::encrypted(17);
    let (new, stranger) = (sample.at("new"), sample.recipient("stranger"));
    let options = sample.options(&["--recipient", &stranger]);
    let mut random = Random::fresh("killed salvage of encrypted files");
    let begun = salvage(&sample.archive(), &sample.at("trial"), &options).expect(0).elapsed;
    for _ in 0..8 {
        let mut command = floe();
        command.arg("salvage").arg(sample.archive()).arg("--archive").arg(&new).args(&options);
        let mut child = support::program::start(&mut command);
        std::thread::sleep(begun.mul_f64(random.below(1000) as f64 / 1100.0));
        let _ = child.kill();
        child.wait().unwrap();
    }
    if new.join("index/salvaging").exists() || !new.join("bagit.txt").exists() {
        salvage(&sample.archive(), &new, &options).expect(0);
    }
    tells_nothing(&new);
    holds_everything(&sample, &new, &["--identity", sample.at("stranger").to_str().unwrap()]);
}
