//! Memory stays bounded whatever the size of a message or of a mailbox.
//!
//! These tests write and read gigabytes, so they run only when asked for, and need a release build to end in sane time:
//! `cargo test --release --test memory -- --ignored --nocapture`

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stdout, reason = "the figures are what one runs this for")]
mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use floe::imap::{Append, Body, Written};
use floe::model::{CollectionPath, Hasher};
use floe::replay::journal::{CollectionName, Journal};
use floe::replay::plan::{Part, Route};
use support::archives::{files, root, roots};
use support::mail::{Maildir, Random, base64_lines, message};
use support::program::{floe, on, snapshot};
use support::servers::{Server, give_to_users};

/// No command may ever need more.
const MAX_MIB: u64 = 300;

/// Runs a command to its end; the most memory that it ever held, in KiB.
#[track_caller]
fn peak(what: &str, command: &mut Command) -> u64 {
    watched(what, command, &mut || {})
}

/// The same, and meanwhile something else is looked at again and again.
#[track_caller]
fn watched(what: &str, command: &mut Command, look: &mut dyn FnMut()) -> u64 {
    let begun = Instant::now();
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        // The kernel keeps the peak itself; it is gone with the process, so it is asked for often.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        look();
        std::thread::sleep(Duration::from_millis(2));
    };
    println!("{what}: {} MiB, {:.1} s", peak >> 10, begun.elapsed().as_secs_f64());
    assert_eq!(code, Some(0), "{what}");
    assert!(peak > 0, "{what}");
    peak
}

/// All commands over one source, which holds so many items; all figures are said before any is judged.
fn all_commands(what: &str, source: &Path, folder: &Path, items: u64) {
    let archive = folder.join("a.floe");
    let out = folder.join("out");
    let commands = [
        ("snapshot", snapshot(&[("anna", source)], &archive)),
        ("snapshot again", snapshot(&[("anna", source)], &archive)),
        ("verify", on(&archive, "verify", &[])),
        ("verify --full", on(&archive, "verify", &["--full"])),
        ("list", on(&archive, "list", &[])),
        ("export", on(&archive, "export", &["--out", out.to_str().unwrap()])),
    ];
    let peaks = commands.map(|(name, mut command)| (name, peak(&format!("{what}, {name}"), &mut command) >> 10));
    assert_eq!(root(&roots(&archive)[0])["ledger"]["captured"], items);
    // Beside the messages lies what the archive knows of them.
    let messages = files(&out).into_iter().filter(|path| path.extension().is_some_and(|e| e == "eml")).count();
    assert_eq!(messages as u64, items);
    let too_much: Vec<_> = peaks.iter().filter(|(_, mib)| *mib >= MAX_MIB).collect();
    assert!(too_much.is_empty(), "{what}: MiB of {too_much:?}");
}

/// Writes a message with an attachment of so many bytes, which repeats itself every 64 MiB; its digest.
fn large_message(path: &Path, bytes: u64, before: &[u8]) -> String {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut hasher = Hasher::new();
    let stretch = format!("{}\n", base64_lines(&Random(7).bytes(57 << 20)));
    file.write_all(before).unwrap();
    let mut put = |text: &[u8]| {
        hasher.update(text);
        file.write_all(text).unwrap();
    };
    put(b"Subject: large\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n");
    for _ in 0..bytes / stretch.len() as u64 {
        put(stretch.as_bytes());
    }
    file.flush().unwrap();
    hasher.finish().to_string()
}

#[test]
#[ignore = "writes and reads 2 GiB several times"]
fn one_message_of_2_gib_in_a_maildir() {
    let folder = tempfile::tempdir().unwrap();
    let maildir = Maildir::new(&folder.path().join("anna"), "anna");
    let digest = large_message(&maildir.path("", "1.large:2,S"), 2 << 30, b"");
    all_commands("a message of 2 GiB", &maildir.root, folder.path(), 1);
    assert!(support::archives::digests(&folder.path().join("out")).contains_key(&digest));
}

