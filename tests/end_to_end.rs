//! The binary from outside: snapshot, verify, export, and the same archive read by programs that are not floe.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/company")
}

fn floe(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_floe")).args(args).output().unwrap()
}

fn snapshot(archive: &str) -> Output {
    let company = fixtures();
    floe(&["snapshot", company.join("anna").to_str().unwrap(), company.join("boris").to_str().unwrap(), "--archive", archive])
}

fn ok(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The SHA-256 that ends each file name under a folder; the file's own bytes must have it.
fn digests(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap().trim_end_matches(".eml").to_owned();
        if entry.file_type().is_file() && name.len() > 64 {
            let want = name[name.len() - 64..].to_owned();
            assert_eq!(floe::model::Digest::of(&fs::read(entry.path()).unwrap()).to_string(), want);
            found.insert(want);
        }
    }
    found
}

#[test]
fn what_goes_in_comes_out_by_floe_and_by_restore_py() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.floe");
    let (out, restored) = (folder.path().join("out"), folder.path().join("restored"));
    let text = ok(snapshot(archive.to_str().unwrap()));
    assert!(text.ends_with(" bytes\n") && text.contains("found 7 = captured 7 + skipped 0 + failed 0"), "{text}");
    ok(floe(&["verify", archive.to_str().unwrap(), "--full"]));
    ok(floe(&["export", archive.to_str().unwrap(), "--out", out.to_str().unwrap()]));
    fs::remove_dir_all(archive.join("index")).unwrap();
    let python = Command::new("python3").arg(archive.join("restore.py")).arg(&archive).arg(&restored).output().unwrap();
    assert!(python.status.success(), "{python:?}");
    assert_eq!(digests(&out).len(), 7);
    assert_eq!(digests(&out), digests(&restored));
    // Python's own mailbox module must agree on the messages of the LF store without quoting traps.
    let mbox = fixtures().join("anna/Projekte/Übergabe & Prüfung.mbox");
    let script = "import mailbox,sys,hashlib\nfor m in mailbox.mbox(sys.argv[1]).values(): pass\nb=mailbox.mbox(sys.argv[1],create=False)\n\
        for k in b.keys(): print(hashlib.sha256(b.get_bytes(k)).hexdigest())";
    let listed = ok(Command::new("python3").args(["-c", script]).arg(mbox).output().unwrap());
    assert_eq!(listed.lines().count(), 2);
    let ours = digests(&out);
    assert!(listed.lines().all(|d| ours.contains(d)), "{listed} {ours:?}");
}

#[test]
fn restore_py_goes_on_after_damage_and_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.floe");
    ok(snapshot(archive.to_str().unwrap()));
    let restore = |args: &[&str]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/archive/restore.py");
        Command::new("python3").arg(script).arg(&archive).args(args).current_dir(folder.path()).output().unwrap()
    };
    ok(restore(&["--check"]));
    let pack = fs::read_dir(archive.join("data/packs")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&pack).unwrap();
    // The seek table at the end is left out: restore.py does not read it.
    for (i, at) in (0..good.len() - 200).step_by(good.len() / 10).enumerate() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&pack, &bad).unwrap();
        assert_eq!(restore(&["--check"]).status.code(), Some(1), "byte {at}");
        let out = folder.path().join(format!("out{i}"));
        let output = restore(&[out.to_str().unwrap(), "--objects"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && text.contains("damaged: pack"), "byte {at}: {output:?}");
        assert!(!text.contains("Traceback") && fs::read_dir(&out).unwrap().count() > 0, "byte {at}: {output:?}");
    }
}

#[test]
fn an_archive_by_another_writer_is_read_by_floe_and_by_restore_py() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR"));
    for interrupted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("made");
        let mut maker = Command::new("python3");
        maker.arg(tools.join("tests/tools/make_archive.py")).arg(&made);
        ok(if interrupted { maker.arg("--pending") } else { &mut maker }.output().unwrap());
        let (archive, out, restored) = (made.join("archive"), folder.path().join("out"), folder.path().join("restored"));
        ok(floe(&["verify", archive.to_str().unwrap(), "--full"]));
        ok(floe(&["export", archive.to_str().unwrap(), "--out", out.to_str().unwrap()]));
        let script = tools.join("src/archive/restore.py");
        ok(Command::new("python3").arg(&script).arg(&archive).arg("--check").output().unwrap());
        ok(Command::new("python3").arg(&script).arg(&archive).arg(&restored).output().unwrap());
        let expected: BTreeSet<String> =
            fs::read_dir(made.join("expected")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(digests(&out), expected);
        assert_eq!(digests(&restored), expected);
    }
}

