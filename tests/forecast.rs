//! What the plan forecasts is what happens, whatever a server is like; and harm that nobody can foresee is found.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; the seed is told")]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use floe::model::Digest;
use support::mail::{Maildir, message};
use support::program::Ran;
use support::way::Way;

const ANNA: &str = "anna@acme.example";

fn dated(mail: &Maildir, name: &str, seconds: i64) {
    let shift = Duration::from_secs(seconds.unsigned_abs());
    let when = if seconds < 0 { UNIX_EPOCH - shift } else { UNIX_EPOCH + shift };
    fs::File::options().write(true).open(mail.path("", name)).unwrap().set_modified(when).unwrap();
}

/// A store of everything that servers are known to stumble over.
fn odd_store(root: &Path) -> Maildir {
    let mut mail = Maildir::new(root, ANNA);
    let head = "From: a@b.example\nSubject: odd\nMessage-ID: <odd@b.example>\n";
    let odd: [(&str, Vec<u8>); 14] = [
        ("plain", format!("{head}\nbody\n").into_bytes()),
        ("empty", Vec::new()),
        ("nul", format!("{head}\na\0b\n").into_bytes()),
        ("bare-cr", format!("{head}\na\rb\n").into_bytes()),
        ("eight-bit", [head.as_bytes(), b"X-Eight: \xe4\xf6\n\nbody\n"].concat()),
        ("bad-header", b"this is no header\n\nbody\n".to_vec()),
        ("no-header", b"\nbody\n".to_vec()),
        ("folded-first", format!(" x\n{head}\nbody\n").into_bytes()),
        ("eight-bit-name", format!("\u{feff}{head}\nbody\n").into_bytes()),
        ("unended", head.trim_end().as_bytes().to_vec()),
        ("doubled-cr", format!("{head}\na\r\r\nb\n").into_bytes()),
        ("cr-at-end", format!("{head}\na\r").into_bytes()),
        ("crlf", format!("{head}\nbody\n").replace('\n', "\r\n").into_bytes()),
        ("large", message("large", &[7; 40_000])),
    ];
    for (n, (name, bytes)) in odd.iter().enumerate() {
        mail.put("", &format!("17000000{n:02}.{name}.host:2,S"), bytes);
    }
    for (n, seconds) in [(20, 0), (21, -86_400), (22, 4_102_444_800_i64)] {
        let name = format!("17000000{n}.date.host:2,F");
        mail.put("", &name, &message(&format!("date {n}"), b"x"));
        dated(&mail, &name, seconds);
    }
    fs::write(root.join("dovecot-keywords"), "0 $label1\n1 Projekt\u{fc}\n").unwrap();
    mail.put("", "1700000030.keyword.host:2,Sa", &message("keyword", b"x"));
    for folder in [".Entw&APw-rfe", ".Sent", ".Trash", ".a", ".a.b*c", ".Public Folders"] {
        mail.put(folder, "1700000040.M1.host:2,", &message(folder, b"x"));
    }
    mail
}

/// Runs a command until it does not fail, six times at most.
fn repeat(run: impl Fn() -> Ran) -> Ran {
    let mut ran = run();
    for _ in 1..6 {
        if ran.code() > 1 {
            ran = run();
        }
    }
    ran
}

#[test]
fn on_every_difficult_server_the_forecast_is_the_outcome() {
    let servers = [
        "",
        "no-uidplus",
        "no-multiappend",
        "no-literal-plus",
        "no-special-use",
        "no-special-use,no-xlist",
        "no-move",
        "no-keywords",
        "foreign-folders",
        "czech",
        "german,no-xlist,no-special-use",
        "no-uidplus,no-multiappend,no-literal-plus,no-keywords,czech",
        "append-refused=4+",
        "max-message=30000",
        "cut-command=60,cut-literal=12,cut-append=9,cut-reply=80",
    ];
    for difficult in servers {
        let way = Way::new(difficult);
        let mail = odd_store(&way.path("mail"));
        way.snapshot(&[(ANNA, &mail.root)]);
        goes_as_forecast(&way, difficult);
    }
}

