use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::sinks::{Kept, read_all, tree_of};
use super::*;
use crate::model::{DateRule, Outcome, Place};
use crate::source::{Content, FoundItem};

const HEAD: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\n";
const END: &str = "END:VCALENDAR\r\n";

fn event(uid: &str, more: &str) -> String {
    format!("BEGIN:VEVENT\r\nUID:{uid}\r\n{more}END:VEVENT\r\n")
}

fn zone(name: &str) -> String {
    format!("BEGIN:VTIMEZONE\r\nTZID:{name}\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n")
}

fn bytes(item: &FoundItem) -> Vec<u8> {
    match &item.content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::File { path, .. } => fs::read(path).unwrap(),
        Content::Range { path, offset, length } => fs::read(path).unwrap()[*offset as usize..][..*length as usize].to_vec(),
    }
}

/// Reads a file as a store of its own; the ledger has to balance.
fn read(name: &str, content: impl AsRef<[u8]>) -> Kept {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, &content).unwrap();
    let (_, mut kept) = read_all(open(&path, Format::Pim).unwrap().as_ref());
    for item in &mut kept.items {
        if let Content::File { .. } = item.content {
            assert_eq!(bytes(item), content.as_ref());
            item.content = Content::Bytes(bytes(item));
        }
    }
    kept
}

fn texts(kept: &Kept) -> Vec<String> {
    kept.items.iter().map(|i| String::from_utf8(bytes(i)).unwrap()).collect()
}

fn uids(kept: &Kept) -> Vec<&str> {
    kept.items.iter().map(|i| i.state.uid.as_deref().unwrap_or("-")).collect()
}

fn notes(kept: &Kept) -> Vec<&str> {
    kept.items.iter().flat_map(|i| &i.state.notes).map(String::as_str).collect()
}

#[test]
fn a_file_of_one_object_is_that_object() {
    for file in [
        format!("{HEAD}{}{}{END}", zone("Europe/Berlin"), event("a", "SUMMARY:x\r\n")),
        format!("\u{feff}{HEAD}{}{END}\r\n", event("a", "RRULE:FREQ=DAILY\r\n") + &event("a", "RECURRENCE-ID:20240101\r\n")),
        format!("{HEAD}{}{END}", event("a", "")).replace("\r\n", "\n"),
        format!("{HEAD}{}{END}", event("a", "")).replace("\r\n", "\r"),
        format!("{HEAD}{}{END}", event("a", "")).trim_end().to_owned(),
    ] {
        let kept = read("a.ics", &file);
        assert_eq!((texts(&kept), uids(&kept)), (vec![file], vec!["a"]));
        assert_eq!((notes(&kept).len(), kept.originals.len()), (0, 0));
        assert_eq!(kept.items[0].state.component.as_deref(), Some("VEVENT"));
        assert_eq!(kept.items[0].state.date.unwrap().rule, DateRule::FileTime);
        assert_eq!(kept.items[0].place.offset, None);
    }
}

#[test]
fn objects_of_one_uid_are_cut_out_with_the_time_zones_that_they_name() {
    let (berlin, odd) = (zone("Europe/Berlin"), zone("a:b\\;c"));
    let first = event("1", "DTSTART;TZID=Europe/Berlin:20240301T090000\r\n");
    let other = "begin:vtodo\r\nuid:2\r\nDUE;X=1;TZID=\"a:b;c\":20240301T090000\r\nend:vtodo\r\n";
    let changed = event("1", "RECURRENCE-ID;TZID=Europe/Berlin:20240308T090000\r\nSUMMARY:Wö\r\n chentlich\r\n");
    let file = format!("{HEAD}X-WR-CALNAME:n\r\n{berlin}{first}{other}{odd}{changed}METHOD:PUBLISH\r\n{END}");
    let kept = read("a.ics", &file);
    assert_eq!(
        texts(&kept),
        [format!("{HEAD}{berlin}{first}{changed}METHOD:PUBLISH\r\n{END}"), format!("{HEAD}{other}{odd}METHOD:PUBLISH\r\n{END}")]
    );
    assert_eq!(uids(&kept), ["1", "2"]);
    let components: Vec<_> = kept.items.iter().map(|i| i.state.component.as_deref().unwrap()).collect();
    assert_eq!((components, notes(&kept).len(), kept.originals.len()), (vec!["VEVENT", "VTODO"], 0, 1));
    let place = &kept.items[0].place;
    assert_eq!(place.offset, Some(file.find("BEGIN:VEVENT").unwrap() as u64));
    assert_eq!(place.length, Some((first.len() + changed.len()) as u64));
}

