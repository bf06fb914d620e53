//! Evidence of one item: it holds in the eyes of Python and OpenSSH, shows nothing of other items, and no tampering passes; of encrypted
//! archives too, in whose bundles nobody needs the key.

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
    /// For whom the archive is encrypted.
    recipient: Option<String>,
}

impl Case {
    /// Anna has seven messages in two folders, Boris one.
    fn new() -> Self {
        Self::with(Case { folder: tempfile::tempdir().unwrap(), recipient: None })
    }

    /// The same, encrypted.
    fn encrypted() -> Self {
        let mut case = Case { folder: tempfile::tempdir().unwrap(), recipient: None };
        case.recipient = Some(support::keys::identity(&case.at("identity")));
        Self::with(case)
    }

    fn with(case: Self) -> Self {
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
        let mut command = snapshot(&accounts, &self.archive());
        if let Some(recipient) = &self.recipient {
            command.arg("--recipient").arg(recipient).arg("--identity").arg(self.at("identity"));
        }
        json(run(command.arg("--json")).expect(0))
    }

    /// `floe COMMAND` on the archive, with its key where it has one.
    fn on(&self, command: &str, more: &[&str]) -> Ran {
        let mut command = on(&self.archive(), command, more);
        if self.recipient.is_some() {
            command.arg("--identity").arg(self.at("identity"));
        }
        run(&mut command)
    }

    /// Lines of all listings: account, collection, digest, and more.
    fn items(&self) -> Vec<Value> {
        let ran = self.on("manifest", &["--format", "jsonl"]).expect(0);
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
        let bytes = if self.recipient.is_some() { self.opened(&path) } else { fs::read(&path).unwrap() };
        (path, serde_json::from_slice(&bytes).unwrap())
    }

    /// What an age file holds.
    fn opened(&self, path: &Path) -> Vec<u8> {
        support::keys::opened(path, &self.at("identity"))
    }

