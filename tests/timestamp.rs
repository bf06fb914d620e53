//! Time stamps of roots: openssl reads the question, answers it as an authority of the test, and finds the kept answer good.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use floe::model::Digest;
use serde_json::Value;
use support::authority::Authority;
use support::mail::{Maildir, message};
use support::program::{Ran, on, run, snapshot};

/// An archive with one snapshot, and an authority in a folder beside it.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let case = Case { folder: tempfile::tempdir().unwrap() };
        case.put(1);
        case.snapshot();
        case
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.at("a.floe")
    }

    fn put(&self, n: u32) {
        let mut mail = Maildir::new(&self.at("mail"), "anna@acme.example");
        mail.put("", &format!("17000000{n:02}.M{n}P1.host:2,S"), &message(&format!("m {n}"), b"x"));
    }

    fn snapshot(&self) {
        run(&mut snapshot(&[("anna@acme.example", &self.at("mail"))], &self.archive())).expect(0);
    }

    /// Makes the authority: a root certificate and one for time stamps.
    fn authority(&self) -> Authority {
        Authority::new(self.folder.path())
    }

    fn request(&self) -> Value {
        json(run(&mut on(&self.archive(), "timestamp", &["--request", "--json"])).expect(0))
    }

    fn attach(&self, answer: &Path) -> Ran {
        run(&mut on(&self.archive(), "timestamp", &["--attach", answer.to_str().unwrap(), "--json"]))
    }

    fn verify(&self) -> Ran {
        run(&mut on(&self.archive(), "verify", &[]))
    }
}

fn json(ran: Ran) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran}"))
}

#[test]
fn openssl_answers_the_question_and_finds_the_kept_answer_good() {
    let case = Case::new();
    let authority = case.authority();
    let asked = case.request();
    let question = case.archive().join(asked["file"].as_str().unwrap());
    let root = case.archive().join(asked["root"].as_str().unwrap());
    assert_eq!(asked["sha256"], Digest::of(&fs::read(&root).unwrap()).to_string());
    let seen = authority.openssl(&format!("ts -query -in {} -text", question.display())).expect(0).text();
    for part in ["Version: 1", "Hash Algorithm: sha256", "Nonce: 0x", "Certificate required: yes"] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
    let again = case.request();
    assert_eq!((&again["file"], &again["was_there"]), (&asked["file"], &true.into()));
    let answer = authority.answer(&question, "one.tsr");
    let kept = json(case.attach(&answer).expect(0));
    assert!(kept["file"].as_str().unwrap().ends_with(".1.tsr"), "{kept}");
    assert_eq!(json(case.attach(&answer).expect(0))["file"], kept["file"], "the same answer is kept once");
    let second = json(case.attach(&authority.answer(&question, "two.tsr")).expect(0));
    assert!(second["file"].as_str().unwrap().ends_with(".2.tsr"), "{second}");
    let report = case.at("report");
    run(on(&case.archive(), "verify", &["--report"]).arg(&report)).expect(0);
    let report: Value = serde_json::from_slice(&fs::read(report.join("report.json")).unwrap()).unwrap();
    let seals: Vec<&Value> = report["seals"].as_array().unwrap().iter().filter(|seal| seal["kind"] == "timestamp").collect();
    assert!(seals.len() == 2 && seals[0]["good"] == true && seals[0]["root"] == asked["sha256"], "{seals:?}");
    let step = report["repeat"].as_array().unwrap().iter().find(|step| step["expect"] == "Verification: OK").unwrap();
    let command = step["command"].as_str().unwrap().replace("ARCHIVE", case.archive().to_str().unwrap());
    let command = command.replace("CA.pem", authority.certificate().to_str().unwrap());
    assert!(run(Command::new("sh").args(["-c", &command])).expect(0).text().contains("Verification: OK"));
    let ran = case.verify().expect(0);
    // The command that verify prints, as it stands, with the authority's certificate in the place of CA.pem.
    let line = ran.text().lines().find(|l| l.contains(".1.tsr") && l.contains("openssl")).unwrap().to_owned();
    let command = line.split_once("openssl ").unwrap().1.replace("CA.pem", authority.certificate().to_str().unwrap());
    let checked = run(Command::new("openssl").args(command.split(' ')).current_dir(case.archive())).expect(0);
    assert!(checked.text().contains("Verification: OK"), "{checked}");
    // A bundle takes the answers along, and the command that its check prints works there.
    let item = Digest::of(&message("m 1", b"x")).to_string();
    let zip = case.at("e.zip");
    run(&mut on(&case.archive(), "evidence", &[&item, "--out", zip.to_str().unwrap()])).expect(0);
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&zip).arg(case.at("e"))).expect(0);
    let bundle = case.at("e").join(format!("evidence-{}", &item[..16]));
    let text = run(Command::new("python3").arg(bundle.join("check.py"))).expect(1).text();
    let command = text.lines().find_map(|l| l.trim().strip_prefix("openssl ")).unwrap();
    let command = command.replace("CA.pem", authority.certificate().to_str().unwrap());
    run(Command::new("openssl").args(command.split(' ')).current_dir(&bundle)).expect(0);
    let said = authority.openssl(&format!("ts -reply -in {} -text", answer.display())).expect(0).text();
    let hours = &kept["at"].as_str().unwrap()[11..19];
    assert!(said.contains(hours), "{hours} in {said}");
    assert!(!ran.text().contains("note:"), "{ran}");
}

