//! Encrypted archives: read by each recipient alone and by nobody else, by stock tools too; nothing readable lies in the folder at
//! any moment; what is checked without a key.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use floe::store::{LocalStore, Store as _};
use floe::vault::{Keys, Protection, Recipient, Vault};
use serde_json::Value;

use support::archives::{digests, exported, files, next_second, roots, wanted};
use support::mail::{Maildir, Random, message};
use support::program::{Ran, floe, on, run, snapshot, start};

/// Is the age command here? In CI it has to be.
fn has_age() -> bool {
    let there = Command::new("age").arg("--version").output().is_ok_and(|o| o.status.success());
    assert!(there || std::env::var_os("CI").is_none(), "there is no age command");
    if !there {
        support::skipped("there is no age command here");
    }
    there
}

/// An account with words in it that must not be found anywhere, two keys, and an archive.
struct Sample {
    folder: tempfile::TempDir,
    mail: Maildir,
}

/// What only the content of an archive may say.
const WORDS: [&str; 6] = ["anna@acme.example", "Geheimprojekt", "Zauberwort", "boris@acme", "Subject", "\"account\""];

impl Sample {
    fn new() -> Sample {
        let folder = tempfile::tempdir().unwrap();
        let mut mail = Maildir::new(&folder.path().join("mail"), "anna@acme.example");
        let mut random = Random(7);
        mail.fill(&mut random, "", 30, 40 << 10);
        for n in 0..20 {
            mail.put(".Geheimprojekt", &format!("1800{n}.a.host:2,"), &message(&format!("Zauberwort {n}"), &random.bytes(3000)));
        }
        let sample = Sample { folder, mail };
        for name in ["customer", "escrow", "stranger"] {
            let key = age::x25519::Identity::generate();
            let text = {
                use age::secrecy::ExposeSecret as _;
                format!("# public key: {}\n{}\n", key.to_public(), key.to_string().expose_secret())
            };
            fs::write(sample.path(name), text).unwrap();
            fs::write(sample.path(&format!("{name}.pub")), format!("# {name}\n{}\n", key.to_public())).unwrap();
        }
        sample
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn archive(&self) -> PathBuf {
        self.path("a.floe")
    }

    fn recipient(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().lines().nth(1).unwrap().to_owned()
    }

    fn snapshot(&self, more: &[&str]) -> Ran {
        run(snapshot(&[(&self.mail.account, &self.mail.root)], &self.archive()).args(more))
    }

    /// For the customer, and for those in the escrow's file.
    fn encrypted(&self) -> Ran {
        self.snapshot(&["--recipient", &self.recipient("customer"), "--recipient", &self.text("escrow.pub")])
    }

    fn on(&self, command: &str, key: &str, more: &[&str]) -> Ran {
        run(on(&self.archive(), command, more).arg("--identity").arg(self.path(key)))
    }

    /// The archive gives back exactly what went in.
    #[track_caller]
    fn holds_everything(&self, how: &[&str]) {
        run(on(&self.archive(), "verify", &["--full"]).args(how)).expect(0);
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("out");
        run(on(&self.archive(), "export", &["--out", folder.to_str().unwrap()]).args(how)).expect(0);
        assert!(exported(&folder) == wanted(&self.mail.items), "the items that come out are not those that went in");
    }

    /// No name and no file in the archive's folder tells anything.
    #[track_caller]
    fn tells_nothing(&self, when: &str) {
        let archive = self.archive();
        let mut secrets: Vec<Vec<u8>> = WORDS.iter().map(|w| w.as_bytes().to_vec()).collect();
        // The digests of items are as telling as the items, as text and as bytes.
        for item in &self.mail.items {
            secrets.push(item.sha256.as_bytes().to_vec());
            secrets.push(item.sha256.parse::<floe::model::Digest>().unwrap().as_bytes().to_vec());
        }
        let zstd = [0x28, 0xb5, 0x2f, 0xfd];
        for file in files(&archive) {
            let (name, bytes) = (file.to_str().unwrap(), fs::read(archive.join(&file)).unwrap());
            assert!(!WORDS.iter().any(|w| name.contains(w)), "{when}: {name}");
            // In `pending` too, when killed there.
            if matches!(file.file_name().and_then(|n| n.to_str()), Some("README.txt" | "restore.py")) {
                continue;
            }
            for secret in &secrets {
                let found = memchr::memmem::find(&bytes, secret);
                assert!(found.is_none(), "{when}: {name} has {:?}", String::from_utf8_lossy(secret));
            }
            assert!(
                !bytes.starts_with(&zstd) && !bytes.starts_with(b"floeidx1") && !bytes.starts_with(b"floeseen"),
                "{when}: {name}"
            );
        }
    }
}

#[track_caller]
fn sha256sum(archive: &Path, code: i32) {
    for list in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        let ran = run(Command::new("sha256sum").args(["--quiet", "-c", list]).current_dir(archive));
        if code == 0 {
            ran.expect(0);
        }
    }
}

