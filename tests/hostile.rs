//! Hostile sources and hostile archives: no crash, no escape from a folder, nothing that drives a terminal, bounded memory and time,
//! and every item that is sound comes out byte for byte.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use floe::model::Digest;
use support::archives::{exported, files, holds_exactly, root, roots};
use support::mail::{Maildir, Random, message};
use support::program::{Ran, limited, on, run, snapshot};

/// No run may need more address space, in KiB.
const MEMORY: &str = "-v 2000000";

/// Runs it with bounded memory; what it says must be fit for a console.
#[track_caller]
fn bounded(command: &Command) -> Ran {
    run(&mut limited(MEMORY, command)).expect_harmless()
}

/// Takes an archive out and holds it to leaving nothing outside its folder; the digests of what came out.
#[track_caller]
fn taken_out(program: &mut Command, root: &Path, out: &Path) -> (BTreeSet<String>, Ran) {
    let before: BTreeSet<_> = files(root).into_iter().collect();
    let ran = run(&mut limited(MEMORY, program));
    let inside = out.strip_prefix(root).unwrap();
    for entry in walkdir::WalkDir::new(root).into_iter().map(Result::unwrap) {
        let name = entry.path().strip_prefix(root).unwrap();
        assert!(!entry.file_type().is_symlink(), "{}", name.display());
        assert!(
            entry.file_type().is_dir() || before.contains(name) || name.starts_with(inside),
            "{} is outside: {ran}",
            name.display()
        );
        let control = name.as_os_str().as_bytes().iter().any(u8::is_ascii_control);
        assert!(!control || before.contains(name), "{name:?}: {ran}");
    }
    (exported(out).into_keys().collect(), ran)
}

/// Cases in which export stops too early; see the ignored test below.
const STOPPED: [&str; 4] = ["lines_that_are_no_listing", "long_line", "names", "roots"];

#[test]
fn hostile_archives_harm_nobody_and_give_out_what_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/make_hostile_archives.py");
    let made = run(Command::new("python3").arg(script).arg(folder.path())).expect(0);
    let cases: Vec<String> = serde_json::from_slice(&made.stdout).unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let root = folder.path().join(&case);
        let archive = root.join("archive");
        let sound = files(&root.join("expected")).into_iter().map(|f| f.to_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
        for options in [&[][..], &["--full"], &["--full", "--json"]] {
            let ran = run(&mut limited(MEMORY, &on(&archive, "verify", options)));
            if options.contains(&"--json") {
                serde_json::from_slice::<serde_json::Value>(&ran.stdout).unwrap();
                assert!(!ran.stdout.contains(&0x1b), "{case}: {ran}");
            }
            let ran = if options.contains(&"--json") { ran } else { ran.expect_harmless() };
            // A quick check reads no objects.
            let may_pass = case == "names" || options.is_empty();
            assert!(ran.code() == 2 || may_pass && ran.code() == 0, "{case}: {ran}");
        }
        bounded(&on(&archive, "list", &[]));
        // Deep inside, so that a few levels up are still in sight.
        let out = root.join("a/b/c/out");
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        let mut export = on(&archive, "export", &["--out", out.to_str().unwrap()]);
        let (got, ran) = taken_out(&mut export, &root, &out);
        let ran = ran.expect_harmless();
        if !STOPPED.contains(&case.as_str()) {
            assert!(matches!(ran.code(), 0 | 1) && got.is_superset(&sound), "{case}: {ran}");
        }
        fs::remove_dir_all(&out).unwrap_or_default();
        let mut restore = Command::new("python3");
        restore.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/archive/restore.py")).arg(&archive).arg(&out);
        let (got, ran) = taken_out(&mut restore, &root, &out);
        let ran = ran.expect_harmless();
        assert!(matches!(ran.code(), 0 | 1) && !ran.text().contains("Traceback"), "restore.py, {case}: {ran}");
        assert!(case == "roots" || got.is_superset(&sound), "restore.py, {case}: {ran}");
    }
}