    /// Takes a bundle and unpacks it with Python; the folder in it.
    fn bundle(&self, name: &str, more: &[&str]) -> PathBuf {
        let zip = self.at(&format!("{name}.zip"));
        let item = self.digest("the one");
        let args = [&[item.as_str(), "--out", zip.to_str().unwrap()], more].concat();
        self.on("evidence", &args).expect(0);
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
        let (file, made) = (root.file_name().unwrap().to_str().unwrap(), format!("{}.sig", root.display()));
        fs::create_dir_all(self.archive().join("signatures")).unwrap();
        let name = self.archive().join("signatures").join(format!("{}.{role}.{id}.sig", &file[..29]));
        fs::rename(made, &name).unwrap();
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
    // Where there is no ssh-keygen, that is said, and it is no PASS.
    let python = run(Command::new("python3").args(["-c", "import sys; print(sys.executable)"])).expect(0).text();
    let alone = run(Command::new(python.trim()).arg(signed.join("check.py")).env("PATH", "/nowhere")).expect(1);
    assert!(alone.text().contains("no signature was checked"), "{alone}");
}

/// Names and bytes of everything in a bundle, and the digests of the items that it must not tell of.
fn tells_nothing_of_others(case: &Case, bundle: &Path) -> Vec<u8> {
    let one = case.digest("the one");
    let mut all = Vec::new();
    for entry in walkdir::WalkDir::new(bundle) {
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
    let secret = case.on("show", &[key, "--raw"]).expect(0).stdout;
    assert_eq!(secret.len(), 32);
    assert!(memchr::memmem::find(&all, &secret).is_none());
    assert!(!text.contains(&secret.iter().map(|b| format!("{b:02x}")).collect::<String>()));
    all
}

#[test]
fn nothing_of_other_items_is_in_a_bundle() {
    let case = Case::new();
    tells_nothing_of_others(&case, &case.bundle("plain", &[]));
}

#[test]
fn a_bundle_of_an_encrypted_archive_holds_without_the_key_and_names_no_other_account() {
    let case = Case::encrypted();
    let zip = case.at("none.zip");
    run(&mut on(&case.archive(), "evidence", &[&*case.digest("the one"), "--out", zip.to_str().unwrap()])).expect(64);
    let plain = case.bundle("plain", &[]);
    let unsigned = check(&plain, &[]).expect(1);
    for part in ["nobody has signed the root", "anna@acme.example", "Severance talks", "ok    it is item 1 of 2", "by floe "] {
        assert!(unsigned.text().contains(part), "{part} in {unsigned}");
    }
    assert_eq!(fs::read(plain.join("item.eml")).unwrap(), message("the one", b"the attachment"));
    let (root, said) = case.root();
    let root_name = root.file_name().unwrap().to_str().unwrap();
    assert!(root_name.ends_with(".json.age") && fs::read(plain.join(root_name)).unwrap() == fs::read(&root).unwrap());
    // Of the accounts only the item's own one is named, and nothing of where they came from, or of their listings.
    let all = tells_nothing_of_others(&case, &plain);
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("anna@acme.example"));
    let folder = case.folder.path().to_str().unwrap();
    let listings = said["accounts"].as_array().unwrap().iter().map(|account| account["listing"].as_str().unwrap());
    let others = ["boris", folder, said["tree"].as_str().unwrap(), case.recipient.as_deref().unwrap(), "AGE-SECRET-KEY"];
    // The item itself may speak of anybody.
    let own = fs::read(plain.join("item.eml")).unwrap();
    let text = text.replace(std::str::from_utf8(&own).unwrap(), "");
    for part in listings.chain(others) {
        assert!(!text.contains(part), "{part}");
    }
    let digest = floe::model::Digest::of(&fs::read(&root).unwrap()).to_string();
    check(&plain, &["--root", &digest]).expect(0);
    check(&plain, &["--root", &digest.replace(&digest[..1], "x")]).expect(2);
    let operator = case.sign("operator", "operator");
    let signed = case.bundle("signed", &[]);
    let ran = check(&signed, &["--signed-by", operator.to_str().unwrap()]).expect(0);
    assert!(ran.text().contains("signed by the operator"), "{ran}");
    case.on("verify", &["--full"]).expect(0);
    // The stock command opens the root all the same: it passes over the line that it does not know.
    if Command::new("age").arg("--version").output().is_ok_and(|o| o.status.success()) {
        let opened = run(Command::new("age").args(["-d", "-i"]).arg(case.at("identity")).arg(&root)).expect(0).stdout;
        assert_eq!(serde_json::from_slice::<Value>(&opened).unwrap(), said);
    } else {
        assert!(std::env::var_os("CI").is_none(), "there is no age command");
        support::skipped("there is no age command here");
    }
    // Roots with equal trees commit to different things: nobody sees that nothing changed.
    let commitment = |path: &Path| floe::vault::statement_in(&fs::read(path).unwrap()).unwrap();
    support::archives::next_second();
    case.snapshot();
    let (later, again) = case.root();
    assert_eq!(said["merkle"], again["merkle"]);
    assert_ne!(commitment(&root), commitment(&later));
    assert!(!String::from_utf8_lossy(&fs::read(&later).unwrap()).contains(said["merkle"]["root"].as_str().unwrap()));
}

#[test]
fn no_other_statement_passes_for_that_of_an_encrypted_root() {
    let case = Case::encrypted();
    case.sign("operator", "operator");
    let good = case.bundle("good", &[]);
    check(&good, &[]).expect(0);
    let bad = || copy_of(&good, &case.at("bad"));
    let edits: [&dyn Fn(&mut Value); 4] = [
        &|proof| proof["statement"]["nonce"] = "0".repeat(64).into(),
        &|proof| {
            let line = proof["statement"]["line"].as_str().unwrap().replace("\"created\":\"20", "\"created\":\"19");
            proof["statement"]["line"] = line.into();
        },
        &|proof| _ = proof["statement"].as_object_mut().unwrap().remove("line"),
        &|proof| _ = proof.as_object_mut().unwrap().remove("statement"),
    ];
    for change in edits {
        let bundle = bad();
        edit(&bundle, change);
        fails(&bundle, "");
    }
    // A forged tree with a statement, header and digests that all fit: only the signature is not of it.
    let root = case.root().0;
    let name = root.file_name().unwrap().to_str().unwrap();
    let bytes = fs::read(&root).unwrap();
    let text = String::from_utf8_lossy(&bytes[..1000]).into_owned();
    let line = text.lines().find(|line| line.starts_with("-> floe-statement ")).unwrap();
    let forge = |bundle: &Path, new: &str| {
        let at = memchr::memmem::find(&bytes, line.as_bytes()).unwrap();
        let forged = [&bytes[..at], new.as_bytes(), &bytes[at + line.len()..]].concat();
        let digest = floe::model::Digest::of(&forged).to_string();
        let file = format!("{}{}.json.age", &name[..17], &digest[..12]);
        fs::remove_file(bundle.join(name)).unwrap();
        fs::write(bundle.join(&file), &forged).unwrap();
        edit(bundle, &|proof| proof["root"] = serde_json::json!({"file": file, "sha256": digest}));
        for entry in fs::read_dir(bundle.join("signatures")).unwrap() {
            let path = entry.unwrap().path();
            let own = path.file_name().unwrap().to_str().unwrap().replace(&name[..29], &file[..29]);
            fs::rename(&path, path.with_file_name(own)).unwrap();
        }
    };
    let bundle = bad();
    let mut lines = (String::new(), String::new());
    edit(&bundle, &|proof| {
        let line = proof["statement"]["line"].as_str().unwrap().replace("\"created\":\"20", "\"created\":\"19");
        proof["statement"]["line"] = line.into();
    });
    let proof: Value = serde_json::from_slice(&fs::read(bundle.join("proof.json")).unwrap()).unwrap();
    lines.0 = proof["statement"]["line"].as_str().unwrap().to_owned();
    lines.1 = proof["statement"]["nonce"].as_str().unwrap().to_owned();
    let leaf = floe::archive::merkle::leaf_of(&lines.1.parse().unwrap(), &floe::model::Digest::of(lines.0.as_bytes()));
    forge(&bundle, &format!("-> floe-statement {leaf}"));
    fails(&bundle, "does not hold for this root");
    fs::remove_dir_all(bundle.join("signatures")).unwrap();
    check(&bundle, &[]).expect(1);
    // No line, two of them, and one behind the header's end.
    for new in ["-> other-statement x", &format!("{line}\n\n{line}"), &format!("--- \n{line}")] {
        let bundle = bad();
        forge(&bundle, new);
        fails(&bundle, "states nothing in its header");
    }
}

#[test]
fn a_full_check_names_a_wrong_statement_and_an_older_root_has_none() {
    let case = Case::encrypted();
    let root = case.opened(&case.root().0);
    let recipient = || case.recipient.as_deref().unwrap().parse::<floe::vault::Recipient>().unwrap();
    let sealed = |statement| {
        let protection = floe::vault::Protection { recipients: vec![recipient()], ..Default::default() };
        let empty = floe::store::LocalStore::new(case.at("nowhere"));
        let (vault, _) = floe::vault::Vault::for_writing(empty, &protection).unwrap();
        vault.sealed(root.clone(), statement).unwrap()
    };
    let (zip, item) = (case.at("x.zip"), case.digest("the one"));
    let args = [&*item, "--out", zip.to_str().unwrap()];
    put_root(&case, &sealed(Some(floe::model::Digest::of(b"another"))));
    let ran = case.on("verify", &["--full"]);
    assert!(ran.code() == 2 && ran.text().contains("the header of its root states other trees"), "{ran}");
    let ran = case.on("evidence", &args).expect(2);
    assert!(ran.text().contains("states other trees") && !zip.exists(), "{ran}");
    put_root(&case, &sealed(None));
    let ran = case.on("verify", &["--full"]);
    assert!(!ran.text().contains("states other trees"), "{ran}");
    let ran = case.on("evidence", &args).expect(64);
    assert!(ran.text().contains("Run 'floe snapshot'") && !zip.exists(), "{ran}");
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
    let (_, mut root) = case.root();
    change(&mut root);
    root.as_object_mut().unwrap().remove("events");
    let _ = fs::remove_file(case.archive().join("events.jsonl"));
    put_root(case, &serde_json::to_vec_pretty(&root).unwrap());
}

/// Puts other bytes in the place of the newest root, under the name that fits them.
fn put_root(case: &Case, bytes: &[u8]) {
    let path = case.root().0;
    let digest = floe::model::Digest::of(bytes).to_string();
    let old = path.file_name().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(&path).unwrap();
    let new = format!("{}{}{}", &old[..17], &digest[..12], &old[29..]);
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
    assert!(
        ran.text().contains("does not hold: signatures/") && ran.text().contains("1 signatures or time stamps do not hold"),
        "{ran}"
    );
    let list = run(Command::new("python3").args(["-m", "zipfile", "-l"]).arg(&zip)).expect(0).text();
    assert!(list.contains(".operator.") && !list.contains(".auditor."), "{list}");
}

#[test]
fn proofs_of_an_account_outlive_the_removal_of_another() {
    let case = Case::new();
    let key = case.at("key");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).expect(0);
    let why = ["--account", "boris@acme.example", "--why", "erasure request 12", "--who", "B. Legal", "--key"];
    run(on(&case.archive(), "forget", &why).arg(&key)).expect(0);
    run(&mut on(&case.archive(), "verify", &["--full"])).expect(0);
    let root = floe::model::Digest::of(&fs::read(case.root().0).unwrap()).to_string();
    check(&case.bundle("kept", &[]), &["--root", &root]).expect(0);
    // The next snapshot goes on with the same secret and the trees of what is there.
    let merkle = case.root().1["merkle"]["key"].clone();
    case.snapshot();
    assert_eq!(case.root().1["merkle"]["key"], merkle);
    run(&mut on(&case.archive(), "verify", &["--full"])).expect(0);
}

