//! Evidence of one item: it holds in the eyes of Python and OpenSSH, shows nothing of other items, and no tampering passes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::mail::{Maildir, message};
use support::program::{Ran, on, run, snapshot};

/// An archive of two accounts, and a bundle taken out of it.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    /// Anna has seven messages in two folders, Boris one.
    fn new() -> Self {
        let case = Case { folder: tempfile::tempdir().unwrap() };
        let mut anna = Maildir::new(&case.at("anna"), "anna@acme.example");
        for n in 0..5 {
            anna.put("", &format!("170000000{n}.M{n}P1.host:2,S"), &message(&format!("secret plan {n}"), b"x"));
        }
        anna.put(".Severance talks", "1700000010.M1P1.host:2,", &message("the one", b"the attachment"));
        anna.put(".Severance talks", "1700000011.M1P1.host:2,FS", &message("secret plan 9", b"x"));
        Maildir::new(&case.at("boris"), "boris@acme.example").put("", "1700000020.M1P1.host:2,S", &message("hush", b"y"));
        case.snapshot();
        case
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.at("a.floe")
    }

    fn snapshot(&self) -> Value {
        let accounts = [("anna@acme.example", &*self.at("anna")), ("boris@acme.example", &*self.at("boris"))];
        json(run(snapshot(&accounts, &self.archive()).arg("--json")).expect(0))
    }

    /// Lines of all listings: account, collection, digest, and more.
    fn items(&self) -> Vec<Value> {
        let ran = run(&mut on(&self.archive(), "manifest", &["--format", "jsonl"])).expect(0);
        ran.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
    }

    fn digest(&self, subject: &str) -> String {
        let bytes = message(subject, if subject == "the one" { b"the attachment" } else { b"x" });
        floe::model::Digest::of(&bytes).to_string()
    }

    /// The newest root: its path, and what it says.
    fn root(&self) -> (PathBuf, Value) {
        let mut all: Vec<PathBuf> =
            fs::read_dir(self.archive().join("data/snapshots")).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        let path = all.pop().unwrap();
        let root = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path, root)
    }

    /// Takes a bundle and unpacks it with Python; the folder in it.
    fn bundle(&self, name: &str, more: &[&str]) -> PathBuf {
        let zip = self.at(&format!("{name}.zip"));
        let item = self.digest("the one");
        let args = [&[item.as_str(), "--out", zip.to_str().unwrap()], more].concat();
        run(&mut on(&self.archive(), "evidence", &args)).expect(0);
        let out = self.at(name);
        let unpack =
            "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; z.extractall(sys.argv[2])";
        run(Command::new("python3").args(["-c", unpack]).arg(&zip).arg(&out)).expect(0);
        out.join(format!("evidence-{}", &item[..16]))
    }

    /// A key, and its signature on the newest root in the archive.
    fn sign(&self, key: &str, role: &str) -> PathBuf {
        let path = self.at(key);
        if !path.exists() {
            let new = ["-q", "-t", "ed25519", "-N", "", "-C", "somebody", "-f"];
            run(Command::new("ssh-keygen").args(new).arg(&path)).expect(0);
        }
        let (root, _) = self.root();
        run(Command::new("ssh-keygen")
            .args(["-Y", "sign", "-q", "-n", &format!("floe-root-{role}"), "-f"])
            .arg(&path)
            .arg(&root))
        .expect(0);
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        let blob = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, public.split(' ').nth(1).unwrap()).unwrap();
        let id = &floe::model::Digest::of(&blob).to_string()[..16];
        let stem = root.file_stem().unwrap().to_str().unwrap();
        fs::create_dir_all(self.archive().join("signatures")).unwrap();
        let name = self.archive().join("signatures").join(format!("{stem}.{role}.{id}.sig"));
        fs::rename(root.with_extension("json.sig"), &name).unwrap();
        path.with_extension("pub")
    }
}

fn json(ran: Ran) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn check(bundle: &Path, more: &[&str]) -> Ran {
    run(Command::new("python3").arg(bundle.join("check.py")).args(more))
}

#[track_caller]
fn fails(bundle: &Path, why: &str) {
    let ran = check(bundle, &[]).expect(2);
    assert!(ran.text().contains("FAIL: ") && ran.text().contains(why), "{ran}");
}