#[test]
fn hostile_listings_and_roots_do_not_keep_the_others_back() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/make_hostile_archives.py");
    run(Command::new("python3").arg(script).arg(folder.path())).expect(0);
    for case in STOPPED {
        let root = folder.path().join(case);
        let archive = root.join("archive");
        let mut wanted: BTreeSet<_> = files(&root.join("expected")).into_iter().map(|f| f.to_str().unwrap().to_owned()).collect();
        let out = root.join("out");
        let mut export = on(&archive, "export", &["--out", out.to_str().unwrap()]);
        if case == "roots" {
            let sound = roots(&archive).into_iter().find(|r| root_is_sound(r)).unwrap();
            export.arg("--snapshot").arg(sound.file_stem().unwrap());
        }
        let (got, ran) = taken_out(&mut export, &root, &out);
        wanted.retain(|digest| !got.contains(digest));
        assert!(matches!(ran.code(), 0 | 1) && wanted.is_empty(), "{case}: {ran}");
        bounded(&on(&archive, "list", &[]));
    }
}

fn root_is_sound(path: &Path) -> bool {
    serde_json::from_slice::<serde_json::Value>(&fs::read(path).unwrap()).is_ok_and(|root| root["version"] == 1)
}

/// Names that no mail program gives, as bytes.
fn odd_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "a\nb",
        "a\r\nb",
        "\u{1b}[31mred",
        "\u{1b}]0;title\u{7}",
        "\u{202e}gnp.exe",
        "\u{9b}2J",
        "-rf",
        "$(touch escape)",
        "`id`",
        "a b",
        " ",
        "'",
        "\"",
        "\\",
        "%00",
        "%2e%2e",
        "a\tb",
        "\u{feff}",
        "e\u{301}",
        "é",
        "&AOk-",
        "&",
        "*",
        "?",
        "|",
        "<",
        "con",
        "nul.txt",
    ]
    .map(|name| name.as_bytes().to_vec())
    .to_vec();
    names.extend([
        b"caf\xe9".to_vec(),
        b"\xff\xfe".to_vec(),
        b"\xed\xa0\x80".to_vec(),
        vec![b'x'; 200],
        b"\x01\x02\x7f".to_vec(),
    ]);
    names
}

#[test]
fn names_with_escapes_and_invalid_utf8_drive_no_terminal_and_come_out_inside_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let maildir = Maildir::new(&folder.path().join("anna"), "anna");
    let eml = folder.path().join("eml");
    let mboxes = folder.path().join("mboxes");
    let plain = folder.path().join("plain");
    let mut count = 0;
    let mut put = |path: &Path, head: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{head}Subject: {count}\nMessage-ID: <{count}\u{1b}[2J@x>\n\nx\n")).unwrap();
        count += 1;
    };
    for name in odd_names() {
        let name = OsStr::from_bytes(&name);
        put(&maildir.root.join("cur").join(name), "");
        let mut folder_name = std::ffi::OsString::from(".");
        folder_name.push(name);
        for sub in ["new", "tmp"] {
            fs::create_dir_all(maildir.root.join(&folder_name).join(sub)).unwrap();
        }
        put(&maildir.root.join(&folder_name).join("cur/1"), "");
        let mut file = name.to_owned();
        file.push(".eml");
        put(&eml.join(&file), "");
        put(&eml.join("sub").join(name).join(&file), "");
        put(&plain.join(&file), "");
        let mut file = name.to_owned();
        file.push(".mbox");
        put(&mboxes.join(&file), "From a@b Mon Jan  1 00:00:00 2024\n");
    }
    let archive = folder.path().join("a.floe");
    let accounts = [("anna", maildir.root.as_path()), ("boris\u{1b}[2J", eml.as_path()), ("../carla", mboxes.as_path())];
    let ran = bounded(&snapshot(&accounts, &archive));
    assert!(matches!(ran.code(), 0 | 1), "{ran}");
    bounded(&on(&archive, "list", &[]));
    bounded(&on(&archive, "verify", &["--full"])).expect(0);
    for path in [&maildir.root, &eml, &mboxes] {
        let ran = bounded(support::program::floe().arg("identify").arg(path));
        assert!(matches!(ran.code(), 0..=2), "{ran}");
    }
    let root_folder = folder.path().join("x");
    let out = root_folder.join("y/out");
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    let (got, ran) = taken_out(&mut on(&archive, "export", &["--out", out.to_str().unwrap()]), &root_folder, &out);
    ran.expect_harmless().expect(0);
    let ledger = &root(&roots(&archive)[0])["ledger"];
    // Everything but the plain files, which were not given.
    assert_eq!(ledger["captured"].as_u64().unwrap() as usize, got.len());
    assert_eq!(got.len(), count - odd_names().len(), "{ledger}");
}

