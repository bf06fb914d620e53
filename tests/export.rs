//! Exports: what comes out is what went in, in every format; hostile names, damage, links and kills do no harm.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use floe::archive::pack::{ObjectForm, Sort};
use floe::archive::{AccountEntry, Archive, CollectionEntry, ListingWriter, Options, Original, Root, Writer};
use floe::export::{Done, Format, Request, Selection, export};
use floe::model::{CollectionHead, CollectionKind, CollectionPath, DateRule, Digest, InternalDate, Ledger, Place, Placement};
use floe::monitor::Silent;
use floe::source::discover;

fn floe(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_floe")).args(args).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Captures stores under account names into a new archive.
fn snapshot(archive: &Path, accounts: &[(&str, &Path)]) {
    let accounts: Vec<(String, PathBuf)> = accounts.iter().map(|(name, path)| ((*name).to_owned(), path.to_path_buf())).collect();
    let found = discover(&[], &accounts, None).unwrap();
    let done = floe::snapshot::run(&found, None, &mut Writer::open(archive, 3).unwrap(), Options::default(), &Silent).unwrap();
    assert!(done.unbalanced.is_empty() && done.snapshot.root.ledger.failed_total() == 0, "{done:?}");
}

fn take_out(archive: &Path, out: &Path, format: Format, selection: Selection) -> Done {
    let archive = Archive::open(archive).unwrap();
    let snapshot = archive.snapshot(None).unwrap();
    export(&archive, &snapshot, &Request { format, selection }, out, &Silent).unwrap()
}

/// What an archive knows of a message, without where it lay.
type Facts = (Digest, Option<Digest>, String, Vec<String>, Vec<String>, Option<u32>, Option<String>);

/// The digest of a message without its lines of state.
fn without_state(archive: &Archive, message: Digest) -> Digest {
    let bytes = archive.read(message, 1 << 30).unwrap();
    let mut in_header = true;
    let mut kept = Vec::new();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        in_header &= !line.trim_ascii().is_empty();
        let name = line.split(|b| *b == b':').next().unwrap();
        if !in_header || !["status", "x-status", "x-keywords"].iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes())) {
            kept.extend_from_slice(line);
        }
    }
    Digest::of(&kept)
}

/// All mail of the newest snapshot by account and collection. `stateless` looks at the bytes without Status lines.
fn facts(archive: &Path, stateless: bool) -> BTreeMap<(String, String), Vec<Facts>> {
    let archive = Archive::open(archive).unwrap();
    let mut all = BTreeMap::new();
    for account in archive.snapshot(None).unwrap().root.accounts {
        for entry in archive.collections(&account).unwrap().into_iter().filter(|c| c.head.kind == CollectionKind::Mail) {
            let mut items = Vec::new();
            archive
                .placements(&entry, &mut |p| {
                    let mut keywords = p.keywords.clone();
                    keywords.sort();
                    let flags = p.flags.iter().map(|f| format!("{f:?}")).collect();
                    let date = p.date.unwrap().at.to_string();
                    items.push(if stateless {
                        (without_state(&archive, p.sha256), None, date, flags, keywords, None, p.message_id)
                    } else {
                        (p.sha256, p.crlf.map(|form| form.sha256), date, flags, keywords, p.source.uid, p.message_id)
                    });
                    Ok(())
                })
                .unwrap();
            items.sort();
            all.insert((account.account.clone(), entry.head.path.to_string()), items);
        }
    }
    all
}

fn heads(archive: &Path) -> Vec<CollectionHead> {
    let archive = Archive::open(archive).unwrap();
    let accounts = archive.snapshot(None).unwrap().root.accounts;
    let entries = accounts.iter().flat_map(|a| archive.collections(a).unwrap());
    let mut heads: Vec<CollectionHead> = entries.map(|c| CollectionHead { source_path: String::new(), ..c.head }).collect();
    heads.sort_by(|a, b| a.path.cmp(&b.path));
    heads
}

