//! The commands from outside: help, JSON, verdicts, pipes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::CommandFactory as _;
use serde_json::Value;

fn floe(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_floe")).args(args).env("COLUMNS", "100").output().unwrap()
}

fn ok(args: &[&str]) -> String {
    let output = floe(args);
    assert!(output.status.success(), "{args:?} {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(args)).unwrap()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acme")
}

/// An archive of the fixtures.
fn archive() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.floe").to_str().unwrap().to_owned();
    ok(&["snapshot", fixtures().to_str().unwrap(), "--archive", &path]);
    (dir, path)
}

/// The help of all commands is read in review. To renew the file after a change: `RENEW_HELP=1 cargo test --test cli help`
#[test]
fn help_is_what_the_committed_file_says() {
    let mut text = ok(&["--help"]);
    for command in floe::cli::Cli::command().get_subcommands() {
        text.push_str(&format!("\n\n=== floe {} ===\n\n{}", command.get_name(), ok(&[command.get_name(), "--help"])));
    }
    let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    if std::env::var_os("RENEW_HELP").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let want = fs::read_to_string(&file).unwrap_or_default();
    assert!(text == want, "the help has changed; read it, then renew tests/help.txt: RENEW_HELP=1 cargo test --test cli help");
}

#[test]
fn every_command_says_in_one_line_what_it_does_and_gives_an_example() {
    for command in floe::cli::Cli::command().get_subcommands() {
        let (name, short) = (command.get_name(), command.get_about().unwrap().to_string());
        let long = command.get_long_about().unwrap().to_string();
        assert!(!short.ends_with('.') && !short.contains('\n') && short.starts_with(char::is_uppercase), "{name}: {short}");
        assert!(long.contains(&format!("Example: floe {name}")), "{name}: {long}");
    }
}

#[test]
fn json_is_the_only_thing_on_standard_output() {
    let (dir, archive) = archive();
    let taken = json(&["snapshot", fixtures().to_str().unwrap(), "--archive", &archive, "--json", "--reread"]);
    assert_eq!((&taken["ledger"]["captured"], &taken["failed"], &taken["new_objects"]), (&37.into(), &0.into(), &0.into()));
    let id = taken["snapshot"].as_str().unwrap();
    assert!(id.ends_with(&taken["sha256"].as_str().unwrap()[..12]), "{taken}");
    assert!(taken["verdict"].as_str().unwrap().starts_with("PASS: 37 items"), "{taken}");
    assert_eq!(json(&["verify", &archive, "--full", "--json"])["damage"], Value::Array(vec![]));
    assert_eq!(json(&["list", &archive, "--json"])["accounts"][0]["account"], "anna");
    assert_eq!(json(&["list", &archive, "--snapshots", "--json"]).as_array().unwrap().len(), 2);
    let out = dir.path().join("out");
    assert_eq!(json(&["export", &archive, "--out", out.to_str().unwrap(), "--json"])["written"], 37);
    json(&["identify", fixtures().to_str().unwrap(), "--json"]);
    for line in ok(&["list", &archive, "--collection", "INBOX", "--json"]).lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["collection"], "INBOX");
    }
}

#[test]
fn list_shows_snapshots_collections_and_items() {
    let (_dir, archive) = archive();
    let all = ok(&["list", &archive]);
    for part in ["snapshot 2", "4 accounts", "Kunden/Müller & Söhne", "calendar     Kalender", "anna"] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert_eq!(ok(&["list", &archive, "--snapshots"]).lines().count(), 1);
    let items = ok(&["list", &archive, "--account", "anna", "--collection", "INBOX"]);
    assert_eq!(items.lines().count(), 7, "{items}");
    assert!(items.contains("<2@acme.example>  \\Answered \\Seen"), "{items}");
    assert_eq!(ok(&["list", &archive, "--exceptions"]), "", "the fixtures have none");
    assert_eq!(floe(&["list", &archive, "--collection", "Nowhere"]).status.code(), Some(64));
    assert_eq!(floe(&["list", &archive, "--account", "nobody"]).status.code(), Some(64));
}