#[test]
fn links_in_circles_and_out_of_the_source_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    let mut anna = Maildir::new(&users.join("anna/Maildir"), "anna");
    anna.put("", "1.a:2,S", b"Subject: a\n\na\n");
    Maildir::new(&users.join("boris/Maildir"), "boris").put("", "1.b:2,S", b"Subject: b\n\nb\n");
    let secret = folder.path().join("secret");
    Maildir::new(&secret, "secret").put("", "1.s:2,S", b"Subject: secret\n\n");
    for (to, link) in [
        ("..", "up"),
        (".", "here"),
        ("/", "top"),
        ("anna", "anna-again"),
        ("../secret", "secret"),
        ("anna/Maildir/.Loop", "loop"),
        ("nothing", "nothing"),
        ("/dev/zero", "zero"),
        ("/proc/self", "proc"),
    ] {
        std::os::unix::fs::symlink(to, users.join(link)).unwrap();
        std::os::unix::fs::symlink(to, users.join("anna").join(link)).unwrap();
        std::os::unix::fs::symlink(to, anna.root.join(format!(".{link}"))).unwrap();
        std::os::unix::fs::symlink(to, anna.root.join("cur").join(link)).unwrap();
    }
    let archive = folder.path().join("a.floe");
    let mut command = support::program::floe();
    command.arg("snapshot").arg("--archive").arg(&archive).arg(&users);
    let ran = bounded(&command);
    assert!(matches!(ran.code(), 0 | 1), "{ran}");
    let root = root(&roots(&archive)[0]);
    assert_eq!((root["accounts"].as_array().unwrap().len(), root["ledger"]["captured"].as_u64()), (2, Some(2)), "{ran}");
}

/// One message of each bad sort, about `n` bytes each.
fn monsters(n: usize) -> Vec<(&'static str, Vec<u8>)> {
    let random = Random(55).bytes(n);
    let head = "From: a@b\nMIME-Version: 1.0\nSubject: x\n";
    let multipart = |boundary: &str| format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\n\n").into_bytes();
    let with_head = |rest: &[u8]| [head.as_bytes(), rest].concat();
    let nested: Vec<u8> =
        (0..n / 75).flat_map(|i| [format!("--b{i}\n").into_bytes(), multipart(&format!("b{}", i + 1))].concat()).collect();
    let thousand: Vec<u8> =
        (0..1000).flat_map(|i| [multipart(&format!("b{i}")), format!("--b{i}\n").into_bytes()].concat()).collect();
    vec![
        ("messages in messages", b"Content-Type: message/rfc822\n\n".repeat(n / 30)),
        ("multiparts in multiparts", with_head(&[multipart("b0"), nested].concat())),
        ("a thousand boundaries and lines that could be one", [thousand, b"--b999x\n--\n--b\n".repeat(n / 15)].concat()),
        ("nothing but boundaries", with_head(&[multipart("x"), b"--x\n\n".repeat(n / 5)].concat())),
        ("parts of one byte", with_head(&[multipart("x"), b"--x\nA: b\n\ny\n".repeat(n / 12)].concat())),
        ("a boundary that never comes", with_head(&[multipart("never"), b"--never is not now\n".repeat(n / 19)].concat())),
        ("boundaries that close and open", with_head(&[multipart("x"), b"--x--\n--x\n\n".repeat(n / 11)].concat())),
        (
            "a long boundary",
            with_head(&[multipart(&"-".repeat(190)), [b"-".repeat(300), b"\n".to_vec()].concat().repeat(n / 301)].concat()),
        ),
        ("nothing but headers", b"X-Header: some text in it\n".repeat(n / 26)),
        ("headers of one byte", b"a\n".repeat(n / 2)),
        ("folds without end", with_head(&[b"X: a\n".to_vec(), b" b\n".repeat(n / 3)].concat())),
        ("one header line", with_head(&[b"X: ".to_vec(), b"y".repeat(n), b"\n\nbody\n".to_vec()].concat())),
        ("one line", b"-".repeat(n)),
        (
            "Received without end",
            [b"Received: from a by b; Mon, 1 Jan 2024 10:00:00\n".repeat(n / 50), b"\nx\n".to_vec()].concat(),
        ),
        ("dates that are none", b"Date: Mon, 1 (((((((((((((((((((((\nReceived: ;;;;;;;;;;;\n".repeat(n / 60)),
        ("one date that is none", [b"Date: ".to_vec(), b"(".repeat(n), b"\n\n".to_vec()].concat()),
        (
            "Content-Types without end",
            [b"Content-Type: multipart/mixed; boundary=a\n".repeat(n / 42), b"\n--a\n".to_vec()].concat(),
        ),
        ("NULs", vec![0; n]),
        ("noise", random),
        ("CRs", b"\r".repeat(n)),
        ("CRLFs", b"\r\n".repeat(n / 2)),
        ("LFs", b"\n".repeat(n)),
        ("base64 of nothing", with_head(&[b"Content-Transfer-Encoding: base64\n\n".to_vec(), b"A\n".repeat(n / 2)].concat())),
        ("base64 of padding", with_head(&[b"Content-Transfer-Encoding: base64\n\n".to_vec(), b"====\n".repeat(n / 5)].concat())),
        (
            "a charset that is none",
            with_head(&[b"Content-Type: text/plain; charset=\xff\xfe\0x\n\n".to_vec(), b"\xff\xfe\x80".repeat(n / 3)].concat()),
        ),
        ("quoted From lines", [b"A: b\n\n".to_vec(), b">From >From >>>From \n>From x\n".repeat(n / 29)].concat()),
        ("quotes", [b"A: b\n\n".to_vec(), b">".repeat(n), b"From x\n".to_vec()].concat()),
        (
            "keywords",
            [b"X-Keywords:".to_vec(), (0..n / 8).flat_map(|i| format!(" k{i}").into_bytes()).collect(), b"\n\nx\n".to_vec()]
                .concat(),
        ),
    ]
}

