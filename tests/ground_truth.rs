//! Made-up mail stores of every format: what floe says of each message must be what the maker of the store knows of it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; what is skipped is said")]
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use floe::model::{Digest, Hasher};
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

/// What is known of a message, the same from the maker and from floe.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    sha256: String,
    size: u64,
    /// Digest of the message without the header lines in which mboxes keep state; the maker knows it of mboxes only.
    stateless: Option<String>,
    flags: Vec<String>,
    keywords: Vec<String>,
    date: String,
    message_id: Option<String>,
    uid: Option<u64>,
    /// Quoted lines were kept as stored, says floe.
    kept: Same<bool>,
    /// File, offset and length in an mbox.
    place: Same<(String, usize, usize)>,
}

/// What the maker does not say, so that it is not compared.
#[derive(Debug)]
struct Same<T>(T);

impl<T> PartialEq for Same<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Same<T> {}

/// By account and folder, in the order of the store.
type Folders = BTreeMap<(String, String), Vec<Facts>>;

fn facts(line: &Value, stateless: Option<String>, date: &Value, uid: &Value) -> Facts {
    let number = |name: &str| usize::try_from(line["source"][name].as_u64().unwrap_or_default()).unwrap();
    let path = line["source"]["path"].as_str().unwrap_or_default().to_owned();
    Facts {
        sha256: line["sha256"].as_str().unwrap().to_owned(),
        size: line["size"].as_u64().unwrap(),
        stateless,
        flags: sorted(&line["flags"]),
        keywords: sorted(&line["keywords"]),
        date: date.as_str().unwrap().chars().take(19).collect(),
        message_id: line["message_id"].as_str().map(|id| id.trim_matches(['<', '>']).to_owned()).filter(|id| !id.is_empty()),
        uid: uid.as_u64(),
        kept: Same(sorted(&line["notes"]).iter().any(|note| note.ends_with("kept as stored"))),
        place: Same((path, number("offset"), number("length"))),
    }
}

fn stateless(message: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    let mut at = 0;
    for range in floe::mime::state_lines(message) {
        hasher.update(&message[at..range.start]);
        at = range.end;
    }
    hasher.update(&message[at..]);
    hasher.finish()
}

/// What the maker says of stores called `part`.
fn wanted(store: &Path, part: &str) -> Folders {
    let mut wanted = Folders::new();
    for line in lines(&store.join("ground-truth.jsonl")) {
        let place = (line["account"].as_str().unwrap().to_owned(), line["folder"].as_str().unwrap().to_owned());
        let stateless = (part == "mbox").then(|| line["sha256_nometa"].as_str().unwrap().to_owned());
        wanted.entry(place).or_default().push(facts(&line, stateless, &line["internal_date"], &line["uid"]));
    }
    wanted
}