#[test]
fn a_bundle_holds_by_itself_by_a_fingerprint_and_by_a_signature() {
    let case = Case::new();
    let plain = case.bundle("plain", &[]);
    let unsigned = check(&plain, &[]).expect(1);
    assert!(unsigned.text().contains("nobody has signed the root"), "{unsigned}");
    for part in ["anna@acme.example", "Severance talks", "ok    it is item 1 of 2"] {
        assert!(unsigned.text().contains(part), "{part} in {unsigned}");
    }
    assert_eq!(fs::read(plain.join("item.eml")).unwrap(), message("the one", b"the attachment"));
    let root = floe::model::Digest::of(&fs::read(case.root().0).unwrap()).to_string().to_uppercase();
    check(&plain, &["--root", &format!("{} {}", &root[..32], &root[32..])]).expect(0);
    check(&plain, &["--root", &root.replace('A', "B")]).expect(2);
    let operator = case.sign("operator", "operator");
    let courier = case.sign("courier", "courier");
    let signed = case.bundle("signed", &[]);
    let ran = check(&signed, &["--signed-by", operator.to_str().unwrap(), "--signed-by", courier.to_str().unwrap()]).expect(0);
    assert!(ran.text().contains("signed by the operator") && ran.text().contains("2 signatures hold"), "{ran}");
    let other = case.at("other");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other)).expect(0);
    check(&signed, &["--signed-by", other.with_extension("pub").to_str().unwrap()]).expect(2);
    let bare = Command::new("sh").args(["-c", "command -v python3"]).output().unwrap().stdout;
    let python = String::from_utf8(bare).unwrap();
    let alone = run(Command::new(python.trim()).arg(signed.join("check.py")).env("PATH", "/nowhere"));
    assert!(alone.status.code() == Some(1) || python.contains("shims"), "{alone}");
}

#[test]
fn nothing_of_other_items_is_in_a_bundle() {
    let case = Case::new();
    let bundle = case.bundle("plain", &[]);
    let one = case.digest("the one");
    let mut all = Vec::new();
    for entry in walkdir::WalkDir::new(&bundle) {
        let entry = entry.unwrap();
        all.extend_from_slice(entry.file_name().as_encoded_bytes());
        if entry.file_type().is_file() {
            all.extend(fs::read(entry.path()).unwrap());
        }
    }
    let text = String::from_utf8_lossy(&all).into_owned();
    let items = case.items();
    assert_eq!(items.len(), 8);
    let others: Vec<&Value> = items.iter().filter(|item| item["sha256"] != one.as_str()).collect();
    assert_eq!(others.len(), 7);
    for item in others {
        for member in ["sha256", "message_id", "uid"] {
            if let Some(value) = item[member].as_str() {
                assert!(!text.contains(value), "{member} {value}");
            }
        }
    }
    for part in ["INBOX", "secret plan", "hush", "1700000011", "1700000020", "\"key\": null"] {
        assert!(!text.contains(part), "{part}");
    }
    // Nor can a neighbour be guessed: the hash of its line without the nonce is nowhere, nor is the secret.
    let root = case.root().1;
    let key = root["merkle"]["key"].as_str().unwrap();
    let secret = run(&mut on(&case.archive(), "show", &[key, "--raw"])).expect(0).stdout;
    assert_eq!(secret.len(), 32);
    assert!(memchr::memmem::find(&all, &secret).is_none());
    assert!(!text.contains(&secret.iter().map(|b| format!("{b:02x}")).collect::<String>()));
}

/// Changes the JSON of a bundle.
fn edit(bundle: &Path, change: &dyn Fn(&mut Value)) {
    let path = bundle.join("proof.json");
    let mut proof: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut proof);
    fs::write(path, serde_json::to_vec_pretty(&proof).unwrap()).unwrap();
}

fn copy_of(bundle: &Path, to: &Path) -> PathBuf {
    let _ = fs::remove_dir_all(to);
    run(Command::new("cp").arg("-r").arg(bundle).arg(to)).expect(0);
    to.to_owned()
}