/// A vNote without UID and title, one that has all, and a note of Google Keep with more than a vNote can say.
fn odd_notes(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let v = |inside: &str| format!("BEGIN:VNOTE\r\nVERSION:1.1\r\n{inside}END:VNOTE\r\n");
    let phone = "BODY;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:K=C3=A4se,=0D=0A=\r\nBrot\r\nDCREATED:20100101T000000\r\n";
    fs::write(folder.join("phone.vnt"), v(phone)).unwrap();
    fs::write(folder.join("whole.vnt"), v("UID:n1\r\nSUMMARY:a\r\nBODY:b, c\r\nX-COLOR:red\r\nCLASS:PRIVATE\r\n")).unwrap();
    let keep = r#"{"color":"BLUE","isPinned":true,"textContent":"Zeile eins\nzwei: drei","title":"Übersicht","labels":[{"name":"home, sweet"}],
        "attachments":[{"filePath":"1.png","mimetype":"image/png"}],"userEditedTimestampUsec":1690866236591000}"#;
    fs::write(folder.join("Keep.json"), keep).unwrap();
}

/// Calendars, contacts, notes and files of everything that servers are known to stumble over.
fn odd_groupware(root: &Path) {
    let calendar = |inside: &str| format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//EN\r\n{inside}END:VCALENDAR\r\n");
    let event = |uid: &str, more: &str| {
        format!(
            "BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20240101T000000Z\r\nDTSTART:20240301T090000Z\r\nDTEND:20240301T100000Z\r\n{more}\
             END:VEVENT\r\n"
        )
    };
    let rich = "SUMMARY:rich\r\nCOLOR:red\r\nGEO:50.5;14.5\r\nCATEGORIES:a,b\\,c\r\nCLASS:PRIVATE\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\n\
        DESCRIPTION:x\r\nTRIGGER:-PT15M\r\nEND:VALARM\r\n";
    let texts = "SUMMARY:a, b; c\r\nDESCRIPTION:d, e\r\nURL:https://x.invalid/?a;b,c\r\nX-ODD:a, b; c\r\n";
    let endless = event("endless", "SUMMARY:endless\r\n").replace("DTEND:20240301T100000Z\r\n", "");
    let todo = "BEGIN:VTODO\r\nUID:todo\r\nDTSTAMP:20240101T000000Z\r\nSUMMARY:todo\r\nPERCENT-COMPLETE:40\r\nEND:VTODO\r\n";
    let journal = "BEGIN:VJOURNAL\r\nUID:journal\r\nDTSTAMP:20240101T000000Z\r\nDTSTART;VALUE=DATE:20240301\r\nSUMMARY:day\r\nEND:VJOURNAL\r\n";
    // Commas get a backslash each: that one is too large for a server only as it is sent.
    let long = |uid: &str, text: &str| event(uid, &format!("SUMMARY:{uid}\r\nDESCRIPTION:{text}\r\n"));
    let moment = event("moment", "SUMMARY:moment\r\n").replace("T100000Z", "T090000Z");
    let (large, grows) = (long("large", &"x".repeat(40_000)), long("grows", &"a, ".repeat(9_000)));
    let events: String =
        [event("rich", rich), event("texts", texts), event("plain", "SUMMARY:plain\r\n"), endless, moment, large, grows].concat();
    fs::create_dir_all(root.join("calendars")).unwrap();
    fs::write(root.join("calendars/Work.ics"), calendar(&events)).unwrap();
    fs::write(root.join("calendars/Mixed.ics"), calendar(&[&event("mixed", "SUMMARY:m\r\n"), todo, journal].concat())).unwrap();
    // The same UID once more with other content, once with the same, and once in another calendar; and an event without DTSTAMP.
    let twice = |summary: &str| calendar(&event("twice", &format!("SUMMARY:{summary}\r\n")));
    fs::create_dir_all(root.join("calendars/Twice")).unwrap();
    for (name, summary) in [("a", "first"), ("b", "second"), ("c", "first")] {
        fs::write(root.join(format!("calendars/Twice/{name}.ics")), twice(summary)).unwrap();
    }
    fs::write(root.join("calendars/Other.ics"), twice("elsewhere")).unwrap();
    let unstamped =
        event("unstamped", "SUMMARY:x\r\nLAST-MODIFIED:20230101T000000Z\r\n").replace("DTSTAMP:20240101T000000Z\r\n", "");
    fs::write(root.join("calendars/Unstamped.ics"), calendar(&unstamped)).unwrap();
    // The server's own folder of that name takes notes only.
    fs::write(root.join("calendars/Notes.ics"), calendar(&journal.replace("UID:journal", "UID:in-notes"))).unwrap();
    let nameless = calendar(
        "METHOD:PUBLISH\r\nBEGIN:VEVENT\r\nDTSTAMP:20240101T000000Z\r\nDTSTART;VALUE=DATE:20240301\r\nSUMMARY:no uid\r\nEND:VEVENT\r\n",
    );
    fs::write(root.join("calendars/Nameless.ics"), nameless).unwrap();
    let card = |version: &str, uid: &str, more: &str| {
        format!("BEGIN:VCARD\r\nVERSION:{version}\r\nUID:{uid}\r\nN:Doe;J;;;\r\nFN:J Doe\r\n{more}END:VCARD\r\n")
    };
    let photo = "PHOTO;ENCODING=b;TYPE=GIF:R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=\r\nNOTE:n, o\r\nNICKNAME:a,b\r\nORG:x, y;z\r\nTEL:1,2;3\r\n";
    let cards = [
        card("3.0", "c3", photo),
        card("4.0", "c4", "KIND:individual\r\nGENDER:O\r\nRELATED:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\r\n"),
        card("3.0", "large", &format!("NOTE:{}\r\n", "x".repeat(40_000))),
        "BEGIN:VCARD\r\nVERSION:2.1\r\nN:Old;Card\r\nTEL;WORK:1\r\nEND:VCARD\r\n".to_owned(),
    ];
    fs::create_dir_all(root.join("contacts")).unwrap();
    fs::write(root.join("contacts/Contacts.vcf"), cards.concat()).unwrap();
    odd_notes(&root.join("notes"));
    fs::create_dir_all(root.join("files/sub")).unwrap();
    fs::write(root.join("files/plain.txt"), "plain").unwrap();
    fs::write(root.join("files/sub/what: why.txt"), "odd name").unwrap();
    fs::write(root.join("files/sub/large.bin"), vec![9; 50_000]).unwrap();
    // Not the moment at which a fast replay sends them: then the server's own time would be theirs.
    let old = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for file in ["plain.txt", "sub/what: why.txt", "sub/large.bin"] {
        fs::File::options().write(true).open(root.join("files").join(file)).unwrap().set_modified(old).unwrap();
    }
}

