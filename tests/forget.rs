//! Removal for good: only what was chosen goes, a signed tombstone says so, and held accounts are refused.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use floe::model::Digest;
use support::archives::{copy, export, files, roots, wanted};
use support::mail::{Item, Maildir, Random, message};
use support::program::{Ran, floe, on, run, snapshot, traces};

/// What only boris has got.
const SECRET: &str = "only-boris-may-read-this";

struct Sample {
    _folder: tempfile::TempDir,
    archive: PathBuf,
    key: PathBuf,
    anna: Maildir,
    boris: Maildir,
    /// What each snapshot holds.
    held: Vec<Vec<Item>>,
}

impl Sample {
    /// Three snapshots of two accounts that share attachments.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(11);
        let mut anna = Maildir::new(&folder.path().join("anna"), "anna");
        let mut boris = Maildir::new(&folder.path().join("boris"), "boris");
        let (archive, key) = (folder.path().join("a.floe"), folder.path().join("k"));
        let shared = random.bytes(9000);
        let mut held = Vec::new();
        for round in 0..3 {
            anna.fill(&mut random, "", 4, 9000);
            anna.put("", &format!("1600.{round}"), &message(&format!("anna {round}"), &shared));
            boris.put("", &format!("1700.{round}"), &message(&format!("{SECRET} {round}"), &shared));
            boris.put("", &format!("1800.{round}"), &message(SECRET, &random.bytes(7000)));
            run(&mut snapshot(&[("anna", &anna.root), ("boris", &boris.root)], &archive)).expect(0);
            held.push(anna.items.iter().chain(&boris.items).cloned().collect());
        }
        run(floe().args(["key", "new", "--out"]).arg(&key)).expect(0);
        Sample { _folder: folder, archive, key, anna, boris, held }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = on(&self.archive, "forget", more);
        command.args(["--why", "erasure request 12", "--who", "B. Legal", "--key"]).arg(&self.key);
        command
    }

    fn forget(&self, more: &[&str]) -> Ran {
        run(&mut self.command(more))
    }

    fn verify(&self) -> Ran {
        run(&mut on(&self.archive, "verify", &["--full"]))
    }

    fn ids(&self) -> Vec<String> {
        roots(&self.archive).iter().map(|r| r.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn undone(&self, test: impl FnOnce()) {
        let kept = self.archive.with_extension("kept");
        copy(&self.archive, &kept);
        test();
        fs::remove_dir_all(&self.archive).unwrap();
        fs::rename(&kept, &self.archive).unwrap();
    }

    /// Can zstd and tar find the text in any pack?
    fn packs_hold(&self, text: &str) -> bool {
        let packs = files(&self.archive.join("data/packs"));
        packs.iter().any(|pack| {
            let out = run(Command::new("zstd").arg("-dcq").arg(self.archive.join("data/packs").join(pack))).expect(0);
            out.stdout.windows(text.len()).any(|w| w == text.as_bytes())
        })
    }

    /// The bag is one for stock tools, and its totals are right.
    fn is_a_bag(&self) {
        for manifest in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
            run(Command::new("sha256sum").args(["-c", "--quiet", manifest]).current_dir(&self.archive)).expect(0);
        }
        let data = self.archive.join("data");
        let all = files(&data);
        let bytes: u64 = all.iter().map(|f| fs::metadata(data.join(f)).unwrap().len()).sum();
        let info = fs::read_to_string(self.archive.join("bag-info.txt")).unwrap();
        assert!(info.contains(&format!("Payload-Oxum: {bytes}.{}\n", all.len())), "{info}");
        let listed = fs::read_to_string(self.archive.join("manifest-sha256.txt")).unwrap();
        assert_eq!(listed.lines().count(), all.len());
        assert!(!fs::read_to_string(self.archive.join("tagmanifest-sha256.txt")).unwrap().contains("  data/"));
    }
}

/// All files with their digests, without the cache.
fn state(archive: &Path) -> BTreeMap<PathBuf, Digest> {
    let all = files(archive).into_iter().filter(|f| !f.starts_with("index"));
    all.map(|f| (f.clone(), Digest::of(&fs::read(archive.join(f)).unwrap()))).collect()
}