/// The archive's events.
fn events(archive: &Path) -> Vec<Value> {
    let text = fs::read_to_string(archive.join("events.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn questions_and_answers_are_recorded_and_listed_so_that_each_bit_of_them_counts() {
    let case = Case::new();
    let authority = case.authority();
    let asked = case.request();
    let question = case.archive().join(asked["file"].as_str().unwrap());
    let answer = authority.answer(&question, "one.tsr");
    let kept = json(case.attach(&answer).expect(0));
    let told = events(&case.archive());
    let told: Vec<&Value> = told.iter().filter(|event| event["type"] == "metadata modification").collect();
    for (event, (file, what)) in told.iter().zip([(&asked, "question"), (&kept, "answer")]) {
        let digest = Digest::of(&fs::read(case.archive().join(file["file"].as_str().unwrap())).unwrap());
        assert_eq!(event["detail"]["file"], file["file"]);
        assert_eq!((&event["detail"]["sha256"], &event["detail"]["time stamp"]), (&digest.to_string().into(), &what.into()));
        assert_eq!((&event["root"], &event["outcome"]), (&asked["sha256"], &"success".into()));
    }
    assert_eq!((told.len(), &told[1]["detail"]["time"]), (2, &kept["at"]));
    // Nothing is told twice of what is done twice.
    case.request();
    case.attach(&answer).expect(0);
    assert_eq!(events(&case.archive()).iter().filter(|event| event["type"] == "metadata modification").count(), 2);
    run(Command::new("sha256sum").args(["-c", "--strict", "--quiet", "tagmanifest-sha256.txt"]).current_dir(case.archive()))
        .expect(0);
    // A later snapshot leaves the lines as they are, also where a bit changed in between.
    for file in [asked["file"].as_str().unwrap(), kept["file"].as_str().unwrap()] {
        let path = case.archive().join(file);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, bad).unwrap();
            if at % 97 == 0 {
                let ran = case.verify().expect(2);
                assert!(ran.text().contains(&format!("damaged: {file} does not have the digest")), "{at}: {ran}");
            }
        }
        case.put(2 + u32::try_from(good.len() % 50).unwrap());
        case.snapshot();
        case.verify().expect(2);
        fs::write(&path, good).unwrap();
        case.verify().expect(0);
        // So it does where the file was taken away.
        let aside = case.at("aside");
        fs::rename(&path, &aside).unwrap();
        case.snapshot();
        let ran = case.verify().expect(2);
        assert!(ran.text().contains(&format!("damaged: {file} is missing")), "{ran}");
        fs::rename(aside, &path).unwrap();
        case.verify().expect(0);
    }
    // Nor is it hidden by a tag manifest that does not list it any more.
    let tags = case.archive().join("tagmanifest-sha256.txt");
    let text = fs::read_to_string(&tags).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.ends_with(".tsq"), "{last}");
    fs::write(&tags, text.strip_suffix(&format!("{last}\n")).unwrap()).unwrap();
    let ran = case.verify().expect(2);
    assert!(ran.text().contains("is not listed in tagmanifest-sha256.txt: event"), "{ran}");
}

#[test]
fn an_answer_that_an_earlier_version_kept_is_listed_when_it_is_given_again() {
    let case = Case::new();
    let authority = case.authority();
    let before = ["events.jsonl", "tagmanifest-sha256.txt"]
        .map(|name| (case.archive().join(name), fs::read(case.archive().join(name)).unwrap()));
    let question = case.archive().join(case.request()["file"].as_str().unwrap());
    let answer = authority.answer(&question, "one.tsr");
    case.attach(&answer).expect(0);
    // That version told nothing of it.
    before.into_iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    case.verify().expect(0);
    case.attach(&answer).expect(0);
    let tags = fs::read_to_string(case.archive().join("tagmanifest-sha256.txt")).unwrap();
    assert!(tags.contains(".1.tsr") && !tags.contains(".tsq"), "{tags}");
    case.put(2);
    case.snapshot();
    assert!(fs::read_to_string(case.archive().join("tagmanifest-sha256.txt")).unwrap().contains(".tsq"));
    case.verify().expect(0);
}