#[test]
fn each_recipient_alone_reads_it_and_nobody_else() {
    let sample = Sample::new();
    let said = sample.encrypted().expect(0).text();
    assert!(said.contains(&sample.recipient("customer")) && said.contains(&sample.recipient("escrow")), "{said}");
    for name in files(&sample.archive().join("data")) {
        assert!(name.to_str().unwrap().ends_with(".age"), "{name:?}");
    }
    for key in ["customer", "escrow"] {
        sample.holds_everything(&["--identity", &sample.text(key)]);
    }
    // One key that fits is enough among others, and the environment may name it.
    sample.holds_everything(&["--identity", &sample.text("stranger"), "--identity", &sample.text("customer")]);
    run(on(&sample.archive(), "list", &[]).env("FLOE_IDENTITY", sample.path("escrow"))).expect(0);
    let item = &sample.mail.items[3];
    assert_eq!(digests_of(&sample.on("show", "customer", &[&item.sha256, "--raw"]).expect(0).stdout), item.sha256);
    sample.on("manifest", "customer", &["--format", "sha256sum"]).expect(0);

    for (command, more) in [("list", &[] as &[&str]), ("verify", &["--full"]), ("manifest", &["--format", "jsonl"])] {
        let none = run(&mut on(&sample.archive(), command, more)).expect(64).text();
        assert!(none.contains("the archive is encrypted, and no key was given") && none.contains("--identity FILE"), "{none}");
        let wrong = sample.on(command, "stranger", more).expect(2).text();
        assert!(wrong.contains("none of the keys given opens it") && wrong.contains("one of its recipients"), "{wrong}");
    }
    let no_key = run(on(&sample.archive(), "list", &["--identity"]).arg(sample.path("escrow.pub"))).expect(64).text();
    assert!(no_key.contains("is no age key"), "{no_key}");
    let pass = sample.path("pass");
    fs::write(&pass, "a word\n").unwrap();
    let word = run(on(&sample.archive(), "list", &["--passphrase-file"]).arg(&pass)).expect(2).text();
    assert!(word.contains("no passphrase opens it"), "{word}");
}

fn digests_of(bytes: &[u8]) -> String {
    floe::model::Digest::of(bytes).to_string()
}