#[test]
fn a_forgotten_account_is_gone_from_every_pack_and_all_else_comes_out_as_before() {
    let sample = Sample::new();
    run(on(&sample.archive, "sign", &["--role", "operator", "--key"]).arg(&sample.key)).expect(0);
    let before = state(&sample.archive);
    let ran = sample.forget(&["--account", "boris"]).expect(0);
    assert!(ran.text().contains("nothing was: an archive is append-only"), "{ran}");
    assert!(state(&sample.archive) == before && sample.packs_hold(SECRET));

    let ran = sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
    // Two, four and six messages in three snapshots.
    assert!(ran.text().contains("with 12 items in 3 listings"), "{ran}");
    assert!(!sample.packs_hold(SECRET));
    sample.is_a_bag();
    for root in before.keys().filter(|f| f.starts_with("data/snapshots") || f.starts_with("signatures")) {
        assert_eq!(state(&sample.archive)[root], before[root], "{}", root.display());
    }
    let report = sample.archive.with_extension("report");
    run(&mut on(&sample.archive, "verify", &["--report", report.to_str().unwrap()])).expect(1);
    let told: serde_json::Value = serde_json::from_slice(&fs::read(report.join("report.json")).unwrap()).unwrap();
    assert_eq!(told["verdict"]["result"], "PASS WITH EXCEPTIONS", "{}", told["verdict"]);
    assert_eq!((&told["seals"][0]["by"], &told["seals"][0]["good"]), (&"operator".into(), &true.into()));
    let events: Vec<&str> = told["custody"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert!(events.contains(&"deaccession") && events.contains(&"digital signature generation"), "{events:?}");
    let ran = sample.verify().expect(1);
    for part in ["PASS WITH EXCEPTIONS", "removed for good", "B. Legal", "erasure request 12", "by the operator with"] {
        assert!(ran.text().contains(part), "{part}: {ran}");
    }
    let (out, ran) = export(&sample.archive, &["--account", "anna"]);
    assert!(ran.code() == 0 && out == wanted(&sample.anna.items), "{ran}");
    assert_ne!(export(&sample.archive, &["--account", "boris"]).1.code(), 0);
    let ran = run(&mut on(&sample.archive, "events", &[])).expect(0);
    assert!(ran.text().contains("deaccession: success") && !ran.text().contains("boris"), "{ran}");

    // Once more has nothing to do; a new snapshot of the same store has it all again.
    assert!(sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0).text().contains("removed before"));
    run(&mut snapshot(&[("anna", &sample.anna.root), ("boris", &sample.boris.root)], &sample.archive)).expect(0);
    let (out, ran) = export(&sample.archive, &[]);
    assert!(ran.code() == 0 && out == wanted(&sample.held[2]), "{ran}");
    sample.verify().expect(1);
}

#[test]
fn a_forgotten_snapshot_takes_only_what_no_other_needs() {
    let mut sample = Sample::new();
    // The newest snapshot lacks what the others have.
    let gone: Vec<Item> = sample.boris.items.drain(..2).collect();
    for item in &gone {
        let found = files(&sample.boris.root).into_iter().find(|f| f.to_str().unwrap().contains(item.file.as_str())).unwrap();
        fs::remove_file(sample.boris.root.join(found)).unwrap();
    }
    run(&mut snapshot(&[("anna", &sample.anna.root), ("boris", &sample.boris.root)], &sample.archive)).expect(0);
    let left: Vec<Item> = sample.anna.items.iter().chain(&sample.boris.items).cloned().collect();
    let ids = sample.ids();
    let (first, others) = (&ids[0], [ids[1].as_str(), ids[2].as_str()]);
    sample.forget(&["--snapshot", first, "--remove-for-good"]).expect(0);
    sample.is_a_bag();
    sample.verify().expect(1);
    for (id, items) in ids[1..].iter().zip([&sample.held[1], &sample.held[2], &left]) {
        let (out, ran) = export(&sample.archive, &["--snapshot", id]);
        assert!(ran.code() == 0 && out == wanted(items), "{id}: {ran}");
    }
    assert!(sample.packs_hold(&format!("{SECRET} 0")), "two other snapshots have it");
    sample.forget(&["--snapshot", others[0], "--snapshot", others[1], "--remove-for-good"]).expect(0);
    sample.is_a_bag();
    sample.verify().expect(1);
    let (out, ran) = export(&sample.archive, &[]);
    assert!(ran.code() == 0 && out == wanted(&left), "{ran}");
    assert!(!sample.packs_hold(&format!("{SECRET} 0")) && sample.packs_hold(&format!("{SECRET} 2")));
}