#[test]
fn monstrous_messages_are_kept_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
    for (n, (_, bytes)) in monsters(3_000_000).iter().enumerate() {
        maildir.put("", &format!("170000{n:04}.m:2,"), bytes);
    }
    // A hundred thousand levels, fifty megabytes of headers, a line of twenty megabytes, a million boundaries.
    let large = [(0, 3_000_000), (1, 8_000_000), (8, 50_000_000), (11, 20_000_000), (3, 5_000_000)];
    for (which, bytes) in large {
        let (_, bytes) = monsters(bytes).swap_remove(which);
        maildir.put(".Large", &format!("17{which:04}.l:2,"), &bytes);
    }
    let archive = folder.path().join("a.floe");
    bounded(&snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
    holds_exactly(&archive, &maildir.items);
}

/// The processor time of a snapshot of one source of about `n` bytes.
fn timed(make: &dyn Fn(&Path, usize), format: &[&str], n: usize) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    make(&source, n);
    let archive = folder.path().join("a.floe");
    let mut command = snapshot(&[("anna", &source)], &archive);
    let ran = bounded(command.args(format));
    assert!(matches!(ran.code(), 0 | 1), "{ran}");
    ran.processor
}

/// Four times the input may take a little more than four times as long, and never sixteen times.
#[track_caller]
fn grows_with_its_input(what: &str, n: usize, format: &[&str], make: &dyn Fn(&Path, usize)) {
    let (mut small, mut large) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        small = small.min(timed(make, format, n));
        large = large.min(timed(make, format, 4 * n));
        if large < Duration::from_millis(700).max(8 * small) {
            return;
        }
    }
    panic!("{what}: {n} bytes take {small:?}, four times as much {large:?}");
}

#[test]
fn the_time_for_a_monstrous_message_grows_with_its_size() {
    for (which, (what, _)) in monsters(100).iter().enumerate() {
        grows_with_its_input(what, 600_000, &[], &|source, n| {
            Maildir::new(source, "anna").put("", "1.a:2,", &monsters(n).swap_remove(which).1);
        });
    }
}