#[test]
fn stock_tools_check_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.floe");
    ok(snapshot(archive.to_str().unwrap()));
    for manifest in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        ok(Command::new("sha256sum").args(["-c", "--strict", manifest]).current_dir(&archive).output().unwrap());
    }
    let pack = fs::read_dir(archive.join("data/packs")).unwrap().next().unwrap().unwrap().path();
    let listed = ok(Command::new("sh").arg("-c").arg("zstd -dc \"$1\" | tar t").arg("sh").arg(pack).output().unwrap());
    assert!(listed.lines().any(|l| l.starts_with("recipe/")) && listed.ends_with("pack.json\n"), "{listed}");
}

#[test]
fn an_attachment_sent_to_many_is_stored_once_and_a_second_run_stores_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.floe");
    ok(snapshot(archive.to_str().unwrap()));
    let packs = |a: &Path| {
        walkdir::WalkDir::new(a.join("data/packs"))
            .into_iter()
            .filter_map(|e| e.unwrap().metadata().ok())
            .filter(|m| m.is_file())
            .map(|m| m.len())
            .sum::<u64>()
    };
    let first = packs(&archive);
    // One copy of 30,000 random bytes; three would be 90,000.
    assert!((30_000..60_000).contains(&first), "{first}");
    assert!(ok(snapshot(archive.to_str().unwrap())).contains("with 0 new objects"));
    assert_eq!(packs(&archive), first);
}

#[test]
fn wrong_usage_is_64_and_says_what_to_do() {
    assert_eq!(floe(&["snapshot"]).status.code(), Some(64));
    let folder = tempfile::tempdir().unwrap();
    let output = floe(&["verify", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
}

#[test]
fn a_tree_of_accounts_comes_out_with_flags_folders_dates_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let anna = folder.path().join("users/anna");
    let sent = anna.join("Maildir/.&ANw-bergabe");
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(anna.join("Maildir").join(sub)).unwrap();
        fs::create_dir_all(sent.join(sub)).unwrap();
    }
    fs::write(sent.join("dovecot-keywords"), "0 urgent\n").unwrap();
    let mail = sent.join("cur/1.a:2,FSa");
    fs::write(&mail, "Subject: x\n\nbody\n").unwrap();
    let when = std::time::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    fs::File::options().write(true).open(&mail).unwrap().set_modified(when).unwrap();
    fs::create_dir_all(anna.join("papers")).unwrap();
    fs::write(anna.join("papers/plan.txt"), "a plan").unwrap();
    fs::write(folder.path().join("users/stray.txt"), "whose?").unwrap();
    let (archive, out) = (folder.path().join("a.floe"), folder.path().join("out"));
    let text = ok(floe(&["snapshot", folder.path().join("users").to_str().unwrap(), "--archive", archive.to_str().unwrap()]));
    assert!(text.contains("found 3 = captured 2 + skipped 1 + failed 0"), "{text}");
    ok(floe(&["export", archive.to_str().unwrap(), "--out", out.to_str().unwrap()]));
    assert_eq!(fs::read(out.join("anna/files/papers/plan.txt")).unwrap(), b"a plan");
    let mails: Vec<_> = fs::read_dir(out.join("anna/mail/Übergabe")).unwrap().map(|e| e.unwrap()).collect();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].metadata().unwrap().modified().unwrap(), when);
    let restored = folder.path().join("restored");
    ok(Command::new("python3").arg(archive.join("restore.py")).arg(&archive).arg(&restored).output().unwrap());
    let line = fs::read_to_string(restored.join("anna/placements.jsonl")).unwrap();
    for part in [r#""flags": ["\\Flagged", "\\Seen"]"#, r#""keywords": ["urgent"]"#, r#""rule": "mtime""#] {
        assert!(line.contains(part), "{part} in {line}");
    }
}