fn write(path: &Path, bytes: &[u8], seconds: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// A Maildir with everything that the format can say.
fn maildir(top: &Path) {
    for folder in ["", ".Kunden.M&APw-ller &- S&APY-hne", ".Leer", ".&ZeVnLIqe-", ".kunden"] {
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(top.join(folder).join(sub)).unwrap();
        }
    }
    let inner = top.join(".Kunden.M&APw-ller &- S&APY-hne");
    write(&top.join("cur/1.a:2,DFPRSTac"), b"Message-ID: <1@x>\nSubject: a\n\nbody\n", 1_500_000_000);
    write(&top.join("cur/2.b:2,"), b"Message-ID: <2@x>\r\nSubject: b\r\n\r\nbody without an end", 1_500_000_001);
    write(&top.join("new/3.c"), b"Message-ID: <3@x>\n\nFrom here\n>From there\n", 1_500_000_002);
    write(&top.join("cur/4.d:2,S"), b"", 1);
    write(&top.join("cur/5.e:2,S"), b"no header at all\n\nbody\n", 1_500_000_004);
    write(&inner.join("cur/1.a:2,b"), b"Message-ID: <1@x>\nSubject: a\n\nbody\n", 1_600_000_000);
    write(&inner.join("cur/9.z:2,S"), b"Message-ID: <9@x>\n\n\xff\xfe\0\x01\n", 1_700_000_000);
    fs::write(top.join("dovecot-keywords"), "0 $Label1\n2 two words\n").unwrap();
    fs::write(inner.join("dovecot-keywords"), "1 $Label1\n").unwrap();
    fs::write(
        top.join("dovecot-uidlist"),
        "3 V1700000001 N77 G00ff5c1d28365036b8321000083ecc37\n3 :1.a\n5 Gmine-5 :2.b\n70 :4.d\n",
    )
    .unwrap();
    fs::write(top.join("subscriptions"), "V\t2\n\nINBOX\nKunden\tM&APw-ller &- S&APY-hne\n&ZeVnLIqe-\n").unwrap();
}

fn store_listing(writer: &mut Writer, lines: &[u8]) -> Digest {
    let mut listing = ListingWriter::default();
    listing.push(writer, lines).unwrap();
    listing.finish(writer).unwrap()
}

#[test]
fn a_maildir_comes_back_from_a_maildir_with_all_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let (store, first, second, out) = (dir.path().join("s"), dir.path().join("a"), dir.path().join("b"), dir.path().join("out"));
    maildir(&store);
    snapshot(&first, &[("anna", &store)]);
    let done = take_out(&first, &out, Format::Maildir, Selection::default());
    assert_eq!((done.written, done.failed, done.altered, done.renamed), (7, 0, 0, 0), "{done:?}");
    let exported = out.join("anna/Maildir");
    snapshot(&second, &[("anna", &exported)]);
    assert_eq!(facts(&first, false).into_values().flatten().count(), 7);
    // `.kunden` lies beside `.Kunden.…` and not beside `.Kunden`, so no name had to change.
    assert_eq!(facts(&first, false), facts(&second, false));
    assert_eq!(heads(&first), heads(&second));
    // And in the form that Dovecot and Courier write.
    for name in fs::read_dir(exported.join("cur")).unwrap().map(|e| e.unwrap()) {
        let name_text = name.file_name().into_string().unwrap();
        let (base, letters) = name_text.split_once(":2,").unwrap();
        assert!(letters.as_bytes().is_sorted(), "{name_text}");
        assert!(base.contains(&format!(",S={},W=", name.metadata().unwrap().len())), "{name_text}");
    }
    assert_eq!(fs::read_dir(exported.join("tmp")).unwrap().count(), 0);
    assert!(exported.join(".Leer/maildirfolder").is_file());
}

#[test]
fn an_mbox_comes_back_from_an_mbox_and_from_a_maildir() {
    let dir = tempfile::tempdir().unwrap();
    let company = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acme/boris/mail");
    let (first, out) = (dir.path().join("a"), dir.path().join("out"));
    snapshot(&first, &[("boris", &company)]);
    for (format, top) in [(Format::Mbox, "mbox"), (Format::Maildir, "Maildir")] {
        take_out(&first, &out, format, Selection::default());
        let second = dir.path().join(top);
        snapshot(&second, &[("boris", &out.join("boris").join(top))]);
        let (before, after) = (facts(&first, true), facts(&second, true));
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (place, before) in &before {
            let after = &after[place];
            assert_eq!(before.len(), after.len(), "{place:?}");
            // One message of the store has no line end at its end; an mbox cannot say so.
            let same = before.iter().filter(|b| after.contains(b)).count();
            assert!(
                same + usize::from(format == Format::Mbox && place.1.starts_with("Projekte")) >= before.len(),
                "{before:?} {after:?}"
            );
        }
    }
}

