//! Signatures on roots, held against the stock ssh-keygen; and the chain of roots that `verify --since` follows.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use floe::model::Digest;
use support::archives::{copy, files, next_second, root, roots};
use support::mail::{Maildir, Random};
use support::program::{Ran, floe, on, run, snapshot, traces};

const ROLES: [&str; 4] = ["operator", "courier", "receiver", "auditor"];

/// A folder with an archive of two snapshots, and keys.
struct Sample {
    folder: tempfile::TempDir,
    archive: PathBuf,
    maildir: Maildir,
    random: Random,
}

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(7);
        let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
        let archive = folder.path().join("a.floe");
        for _ in 0..2 {
            maildir.fill(&mut random, "", 4, 3000);
            run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
        }
        Sample { folder, archive, maildir, random }
    }

    fn snapshot(&mut self) {
        self.maildir.fill(&mut self.random, "", 2, 3000);
        run(&mut snapshot(&[("anna", &self.maildir.root)], &self.archive)).expect(0);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        run(floe().args(["key", "new", "--comment", name, "--out"]).arg(&path)).expect(0);
        path
    }

    /// A key that ssh-keygen made.
    fn stock_key(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.path(name);
        run(Command::new("ssh-keygen").args(["-q", "-C", name, "-f"]).arg(&path).args(options)).expect(0);
        path
    }

    fn sign(&self, key: &Path, role: &str, more: &[&str]) -> Ran {
        run(on(&self.archive, "sign", more).arg("--key").arg(key).args(["--role", role]))
    }

    fn verify(&self, more: &[&str]) -> Ran {
        run(&mut on(&self.archive, "verify", more))
    }

    fn signed_by(&self, keys: &[&Path], more: &[&str]) -> Ran {
        run(on(&self.archive, "verify", more).arg("--signed-by").args(keys))
    }

    /// The signatures of the archive.
    fn signatures(&self) -> Vec<PathBuf> {
        let folder = self.archive.join("signatures");
        files(&folder).into_iter().map(|f| folder.join(f)).collect()
    }

    /// The archive is as it was after the test has changed it.
    fn undone<T>(&self, test: impl FnOnce() -> T) -> T {
        let kept = self.archive.with_extension("kept");
        copy(&self.archive, &kept);
        let result = test();
        fs::remove_dir_all(&self.archive).unwrap();
        fs::rename(&kept, &self.archive).unwrap();
        result
    }
}

fn public(key: &Path) -> PathBuf {
    PathBuf::from(format!("{}.pub", key.display()))
}

/// What ssh-keygen says of a signature on a root.
fn stock_verify(folder: &Path, root: &Path, signature: &Path, key: &Path, role: &str) -> Ran {
    let allowed = folder.join("allowed");
    fs::write(&allowed, format!("who@example {}", fs::read_to_string(public(key)).unwrap())).unwrap();
    let namespace = format!("floe-root-{role}");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ssh-keygen -Y verify -f \"$1\" -I who@example -n \"$2\" -s \"$3\" < \"$4\"", "sh"]);
    run(shell.arg(&allowed).arg(namespace).arg(signature).arg(root))
}

#[track_caller]
fn damaged(ran: Ran, named: &str) {
    assert_eq!(ran.code(), 2, "{ran}");
    let text = ran.text();
    assert!(text.lines().any(|line| line.starts_with("damaged: ") && line.contains(named)), "{named} is not in {ran}");
}