#[test]
fn every_tampering_fails() {
    let case = Case::new();
    case.sign("operator", "operator");
    let good = case.bundle("good", &[]);
    check(&good, &[]).expect(0);
    let bad = || copy_of(&good, &case.at("bad"));
    let item = fs::read(good.join("item.eml")).unwrap();
    for at in [0, item.len() / 2, item.len() - 1] {
        let mut changed = item.clone();
        changed[at] ^= 1;
        let bundle = bad();
        fs::write(bundle.join("item.eml"), changed).unwrap();
        fails(&bundle, "is not the item that was captured");
    }
    let zeros = "0".repeat(64);
    for level in ["placement", "collection"] {
        let proof: Value = serde_json::from_slice(&fs::read(good.join("proof.json")).unwrap()).unwrap();
        let nodes = proof[level]["path"].as_array().unwrap().len();
        assert!(nodes > 0, "{proof}");
        for node in 0..nodes {
            let bundle = bad();
            edit(&bundle, &|proof| proof[level]["path"][node] = zeros.clone().into());
            fails(&bundle, "is not in the");
        }
        let edits: [&dyn Fn(&mut Value); 5] = [
            &|proof| proof[level]["nonce"] = zeros.clone().into(),
            &|proof| proof[level]["path"].as_array_mut().unwrap().push(zeros.clone().into()),
            &|proof| _ = proof[level]["path"].as_array_mut().unwrap().pop(),
            &|proof| proof[level]["index"] = (proof[level]["index"].as_u64().unwrap() ^ 1).into(),
            &|proof| proof[level]["size"] = (proof[level]["size"].as_u64().unwrap() + 1).into(),
        ];
        for change in edits {
            let bundle = bad();
            edit(&bundle, change);
            fails(&bundle, "");
        }
        let words: [(&str, &str); 3] = [("anna@", "hans@"), ("Severance", "Birthday!"), ("2023", "2021")];
        for (from, to) in words {
            let line = proof[level]["line"].as_str().unwrap();
            if line.contains(from) {
                let bundle = bad();
                edit(&bundle, &|proof| proof[level]["line"] = line.replace(from, to).into());
                fails(&bundle, "is not in the");
            }
        }
    }
    for (member, value) in [("file", "../good/item.eml"), ("file", "/etc/passwd"), ("file", "none.eml")] {
        let bundle = bad();
        edit(&bundle, &|proof| proof["item"][member] = value.into());
        fails(&bundle, "");
    }
    let bundle = bad();
    fs::write(bundle.join("proof.json"), "[".repeat(100_000)).unwrap();
    fails(&bundle, "not whole");
}

#[test]
fn a_changed_root_and_the_signature_of_another_root_fail() {
    let case = Case::new();
    case.sign("operator", "operator");
    let good = case.bundle("good", &[]);
    let bad = || copy_of(&good, &case.at("bad"));
    let root = case.root().0;
    let name = root.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(&root).unwrap();
    let changed = text.replace("boris@acme.example", "horst@acme.example");
    let bundle = bad();
    fs::write(bundle.join(name), &changed).unwrap();
    fails(&bundle, "the root file is not the one of this proof");
    // The same with all digests made to fit: then the name is not that of the signature, or the signature does not hold.
    let digest = floe::model::Digest::of(changed.as_bytes()).to_string();
    let forged = format!("{}{}", &name[..17], &digest[..12]);
    let fit = |bundle: &Path, stem: &str| {
        fs::remove_file(bundle.join(name)).unwrap();
        fs::write(bundle.join(format!("{stem}.json")), &changed).unwrap();
        edit(bundle, &|proof| {
            proof["root"] = serde_json::json!({"file": format!("{stem}.json"), "sha256": digest});
        });
    };
    let bundle = bad();
    fit(&bundle, &forged);
    fails(&bundle, "is not of this root");
    let bundle = bad();
    fit(&bundle, &forged);
    for entry in fs::read_dir(bundle.join("signatures")).unwrap() {
        let path = entry.unwrap().path();
        let own = path.file_name().unwrap().to_str().unwrap().replace(&name[..29], &forged);
        fs::rename(&path, path.with_file_name(own)).unwrap();
    }
    fails(&bundle, "does not hold for this root");
    let bundle = bad();
    fit(&bundle, &forged);
    fs::remove_dir_all(bundle.join("signatures")).unwrap();
    check(&bundle, &[]).expect(1);
    check(&bundle, &["--root", &floe::model::Digest::of(text.as_bytes()).to_string()]).expect(2);
    // The signature of the next root in the place of this one's.
    let mut boris = Maildir::new(&case.at("boris"), "boris@acme.example");
    boris.put("", "1700000021.M1P1.host:2,S", &message("more", b"y"));
    case.snapshot();
    case.sign("operator", "operator");
    let next = case.root().0.file_stem().unwrap().to_str().unwrap().to_owned();
    let bundle = bad();
    let own = fs::read_dir(bundle.join("signatures")).unwrap().next().unwrap().unwrap().path();
    let theirs = own.file_name().unwrap().to_str().unwrap().replace(&name[..29], &next);
    fs::copy(case.archive().join("signatures").join(&theirs), &own).unwrap();
    fails(&bundle, "does not hold for this root");
    // A signature under another role than it was given for, and by another key than its name says.
    let bundle = bad();
    let own = fs::read_dir(bundle.join("signatures")).unwrap().next().unwrap().unwrap().path();
    fs::rename(&own, own.to_str().unwrap().replace(".operator.", ".auditor.")).unwrap();
    fails(&bundle, "does not hold for this root");
    let bundle = bad();
    let own = fs::read_dir(bundle.join("signatures")).unwrap().next().unwrap().unwrap().path();
    let parts = own.to_str().unwrap().rsplit_once(".operator.").unwrap().0.to_owned();
    fs::rename(&own, format!("{parts}.operator.{}.sig", "0".repeat(16))).unwrap();
    fails(&bundle, "another key than its name says");
}

