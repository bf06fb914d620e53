use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;
use crate::model::{Flag, Outcome, Place};
use crate::source::sinks::Kept;
use crate::source::{Coding, Content, FoundItem};

/// A store under construction.
struct Store(tempfile::TempDir);

impl Store {
    fn new() -> Self {
        Store(tempfile::tempdir().unwrap())
    }

    fn folder(self, name: &str) -> Self {
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(self.path().join(name).join(sub)).unwrap();
        }
        self
    }

    fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
        self
    }

    fn link(self, name: &str, to: &str) -> Self {
        std::os::unix::fs::symlink(to, self.path().join(name)).unwrap();
        self
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn reader(&self) -> Box<dyn Reader> {
        let evidence = detect(self.path()).unwrap().expect("is a Maildir");
        open(self.path(), evidence.format).unwrap()
    }

    fn folders(&self) -> Vec<String> {
        self.reader().collections().unwrap().iter().map(|h| h.path.to_string()).collect()
    }

    /// Reads one folder and checks its ledger.
    fn read(&self, folder: &str) -> Kept {
        let reader = self.reader();
        let heads = reader.collections().unwrap();
        let head = heads.iter().find(|h| h.path.to_string() == folder).expect("folder is listed");
        let mut kept = Kept::default();
        let found = reader.count(head).unwrap();
        reader.read(head, None, &mut kept).unwrap();
        assert_eq!(found, (kept.items.len() + kept.exceptions.len()) as u64, "the ledger of {folder} balances");
        kept
    }
}

fn names(kept: &Kept) -> Vec<&str> {
    kept.items.iter().map(|i| i.place.path.as_str()).collect()
}

#[test]
fn maildir_plus_plus_is_known_by_its_hidden_folders() {
    let store = Store::new()
        .folder("")
        .folder(".Sent")
        .folder(".A.B")
        .file(".Sent/maildirfolder", "")
        .file("dovecot-uidlist", "3 V5 N6 Gab\n");
    let evidence = detect(store.path()).unwrap().unwrap();
    assert_eq!(evidence.format, Format::MaildirPlusPlus);
    assert!(evidence.because.contains(&"2 folders named like .A.B (1 with a maildirfolder file)".to_owned()), "{evidence:?}");
    assert!(evidence.because.contains(&"dovecot-uidlist with UIDVALIDITY 5".to_owned()), "{evidence:?}");
    assert_eq!(store.folders(), ["A/B", "INBOX", "Sent"]);
    let inbox = store.reader().collections().unwrap().into_iter().nth(1).unwrap();
    assert_eq!((inbox.uid_validity, inbox.uid_next, inbox.guid.as_deref()), (Some(5), Some(6), Some("ab")));
}

#[test]
fn nested_folders_are_layout_fs() {
    let store = Store::new().folder("").folder("Archive/2023.old").folder("Projekte/Größe & Maß").file("sieve/a", "");
    assert_eq!(detect(store.path()).unwrap().unwrap().format, Format::MaildirFs);
    assert_eq!(store.folders(), ["Archive/2023.old", "INBOX", "Projekte/Größe & Maß"]);
}

#[test]
fn maildirs_side_by_side_are_not_taken_for_folders_of_one_account() {
    let store = Store::new().folder("anna").folder("bob");
    assert_eq!(detect(store.path()).unwrap(), None);
    let store = store.file("subscriptions", "anna\n");
    assert_eq!(detect(store.path()).unwrap().unwrap().format, Format::MaildirFs);
    assert_eq!(Store::new().folder("INBOX").folder("Sent").folders(), ["INBOX", "Sent"]);
}

#[test]
fn folder_names_are_unicode_and_stay_different() {
    let store =
        Store::new().folder("").folder(".&AMQ-").folder(".Ä").folder(".inbox").folder(".INBOX.x").folder(".R&D").folder(".a..b");
    assert_eq!(store.folders(), [".a..b", ".inbox", "INBOX", "INBOX/x", "R&D", "Ä", ".Ä"].map(str::to_owned).tap_sort());
    let raw = std::ffi::OsStr::from_bytes(b".caf\xe9");
    fs::create_dir_all(store.path().join(raw).join("cur")).unwrap();
    assert!(store.folders().contains(&"caf\u{fffd}".to_owned()));
}

use std::os::unix::ffi::OsStrExt as _;

trait TapSort {
    fn tap_sort(self) -> Self;
}

impl<const N: usize> TapSort for [String; N] {
    fn tap_sort(mut self) -> Self {
        self.sort();
        self
    }
}

