//! An archive carried on disks: any order, damage, kills, hostile disks; what arrives is what was sent, byte for byte.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;

use floe::model::Digest;
use serde_json::Value;
use support::archives::{copy, files, holds_exactly};
use support::mail::{Maildir, Random};
use support::program::{Ran, floe, on, run, snapshot, start, traces};

/// An archive of some packs, and room for disks.
struct Sample {
    folder: tempfile::TempDir,
    maildir: Maildir,
    random: Random,
}

impl Sample {
    /// One pack a snapshot.
    fn new(seed: u64, packs: usize, messages: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::new(&folder.path().join("anna"), "anna");
        let mut sample = Sample { folder, maildir, random: Random(seed) };
        for _ in 0..packs {
            sample.grow(messages);
        }
        assert_eq!(files(&sample.archive().join("data/packs")).len(), packs);
        sample
    }

    fn grow(&mut self, messages: u64) {
        self.maildir.fill(&mut self.random, "", messages, 40_000);
        run(&mut snapshot(&[("anna", &self.maildir.root)], &self.archive())).expect(0);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.path("acme.floe")
    }

    /// An empty disk.
    fn disk(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Bytes of a disk that takes so many packs.
    fn capacity(&self, packs: u64) -> String {
        let folder = self.archive().join("data/packs");
        let largest = files(&folder).iter().map(|f| fs::metadata(folder.join(f)).unwrap().len()).max().unwrap();
        (packs * (largest + 8192) + (200 << 10)).to_string()
    }

    /// Ships to disks, all at once.
    fn ship(&self, disks: &[&Path], more: &[&str]) -> Ran {
        run(&mut self.shipping(disks, more))
    }

    fn shipping(&self, disks: &[&Path], more: &[&str]) -> Command {
        let mut command = on(&self.archive(), "ship", more);
        // Both ways of naming several.
        let (first, others) = disks.split_at(disks.len().min(2));
        command.arg("--to").args(first);
        for disk in others {
            command.arg("--to").arg(disk);
        }
        command
    }

    /// Ships to three disks.
    fn three_disks(&self) -> [PathBuf; 3] {
        let disks = ["1", "2", "3"].map(|n| self.disk(&format!("disk{n}")));
        let paths: Vec<&Path> = disks.iter().map(PathBuf::as_path).collect();
        self.ship(&paths, &["--capacity", &self.capacity(2)]).expect(0);
        assert!(disks.iter().all(|disk| !packs_on(disk).is_empty()), "the packs do not lie on three disks");
        disks
    }
}

fn packs_on(disk: &Path) -> Vec<PathBuf> {
    let folder = disk.join("archive/data/packs");
    if folder.is_dir() { files(&folder).into_iter().map(|f| folder.join(f)).collect() } else { Vec::new() }
}

fn receiving(disks: &[&Path], archive: &Path) -> Command {
    let mut command = floe();
    command.arg("receive").args(disks).arg("--archive").arg(archive);
    command
}

fn receive(disks: &[&Path], archive: &Path) -> Ran {
    run(&mut receiving(disks, archive))
}

fn receipt_of(archive: &Path) -> PathBuf {
    PathBuf::from(format!("{}.receipt.json", archive.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Every file that is no cache, by name.
fn bag(archive: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = files(archive).into_iter().filter(|f| !f.starts_with("index"));
    all.map(|f| (f.clone(), fs::read(archive.join(f)).unwrap())).collect()
}

/// The bags are the same, byte for byte.
#[track_caller]
fn same(one: &Path, other: &Path) {
    let (one, other) = (bag(one), bag(other));
    assert!(one.keys().eq(other.keys()), "{:?} {:?}", one.keys(), other.keys());
    assert!(one == other, "a file has other bytes");
}

/// Flips a bit in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 16;
    fs::write(path, bytes).unwrap();
}

fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn three_disks_in_any_order_with_one_damaged_end_complete_after_one_pack_is_sent_again() {
    let sample = Sample::new(1, 6, 8);
    let disks = sample.three_disks();
    for disk in &disks {
        run(Command::new("sha256sum").args(["-c", "--strict", "--quiet", "SHA256SUMS"]).current_dir(disk)).expect(0);
    }
    // With stock tools alone: what is in the folders together is the archive.
    let together = sample.disk("together");
    disks.iter().for_each(|disk| copy(&disk.join("archive"), &together));
    same(&sample.archive(), &together);
    for manifest in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        run(Command::new("sha256sum").args(["-c", "--strict", "--quiet", manifest]).current_dir(&together)).expect(0);
    }
    let broken = packs_on(&disks[1])[0].clone();
    damage(&broken);
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (n, order) in orders.into_iter().enumerate() {
        let there = sample.path(&format!("there{n}.floe"));
        for (at, disk) in order.into_iter().enumerate() {
            let ran = receive(&[&disks[disk]], &there).expect(1).expect_harmless();
            let text = ran.text();
            for later in &order[at + 1..] {
                assert!(text.contains(&format!("still missing: disk {} ", later + 1)), "{text}");
            }
            let named =
                text.lines().any(|l| l.starts_with("send again: ") && l.contains(name_of(&broken)) && l.contains("disk 2"));
            assert_eq!(named, order[..=at].contains(&1), "{text}");
            assert_eq!(text.matches("send again: ").count(), usize::from(named), "{text}");
            for command in [
                &mut on(&there, "verify", &[]),
                &mut on(&there, "list", &[]),
                &mut snapshot(&[("x", &sample.maildir.root)], &there),
            ] {
                let ran = run(command).expect(2);
                assert!(ran.text().contains("being received"), "{ran}");
            }
        }
        let receipt = receipt_of(&there);
        assert_eq!(json(&receipt)["missing"].as_array().unwrap().len(), 1);
        assert_eq!(json(&receipt)["complete"], false);
        assert!(fs::metadata(&receipt).unwrap().len() < 16 << 10);
        let again = sample.disk(&format!("again{n}"));
        sample.ship(&[&again], &["--since", receipt.to_str().unwrap()]).expect(0);
        assert_eq!(packs_on(&again).iter().map(|p| name_of(p)).collect::<Vec<_>>(), [name_of(&broken)]);
        assert_eq!(files(&again.join("archive")).len(), 1, "more than one pack was sent again");
        assert_eq!(json(&again.join("floe-disk.json"))["disk"], 4);
        receive(&[&again], &there).expect(0);
        same(&sample.archive(), &there);
        holds_exactly(&there, &sample.maildir.items);
        assert_eq!(json(&receipt)["complete"], true);
    }
}

#[test]
fn disks_written_one_after_the_other_at_one_place_hold_each_file_once() {
    let sample = Sample::new(2, 5, 8);
    let capacity = sample.capacity(2);
    let mount = sample.disk("mount");
    let mut disks = Vec::new();
    loop {
        let ran = sample.ship(&[&mount], &["--capacity", &capacity]);
        disks.push(sample.path(&format!("away{}", disks.len())));
        fs::rename(&mount, disks.last().unwrap()).unwrap();
        sample.disk("mount");
        assert!(disks.len() < 9, "{ran}");
        if ran.code() == 0 {
            break;
        }
        assert!(ran.code() == 1 && ran.text().contains("another disk is needed"), "{ran}");
    }
    assert_eq!(disks.len(), 3);
    let mut names: Vec<PathBuf> = disks.iter().flat_map(|disk| files(&disk.join("archive"))).collect();
    names.sort();
    let want: Vec<PathBuf> = bag(&sample.archive()).into_keys().collect();
    assert_eq!(names, want);
    assert_eq!(
        (json(&disks[2].join("floe-disk.json"))["of"].as_u64(), json(&disks[0].join("floe-disk.json"))["of"].as_u64()),
        (Some(3), None)
    );
    let paths: Vec<&Path> = disks.iter().map(PathBuf::as_path).collect();
    let there = sample.path("there.floe");
    receive(&paths, &there).expect(0);
    same(&sample.archive(), &there);
    // A disk that is written can be checked, and is mended.
    let pack = packs_on(&disks[1])[0].clone();
    damage(&pack);
    let ran = sample.ship(&[&disks[1]], &["--json"]).expect(0);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((report["disks"][0]["written"].as_u64(), report["disks"][0]["disk"].as_u64()), (Some(1), Some(2)), "{report}");
    assert_eq!(Digest::of(&fs::read(&pack).unwrap()).to_string(), name_of(&pack)[..64]);
}

#[test]
fn a_later_snapshot_travels_as_the_difference_and_the_archive_stays_readable_in_between() {
    let mut sample = Sample::new(3, 3, 8);
    let first = sample.disk("first");
    sample.ship(&[&first], &[]).expect(0);
    let there = sample.path("there.floe");
    receive(&[&first], &there).expect(0);
    let early = sample.maildir.items.clone();
    for _ in 0..3 {
        sample.grow(8);
    }
    let receipt = receipt_of(&there);
    let since = ["--since", receipt.to_str().unwrap(), "--capacity", &sample.capacity(2)];
    let next = [sample.disk("next1"), sample.disk("next2")];
    sample.ship(&[&next[0], &next[1]], &since).expect(0);
    assert_eq!(packs_on(&next[0]).len() + packs_on(&next[1]).len(), 3);
    receive(&[&next[1]], &there).expect(1);
    holds_exactly(&there, &early);
    let ran = run(&mut snapshot(&[("anna", &sample.maildir.root)], &there)).expect(2);
    assert!(ran.text().contains("being received"), "{ran}");
    // The first disk brings nothing now, and takes nothing away.
    receive(&[&first], &there).expect(1);
    receive(&[&next[0]], &there).expect(0);
    same(&sample.archive(), &there);
    holds_exactly(&there, &sample.maildir.items);
    // An old disk does not put an old state back.
    receive(&[&first], &there).expect(0);
    same(&sample.archive(), &there);
    // The receiver has everything: nothing to send.
    let ran = sample.ship(&[&sample.disk("last")], &["--since", receipt.to_str().unwrap()]).expect(0);
    assert!(ran.text().contains("nothing to send") && files(&sample.path("last")).is_empty(), "{ran}");
    // What rots at the receiver is asked for and sent again.
    let rotten = files(&there.join("data/packs"))[1].clone();
    damage(&there.join("data/packs").join(&rotten));
    let ran = receive(&[], &there).expect(1);
    assert!(ran.text().contains(&format!("send again: data/packs/{}", rotten.display())), "{ran}");
    let mend = sample.disk("mend");
    sample.ship(&[&mend], &["--since", receipt.to_str().unwrap()]).expect(0);
    assert_eq!(files(&mend.join("archive")).len(), 1);
    receive(&[&mend], &there).expect(0);
    same(&sample.archive(), &there);
}

#[test]
fn sending_and_receiving_are_recorded_where_asked_for() {
    let sample = Sample::new(2, 6, 30);
    let (disk, there) = (sample.disk("disk"), sample.path("there.floe"));
    sample.ship(&[&disk], &["--record"]).expect(0);
    let events = |archive: &Path| fs::read_to_string(archive.join("events.jsonl")).unwrap().matches("replication").count();
    assert_eq!(events(&sample.archive()), 1);
    run(receiving(&[&disk], &there).arg("--record")).expect(0);
    assert_eq!(events(&there), 1);
    for archive in [&sample.archive(), &there] {
        run(&mut on(archive, "verify", &["--full"])).expect(0);
    }
    // What each has written down since does not make them two archives.
    sample.ship(&[&sample.disk("more")], &["--since", receipt_of(&there).to_str().unwrap()]);
    receive(&[&sample.path("more")], &there);
    run(&mut on(&there, "verify", &["--full"])).expect(0);
}

#[test]
fn what_a_receiver_recorded_is_kept_beside_what_the_next_delivery_brings_and_a_change_in_it_is_found() {
    let mut sample = Sample::new(2, 6, 30);
    let (disk, there) = (sample.disk("disk"), sample.path("there.floe"));
    sample.ship(&[&disk], &[]).expect(0);
    // Without --record the copy is the sender's archive, bit for bit.
    receive(&[&disk], &there).expect(0);
    same(&sample.archive(), &there);
    run(receiving(&[&disk], &there).arg("--record")).expect(0);
    let own = fs::read(there.join("events.jsonl")).unwrap();
    assert!(own.starts_with(&fs::read(sample.archive().join("events.jsonl")).unwrap()));
    // The same disk once more changes nothing; the sender's next snapshot brings another record.
    receive(&[&disk], &there).expect(0);
    assert_eq!(fs::read(there.join("events.jsonl")).unwrap(), own);
    sample.grow(4);
    let more = sample.disk("more");
    sample.ship(&[&more], &["--since", receipt_of(&there).to_str().unwrap()]).expect(0);
    let ran = receive(&[&more], &there).expect(0);
    assert!(ran.text().contains("events.jsonl is kept as events."), "{ran}");
    run(&mut on(&there, "verify", &["--full"])).expect(0);
    let is_aside = |f: &PathBuf| f.to_str().unwrap().starts_with("events.") && f != Path::new("events.jsonl");
    let aside = there.join(files(&there).into_iter().find(is_aside).unwrap());
    assert_eq!(fs::read(&aside).unwrap(), own);
    damage(&aside);
    let ran = run(&mut on(&there, "verify", &[])).expect(2);
    assert!(ran.text().contains(&format!("{} is not the record of events that its name says", name_of(&aside))), "{ran}");
}

#[test]
fn ship_and_receive_killed_at_any_moment_are_completed_by_the_next_run() {
    let mut sample = Sample::new(4, 6, 30);
    let disks = ["1", "2"].map(|n| sample.disk(&format!("disk{n}")));
    let paths: Vec<&Path> = disks.iter().map(PathBuf::as_path).collect();
    let capacity = sample.capacity(4);
    let whole = {
        let trial = [sample.disk("trial1"), sample.disk("trial2")];
        let ran = sample.ship(&[&trial[0], &trial[1]], &["--capacity", &capacity]).expect(0).elapsed;
        fs::remove_file(sample.archive().join("index/shipping.json")).unwrap();
        ran
    };
    let mut random = Random::fresh("kills");
    let mut killed = 0;
    for round in 0..5 {
        for n in 0..8 {
            // The last round begins again each time with whatever lies there.
            let more = if round == 4 { ["--anew"].as_slice() } else { &[] };
            let mut child = start(sample.shipping(&paths, &["--capacity", &capacity]).args(more));
            // A little less than all of it: the trial had cold files.
            sleep(whole.mul_f64((f64::from(n) + random.below(1000) as f64 / 1000.0) / 12.0));
            let _ = child.kill();
            killed += u32::from(child.wait().unwrap().signal() == Some(9));
        }
        let ran = sample.ship(&paths, &["--capacity", &capacity]).expect(0);
        for disk in &disks {
            run(Command::new("sha256sum").args(["-c", "--strict", "--quiet", "SHA256SUMS"]).current_dir(disk)).expect(0);
            assert!(!files(disk).iter().any(|f| name_of(f).ends_with(".part")), "{ran}");
            if round < 3 {
                fs::remove_dir_all(disk).unwrap();
                fs::create_dir(disk).unwrap();
            }
        }
    }
    let there = sample.path("there.floe");
    let whole = receive(&paths, &sample.path("trial.floe")).expect(0).elapsed;
    for n in 0..50 {
        let mut child = start(&mut receiving(&paths, &there));
        sleep(whole.mul_f64(random.below(1000) as f64 / 1300.0));
        let _ = child.kill();
        killed += u32::from(child.wait().unwrap().signal() == Some(9));
        let ran = run(&mut on(&there, "verify", &[]));
        // Not there, being received, or all there; never taken for whole while it is half.
        assert!(matches!(ran.code(), 0 | 64) || ran.text().contains("being received"), "{ran}");
        if n % 5 == 4 && there.exists() {
            fs::remove_dir_all(&there).unwrap();
        }
    }
    assert!(killed > 50, "only {killed} runs were killed");
    receive(&paths, &there).expect(0);
    same(&sample.archive(), &there);
    holds_exactly(&there, &sample.maildir.items);
    // The difference, too.
    sample.grow(30);
    let (next, receipt) = (sample.disk("next"), receipt_of(&there));
    sample.ship(&[&next], &["--since", receipt.to_str().unwrap()]).expect(0);
    for _ in 0..15 {
        let mut child = start(&mut receiving(&[&next], &there));
        sleep(whole.mul_f64(random.below(1000) as f64 / 1500.0));
        let _ = child.kill();
        child.wait().unwrap();
        run(&mut on(&there, "verify", &[])).expect(0);
    }
    receive(&[&next], &there).expect(0);
    same(&sample.archive(), &there);
}

/// The command with SIGKILL at its n-th system call that changes the names or the durability of files.
fn killed_at(n: u32, command: &Command) -> Command {
    const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,ftruncate";
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")]);
    strace.args(["-e", &format!("inject={CALLS}:signal=SIGKILL:when={n}")]);
    strace.arg(command.get_program()).args(command.get_args());
    strace
}

#[test]
fn ship_and_receive_killed_at_each_system_call_that_changes_names_are_completed_by_the_next_run() {
    if !traces("killing ship and receive at every system call") {
        return;
    }
    let sample = Sample::new(20, 2, 2);
    let capacity = sample.capacity(1);
    let mut ends = [0, 0];
    let mut shipped = Vec::new();
    for n in 1.. {
        let disks = ["a", "b"].map(|name| sample.disk(&format!("{name}{n}")));
        let paths: Vec<&Path> = disks.iter().map(PathBuf::as_path).collect();
        let _ = fs::remove_file(sample.archive().join("index/shipping.json"));
        let ran = run(&mut killed_at(n, &sample.shipping(&paths, &["--capacity", &capacity])));
        sample.ship(&paths, &["--capacity", &capacity]).expect(0);
        let together = sample.disk(&format!("together{n}"));
        for disk in disks.iter().filter(|disk| disk.join("SHA256SUMS").exists()) {
            run(Command::new("sha256sum").args(["-c", "--strict", "--quiet", "SHA256SUMS"]).current_dir(disk)).expect(0);
            copy(&disk.join("archive"), &together);
        }
        same(&sample.archive(), &together);
        if ran.status.signal().is_none() {
            ends[0] = n;
            shipped.extend(disks);
            break;
        }
        disks.iter().chain([&together]).for_each(|folder| fs::remove_dir_all(folder).unwrap());
    }
    let paths: Vec<&Path> = shipped.iter().map(PathBuf::as_path).collect();
    for n in 1.. {
        let there = sample.path(&format!("there{n}.floe"));
        let ran = run(&mut killed_at(n, &receiving(&paths, &there)));
        let check = run(&mut on(&there, "verify", &[]));
        assert!(matches!(check.code(), 0 | 64) || check.text().contains("being received"), "call {n}: {check}");
        receive(&paths, &there).expect(0);
        same(&sample.archive(), &there);
        assert!(!there.join("receiving").exists(), "call {n}");
        if ran.status.signal().is_none() {
            ends[1] = n;
            break;
        }
        fs::remove_dir_all(&there).unwrap();
    }
    assert!(ends.iter().all(|n| *n > 30), "hardly any calls were traced: {ends:?}");
}

/// Writes a file that only grows into an archive, as it is listed in its tag manifest.
fn tell(archive: &Path, events: &str) {
    fs::write(archive.join("custody.jsonl"), events).unwrap();
    let path = archive.join("tagmanifest-sha256.txt");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().filter(|l| !l.ends_with("  custody.jsonl")).map(str::to_owned).collect();
    lines.push(format!("{}  custody.jsonl", Digest::of(events.as_bytes())));
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn what_the_receiver_wrote_around_the_payload_is_not_lost() {
    let mut sample = Sample::new(21, 1, 4);
    let there = sample.path("there.floe");
    let receipt = format!("{}.receipt.json", there.display());
    tell(&sample.archive(), "1\n");
    fs::create_dir(sample.archive().join("letters")).unwrap();
    fs::write(sample.archive().join("letters/a.operator.sig"), "signed").unwrap();
    let first = sample.disk("first");
    sample.ship(&[&first], &[]).expect(0);
    receive(&[&first], &there).expect(0);
    same(&sample.archive(), &there);
    // The receiver signs, and says so; the sender's later snapshot says nothing new of events: the longer tale stays.
    fs::write(there.join("letters/a.receiver.sig"), "signed").unwrap();
    tell(&there, "1\nreceived\n");
    sample.grow(4);
    tell(&sample.archive(), "1\n");
    let second = sample.disk("second");
    sample.ship(&[&second], &["--since", &receipt]).expect(0);
    receive(&[&second], &there).expect(0);
    assert_eq!(fs::read_to_string(there.join("custody.jsonl")).unwrap(), "1\nreceived\n");
    holds_exactly(&there, &sample.maildir.items);
    // Both say something of their own: both are kept.
    sample.grow(4);
    tell(&sample.archive(), "1\nsent\n");
    let third = sample.disk("third");
    sample.ship(&[&third], &["--since", &receipt]).expect(0);
    let ran = receive(&[&third], &there).expect(0);
    assert!(ran.text().contains("is kept as custody."), "{ran}");
    assert_eq!(fs::read_to_string(there.join("custody.jsonl")).unwrap(), "1\nsent\n");
    let kept: Vec<PathBuf> = files(&there).into_iter().filter(|f| f.to_str().unwrap().starts_with("custody.")).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().any(|f| fs::read_to_string(there.join(f)).unwrap() == "1\nreceived\n"));
    assert!(there.join("letters/a.receiver.sig").exists() && there.join("letters/a.operator.sig").exists());
    run(Command::new("sha256sum").args(["-c", "--strict", "--quiet", "tagmanifest-sha256.txt"]).current_dir(&there)).expect(0);
    holds_exactly(&there, &sample.maildir.items);
    // A bag file that broke at the receiver is mended from any disk that has it.
    damage(&there.join("manifest-sha256.txt"));
    let ran = receive(&[], &there).expect(64);
    assert!(ran.text().contains("no disk was given"), "{ran}");
    receive(&[&third], &there).expect(0);
    damage(&there.join("README.txt"));
    receive(&[], &there).expect(1);
    receive(&[&first], &there).expect(0);
    run(&mut on(&there, "verify", &["--full"])).expect(0);
}

#[test]
fn a_removal_at_the_sender_is_received_and_removes_nothing_by_itself() {
    let mut sample = Sample::new(23, 1, 4);
    sample.grow(4);
    let (first, there) = (sample.disk("first"), sample.path("there.floe"));
    sample.ship(&[&first], &[]).expect(0);
    receive(&[&first], &there).expect(0);
    let before = files(&there.join("data/packs"));
    let key = sample.path("key");
    run(floe().args(["key", "new", "--out"]).arg(&key)).expect(0);
    let root = support::archives::roots(&sample.archive())[0].clone();
    let id = root.file_stem().unwrap().to_str().unwrap();
    let more = ["--snapshot", id, "--why", "asked for", "--who", "A. Novak", "--remove-for-good", "--key", key.to_str().unwrap()];
    let ran = run(&mut on(&sample.archive(), "forget", &more));
    assert!(ran.code() <= 1, "{ran}");
    let (next, receipt) = (sample.disk("next"), receipt_of(&there));
    sample.ship(&[&next], &["--since", receipt.to_str().unwrap()]).expect(0);
    receive(&[&next], &there).expect(0);
    let after = files(&there.join("data/packs"));
    assert!(before.iter().all(|p| after.contains(p)), "{before:?} {after:?}");
    assert!(bag(&sample.archive()).iter().all(|(name, bytes)| fs::read(there.join(name)).is_ok_and(|b| b == *bytes)));
}

#[test]
fn a_pack_that_rots_after_it_was_checked_is_not_shipped_either() {
    let sample = Sample::new(22, 3, 8);
    let folder = sample.archive().join("data/packs");
    let first = sample.disk("first");
    sample.ship(&[&first], &["--capacity", &sample.capacity(1)]).expect(1);
    let left = files(&folder).into_iter().find(|f| !first.join("archive/data/packs").join(f).exists()).unwrap();
    let path = folder.join(&left);
    let (good, time) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    damage(&path);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let next = sample.disk("next");
    let ran = sample.ship(&[&next], &[]).expect(2);
    assert!(ran.text().contains(left.to_str().unwrap()) && !next.join("archive/data/packs").join(&left).exists(), "{ran}");
    fs::write(&path, good).unwrap();
    sample.ship(&[&next], &[]).expect(0);
    let there = sample.path("there.floe");
    receive(&[&next, &first], &there).expect(0);
    same(&sample.archive(), &there);
}

#[test]
fn an_archive_that_does_not_match_its_manifest_is_not_shipped() {
    let sample = Sample::new(5, 2, 4);
    let archive = sample.archive();
    let disk = sample.disk("disk");
    for file in bag(&archive).keys().filter(|f| f.as_path() != Path::new("tagmanifest-sha256.txt")) {
        let path = archive.join(file);
        let good = fs::read(&path).unwrap();
        damage(&path);
        let ran = sample.ship(&[&disk], &[]).expect(2);
        assert!(ran.text().contains(file.to_str().unwrap()), "{}: {ran}", file.display());
        fs::remove_file(&path).unwrap();
        let ran = sample.ship(&[&disk], &[]).expect(2);
        assert!(ran.text().contains(file.to_str().unwrap()), "{}: {ran}", file.display());
        assert!(files(&disk).is_empty(), "something was shipped");
        fs::write(&path, good).unwrap();
    }
    // A file of 4 GiB, a name that FAT cannot hold, a link.
    let large = fs::File::create(archive.join("large")).unwrap();
    large.set_len(1 << 32).unwrap();
    let ran = sample.ship(&[&disk], &[]).expect(2);
    assert!(ran.text().contains("4 GiB"), "{ran}");
    fs::remove_file(archive.join("large")).unwrap();
    fs::create_dir(archive.join("strange")).unwrap();
    for name in ["strange/a:b", "strange/AUX", "strange/x."] {
        fs::write(archive.join(name), "x").unwrap();
        let ran = sample.ship(&[&disk], &[]).expect(2);
        assert!(ran.text().contains(name), "{ran}");
        fs::remove_file(archive.join(name)).unwrap();
    }
    symlink("/etc/passwd", archive.join("strange/link")).unwrap();
    sample.ship(&[&disk], &[]).expect(2);
    fs::remove_file(archive.join("strange/link")).unwrap();
    // What is not known is carried all the same.
    fs::write(archive.join("strange/unknown.bin"), "what a later floe keeps here").unwrap();
    sample.ship(&[&disk], &[]).expect(0);
    let there = sample.path("there.floe");
    receive(&[&disk], &there).expect(0);
    same(&archive, &there);
}

/// Changes a disk's sheet.
fn forge(disk: &Path, change: impl FnOnce(&mut Value)) {
    let path = disk.join("floe-disk.json");
    let mut sheet = json(&path);
    change(&mut sheet);
    // A forger makes the list fit.
    let mut lines: Vec<(String, String)> = sheet["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["name"].as_str().unwrap().to_owned(), f["sha256"].as_str().unwrap().to_owned()))
        .collect();
    lines.sort();
    let text: String = lines.iter().map(|(name, sha256)| format!("{sha256}  {name}\n")).collect();
    sheet["shipment"] = Value::String(Digest::of(text.as_bytes()).to_string());
    fs::write(path, sheet.to_string()).unwrap();
}

#[test]
fn hostile_disks_are_refused_and_harm_nothing() {
    let sample = Sample::new(6, 3, 4);
    let good = sample.disk("good");
    sample.ship(&[&good], &[]).expect(0);
    let outside = sample.disk("outside");
    let secret = outside.join("secret");
    fs::write(&secret, "secret").unwrap();
    let mut n = 0;
    let mut case = |what: &str, code: i32, change: &dyn Fn(&Path), said: &str| {
        n += 1;
        let (disk, there) = (sample.path(&format!("bad{n}")), sample.path(&format!("there{n}.floe")));
        fs::create_dir(&disk).unwrap();
        copy(&good, &disk);
        change(&disk);
        let ran = receive(&[&disk], &there).expect(code).expect_harmless();
        assert!(ran.text().contains(said), "{what}: {ran}");
        assert_eq!(files(&outside), [Path::new("secret")], "{what}");
        let ran = run(&mut on(&there, "verify", &[]));
        assert!(matches!(ran.code(), 2 | 64), "{what}: {ran}");
    };
    let escape = format!("../../{}", "outside/new");
    for name in [escape.as_str(), "/tmp/x", "data/../../x", "index/x.idx", "pending/x", "a\u{1b}[2Jb", "CON", "data\\x", ""] {
        case("a name", 2, &|disk| forge(disk, |s| s["files"][3]["name"] = name.into()), "name");
    }
    let pack = |disk: &Path| packs_on(disk)[0].clone();
    case("an absurd size", 2, &|disk| forge(disk, |s| s["files"][4]["size"] = u64::MAX.into()), "larger than any file");
    case("another size", 1, &|disk| forge(disk, |s| s["files"][4]["size"] = 4_000_000_000_u64.into()), "send again");
    case(
        "a pack that goes on",
        1,
        &|disk| fs::File::options().append(true).open(pack(disk)).unwrap().set_len(1 << 40).unwrap(),
        "send again",
    );
    case(
        "a list that is not the one written",
        2,
        &|disk| {
            let path = disk.join("floe-disk.json");
            fs::write(&path, fs::read_to_string(&path).unwrap().replacen(&name_of(&pack(disk))[..64], &"0".repeat(64), 2))
                .unwrap();
        },
        "not whole",
    );
    case("a cut list", 2, &|disk| fs::write(disk.join("floe-disk.json"), "{\"format\":\"floe disk\"").unwrap(), "cannot be read");
    case("a later version", 2, &|disk| forge(disk, |s| s["version"] = 9.into()), "newer floe");
    case("no list", 64, &|disk| fs::remove_file(disk.join("floe-disk.json")).unwrap(), "no disk that floe shipped");
    case(
        "a list that is a link",
        2,
        &|disk| {
            fs::remove_file(disk.join("floe-disk.json")).unwrap();
            symlink(good.join("floe-disk.json"), disk.join("floe-disk.json")).unwrap();
        },
        "should be a file",
    );
    case(
        "a pack that is a link",
        1,
        &|disk| {
            let path = pack(disk);
            fs::remove_file(&path).unwrap();
            symlink(&secret, path).unwrap();
        },
        "send again",
    );
    case(
        "a folder that is a link",
        1,
        &|disk| {
            fs::remove_dir_all(disk.join("archive/data/packs")).unwrap();
            symlink(good.join("archive/data/packs"), disk.join("archive/data/packs")).unwrap();
        },
        "send again",
    );
    case(
        "a pack that is a pipe",
        1,
        &|disk| {
            let path = pack(disk);
            fs::remove_file(&path).unwrap();
            run(Command::new("mkfifo").arg(path)).expect(0);
        },
        "send again",
    );
    case("a pack of another digest", 1, &|disk| damage(&pack(disk)), "send again");
    case(
        "a file that the manifest does not have",
        2,
        &|disk| {
            let path = disk.join("archive/data/packs/extra.tar.zst");
            fs::write(&path, "extra").unwrap();
            forge(disk, |s| {
                s["files"].as_array_mut().unwrap().push(serde_json::json!({
            "name": "data/packs/extra.tar.zst", "size": 5, "sha256": Digest::of(b"extra").to_string(), "disk": 1}))
            });
        },
        "no valid archive",
    );
}

#[test]
fn disks_of_two_archives_are_not_mixed() {
    let (one, other) = (Sample::new(7, 2, 4), Sample::new(8, 2, 4));
    let (disk, stranger) = (one.disk("disk"), other.disk("disk"));
    one.ship(&[&disk], &[]).expect(0);
    other.ship(&[&stranger], &[]).expect(0);
    let there = one.path("there.floe");
    let ran = receive(&[&disk, &stranger], &there).expect(64);
    assert!(ran.text().contains("different archives") && !there.exists(), "{ran}");
    receive(&[&disk], &there).expect(0);
    let ran = receive(&[&stranger], &there).expect(64);
    assert!(ran.text().contains("another archive"), "{ran}");
    let ran = one.ship(&[&stranger], &[]).expect(64);
    assert!(ran.text().contains("another archive"), "{ran}");
    let ran = other.ship(&[&other.disk("new")], &["--since", receipt_of(&there).to_str().unwrap()]).expect(64);
    assert!(ran.text().contains("another archive"), "{ran}");
    same(&one.archive(), &there);
    // A folder with other things in it, and histories that parted.
    let ran = receive(&[&disk], &one.path("anna")).expect(64);
    assert!(ran.text().contains("no archive"), "{ran}");
    let mut parted = one;
    let copied = parted.disk("parted.floe");
    copy(&parted.archive(), &copied);
    parted.grow(2);
    run(&mut snapshot(&[("boris", &other.maildir.root)], &there)).expect(0);
    let newer = parted.disk("newer");
    parted.ship(&[&newer], &[]).expect(0);
    let before = bag(&there);
    let ran = receive(&[&newer], &there).expect(64);
    assert!(ran.text().contains("histories"), "{ran}");
    assert!(before == bag(&there));
}

#[test]
fn what_finds_no_room_is_said_before_anything_is_written() {
    let sample = Sample::new(9, 2, 4);
    let disk = sample.disk("disk");
    let ran = sample.ship(&[&disk], &["--capacity", "1K"]).expect(64);
    assert!(ran.text().contains("no file of the archive finds room") && files(&disk).is_empty(), "{ran}");
    for (to, said) in [(sample.path("nowhere"), "mounted"), (sample.archive().join("data"), "lies in the archive")] {
        let ran = sample.ship(&[&to], &[]).expect(64);
        assert!(ran.text().contains(said), "{ran}");
    }
    let ran = sample.ship(&[&disk, &sample.path("./disk")], &[]).expect(64);
    assert!(ran.text().contains("given twice"), "{ran}");
    // Nobody's files are written over.
    for name in ["README.txt", "SHA256SUMS", "archive"] {
        fs::write(disk.join(name), "somebody's").unwrap();
        let ran = sample.ship(&[&disk], &[]).expect(64);
        assert!(ran.text().contains(name) && files(&disk).len() == 1, "{ran}");
        fs::remove_file(disk.join(name)).unwrap();
    }
    fs::write(disk.join("holiday.jpg"), "somebody's").unwrap();
    sample.ship(&[&disk], &[]).expect(0);
    assert!(disk.join("holiday.jpg").exists());
}

/// A disk of its own file system, mounted.
struct Mounted {
    path: PathBuf,
    /// The block device of an image, where one had to be made.
    device: Option<String>,
}

impl Mounted {
    /// A FAT32 or exFAT disk in a file, by the kernel's or else a user's file system; none where neither may be mounted.
    fn image(folder: &Path, kind: &str, megabytes: u64) -> Option<Self> {
        let (image, path) = (folder.join(format!("{kind}.img")), folder.join(kind));
        fs::create_dir(&path).unwrap();
        fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        let maker: &[&str] = if kind == "vfat" { &["mkfs.vfat", "-F", "32"] } else { &["mkfs.exfat"] };
        let made = Command::new(maker[0]).args(&maker[1..]).arg(&image).output();
        assert!(made.is_ok() || std::env::var_os("CI").is_none(), "there is no {}", maker[0]);
        if !made.is_ok_and(|o| o.status.success()) {
            support::skipped(&format!("{kind}: there is no {} here", maker[0]));
            return None;
        }
        let works = |command: &mut Command| command.output().is_ok_and(|o| o.status.success());
        if works(Command::new("mount").args(["-t", kind, "-o", "loop"]).arg(&image).arg(&path)) {
            return Some(Mounted { path, device: None });
        }
        if kind == "vfat" {
            let tried = Command::new("fusefat").args(["-o", "rw+"]).arg(&image).arg(&path).output();
            if tried.is_ok_and(|o| o.status.success()) && is_mount(&path) {
                return Some(Mounted { path, device: None });
            }
        } else if let Ok(looped) = Command::new("losetup").args(["-f", "--show"]).arg(&image).output()
            && looped.status.success()
        {
            let device = String::from_utf8(looped.stdout).unwrap().trim().to_owned();
            let mounted = works(Command::new("mount.exfat-fuse").arg(&device).arg(&path));
            let disk = Mounted { path, device: Some(device) };
            if mounted && is_mount(&disk.path) {
                return Some(disk);
            }
        }
        support::skipped(&format!("{kind}: mounting a disk image is not permitted here"));
        None
    }

    /// A disk in memory.
    fn memory(folder: &Path, kilobytes: u64) -> Option<Self> {
        let path = folder.join("memory");
        fs::create_dir(&path).unwrap();
        let size = format!("size={kilobytes}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|o| o.status.success()) {
            return Some(Mounted { path, device: None });
        }
        support::skipped("a small disk: mounting one is not permitted here");
        None
    }
}

fn is_mount(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    table.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if is_mount(&self.path) {
            let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        }
        if let Some(device) = &self.device {
            let _ = Command::new("losetup").args(["-d", device]).status();
        }
    }
}

#[test]
fn a_fat32_and_an_exfat_disk_carry_an_archive() {
    let sample = Sample::new(10, 2, 700);
    // fusefat does not know its free space, so there a capacity says how much it takes.
    for (kind, megabytes, capacity) in [("vfat", 90, "36M".to_owned()), ("exfat", 36, "1T".to_owned())] {
        let Some(disk) = Mounted::image(sample.folder.path(), kind, megabytes) else { continue };
        // One pack finds room on it, and the other goes elsewhere.
        let more = sample.disk(&format!("{kind}-more"));
        sample.ship(&[&disk.path], &["--anew", "--capacity", &capacity]).expect(1);
        sample.ship(&[&more], &[]).expect(0);
        assert!(packs_on(&disk.path).len() == 1 && packs_on(&more).len() == 1, "{kind}");
        sample.ship(&[&disk.path], &[]).expect(0);
        for disk in [&disk.path, &more] {
            run(Command::new("sha256sum").args(["-c", "--strict", "--quiet", "SHA256SUMS"]).current_dir(disk)).expect(0);
        }
        let there = sample.path(&format!("{kind}.floe"));
        receive(&[&more], &there).expect(1);
        receive(&[&disk.path], &there).expect(0);
        same(&sample.archive(), &there);
        holds_exactly(&there, &sample.maildir.items);
    }
}

#[test]
fn a_disk_whose_file_system_keeps_everything_in_memory_is_said_to_be_one() {
    let sample = Sample::new(11, 2, 20);
    let largest = files(&sample.archive().join("data/packs"));
    let bytes = largest.iter().map(|f| fs::metadata(sample.archive().join("data/packs").join(f)).unwrap().len()).max().unwrap();
    let Some(disk) = Mounted::memory(sample.folder.path(), (bytes + bytes / 2) / 1024 + 150) else { return };
    let ran = sample.ship(&[&disk.path], &[]).expect(1);
    assert!(ran.text().contains("keeps in memory"), "{ran}");
    sample.ship(&[&sample.disk("more")], &[]).expect(0);
    let there = sample.path("there.floe");
    receive(&[&sample.path("more"), &disk.path], &there).expect(0);
    same(&sample.archive(), &there);
}