#[test]
fn a_uid_may_be_folded_in_any_place_and_is_never_that_of_an_alarm() {
    let a = "BEGIN:VEVENT\r\nBEGIN:VALARM\r\nUID:alarm\r\nEND:VALARM\r\nU\r\n ID\r\n :a\r\n\t\\,b\r\nEND:VEVENT\r\n";
    let kept = read("a.ics", format!("{HEAD}{a}{}{END}", event("a\\,b", "RECURRENCE-ID:1\r\n")));
    assert_eq!(uids(&kept), ["a,b"]);
}

#[test]
fn components_without_uid_stay_apart_and_are_noted() {
    let none = "BEGIN:VJOURNAL\r\nSUMMARY:x\r\nEND:VJOURNAL\r\n";
    let kept = read("a.ics", format!("{HEAD}{none}{none}{}{END}", event("", "")));
    assert_eq!((uids(&kept), notes(&kept)), (vec!["-", "-", "-"], vec!["no UID", "no UID", "no UID"]));
}

#[test]
fn components_of_one_uid_that_do_not_belong_together_are_noted() {
    let todo = "BEGIN:VTODO\r\nUID:a\r\nEND:VTODO\r\n";
    let kept = read("a.ics", format!("{HEAD}{}{todo}{END}", event("a", "")));
    assert_eq!(uids(&kept), ["a"]);
    assert_eq!(
        notes(&kept),
        ["components of several kinds under one UID", "several components without RECURRENCE-ID under one UID"]
    );
}

#[test]
fn every_vcalendar_of_a_file_keeps_its_own_objects() {
    let other = HEAD.replace("x//y", "other");
    let kept = read("a.ics", format!("{HEAD}{}{END}\r\n{other}{}{END}", event("a", ""), event("a", "")));
    assert_eq!(texts(&kept), [format!("{HEAD}{}{END}", event("a", "")), format!("{other}{}{END}", event("a", ""))]);
    assert_eq!(notes(&kept), ["an earlier object here has the same UID"]);
}

#[test]
fn what_is_not_closed_ends_where_the_next_begins() {
    let open = "BEGIN:VEVENT\r\nUID:a\r\nBEGIN:VALARM\r\n";
    let kept = read("a.ics", format!("{HEAD}{open}{}BEGIN:VEVENT\r\nUID:c\r\n{END}", event("b", "")));
    assert_eq!(uids(&kept), ["a", "b", "c"]);
    assert_eq!(texts(&kept)[0], format!("{HEAD}{open}{END}"));
    assert_eq!(notes(&kept), ["a component is not closed"; 2]);
    let kept = read("a.ics", format!("{HEAD}{}{HEAD}{}", event("a", ""), event("b", "")));
    assert_eq!(texts(&kept)[1], format!("{HEAD}{}", event("b", "")));
    assert_eq!(notes(&kept), ["the VCALENDAR around it is not closed"; 2]);
    let kept = read("a.ics", format!("{HEAD}END:VALARM\r\n{}{END}", event("a", "END:VALARM\r\n")));
    assert_eq!((kept.items.len(), notes(&kept)), (1, vec!["an END without BEGIN in the VCALENDAR around it"]));
}

#[test]
fn components_outside_of_any_vcalendar_are_kept_and_noted() {
    let kept = read("a.ics", format!("text\r\n{}{HEAD}{END}{}", event("a", ""), event("b", "")));
    assert_eq!((texts(&kept), kept.originals.len()), (vec![event("a", ""), event("b", "")], 1));
    assert_eq!(notes(&kept), ["outside of any VCALENDAR"; 2]);
}

#[test]
fn components_of_other_names_are_objects_and_may_hold_events() {
    let poll = format!("BEGIN:VPOLL\r\nUID:p\r\n{}END:VPOLL\r\n", event("choice", ""));
    let kept = read("a.ics", format!("{HEAD}{poll}{}{END}", event("a", "")));
    assert_eq!((uids(&kept), texts(&kept)[0].clone()), (vec!["p", "a"], format!("{HEAD}{poll}{END}")));
}

