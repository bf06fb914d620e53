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
    /// For whom it is encrypted, and what opens it, as options.
    recipient: Vec<String>,
    identity: Vec<String>,
}

impl Sample {
    /// One in clear, and one that is encrypted.
    fn both() -> [Self; 2] {
        [Self::new(false), Self::new(true)]
    }

    /// Three snapshots of two accounts that share attachments.
    fn new(encrypted: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut recipient, mut identity) = (Vec::new(), Vec::new());
        if encrypted {
            let file = folder.path().join("identity");
            recipient = vec!["--recipient".to_owned(), support::keys::identity(&file)];
            identity = vec!["--identity".to_owned(), file.to_str().unwrap().to_owned()];
        }
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
            let mut command = snapshot(&[("anna", &anna.root), ("boris", &boris.root)], &archive);
            run(command.args(&recipient).args(&identity)).expect(0);
            held.push(anna.items.iter().chain(&boris.items).cloned().collect());
        }
        run(floe().args(["key", "new", "--out"]).arg(&key)).expect(0);
        Sample { _folder: folder, archive, key, anna, boris, held, recipient, identity }
    }

    fn is_encrypted(&self) -> bool {
        !self.identity.is_empty()
    }

    /// `floe COMMAND ARCHIVE`, with the key.
    fn on(&self, command: &str, more: &[&str]) -> Command {
        let mut command = on(&self.archive, command, more);
        command.args(&self.identity);
        command
    }

    fn snapshot(&self, accounts: &[(&str, &Path)]) -> Ran {
        run(snapshot(accounts, &self.archive).args(&self.identity))
    }

    fn export(&self, more: &[&str]) -> (BTreeMap<String, usize>, Ran) {
        let key = self.identity.iter().map(String::as_str);
        export(&self.archive, &more.iter().copied().chain(key).collect::<Vec<_>>())
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = self.on("forget", more);
        command.args(["--why", "erasure request 12", "--who", "B. Legal", "--key"]).arg(&self.key);
        command
    }

    fn forget(&self, more: &[&str]) -> Ran {
        run(&mut self.command(more))
    }

    fn verify(&self) -> Ran {
        run(&mut self.on("verify", &["--full"]))
    }

    fn ids(&self) -> Vec<String> {
        roots(&self.archive).iter().map(|r| r.file_name().unwrap().to_str().unwrap()[..29].to_owned()).collect()
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
            let pack = self.archive.join("data/packs").join(pack);
            let mut zstd = Command::new("zstd");
            zstd.arg("-dcq");
            let clear = self.archive.with_extension("pack");
            if self.is_encrypted() {
                fs::write(&clear, support::keys::opened(&pack, Path::new(&self.identity[1]))).unwrap();
                zstd.arg(&clear);
            } else {
                zstd.arg(&pack);
            }
            let out = run(&mut zstd).expect(0);
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
    for sample in Sample::both() {
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
        run(&mut sample.on("verify", &["--report", report.to_str().unwrap()])).expect(1);
        let told: serde_json::Value = serde_json::from_slice(&fs::read(report.join("report.json")).unwrap()).unwrap();
        assert_eq!(told["verdict"]["result"], "PASS WITH EXCEPTIONS", "{}", told["verdict"]);
        assert_eq!((&told["seals"][0]["by"], &told["seals"][0]["good"]), (&"operator".into(), &true.into()));
        let events: Vec<&str> = told["custody"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
        assert!(events.contains(&"deaccession") && events.contains(&"digital signature generation"), "{events:?}");
        let ran = sample.verify().expect(1);
        for part in ["PASS WITH EXCEPTIONS", "removed for good", "B. Legal", "erasure request 12", "by the operator with"] {
            assert!(ran.text().contains(part), "{part}: {ran}");
        }
        let mut script = Command::new("python3");
        script.arg(sample.archive.join("restore.py")).arg(&sample.archive).arg("--check");
        let ran = run(script.args(if sample.is_encrypted() { &sample.identity[..] } else { &[] })).expect(1);
        for part in ["removed for good, says data/tombstones/", "0 problems, 3 removed for good"] {
            assert!(ran.text().contains(part) && !ran.text().contains("damaged: "), "{part}: {ran}");
        }
        let (out, ran) = sample.export(&["--account", "anna"]);
        assert!(ran.code() == 0 && out == wanted(&sample.anna.items), "{ran}");
        assert_ne!(sample.export(&["--account", "boris"]).1.code(), 0);
        let ran = run(&mut on(&sample.archive, "events", &[])).expect(0);
        assert!(ran.text().contains("deaccession: success") && !ran.text().contains("boris"), "{ran}");

        // Once more has nothing to do; a new snapshot of the same store has it all again.
        assert!(sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0).text().contains("removed before"));
        sample.snapshot(&[("anna", &sample.anna.root), ("boris", &sample.boris.root)]).expect(0);
        let (out, ran) = sample.export(&[]);
        assert!(ran.code() == 0 && out == wanted(&sample.held[2]), "{ran}");
        sample.verify().expect(1);
    }
}