#[test]
#[ignore = "writes and reads 2 GiB several times"]
fn one_attachment_of_2_gib_in_an_mbox() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("INBOX.mbox");
    let digest = large_message(&path, 2 << 30, b"From a@b Mon Jan  1 00:00:00 2024\n");
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b"\nFrom a@b Mon Jan  1 00:00:00 2024\nSubject: small\n\nx\n").unwrap();
    all_commands("an attachment of 2 GiB", &path, folder.path(), 2);
    assert!(support::archives::digests(&folder.path().join("out")).contains_key(&digest));
}

fn tiny(n: u32) -> String {
    format!(
        "From: anna@acme.example\nTo: boris@acme.example\nSubject: message {n}\nMessage-ID: <{n}.{}@acme.example>\n\
         Date: Mon, 1 Jan 2024 10:00:00 +0100\n\nThis is message {n}, and it says nothing else than that, {n} times over.\n",
        n.wrapping_mul(2_654_435_761)
    )
}

#[test]
#[ignore = "writes a million messages, and takes them out as a million files"]
fn a_million_tiny_messages_in_an_mbox() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("INBOX.mbox");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    for n in 0..1_000_000 {
        write!(file, "From a@b Mon Jan  1 00:00:00 2024\n{}\n", tiny(n)).unwrap();
    }
    file.flush().unwrap();
    drop(file);
    all_commands("a million messages", &path, folder.path(), 1_000_000);
}

#[test]
#[ignore = "writes and takes out a hundred thousand files"]
fn a_hundred_thousand_messages_in_a_maildir() {
    let folder = tempfile::tempdir().unwrap();
    let maildir = Maildir::new(&folder.path().join("anna"), "anna");
    for n in 0..100_000 {
        fs::write(maildir.path("", &format!("1700.M{n}P1.host:2,S")), tiny(n)).unwrap();
    }
    all_commands("a Maildir of 100,000", &maildir.root, folder.path(), 100_000);
}

/// Messages of the account that is carried over whole.
fn account_messages() -> u32 {
    if std::env::var_os("FLOE_TEST_MILLION").is_some() { 1_000_000 } else { 200_000 }
}

/// How much longer a server itself takes for its last tenth of such messages than for its first, when nothing but APPEND is asked of it.
fn slowdown_of(server: &Server, messages: u32) -> f64 {
    let mut connection = server.connect(2);
    connection.select("INBOX", false).unwrap();
    let mut tenth = |from: u32, count: u32| {
        let begun = Instant::now();
        for start in (from..from + count).step_by(50) {
            let texts: Vec<String> = (start..start + 50).map(|n| tiny(n).replace('\n', "\r\n")).collect();
            let append = |text| Append { flags: &[], date: None, body: Body::Bytes(str::as_bytes(text)) };
            let mut batch: Vec<Append<'_>> = texts.iter().map(|text| append(text)).collect();
            let sent = connection.send_append("INBOX", connection.append_way(), &mut batch).unwrap();
            assert!(connection.finish_append(sent).unwrap().iter().all(|written| matches!(written, Written::Stored(_))));
        }
        begun.elapsed().as_secs_f64()
    };
    let first = tenth(0, messages / 10);
    tenth(messages / 10, messages / 10 * 8);
    tenth(messages / 10 * 9, messages / 10) / first
}