#[test]
fn the_time_for_a_monstrous_mbox_grows_with_its_size() {
    let from = "From a@b Mon Jan  1 00:00:00 2024\n";
    let mboxes: Vec<(&str, String)> = vec![
        ("empty messages", format!("{from}\n")),
        ("From lines that part nothing", "From here on\n\n".into()),
        ("dates that are none", "From a b c d e f g h Mon Jan 99 99:99:99 99999\n\n".into()),
        ("lengths that lie", format!("{from}Content-Length: 99999\n\nx\n\n")),
        ("lengths that end nowhere", format!("{from}Content-Length: 18446744073709551615\n\nx\n\n")),
        ("quoted lines", ">From x\n>>From y\n".into()),
        ("delimiters", "\x01\x01\x01\x01\n\x01\x01\x01\x01\n".into()),
        ("folder data", format!("{from}X-IMAP: 1 2 {}\nSubject: FOLDER INTERNAL DATA\n\nx\n\n", "k ".repeat(100))),
    ];
    for (what, unit) in &mboxes {
        grows_with_its_input(what, 600_000, &["--as", "mbox"], &|source, n| {
            let head = format!("{from}Subject: x\n\n");
            fs::write(source, [head.as_bytes(), unit.repeat(n / unit.len()).as_bytes()].concat()).unwrap();
        });
    }
    for (which, (what, _)) in monsters(100).iter().enumerate() {
        grows_with_its_input(what, 600_000, &["--as", "mbox"], &|source, n| {
            fs::write(source, [from.as_bytes(), &monsters(n).swap_remove(which).1, b"\n\n"].concat()).unwrap();
        });
    }
}

#[test]
fn the_time_for_labels_grows_with_their_number() {
    for (what, unit) in [
        ("labels", "label %,"),
        ("encoded words", "=?UTF-8?Q?label_=C3=A9_%?=\n "),
        ("words that never end", "=?a?Q?x "),
        ("words of no charset", "=?x?Q?x?= "),
        ("equals signs", "=?="),
        ("quotes", "\"\","),
    ] {
        grows_with_its_input(what, 300_000, &["--as", "takeout"], &|source, n| {
            let labels: String = (0..n / unit.len()).map(|i| unit.replace('%', &i.to_string())).collect();
            let mbox = format!("From 1@xxx Mon Jan  1 00:00:00 2024\nX-Gmail-Labels: {labels}\nSubject: x\n\nx\n\n");
            fs::create_dir_all(source).unwrap();
            fs::write(source.join("All mail.mbox"), mbox).unwrap();
        });
    }
}

#[test]
fn the_time_for_a_folders_own_files_grows_with_their_size() {
    let lines: [(&str, &dyn Fn(usize) -> String); 5] = [
        ("dovecot-uidlist", &|i| format!("{i} :1.m{i}\n")),
        ("dovecot-keywords", &|i| format!("{i} keyword{i}\n")),
        ("subscriptions", &|i| format!("Folder{i}\n")),
        ("courierimapsubscribed", &|i| format!("INBOX.Folder{i}\n")),
        ("courierimapuiddb", &|i| format!("{i} 1.m{i}\n")),
    ];
    for (name, line) in lines {
        grows_with_its_input(name, 20_000, &[], &|source, n| {
            let mut maildir = Maildir::new(source, "anna");
            for i in 0..50 {
                maildir.put("", &format!("1.m{i}:2,Sabcxyz"), b"Subject: a\n\nb\n");
            }
            let head = if name == "dovecot-uidlist" { "3 V1 N99999\n" } else { "1 1 99999\n" };
            let text: String = (1..n).map(line).collect();
            fs::write(source.join(name), format!("{}{text}", if name.ends_with('t') || name.ends_with('b') { head } else { "" }))
                .unwrap();
        });
    }
    grows_with_its_input("courier's keyword list", 4000, &[], &|source, n| {
        let mut maildir = Maildir::new(source, "anna");
        for i in 0..20 {
            maildir.put("", &format!("1.m{i}:2,S"), b"Subject: a\n\nb\n");
        }
        fs::create_dir_all(source.join("courierimapkeywords")).unwrap();
        let names: String = (0..n).map(|i| format!("keyword{i}\n")).collect();
        let numbers: String = (0..n).map(|i| format!(" {i}")).collect();
        let rows: String = (0..20).map(|i| format!("1.m{i}:{numbers}\n")).collect();
        fs::write(source.join("courierimapkeywords/:list"), format!("{names}\n{rows}")).unwrap();
    });
    grows_with_its_input("folders of one name", 800, &[], &|source, n| {
        let mut maildir = Maildir::new(source, "anna");
        maildir.put("", "1.m:2,S", b"Subject: a\n\nb\n");
        for i in 0..n {
            let name =
                [b".".as_slice(), &(0..16).map(|bit| if i >> bit & 1 == 1 { 0xfe } else { 0xff }).collect::<Vec<u8>>()].concat();
            fs::create_dir_all(source.join(OsStr::from_bytes(&name)).join("cur")).unwrap();
        }
    });
    grows_with_its_input("messages of one base name", 500, &[], &|source, n| {
        let mut maildir = Maildir::new(source, "anna");
        for i in 0..n {
            maildir.put("", &format!("1.same:2,{i}"), format!("Subject: {i:09}\n\nb\n").as_bytes());
        }
    });
}

