//! Ten thousand damages to a signed and protected archive, by accident or on purpose: each is found and named, and none gives PASS.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; the counts are told")]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use floe::archive::{Archive, Check, Findings, verify};
use floe::model::Digest;
use floe::monitor::Silent;
use floe::{parity, proof, snapshot};
use support::archives::{files, next_second};
use support::authority::Authority;
use support::mail::{Maildir, Random};
use support::program::{self, floe, on, run};

/// Damages of a run: half a minute.
const ROUNDS: u64 = 10_000;

struct Sample {
    _folder: tempfile::TempDir,
    archive: PathBuf,
    good: BTreeMap<String, Vec<u8>>,
}

impl Sample {
    /// Two snapshots, both signed, with recovery data and a recorded check.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (archive, key) = (folder.path().join("a.floe"), folder.path().join("key"));
        let mut random = Random(5);
        let mut anna = Maildir::new(&folder.path().join("anna"), "anna");
        run(floe().args(["key", "new", "--out"]).arg(&key)).expect(0);
        for round in 0..2 {
            if round > 0 {
                next_second();
            }
            anna.fill(&mut random, "", 4, 3000);
            anna.fill(&mut random, ".Sent", 2, 3000);
            run(&mut program::snapshot(&[("anna", &anna.root)], &archive)).expect(0);
            run(on(&archive, "sign", &["--role", "operator", "--key"]).arg(&key)).expect(0);
        }
        let asked = run(&mut on(&archive, "timestamp", &["--request", "--json"])).expect(0);
        let asked: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
        let answer = Authority::new(folder.path()).answer(&archive.join(asked["file"].as_str().unwrap()), "answer.tsr");
        run(on(&archive, "timestamp", &["--attach"]).arg(answer)).expect(0);
        run(&mut on(&archive, "protect", &[])).expect(0);
        run(&mut on(&archive, "verify", &["--full", "--record"])).expect(0);
        let good = files(&archive).into_iter().filter(|f| f != Path::new("index/lock"));
        let good = good.map(|f| (f.to_str().unwrap().to_owned(), fs::read(archive.join(&f)).unwrap())).collect();
        Sample { _folder: folder, archive, good }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.archive.join(name)
    }

    fn in_folder(&self, folder: &str) -> Vec<String> {
        self.good.keys().filter(|name| name.starts_with(folder)).cloned().collect()
    }

    /// Everything that `floe verify` says; why the archive does not open is said too.
    fn check(&self, full: bool) -> Findings {
        let looked = Archive::open(&self.archive).and_then(|archive| {
            let mut found = verify(&archive, &Check { full, ..Check::default() }, &Silent)?;
            proof::timestamp::check(archive.store(), &mut found)?;
            parity::check(archive.store(), &mut found)?;
            snapshot::check_seen(&archive, &mut found)?;
            proof::check(&archive, &mut found)?;
            Ok(found)
        });
        looked.unwrap_or_else(|e| Findings { damage: vec![e.to_string()], ..Findings::default() })
    }

    fn put_back(&self) {
        for file in files(&self.archive).into_iter().filter(|f| f != Path::new("index/lock")) {
            if !self.good.contains_key(file.to_str().unwrap()) {
                fs::remove_file(self.archive.join(file)).unwrap();
            }
        }
        for (name, bytes) in &self.good {
            if fs::read(self.path(name)).ok().as_ref() != Some(bytes) {
                fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
                fs::write(self.path(name), bytes).unwrap();
            }
        }
    }

    /// Makes the bag's own files anew, as somebody would who wants to hide something.
    fn hide(&self) {
        let sums = |names: &[PathBuf]| {
            names.iter().fold(String::new(), |mut text, name| {
                let digest = Digest::of(&fs::read(self.archive.join(name)).unwrap());
                writeln!(text, "{digest}  {}", name.display()).unwrap();
                text
            })
        };
        let all = files(&self.archive);
        let (payload, others): (Vec<PathBuf>, Vec<PathBuf>) = all.into_iter().partition(|f| f.starts_with("data"));
        fs::write(self.path("manifest-sha256.txt"), sums(&payload)).unwrap();
        let bytes: u64 = payload.iter().map(|f| fs::metadata(self.archive.join(f)).unwrap().len()).sum();
        let info = String::from_utf8(self.good["bag-info.txt"].clone()).unwrap();
        let oxum = info.lines().find(|line| line.starts_with("Payload-Oxum")).unwrap();
        fs::write(self.path("bag-info.txt"), info.replace(oxum, &format!("Payload-Oxum: {bytes}.{}", payload.len()))).unwrap();
        let listed = |f: &PathBuf| {
            !["index", "parity"].iter().any(|folder| f.starts_with(folder)) && f != Path::new("tagmanifest-sha256.txt")
        };
        let others: Vec<PathBuf> = others.into_iter().filter(listed).collect();
        fs::write(self.path("tagmanifest-sha256.txt"), sums(&others)).unwrap();
    }

    /// Does one of the harms; what was done, and any of the words that has to be in what is said.
    fn harm(&self, random: &mut Random) -> (String, Vec<String>) {
        let pick = |random: &mut Random, names: &[String]| names[random.below(names.len() as u64) as usize].clone();
        let all: Vec<String> = self.good.keys().cloned().collect();
        let mut file = pick(random, &all);
        let harm = random.below(12);
        // The cache may be deleted at any time: that is no damage.
        while harm == 5 && is_cache(&file) {
            file = pick(random, &all);
        }
        let mut bytes = self.good[&file].clone();
        let (packs, roots, signatures) =
            (self.in_folder("data/packs/"), self.in_folder("data/snapshots/"), self.in_folder("signatures/"));
        // Recovery data that is gone is named by what it was for.
        let own = vec![last(&file).trim_end_matches(".par2").to_owned()];
        match harm {
            0..=3 => {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random.below(8);
                fs::write(self.path(&file), bytes).unwrap();
                (format!("a bit of {file} at {at}"), own)
            }
            4 => {
                bytes.truncate(random.below(bytes.len() as u64) as usize);
                fs::write(self.path(&file), bytes).unwrap();
                (format!("the end of {file}"), own)
            }
            5 => {
                fs::remove_file(self.path(&file)).unwrap();
                (format!("{file} deleted"), own)
            }
            6 => {
                bytes.extend_from_slice(&random.bytes(1));
                fs::write(self.path(&file), bytes).unwrap();
                (format!("a byte behind {file}"), own)
            }
            7 => {
                let folder = [&packs, &roots, &signatures][random.below(3) as usize];
                fs::write(self.path(&folder[0]), &self.good[&folder[1]]).unwrap();
                fs::write(self.path(&folder[1]), &self.good[&folder[0]]).unwrap();
                (format!("{} and {} swapped", folder[0], folder[1]), vec![last(&folder[0])])
            }
            8 => {
                // Under the name of a pack, or under none that there should be.
                let from = pick(random, &packs);
                let name = if random.below(2) == 0 {
                    format!("data/packs/{}.tar.zst", Digest::of(&random.bytes(4)))
                } else {
                    format!("{from}.bak")
                };
                fs::write(self.path(&name), &self.good[&from]).unwrap();
                (format!("{from} once more as {name}"), vec![last(&name)])
            }
            9 => {
                // The archive as it was after the first snapshot, but for the record of events.
                for gone in [&roots[1], &signatures[1]] {
                    fs::remove_file(self.path(gone)).unwrap();
                }
                self.hide();
                let digest = Digest::of(&self.good[&roots[1]]);
                ("the older root put back, and hidden".to_owned(), vec![digest.to_string()])
            }
            10 => {
                let text = String::from_utf8(self.good["events.jsonl"].clone()).unwrap();
                let mut lines: Vec<&str> = text.lines().collect();
                let n = random.below(lines.len() as u64 - 1) as usize;
                let what = if random.below(2) == 0 {
                    lines.remove(n);
                    format!("event {} removed, and hidden", n + 1)
                } else {
                    lines.swap(n, n + 1);
                    format!("events {} and {} swapped, and hidden", n + 1, n + 2)
                };
                fs::write(self.path("events.jsonl"), lines.iter().fold(String::new(), |t, line| t + line + "\n")).unwrap();
                self.hide();
                (what, vec!["events.jsonl".to_owned()])
            }
            _ => {
                fs::write(self.path(&signatures[1]), &self.good[&signatures[0]]).unwrap();
                self.hide();
                (format!("{} put in the place of {}, and hidden", signatures[0], signatures[1]), vec![last(&signatures[1])])
            }
        }
    }
}