#[test]
fn flags_and_keywords_of_a_maildir_survive_in_an_mbox_in_the_eyes_of_python() {
    let dir = tempfile::tempdir().unwrap();
    let (store, first, second, out) = (dir.path().join("s"), dir.path().join("a"), dir.path().join("b"), dir.path().join("out"));
    maildir(&store);
    snapshot(&first, &[("anna", &store)]);
    let done = take_out(&first, &out, Format::Mbox, Selection::default());
    // A keyword of two words, a message without a last line end, a message without a header, and a message of nothing.
    let reasons: Vec<(&str, u64)> = done.reasons.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
    assert_eq!(
        reasons,
        [
            ("a keyword cannot be written", 1),
            ("a line end was added at the end", 1),
            ("it has no header for flags and keywords", 1)
        ]
    );
    let exceptions = fs::read_to_string(out.join(done.exceptions.unwrap())).unwrap();
    assert!(exceptions.contains("two words") && exceptions.lines().count() == 3, "{exceptions}");
    snapshot(&second, &[("anna", &out.join("anna/mbox"))]);
    let (before, after) = (facts(&first, true), facts(&second, true));
    for (place, before) in &before {
        let dates = |facts: &[Facts]| facts.iter().map(|f| f.2.clone()).collect::<BTreeSet<String>>();
        assert_eq!(dates(before), dates(&after[place]), "{place:?}");
    }
    let first_of = |facts: &BTreeMap<(String, String), Vec<Facts>>| {
        let inbox = &facts[&("anna".to_owned(), "INBOX".to_owned())];
        inbox.iter().find(|f| f.6.as_deref() == Some("<1@x>")).cloned().unwrap()
    };
    let (before, after) = (first_of(&before), first_of(&after));
    assert_eq!((&before.0, &before.3), (&after.0, &after.3));
    assert_eq!(after.4, ["$Forwarded", "$Label1"]);

    let script = "import mailbox,sys\nfor m in mailbox.mbox(sys.argv[1], create=False):\n    print(m['Message-ID'], m.get_flags(), m.get_from().split(' ', 1)[1], m['X-Keywords'])";
    let python = Command::new("python3").args(["-c", script]).arg(out.join("anna/mbox/INBOX.mbox")).output().unwrap();
    let listed = String::from_utf8(python.stdout).unwrap();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 5, "{listed} {:?}", python.stderr);
    assert!(lines.contains(&"<1@x> ROAFTD Fri Jul 14 02:40:00 2017 $Forwarded $Label1"), "{listed}");
    assert!(lines.iter().any(|l| l.starts_with("<3@x>  Fri Jul 14 02:40:02 2017")), "{listed}");
}