#[test]
fn a_new_key_is_private_is_one_for_ssh_keygen_and_overwrites_nothing() {
    let sample = Sample::new();
    let key = sample.key("k");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let derived = run(Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&key)).expect(0);
    assert_eq!(String::from_utf8(derived.stdout).unwrap(), fs::read_to_string(public(&key)).unwrap());
    let before = fs::read(&key).unwrap();
    run(floe().args(["key", "new", "--out"]).arg(&key)).expect(64);
    fs::remove_file(&key).unwrap();
    run(floe().args(["key", "new", "--out"]).arg(&key)).expect(64);
    assert!(!key.exists() && !before.is_empty());

    let secret = sample.path("secret");
    fs::write(&secret, "correct horse\n").unwrap();
    let locked = sample.path("locked");
    run(floe().args(["key", "new", "--json", "--out"]).arg(&locked).arg("--passphrase-file").arg(&secret)).expect(0);
    let derive = |words: &str| run(Command::new("ssh-keygen").args(["-y", "-P", words, "-f"]).arg(&locked));
    assert_ne!(derive("wrong").code(), 0);
    assert!(derive("correct horse").expect(0).text().starts_with("ssh-ed25519 "));
    let secret = secret.to_str().unwrap();
    sample.sign(&locked, "courier", &["--passphrase-file", secret]).expect(0);
    assert!(sample.sign(&locked, "courier", &[]).expect(64).text().contains("no terminal"));
    fs::write(secret, "wrong\n").unwrap();
    let ran = sample.sign(&locked, "courier", &["--passphrase-file", secret]).expect(64);
    assert!(ran.text().contains("the passphrase is not the one of this key"), "{ran}");
    sample.signed_by(&[&public(&locked)], &[]).expect(0);
}

#[test]
fn what_floe_signs_with_any_kind_of_key_ssh_keygen_verifies() {
    let sample = Sample::new();
    let kinds: [(&str, &[&str]); 6] = [
        ("ed25519", &["-t", "ed25519", "-N", ""]),
        ("p256", &["-t", "ecdsa", "-b", "256", "-N", ""]),
        ("p384", &["-t", "ecdsa", "-b", "384", "-N", ""]),
        ("p521", &["-t", "ecdsa", "-b", "521", "-N", ""]),
        ("rsa2048", &["-t", "rsa", "-b", "2048", "-N", ""]),
        ("rsa3072", &["-t", "rsa", "-b", "3072", "-N", ""]),
    ];
    let newest = roots(&sample.archive).pop().unwrap();
    let mut keys = vec![sample.key("own")];
    keys.extend(kinds.iter().map(|(name, options)| readable(&sample, name, options)));
    for (n, key) in keys.iter().enumerate() {
        let role = ROLES[n % 4];
        let ran = sample.sign(key, role, &["--json"]).expect(0);
        let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        let signature = sample.archive.join(told["file"].as_str().unwrap());
        let ran = stock_verify(sample.folder.path(), &newest, &signature, key, role);
        assert!(ran.code() == 0 && ran.text().contains("Good "), "{ran}");
        assert_ne!(stock_verify(sample.folder.path(), &newest, &signature, key, ROLES[(n + 1) % 4]).code(), 0);
        // Once more is no new signature.
        let again: serde_json::Value = serde_json::from_slice(&sample.sign(key, role, &["--json"]).expect(0).stdout).unwrap();
        assert_eq!((&again["new"], &again["file"]), (&false.into(), &told["file"]));
    }
    let publics: Vec<PathBuf> = keys.iter().map(|key| public(key)).collect();
    let all: Vec<&Path> = publics.iter().map(PathBuf::as_path).collect();
    let ran = sample.signed_by(&all, &["--full"]).expect(0);
    for (n, line) in ran.text().lines().filter(|line| line.contains(" is signed by ")).enumerate() {
        assert!(line.ends_with(ROLES[n % 4]), "{line}");
    }
    assert_eq!(sample.signatures().len(), keys.len());
}

/// A key that ssh-keygen made and floe reads: some ECDSA keys it does not, and says so.
fn readable(sample: &Sample, name: &str, options: &[&str]) -> PathBuf {
    for n in 0..60 {
        let key = sample.stock_key(&format!("{name}-{n}"), options);
        let ran = sample.sign(&key, "auditor", &["--snapshot", "no such snapshot"]).expect(64);
        if ran.text().contains("no such snapshot") {
            return key;
        }
        assert!(name.starts_with('p') && ran.text().contains("OpenSSH shortens some ECDSA keys"), "{ran}");
    }
    panic!("not one of 60 keys of the kind {name} was read");
}