#[test]
fn a_forgotten_snapshot_takes_only_what_no_other_needs() {
    for mut sample in Sample::both() {
        // The newest snapshot lacks what the others have.
        let gone: Vec<Item> = sample.boris.items.drain(..2).collect();
        for item in &gone {
            let found = files(&sample.boris.root).into_iter().find(|f| f.to_str().unwrap().contains(item.file.as_str())).unwrap();
            fs::remove_file(sample.boris.root.join(found)).unwrap();
        }
        sample.snapshot(&[("anna", &sample.anna.root), ("boris", &sample.boris.root)]).expect(0);
        let left: Vec<Item> = sample.anna.items.iter().chain(&sample.boris.items).cloned().collect();
        let ids = sample.ids();
        let (first, others) = (&ids[0], [ids[1].as_str(), ids[2].as_str()]);
        sample.forget(&["--snapshot", first, "--remove-for-good"]).expect(0);
        sample.is_a_bag();
        sample.verify().expect(1);
        for (id, items) in ids[1..].iter().zip([&sample.held[1], &sample.held[2], &left]) {
            let (out, ran) = sample.export(&["--snapshot", id]);
            assert!(ran.code() == 0 && out == wanted(items), "{id}: {ran}");
        }
        assert!(sample.packs_hold(&format!("{SECRET} 0")), "two other snapshots have it");
        sample.forget(&["--snapshot", others[0], "--snapshot", others[1], "--remove-for-good"]).expect(0);
        sample.is_a_bag();
        sample.verify().expect(1);
        let (out, ran) = sample.export(&[]);
        assert!(ran.code() == 0 && out == wanted(&left), "{ran}");
        assert!(!sample.packs_hold(&format!("{SECRET} 0")) && sample.packs_hold(&format!("{SECRET} 2")));
    }
}

#[test]
fn a_held_account_is_refused_until_it_is_released() {
    for sample in Sample::both() {
        let hold = |more: &[&str]| run(&mut sample.on("hold", more));
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
}

#[test]
fn what_is_missing_without_a_good_tombstone_is_damage() {
    for sample in Sample::both() {
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
}

#[test]
fn an_old_pack_that_comes_back_goes_again_with_the_next_writer() {
    for sample in Sample::both() {
        let old = sample.archive.with_extension("old");
        copy(&sample.archive.join("data/packs"), &old);
        sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
        copy(&old, &sample.archive.join("data/packs"));
        assert!(sample.packs_hold(SECRET));
        assert!(!sample.verify().text().contains("damaged:"));
        sample.snapshot(&[("anna", &sample.anna.root)]).expect(0);
        assert!(!sample.packs_hold(SECRET));
        sample.verify().expect(1);
        sample.is_a_bag();
    }
}

/// Every call that changes the names or the durability of files.
const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat,ftruncate";

#[test]
fn forgetting_killed_at_each_system_call_that_changes_names_is_completed_by_the_next_run() {
    if !traces("killing floe forget at every system call") {
        return;
    }
    for sample in Sample::both() {
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
                    sample.snapshot(&[("anna", &sample.anna.root)]).expect(0);
                    sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
                }
                assert!(!sample.packs_hold(SECRET), "call {n}");
                sample.verify().expect(1);
                let (out, ran) = sample.export(&["--account", "anna"]);
                assert!(ran.code() == 0 && out == wanted(&sample.anna.items), "call {n}: {ran}");
                sample.is_a_bag();
            });
            if ended {
                assert!(n > 15, "only {n} calls were traced");
                break;
            }
        }
    }
}

#[test]
fn recovery_data_of_what_is_gone_goes_too_and_a_repair_keeps_holds_and_tombstones() {
    for sample in Sample::both() {
        run(&mut on(&sample.archive, "protect", &["--percent", "50"])).expect(0);
        run(&mut sample.on("hold", &["--account", "anna", "--why", "case 4711"])).expect(0);
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
            let ran = run(&mut sample.on("repair", &[]));
            assert!(ran.code() <= 1, "{ran}");
            assert_eq!(fs::read(&manifest).unwrap(), good);
            sample.is_a_bag();
            let ran = sample.verify().expect(1);
            assert!(ran.text().contains("removed for good"), "{ran}");
            assert!(!sample.packs_hold(SECRET));
        }
        sample.forget(&["--account", "anna", "--remove-for-good"]).expect(64);
    }
}