#[test]
fn stock_tools_take_everything_out() {
    if !has_age() {
        return;
    }
    let sample = Sample::new();
    sample.encrypted().expect(0);
    let (archive, key) = (sample.archive(), sample.text("escrow"));
    let objects = sample.path("objects");
    fs::create_dir(&objects).unwrap();
    for pack in files(&archive.join("data/packs")) {
        let line = "age -d -i \"$1\" \"$2\" | zstd -dc | tar x -C \"$3\"";
        run(Command::new("bash")
            .args(["-o", "pipefail", "-c", line, "bash", &key])
            .arg(archive.join("data/packs").join(pack))
            .arg(&objects))
        .expect(0);
    }
    let mut blobs = 0;
    for file in files(&objects.join("blob")) {
        assert_eq!(digests_of(&fs::read(objects.join("blob").join(&file)).unwrap()), file.to_str().unwrap());
        blobs += 1;
    }
    assert!(blobs >= 50, "{blobs}");
    let root = run(Command::new("age").args(["-d", "-i", &key]).arg(&roots(&archive)[0])).expect(0);
    let root: Value = serde_json::from_slice(&root.stdout).unwrap();
    assert_eq!(root["recipients"], serde_json::json!([sample.recipient("customer"), sample.recipient("escrow")]));

    let restore = |more: &[&str]| run(Command::new("python3").arg(archive.join("restore.py")).arg(&archive).args(more));
    restore(&["--check", "--identity", &key]).expect(0);
    let out = sample.path("restored");
    restore(&[out.to_str().unwrap(), "--identity", &key]).expect(0);
    let restored = digests(&out);
    assert!(wanted(&sample.mail.items).iter().all(|(digest, count)| restored.get(digest) == Some(count)));
    let none = restore(&["--check"]).expect(2).text();
    assert!(none.contains("--identity FILE"), "{none}");
    let wrong = restore(&["--check", "--identity", &sample.text("stranger")]).expect(1).text();
    assert!(wrong.contains("no identity matched"), "{wrong}");
}