#[test]
fn flags_keywords_uids_and_dates_are_those_of_the_store() {
    let store = Store::new()
        .folder("")
        .file("cur/2.x,S=3:2,FSac", "abc")
        .file("cur/1.x:2,PRab", "abc")
        .file("new/3.x", "new")
        .file("dovecot-keywords", "0 $Label1\n1 $Forwarded\n")
        .file("dovecot-uidlist", "3 V1 N9 Gff\n4 :2.x,S=3\n5 G0123 :1.x\n");
    let kept = store.read("INBOX");
    assert_eq!(names(&kept), ["cur/2.x,S=3:2,FSac", "cur/1.x:2,PRab", "new/3.x"]);
    let [two, one, three] = kept.items.as_slice() else { panic!("three messages") };
    assert_eq!((two.place.uid, &two.state.flags), (Some(4), &vec![Flag::Flagged, Flag::Seen]));
    assert_eq!(two.state.keywords, ["$Label1"]);
    assert_eq!(two.state.notes, ["keyword letter c has no name in dovecot-keywords"]);
    assert_eq!((one.place.uid, one.state.guid.as_deref()), (Some(5), Some("0123")));
    assert_eq!((&one.state.flags, &one.state.keywords), (&vec![Flag::Answered], &vec!["$Forwarded".into(), "$Label1".into()]));
    assert_eq!((three.place.uid, three.state.flags.len()), (None, 0));
    let date = three.state.date.unwrap();
    assert_eq!((date.at.as_second(), date.at.subsec_nanosecond(), date.rule), (1_700_000_000, 0, crate::model::DateRule::Mtime));
    assert!(matches!(&three.content, Content::File { path, stamp } if path.ends_with("new/3.x") && stamp.size == 3));
}

#[test]
fn courier_stores_have_uids_keywords_and_subscriptions() {
    let store = Store::new()
        .folder("")
        .folder(".Sent")
        .file("cur/1.x:2,S", "a")
        .file("courierimapuiddb", "1 77 9\n8 1.x\n")
        .file("courierimapkeywords/:list", "todo\n\n1.x:0\n")
        .file("courierimapsubscribed", "INBOX.Sent\n");
    let kept = store.read("INBOX");
    assert_eq!((kept.items[0].place.uid, kept.items[0].state.keywords.as_slice()), (Some(8), &["todo".to_owned()][..]));
    let heads = store.reader().collections().unwrap();
    assert_eq!((heads[0].uid_validity, heads[1].subscribed), (Some(77), Some(true)));
}

#[test]
fn compressed_messages_are_known_by_a_hint_and_their_first_bytes() {
    let gz = b"\x1f\x8b\x08\0rest";
    let store = Store::new()
        .folder("")
        .file("cur/1,S=100:2,S", gz)
        .file("cur/2:2,SZ", b"\x28\xb5\x2f\xfdrest")
        .file("cur/3:2,S", gz)
        .file("cur/4,S=9:2,S", "plain")
        .file("cur/5,S=5:2,S", "plain");
    let kept = store.read("INBOX");
    let codings: Vec<_> = kept.items.iter().map(|i| i.coding).collect();
    assert_eq!(codings, [Coding::Gzip, Coding::Zstd, Coding::Plain, Coding::Plain, Coding::Plain]);
    assert_eq!(kept.items[3].state.notes, ["its name says 9 bytes, the file has 5"]);
    assert!(kept.items[4].state.notes.is_empty());
}

#[test]
fn a_message_seen_twice_is_captured_once_and_a_namesake_is_kept() {
    let store = Store::new()
        .folder("")
        .file("cur/1:2,S", "same")
        .file("new/1", "same")
        .file("cur/2:2,S", "this")
        .file("new/2", "that")
        .file("cur/3:2,", "x")
        .file("cur/3:2,FS", "x");
    let kept = store.read("INBOX");
    assert_eq!(names(&kept), ["cur/1:2,S", "cur/2:2,S", "new/2", "cur/3:2,FS"]);
    assert_eq!(kept.items[2].state.notes, ["has the base name of cur/2:2,S, but other content"]);
    let twice: Vec<_> = kept.exceptions.iter().map(|(place, _, reason)| (place.as_str(), reason.as_str())).collect();
    let reason = "seen twice while the store changed";
    assert_eq!(twice, [("new/1", reason), ("cur/3:2,", reason)]);
}

#[test]
fn unfinished_deliveries_and_odd_entries_are_reported_and_server_files_are_not_mail() {
    let store = Store::new()
        .folder("")
        .file("tmp/9.x", "half")
        .file("cur/1:2,S", "a")
        .file("cur/.hidden", "no")
        .file("cur/dovecot.index.cache", "no")
        .file("cur/sub/file", "no")
        .file("dovecot.index", "no")
        .file("maildirsize", "no");
    let kept = store.read("INBOX");
    assert_eq!(names(&kept), ["cur/1:2,S"]);
    let want = [
        ("cur/sub", Outcome::Skipped, "a folder in the place of a message"),
        ("tmp/9.x", Outcome::Skipped, "unfinished delivery in tmp"),
    ];
    assert_eq!(kept.exceptions, want.map(|(p, o, r)| (p.to_owned(), o, r.to_owned())));
}