#[test]
fn later_snapshots_keep_the_trees_of_what_did_not_change_and_verify_knows_a_wrong_one() {
    let case = Case::new();
    let first = case.root().1;
    assert_eq!(first["merkle"]["size"], 3);
    assert_eq!(case.snapshot()["new_objects"], 0);
    let second = case.root().1;
    assert_eq!(first["merkle"], second["merkle"]);
    let mut boris = Maildir::new(&case.at("boris"), "boris@acme.example");
    boris.put("", "1700000021.M1P1.host:2,S", &message("more", b"y"));
    case.snapshot();
    let third = case.root().1;
    assert!(first["merkle"]["root"] != third["merkle"]["root"] && first["merkle"]["key"] == third["merkle"]["key"]);
    run(&mut on(&case.archive(), "verify", &["--full"])).expect(0);
    check(&case.bundle("newest", &[]), &[]).expect(1);
    let oldest = case.bundle("oldest", &["--snapshot", &first["created"].as_str().unwrap().replace(['-', ':'], "")]);
    check(&oldest, &[]).expect(1);
    // Everything read again gives the same trees.
    let accounts = [("anna@acme.example", &*case.at("anna")), ("boris@acme.example", &*case.at("boris"))];
    run(snapshot(&accounts, &case.archive()).arg("--reread")).expect(0);
    assert_eq!(case.root().1["merkle"], third["merkle"]);
}

/// Puts a changed root in the place of the newest, with bag files that fit and without a record of events, which would tell.
fn replace_root(case: &Case, change: &dyn Fn(&mut Value)) {
    let (path, mut root) = case.root();
    change(&mut root);
    root.as_object_mut().unwrap().remove("events");
    let _ = fs::remove_file(case.archive().join("events.jsonl"));
    let bytes = serde_json::to_vec_pretty(&root).unwrap();
    let digest = floe::model::Digest::of(&bytes).to_string();
    let old = path.file_name().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(&path).unwrap();
    let new = format!("{}{}.json", &old[..17], &digest[..12]);
    fs::write(path.with_file_name(&new), bytes).unwrap();
    for (file, name, with, digest) in [
        ("manifest-sha256.txt", format!("data/snapshots/{old}"), format!("data/snapshots/{new}"), digest),
        ("tagmanifest-sha256.txt", "manifest-sha256.txt".to_owned(), "manifest-sha256.txt".to_owned(), String::new()),
    ] {
        let manifest = case.archive().join(file);
        let digest = if digest.is_empty() {
            floe::model::Digest::of(&fs::read(case.archive().join("manifest-sha256.txt")).unwrap()).to_string()
        } else {
            digest
        };
        let text: String = fs::read_to_string(&manifest)
            .unwrap()
            .lines()
            .filter(|line| !line.ends_with("events.jsonl"))
            .map(|line| if line.ends_with(&name) { format!("{digest}  {with}\n") } else { format!("{line}\n") })
            .collect();
        fs::write(manifest, text).unwrap();
    }
}

