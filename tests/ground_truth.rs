//! Made-up mail stores in every mbox dialect: what floe says of each message must be what the maker of the store knows of it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sorted(value: &Value) -> Vec<String> {
    let mut texts: Vec<String> =
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str()).map(ToOwned::to_owned).collect();
    texts.sort();
    texts
}

/// What is known of a message, the same from the maker and from floe: digest, size, flags, keywords, date, Message-ID.
type Facts = (String, u64, Vec<String>, Vec<String>, String, String);

fn facts(line: &Value, date: &str) -> Facts {
    (
        line["sha256"].as_str().unwrap().to_owned(),
        line["size"].as_u64().unwrap(),
        sorted(&line["flags"]),
        sorted(&line["keywords"]),
        date.chars().take(19).collect(),
        line["message_id"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn every_message_of_every_mbox_dialect_is_found_with_its_state() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for variant in ["mboxo", "mboxrd", "mboxcl", "mboxcl2"] {
        for eol in ["lf", "crlf"] {
            let folder = tempfile::tempdir().unwrap();
            let (store, archive, out) = (folder.path().join("store"), folder.path().join("a.floe"), folder.path().join("out"));
            run(Command::new("python3").arg(root.join("tests/tools/mailstore.py")).arg("--out").arg(&store).args([
                "--users",
                "2",
                "--messages",
                "60",
                "--max-attachment",
                "50000",
                "--no-groupware",
                "--format",
                "mbox",
                "--mbox-variant",
                variant,
                "--eol",
                eol,
            ]));
            let mut snapshot = Command::new(env!("CARGO_BIN_EXE_floe"));
            snapshot.arg("snapshot").arg("--archive").arg(&archive);
            for user in fs::read_dir(store.join("users")).unwrap().map(Result::unwrap) {
                let named = format!("{}={}", user.file_name().to_str().unwrap(), user.path().join("mbox").display());
                snapshot.arg("--account").arg(named);
            }
            run(&mut snapshot);
            run(Command::new("python3").arg(archive.join("restore.py")).arg(&archive).arg(&out));

            // By account and folder, in the order of the store.
            let mut wanted: BTreeMap<(String, String), Vec<Facts>> = BTreeMap::new();
            for line in lines(&store.join("ground-truth.jsonl")) {
                let place = (line["account"].as_str().unwrap().to_owned(), line["folder"].as_str().unwrap().to_owned());
                wanted.entry(place).or_default().push(facts(&line, line["internal_date"].as_str().unwrap()));
            }
            let mut got: BTreeMap<(String, String), Vec<Facts>> = BTreeMap::new();
            for account in fs::read_dir(&out).unwrap().map(Result::unwrap) {
                for line in lines(&account.path().join("placements.jsonl")) {
                    let names: Vec<&str> = line["collection"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                    let place = (account.file_name().into_string().unwrap(), names.join("/"));
                    got.entry(place).or_default().push(facts(&line, line["date"]["at"].as_str().unwrap()));
                }
            }
            assert_eq!(wanted, got, "{variant} {eol}");
        }
    }
}