#[test]
fn an_empty_calendar_is_kept_whole_and_no_calendar_is_an_exception() {
    let kept = read("a.ics", format!("{HEAD}{END}"));
    assert_eq!((kept.items.len(), kept.exceptions.len(), kept.originals.len()), (0, 0, 1));
    for (name, content, reason, originals) in [
        ("a.ics", "<html>", "holds no calendar", 1),
        ("a.vcf", "B\0E\0G\0I\0N\0:\0", "holds no vCard", 1),
        ("a.ics", "", "empty file", 0),
        ("a.vcf", "", "empty file", 0),
    ] {
        let kept = read(name, content);
        assert_eq!((kept.reasons(), kept.originals.len()), (vec![reason.to_owned()], originals), "{name} {content}");
    }
}

#[test]
fn properties_and_zones_are_not_repeated_without_end() {
    let long = format!("PRODID:{}\r\n", "x".repeat(1 << 20));
    let events: String = (0..300).map(|n| event(&n.to_string(), "")).collect();
    let kept = read("a.ics", format!("BEGIN:VCALENDAR\r\n{long}{events}{END}"));
    assert_eq!(kept.items.len() + kept.exceptions.len(), 300);
    let total: usize = kept.items.iter().map(|i| bytes(i).len()).sum();
    assert!(total < 140 << 20 && kept.reasons().iter().all(|r| r == "too large to be put together"), "{total}");
    assert_eq!(kept.originals.len(), 1);
}

#[test]
fn a_file_of_more_than_a_million_objects_is_kept_whole_only() {
    let most = calendar::MAX_ENTRIES;
    for (name, content) in [
        ("a.ics", HEAD.to_owned() + &"BEGIN:VEVENT\nEND:VEVENT\n".repeat(most)),
        ("a.vcf", "BEGIN:VCARD\nEND:VCARD\n".repeat(cards::MAX_CARDS + 1)),
    ] {
        let kept = read(name, &content);
        assert_eq!((kept.items.len(), kept.reasons()), (0, vec!["holds more than a million objects".to_owned()]), "{name}");
        assert_eq!(kept.originals.len(), 1);
    }
}

const CARD: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:x\r\nitem1.UID:u\r\nEND:VCARD\r\n";

#[test]
fn a_file_of_one_card_is_that_card() {
    for file in [CARD.to_owned(), format!("\u{feff}\r\n{CARD}\r\n"), CARD.replace("\r\n", "\r"), CARD.trim_end().to_owned()] {
        let kept = read("a.vcf", &file);
        assert_eq!((texts(&kept), uids(&kept)), (vec![file], vec!["u"]));
        assert_eq!((notes(&kept).len(), kept.originals.len()), (0, 0));
        assert_eq!(kept.items[0].state.component.as_deref(), Some("VCARD"));
    }
}

#[test]
fn cards_are_cut_out_as_they_are() {
    let latin: Vec<u8> = [b"BEGIN:VCARD\nFN;CHARSET=ISO-8859-1:M\xfcller\nEND:VCARD\n".to_vec(), CARD.into()].concat();
    let kept = read("a.vcf", &latin);
    assert_eq!(kept.items.iter().map(bytes).collect::<Vec<_>>().concat(), latin);
    assert_eq!((uids(&kept), kept.originals.len()), (vec!["-", "u"], 1));
    let at = (latin.len() - CARD.len()) as u64;
    assert_eq!((kept.items[1].place.offset, kept.items[1].place.length), (Some(at), Some(CARD.len() as u64)));
}

#[test]
fn quoted_printable_and_base64_hide_no_end() {
    let soft =
        "BEGIN:VCARD\nNOTE;ENCODING=QUOTED-PRINTABLE:a=\nEND:VCARD=\nBEGIN:VCARD\nPHOTO;BASE64:\n  AAA=\n\nUID:1\nEND:VCARD\n";
    let plain = "BEGIN:VCARD\nPHOTO;ENCODING=b:AAA=\nUID:2\nEND:VCARD\n";
    let kept = read("a.vcf", format!("{soft}{plain}"));
    assert_eq!((texts(&kept), uids(&kept)), (vec![soft.to_owned(), plain.to_owned()], vec!["1", "2"]));
    assert!(notes(&kept).is_empty());
}