#[test]
fn a_held_account_is_refused_until_it_is_released() {
    let sample = Sample::new();
    let hold = |more: &[&str]| run(&mut on(&sample.archive, "hold", more));
    hold(&["--account", "nobody", "--why", "x"]).expect(64);
    hold(&["--account", "boris", "--why", "x", "--release"]).expect(64);
    hold(&["--account", "boris", "--why", "case 4711"]).expect(0);
    sample.is_a_bag();
    sample.verify().expect(0);
    let before = state(&sample.archive);
    let first = sample.ids()[0].clone();
    for what in [["--account", "boris"], ["--snapshot", first.as_str()]] {
        let ran = sample.forget(&[what[0], what[1], "--remove-for-good"]).expect(64);
        assert!(ran.text().contains("is held") && ran.text().contains("case 4711"), "{ran}");
    }
    assert!(state(&sample.archive) == before);
    // A hold cannot be taken out unseen, also with bag files made anew.
    sample.undone(|| {
        let file = files(&sample.archive.join("data/holds")).pop().unwrap();
        fs::remove_file(sample.archive.join("data/holds").join(&file)).unwrap();
        assert_eq!(sample.verify().code(), 2);
        let sums = "sha256sum data/*/* > manifest-sha256.txt && cut -c67- tagmanifest-sha256.txt | xargs sha256sum > t && mv t tagmanifest-sha256.txt";
        run(Command::new("sh").args(["-c", sums]).current_dir(&sample.archive)).expect(0);
        let ran = sample.verify().expect(2);
        assert!(ran.text().contains(file.to_str().unwrap()), "{ran}");
    });
    assert!(hold(&[]).expect(0).text().contains("boris: case 4711"));
    hold(&["--account", "boris", "--why", "settled", "--release"]).expect(0);
    assert!(hold(&[]).expect(0).text().contains("0 accounts are held"));
    sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
    sample.is_a_bag();
}

#[test]
fn what_is_missing_without_a_good_tombstone_is_damage() {
    let sample = Sample::new();
    sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
    let folder = sample.archive.join("data/tombstones");
    let all = files(&folder);
    assert_eq!(all.len(), 2, "{all:?}");
    let mut random = Random::fresh("tombstones");
    for file in &all {
        let path = folder.join(file);
        sample.undone(|| {
            fs::remove_file(&path).unwrap();
            let ran = sample.verify().expect(2);
            assert!(ran.text().contains("account boris"), "{ran}");
        });
        for _ in 0..10 {
            sample.undone(|| {
                let mut bad = fs::read(&path).unwrap();
                let at = random.below(bad.len() as u64) as usize;
                bad[at] ^= 1 << random.below(8);
                fs::write(&path, bad).unwrap();
                let ran = sample.verify().expect(2);
                assert!(ran.text().contains("damaged: a tombstone is not believed"), "{ran}");
            });
        }
    }
    // Other losses are damage as ever, and nothing is removed from a damaged archive.
    sample.undone(|| {
        let pack = files(&sample.archive.join("data/packs")).pop().unwrap();
        fs::remove_file(sample.archive.join("data/packs").join(pack)).unwrap();
        sample.verify().expect(2);
        let ran = sample.forget(&["--account", "anna", "--remove-for-good"]).expect(2);
        assert!(ran.text().contains("nothing is removed from a damaged archive"), "{ran}");
    });
    for bad in [["--account", "nobody"], ["--snapshot", "1999"]] {
        sample.forget(&[bad[0], bad[1], "--remove-for-good"]).expect(64);
    }
    sample.verify().expect(1);
}