#[test]
fn generated_mail_comes_back_from_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let (store, first) = (dir.path().join("s"), dir.path().join("a"));
    let maker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/mailstore.py");
    let made = Command::new("python3")
        .arg(maker)
        .arg("--out")
        .arg(&store)
        .args(["--users", "2", "--messages", "80", "--max-attachment", "60000", "--no-groupware"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let users: Vec<PathBuf> = fs::read_dir(store.join("users")).unwrap().map(|e| e.unwrap().path()).collect();
    let named = |top: &Path, sub: &str| -> Vec<(String, PathBuf)> {
        users
            .iter()
            .map(|u| u.file_name().unwrap().to_str().unwrap().to_owned())
            .map(|n| (n.clone(), top.join(n).join(sub)))
            .collect()
    };
    let take = |archive: &Path, accounts: Vec<(String, PathBuf)>| {
        let accounts: Vec<(&str, &Path)> = accounts.iter().map(|(n, p)| (n.as_str(), p.as_path())).collect();
        snapshot(archive, &accounts);
    };
    take(&first, named(&store.join("users"), "Maildir"));
    let before = facts(&first, false);
    assert_eq!(before.values().flatten().count(), 160);
    for (format, sub) in [(Format::Maildir, "Maildir"), (Format::Mbox, "mbox"), (Format::Eml, "mail")] {
        let (out, second) = (dir.path().join(format!("out-{sub}")), dir.path().join(format!("b-{sub}")));
        let done = take_out(&first, &out, format, Selection::default());
        assert_eq!((done.written, done.failed), (160, 0), "{done:?}");
        take(&second, named(&out, sub));
        match format {
            Format::Maildir => assert_eq!(before, facts(&second, false)),
            Format::Mbox => assert_eq!(facts(&first, true), facts(&second, true)),
            Format::Eml => {
                let digests = |all: &BTreeMap<(String, String), Vec<Facts>>| {
                    all.iter()
                        .map(|(k, v)| (k.clone(), v.iter().map(|f| (f.0, f.2.clone())).collect::<Vec<_>>()))
                        .collect::<Vec<_>>()
                };
                assert_eq!(digests(&before), digests(&facts(&second, false)));
            }
        }
    }
}

/// An archive by hand: accounts of collections of (placement, bytes).
struct Made {
    _dir: tempfile::TempDir,
    archive: PathBuf,
    out: PathBuf,
}

type Collection = (CollectionHead, Vec<(Placement, Vec<u8>)>, Vec<(String, Vec<u8>)>);

fn placement(bytes: &[u8], path: &str) -> Placement {
    serde_json::from_value(serde_json::json!({
        "sha256": Digest::of(bytes), "size": bytes.len(), "source": Place::file(path),
        "date": InternalDate { at: "2024-01-02T03:04:05Z".parse().unwrap(), rule: DateRule::Stored },
    }))
    .unwrap()
}

fn head(path: &[&str], kind: CollectionKind) -> CollectionHead {
    CollectionHead::new(CollectionPath::new(path.iter().copied()), kind, "")
}

fn made(accounts: Vec<(&str, Vec<Collection>)>) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a.floe");
    let mut writer = Writer::open(&archive, 3).unwrap();
    let mut root = Root::new(jiff::Timestamp::now(), None);
    for (account, collections) in accounts {
        let mut lines = Vec::new();
        let count = collections.len() as u64;
        for (head, items, originals) in collections {
            let mut listing = Vec::new();
            for (item, bytes) in &items {
                writer.add(Sort::Head, ObjectForm::Blob, Digest::of(bytes), bytes).unwrap();
                listing.extend(serde_json::to_vec(item).unwrap());
                listing.push(b'\n');
            }
            let ledger = Ledger { found: items.len() as u64, captured: items.len() as u64, ..Ledger::default() };
            let mut kept = Vec::new();
            for (path, bytes) in originals {
                writer.add(Sort::Head, ObjectForm::Blob, Digest::of(&bytes), &bytes).unwrap();
                kept.push(Original { path, sha256: Digest::of(&bytes), size: bytes.len() as u64 });
            }
            let listing = store_listing(&mut writer, &listing);
            let entry: CollectionEntry = serde_json::from_value({
                let mut value = serde_json::to_value(&head).unwrap();
                let more = serde_json::json!({ "format": "eml", "listing": listing, "items": items.len(), "ledger": ledger, "originals": kept });
                value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                value
            })
            .unwrap();
            lines.extend(serde_json::to_vec(&entry).unwrap());
            lines.push(b'\n');
        }
        let listing = store_listing(&mut writer, &lines);
        root.accounts.push(AccountEntry { account: account.into(), listing, collections: count, ledger: Ledger::default() });
    }
    root.tree = Root::tree_of(&root.accounts);
    writer.commit(&root).unwrap();
    drop(writer);
    let out = dir.path().join("inside/out");
    Made { archive, out, _dir: dir }
}