/// What floe says after a snapshot of all accounts' stores called `part`, read with restore.py.
fn got(store: &Path, part: &str) -> Folders {
    let folder = tempfile::tempdir().unwrap();
    let (archive, out) = (folder.path().join("a.floe"), folder.path().join("out"));
    let mut snapshot = Command::new(env!("CARGO_BIN_EXE_floe"));
    snapshot.arg("snapshot").arg("--archive").arg(&archive);
    for user in fs::read_dir(store.join("users")).unwrap().map(Result::unwrap) {
        let named: OsString = [user.file_name(), "=".into(), user.path().join(part).into()].into_iter().collect();
        snapshot.arg("--account").arg(named);
    }
    run(&mut snapshot);
    run(Command::new("python3").arg(archive.join("restore.py")).arg(&archive).arg(&out));
    let mut got = Folders::new();
    for account in fs::read_dir(&out).unwrap().map(Result::unwrap) {
        for line in lines(&account.path().join("placements.jsonl")) {
            let names: Vec<&str> = line["collection"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let place = (account.file_name().into_string().unwrap(), names.join("/"));
            let message = fs::read(out.join(line["file"].as_str().unwrap())).unwrap();
            assert_eq!(Digest::of(&message).to_string(), line["sha256"].as_str().unwrap());
            let stateless = (part == "mbox").then(|| stateless(&message).to_string());
            got.entry(place).or_default().push(facts(&line, stateless, &line["date"]["at"], &line["source"]["uid"]));
        }
    }
    got
}

fn compare(store: &Path, part: &str, what: &str) {
    let (wanted, got) = (wanted(store, part), got(store, part));
    for (folder, messages) in &wanted {
        let found = got.get(folder).unwrap_or_else(|| panic!("{what}: no folder {folder:?}"));
        let root = store.join("users").join(&folder.0).join(part);
        let different: Vec<_> = messages
            .iter()
            .zip(found)
            .filter(|(want, is)| want != is && !((what.starts_with("mboxo") || is.kept.0) && only_quotes_differ(want, is, &root)))
            .collect();
        assert!(different.is_empty(), "{what} {folder:?}: {} differ, such as {:#?}", different.len(), different[0]);
        assert_eq!(messages.len(), found.len(), "{what} {folder:?}");
    }
    assert_eq!(wanted.len(), got.len(), "{what}: {:?}", got.keys());
}

/// A writer of mboxo leaves `>From ` as it is and makes `From ` look the same, which nobody can undo; and where floe does
/// not know the dialect it keeps the lines and says so. Is the message right but for such lines?
fn only_quotes_differ(want: &Facts, is: &Facts, root: &Path) -> bool {
    let (path, offset, length) = is.place.0.clone();
    let file = fs::read(root.join(path)).unwrap();
    let stored = &file[offset..][..length];
    let is_quoted = |at: &usize| {
        let line = &stored[*at..];
        line[line.iter().take_while(|b| **b == b'>').count()..].starts_with(b"From ")
    };
    let quoted: Vec<usize> = memchr::memmem::find_iter(stored, b"\n>").map(|at| at + 1).filter(is_quoted).collect();
    assert!(quoted.len() < 16, "too many lines to try");
    let undone = |which: usize| {
        let mut message = stored.to_vec();
        for (_, at) in quoted.iter().enumerate().rev().filter(|(n, _)| which >> n & 1 == 1) {
            message.remove(*at);
        }
        message
    };
    let rest_is_right =
        (&want.flags, &want.keywords, &want.date, &want.message_id) == (&is.flags, &is.keywords, &is.date, &is.message_id);
    rest_is_right && (0..1usize << quoted.len()).any(|which| Digest::of(&undone(which)).to_string() == want.sha256)
}

/// The formats with the name of their folder.
const KINDS: [(&str, &str, &[&str]); 11] = [
    ("Maildir", "maildir", &[]),
    ("Maildir", "maildir crlf", &["--eol", "crlf"]),
    ("eml", "eml", &["--format", "eml"]),
    ("mbox", "mboxo lf", &["--format", "mbox", "--mbox-variant", "mboxo"]),
    ("mbox", "mboxo crlf", &["--format", "mbox", "--mbox-variant", "mboxo", "--eol", "crlf"]),
    ("mbox", "mboxrd lf", &["--format", "mbox", "--mbox-variant", "mboxrd"]),
    ("mbox", "mboxrd crlf", &["--format", "mbox", "--mbox-variant", "mboxrd", "--eol", "crlf"]),
    ("mbox", "mboxcl lf", &["--format", "mbox", "--mbox-variant", "mboxcl"]),
    ("mbox", "mboxcl crlf", &["--format", "mbox", "--mbox-variant", "mboxcl", "--eol", "crlf"]),
    ("mbox", "mboxcl2 lf", &["--format", "mbox", "--mbox-variant", "mboxcl2"]),
    ("mbox", "mboxcl2 crlf", &["--format", "mbox", "--mbox-variant", "mboxcl2", "--eol", "crlf"]),
];

#[test]
fn every_message_of_every_format_is_found_with_its_state() {
    let maker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/mailstore.py");
    for (part, what, args) in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        run(Command::new("python3")
            .arg(&maker)
            .arg("--out")
            .arg(&store)
            .args(["--users", "2", "--messages", "60", "--max-attachment", "50000", "--no-groupware"])
            .args(args));
        compare(&store, part, what);
    }
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let args = ["--users", "1", "--messages", "40", "--max-attachment", "5000", "--no-groupware", "--utf8-names"];
    run(Command::new("python3").arg(&maker).arg("--out").arg(&store).args(args));
    compare(&store, "Maildir", "maildir with names in UTF-8");
}

/// The folder of real mail: `FLOE_CORPUS` names it; by default it lies beside the project.
fn corpus() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    std::env::var_os("FLOE_CORPUS").map_or(beside, PathBuf::from)
}

#[test]
fn stores_made_of_real_mail_are_read_as_their_maker_knows_them() {
    let maker = corpus().join("make_mailstore.py");
    if !maker.is_file() {
        println!("skipped: no test corpus at {}", corpus().display());
        return;
    }
    for (part, what, args) in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        run(Command::new("python3")
            .arg(&maker)
            .arg("--out")
            .arg(&store)
            .args(["--users", "3", "--messages-per-user", "100", "--attachments", "0.05"])
            .args(args));
        compare(&store, part, what);
    }
}