#[test]
fn an_old_pack_that_comes_back_goes_again_with_the_next_writer() {
    let sample = Sample::new();
    let old = sample.archive.with_extension("old");
    copy(&sample.archive.join("data/packs"), &old);
    sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
    copy(&old, &sample.archive.join("data/packs"));
    assert!(sample.packs_hold(SECRET));
    assert!(!sample.verify().text().contains("damaged:"));
    run(&mut snapshot(&[("anna", &sample.anna.root)], &sample.archive)).expect(0);
    assert!(!sample.packs_hold(SECRET));
    sample.verify().expect(1);
    sample.is_a_bag();
}

/// Every call that changes the names or the durability of files.
const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat,ftruncate";

#[test]
fn forgetting_killed_at_each_system_call_that_changes_names_is_completed_by_the_next_run() {
    if !traces("killing floe forget at every system call") {
        return;
    }
    let sample = Sample::new();
    for n in 1.. {
        let mut ended = false;
        sample.undone(|| {
            let forget = sample.command(&["--account", "boris", "--remove-for-good"]);
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")]);
            strace.args(["-e", &format!("inject={CALLS}:signal=SIGKILL:when={n}")]);
            let ran = run(strace.arg(forget.get_program()).args(forget.get_args()));
            ended = ran.status.signal().is_none();
            let ran = sample.verify();
            assert!(matches!(ran.code(), 0 | 1) && !ran.text().contains("damaged:"), "call {n}: {ran}");
            // Whatever writes next completes it: the same command, or a snapshot of what is left.
            if n % 2 == 0 {
                sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
            } else {
                run(&mut snapshot(&[("anna", &sample.anna.root)], &sample.archive)).expect(0);
                sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
            }
            assert!(!sample.packs_hold(SECRET), "call {n}");
            sample.verify().expect(1);
            let (out, ran) = export(&sample.archive, &["--account", "anna"]);
            assert!(ran.code() == 0 && out == wanted(&sample.anna.items), "call {n}: {ran}");
            sample.is_a_bag();
        });
        if ended {
            assert!(n > 15, "only {n} calls were traced");
            break;
        }
    }
}

#[test]
fn recovery_data_of_what_is_gone_goes_too_and_a_repair_keeps_holds_and_tombstones() {
    let sample = Sample::new();
    run(&mut on(&sample.archive, "protect", &["--percent", "50"])).expect(0);
    run(&mut on(&sample.archive, "hold", &["--account", "anna", "--why", "case 4711"])).expect(0);
    let before = files(&sample.archive.join("data/packs"));
    sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
    let (packs, parity) = (files(&sample.archive.join("data/packs")), files(&sample.archive.join("parity")));
    for old in before.iter().filter(|pack| !packs.contains(pack)) {
        let name = old.to_str().unwrap();
        assert!(!parity.iter().any(|file| file.to_str().unwrap().starts_with(name)), "{name}");
    }
    assert!(before.iter().any(|pack| !packs.contains(pack)));
    sample.verify().expect(1);
    run(&mut on(&sample.archive, "protect", &["--percent", "50"]));
    // The manifest is lost, or a byte of it, and made anew.
    let manifest = sample.archive.join("manifest-sha256.txt");
    let good = fs::read(&manifest).unwrap();
    let mut bad = good.clone();
    bad[10] ^= 1;
    for bytes in [b"".as_slice(), &bad] {
        fs::write(&manifest, bytes).unwrap();
        sample.verify().expect(2);
        let ran = run(&mut on(&sample.archive, "repair", &[]));
        assert!(ran.code() <= 1, "{ran}");
        assert_eq!(fs::read(&manifest).unwrap(), good);
        sample.is_a_bag();
        let ran = sample.verify().expect(1);
        assert!(ran.text().contains("removed for good"), "{ran}");
        assert!(!sample.packs_hold(SECRET));
    }
    sample.forget(&["--account", "anna", "--remove-for-good"]).expect(64);
}