/// Everything from the doctor to the report with the stand-in's users' own passwords; the forecast must be the outcome.
#[track_caller]
fn goes_as_forecast(way: &Way, difficult: &str) {
    // Cuts may end a step; a person would try again.
    assert!((0..6).any(|_| way.doctor().code() <= 1), "{difficult}");
    let planned = way.plan(&[]);
    assert!(planned.code() <= 1, "{difficult}: {planned}");
    assert!((0..6).any(|_| way.provision().code() <= 1), "{difficult}");
    let passwords = way.path("passwords.csv").to_str().unwrap().to_owned();
    let replayed = repeat(|| way.replay(&["--passwords", &passwords]));
    assert!(replayed.code() <= 1, "{difficult}: {replayed}");
    let validated = repeat(|| way.validate(&["--passwords", &passwords]));
    let report = way.report();
    assert!(validated.code() <= 1, "{difficult}: {validated}\n{:#?}\n{replayed}", report["exceptions"]);
    let lines = report["compare"]["forecast"].as_array().unwrap();
    for line in lines {
        assert_eq!(line["expected"], line["happened"], "{difficult}: {line}\n{:#?}", report["exceptions"]);
    }
    assert!(lines.len() > 1, "{difficult}: nothing was forecast");
    let causes: Vec<&str> = report["exceptions"].as_array().unwrap().iter().filter_map(|e| e["cause"].as_str()).collect();
    assert!(!causes.contains(&"a forecast did not come true"), "{difficult}: {causes:?}");
}

#[test]
fn on_every_difficult_server_the_forecast_for_calendars_contacts_and_files_is_the_outcome() {
    let servers = [
        "",
        "locked=4+",
        "http-busy=5+",
        "cut-put=5+,cut-make=2+",
        "no-note-collections",
        "drop-property=COLOR,drop-property=GEO,drop-property=URL",
        "drop-property=VALARM",
        "drop-property=CATEGORIES,drop-property=CLASS,drop-property=PERCENT-COMPLETE",
        "drop-property=PHOTO,drop-property=NOTE,drop-property=KIND",
        "made-up-etag=3+",
        "max-body=30000",
        "max-body=30000,cut-put=5+,czech",
        "drop-property=COLOR,made-up-etag=4+,locked=7+,no-note-collections,czech",
    ];
    for difficult in servers {
        let way = Way::new(difficult);
        odd_groupware(&way.path("store"));
        way.snapshot(&[(ANNA, &way.path("store"))]);
        goes_as_forecast(&way, difficult);
    }
}