#[test]
fn what_ssh_keygen_signs_floe_accepts() {
    let sample = Sample::new();
    let newest = roots(&sample.archive).pop().unwrap();
    let stem = newest.file_stem().unwrap().to_str().unwrap().to_owned();
    fs::create_dir(sample.archive.join("signatures")).unwrap();
    for (name, kind, bits, role) in
        [("e", "ed25519", "256", "auditor"), ("r", "rsa", "2048", "courier"), ("c", "ecdsa", "384", "receiver")]
    {
        let key = sample.stock_key(name, &["-t", kind, "-b", bits, "-N", ""]);
        let copied = sample.path("root.json");
        fs::copy(&newest, &copied).unwrap();
        let _ = fs::remove_file(sample.path("root.json.sig"));
        let namespace = format!("floe-root-{role}");
        run(Command::new("ssh-keygen").args(["-Y", "sign", "-n", &namespace, "-f"]).arg(&key).arg(&copied)).expect(0);
        // The name, as the format's text says it: the digest of the key's blob, which stands in the .pub file in base64.
        let blob = run(Command::new("sh")
            .args(["-c", "cut -d' ' -f2 \"$1\" | base64 -d | sha256sum | cut -c1-16", "sh"])
            .arg(public(&key)));
        let digits = String::from_utf8(blob.expect(0).stdout).unwrap();
        let place = sample.archive.join(format!("signatures/{stem}.{role}.{}.sig", digits.trim()));
        fs::rename(sample.path("root.json.sig"), &place).unwrap();
        let ran = sample.signed_by(&[&public(&key)], &[]).expect(0);
        assert!(ran.text().contains(&format!("{name} as {role}")), "{ran}");
    }
    // It is listed with the next commit, and all stays good.
    let mut sample = sample;
    sample.snapshot();
    assert!(sample.verify(&["--full"]).expect(0).text().matches(" holds").count() == 3);
    run(Command::new("sha256sum").args(["-c", "--quiet", "tagmanifest-sha256.txt"]).current_dir(&sample.archive)).expect(0);
    assert_eq!(fs::read_to_string(sample.archive.join("tagmanifest-sha256.txt")).unwrap().matches("signatures/").count(), 3);
}

#[test]
fn keys_that_are_demanded_and_did_not_sign_are_named() {
    let mut sample = Sample::new();
    let (signer, stranger) = (sample.key("signer"), sample.key("stranger"));
    sample.sign(&signer, "operator", &[]).expect(0);
    sample.signed_by(&[&public(&signer)], &[]).expect(0);
    damaged(sample.signed_by(&[&public(&signer), &public(&stranger)], &[]), "stranger");
    // A list as ssh-keygen's -f takes it; what it allows a key is heeded.
    let line = fs::read_to_string(public(&signer)).unwrap();
    let list = sample.path("list");
    fs::write(&list, format!("# who may sign\nanna@acme.example namespaces=\"floe-root-*\" {line}")).unwrap();
    assert!(sample.signed_by(&[&list], &[]).expect(0).text().contains("anna@acme.example as operator"));
    fs::write(&list, format!("anna@acme.example namespaces=\"git,floe-root-auditor\" {line}")).unwrap();
    damaged(sample.signed_by(&[&list], &[]), "anna@acme.example");
    fs::write(&list, format!("anna@acme.example valid-before=\"20200101\" {line}")).unwrap();
    assert!(sample.signed_by(&[&list], &[]).expect(64).text().contains("valid-before"));
    fs::write(&list, "# nobody\n").unwrap();
    sample.signed_by(&[&list], &[]).expect(64);
    sample.signed_by(&[&signer], &[]).expect(64);
    // A new snapshot is not signed by having signed the one before.
    let signed = roots(&sample.archive).pop().unwrap().file_stem().unwrap().to_str().unwrap().to_owned();
    sample.snapshot();
    damaged(sample.signed_by(&[&public(&signer)], &[]), "signer");
    sample.signed_by(&[&public(&signer)], &["--snapshot", &signed]).expect(0);
    sample.sign(&signer, "auditor", &["--snapshot", &signed]).expect(0);
    let ran = sample.signed_by(&[&public(&signer)], &["--snapshot", &signed, "--json"]).expect(0);
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(told["signatures"].as_array().unwrap().len(), 2);
}