#[test]
fn an_agent_belongs_to_its_card() {
    for agent in ["AGENT:\nBEGIN:VCARD\n", "item2.agent;X=1:begin:vcard\n"] {
        let card = format!("BEGIN:VCARD\n{agent}UID:agent\nEND:VCARD\nUID:1\nEND:VCARD\n");
        let kept = read("a.vcf", format!("{card}{card}"));
        assert_eq!((texts(&kept), uids(&kept)), (vec![card.clone(), card], vec!["1", "1"]));
        assert_eq!(notes(&kept), ["an earlier object here has the same UID"]);
    }
    let escaped = CARD.replace("FN:x", "AGENT:BEGIN:VCARD\\nFN:y\\nEND:VCARD\\n");
    assert_eq!(texts(&read("a.vcf", &escaped)), [escaped]);
}

#[test]
fn cards_that_are_not_closed_and_text_between_are_kept_and_noted() {
    let open = "BEGIN:VCARD\r\nFN:y\r\n";
    let kept = read("a.vcf", format!("{open}{CARD}END:VCARD\r\n{CARD}{open}"));
    assert_eq!(texts(&kept), [open, CARD, CARD, open]);
    assert_eq!(
        notes(&kept),
        [
            "the card is not closed",
            "text before it belongs to no card",
            "an earlier object here has the same UID",
            "the card is not closed"
        ]
    );
    let kept = read("a.vcf", format!("{CARD}text"));
    assert_eq!((texts(&kept), kept.originals.len()), (vec![CARD.to_owned()], 1));
    assert_eq!(notes(&kept), ["text after it belongs to no card"]);
}

#[test]
fn lists_of_contacts_are_noted() {
    let kept = read("a.vcf", CARD.replace("FN:x", "X-ADDRESSBOOKSERVER-KIND:group"));
    assert_eq!(notes(&kept), ["a list of contacts (KIND:group)"]);
}

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn one(uid: &str, more: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{more}{}{END}", event(uid, ""))
}

#[test]
fn a_folder_of_single_objects_is_a_collection_and_files_of_many_are_collections() {
    let dir = tree_of(&[]);
    for name in ["work/1.ics", "work/2.ics", "files/b.ics", "people/1.vcf", "people/2.vcf"] {
        write(dir.path(), name, if name.ends_with("vcf") { CARD.to_owned() } else { one(name, "") });
    }
    write(dir.path(), "files/a.ics", format!("{HEAD}{}{}{END}", event("a", ""), event("", "")));
    write(dir.path(), "named/a.ics", one("a", "X-WR-CALNAME:Birthdays\r\nX-APPLE-CALENDAR-COLOR:#ff0000\r\nX-WR-CALDESC:d\r\n"));
    write(dir.path(), "named/b.ics", one("b", "NAME:Holidays\r\nCOLOR:teal\r\n"));
    write(dir.path(), "All Contacts/All Contacts.vcf", format!("{CARD}{CARD}"));
    write(dir.path(), "All Contacts/x.jpg", "jpg");
    let reader = open(dir.path(), Format::Pim).unwrap();
    let heads = reader.collections().unwrap();
    let shown: Vec<String> = heads.iter().map(|h| format!("{} {} {}", h.kind, h.path, h.source_path)).collect();
    assert_eq!(
        shown,
        [
            "address-book All Contacts All Contacts/All Contacts.vcf",
            "calendar files/a files/a.ics",
            "calendar files/b files/b.ics",
            "calendar named/a named/a.ics",
            "calendar named/b named/b.ics",
            "address-book people people",
            "calendar work work"
        ]
    );
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        (heads[3].display_name.clone(), heads[3].color.clone(), heads[3].description.clone()),
        (text("Birthdays"), text("#ff0000"), text("d"))
    );
    assert_eq!((heads[4].display_name.clone(), heads[4].color.clone()), (text("Holidays"), text("teal")));
    let (_, kept) = read_all(reader.as_ref());
    assert_eq!(kept.items.len(), 2 + 2 + 1 + 1 + 1 + 2 + 2);
    assert!(kept.places().contains(&"people/2.vcf".to_owned()));
}

