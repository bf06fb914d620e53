//! Recovery data: the stock command reads it, and what its bound allows is mended.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;

use support::archives::{copy, files, next_second, roots};
use support::mail::{Maildir, Random};
use support::program::{Ran, floe, on, run, snapshot, start, traces};

/// An archive of two snapshots and two packs, both too large to be protected whole.
struct Sample {
    folder: tempfile::TempDir,
    archive: PathBuf,
    maildir: Maildir,
}

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(47);
        let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
        let archive = folder.path().join("a.floe");
        for round in 0..2 {
            if round > 0 {
                next_second();
            }
            maildir.fill(&mut random, "", 10, 120_000);
            run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
        }
        run(&mut on(&archive, "protect", &[])).expect(0);
        let sample = Sample { folder, archive, maildir };
        assert_eq!((sample.packs().len(), roots(&sample.archive).len()), (2, 2));
        sample
    }

    fn packs(&self) -> Vec<PathBuf> {
        files(&self.archive.join("data/packs")).into_iter().map(|f| self.archive.join("data/packs").join(f)).collect()
    }

    fn on(&self, command: &str, more: &[&str]) -> Ran {
        run(&mut on(&self.archive, command, more))
    }

    /// Repairs, and demands that everything under `data/` is as it was.
    #[track_caller]
    fn is_mended(&self, good: &Contents, what: &str) -> Ran {
        let ran = self.on("repair", &[]);
        assert_eq!(ran.code(), 0, "{what}: {ran}");
        assert!(contents(&self.archive.join("data")) == *good, "{what}: {ran}");
        assert!(!self.archive.join("damaged").exists(), "{what}");
        let again = self.on("repair", &[]).expect(0);
        assert!(again.text().starts_with("PASS: 0 files were mended"), "{what}: {again}");
        ran
    }
}

/// The bytes of all files of a folder.
type Contents = BTreeMap<PathBuf, Vec<u8>>;

fn contents(folder: &Path) -> Contents {
    files(folder).into_iter().map(|f| (f.clone(), fs::read(folder.join(f)).unwrap())).collect()
}