#[test]
fn harm_to_calendars_contacts_and_files_that_nobody_can_foresee_is_found() {
    for (harm, state) in [("alter-item=3+", "changed"), ("drop-property=SUMMARY", "changed")] {
        let mut way = Way::new("");
        odd_groupware(&way.path("store"));
        way.snapshot(&[(ANNA, &way.path("store"))]);
        way.doctor().expect(0);
        way.restart(harm);
        way.plan(&[]);
        way.provision().expect(0);
        let passwords = way.path("passwords.csv").to_str().unwrap().to_owned();
        way.replay(&["--passwords", &passwords]);
        let found = way.validate(&["--passwords", &passwords]);
        assert_eq!(found.code(), 2, "{harm}: {found}");
        assert!(way.states().get(state).is_some_and(|n| *n > 1), "{harm}: {:?}", way.states());
    }
}

/// Digests of the messages that the stand-in keeps in a folder.
fn kept(way: &Way, folder: &str) -> Vec<Digest> {
    let folder = way.path("icewarp/mail").join(ANNA).join("folders").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "eml")).map(|path| Digest::of(&fs::read(path).unwrap())).collect()
}

#[test]
fn harm_that_nobody_can_foresee_is_found_and_counted() {
    for (harm, state) in [
        ("alter-message=3+", "changed"),
        ("drop-message=4+", "missing"),
        ("duplicate=5+", "duplicate"),
        ("alter-date=3+", "changed"),
        ("lose-flag=2+", "changed"),
    ] {
        let mut way = Way::new("");
        let mut mail = Maildir::new(&way.path("mail"), ANNA);
        let sent: Vec<Vec<u8>> = (1..=20).map(|n| message(&format!("mail {n}"), &[n; 60])).collect();
        for (n, bytes) in sent.iter().enumerate() {
            mail.put("", &format!("17000000{n:02}.M{n}P1.host:2,S"), bytes);
        }
        way.snapshot(&[(ANNA, &mail.root)]);
        // The doctor saw the server on a good day.
        way.doctor().expect(0);
        way.restart(harm);
        way.plan(&[]);
        way.provision().expect(0);
        way.replay(&[]);
        let found = way.validate(&[]);
        let states = way.states();
        let counted = states.get(state).copied().unwrap_or_default();
        assert!(counted > 0, "{harm}: {found}");
        assert_eq!(found.code(), if state == "duplicate" { 1 } else { 2 }, "{harm}: {found}");
        let crlf: BTreeSet<Digest> =
            sent.iter().map(|m| Digest::of(String::from_utf8_lossy(m).replace('\n', "\r\n").as_bytes())).collect();
        let there = kept(&way, "INBOX");
        let distinct: BTreeSet<Digest> = there.iter().copied().collect();
        let truth = match harm.split('=').next().unwrap() {
            "alter-message" => there.iter().filter(|digest| !crlf.contains(digest)).count(),
            "drop-message" => crlf.difference(&distinct).count(),
            "duplicate" => there.len() - distinct.len(),
            _ => continue,
        };
        assert_eq!(counted, truth as u64, "{harm}: {states:?}");
    }
}

#[test]
fn what_the_server_refuses_though_nobody_foresaw_it_is_missing_with_the_reason() {
    let mut way = Way::new("");
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    mail.put("", "1700000001.M1P1.host:2,S", &message("small", b"x"));
    mail.put("", "1700000002.M2P1.host:2,S", &message("large", &[7; 60_000]));
    way.snapshot(&[(ANNA, &mail.root)]);
    way.doctor().expect(0);
    way.restart("max-message=30000");
    way.plan(&[]);
    way.provision().expect(0);
    way.replay(&[]).expect(1);
    way.validate(&[]).expect(2);
    let missing = way.report()["exceptions"].as_array().unwrap().iter().find(|e| e["class"] == "missing").cloned().unwrap();
    assert_eq!(missing["cause"], "not in the target, which has refused it", "{missing}");
    assert!(!missing["examples"][0]["detail"].as_str().unwrap().is_empty(), "{missing}");
}

#[test]
fn a_dav_folder_that_the_server_refuses_though_nobody_foresaw_it_stops_no_other_and_its_items_are_named() {
    let mut way = Way::new("");
    odd_groupware(&way.path("store"));
    way.snapshot(&[(ANNA, &way.path("store"))]);
    way.doctor().expect(0);
    way.restart("no-note-collections");
    way.plan(&[]);
    way.provision().expect(0);
    let passwords = way.path("passwords.csv").to_str().unwrap().to_owned();
    let said = way.replay(&["--passwords", &passwords]).expect(1).text();
    // Three notes, and two journals in folders that would have to be made.
    assert_eq!(said.matches("its folder is refused by the server").count(), 5, "{said}");
    assert!(said.contains("refused 6") && said.contains("20 sent now"), "{said}");
}