#[test]
fn links_never_lead_out_of_the_store_nor_round_in_circles() {
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(outside.path().join("cur")).unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    let out = outside.path().to_str().unwrap();
    let store = Store::new()
        .folder("")
        .folder("sub")
        .file("cur/a:2,S", "a")
        .link("cur/in:2,S", "a:2,S")
        .link("cur/loop", "loop")
        .link("cur/out", &format!("{out}/secret"))
        .link("sub/round", "..")
        .link("away", out)
        .link("dangling", "nowhere");
    assert_eq!(store.folders(), ["INBOX", "away", "sub", "sub/round"]);
    let kept = store.read("INBOX");
    assert_eq!(names(&kept), ["cur/a:2,S", "cur/in:2,S"]);
    assert!(matches!(&kept.items[1].content, Content::File { path, .. } if path.ends_with("cur/a:2,S")));
    let reasons: Vec<_> = kept.exceptions.iter().map(|e| (e.0.as_str(), e.2.as_str())).collect();
    assert_eq!(reasons, [("cur/loop", "link to nothing"), ("cur/out", "link out of the store")]);
    assert_eq!(store.read("away").exceptions[0].2, "link out of the store");
    assert_eq!(store.read("sub/round").exceptions[0].2, "link to another folder of the store");
    assert!(store.read("sub").items.is_empty());
}

#[test]
fn a_part_that_cannot_be_listed_is_an_exception() {
    let store = Store::new().folder("").file("cur/a", "a");
    fs::remove_dir(store.path().join("new")).unwrap();
    fs::remove_dir(store.path().join("tmp")).unwrap();
    let store = store.file("new", "a file").folder(".x").link("tmp", "cur");
    let kept = store.read("INBOX");
    assert_eq!((names(&kept), kept.exceptions.len()), (vec!["cur/a"], 2), "{:?}", kept.exceptions);
}

#[test]
fn a_message_that_moved_after_it_was_listed_is_found_again() {
    /// Moves the second message once the first has come.
    struct Mover<'a>(&'a Path, Kept);
    impl ItemSink for Mover<'_> {
        fn item(&mut self, item: FoundItem) -> Result<()> {
            self.1.item(item)
        }
        fn exception(&mut self, place: Place, outcome: Outcome, reason: &str, detail: String) -> Result<()> {
            // The broken link comes first, when all is listed and nothing but the first batch is asked for.
            let _ = fs::rename(self.0.join("new/z"), self.0.join("cur/z:2,S"));
            let _ = fs::remove_file(self.0.join("new/zz"));
            self.1.exception(place, outcome, reason, detail)
        }
        fn original(&mut self, place: Place, path: PathBuf) -> Result<()> {
            self.1.original(place, path)
        }
        fn read_up_to(&mut self, _: u64, _: u128) {}
        fn resumed(&mut self) -> Result<()> {
            Ok(())
        }
    }
    let mut store = Store::new().folder("").link("cur/0", "nowhere");
    for i in 0..2100 {
        store = store.file(&format!("cur/m{i:04}"), "m");
    }
    let store = store.file("new/z", "z").file("new/zz", "z");
    let reader = store.reader();
    let head = &reader.collections().unwrap()[0];
    let mut sink = Mover(store.path(), Kept::default());
    reader.read(head, None, &mut sink).unwrap();
    let Mover(_, kept) = sink;
    assert_eq!(kept.items.len(), 2101);
    let last = kept.items.last().unwrap();
    assert_eq!((last.place.path.as_str(), last.state.flags.as_slice()), ("cur/z:2,S", &[Flag::Seen][..]));
    assert_eq!(kept.exceptions.last().unwrap().2, "removed while the store was read");
}

#[test]
fn stamps_change_with_everything_that_makes_the_listing() {
    let mut store = Store::new().folder("").file("cur/a", "a").file("subscriptions", "");
    let stamps = |store: &Store| {
        let reader = store.reader();
        let heads = reader.collections().unwrap();
        reader.stamps(&heads[0]).unwrap()
    };
    let mut before = stamps(&store);
    assert_eq!(before, stamps(&store));
    assert_eq!(before.iter().map(|s| s.0.as_str()).collect::<Vec<_>>(), ["cur/a", "store: subscriptions"]);
    let changes = [
        ("cur/a", "aa"),
        ("new/b", ""),
        ("tmp/c", ""),
        ("dovecot-keywords", ""),
        ("dovecot-uidlist", ""),
        ("subscriptions", "x"),
    ];
    for (file, text) in changes {
        store = store.file(file, text);
        let after = stamps(&store);
        assert_ne!(before, after, "{file}");
        before = after;
    }
}

#[test]
fn kmail_keeps_subfolders_in_hidden_directories() {
    let store = Store::new().folder("inbox").folder(".inbox.directory/child").folder(".inbox.directory/.child.directory/deep");
    assert_eq!(store.folders(), ["INBOX", "inbox/child", "inbox/child/deep"]);
}