/// Makes the folder hold just these files.
fn put_back(folder: &Path, good: &Contents) {
    for file in files(folder).iter().filter(|f| !good.contains_key(*f)) {
        fs::remove_file(folder.join(file)).unwrap();
    }
    for (file, bytes) in good {
        fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        fs::write(folder.join(file), bytes).unwrap();
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Runs the stock command on the recovery file of a pack or root, as docs/format.md says.
fn par2(archive: &Path, verb: &str, file: &Path) -> Ran {
    let folder = file.parent().unwrap().strip_prefix(archive).unwrap();
    let mut par2 = Command::new("par2");
    par2.args([verb, "-B"]).arg(folder).arg(format!("parity/{}.par2", name(file)));
    run(par2.current_dir(archive))
}

#[test]
fn the_stock_command_verifies_and_mends_with_floes_recovery_data() {
    let sample = Sample::new();
    let mut all = sample.packs();
    all.extend(roots(&sample.archive));
    for file in &all {
        par2(&sample.archive, "verify", file).expect(0);
        let good = fs::read(file).unwrap();
        let mut bad = good.clone();
        let third = bad.len() / 3;
        bad[third..third + 5000.min(third)].fill(7);
        fs::write(file, &bad).unwrap();
        par2(&sample.archive, "verify", file).expect(1);
        par2(&sample.archive, "repair", file).expect(0);
        assert!(fs::read(file).unwrap() == good, "{}", file.display());
    }
    assert_eq!(sample.maildir.items.len(), 20);
    drop(sample.folder);
}

/// Makes small files in the archive: a signature, a question for a time stamp, a hold, and their events. Gives their names.
fn small_files(sample: &Sample) -> Vec<String> {
    let key = sample.folder.path().join("key");
    run(floe().args(["key", "new", "--out"]).arg(&key)).expect(0);
    run(on(&sample.archive, "sign", &["--role", "operator", "--key"]).arg(&key)).expect(0);
    sample.on("timestamp", &["--request"]).expect(0);
    run(&mut on(&sample.archive, "hold", &["--account", "anna", "--why", "case 17"])).expect(0);
    sample.on("verify", &["--record"]).expect(0);
    let is_small =
        |name: &String| ["signatures/", "timestamps/", "data/holds/", "events.jsonl"].iter().any(|start| name.starts_with(start));
    let names: Vec<String> = files(&sample.archive).iter().map(|f| f.to_str().unwrap().to_owned()).filter(is_small).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    names
}

#[test]
fn small_files_are_put_back_bit_for_bit_by_floe_and_by_tar() {
    let sample = Sample::new();
    let names = small_files(&sample);
    // Every command since has renewed the copy.
    let ran = sample.on("verify", &["--full"]).expect(0);
    assert!(!ran.text().contains("note:"), "{ran}");
    let good = contents(&sample.archive);
    let is_back = |what: &str| {
        let ran = sample.on("repair", &[]).expect(0);
        assert!(ran.text().contains("(it lay in parity/spare.tar)"), "{what}: {ran}");
        assert!(!sample.archive.join("damaged").exists(), "{what}");
        let is = contents(&sample.archive);
        let differ: Vec<&PathBuf> =
            good.iter().filter(|(name, bytes)| is.get(*name) != Some(bytes)).map(|(name, _)| name).collect();
        assert!(differ.is_empty(), "{what}: {differ:?}");
    };
    for name in &names {
        let path = sample.archive.join(name);
        let bytes = fs::read(&path).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        for bad in [&flipped[..], &bytes[..bytes.len() - 1], b""] {
            fs::write(&path, bad).unwrap();
            sample.on("verify", &[]).expect(2);
            is_back(name);
        }
        fs::remove_file(&path).unwrap();
        is_back(name);
    }
    names.iter().for_each(|name| fs::remove_file(sample.archive.join(name)).unwrap());
    is_back("all");
    // The same by hand, as docs/parity.md says.
    let check = ["manifest-sha256.txt", "tagmanifest-sha256.txt"].map(|manifest| {
        let mut sums = Command::new("sha256sum");
        sums.args(["-c", "--quiet", manifest]).current_dir(&sample.archive);
        sums
    });
    for name in &names {
        fs::write(sample.archive.join(name), "x").unwrap();
        run(Command::new("tar").args(["-x", "-f", "parity/spare.tar", name]).current_dir(&sample.archive)).expect(0);
    }
    check.into_iter().for_each(|mut sums| _ = run(&mut sums).expect(0));
    assert!(contents(&sample.archive) == good);
}

#[test]
fn a_damaged_copy_of_the_small_files_is_named_made_anew_and_never_believed() {
    let sample = Sample::new();
    let names = small_files(&sample);
    let copy = sample.archive.join("parity/spare.tar");
    let good = fs::read(&copy).unwrap();
    let mut random = Random(9);
    for n in 0..40 {
        let mut bad = good.clone();
        match n {
            0 => bad.clear(),
            1 => bad.truncate(good.len() / 2),
            _ => bad[random.below(good.len() as u64) as usize] ^= 1 << random.below(8),
        }
        fs::write(&copy, bad).unwrap();
        let ran = sample.on("verify", &[]).expect(1);
        assert!(ran.text().contains("parity/spare.tar is not a copy"), "{ran}");
        sample.on("protect", &[]).expect(0);
        assert!(fs::read(&copy).unwrap() == good, "{n}");
    }
    fs::remove_file(&copy).unwrap();
    assert!(sample.on("verify", &[]).expect(1).text().contains("parity/spare.tar is missing"));
    sample.on("protect", &[]).expect(0);
    sample.on("verify", &["--full"]).expect(0);
    // A signature and its copy, changed alike: what the manifest does not list is not put back, and what is there is not copied.
    let name = names.iter().find(|name| name.starts_with("signatures/")).unwrap();
    let path = sample.archive.join(name);
    let signature = fs::read_to_string(&path).unwrap();
    let forged = signature.replacen('A', "B", 1);
    let at = memchr::memmem::find(&good, signature.as_bytes()).unwrap();
    let mut both = good.clone();
    both[at..at + forged.len()].copy_from_slice(forged.as_bytes());
    fs::write(&copy, both).unwrap();
    fs::write(&path, &forged).unwrap();
    let ran = sample.on("repair", &[]).expect(2);
    assert!(ran.text().contains(name.as_str()) && fs::read_to_string(&path).unwrap() == forged, "{ran}");
    sample.on("protect", &[]).expect(0);
    assert!(memchr::memmem::find(&fs::read(&copy).unwrap(), forged.as_bytes()).is_none());
    // With the good copy it is put back, also where a command renewed the copy while the file was damaged.
    fs::write(&copy, &good).unwrap();
    sample.on("verify", &["--record"]).expect(2);
    sample.on("repair", &[]).expect(0);
    assert_eq!(fs::read_to_string(&path).unwrap(), signature);
}

#[test]
fn sets_of_the_stock_command_mend_too() {
    let sample = Sample::new();
    let good = contents(&sample.archive.join("data"));
    fs::remove_dir_all(sample.archive.join("parity")).unwrap();
    fs::create_dir(sample.archive.join("parity")).unwrap();
    let mut par2 = Command::new("par2");
    par2.args(["create", "-q", "-s5000", "-c40", "-B", "data/packs", "parity/mine.par2"]);
    par2.args(sample.packs().iter().map(|p| p.strip_prefix(&sample.archive).unwrap()));
    run(par2.current_dir(&sample.archive)).expect(0);
    for (n, pack) in sample.packs().iter().enumerate() {
        let mut bad = fs::read(pack).unwrap();
        bad[300_000..350_000].fill(n as u8);
        bad.drain(..77);
        fs::write(pack, bad).unwrap();
    }
    let ran = sample.on("repair", &[]);
    // Exceptions: there is none of floe's own recovery data.
    assert_eq!(ran.code(), 1, "{ran}");
    assert!(ran.text().contains("has no recovery data"), "{ran}");
    assert!(contents(&sample.archive.join("data")) == good, "{ran}");
}

#[test]
fn protecting_again_adds_what_is_new_and_renews_what_is_damaged() {
    let mut sample = Sample::new();
    let parity = sample.archive.join("parity");
    let first = contents(&parity);
    assert_eq!(first.len(), 4 + 1, "four sets, and the small files");
    next_second();
    sample.maildir.fill(&mut Random(5), "", 1, 5000);
    run(&mut snapshot(&[("anna", &sample.maildir.root)], &sample.archive)).expect(0);
    let bare = sample.on("verify", &[]).expect(1);
    assert_eq!(bare.text().matches("has no recovery data").count(), 2, "{bare}");
    let ran = sample.on("protect", &[]).expect(0);
    assert!(ran.text().contains("PASS: 2 files of") && ran.text().contains("4 had it already"), "{ran}");
    sample.on("verify", &[]).expect(0);
    let good = contents(&parity);
    let is_set = |name: &&PathBuf| name.extension().is_some_and(|ending| ending == "par2");
    assert!(good.keys().filter(is_set).count() == 6 && first.keys().filter(is_set).all(|name| good.get(name) == first.get(name)));
    let (name, bytes) = good.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let flipped: Vec<u8> = bytes.iter().enumerate().map(|(n, b)| if n == bytes.len() / 3 { b ^ 1 } else { *b }).collect();
    let (other, _) = good.iter().min_by_key(|(_, bytes)| bytes.len()).unwrap();
    let grown = [bytes, &b"more"[..]].concat();
    for bad in [&flipped, &bytes[..bytes.len() / 2], &bytes[..bytes.len() - 80], &grown, &good[other], &[]] {
        fs::write(parity.join(name), bad).unwrap();
        let found = sample.on("verify", &[]).expect(1);
        assert!(found.text().contains(&format!("note: parity/{}", name.display())), "{found}");
        let ran = sample.on("protect", &[]).expect(0);
        assert!(ran.text().contains("made anew, it was damaged: parity/"), "{ran}");
        sample.on("verify", &[]).expect(0);
        assert!(contents(&parity) == good);
    }
    // More than there is can be asked for; less changes nothing.
    let ran = sample.on("protect", &["--percent", "20"]).expect(0);
    assert!(ran.text().contains("PASS: 2 files of"), "{ran}");
    let ran = sample.on("protect", &["--percent", "5", "--json"]).expect(0);
    let json: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((json["added"].as_u64(), json["kept"].as_u64()), (Some(0), Some(6)), "{ran}");
}

#[test]
fn a_damaged_file_gets_no_recovery_data_that_would_keep_the_damage() {
    let sample = Sample::new();
    fs::remove_dir_all(sample.archive.join("parity")).unwrap();
    let pack = &sample.packs()[0];
    let mut bad = fs::read(pack).unwrap();
    bad[1000] ^= 1;
    fs::write(pack, bad).unwrap();
    let ran = sample.on("protect", &[]).expect(2);
    assert!(ran.text().contains(&format!("damaged: data/packs/{}", name(pack))), "{ran}");
    assert!(files(&sample.archive.join("parity")).len() == 3 + 1, "{ran}");
}

#[test]
fn what_is_beyond_the_bound_is_left_alone_and_named_with_its_items() {
    let sample = Sample::new();
    let pack = &sample.packs()[0];
    let mut bad = fs::read(pack).unwrap();
    bad[20_000..150_000].fill(1);
    fs::write(pack, &bad).unwrap();
    let before = contents(&sample.archive.join("data"));
    for _ in 0..2 {
        let ran = sample.on("repair", &[]).expect(2);
        assert!(ran.text().contains(&format!("cannot be mended: data/packs/{}: ", name(pack))), "{ran}");
        assert!(ran.text().contains("slices are damaged or missing and the recovery data makes"), "{ran}");
        assert!(ran.text().contains("account anna") && ran.text().contains("INBOX"), "{ran}");
        assert!(ran.text().contains(&format!("copy data/packs/{}", name(pack))), "{ran}");
        assert!(contents(&sample.archive.join("data")) == before, "{ran}");
    }
    let json: serde_json::Value = serde_json::from_slice(&sample.on("repair", &["--json"]).expect(2).stdout).unwrap();
    let slices = &json["lacking"][0]["slices"];
    assert!(slices["missing"].as_u64() > slices["recovery"].as_u64(), "{json}");
    assert!(json["verdict"].as_str().unwrap().starts_with("FAIL: "), "{json}");
}

#[test]
fn a_file_that_is_gone_with_its_line_in_the_manifest_is_still_missed() {
    let sample = Sample::new();
    let pack = &sample.packs()[0];
    fs::remove_file(pack).unwrap();
    for file in ["manifest-sha256.txt", "tagmanifest-sha256.txt", "README.txt"] {
        fs::remove_file(sample.archive.join(file)).unwrap();
    }
    let ran = sample.on("repair", &[]).expect(2);
    assert!(ran.text().contains(&format!("cannot be mended: data/packs/{}", name(pack))), "{ran}");
    let manifest = fs::read_to_string(sample.archive.join("manifest-sha256.txt")).unwrap();
    assert!(manifest.contains(name(pack)) && manifest.lines().count() == 4, "{manifest}");
    assert!(sample.on("verify", &[]).expect(2).text().contains(&format!("data/packs/{} is missing", name(pack))));
}

/// Damages to one file that touch at most so many slices of 4 KiB.
fn damage(bytes: &mut Vec<u8>, random: &mut Random, slices: u64) -> String {
    let slice = if bytes.len() <= 256 << 10 { 512 } else { 4096 };
    let length = bytes.len() as u64;
    match random.below(6) {
        0 => {
            for _ in 0..slices {
                let bit = random.below(length * 8);
                bytes[bit as usize / 8] ^= 1 << (bit % 8);
            }
            format!("{slices} bits flipped")
        }
        1 => {
            // A stretch of n-1 slices touches n.
            let count = (slices - 1) * slice;
            let at = random.below(length.saturating_sub(count));
            let junk = random.bytes(count.min(length) as usize);
            bytes[at as usize..][..junk.len()].copy_from_slice(&junk);
            format!("{count} bytes overwritten at {at}")
        }
        2 => {
            let count = ((slices - 1) * slice).min(length);
            bytes.truncate((length - count) as usize);
            format!("the last {count} bytes cut")
        }
        3 => {
            for _ in 0..slices {
                let at = random.below(bytes.len() as u64) as usize;
                let junk = random.bytes(1 + random.0 as usize % 50);
                bytes.splice(at..at, junk);
            }
            format!("grown in {slices} places")
        }
        4 => {
            let count = ((slices - 1) * slice).min(length) as usize;
            let at = random.below(length - count as u64) as usize;
            bytes.drain(at..at + count);
            format!("{count} bytes gone at {at}")
        }
        _ => {
            // Everything moves; only the slice that lies across the place is spoilt.
            let at = random.below(length / 2) as usize;
            bytes.rotate_left(at);
            format!("turned at {at}")
        }
    }
}

/// What may happen to whole files, none of which loses bytes.
fn shuffle(sample: &Sample, good: &Contents, random: &mut Random) -> &'static str {
    let packs = sample.packs();
    let path = |name: &str| sample.archive.join(name);
    match random.below(7) {
        0 => {
            let aside = path("data/packs/x");
            for (from, to) in [(&packs[0], &aside), (&packs[1], &packs[0]), (&aside, &packs[1])] {
                fs::rename(from, to).unwrap();
            }
            "two packs have each other's name"
        }
        1 => {
            let digest = floe::model::Digest::of(&random.bytes(8));
            fs::rename(&packs[0], path(&format!("data/packs/{digest}.tar.zst"))).unwrap();
            "a pack has another's name"
        }
        2 => {
            fs::rename(&packs[1], path("data/packs/FOUND.000")).unwrap();
            "a pack has no pack's name"
        }
        3 => {
            fs::write(path("data/packs/copy (1).tar.zst"), &good[Path::new("packs").join(name(&packs[1])).as_path()]).unwrap();
            "a pack is there twice"
        }
        4 => {
            for root in roots(&sample.archive) {
                fs::remove_file(root).unwrap();
            }
            "the roots are gone"
        }
        5 => {
            for file in ["manifest-sha256.txt", "bagit.txt", "restore.py"] {
                fs::write(path(file), random.bytes(100)).unwrap();
            }
            "bag files are junk"
        }
        _ => {
            fs::write(path("tagmanifest-sha256.txt"), "").unwrap();
            fs::remove_dir_all(path("index")).unwrap();
            "tag manifest and index are gone"
        }
    }
}

/// Rounds of the tests with random damages.
fn rounds(usual: u64) -> u64 {
    std::env::var("FLOE_TEST_ROUNDS").ok().map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn any_damage_up_to_the_bound_is_mended() {
    let sample = Sample::new();
    let mut random = Random::fresh("up to the bound");
    let good = contents(&sample.archive.join("data"));
    for round in 0..rounds(25) {
        let mut what = format!("round {round}:");
        for file in good.keys().filter(|_| random.below(2) == 0).cloned().collect::<Vec<_>>() {
            let mut bytes = good[&file].clone();
            let bound = if bytes.len() <= 256 << 10 { bytes.len() as u64 / 512 } else { bytes.len() as u64 / 4096 / 20 };
            let slices = 1 + random.below(bound);
            let done = damage(&mut bytes, &mut random, slices);
            what += &format!(" {}: {done};", file.display());
            fs::write(sample.archive.join("data").join(&file), bytes).unwrap();
        }
        what += shuffle(&sample, &good, &mut random);
        sample.is_mended(&good, &what);
        sample.on("verify", &["--full"]).expect(0);
    }
}

#[test]
fn any_damage_beyond_the_bound_is_refused_or_mended_and_never_made_worse() {
    let sample = Sample::new();
    let mut random = Random::fresh("beyond the bound");
    let good = contents(&sample.archive);
    let wanted = contents(&sample.archive.join("data"));
    let mut refused = 0;
    for round in 0..rounds(25) {
        for file in files(&sample.archive) {
            if random.below(3) > 0 {
                continue;
            }
            let mut bytes = good[&file].clone();
            if !bytes.is_empty() {
                let slices = 1 + random.below(bytes.len() as u64 / 4096);
                damage(&mut bytes, &mut random, slices);
            }
            fs::write(sample.archive.join(&file), bytes).unwrap();
        }
        if random.below(2) == 0 {
            shuffle(&sample, &wanted, &mut random);
        }
        let before = contents(&sample.archive.join("data"));
        let ran = sample.on("repair", &[]);
        let after = contents(&sample.archive.join("data"));
        match ran.code() {
            0 | 1 => assert!(after == wanted, "round {round}: {ran}"),
            2 => {
                refused += 1;
                let kept = |file: &PathBuf| after.get(file) == before.get(file) || after.get(file) == wanted.get(file);
                assert!(wanted.keys().all(kept), "round {round}: {ran}");
                // Nothing brings the record of events back.
                let events = fs::read(sample.archive.join("events.jsonl")).unwrap() == good[Path::new("events.jsonl")];
                assert!(after != wanted || !events, "round {round}: a whole archive is refused: {ran}");
                sample.on("verify", &[]).expect(2);
            }
            _ => panic!("round {round}: {ran}"),
        }
        put_back(&sample.archive, &good);
        let _ = fs::remove_dir_all(sample.archive.join("damaged"));
    }
    assert!(refused > 0, "nothing was beyond the bound");
}

#[test]
fn a_damaged_line_of_the_tag_manifest_is_mended_and_told_of() {
    let sample = Sample::new();
    let manifest = sample.archive.join("tagmanifest-sha256.txt");
    let text = fs::read_to_string(&manifest).unwrap();
    let line = text.lines().find(|line| line.ends_with("  events.jsonl")).unwrap();
    let turned: String =
        line.chars().enumerate().map(|(n, c)| if n == 7 { if c == '0' { '1' } else { '0' } } else { c }).collect();
    fs::write(&manifest, text.replace(line, &turned)).unwrap();
    sample.on("verify", &[]).expect(2);
    let before = fs::read(sample.archive.join("events.jsonl")).unwrap();
    sample.on("repair", &[]).expect(1);
    // Whether the line was damaged or the record cut, nobody can know; so it is said from now on.
    let after = fs::read(sample.archive.join("events.jsonl")).unwrap();
    assert!(after.starts_with(&before) && String::from_utf8_lossy(&after[before.len()..]).contains("fixity check"));
    assert!(sample.on("verify", &["--full"]).expect(1).text().contains("another than"));
    let again = fs::read(sample.archive.join("events.jsonl")).unwrap();
    sample.on("repair", &[]).expect(1);
    assert_eq!(fs::read(sample.archive.join("events.jsonl")).unwrap(), again);
}

#[test]
fn a_file_that_nobody_knows_is_named_and_not_removed() {
    let sample = Sample::new();
    let stray = sample.archive.join("data/packs/letter.txt");
    fs::write(&stray, "what is this?").unwrap();
    let ran = sample.on("repair", &[]).expect(2);
    assert!(ran.text().contains("letter.txt is in no manifest") && stray.exists(), "{ran}");
}

#[test]
fn protect_killed_at_any_moment_is_completed_by_the_next() {
    let sample = Sample::new();
    let mut random = Random::fresh("killed protect");
    let good = contents(&sample.archive.join("parity"));
    fs::remove_dir_all(sample.archive.join("parity")).unwrap();
    let whole = sample.on("protect", &[]).expect(0).elapsed;
    for _ in 0..30 {
        fs::remove_dir_all(sample.archive.join("parity")).unwrap();
        let mut child = start(&mut on(&sample.archive, "protect", &[]));
        sleep(whole.mul_f64(random.below(1000) as f64 / 900.0));
        let _ = child.kill();
        child.wait().unwrap();
        assert!(matches!(sample.on("verify", &[]).code(), 0 | 1));
        sample.on("protect", &[]).expect(0);
        assert!(contents(&sample.archive.join("parity")) == good);
        sample.on("verify", &[]).expect(0);
    }
}

/// Every call that changes the names or the durability of files.
const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat,ftruncate";

#[test]
fn repair_killed_at_each_system_call_that_changes_names_is_completed_by_the_next() {
    if !traces("killing repair at every system call") {
        return;
    }
    let sample = Sample::new();
    let good = contents(&sample.archive.join("data"));
    let packs = sample.packs();
    let aside = sample.archive.join("data/packs/x");
    for (from, to) in [(&packs[0], &aside), (&packs[1], &packs[0]), (&aside, &packs[1])] {
        fs::rename(from, to).unwrap();
    }
    let mut bad = fs::read(&packs[0]).unwrap();
    bad[5000..20_000].fill(3);
    fs::write(&packs[0], bad).unwrap();
    fs::remove_file(&roots(&sample.archive)[0]).unwrap();
    fs::write(sample.archive.join("manifest-sha256.txt"), "").unwrap();
    let broken = sample.folder.path().join("broken");
    fs::rename(&sample.archive, &broken).unwrap();
    let mut ends = 0;
    for n in 1.. {
        let _ = fs::remove_dir_all(&sample.archive);
        copy(&broken, &sample.archive);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")]);
        strace.args(["-e", &format!("inject={CALLS}:signal=SIGKILL:when={n}")]);
        let repair = on(&sample.archive, "repair", &[]);
        let ran = run(strace.arg(repair.get_program()).args(repair.get_args()));
        if ran.status.signal().is_none() {
            assert_eq!(ran.code(), 0, "{ran}");
            ends = n;
            break;
        }
        sample.is_mended(&good, &format!("killed at call {n}"));
    }
    assert!(ends > 10, "only {ends} calls were traced");
}