#[test]
fn the_next_snapshot_stores_only_what_is_new_and_needs_the_key() {
    let mut sample = Sample::new();
    sample.encrypted().expect(0);
    sample.tells_nothing("after the first snapshot");
    let before = files(&sample.archive().join("data/packs")).len();
    sample.mail.put("", "1900.new.host:2,", &message("Zauberwort neu", b"one more"));
    next_second();

    let refused = sample.snapshot(&[]).expect(64).text();
    assert!(refused.contains("--identity FILE") && refused.contains("--store-again"), "{refused}");
    let wrong = sample.snapshot(&["--identity", &sample.text("stranger")]).expect(2).text();
    assert!(wrong.contains("none of the keys given opens it"), "{wrong}");
    assert_eq!(roots(&sample.archive()).len(), 1);

    let customer = sample.text("customer");
    let ran = sample.snapshot(&["--identity", &customer, "--json"]).expect(0);
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
    // The new message in two objects, its listing and the account's.
    assert!(said["new_objects"].as_u64().unwrap() <= 4, "{said}");
    assert_eq!(said["recipients"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(files(&sample.archive().join("data/packs")).len(), before + 1);
    sample.holds_everything(&["--identity", &sample.text("escrow")]);
    sample.tells_nothing("after the second snapshot");
    run(on(&sample.archive(), "index", &["--rebuild", "--identity", &customer]).env_remove("FLOE_IDENTITY")).expect(0);
    sample.tells_nothing("after the index was made anew");
    let same = sample.snapshot(&["--identity", &customer, "--reread", "--json"]).expect(0);
    assert_eq!(serde_json::from_slice::<Value>(&same.stdout).unwrap()["new_objects"], 0);

    // Who is left out is named.
    let left_out = sample.snapshot(&["--identity", &customer, "--recipient", &sample.recipient("customer")]).expect(0).text();
    assert!(left_out.contains(&format!("note: not for {}", sample.recipient("escrow"))), "{left_out}");

    // Without the key everything is stored once more, and the chain of roots goes on.
    let again = sample.snapshot(&["--store-again", "--recipient", &sample.recipient("customer"), "--json"]).expect(0);
    let said: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert!(said["new_objects"].as_u64().unwrap() > 50, "{said}");
    let nobody = sample.snapshot(&["--store-again"]).expect(64).text();
    assert!(nobody.contains("it is not known for whom"), "{nobody}");
    sample.holds_everything(&["--identity", &customer]);
    sample.tells_nothing("after a snapshot without the key");
    // The escrow was no recipient of the last one.
    let part = sample.on("verify", "escrow", &["--full"]).expect(2).text();
    assert!(part.contains("none of the keys given opens this file"), "{part}");
}

#[test]
fn a_passphrase_opens_it_and_the_key_behind_it_does_so_with_stock_tools() {
    let sample = Sample::new();
    let (pass, wrong) = (sample.text("pass"), sample.text("wrong"));
    fs::write(&pass, "correct horse battery staple\n").unwrap();
    fs::write(&wrong, "correct horse battery stable\n").unwrap();
    sample.snapshot(&["--passphrase-file", &pass, "--recipient", &sample.recipient("escrow")]).expect(0);
    sample.holds_everything(&["--passphrase-file", &pass]);
    sample.holds_everything(&["--identity", &sample.text("escrow")]);
    sample.tells_nothing("with a passphrase");
    let key = fs::read(sample.archive().join("keys/archive.key.age")).unwrap();
    assert!(key.starts_with(b"age-encryption.org/v1\n-> scrypt "));
    sha256sum(&sample.archive(), 0);
    let tags = fs::read_to_string(sample.archive().join("tagmanifest-sha256.txt")).unwrap();
    assert!(tags.contains("  keys/archive.key.age\n"), "{tags}");

    let none = run(&mut on(&sample.archive(), "list", &[])).expect(64).text();
    assert!(none.contains("--passphrase-file FILE"), "{none}");
    let ran = run(&mut on(&sample.archive(), "list", &["--passphrase-file", &wrong])).expect(2).text();
    assert!(ran.contains("the passphrase is not the right one"), "{ran}");
    let without = sample.snapshot(&["--identity", &sample.text("escrow")]).expect(64).text();
    assert!(without.contains("the archive has a passphrase"), "{without}");
    next_second();
    let ran = sample.snapshot(&["--passphrase-file", &pass, "--json"]).expect(0);
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&said["new_objects"], said["recipients"].as_array().unwrap().len()), (&Value::from(0), 2), "{said}");

    if has_age() {
        // age asks for the passphrase on a terminal only.
        let ask = "import os, pty, sys\npid, terminal = pty.fork()\nif not pid:\n    os.execvp('age', ['age', '-d', '-o', sys.argv[2], sys.argv[1]])\n\
                   said = b''\nwhile b'passphrase' not in said:\n    said += os.read(terminal, 1000)\nos.write(terminal, sys.argv[3].encode() + b'\\n')\n\
                   try:\n    while os.read(terminal, 1000): pass\nexcept OSError: pass\nsys.exit(os.waitpid(pid, 0)[1] >> 8)\n";
        let file = sample.archive().join("keys/archive.key.age");
        let word = "correct horse battery staple";
        run(Command::new("python3").args(["-c", ask]).arg(&file).arg(sample.path("key")).arg(word)).expect(0);
        for root in roots(&sample.archive()) {
            run(Command::new("age").args(["-d", "-i"]).arg(sample.path("key")).arg(root)).expect(0);
        }
        sample.on("list", "key", &[]).expect(0);
    }

    // The key file is lost: the digests say so, and only the other recipient is left.
    fs::remove_file(file_of(&sample, "keys/archive.key.age")).unwrap();
    let lost = run(&mut on(&sample.archive(), "verify", &[])).expect(2).text();
    assert!(lost.contains("keys/archive.key.age is missing"), "{lost}");
    let lost = run(&mut on(&sample.archive(), "list", &["--passphrase-file", &pass])).expect(2).text();
    assert!(lost.contains("no passphrase opens it"), "{lost}");
    sample.on("list", "escrow", &[]).expect(0);
}

fn file_of(sample: &Sample, name: &str) -> PathBuf {
    sample.archive().join(name)
}