#[test]
fn files_beside_the_objects_describe_the_collection_and_are_kept() {
    let dir = tree_of(&["v/.git/config"]);
    write(dir.path(), "v/displayname", "Work\n");
    write(dir.path(), "v/color", "#00ff00");
    write(dir.path(), "v/a.ics", format!("{HEAD}{}{}{END}", event("a", ""), event("b", "")));
    let props = r##"{"tag": "VADDRESSBOOK", "D:displayname": "People", "CR:addressbook-description": "all", "INF:addressbook-color": "#1234"}"##;
    write(dir.path(), "r/.Radicale.props", props);
    let reader = open(dir.path(), Format::Pim).unwrap();
    let covered = |name: &str| reader.covers(&dir.path().join(name));
    assert!(covered("v/a.ics") && covered("v/color") && covered("r/.Radicale.props"));
    assert!(!covered("v/.git/config") && !covered("v") && !covered("v/b.ics"));
    let heads = reader.collections().unwrap();
    let facts: Vec<_> =
        heads.iter().map(|h| (h.kind, h.path.to_string(), h.display_name.as_deref(), h.color.as_deref())).collect();
    assert_eq!(
        facts,
        [
            (CollectionKind::AddressBook, "r".to_owned(), Some("People"), Some("#1234")),
            (CollectionKind::Calendar, "v".to_owned(), Some("Work"), Some("#00ff00"))
        ]
    );
    assert_eq!(heads[0].description.as_deref(), Some("all"));
    let (_, kept) = read_all(reader.as_ref());
    assert_eq!((kept.items.len(), kept.originals.len()), (2, 4));
}

#[test]
fn a_folder_of_other_files_is_no_store() {
    let dir = tree_of(&["a.txt", "b.txt"]);
    write(dir.path(), "invitation.ics", one("a", ""));
    assert_eq!(detect(dir.path()).unwrap(), None);
    assert_eq!(open(dir.path(), Format::Pim).unwrap().collections().unwrap(), []);
    let reader = open_every(dir.path()).unwrap();
    assert_eq!(reader.collections().unwrap().len(), 1);
    assert!(reader.covers(&dir.path().join("invitation.ics")) && !reader.covers(&dir.path().join("a.txt")));
    fs::remove_file(dir.path().join("b.txt")).unwrap();
    assert_eq!(detect(dir.path()).unwrap().unwrap().because, ["a calendar file, BEGIN:VCALENDAR with VERSION 2.0"]);
}

#[test]
fn links_and_folders_called_like_calendars_are_not_read() {
    let dir = tree_of(&["x.ics/"]);
    write(dir.path(), "a.ics", one("a", ""));
    std::os::unix::fs::symlink("a.ics", dir.path().join("link.ics")).unwrap();
    let reader = open(dir.path(), Format::Pim).unwrap();
    assert_eq!(read_all(reader.as_ref()).1.places(), ["a.ics"]);
    assert!(!reader.covers(&dir.path().join("link.ics")));
}

#[test]
fn a_file_that_vanishes_is_an_exception() {
    let dir = tree_of(&[]);
    write(dir.path(), "a.ics", one("a", ""));
    let reader = open(&dir.path().join("a.ics"), Format::Pim).unwrap();
    fs::remove_file(dir.path().join("a.ics")).unwrap();
    assert_eq!(read_all(reader.as_ref()).1.reasons(), ["cannot be read"]);
}

/// Appends to the file as soon as it is given something of it.
struct Disturbing(Kept, std::path::PathBuf);

impl ItemSink for Disturbing {
    fn item(&mut self, item: FoundItem) -> Result<()> {
        let text = fs::read_to_string(&self.1).unwrap();
        fs::write(&self.1, text + "X").unwrap();
        self.0.item(item)
    }

    fn exception(&mut self, place: Place, outcome: Outcome, reason: &str, detail: String) -> Result<()> {
        self.0.exception(place, outcome, reason, detail)
    }

    fn original(&mut self, place: Place, path: std::path::PathBuf) -> Result<()> {
        self.0.original(place, path)
    }

    fn read_up_to(&mut self, _: u64, _: u128) {}