#[test]
fn holds_and_tombstones_of_an_encrypted_archive_tell_nothing_without_the_key_and_count_all_the_same() {
    let sample = Sample::new(true);
    let without = |command: &str, more: &[&str]| run(&mut on(&sample.archive, command, more));
    run(&mut sample.on("hold", &["--account", "anna", "--why", "case 4711"])).expect(0);
    for (command, more) in [("hold", &["--account", "anna", "--why", "x"] as &[&str]), ("hold", &[])] {
        let ran = without(command, more).expect(64);
        assert!(ran.text().contains("the archive is encrypted, and no key was given"), "{ran}");
    }
    let before = state(&sample.archive);
    let forget =
        ["--account", "boris", "--why", "w", "--who", "B. Legal", "--key", sample.key.to_str().unwrap(), "--remove-for-good"];
    without("forget", &forget).expect(64);
    assert!(state(&sample.archive) == before);
    sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
    sample.forget(&["--account", "anna", "--remove-for-good"]).expect(64);
    sample.is_a_bag();
    // Nothing of it lies there readable, not even how much it was.
    for file in files(&sample.archive).into_iter().filter(|f| !f.ends_with("README.txt") && !f.ends_with("restore.py")) {
        let bytes = fs::read(sample.archive.join(&file)).unwrap();
        for word in ["boris", "anna", "case 4711", "erasure request", "B. Legal", "\"items\"", "\"objects\"", SECRET] {
            assert!(memchr::memmem::find(&bytes, word.as_bytes()).is_none(), "{word} in {}", file.display());
        }
    }
    for folder in ["data/holds", "data/tombstones"] {
        for file in files(&sample.archive.join(folder)) {
            let name = file.to_str().unwrap();
            assert!(name.ends_with(".json.age") || name.ends_with(".json.age.sig"), "{name}");
        }
    }
    // Without the key: something signed is there, by this key; nothing is damaged.
    let ran = without("verify", &[]).expect(1);
    assert!(ran.text().contains("something was removed for good") && ran.text().contains("SHA256:"), "{ran}");
    // The signature is one for the stock command, over the file as it lies there.
    let stone = files(&sample.archive.join("data/tombstones")).into_iter().find(|f| f.extension().unwrap() == "age").unwrap();
    let stone = sample.archive.join("data/tombstones").join(stone);
    let line = "ssh-keygen -Y check-novalidate -n floe-tombstone -s \"$1.sig\" < \"$1\"";
    run(Command::new("sh").args(["-c", line, "sh"]).arg(&stone)).expect(0);
    let told = support::keys::opened(&stone, Path::new(&sample.identity[1]));
    assert!(String::from_utf8(told).unwrap().contains("\"account\":\"boris\""));
    // With a byte changed that is damage without the key too; so is a file in clear among them.
    sample.undone(|| {
        let mut bad = fs::read(&stone).unwrap();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        fs::write(&stone, bad).unwrap();
        assert!(without("verify", &[]).expect(2).text().contains("a tombstone is not believed"));
    });
    // Who writes without the key leaves all of it as it is.
    let recipient: Vec<&str> = sample.recipient.iter().map(String::as_str).collect();
    run(snapshot(&[("anna", &sample.anna.root)], &sample.archive).arg("--store-again").args(recipient)).expect(0);
    let ran = sample.verify().expect(1);
    assert!(ran.text().contains("erasure request 12"), "{ran}");
}

#[test]
fn a_pack_written_anew_opens_for_exactly_those_for_whom_the_old_one_did() {
    let sample = Sample::new(true);
    // A second recipient of the last snapshot only, who then is one of what is written from there on.
    let other = sample.archive.with_extension("other");
    let recipient = support::keys::identity(&other);
    let both = [sample.recipient[1].as_str(), recipient.as_str()];
    let options = ["--recipient", both[0], "--recipient", both[1]];
    let mut anna = Maildir::new(&sample.anna.root, "anna");
    anna.put("", "1900.last", &message("one more", b"more"));
    let accounts: [(&str, &Path); 2] = [("anna", &sample.anna.root), ("boris", &sample.boris.root)];
    run(snapshot(&accounts, &sample.archive).args(&sample.identity).args(options)).expect(0);
    let opens = |pack: &Path| {
        let key: age::x25519::Identity = fs::read_to_string(&other).unwrap().trim().parse().unwrap();
        age::decrypt(&key, &fs::read(pack).unwrap()).is_ok()
    };
    let count = || {
        let folder = sample.archive.join("data/packs");
        let all: Vec<bool> = files(&folder).iter().map(|pack| opens(&folder.join(pack))).collect();
        (all.len(), all.iter().filter(|opens| **opens).count())
    };
    let before = count();
    assert!(before.1 > 0 && before.1 < before.0, "{before:?}");
    sample.forget(&["--account", "boris", "--remove-for-good"]).expect(0);
    assert!(!sample.packs_hold(SECRET));
    let after = count();
    assert!(after.1 <= before.1 && after.0 - after.1 >= 1, "{before:?} {after:?}");
    sample.verify().expect(1);
    // No key of a payload is used twice: the nonces behind the headers differ from those of the old packs.
    let stone = files(&sample.archive.join("data/tombstones")).into_iter().find(|f| f.extension().unwrap() == "age").unwrap();
    let stone = sample.archive.join("data/tombstones").join(stone);
    let told: serde_json::Value = serde_json::from_slice(&support::keys::opened(&stone, Path::new(&sample.identity[1]))).unwrap();
    assert_eq!(told["old_packs"].as_array().unwrap().len(), 3, "{told}");
}