#[test]
fn compressed_bombs_are_refused_and_named_and_the_rest_is_captured() {
    let folder = tempfile::tempdir().unwrap();
    let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
    let good = message("good", &[7; 3000]);
    maildir.put("", "1.good:2,S", &good);
    let zeros = vec![0u8; 64 << 20];
    let zstd = zstd::bulk::compress(&zeros, 3).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zeros).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut huge_window = b"\x28\xb5\x2f\xfd\x00\xff".to_vec();
    huge_window.extend_from_slice(&[0; 100]);
    // 6 GiB each.
    let bombs = [
        ("2.zstd", zstd.repeat(96)),
        ("3.gzip", gzip.repeat(96)),
        ("5.window", huge_window),
        ("6.cut", gzip[..gzip.len() / 2].to_vec()),
        ("7.magic", b"\x1f\x8b\x08".to_vec()),
    ];
    for (name, bytes) in &bombs {
        fs::write(maildir.path("", &format!("{name},S=10:2,Z")), bytes).unwrap();
    }
    // Sound ones beside them.
    let mut sound = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    sound.write_all(&message("sound", &[8; 9000])).unwrap();
    fs::write(maildir.path("", "8.sound,S=10:2,Z"), sound.finish().unwrap()).unwrap();
    let archive = folder.path().join("a.floe");
    let ran = bounded(&snapshot(&[("anna", &maildir.root)], &archive)).expect(1);
    for (name, _) in &bombs {
        assert!(ran.text().contains(name), "{name} is not named: {ran}");
    }
    let out = folder.path().join("out");
    run(&mut on(&archive, "export", &["--out", out.to_str().unwrap()])).expect(0);
    let want = [good, message("sound", &[8; 9000])].map(|m| Digest::of(&m).to_string());
    assert_eq!(exported(&out).into_keys().collect::<BTreeSet<_>>(), BTreeSet::from(want));
}

#[test]
fn what_a_reader_does_not_look_at_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let eml = folder.path().join("eml");
    let deep = eml.join("d/".repeat(300));
    fs::create_dir_all(&deep).unwrap();
    for (path, name) in [(&deep, "deep.eml"), (&eml, "top.eml"), (&eml, ".hidden.eml")] {
        fs::write(path.join(name), "Subject: x\n\nx\n").unwrap();
    }
    let archive = folder.path().join("a.floe");
    let ran = bounded(&snapshot(&[("anna", &eml)], &archive));
    let named = ran.text().contains("hidden") && ran.text().contains("d/d/d");
    assert!(named || ran.text().contains("found 3 = captured 3"), "{ran}");
}

#[test]
fn paths_as_deep_as_the_system_allows_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let eml = folder.path().join("eml");
    let deep = eml.join("d/".repeat(900));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("deep.eml"), "Subject: deep\n\nx\n").unwrap();
    fs::write(eml.join("top.eml"), "Subject: top\n\nx\n").unwrap();
    let archive = folder.path().join("a.floe");
    let ran = bounded(&snapshot(&[("anna", &eml)], &archive));
    assert!(matches!(ran.code(), 0 | 1), "{ran}");
    let root = root(&roots(&archive)[0]);
    assert!(root["ledger"]["captured"].as_u64() >= Some(1), "{ran}");
}