#[test]
fn no_flipped_bit_passes() {
    flip_bits(&Case::new());
}

#[test]
fn no_flipped_bit_passes_in_a_bundle_of_an_encrypted_archive() {
    flip_bits(&Case::encrypted());
}

fn flip_bits(case: &Case) {
    case.sign("operator", "operator");
    let good = case.bundle("good", &[]);
    let mut random = support::mail::Random::fresh("evidence");
    let parts = walkdir::WalkDir::new(&good).sort_by_file_name().into_iter().map(|e| e.unwrap().into_path());
    let own = |path: &PathBuf| path.is_file() && !path.ends_with("README.txt") && !path.ends_with("check.py");
    let parts: Vec<PathBuf> = parts.filter(own).collect();
    assert_eq!(parts.len(), 4, "item, proof, root, signature");
    for _ in 0..60 {
        let path = &parts[random.below(parts.len() as u64) as usize];
        let bytes = fs::read(path).unwrap();
        let (at, bit) = (random.below(bytes.len() as u64) as usize, 1 << random.below(8));
        let mut bad = bytes.clone();
        bad[at] ^= bit;
        fs::write(path, bad).unwrap();
        let ran = check(&good, &[]).expect(2);
        assert!(ran.text().contains("FAIL: ") && ran.stderr.is_empty(), "{} at {at}: {ran}", path.display());
        fs::write(path, bytes).unwrap();
    }
    check(&good, &[]).expect(0);
}