fn is_cache(name: &str) -> bool {
    name.starts_with("index/")
}

fn last(name: &str) -> String {
    name.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn every_damage_is_found_and_named_and_none_gives_pass() {
    let sample = Sample::new();
    let clean = sample.check(true);
    assert!(clean.damage.is_empty() && clean.warnings.is_empty(), "{clean:?}");
    let mut random = Random::fresh("damages");
    let mut notes = 0;
    for round in 0..ROUNDS {
        let (what, words) = sample.harm(&mut random);
        let found = sample.check(random.below(2) == 0);
        // Recovery data and the cache may be lost without loss of anything else.
        let only_noted = what.contains("parity/") || what.contains("index/");
        let said: Vec<&String> = found.damage.iter().chain(found.warnings.iter().filter(|_| only_noted)).collect();
        assert!(!said.is_empty(), "round {round}: {what}: PASS");
        let is_named = said.iter().any(|line| words.iter().any(|word| line.contains(word.as_str())));
        assert!(is_named, "round {round}: {what}: not named in {said:?}");
        notes += u64::from(found.damage.is_empty());
        assert!(!what.contains("index/") || found.damage.is_empty(), "round {round}: {what}: {:?}", found.damage);
        sample.put_back();
    }
    println!("{ROUNDS} damages found, {notes} of them of recovery data or the cache only");
    let clean = sample.check(true);
    assert!(clean.damage.is_empty() && clean.warnings.is_empty(), "{clean:?}");
}