#[test]
fn an_archive_is_never_half_encrypted() {
    let sample = Sample::new();
    sample.snapshot(&["--identity", &sample.text("customer")]).expect(64);
    assert!(!sample.archive().exists(), "a refused snapshot leaves nothing");
    sample.snapshot(&[]).expect(0);
    for how in [["--recipient", &sample.recipient("customer")], ["--passphrase-file", &sample.text("escrow.pub")]] {
        let refused = sample.snapshot(&how).expect(64).text();
        assert!(refused.contains("the archive is not encrypted"), "{refused}");
    }
    // A key that is not needed does no harm.
    sample.on("list", "customer", &[]).expect(0);

    let clear = files(&sample.archive().join("data/packs")).remove(0);
    let clear = fs::read(sample.archive().join("data/packs").join(clear)).unwrap();
    fs::remove_dir_all(sample.archive()).unwrap();
    sample.encrypted().expect(0);
    sample.snapshot(&["--store-again"]).expect(64);
    let slip = sample.snapshot(&["--recipient", "age1qqqq"]).expect(64).text();
    assert!(slip.contains("this is no age recipient"), "{slip}");
    let secret = fs::read_to_string(sample.path("customer")).unwrap().lines().nth(1).unwrap().to_owned();
    let slip = sample.snapshot(&["--recipient", &secret]).expect(64).text();
    assert!(slip.contains("this is a secret key") && !slip.contains(&secret), "{slip}");

    // A pack in clear in an encrypted archive is named; so is one in an archive whose bag-info.txt no longer says that it is encrypted.
    let name = format!("data/packs/{}.tar.zst", digests_of(&clear));
    fs::write(file_of(&sample, &name), &clear).unwrap();
    for key in [None, Some("customer")] {
        let mut verify = on(&sample.archive(), "verify", &[]);
        key.map(|key| verify.arg("--identity").arg(sample.path(key)));
        let found = run(&mut verify).expect(2).text();
        assert!(found.contains(&format!("{name} is not encrypted, but the archive is")), "{found}");
    }
    fs::remove_file(file_of(&sample, &name)).unwrap();
    let info = fs::read_to_string(file_of(&sample, "bag-info.txt")).unwrap();
    fs::write(file_of(&sample, "bag-info.txt"), info.replace("Floe-Encryption: age\n", "")).unwrap();
    sample.snapshot(&[]).expect(64);
    run(&mut on(&sample.archive(), "verify", &[])).expect(2);
    // Together: what is there can be checked, and nothing is added in clear.
    fs::write(file_of(&sample, &name), clear).unwrap();
    let mixed = sample.snapshot(&[]).expect(2).text();
    assert!(mixed.contains("some of the archive's files are encrypted, and some are not"), "{mixed}");
    let found = run(&mut on(&sample.archive(), "verify", &[])).expect(2).text();
    assert!(found.contains(".tar.zst.age is encrypted, but the archive is not"), "{found}");
}

