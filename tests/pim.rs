//! Calendars and address books from the folder to the archive: what the maker of a store knows of its objects is what floe says.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use floe::model::{CollectionKind, Outcome, Place};
use floe::source::{AccountSource, FoundItem, ItemSink, discover};
use serde_json::Value;

/// Place, kind and UID of the objects of an account.
#[derive(Default)]
struct Objects {
    found: Vec<(String, String, Option<String>)>,
    originals: Vec<String>,
    exceptions: Vec<String>,
}

impl ItemSink for Objects {
    fn item(&mut self, item: FoundItem) -> floe::Result<()> {
        self.found.push((item.place.path, item.state.component.unwrap_or_default(), item.state.uid));
        Ok(())
    }

    fn exception(&mut self, place: Place, _: Outcome, reason: &str, _: String) -> floe::Result<()> {
        self.exceptions.push(format!("{place}: {reason}"));
        Ok(())
    }

    fn original(&mut self, place: Place, _: PathBuf) -> floe::Result<()> {
        self.originals.push(place.path);
        Ok(())
    }

    fn read_up_to(&mut self, _: u64, _: u128) {}

    fn resumed(&mut self) -> floe::Result<()> {
        Ok(())
    }
}

/// Reads the calendars and address books of an account: what they are called, and what is in them.
fn read(account: &AccountSource) -> (Vec<String>, Objects) {
    let (mut names, mut objects) = (Vec::new(), Objects::default());
    for reader in &account.readers {
        for head in reader.collections().unwrap() {
            if matches!(head.kind, CollectionKind::Calendar | CollectionKind::AddressBook) {
                let before = objects.found.len() + objects.exceptions.len();
                reader.read(&head, None, &mut objects).unwrap();
                let found = objects.found.len() + objects.exceptions.len() - before;
                assert_eq!(reader.count(&head).unwrap(), found as u64, "{} balances", head.path);
                names.push(format!("{} {}", head.kind, head.path));
            }
        }
    }
    (names, objects)
}

fn write(dir: &Path, name: &str, content: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn event(uid: &str) -> String {
    format!("BEGIN:VEVENT\r\nUID:{uid}\r\nEND:VEVENT\r\n")
}

fn calendar(content: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{content}END:VCALENDAR\r\n")
}

const CARD: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:x\r\nEND:VCARD\r\n";
const MBOX: &str = "From a@b Mon Jan  1 00:00:00 2024\nX-Gmail-Labels: Inbox\nSubject: b\n\nx\n";

#[test]
fn every_object_of_a_made_store_is_found_with_its_uid() {
    let maker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/mailstore.py");
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut make = Command::new("python3");
    make.arg(maker).arg("--out").arg(&store).args(["--users", "3", "--messages", "3", "--max-attachment", "5000"]);
    let output = make.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    type Known = BTreeMap<(String, String), Vec<(String, Option<String>)>>;
    let mut wanted = Known::new();
    for line in fs::read_to_string(store.join("ground-truth-pim.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let path = text("path").unwrap();
        let place = path.splitn(3, '/').nth(2).unwrap().to_owned();
        let object = (text("type").unwrap(), text("uid"));
        wanted.entry((text("account").unwrap(), place)).or_default().push(object);
    }
    let mut got = Known::new();
    for account in discover(&[store], &[], None).unwrap().accounts {
        let (names, objects) = read(&account);
        assert_eq!(names, ["calendar Kalender", "calendar Team Übersicht", "address-book Kontakte"]);
        assert!(objects.exceptions.is_empty() && objects.originals.len() == 3);
        for (place, component, uid) in objects.found {
            got.entry((account.account.clone(), place)).or_default().push((component, uid));
        }
    }
    assert_eq!(wanted.len(), 9);
    assert_eq!(wanted, got);
}

#[test]
fn a_takeout_has_calendars_and_address_books() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "anna/Takeout/archive_browser.html", "x");
    write(dir.path(), "anna/Takeout/E-Mail/Alle.mbox", MBOX);
    write(
        dir.path(),
        "anna/Takeout/Kalender/anna@example.com.ics",
        &calendar(&("X-WR-CALNAME:Anna\r\n".to_owned() + &event("a") + &event("b"))),
    );
    write(
        dir.path(),
        "anna/Takeout/Kalender/Geburtstage.ics",
        &calendar(&("X-WR-CALNAME:Geburtstage\r\n".to_owned() + &event("c"))),
    );
    write(dir.path(), "anna/Takeout/Contacts/All Contacts/All Contacts.vcf", &CARD.repeat(3));
    write(dir.path(), "anna/Takeout/Contacts/All Contacts/x.jpg", "x");
    write(dir.path(), "anna/Takeout/Drive/x/invitation.ics", &calendar(&event("d")));
    for name in ["a.txt", "b.txt"] {
        write(dir.path(), &format!("anna/Takeout/Drive/x/{name}"), "x");
    }
    let found = discover(&[dir.path().join("anna")], &[], None).unwrap();
    let (names, objects) = read(&found.accounts[0]);
    let wanted = ["address-book All Contacts", "calendar Geburtstage", "calendar anna@example.com"];
    assert_eq!(names, wanted, "a single calendar file among others is a file");
    assert_eq!(objects.found.len(), 6);
    assert_eq!(objects.found[3].0, "Takeout/Kalender/Geburtstage.ics");
}