    fn resumed(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_is_cut_from_a_file_that_has_changed_since_it_was_looked_through() {
    let dir = tree_of(&[]);
    let events = event("a", "") + &event("b", "") + &event("c", "");
    for (name, content) in [("a.ics", format!("{HEAD}{events}{END}")), ("a.vcf", CARD.repeat(3))] {
        write(dir.path(), name, content);
        let path = dir.path().join(name);
        let reader = open(&path, Format::Pim).unwrap();
        let mut sink = Disturbing(Kept::default(), path);
        reader.read(&reader.collections().unwrap()[0], None, &mut sink).unwrap();
        assert_eq!((sink.0.items.len(), sink.0.reasons()), (1, vec!["the file changed while it was read".to_owned(); 2]));
    }
}

#[test]
fn stamps_show_every_change() {
    let dir = tree_of(&[]);
    write(dir.path(), "a.ics", one("a", ""));
    write(dir.path(), "b.ics", one("b", ""));
    write(dir.path(), "displayname", "x");
    let reader = open(dir.path(), Format::Pim).unwrap();
    let head = &reader.collections().unwrap()[0];
    let before = reader.stamps(head).unwrap();
    assert_eq!((before.len(), &before), (3, &reader.stamps(head).unwrap()));
    write(dir.path(), "displayname", "other");
    assert_ne!(before, reader.stamps(head).unwrap());
}

/// Lines of which hostile calendars and cards are made.
fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("BEGIN:VCALENDAR"),
        Just("END:VCALENDAR"),
        Just("BEGIN:VEVENT"),
        Just("END:VEVENT"),
        Just("begin:vtodo "),
        Just("END:VTODO"),
        Just("BEGIN:VTIMEZONE"),
        Just("END:VTIMEZONE"),
        Just("BEGIN:VALARM"),
        Just("END:VALARM"),
        Just("BEGIN:VPOLL"),
        Just("END:VPOLL"),
        Just("BEGIN;X=\"a:b\":VEVENT"),
        Just("UID:1"),
        Just("uid;X=\"::;Y:2"),
        Just("UID:"),
        Just("UI"),
        Just(" D:3"),
        Just("TZID:z"),
        Just("DTSTART;TZID=z:1"),
        Just("RECURRENCE-ID:1"),
        Just("NOTE;QUOTED-PRINTABLE:a="),
        Just("X;ENCODING=\"QUOTED-PRINTABLE\":="),
        Just("\tb="),
        Just("BEGIN:VCARD"),
        Just("END:VCARD"),
        Just("AGENT:"),
        Just("x.AGENT:BEGIN:VCARD"),
        Just("KIND:group"),
        Just(""),
        Just(" "),
        Just("="),
        Just("\r"),
        Just("\0\u{feff}:;\""),
    ]
    .prop_map(str::to_owned)
}

fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![3 => Just("\r\n"), 2 => Just("\n"), 1 => Just("\r"), 1 => Just("")];
    let lines = prop::collection::vec((any_line(), end), 0..40)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect::<String>().into_bytes());
    prop_oneof![8 => lines, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_file_holds_its_ledger_balances(file in any_file()) {
        for name in ["a.ics", "a.vcf"] {
            let kept = read(name, &file);
            // Whatever is no object of its own is in the original.
            let whole = kept.items.len() == 1 && bytes(&kept.items[0]) == file;
            prop_assert!(file.is_empty() || whole || kept.originals.len() == 1);
            for item in kept.items.iter().filter(|_| name == "a.vcf" && !whole) {
                let (at, card) = (item.place.offset.unwrap() as usize, bytes(item));
                prop_assert_eq!(&file[at..at + card.len()], card);
            }
        }
    }

    #[test]
    fn every_line_of_a_component_is_in_one_object_once(parts in prop::collection::vec((0u8..5, 0u8..4, 0u8..3), 2..30)) {
        let mut file = HEAD.to_owned() + &zone("z0") + &zone("z1");
        let mut lines = 0;
        for (n, (uid, kind, z)) in parts.iter().enumerate() {
            let name = ["VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY"][usize::from(*kind)];
            let alarm = format!("BEGIN:VALARM\r\nX-N:{n}b\r\nEND:VALARM\r\n");
            file += &format!("BEGIN:{name}\r\nX-N:{n}a\r\nUID:{uid}\r\nDTSTART;TZID=z{z}:\r\n 1\r\n{alarm}X-N:{n}c\r\nEND:{name}\r\n");
            lines += 3;
        }
        file += END;
        let kept = read("a.ics", &file);
        let mut seen: Vec<String> =
            texts(&kept).iter().flat_map(|t| t.lines()).filter(|l| l.starts_with("X-N:")).map(str::to_owned).collect();
        prop_assert_eq!(seen.len(), lines);
        seen.sort();
        seen.dedup();
        prop_assert_eq!(seen.len(), lines);
        for text in texts(&kept) {
            for z in ["z0", "z1"] {
                let named = text.contains(&format!("TZID={z}:"));
                let there = text.contains(&format!("TZID:{z}\r"));
                prop_assert!(kept.items.len() == 1 || named == there);
            }
            prop_assert!(text.starts_with(HEAD) && text.ends_with(END));
        }
    }
}