#[test]
#[ignore = "carries 200,000 messages over, or a million with FLOE_TEST_MILLION=1"]
fn a_large_account_is_carried_over_and_compared_in_bounded_memory_at_an_even_pace() {
    let Some(server) = Server::start("dovecot", &["--format", "mdbox"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let messages = account_messages();
    let mut file = BufWriter::new(File::create(path("INBOX.mbox")).unwrap());
    for n in 0..messages {
        write!(file, "From a@b Mon Jan  1 00:00:00 2024\n{}\n", tiny(n)).unwrap();
    }
    file.flush().unwrap();
    drop(file);
    peak("snapshot", &mut snapshot(&[("anna", &path("INBOX.mbox"))], &path("a.floe")));
    let to = format!("imap://127.0.0.1:{}", server.port());
    let planned = floe()
        .arg("plan")
        .arg(path("a.floe"))
        .args(["--to", &to, "--domain", "example.test", "--out"])
        .arg(path("plan.toml"))
        .output();
    assert!(matches!(planned.unwrap().status.code(), Some(0 | 1)));
    give_to_users(&path("plan.toml"), "master", 1);
    fs::write(path("password"), "master-secret\n").unwrap();
    let command = |name: &str| {
        let mut command = floe();
        command
            .arg(name)
            .arg("--plan")
            .arg(path("plan.toml"))
            .args(["--admin", "master", "--password-file"])
            .arg(path("password"));
        command.args(["--ca-file", server.var("CA_FILE")]);
        command
    };

    // How much of it was there when, by the journal.
    let begun = Instant::now();
    let mut there: Vec<(Duration, u32)> = Vec::new();
    let journal = path("plan.journal");
    let inbox = CollectionPath::new(["INBOX"]);
    let route = Route { account: "anna", target: &to, user: "user001@example.test" };
    let name = CollectionName { route, part: Part::Mail, path: &inbox };
    let mut look = || {
        if journal.exists() {
            let found = Journal::look(&journal).and_then(|journal| journal.find(name));
            there.extend(found.ok().flatten().and_then(|c| c.floor).map(|floor| (begun.elapsed(), floor)));
        }
    };
    let mut looked = Instant::now();
    let replay = watched("replay", &mut command("replay"), &mut || {
        if looked.elapsed() > Duration::from_millis(20) {
            look();
            looked = Instant::now();
        }
    });
    look();
    let at = |share: f64| {
        let then = there.iter().find(|(_, n)| f64::from(*n) >= share * f64::from(messages));
        then.unwrap_or_else(|| panic!("{share} of {messages} never came, but {:?}", there.last())).0.as_secs_f64()
    };
    let (first, last) = (at(0.11) - at(0.01), at(0.99) - at(0.89));
    let server_s = slowdown_of(&server, messages);
    println!(
        "{messages} messages: the first tenth took {first:.1} s, the last {last:.1} s; the server itself slows down {server_s:.1} times"
    );
    let again = peak("replay again", &mut command("replay"));
    let validate = peak("validate", command("validate").arg("--report").arg(path("report")));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(path("report/report.json")).unwrap()).unwrap();
    assert_eq!(report["compare"]["all"]["equivalent"], messages, "{}", report["compare"]["all"]);
    for (what, peak) in [("replay", replay), ("replay again", again), ("validate", validate)] {
        assert!(peak >> 10 < MAX_MIB, "{what}: {} MiB", peak >> 10);
    }
    assert!(last < 1.1 * server_s.max(1.0) * first, "the last tenth took {last:.1} s, the first {first:.1} s");
}

#[test]
#[ignore = "unpacks 6 GiB"]
fn a_long_compressed_bomb_is_refused_while_it_is_streamed() {
    let folder = tempfile::tempdir().unwrap();
    let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
    maildir.put("", "1.good:2,S", &message("good", &[7; 3000]));
    // Too long to be held in memory as it lies there, so it is unpacked as a stream.
    let zeros = zstd::bulk::compress(&vec![0u8; 64 << 20], 3).unwrap();
    let bomb = [zstd::bulk::compress(&Random(1).bytes(33 << 20), 1).unwrap(), zeros.repeat(96)].concat();
    fs::write(maildir.path("", "2.bomb,S=10:2,Z"), bomb).unwrap();
    let archive = folder.path().join("a.floe");
    let ran = support::program::run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(1);
    assert!(ran.text().contains("2.bomb") && ran.text().contains("4 GiB"), "{ran}");
    support::archives::holds_exactly(&archive, &maildir.items);
}