#[test]
fn an_answer_that_is_not_of_this_root_or_question_is_not_kept() {
    let case = Case::new();
    let authority = case.authority();
    let asked = case.request();
    let root = case.archive().join(asked["root"].as_str().unwrap());
    let refuse = |answer: &Path, why: &str| {
        let ran = case.attach(answer).expect(64);
        assert!(ran.text().contains(why), "{why} in {ran}");
        assert_eq!(fs::read_dir(case.archive().join("timestamps")).unwrap().count(), 1);
    };
    authority.openssl(&format!("ts -query -data {} -sha256 -cert -out foreign.tsq", root.display())).expect(0);
    refuse(&authority.answer(&case.at("foreign.tsq"), "nonce.tsr"), "its nonce is another one");
    authority.openssl(&format!("ts -query -data {} -sha256 -cert -no_nonce -out bare.tsq", root.display())).expect(0);
    refuse(&authority.answer(&case.at("bare.tsq"), "bare.tsr"), "its nonce is another one");
    authority.openssl("ts -query -data tsa.cnf -sha256 -cert -out other.tsq").expect(0);
    refuse(&authority.answer(&case.at("other.tsq"), "other.tsr"), "of something else than a root");
    authority.openssl(&format!("ts -query -data {} -sha512 -cert -out long.tsq", root.display())).expect(0);
    let denied = authority.answer(&case.at("long.tsq"), "denied.tsr");
    refuse(&denied, "the authority did not grant it (status 2)");
    refuse(&case.at("tsa.pem"), "not DER");
    refuse(&root, "not DER");
    let good = fs::read(authority.answer(&case.archive().join(asked["file"].as_str().unwrap()), "good.tsr")).unwrap();
    for cut in [0, 1, 40, good.len() / 2, good.len() - 1] {
        fs::write(case.at("cut.tsr"), &good[..cut]).unwrap();
        refuse(&case.at("cut.tsr"), "not DER");
    }
    let none = run(&mut on(&case.at("mail"), "timestamp", &["--request"])).expect(64);
    assert!(none.text().contains("there is no archive"), "{none}");
    assert!(!case.at("mail").join("index").exists());
}

#[test]
fn verify_names_time_stamps_that_are_not_of_their_roots() {
    let case = Case::new();
    let authority = case.authority();
    let first = case.request();
    let question = case.archive().join(first["file"].as_str().unwrap());
    let stamp = json(case.attach(&authority.answer(&question, "one.tsr")).expect(0))["file"].as_str().unwrap().to_owned();
    case.put(2);
    case.snapshot();
    let second = case.request();
    assert_ne!(first["root"], second["root"]);
    case.verify().expect(0);
    let broken = |file: &str| {
        let ran = case.verify().expect(2);
        assert!(ran.text().lines().any(|l| l.starts_with(&format!("damaged: {file}"))), "{file} in {ran}");
    };
    // Moved to the other root.
    let moved = second["file"].as_str().unwrap().replace(".tsq", ".1.tsr");
    fs::copy(case.archive().join(&stamp), case.archive().join(&moved)).unwrap();
    broken(&moved);
    fs::remove_file(case.archive().join(&moved)).unwrap();
    // Each byte of imprint and nonce matters.
    let path = case.archive().join(&stamp);
    let good = fs::read(&path).unwrap();
    let digest: Digest = first["sha256"].as_str().unwrap().parse().unwrap();
    let at = memchr::memmem::find(&good, digest.as_bytes()).unwrap();
    for place in [at, at + 31] {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&path, bad).unwrap();
        broken(&stamp);
    }
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    broken(&stamp);
    fs::write(&path, &good).unwrap();
    case.verify().expect(0);
    // Questions swapped, and one of no root.
    let (one, two) = (fs::read(&question).unwrap(), fs::read(case.archive().join(second["file"].as_str().unwrap())).unwrap());
    fs::write(&question, two).unwrap();
    broken(first["file"].as_str().unwrap());
    fs::write(&question, one).unwrap();
    fs::write(case.archive().join("timestamps/20200101T000000Z-0123456789ab.1.tsr"), &good).unwrap();
    broken("timestamps/20200101T000000Z-0123456789ab.1.tsr");
}