#[test]
fn keys_that_cannot_sign_are_refused_in_clear_words() {
    let sample = Sample::new();
    let key = sample.stock_key("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]);
    let ran = sample.sign(&key, "operator", &[]).expect(64);
    assert!(ran.text().contains("not in OpenSSH's format") && ran.text().contains("ssh-keygen -p"), "{ran}");
    let ran = sample.sign(&public(&key), "operator", &[]).expect(64);
    assert!(ran.text().contains("this is a public key"), "{ran}");
    fs::write(sample.path("junk"), "junk\n").unwrap();
    sample.sign(&sample.path("junk"), "operator", &[]).expect(64);
    let key = sample.key("k");
    sample.sign(&key, "king", &[]).expect(64);
    sample.sign(&key, "operator", &["--snapshot", "1999"]).expect(64);
    assert!(!sample.archive.join("signatures").exists());
    let nowhere = sample.path("nowhere");
    run(on(&nowhere, "sign", &["--role", "courier"]).arg("--key").arg(&key)).expect(64);
    assert!(!nowhere.exists());
}

#[test]
fn any_change_to_a_signature_is_found_and_named_also_when_the_tag_manifest_is_made_anew() {
    let sample = Sample::new();
    let key = sample.key("k");
    sample.sign(&key, "operator", &[]).expect(0);
    let file = sample.signatures().pop().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let good = fs::read(&file).unwrap();
    let mut random = Random::fresh("signature bits");
    for _ in 0..40 {
        let mut bad = good.clone();
        let at = random.below(good.len() as u64) as usize;
        bad[at] ^= 1 << random.below(8);
        fs::write(&file, &bad).unwrap();
        relist(&sample.archive);
        damaged(sample.verify(&[]), &name);
        damaged(sample.signed_by(&[&public(&key)], &[]), "k");
    }
    for bad in [&good[..good.len() - 1], &good[..good.len() / 2], b"".as_slice(), &[good.as_slice(), b"\n"].concat()] {
        fs::write(&file, bad).unwrap();
        relist(&sample.archive);
        damaged(sample.verify(&[]), &name);
    }
    fs::remove_file(&file).unwrap();
    damaged(sample.verify(&[]), &name);
    relist(&sample.archive);
    damaged(sample.verify(&[]), &name);
    // Signing anew mends it.
    sample.sign(&key, "operator", &[]).expect(0);
    sample.signed_by(&[&public(&key)], &[]).expect(0);
}

/// Makes the tag manifest anew from what lies there, as somebody would who wants to cover something up.
fn relist(archive: &Path) {
    let tags = archive.join("tagmanifest-sha256.txt");
    let listed = fs::read_to_string(&tags).unwrap();
    let mut names: Vec<String> = listed.lines().map(|line| line[66..].to_owned()).collect();
    if archive.join("signatures").is_dir() {
        names.extend(files(&archive.join("signatures")).into_iter().map(|f| format!("signatures/{}", f.display())));
    }
    names.sort();
    names.dedup();
    let line = |name: &String| Some(format!("{}  {name}\n", Digest::of(&fs::read(archive.join(name)).ok()?)));
    fs::write(&tags, names.iter().filter_map(line).collect::<String>()).unwrap();
}

#[test]
fn a_signature_moved_to_another_root_role_or_key_is_found_and_named() {
    let sample = Sample::new();
    let (key, other) = (sample.key("k"), sample.key("o"));
    let ids: Vec<String> = roots(&sample.archive).iter().map(|r| r.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    sample.sign(&key, "operator", &["--snapshot", &ids[0]]).expect(0);
    sample.sign(&other, "courier", &[]).expect(0);
    let all = sample.signatures();
    let (first, second) = (&all[0], &all[1]);
    let digits = |path: &Path| path.to_str().unwrap().rsplit('.').nth(1).unwrap().to_owned();
    let moved = [
        format!("{}.operator.{}.sig", ids[1], digits(first)),
        format!("{}.auditor.{}.sig", ids[0], digits(first)),
        format!("{}.operator.{}.sig", ids[0], digits(second)),
        format!("20200101T000000Z-0123456789ab.operator.{}.sig", digits(first)),
    ];
    for name in moved {
        sample.undone(|| {
            fs::rename(first, sample.archive.join("signatures").join(&name)).unwrap();
            damaged(sample.verify(&[]), &name);
            relist(&sample.archive);
            damaged(sample.verify(&[]), &name);
            damaged(sample.signed_by(&[&public(&key)], &["--snapshot", &ids[1]]), "no good signature");
        });
    }
    // Renamed to what is no signature's name, it is missed; copied there, it is noted.
    sample.undone(|| {
        fs::rename(first, sample.archive.join("signatures/aside")).unwrap();
        damaged(sample.verify(&[]), first.file_name().unwrap().to_str().unwrap());
    });
    sample.undone(|| {
        fs::copy(first, sample.archive.join("signatures/aside")).unwrap();
        assert!(sample.verify(&[]).expect(1).text().contains("note: signatures/aside"));
    });
    // The two swapped.
    sample.undone(|| {
        let bytes = fs::read(first).unwrap();
        fs::copy(second, first).unwrap();
        fs::write(second, bytes).unwrap();
        relist(&sample.archive);
        for file in [first, second] {
            damaged(sample.verify(&[]), file.file_name().unwrap().to_str().unwrap());
        }
    });
    // A root changed in one word.
    sample.undone(|| {
        let path = &roots(&sample.archive)[0];
        let text = fs::read_to_string(path).unwrap();
        let changed = text.replacen("\"reread\": false", "\"reread\": true", 1);
        assert_ne!(changed, text);
        fs::write(path, changed).unwrap();
        damaged(sample.verify(&[]), "the root that it signs was changed");
        sample.sign(&key, "courier", &["--snapshot", &ids[0]]).expect(2);
    });
    sample.verify(&["--full"]).expect(0);
}

#[test]
fn since_proves_that_nothing_earlier_was_changed_and_says_when_it_was() {
    let mut sample = Sample::new();
    sample.snapshot();
    let all = roots(&sample.archive);
    let digests: Vec<String> = all.iter().map(|r| Digest::of(&fs::read(r).unwrap()).to_string()).collect();
    for (n, digest) in digests.iter().enumerate() {
        let ran = sample.verify(&["--since", digest]).expect(0);
        assert!(ran.text().contains(&format!("{n} before it and {} after it", 2 - n)), "{ran}");
    }
    let noted = sample.path("noted");
    fs::write(&noted, format!("{}  the root of Monday\n", digests[0])).unwrap();
    sample.verify(&["--since", noted.to_str().unwrap(), "--full"]).expect(0);
    let kept = sample.path("kept.json");
    fs::copy(&all[1], &kept).unwrap();
    let ran = sample.verify(&["--since", kept.to_str().unwrap(), "--json"]).expect(0);
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&told["since"]["root"], &told["since"]["later"]), (&digests[1].as_str().into(), &1.into()));
    damaged(sample.verify(&["--since", &"0".repeat(64)]), "not in this archive's chain of roots");
    sample.verify(&["--since", "nonsense"]).expect(64);

    // Roots taken out or changed.
    for (n, path) in all.iter().enumerate() {
        sample.undone(|| {
            fs::remove_file(path).unwrap();
            let ran = sample.verify(&["--since", &digests[0]]);
            damaged(ran, if n < 2 { "the chain of roots breaks" } else { "is missing" });
        });
    }
    // Back to an older state, with bag files and events that agree: only who has seen the newer root can know.
    let newest = all[2].clone();
    sample.undone(|| {
        roll_back(&sample.archive, &newest, &sample.maildir);
        sample.verify(&["--since", &digests[0]]).expect(0);
        damaged(sample.verify(&["--since", &digests[2]]), "the archive is an older state");
    });
    // What an older root names is gone, but its root is there.
    sample.undone(|| {
        let pack = files(&sample.archive.join("data/packs")).into_iter().next().unwrap();
        fs::remove_file(sample.archive.join("data/packs").join(pack)).unwrap();
        assert_eq!(sample.verify(&["--since", &digests[2]]).code(), 2);
    });
    sample.verify(&["--since", &digests[0]]).expect(0);
}