#[test]
fn a_full_check_names_a_wrong_merkle_root_and_evidence_refuses_it() {
    let case = Case::new();
    replace_root(&case, &|root| root["merkle"]["root"] = "0".repeat(64).into());
    run(&mut on(&case.archive(), "verify", &[])).expect(0);
    let ran = run(&mut on(&case.archive(), "verify", &["--full"])).expect(2);
    assert!(ran.text().contains("its Merkle root is not that of its items"), "{ran}");
    let zip = case.at("x.zip");
    let args = [&*case.digest("the one"), "--out", zip.to_str().unwrap()];
    let ran = run(&mut on(&case.archive(), "evidence", &args)).expect(2);
    assert!(ran.text().contains("does not lead to the snapshot's root") && !zip.exists(), "{ran}");
}

#[test]
fn an_older_archive_stays_valid_and_says_what_to_do() {
    let case = Case::new();
    replace_root(&case, &|root| _ = root.as_object_mut().unwrap().remove("merkle"));
    run(&mut on(&case.archive(), "verify", &["--full"])).expect(0);
    let zip = case.at("x.zip");
    let args = [&*case.digest("the one"), "--out", zip.to_str().unwrap()];
    let ran = run(&mut on(&case.archive(), "evidence", &args)).expect(64);
    assert!(ran.text().contains("no Merkle tree") && ran.text().contains("Run 'floe snapshot'") && !zip.exists(), "{ran}");
    // One more snapshot, of which nothing is read again, gives the tree.
    case.snapshot();
    run(&mut on(&case.archive(), "verify", &["--full"])).expect(0);
    check(&case.bundle("later", &[]), &[]).expect(1);
}

#[test]
fn an_item_in_several_places_is_shown_in_the_one_that_is_asked_for() {
    let case = Case::new();
    let mut boris = Maildir::new(&case.at("boris"), "boris@acme.example");
    boris.put(".Copies", "1700000030.M1P1.host:2,S", &message("the one", b"the attachment"));
    case.snapshot();
    let (zip, item) = (case.at("x.zip"), case.digest("the one"));
    let args = [&*item, "--out", zip.to_str().unwrap(), "--json"];
    let said = json(run(&mut on(&case.archive(), "evidence", &args)).expect(0));
    assert_eq!((&said["placements"], &said["account"]), (&2.into(), &"anna@acme.example".into()), "{said}");
    let ran = run(&mut on(&case.archive(), "evidence", &args)).expect(64);
    assert!(ran.text().contains("a file of this name"), "{ran}");
    let other = case.bundle("other", &["--account", "boris@acme.example"]);
    let text = check(&other, &[]).expect(1).text();
    assert!(text.contains("Copies") && !text.contains("Severance"), "{text}");
    assert!(!fs::read_to_string(other.join("proof.json")).unwrap().contains("Severance"));
    let nowhere = [&*item, "--out", "y.zip", "--account", "boris@acme.example", "--collection", "INBOX"];
    run(&mut on(&case.archive(), "evidence", &nowhere)).expect(64);
    let inside = case.archive().join("x.zip");
    run(&mut on(&case.archive(), "evidence", &[&item, "--out", inside.to_str().unwrap()])).expect(64);
}

#[test]
fn a_signature_that_does_not_hold_is_left_out_and_named() {
    let case = Case::new();
    case.sign("operator", "operator");
    let folder = case.archive().join("signatures");
    let good = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let bad = good.to_str().unwrap().replace(".operator.", ".auditor.");
    fs::copy(&good, &bad).unwrap();
    let (zip, item) = (case.at("x.zip"), case.digest("the one"));
    let ran = run(&mut on(&case.archive(), "evidence", &[&item, "--out", zip.to_str().unwrap()])).expect(1);
    assert!(ran.text().contains("does not hold: signatures/") && ran.text().contains("1 signatures do not hold"), "{ran}");
    let list = run(Command::new("python3").args(["-m", "zipfile", "-l"]).arg(&zip)).expect(0).text();
    assert!(list.contains(".operator.") && !list.contains(".auditor."), "{list}");
}