#[test]
fn a_tree_of_radicale_has_an_account_for_each_user() {
    let dir = tempfile::tempdir().unwrap();
    for user in ["anna", "boris"] {
        write(dir.path(), &format!("root/{user}/1234/.Radicale.props"), r#"{"tag": "VCALENDAR", "D:displayname": "Work"}"#);
        write(dir.path(), &format!("root/{user}/1234/a.ics"), &calendar(&event("a")));
        write(dir.path(), &format!("root/{user}/5678/.Radicale.props"), r#"{"tag": "VADDRESSBOOK"}"#);
        write(dir.path(), &format!("root/{user}/5678/a.vcf"), CARD);
        write(dir.path(), &format!("root/{user}/5678/.Radicale.cache/item/a.vcf"), "x");
    }
    let found = discover(&[dir.path().join("root")], &[], None).unwrap();
    let names: Vec<&str> = found.accounts.iter().map(|a| a.account.as_str()).collect();
    assert_eq!((names, found.leftovers.len()), (vec!["anna", "boris"], 0));
    let (names, objects) = read(&found.accounts[0]);
    assert_eq!(names, ["calendar 1234", "address-book 5678"]);
    assert_eq!((objects.found.len(), objects.originals.len()), (2, 2));
    let heads: Vec<_> = found.accounts[0].readers.iter().flat_map(|r| r.collections().unwrap()).collect();
    assert_eq!(heads[0].display_name.as_deref(), Some("Work"));
    assert!(heads.iter().any(|h| h.kind == CollectionKind::Files), "the cache is kept as files");
}

#[test]
fn every_file_of_an_account_is_in_one_collection() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "anna/mail/INBOX.mbox", &MBOX.replace("X-Gmail-Labels: Inbox\n", ""));
    write(dir.path(), "anna/calendars/a.ics", &calendar(&event("a")));
    write(dir.path(), "anna/calendars/b.ics", &calendar(&event("a")));
    write(dir.path(), "anna/calendars/notes.txt", "x");
    write(dir.path(), "anna/calendars/deep/er/c.ics", &calendar(&event("c")));
    write(dir.path(), "anna/calendars/deep/er/README", "x");
    write(dir.path(), "anna/calendars/deep/er/x/README", "x");
    write(dir.path(), "anna/me.vcf", CARD);
    write(dir.path(), "anna/top.txt", "x");
    std::os::unix::fs::symlink("a.ics", dir.path().join("anna/calendars/link.ics")).unwrap();
    let account = [("anna".to_owned(), dir.path().join("anna"))];
    let found = discover(&[], &account, None).unwrap();
    let mut all = Objects::default();
    for reader in &found.accounts[0].readers {
        for head in reader.collections().unwrap() {
            reader.read(&head, None, &mut all).unwrap();
        }
    }
    let mut places: Vec<String> = all.found.into_iter().map(|o| o.0).collect();
    places.sort();
    assert_eq!(
        places,
        [
            "calendars/a.ics",
            "calendars/b.ics",
            "calendars/deep/er/README",
            "calendars/deep/er/c.ics",
            "calendars/deep/er/x/README",
            "calendars/notes.txt",
            "mail/INBOX.mbox",
            "me.vcf",
            "top.txt"
        ]
    );
    let left: Vec<String> = found.leftovers.iter().map(|l| format!("{}: {}", l.place, l.reason)).collect();
    let links: Vec<String> = left.into_iter().chain(all.exceptions).filter(|e| e.contains("link")).collect();
    assert_eq!(links, ["calendars/link.ics: link, not followed"]);
}

#[test]
fn a_folder_named_by_hand_is_read_to_the_last_file() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.txt", "b.txt", "c.txt"] {
        write(dir.path(), &format!("x/sub/{name}"), "x");
    }
    write(dir.path(), "x/sub/one.ics", &calendar(&event("a")));
    let found = discover(&[dir.path().join("x")], &[], Some(floe::source::Format::Pim)).unwrap();
    let (names, objects) = read(&found.accounts[0]);
    assert_eq!((names, objects.found.len()), (vec!["calendar sub".to_owned()], 1));
    let kinds: Vec<_> = found.accounts[0].readers.iter().flat_map(|r| r.collections().unwrap()).map(|h| h.kind).collect();
    assert_eq!(kinds, [CollectionKind::Calendar, CollectionKind::Files]);
}

#[test]
fn calendars_and_address_books_of_the_fixtures_come_out_of_the_archive_as_they_went_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.floe");
    let floe = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_floe")).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        output.stdout
    };
    let archive = archive.to_str().unwrap();
    floe(&["snapshot", root.join("fixtures/acme").to_str().unwrap(), "--archive", archive]);
    floe(&["verify", archive, "--full"]);
    let file = root.join("fixtures/acme/shared/calendars/Team/weekly.ics");
    let digest = floe::model::Digest::of(&fs::read(&file).unwrap()).to_string();
    assert_eq!(floe(&["show", archive, &digest]), fs::read(&file).unwrap(), "a file of one object is the object");
    let file = root.join("fixtures/acme/anna/calendars/Kalender.ics");
    let digest = floe::model::Digest::of(&fs::read(&file).unwrap()).to_string();
    assert_eq!(floe(&["show", archive, &digest]), fs::read(&file).unwrap(), "a file of several is kept whole");
    // The day of the calendar's file names no time zone, so that it is this and nothing more.
    let lines = fs::read_to_string(&file).unwrap();
    let day = lines.find("BEGIN:VEVENT\r\nUID:day").unwrap();
    let end = day + lines[day..].find("END:VEVENT\r\n").unwrap() + "END:VEVENT\r\n".len();
    let head = &lines[..lines.find("X-WR-CALNAME").unwrap()];
    let object = format!("{head}{}END:VCALENDAR\r\n", &lines[day..end]);
    let digest = floe::model::Digest::of(object.as_bytes()).to_string();
    assert_eq!(floe(&["show", archive, &digest]), object.as_bytes());
}
