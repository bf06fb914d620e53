//! Time stamps of roots: openssl reads the question, answers it as an authority of the test, and finds the kept answer good.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use floe::model::Digest;
use serde_json::Value;
use support::mail::{Maildir, message};
use support::program::{Ran, on, run, snapshot};

/// An archive with one snapshot, and an authority in a folder beside it.
struct Case {
    folder: tempfile::TempDir,
}

const AUTHORITY: &str = "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\ncrypto_device = builtin\nsigner_cert = tsa.pem\n\
    certs = ca.pem\nsigner_key = tsa.key\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\n\
    clock_precision_digits = 3\nordering = yes\ntsa_name = yes\n[ext]\nextendedKeyUsage = critical,timeStamping\n";

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

    fn openssl(&self, args: &str) -> Ran {
        run(Command::new("openssl").args(args.split(' ')).current_dir(self.folder.path()))
    }

    /// Makes the authority: a root certificate and one for time stamps.
    fn authority(&self) {
        fs::write(self.at("tsa.cnf"), AUTHORITY).unwrap();
        fs::write(self.at("serial"), "01\n").unwrap();
        self.openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Authority -days 10").expect(0);
        self.openssl("req -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.csr -subj /CN=Stamps").expect(0);
        let sign = "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tsa.pem -days 10 -extfile tsa.cnf -extensions ext";
        self.openssl(sign).expect(0);
    }

    fn request(&self) -> Value {
        json(run(&mut on(&self.archive(), "timestamp", &["--request", "--json"])).expect(0))
    }

    /// The authority's answer to a question.
    fn answer(&self, question: &Path, name: &str) -> PathBuf {
        let reply = format!("ts -reply -config tsa.cnf -queryfile {} -out {name}", question.display());
        self.openssl(&reply).expect(0);
        self.at(name)
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
    case.authority();
    let asked = case.request();
    let question = case.archive().join(asked["file"].as_str().unwrap());
    let root = case.archive().join(asked["root"].as_str().unwrap());
    assert_eq!(asked["sha256"], Digest::of(&fs::read(&root).unwrap()).to_string());
    let seen = case.openssl(&format!("ts -query -in {} -text", question.display())).expect(0).text();
    for part in ["Version: 1", "Hash Algorithm: sha256", "Nonce: 0x", "Certificate required: yes"] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
    let again = case.request();
    assert_eq!((&again["file"], &again["was_there"]), (&asked["file"], &true.into()));
    let answer = case.answer(&question, "one.tsr");
    let kept = json(case.attach(&answer).expect(0));
    assert!(kept["file"].as_str().unwrap().ends_with(".1.tsr"), "{kept}");
    assert_eq!(json(case.attach(&answer).expect(0))["file"], kept["file"], "the same answer is kept once");
    let second = json(case.attach(&case.answer(&question, "two.tsr")).expect(0));
    assert!(second["file"].as_str().unwrap().ends_with(".2.tsr"), "{second}");
    let ran = case.verify().expect(0);
    // The command that verify prints, as it stands, with the authority's certificate in the place of CA.pem.
    let line = ran.text().lines().find(|l| l.contains(".1.tsr") && l.contains("openssl")).unwrap().to_owned();
    let command = line.split_once("openssl ").unwrap().1.replace("CA.pem", case.at("ca.pem").to_str().unwrap());
    let checked = run(Command::new("openssl").args(command.split(' ')).current_dir(case.archive())).expect(0);
    assert!(checked.text().contains("Verification: OK"), "{checked}");
    let said = case.openssl(&format!("ts -reply -in {} -text", answer.display())).expect(0).text();
    let hours = &kept["at"].as_str().unwrap()[11..19];
    assert!(said.contains(hours), "{hours} in {said}");
    assert!(!ran.text().contains("note:"), "{ran}");
}

#[test]
fn an_answer_that_is_not_of_this_root_or_question_is_not_kept() {
    let case = Case::new();
    case.authority();
    let asked = case.request();
    let root = case.archive().join(asked["root"].as_str().unwrap());
    let refuse = |answer: &Path, why: &str| {
        let ran = case.attach(answer).expect(64);
        assert!(ran.text().contains(why), "{why} in {ran}");
        assert_eq!(fs::read_dir(case.archive().join("timestamps")).unwrap().count(), 1);
    };
    case.openssl(&format!("ts -query -data {} -sha256 -cert -out foreign.tsq", root.display())).expect(0);
    refuse(&case.answer(&case.at("foreign.tsq"), "nonce.tsr"), "its nonce is another one");
    case.openssl(&format!("ts -query -data {} -sha256 -cert -no_nonce -out bare.tsq", root.display())).expect(0);
    refuse(&case.answer(&case.at("bare.tsq"), "bare.tsr"), "its nonce is another one");
    case.openssl("ts -query -data tsa.cnf -sha256 -cert -out other.tsq").expect(0);
    refuse(&case.answer(&case.at("other.tsq"), "other.tsr"), "of something else than a root");
    case.openssl(&format!("ts -query -data {} -sha512 -cert -out long.tsq", root.display())).expect(0);
    let denied = case.answer(&case.at("long.tsq"), "denied.tsr");
    refuse(&denied, "the authority did not grant it (status 2)");
    refuse(&case.at("tsa.pem"), "not DER");
    refuse(&root, "not DER");
    let good = fs::read(case.answer(&case.archive().join(asked["file"].as_str().unwrap()), "good.tsr")).unwrap();
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
    case.authority();
    let first = case.request();
    let question = case.archive().join(first["file"].as_str().unwrap());
    let stamp = json(case.attach(&case.answer(&question, "one.tsr")).expect(0))["file"].as_str().unwrap().to_owned();
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