#[test]
fn what_was_left_out_is_listed_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (mail, archive) = (dir.path().join("mail"), dir.path().join("a.floe").to_str().unwrap().to_owned());
    fs::create_dir_all(mail.join("sub")).unwrap();
    for name in ["one.eml", "sub/two.eml"] {
        fs::write(mail.join(name), format!("From: a@b\nSubject: {name}\n\nx\n")).unwrap();
    }
    std::os::unix::fs::symlink("two.eml", mail.join("sub/link.eml")).unwrap();
    ok(&["snapshot", "--account", &format!("anna={}", mail.display()), "--archive", &archive]);
    let listed = ok(&["list", &archive, "--exceptions"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(["anna", "link.eml", "skipped"].iter().all(|part| listed.contains(part)), "{listed}");
    let row: Value = serde_json::from_str(&ok(&["list", &archive, "--exceptions", "--json"])).unwrap();
    assert_eq!((&row["account"], &row["outcome"]), (&"anna".into(), &"skipped".into()), "{row}");
    assert!(row["source"]["path"].as_str().unwrap().ends_with("link.eml"), "{row}");
}

#[test]
fn show_gives_exact_bytes_to_programs_and_takes_the_beginning_of_a_digest() {
    let (_dir, archive) = archive();
    let line = ok(&["manifest", &archive, "--format", "jsonl", "--account", "anna"]);
    let first: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let digest = first["sha256"].as_str().unwrap();
    let bytes = floe(&["show", &archive, digest]).stdout;
    assert_eq!(floe::model::Digest::of(&bytes).to_string(), digest);
    assert_eq!(floe(&["show", &archive, &digest[..8].to_uppercase(), "--raw"]).stdout, bytes);
    assert!(ok(&["show", &archive, &digest[..12], "--text"]).starts_with("From: anna@acme.example\n"));
    for bad in ["0123456", "not hex!!", &"0".repeat(63), &format!("{digest}0")] {
        assert_eq!(floe(&["show", &archive, bad]).status.code(), Some(64), "{bad}");
    }
    assert_eq!(floe(&["show", &archive, &"0".repeat(64)]).status.code(), Some(2));
}

#[test]
fn manifests_have_a_row_an_item() {
    let (_dir, archive) = archive();
    let table = ok(&["manifest", &archive, "--format", "csv"]);
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let columns: Vec<String> = rows.headers().unwrap().iter().map(str::to_owned).collect();
    assert!(columns.starts_with(&["account".into(), "collection".into(), "kind".into(), "sha256".into(), "size".into()]));
    assert_eq!(rows.records().map(Result::unwrap).count(), 37);
    assert_eq!(ok(&["manifest", &archive, "--format", "jsonl", "--account", "carla"]).lines().count(), 8);
    assert_eq!(floe(&["manifest", &archive, "--format", "csv", "--account", "nobody"]).status.code(), Some(64));
}

#[test]
fn diff_names_what_is_new_gone_moved_and_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, archive) = (dir.path().join("m"), dir.path().join("a.floe").to_str().unwrap().to_owned());
    for folder in ["cur", "new", "tmp", ".Old/cur", ".Old/new", ".Old/tmp", ".Same/cur", ".Same/new", ".Same/tmp"] {
        fs::create_dir_all(store.join(folder)).unwrap();
    }
    let mail = |name: &str, id: &str| fs::write(store.join(name), format!("Message-ID: <{id}@x>\n\nbody\n")).unwrap();
    mail("cur/1:2,", "stays");
    mail("cur/2:2,S", "moves");
    mail("cur/3:2,", "goes");
    mail(".Same/cur/9:2,S", "same");
    let account = format!("anna={}", store.display());
    let take =
        || json(&["snapshot", "--account", &account, "--archive", &archive, "--json"])["snapshot"].as_str().unwrap().to_owned();
    let first = take();
    fs::rename(store.join("cur/1:2,"), store.join("cur/1:2,FS")).unwrap();
    fs::rename(store.join("cur/2:2,S"), store.join(".Old/cur/2:2,S")).unwrap();
    fs::remove_file(store.join("cur/3:2,")).unwrap();
    mail("new/4", "comes");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = take();
    let found = json(&["diff", &archive, &first, &second, "--json"]);
    let counts = ["new", "gone", "moved", "changed"].map(|what| found[what].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1, 1], "{found}");
    assert_eq!(found["collections"].as_array().unwrap().len(), 2, "the folder that is the same is not named: {found}");
    let inbox = found["collections"].as_array().unwrap().iter().find(|c| c["collection"] == "INBOX").unwrap();
    assert_eq!((&inbox["new"][0]["name"], &inbox["gone"][0]["name"]), (&"<comes@x>".into(), &"<goes@x>".into()), "{found}");
    assert_eq!(inbox["changed"][0]["what"], serde_json::json!(["+\\Flagged", "+\\Seen"]), "{found}");
    let text = ok(&["diff", &archive, &first, &second]);
    assert!(text.contains("from INBOX") && text.ends_with("1 new, 1 gone, 1 moved, 1 changed\n"), "{text}");
    assert_eq!(ok(&["diff", &archive, &first, &first]), "the snapshots hold the same\n");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_quietly() {
    let (_dir, archive) = archive();
    for args in [
        vec!["list", &archive],
        vec!["manifest", &archive, "--format", "csv"],
        vec!["man"],
        vec!["completions", "zsh"],
        vec!["show", &archive, "x"],
    ] {
        let mut child =
            Command::new(env!("CARGO_BIN_EXE_floe")).args(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        if args[0] == "show" {
            continue;
        }
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}: {output:?}");
    }
}

#[test]
fn every_failure_ends_in_its_exit_code_and_a_word() {
    let (dir, archive) = archive();
    let last = |output: &Output| String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    let missing = floe(&["list", dir.path().join("nothing").to_str().unwrap()]);
    assert_eq!((missing.status.code(), last(&missing)), (Some(64), "FAIL".into()));
    assert_eq!(floe(&["verify", &archive, "--quick", "--full"]).status.code(), Some(64));
    let pack = fs::read_dir(Path::new(&archive).join("data/packs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let damaged = floe(&["verify", &archive, "--json"]);
    assert_eq!((damaged.status.code(), last(&damaged)), (Some(2), "FAIL".into()));
    let report: Value = serde_json::from_slice(&damaged.stdout).unwrap();
    assert!(
        report["verdict"].as_str().unwrap().starts_with("FAIL") && !report["damage"].as_array().unwrap().is_empty(),
        "{report}"
    );
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let dir = tempfile::tempdir().unwrap();
    ok(&["man", "--out", dir.path().to_str().unwrap()]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(ok(&["completions", shell]).contains("snapshot"), "{shell}");
    }
    let all = ok(&["man"]);
    for command in floe::cli::Cli::command().get_subcommands() {
        let name = command.get_name();
        assert!(dir.path().join(format!("floe-{name}.1")).is_file(), "{name}");
        assert!(all.contains(&format!(".TH floe-{name}")), "{name}");
    }
}
