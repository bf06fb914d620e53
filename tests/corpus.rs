//! The test corpus, archive by archive: every file of it goes into an archive and comes out again with the bytes it had.
//!
//! The corpus is not part of the project. `FLOE_CORPUS` names its folder; by default it lies beside the project. Without it
//! these tests say so and pass.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; what is skipped is said")]
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use floe::model::Digest;
use serde_json::Value;

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let folder = std::env::var_os("FLOE_CORPUS").map_or(beside, PathBuf::from);
    let there = folder.join("MANIFEST.tsv.gz").is_file();
    if !there {
        println!("skipped: no test corpus at {}", folder.display());
    }
    there.then_some(folder)
}

/// SHA-256 by path, for each archive.
fn manifest(corpus: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let file = fs::File::open(corpus.join("MANIFEST.tsv.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut archives: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let [archive, path, _, sha256, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        archives.entry(archive.to_owned()).or_default().insert(path.to_owned(), sha256.to_owned());
    }
    archives
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The path of a place in bytes, also when it is not UTF-8.
fn path_of(place: &Value) -> String {
    let bytes = place["path_bytes"].as_str().map(|b| base64::engine::general_purpose::STANDARD.decode(b).unwrap());
    bytes.map_or_else(|| place["path"].as_str().unwrap().to_owned(), |b| String::from_utf8_lossy(&b).into_owned())
}

/// What mail servers keep beside mail for themselves, and Thunderbird's indexes.
fn is_server_data(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    let in_maildir = ["/cur/", "/new/", "/tmp/"].iter().any(|sub| path.contains(sub));
    ["dovecot-", "dovecot.", "courierimap"].iter().any(|start| name.starts_with(start))
        || ["subscriptions", "maildirsize", "maildirfolder"].contains(&name)
        || in_maildir && name.starts_with('.')
        || name.ends_with(".msf")
}

/// Everything that a snapshot of `root` as one account says and gives back.
struct Taken {
    /// Placements and exceptions by file.
    by_file: BTreeMap<String, Vec<Value>>,
    /// Digests of files kept whole besides their items.
    originals: BTreeSet<String>,
    items: usize,
}

/// `each` sees the placement and the bytes of every item.
fn take(root: &Path, what: &str, mut each: impl FnMut(&Value, &[u8])) -> Taken {
    let folder = tempfile::tempdir().unwrap();
    let (archive, out) = (folder.path().join("a.floe"), folder.path().join("out"));
    let mut named = std::ffi::OsString::from("corpus=");
    named.push(root);
    let mut snapshot = Command::new(env!("CARGO_BIN_EXE_floe"));
    let output = snapshot.arg("snapshot").arg("--account").arg(named).arg("--archive").arg(&archive).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{what}: {output:?}");
    let restore = Command::new("python3").arg(archive.join("restore.py")).arg(&archive).arg(&out).output().unwrap();
    assert!(restore.status.success(), "{what}: {restore:?}");

    let mut taken = Taken { by_file: BTreeMap::new(), originals: BTreeSet::new(), items: 0 };
    for line in lines(&out.join("corpus/placements.jsonl")) {
        let bytes = fs::read(out.join(line["file"].as_str().unwrap())).unwrap();
        assert_eq!(Digest::of(&bytes).to_string(), line["sha256"].as_str().unwrap(), "{what}: {line}");
        taken.items += 1;
        each(&line, &bytes);
        taken.by_file.entry(path_of(&line["source"])).or_default().push(line);
    }
    for line in lines(&out.join("corpus/exceptions.jsonl")).into_iter().chain(lines(&out.join("exceptions.jsonl"))) {
        taken.by_file.entry(path_of(&line["source"])).or_default().push(line);
    }
    for entry in walkdir::WalkDir::new(&out).into_iter().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("original-") {
            taken.originals.insert(Digest::of(&fs::read(entry.path()).unwrap()).to_string());
        }
    }
    taken
}

/// Is it what may stand between two messages: an empty line, a From_ line, an MMDF mark?
fn is_separator(gap: &[u8]) -> bool {
    let gap = gap.strip_prefix(b"\xef\xbb\xbf").unwrap_or(gap);
    gap.split(|b| matches!(b, b'\n' | b'\r'))
        .all(|line| line.trim_ascii().is_empty() || line.starts_with(b"From ") || line == b"\x01\x01\x01\x01")
}

/// What is wrong with how a file was taken; `None` if nothing is.
fn fault(file: &Path, path: &str, sha256: &str, taken: &Taken) -> Option<String> {
    let Some(lines) = taken.by_file.get(path) else {
        let empty_mbox = path.ends_with(".mbox") && is_separator(&fs::read(file).unwrap());
        let known = is_server_data(path) || empty_mbox || taken.originals.contains(sha256);
        return (!known).then(|| "missing".to_owned());
    };
    if taken.originals.contains(sha256) {
        return None;
    }
    let stored = |line: &Value| line["stored"]["sha256"].as_str().or(line["sha256"].as_str()).map(ToOwned::to_owned);
    let bytes = fs::read(file).unwrap();
    let mut end = 0;
    for line in lines {
        let (Some(offset), Some(length)) = (line["source"]["offset"].as_u64(), line["source"]["length"].as_u64()) else {
            return match stored(line) {
                Some(found) if found == sha256 => None,
                Some(found) => Some(format!("has the digest {found}")),
                None => None,
            };
        };
        let (offset, length) = (usize::try_from(offset).unwrap(), usize::try_from(length).unwrap());
        let slice = bytes.get(offset..offset + length)?;
        if stored(line).is_some_and(|found| found != Digest::of(slice).to_string()) {
            return Some(format!("the slice at {offset} differs"));
        }
        if offset < end || !is_separator(&bytes[end..offset]) {
            return Some(format!("something is lost between {end} and {offset}"));
        }
        end = offset + length;
    }
    (!is_separator(&bytes[end..])).then(|| format!("something is lost after {end}"))
}

/// Stores that are taken without a question, and the messages that must be found in them.
const NO_QUESTION: [(&str, u64); 9] = [
    ("cypherpunks-mbox", 976),
    ("enron-bailey-eml", 1662),
    ("enron-maildir", 1932),
    ("linux-mips-list", 4243),
    ("lkml-maildir", 140),
    ("phishing-pot", 609),
    ("spamassassin", 4505),
    ("zimbra-testmail", 1245),
    ("dovecot-made", 480),
];

fn messages_found_without_a_question(root: &Path) -> u64 {
    let output = Command::new(env!("CARGO_BIN_EXE_floe")).args(["identify", "--json"]).arg(root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let collections = found["collections"].as_array().unwrap().iter();
    collections.filter(|c| c["kind"] == "mail").map(|c| c["items"].as_u64().unwrap()).sum()
}

#[test]
fn every_file_of_the_corpus_comes_out_as_it_went_in() {
    let Some(corpus) = corpus() else { return };
    let mut faults = Vec::new();
    for (archive, files) in manifest(&corpus) {
        // Calendars and contacts have tests of their own.
        if archive.starts_with("f-") {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let unpacked = Command::new("tar").arg("-xf").arg(corpus.join(&archive)).arg("-C").arg(folder.path()).status().unwrap();
        assert!(unpacked.success(), "{archive}");
        let name = files.keys().next().unwrap().split('/').next().unwrap().to_owned();
        let root = folder.path().join(&name);
        let started = std::time::Instant::now();
        if let Some((_, want)) = NO_QUESTION.iter().find(|(known, _)| *known == name) {
            let found = messages_found_without_a_question(&root);
            assert!(found >= *want, "{archive}: {found} messages instead of {want}");
        }
        let taken = take(&root, &archive, |_, _| ());
        let mut bad = 0;
        for (path, sha256) in &files {
            let below = path.strip_prefix(&format!("{name}/")).unwrap();
            if let Some(fault) = fault(&folder.path().join(path), below, sha256, &taken) {
                faults.push(format!("{path}: {fault}"));
                bad += 1;
            }
        }
        println!("{archive}: {} files, {} items, {bad} faults, {:?}", files.len(), taken.items, started.elapsed());
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A message with LF line ends and, from an mbox, without the lines that Dovecot adds to it.
fn as_appended(message: &[u8], mbox: bool) -> Vec<u8> {
    const ADDED: [&str; 7] = ["Status:", "X-Status:", "X-Keywords:", "X-UID:", "X-IMAPbase:", "X-IMAP:", "Content-Length:"];
    let mut out = Vec::new();
    let (mut header, mut added) = (true, false);
    for line in message.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\r\n").map_or(line.to_vec(), |text| [text, b"\n"].concat());
        header &= text != b"\n";
        let folded = matches!(text.first(), Some(b' ' | b'\t'));
        added = mbox && header && (folded && added || !folded && ADDED.iter().any(|name| text.starts_with(name.as_bytes())));
        if !added {
            out.extend(text);
        }
    }
    out
}

/// Folder, UID, flags, keywords, date, digest.
type Appended = (String, u64, BTreeSet<String>, BTreeSet<String>, i64, String);

fn words(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).filter(|v| v != "\\Recent").collect()
}

#[test]
fn stores_that_dovecot_made_are_read_as_it_was_told_to_make_them() {
    let Some(corpus) = corpus() else { return };
    let folder = tempfile::tempdir().unwrap();
    let archive = corpus.join("d-mail-stores/dovecot-made.tar.zst");
    assert!(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path()).status().unwrap().success());
    for layout in ["maildirpp", "maildir-fs-utf8", "maildir-gz", "maildir-crlf", "mbox"] {
        let root = folder.path().join("dovecot-made").join(layout);
        let appended = |line: &Value| -> Appended {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            let (uid, date) = (line["uid"].as_u64().unwrap(), line["internaldate_unix"].as_i64().unwrap());
            (text("folder"), uid, words(&line["flags"]), words(&line["keywords"]), date, text("sha256_lf"))
        };
        let want: BTreeSet<Appended> = lines(&root.join("GROUND-TRUTH.jsonl")).iter().map(appended).collect();
        let mut got: BTreeSet<Appended> = BTreeSet::new();
        take(&root, layout, |line, bytes| {
            // Plain files beside the mail have none.
            let Some(uid) = line["source"]["uid"].as_u64() else { return };
            let names: Vec<&str> = line["collection"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
            let at: jiff::Timestamp = line["date"]["at"].as_str().unwrap().parse().unwrap();
            let digest = Digest::of(&as_appended(bytes, layout == "mbox")).to_string();
            got.insert((names.join("/"), uid, words(&line["flags"]), words(&line["keywords"]), at.as_second(), digest));
        });
        // Into an mbox Dovecot wrote some messages changed: with an end to the last line, without state lines of their own.
        let changed = want.difference(&got).count();
        assert!(changed == 0 || layout == "mbox" && changed <= 16, "{layout}: {changed} messages have other bytes");
        let but_bytes = |set: &BTreeSet<Appended>| -> BTreeSet<Appended> {
            let digest = String::new();
            set.iter().map(|m| (m.0.clone(), m.1, m.2.clone(), m.3.clone(), m.4, digest.clone())).collect()
        };
        let (want, got) = (but_bytes(&want), but_bytes(&got));
        let differ: Vec<_> = want.symmetric_difference(&got).collect();
        assert!(
            differ.is_empty(),
            "{layout}: {} of {} differ, such as {:#?}",
            differ.len(),
            want.len(),
            differ.iter().take(2).collect::<Vec<_>>()
        );
        println!("{layout}: {} messages as told", want.len());
    }
}