/// Takes the newest snapshot back as if it had never been made.
fn roll_back(archive: &Path, newest: &Path, maildir: &Maildir) {
    let name = newest.file_name().unwrap().to_str().unwrap();
    let digest = Digest::of(&fs::read(newest).unwrap()).to_string();
    fs::remove_file(newest).unwrap();
    let drop = |file: &str, word: &str| {
        let text = fs::read_to_string(archive.join(file)).unwrap();
        let kept: String = text.lines().filter(|line| !line.contains(word)).map(|line| format!("{line}\n")).collect();
        fs::write(archive.join(file), kept).unwrap();
    };
    drop("manifest-sha256.txt", name);
    drop("events.jsonl", &digest);
    relist(archive);
    assert!(!maildir.items.is_empty());
}

#[test]
fn since_finds_an_item_that_no_pack_holds_any_more() {
    // A pack taken out of a manifest made anew: a quick check of the bag alone has nothing to say.
    let mut sample = Sample::new();
    next_second();
    sample.snapshot();
    let first = root(&roots(&sample.archive)[0]);
    assert!(first["events"].is_string(), "{first}");
    let newest = Digest::of(&fs::read(roots(&sample.archive).pop().unwrap()).unwrap()).to_string();
    let packs = files(&sample.archive.join("data/packs"));
    for pack in packs {
        sample.undone(|| {
            fs::remove_file(sample.archive.join("data/packs").join(&pack)).unwrap();
            fs::remove_dir_all(sample.archive.join("index")).unwrap();
            let manifest = sample.archive.join("manifest-sha256.txt");
            let text = fs::read_to_string(&manifest).unwrap();
            let kept: String =
                text.lines().filter(|line| !line.contains(pack.to_str().unwrap())).map(|line| format!("{line}\n")).collect();
            fs::write(&manifest, kept).unwrap();
            relist(&sample.archive);
            let ran = sample.verify(&["--since", &newest]);
            assert_eq!(ran.code(), 2, "{}: {ran}", pack.display());
            assert!(ran.text().contains("damaged: "), "{ran}");
        });
    }
}