#[test]
fn damage_is_found_with_and_without_the_key() {
    let sample = Sample::new();
    sample.encrypted().expect(0);
    sha256sum(&sample.archive(), 0);
    let quick = run(&mut on(&sample.archive(), "verify", &[])).expect(0).text();
    assert!(quick.contains("encrypted, and no key was given"), "{quick}");
    let mut random = Random::fresh("damage");
    for name in files(&sample.archive().join("data")) {
        let (shown, path) = (name.to_str().unwrap().to_owned(), sample.archive().join("data").join(&name));
        let good = fs::read(&path).unwrap();
        for round in 0..8 {
            let mut bad = good.clone();
            let at = if round == 0 { 5 } else { random.below(bad.len() as u64) as usize };
            if round < 5 {
                bad[at] ^= 1 << random.below(8)
            } else {
                bad.truncate(at)
            }
            fs::write(&path, &bad).unwrap();
            let locked = run(&mut on(&sample.archive(), "verify", &[])).expect(2).text();
            assert!(locked.contains(&shown) && locked.contains("FAIL"), "byte {at}: {locked}");
            let full = sample.on("verify", "customer", &["--full"]).expect(2).text();
            assert!(full.contains(&shown) && full.contains("FAIL"), "byte {at}: {full}");
            fs::write(&path, &good).unwrap();
        }
        fs::remove_file(&path).unwrap();
        let gone = run(&mut on(&sample.archive(), "verify", &[])).expect(2).text();
        assert!(gone.contains(&format!("{shown} is missing")), "{gone}");
        fs::write(&path, &good).unwrap();
    }
    // Index files are no more than a cache here too.
    for name in files(&sample.archive().join("index")).into_iter().filter(|n| n.to_str().unwrap().ends_with(".idx.age")) {
        let path = sample.archive().join("index").join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let ran = sample.on("verify", "customer", &["--full"]).expect(1).text();
    assert!(ran.contains("index --rebuild"), "{ran}");
    let out = sample.path("out");
    sample.on("export", "customer", &["--out", out.to_str().unwrap()]).expect(0);
    assert!(exported(&out) == wanted(&sample.mail.items));
}

#[test]
fn what_lies_before_and_behind_a_damage_is_taken_out() {
    let mut sample = Sample::new();
    sample.mail.fill(&mut Random(8), ".Gross", 40, 300 << 10);
    sample.encrypted().expect(0);
    let pack = sample.archive().join("data/packs").join(files(&sample.archive().join("data/packs")).remove(0));
    let good = fs::read(&pack).unwrap();
    let taken = |bytes: &[u8]| {
        fs::write(&pack, bytes).unwrap();
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("out");
        sample.on("export", "customer", &["--out", folder.to_str().unwrap()]).expect(1);
        exported(&folder).values().sum::<usize>()
    };
    let mut flipped = good.clone();
    flipped[good.len() / 3] ^= 4;
    let all = sample.mail.items.len();
    let left = taken(&flipped);
    assert!(left >= all / 2 && left < all, "{left} of {all}");
    // Cut within the last chunk: the seek table is gone, and the frames are found by walking. The listings lie last, but here not alone.
    fs::remove_dir_all(sample.archive().join("index")).unwrap();
    fs::write(&pack, &good[..good.len() - 10]).unwrap();
    let said = sample.on("verify", "customer", &["--full"]).expect(2).text();
    let lost = said.lines().filter(|l| l.contains("is missing")).count();
    assert!(said.contains("no valid seek table") || said.contains("cut short"), "{said}");
    assert!(lost < all, "{said}");
}

#[test]
fn killed_at_any_moment_nothing_readable_is_left_and_the_next_run_completes() {
    let mut sample = Sample::new();
    sample.mail.fill(&mut Random(9), "", 150, 300 << 10);
    let recipients =
        ["--recipient".to_owned(), sample.recipient("customer"), "--recipient".to_owned(), sample.recipient("escrow")];
    let (whole, mut killed, mut half_written) = (sample.encrypted().expect(0).elapsed, 0, 0);
    let is_index = |file: &&PathBuf| file.to_string_lossy().ends_with(".idx.age");
    let old = sample.archive().join(files(&sample.archive()).iter().find(is_index).unwrap());
    let index = fs::read(&old).unwrap();
    fs::remove_dir_all(sample.archive()).unwrap();
    for n in 0..10u32 {
        let mut child = start(snapshot(&[(&sample.mail.account, &sample.mail.root)], &sample.archive()).args(&recipients));
        std::thread::sleep(whole.mul_f64(f64::from(n + 1) / 11.0) + Duration::from_millis(3));
        let _ = child.kill();
        killed += u32::from(child.wait().unwrap().code().is_none());
        if sample.archive().exists() {
            sample.tells_nothing("killed");
            let begun = files(&sample.archive()).into_iter().filter(|f| f.starts_with("index/tmp"));
            half_written += begun.filter(|f| fs::metadata(sample.archive().join(f)).unwrap().len() > 100_000).count();
        }
        // A snapshot whose files still lie in `pending` is committed: the next run would ask for the key.
        if !roots(&sample.archive()).is_empty() || sample.archive().join("pending").is_dir() {
            fs::remove_dir_all(sample.archive()).unwrap();
        }
    }
    // An index file of packs that an interrupted run could not list any more, and that a run without a key throws away.
    let mut child = start(snapshot(&[(&sample.mail.account, &sample.mail.root)], &sample.archive()).args(&recipients));
    while !sample.archive().join("bagit.txt").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().unwrap();
    fs::create_dir_all(sample.archive().join("index")).unwrap();
    fs::write(&old, &index).unwrap();
    assert!(killed > 3 && half_written > 0, "{killed} killed, {half_written} files half written");
    sample.encrypted().expect(0);
    sample.holds_everything(&["--identity", &sample.text("customer")]);
    assert!(fs::read_dir(sample.archive().join("index/tmp")).is_ok_and(|mut d| d.next().is_none()));
    sha256sum(&sample.archive(), 0);

    // The same for a second run, which has the key.
    sample.mail.fill(&mut Random(10), ".Neu", 100, 300 << 10);
    let customer = sample.text("customer");
    for n in 0..5u32 {
        let mut child =
            start(snapshot(&[(&sample.mail.account, &sample.mail.root)], &sample.archive()).args(["--identity", &customer]));
        std::thread::sleep(whole.mul_f64(f64::from(n + 1) / 7.0));
        let _ = child.kill();
        child.wait().unwrap();
        sample.tells_nothing("killed again");
        run(&mut on(&sample.archive(), "verify", &[])).expect(0);
    }
    sample.snapshot(&["--identity", &customer]).expect(0);
    sample.holds_everything(&["--identity", &sample.text("escrow")]);
}

#[test]
fn it_is_signed_stamped_carried_and_checked_without_the_key() {
    let sample = Sample::new();
    sample.encrypted().expect(0);
    let (archive, key, disk) = (sample.archive(), sample.text("operator"), sample.path("disk"));
    run(floe().args(["key", "new", "--out", &key])).expect(0);
    run(&mut on(&archive, "sign", &["--key", &key, "--role", "operator"])).expect(0);
    let signed = run(&mut on(&archive, "verify", &["--signed-by", &format!("{key}.pub")])).expect(0).text();
    assert!(signed.contains("is signed by") && signed.contains("no key was given"), "{signed}");
    run(&mut on(&archive, "timestamp", &["--request"])).expect(0);
    let events = fs::read_to_string(archive.join("events.jsonl")).unwrap();
    assert!(events.contains("capture") && !events.contains("captured") && !events.contains("items"), "{events}");
    run(&mut on(&archive, "events", &[])).expect(0);
    sample.tells_nothing("with signatures and events");
    let full = sample.on("verify", "customer", &["--full", "--signed-by", &format!("{key}.pub")]).expect(0).text();
    assert!(full.contains("is signed by"), "{full}");

    // Recovery data is of the files as they lie there.
    run(&mut on(&archive, "protect", &[])).expect(0);
    sample.tells_nothing("with recovery data");
    for name in files(&archive.join("data")) {
        let path = archive.join("data").join(name);
        let mut bytes = fs::read(&path).unwrap();
        let good = bytes.clone();
        bytes[good.len() / 2] ^= 1;
        fs::write(&path, bytes).unwrap();
        run(&mut on(&archive, "repair", &[])).expect(0);
        assert!(fs::read(&path).unwrap() == good);
    }

    fs::create_dir(&disk).unwrap();
    run(&mut on(&archive, "ship", &["--to", disk.to_str().unwrap()])).expect(0);
    run(floe().arg("receive").arg(&disk).arg("--archive").arg(sample.path("b.floe"))).expect(0);
    fs::remove_dir_all(&archive).unwrap();
    fs::rename(sample.path("b.floe"), &archive).unwrap();
    sample.holds_everything(&["--identity", &sample.text("escrow")]);
    sample.tells_nothing("after the way");
}

#[test]
fn any_stretch_of_an_encrypted_file_is_read_alone_and_age_reads_it_whole() {
    let folder = tempfile::tempdir().unwrap();
    let key = age::x25519::Identity::generate();
    let protection = Protection { recipients: Recipient::all(&[key.to_public().to_string()]).unwrap(), ..Protection::default() };
    let (vault, _) = Vault::for_writing(LocalStore::new(folder.path()), &protection).unwrap();
    let _lock = vault.files().lock().unwrap();
    let mut random = Random::fresh("stretches");
    let keys = {
        use age::secrecy::ExposeSecret as _;
        fs::write(folder.path().join("key"), key.to_string().expose_secret()).unwrap();
        Keys::new(&[folder.path().join("key")], None).unwrap()
    };
    for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 400_000] {
        let bytes = random.bytes(length);
        let mut upload = vault.upload().unwrap();
        for piece in bytes.chunks(10_007) {
            upload.write_all(piece).unwrap();
        }
        let (digest, size) = upload.finish_as(&|digest| format!("data/packs/{digest}.tar.zst.age")).unwrap();
        let name = format!("data/packs/{digest}.tar.zst.age");
        let there = fs::read(folder.path().join(&name)).unwrap();
        assert_eq!((digests_of(&there), there.len() as u64), (digest.to_string(), size));
        assert_eq!(age::decrypt(&key, &there).unwrap(), bytes);

        // By who wrote it without a key, and by who opens it with one.
        let reader = Vault::open(LocalStore::new(folder.path()), &keys).unwrap();
        for vault in [&vault, &reader] {
            assert_eq!(vault.content_bytes(&name, size).unwrap(), length as u64);
            for _ in 0..50 {
                let at = random.below(length as u64 + 1) as usize;
                let mut got = vec![0; random.below((length - at) as u64 + 1) as usize];
                vault.read_at(&name, at as u64, &mut got).unwrap();
                assert!(got == bytes[at..at + got.len()]);
            }
            assert!(vault.read_at(&name, length as u64, &mut [0]).is_err());
        }
        // What age wrote is read, and no flipped bit or cut passes.
        let stock = age::encrypt(&key.to_public(), &bytes).unwrap();
        fs::write(folder.path().join("data/packs/x.age"), &stock).unwrap();
        for _ in 0..20 {
            let mut bad = stock.clone();
            let at = random.below(bad.len() as u64) as usize;
            bad[at] ^= 1 << random.below(8);
            assert!(!reader.clear("x.age", bad).is_ok_and(|clear| clear.len() == length), "byte {at} of {length}");
            assert!(reader.clear("x.age", stock[..at].to_vec()).is_err(), "cut at {at} of {length}");
        }
        // Cut so that a last chunk of nothing but a tag is left, with none before it and with one.
        let payload = stock.len() - (length + length.div_ceil(65_536) * 16);
        for at in [16, 65_552 + 16].into_iter().filter(|at| payload + at < stock.len()) {
            assert!(reader.clear("x.age", stock[..payload + at].to_vec()).is_err(), "cut at {at} of the payload, {length}");
        }
        assert!(reader.clear("x.age", stock).unwrap() == bytes);
    }
}

#[test]
fn nothing_of_a_source_is_written_outside_of_the_archive() {
    let sample = Sample::new();
    let mbox = sample.path("inbox.mbox");
    fs::write(
        &mbox,
        "From a@b Mon Jan  1 00:00:00 2024\nSubject: a\n\nx\n\nFrom a@b Mon Jan  1 00:00:00 2024\nSubject: b\n\ny\n",
    )
    .unwrap();
    let mut command = snapshot(&[("anna", &mbox)], &sample.archive());
    command.args(["--recipient", &sample.recipient("customer"), "--json"]);
    // Where a copy in a folder for temporary files were needed, this would fail.
    let ran = run(command.env("TMPDIR", "/proc/none")).expect(0);
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&said["ledger"]["found"], &said["ledger"]["captured"]), (&2.into(), &2.into()), "{said}");
}