#[test]
fn a_policy_removes_what_its_rules_say_and_each_rule_leaves_a_tombstone() {
    for sample in Sample::both() {
        let file = sample.archive.with_extension("toml");
        let head = "[policy]\nversion = 1\nwho = \"B. Legal\"\nwhy = \"schedule 7\"\n";
        let rules = "[[rule]]\nname = \"b\"\naccount = \"b*\"\nkeep-last = 1\nwhy = \"left us\"\n\
                     [[rule]]\nname = \"rest\"\nkeep-days = 30\n";
        fs::write(&file, format!("{head}{rules}")).unwrap();
        let policy = |more: &[&str]| run(sample.on("forget", more).arg("--policy").arg(&file));
        // The newest snapshot lacks boris' first mails.
        for item in &sample.boris.items[..2] {
            let mut all = files(&sample.boris.root).into_iter();
            let found = all.find(|f| f.to_str().unwrap().contains(item.file.as_str())).unwrap();
            fs::remove_file(sample.boris.root.join(found)).unwrap();
        }
        sample.snapshot(&[("anna", &sample.anna.root), ("boris", &sample.boris.root)]).expect(0);
        let (before, ids) = (state(&sample.archive), sample.ids());

        let ran = policy(&[]).expect(0);
        for part in [
            "rule b: 3 listings",
            &format!("boris in snapshot {}", ids[0]),
            "rule rest: 0 listings",
            "nothing was: an archive is append-only",
        ] {
            assert!(ran.text().contains(part), "{part}: {ran}");
        }
        let ran = policy(&["--on", "2999-01-01", "--json"]).expect(0);
        let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(told["found"]["rules"][1]["goes"].as_array().unwrap().len(), 4, "{told}");
        policy(&["--on", "2999-01-01", "--remove-for-good"]).expect(64);
        policy(&["--remove-for-good"]).expect(64);
        policy(&["--account", "boris"]).expect(64);
        assert!(state(&sample.archive) == before, "only a removal changes anything");

        let key = sample.key.to_str().unwrap();
        // Held: named, left out, and the rest would go.
        run(&mut sample.on("hold", &["--account", "boris", "--why", "case 4711"])).expect(0);
        let ran = policy(&["--remove-for-good", "--key", key]).expect(1);
        assert!(
            ran.text().contains("held, nothing of it goes: boris: case 4711") && ran.text().contains("1 accounts are held"),
            "{ran}"
        );
        assert!(!sample.archive.join("data/tombstones").exists());
        run(&mut sample.on("hold", &["--account", "boris", "--why", "settled", "--release"])).expect(0);

        let ran = policy(&["--remove-for-good", "--key", key]).expect(0);
        assert!(ran.text().contains("are gone for good") && ran.text().contains("tombstone data/tombstones/"), "{ran}");
        assert!(!sample.packs_hold(&format!("{SECRET} 0")) && sample.packs_hold(&format!("{SECRET} 2")));
        sample.is_a_bag();
        let sha256 = Digest::of(&fs::read(&file).unwrap());
        let ran = sample.verify().expect(1);
        for part in ["removed for good", "B. Legal", "because: left us", &format!("rule 'b' of the policy {sha256}")] {
            assert!(ran.text().contains(part), "{part}: {ran}");
        }
        // The newest has everything, anna is as she was in all of them, and nothing is left to do.
        let left: Vec<Item> = sample.anna.items.iter().chain(&sample.boris.items[2..]).cloned().collect();
        let (out, ran) = sample.export(&[]);
        assert!(ran.code() == 0 && out == wanted(&left), "{ran}");
        for id in &ids {
            assert_eq!(sample.export(&["--snapshot", id, "--account", "anna"]).1.code(), 0, "{id}");
        }
        assert!(policy(&["--remove-for-good", "--key", key]).expect(0).text().contains("nothing is past the time"));

        // A slip is refused with its line, and nothing is done.
        let state_before = state(&sample.archive);
        fs::write(&file, format!("{head}{}", rules.replace("keep-days", "keep-day"))).unwrap();
        let ran = policy(&["--remove-for-good", "--key", key]).expect(64);
        assert!(ran.text().contains("line 12:") && ran.text().contains("keep-day"), "{ran}");
        assert!(state(&sample.archive) == state_before);
    }
}