/// Every call that changes the names or the durability of files.
const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat,ftruncate";

#[test]
fn signing_killed_at_each_system_call_that_changes_names_is_done_or_not_and_never_half() {
    if !traces("killing floe sign at every system call") {
        return;
    }
    let sample = Sample::new();
    let key = sample.key("k");
    for n in 1.. {
        let ended = sample.undone(|| {
            let sign = on(&sample.archive, "sign", &["--role", "operator", "--key", key.to_str().unwrap()]);
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")]);
            strace.args(["-e", &format!("inject={CALLS}:signal=SIGKILL:when={n}")]);
            let ran = run(strace.arg(sign.get_program()).args(sign.get_args()));
            if ran.status.signal().is_none() {
                assert_eq!(ran.code(), 0, "{ran}");
                return true;
            }
            let ran = sample.verify(&[]).expect(0);
            assert!(ran.text().matches(" holds").count() <= 1, "{ran}");
            sample.sign(&key, "operator", &[]).expect(0);
            sample.signed_by(&[&public(&key)], &["--full"]).expect(0);
            assert!(!sample.archive.join("pending").exists() && !sample.archive.join("pending.tmp").exists());
            false
        });
        if ended {
            assert!(n > 8, "only {n} calls were traced");
            break;
        }
    }
}