/// Everything below a folder, as paths relative to it.
fn tree(folder: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter().map(Result::unwrap);
    entries.map(|e| e.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn hostile_names_stay_inside_and_apart() {
    let names = [
        "../../../escape",
        "/etc/passwd",
        "a\0b",
        "\u{1b}[2J",
        "con",
        "CON.txt",
        "nul.",
        "Readme",
        "README",
        "readme ",
        "caf\u{e9}",
        "cafe\u{301}",
        "",
        ".",
        "..",
        "-rf",
        "~root",
        "x/../../y",
        "placements.jsonl",
        &"n".repeat(300),
        &format!("{}/deep", "d/".repeat(300)),
        "a\\b",
        "\u{202e}gpj.exe",
    ];
    let files: Vec<_> = names.iter().enumerate().map(|(i, name)| (format!("file {i}").into_bytes(), *name)).collect();
    let items = |kind: CollectionKind| -> Vec<(Placement, Vec<u8>)> {
        files
            .iter()
            .map(|(bytes, name)| {
                let mut item = placement(bytes, name);
                item.uid = (kind == CollectionKind::Calendar).then(|| (*name).to_owned());
                item.mode = Some(0o6755);
                (item, bytes.clone())
            })
            .collect()
    };
    let mail = |path: &[&str]| {
        (head(path, CollectionKind::Mail), vec![(placement(path.concat().as_bytes(), ""), path.concat().into_bytes())], vec![])
    };
    let collections = || {
        let mut all = vec![
            (head(&["Files"], CollectionKind::Files), items(CollectionKind::Files), vec![]),
            (
                head(&["..", ".."], CollectionKind::Calendar),
                items(CollectionKind::Calendar),
                vec![("../../all.ics".to_owned(), b"whole".to_vec())],
            ),
        ];
        all.extend(names.iter().filter(|n| !n.is_empty()).map(|name| mail(&[name])));
        all.extend([mail(&["..", "..", "x"]), mail(&["", ""]), mail(&["INBOX"]), mail(&["Inbox"])]);
        all
    };
    let accounts = ["..", "/", "Anna", "anna", "exceptions"];
    for format in [Format::Maildir, Format::Mbox, Format::Eml] {
        let made = made(accounts.iter().map(|a| (*a, collections())).collect());
        let done = take_out(&made.archive, &made.out, format, Selection::default());
        let each = (2 * names.len() + names.len() - 1 + 4) as u64;
        assert_eq!((done.written, done.failed, done.originals), (each * 5, 0, 5), "{format:?} {done:?}");
        let around =
            fs::read_dir(made.archive.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect::<BTreeSet<_>>();
        assert_eq!(around.len(), 2, "nothing beside the archive and the folder of the target: {around:?}");
        assert_eq!(fs::read_dir(made.out.parent().unwrap()).unwrap().count(), 1);
        let all = tree(&made.out);
        let folded: BTreeSet<String> = all.iter().map(|path| path.to_lowercase()).collect();
        assert_eq!(folded.len(), all.len(), "names that a file system may take for one");
        for path in &all {
            assert!(path.chars().all(|c| !c.is_control()) && path.split('/').all(|part| part.len() <= 255), "{path:?}");
            let metadata = fs::symlink_metadata(made.out.join(path)).unwrap();
            assert!(!metadata.is_symlink() && metadata.permissions().mode() & 0o7000 == 0, "{path:?}");
        }
        let again = take_out(&made.archive, &made.out, format, Selection::default());
        assert_eq!((again.written, again.already_there, again.failed), (0, each * 5, 0), "{format:?} {again:?}");
    }
}

#[test]
fn calendars_contacts_and_originals_are_files_of_their_own() {
    let event = |uid: &str| {
        let mut item = placement(uid.as_bytes(), "cal.ics");
        (item.uid, item.component) = (Some(uid.to_owned()), Some("VEVENT".into()));
        (item, uid.as_bytes().to_vec())
    };
    let made = made(vec![(
        "anna",
        vec![
            (
                head(&["Work"], CollectionKind::Calendar),
                vec![event("1@x"), event("2@x")],
                vec![("calendars/work.ics".into(), b"both".to_vec())],
            ),
            (head(&["People"], CollectionKind::AddressBook), vec![event("p")], vec![]),
        ],
    )]);
    let done = take_out(&made.archive, &made.out, Format::Eml, Selection::default());
    assert_eq!((done.written, done.originals, done.renamed), (3, 1, 0));
    let files: Vec<String> = tree(&made.out).into_iter().filter(|p| made.out.join(p).is_file()).collect();
    assert_eq!(
        files,
        [
            "anna/calendars/Work/1@x.ics",
            "anna/calendars/Work/2@x.ics",
            "anna/collections.jsonl",
            "anna/contacts/People/p.vcf",
            "anna/originals/calendars/work.ics",
            "anna/placements.jsonl"
        ]
    );
    let lines = fs::read_to_string(made.out.join("anna/placements.jsonl")).unwrap();
    assert!(
        lines.lines().next().unwrap().starts_with(r#"{"file":"calendars/Work/1@x.ics","collection":["Work"],"kind":"calendar""#),
        "{lines}"
    );
}

#[test]
fn a_folder_that_the_format_cannot_name_is_counted_and_keeps_its_name_in_the_record() {
    let mail = |path: &[&str]| (head(path, CollectionKind::Mail), vec![], vec![]);
    let made = made(vec![("anna", vec![mail(&["v1.2"]), mail(&["v1_2"]), mail(&["a:b"]), mail(&["Plain", "One"])])]);
    for (format, renamed) in [(Format::Maildir, 2), (Format::Mbox, 1), (Format::Eml, 1)] {
        let out = made.out.join(format!("{format:?}"));
        assert_eq!(take_out(&made.archive, &out, format, Selection::default()).renamed, renamed, "{format:?}");
        let lines = fs::read_to_string(out.join("anna/collections.jsonl")).unwrap();
        assert!(lines.contains(r#""path":["v1.2"]"#) && lines.contains(r#""path":["a:b"]"#), "{lines}");
    }
    let folders = tree(&made.out.join("Maildir/anna/Maildir"));
    assert!(
        folders.contains(&".v1_2".to_owned()) && folders.iter().any(|f| f.starts_with(".v1_2~") && !f.contains('/')),
        "{folders:?}"
    );
}

#[test]
fn planted_links_and_other_files_are_left_alone_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (store, archive, elsewhere) = (dir.path().join("s"), dir.path().join("a"), dir.path().join("elsewhere"));
    maildir(&store);
    snapshot(&archive, &[("anna", &store), ("boris", &store)]);
    fs::create_dir(&elsewhere).unwrap();
    let clean = dir.path().join("clean");
    take_out(&archive, &clean, Format::Eml, Selection::default());
    let message = tree(&clean).into_iter().find(|p| p.starts_with("boris/mail/INBOX/000001")).unwrap();

    let out = dir.path().join("out");
    fs::create_dir_all(out.join("boris/mail/INBOX")).unwrap();
    symlink(&elsewhere, out.join("anna")).unwrap();
    symlink(elsewhere.join("target"), out.join(&message)).unwrap();
    fs::write(out.join(message.replace("000001", "000002")), "mine").unwrap();
    symlink(&elsewhere, out.join("boris/mail/Leer")).unwrap();
    let output = floe(&["export", text(&archive), "--out", text(&out)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.lines().last().unwrap().starts_with("PASS WITH EXCEPTIONS: 6 items written"), "{shown}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert!(fs::symlink_metadata(out.join(&message)).unwrap().is_symlink());
}

/// All files with their bytes and times, without the lists of exceptions.
fn content(folder: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    tree(folder)
        .into_iter()
        .filter(|p| folder.join(p).is_file() && !p.starts_with("exceptions-"))
        .map(|p| {
            let path = folder.join(&p);
            let time = if p.ends_with(".eml") { fs::metadata(&path).unwrap().modified().unwrap() } else { std::time::UNIX_EPOCH };
            (p, (fs::read(path).unwrap(), time))
        })
        .collect()
}

#[test]
fn a_killed_export_goes_on_and_ends_like_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acme");
    let (anna, boris, carla) = (fixtures.join("anna/Maildir"), fixtures.join("boris/mail"), fixtures.join("carla/eml"));
    snapshot(&archive, &[("anna", &anna), ("boris", &boris), ("carla", &carla)]);
    for format in ["maildir", "mbox", "eml"] {
        let (clean, out) = (dir.path().join(format!("clean-{format}")), dir.path().join(format!("out-{format}")));
        floe(&["export", text(&archive), "--out", text(&clean), "--format", format]);
        for step in 0..12 {
            let mut child = Command::new(env!("CARGO_BIN_EXE_floe"))
                .args(["export", text(&archive), "--out", text(&out), "--format", format])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(step * 1500));
            let _ = child.kill();
            child.wait().unwrap();
        }
        let output = floe(&["export", text(&archive), "--out", text(&out), "--format", format, "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["failed"], 0, "{report}");
        assert_eq!(report["written"].as_u64().unwrap() + report["already_there"].as_u64().unwrap(), 24, "{report}");
        assert_eq!(content(&clean), content(&out), "{format}");
    }
}

#[test]
fn damage_costs_the_items_that_it_hits_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("a");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acme");
    snapshot(&archive, &[("anna", &fixtures.join("anna/Maildir")), ("boris", &fixtures.join("boris/mail"))]);
    let whole: BTreeSet<Vec<u8>> = {
        let out = dir.path().join("whole");
        take_out(&archive, &out, Format::Eml, Selection::default());
        content(&out).into_iter().filter(|(p, _)| p.ends_with(".eml")).map(|(_, (bytes, _))| bytes).collect()
    };
    let pack = fs::read_dir(archive.join("data/packs")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&pack).unwrap();
    let mut hit = 0;
    for (i, at) in (20..good.len()).step_by(good.len() / 23).enumerate() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&pack, &bad).unwrap();
        for (format, name) in [("eml", "eml"), ("mbox", "mbox"), ("maildir", "maildir")] {
            let out = dir.path().join(format!("out-{name}-{i}"));
            let output = floe(&["export", text(&archive), "--out", text(&out), "--format", format, "--json"]);
            assert!(matches!(output.status.code(), Some(0 | 1)), "byte {at}: {output:?}");
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let (written, failed) = (report["written"].as_u64().unwrap(), report["failed"].as_u64().unwrap());
            assert_eq!(written + failed, 20, "byte {at}: {report}");
            hit += failed;
            assert_eq!(failed > 0, report["verdict"].as_str().unwrap().contains("could not be written"), "{report}");
            if format == "eml" {
                let there = content(&out);
                let mut messages = there.iter().filter(|(p, _)| p.ends_with(".eml"));
                assert!(messages.all(|(_, (bytes, _))| whole.contains(bytes)), "byte {at}: a file with wrong bytes");
                assert!(!there.keys().any(|p| p.ends_with(".part")), "byte {at}: {there:?}");
            }
        }
    }
    assert!(hit > 0, "no byte hit an item");
}

#[test]
fn sha256sum_checks_an_export_by_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, out) = (dir.path().join("a"), dir.path().join("out"));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acme");
    snapshot(
        &archive,
        &[("anna", &fixtures.join("anna")), ("../boris\n", &fixtures.join("boris")), ("carla", &fixtures.join("carla"))],
    );
    let done = take_out(&archive, &out, Format::Eml, Selection::default());
    let manifest = floe(&["manifest", text(&archive), "--format", "sha256sum"]).stdout;
    assert_eq!(manifest.iter().filter(|b| **b == b'\n').count() as u64, done.written);
    fs::write(dir.path().join("sums"), manifest).unwrap();
    let check =
        || Command::new("sha256sum").args(["--check", "--strict", "--quiet", "../sums"]).current_dir(&out).output().unwrap();
    assert!(check().status.success(), "{:?}", check());
    let message = tree(&out).into_iter().find(|p| p.ends_with(".eml")).unwrap();
    fs::write(out.join(message), "changed").unwrap();
    assert!(!check().status.success());
}

#[test]
fn a_selection_takes_what_it_names_under_the_same_names() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, all, some) = (dir.path().join("a"), dir.path().join("all"), dir.path().join("some"));
    let boris = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acme/boris/mail");
    snapshot(&archive, &[("boris", &boris), ("other", &boris)]);
    take_out(&archive, &all, Format::Maildir, Selection::default());
    let run = |more: &[&str]| {
        let mut args = vec!["export", text(&archive), "--out", text(&some), "--format", "maildir", "--json"];
        args.extend(more);
        let output = floe(&args);
        let code = output.status.code();
        (code, serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default())
    };
    let (code, report) =
        run(&["--account", "boris", "--collection", "Projekte", "--since", "2024-03-01", "--until", "2024-03-01"]);
    assert_eq!((code, report["written"].as_u64()), (Some(0), Some(2)), "{report}");
    let mail = |out: &Path| tree(out).into_iter().filter(|p| p.contains("/cur/")).collect::<BTreeSet<String>>();
    assert!(mail(&some).is_subset(&mail(&all)) && mail(&some).len() == 2);
    assert!(
        !tree(&some).iter().any(|p| p.contains("INBOX") || p.starts_with("other") || p.contains(".Leer")),
        "{:?}",
        tree(&some)
    );
    assert_eq!(run(&["--account", "nobody"]).0, Some(64));
    assert_eq!(run(&["--collection", "Nowhere"]).0, Some(64));
    assert_eq!(run(&["--since", "yesterday"]).0, Some(64));
    let (code, report) = run(&["--message-id", "23@acme.example", "--message-id", "<none@x>", "--account", "boris"]);
    assert_eq!((code, report["already_there"].as_u64(), report["failed"].as_u64()), (Some(1), Some(1), Some(1)), "{report}");
}

#[test]
fn an_export_into_the_archive_is_refused() {
    let made = made(vec![("anna", vec![])]);
    for out in ["", "out", "data/../new/deep", "data/packs"] {
        let output = floe(&["export", text(&made.archive), "--out", text(&made.archive.join(out))]);
        assert_eq!(output.status.code(), Some(64), "{out}: {output:?}");
    }
    assert!(!made.archive.join("out").exists() && !made.archive.join("new").exists());
}
