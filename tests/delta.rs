//! A later snapshot of the same source: what is new, changed or moved there is brought, what was removed only if that is asked for.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; the seed is told")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::mail::{Maildir, message};
use support::way::Way;

const ANNA: &str = "anna@acme.example";

fn states(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

fn put(mail: &mut Maildir, folder: &str, n: u32, flags: &str) {
    mail.put(folder, &format!("17000000{n:02}.M{n}P1.host:2,{flags}"), &message(&format!("mail {n}"), &[n as u8; 50]));
}

fn rename(mail: &Maildir, from: (&str, &str), to: (&str, &str)) {
    fs::rename(mail.path(from.0, from.1), mail.path(to.0, to.1)).unwrap();
}

/// Three messages, carried over.
fn carried(difficult: &str) -> (Way, Maildir) {
    let way = Way::new(difficult);
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    (1..=3).for_each(|n| put(&mut mail, "", n, "S"));
    way.snapshot(&[(ANNA, &mail.root)]);
    way.prepare();
    way.replay(&[]).expect(0);
    (way, mail)
}

/// Six messages, carried over; then one of each change at the source, and the plan brought up to date.
fn changed(difficult: &str) -> (Way, Maildir) {
    let way = Way::new(difficult);
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    for n in 1..=5 {
        put(&mut mail, "", n, "S");
    }
    put(&mut mail, ".Work", 6, "");
    way.snapshot(&[(ANNA, &mail.root)]);
    way.prepare();
    way.replay(&[]).expect(0);
    way.validate(&[]).expect(0);

    rename(&mail, ("", "1700000001.M1P1.host:2,S"), ("", "1700000001.M1P1.host:2,FRS"));
    rename(&mail, ("", "1700000002.M2P1.host:2,S"), (".Work", "1700000002.M2P1.host:2,S"));
    fs::remove_file(mail.path("", "1700000003.M3P1.host:2,S")).unwrap();
    put(&mut mail, ".New", 7, "T");
    let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
    fs::write(way.path("plan.toml"), plan.replace("to = \"Work\"", "to = \"Work at home\"")).unwrap();
    (way, mail)
}

#[test]
fn a_delta_brings_what_is_new_changed_and_moved_and_removes_only_when_told() {
    for difficult in ["", "no-uidplus", "no-move,no-multiappend"] {
        let (way, mail) = changed(difficult);
        // An edit after the first pass would send the folder elsewhere: it is refused, not guessed at.
        let moved = way.replay(&[]);
        assert!(moved.code() == 2 && moved.text().contains("another place before"), "{moved}");
        let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
        fs::write(way.path("plan.toml"), plan.replace("Work at home", "Work")).unwrap();

        way.snapshot(&[(ANNA, &mail.root)]);
        way.plan(&["--update"]).expect(0);
        let ran = way.replay(&[]).expect(1);
        let words = "flags changed 1, moved 1, gone at the source and kept 1";
        assert!(ran.text().contains(words) && ran.text().contains("sent 2"), "{difficult}: {ran}");
        way.validate(&[]).expect(1);
        assert_eq!(way.states(), states(&[("equivalent", 6), ("extra", 1)]), "{difficult}");

        let again = way.replay(&[]).expect(1);
        assert!(again.text().contains(" 0 sent now") && !again.text().contains("moved"), "{difficult}: {again}");
        let removed = way.replay(&["--remove"]).expect(0);
        assert!(removed.text().contains("removed 1"), "{difficult}: {removed}");
        way.validate(&[]).expect(0);
        assert_eq!(way.states(), states(&[("equivalent", 6)]), "{difficult}");
    }
}

#[test]
fn what_was_gone_and_comes_back_is_sent_again() {
    let (way, mut mail) = changed("");
    let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
    fs::write(way.path("plan.toml"), plan.replace("Work at home", "Work")).unwrap();
    way.snapshot(&[(ANNA, &mail.root)]);
    way.plan(&["--update"]).expect(0);
    way.replay(&["--remove"]).expect(0);
    put(&mut mail, "", 3, "S");
    way.snapshot(&[(ANNA, &mail.root)]);
    way.plan(&["--update"]).expect(0);
    way.replay(&["--remove"]).expect(0);
    way.validate(&[]).expect(0);
    assert_eq!(way.states(), states(&[("equivalent", 7)]));
}

#[test]
fn a_folder_that_is_renamed_at_the_source_is_not_there_twice() {
    let way = Way::new("");
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    put(&mut mail, "", 1, "S");
    (2..8).for_each(|n| put(&mut mail, ".Old", n, "S"));
    way.snapshot(&[(ANNA, &mail.root)]);
    way.prepare();
    way.replay(&[]).expect(0);
    fs::rename(mail.root.join(".Old"), mail.root.join(".New")).unwrap();
    way.snapshot(&[(ANNA, &mail.root)]);
    way.plan(&["--update"]).expect(0);
    let ran = way.replay(&[]).expect(0);
    assert!(ran.text().contains("moved 6"), "{ran}");
    let left = fs::read_dir(mailbox(&way, "Old"))
        .map_or(0, |files| files.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "eml")).count());
    assert_eq!(left, 0);
    way.validate(&[]).expect(0);
}

#[test]
fn an_account_that_is_sent_to_another_address_later_arrives_there_whole() {
    let way = Way::new("");
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    (1..=3).for_each(|n| put(&mut mail, "", n, "S"));
    put(&mut mail, ".Work", 4, "");
    way.snapshot(&[(ANNA, &mail.root)]);
    way.prepare();
    way.replay(&[]).expect(0);
    // The address was misspelt.
    let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
    fs::write(way.path("plan.toml"), plan.replace(&format!("target = \"{ANNA}\""), "target = \"ann@acme.example\"")).unwrap();
    assert_eq!(way.provision().code(), 0);
    way.validate(&[]).expect(2);
    let ran = way.replay(&[]).expect(0);
    assert!(ran.text().contains("sent 4"), "{ran}");
    way.validate(&[]).expect(0);
    assert_eq!(way.states(), states(&[("equivalent", 4)]));
    assert!(way.replay(&[]).expect(0).text().contains("sent 0"));
}

#[test]
fn a_folder_that_is_refused_stops_no_other_and_what_moved_into_it_is_not_removed() {
    let (way, mut mail) = carried("");
    put(&mut mail, ".Later", 4, "S");
    rename(&mail, ("", "1700000001.M1P1.host:2,S"), (".Later", "1700000001.M1P1.host:2,S"));
    put(&mut mail, ".Zoo", 5, "S");
    way.snapshot(&[(ANNA, &mail.root)]);
    way.plan(&["--update"]).expect(0);
    let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
    // A name that IceWarp keeps for shared folders.
    fs::write(way.path("plan.toml"), plan.replace("to = \"Later\"", "to = \"~Later\"")).unwrap();
    for sent in [1, 0] {
        let ran = way.replay(&["--remove"]).expect(1);
        let (counts, named) = (format!("sent {sent}"), "cur/1700000001.M1P1.host:2,S");
        for words in ["refused 2", "kept 1", "its folder is refused", "no message is removed", named] {
            assert!(ran.text().contains(words), "{words}: {ran}");
        }
        assert!(sent == 0 || ran.text().contains(&counts), "{ran}");
    }
    // Nothing of it is written down as refused for good: with another name it goes on.
    fs::write(way.path("plan.toml"), plan).unwrap();
    let ran = way.replay(&["--remove"]).expect(0);
    assert!(ran.text().contains("sent 2") && ran.text().contains("moved 1"), "{ran}");
    way.validate(&[]).expect(0);
    assert_eq!(way.states(), states(&[("equivalent", 5)]));
}

/// The stand-in's folder of a mailbox.
fn mailbox(way: &Way, name: &str) -> std::path::PathBuf {
    way.path("icewarp/mail").join(ANNA).join("folders").join(name)
}

#[test]
fn a_stranger_among_what_is_gone_is_not_touched() {
    let (way, mail) = carried("no-uidplus");
    // The owner keeps a copy of the second message: now nobody knows which of the two is floe's.
    copy_on_server(&way, "mail 2");
    fs::remove_file(mail.path("", "1700000002.M2P1.host:2,S")).unwrap();
    fs::remove_file(mail.path("", "1700000003.M3P1.host:2,S")).unwrap();
    way.snapshot(&[(ANNA, &mail.root)]);
    way.plan(&["--update"]).expect(0);
    let ran = way.replay(&["--remove"]).expect(1);
    assert!(ran.text().contains("removed 1") && ran.text().contains("not proven to be floe's 1"), "{ran}");
}

/// Copies the message with that subject within INBOX.
fn copy_on_server(way: &Way, subject: &str) {
    use floe::imap::{Append, Body, Connection, Login, Settings, Way as How};
    let address = format!("imap://{}", way.server.imap()).parse().unwrap();
    let login =
        Login::OnBehalf { user: ANNA.to_owned(), admin: way.server.admin().to_owned(), password: way.server.password().unwrap() };
    let mut connection = Connection::open(&Settings::new(address, floe::net::Trust::default()), &login).unwrap();
    let bytes = crlf_of(&mailbox(way, "INBOX"), subject);
    let mut batch = [Append { flags: &[], date: None, body: Body::Bytes(&bytes) }];
    let sent = connection.send_append("INBOX", How::OneByOne, &mut batch).unwrap();
    connection.finish_append(sent).unwrap();
    connection.logout();
}

fn crlf_of(folder: &Path, subject: &str) -> Vec<u8> {
    let files = fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap_or_default());
    let is_it = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains(&format!("Subject: {subject}\r\n"));
    files.into_iter().find(is_it).unwrap()
}

#[test]
fn since_sends_only_what_an_earlier_snapshot_had_not() {
    let way = Way::new("");
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    (1..=4).for_each(|n| put(&mut mail, "", n, "S"));
    way.snapshot(&[(ANNA, &mail.root)]);
    let first = floe::archive::Archive::open(&way.path("a.floe")).unwrap().snapshot(None).unwrap().id;
    put(&mut mail, "", 5, "");
    way.snapshot(&[(ANNA, &mail.root)]);
    way.prepare();
    let ran = way.replay(&["--since", &first]).expect(0);
    assert!(ran.text().contains("sent 1"), "{ran}");
    way.validate(&[]).expect(2);
    assert_eq!(way.states(), states(&[("equivalent", 1), ("missing", 4)]));
}

/// Writes a store of one calendar and some files anew: events by UID and summary, files by name and content.
fn groupware(way: &Way, events: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    let store = way.path("store");
    let _ = fs::remove_dir_all(&store);
    let event = |(uid, summary): &(&str, &str)| {
        format!(
            "BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20240101T000000Z\r\nDTSTART:20240301T090000Z\r\nDTEND:20240301T100000Z\r\n\
             SUMMARY:{summary}\r\nEND:VEVENT\r\n"
        )
    };
    let all: String = events.iter().map(event).collect();
    fs::create_dir_all(store.join("calendars")).unwrap();
    fs::create_dir_all(store.join("files")).unwrap();
    fs::write(store.join("calendars/Work.ics"), format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{all}END:VCALENDAR\r\n"))
        .unwrap();
    for (name, content) in files {
        fs::write(store.join("files").join(name), content).unwrap();
    }
    way.snapshot(&[(ANNA, &store)]);
    floe::archive::Archive::open(&way.path("a.floe")).unwrap().snapshot(None).unwrap().id
}

#[test]
fn since_brings_what_changed_of_calendars_and_files_and_takes_out_what_went_since() {
    let way = Way::new("");
    let passwords = way.path("passwords.csv").to_str().unwrap().to_owned();
    let replay = |more: &[&str]| way.replay(&[more, &["--passwords", &passwords]].concat());
    // How many are as they should be, but for the times of files, which this server does not keep; and how many are there besides.
    let validate = || {
        way.validate(&["--passwords", &passwords]).expect(1);
        let states = way.states();
        let count = |names: &[&str]| names.iter().filter_map(|name| states.get(*name)).sum::<u64>();
        assert_eq!(count(&["missing", "changed", "duplicate", "refused"]), 0, "{states:?}");
        (count(&["identical", "equivalent", "altered"]), count(&["extra"]))
    };
    let zero = groupware(&way, &[("a", "a"), ("b", "b"), ("c", "c"), ("z", "z")], &[("one", "1"), ("two", "2")]);
    way.prepare();
    replay(&[]).expect(0);
    let first = groupware(&way, &[("a", "a"), ("b", "b"), ("c", "c")], &[("one", "1"), ("two", "2")]);
    let whole = groupware(&way, &[("a", "a"), ("b", "better"), ("d", "d")], &[("one", "1"), ("two", "changed"), ("three", "3")]);
    assert!(zero != first && first != whole);
    way.plan(&["--update"]).expect(1);

    // Somebody else filled this target, as far as this journal knows.
    let journal = fs::read(way.path("plan.journal")).unwrap();
    fs::remove_file(way.path("plan.journal")).unwrap();
    let ran = replay(&["--since", &first]).expect(0);
    assert!(ran.text().contains(" 4 sent now"), "{ran}");
    assert_eq!(validate(), (6, 2));
    let again = replay(&["--since", &first]).expect(0);
    assert!(again.text().contains(" 0 sent now"), "{again}");

    // With the journal that put it there: `c` went since the first snapshot, `z` before it.
    fs::write(way.path("plan.journal"), journal).unwrap();
    let kept = replay(&["--since", &first]).expect(1);
    assert!(kept.text().contains("gone at the source and kept 1"), "{kept}");
    let removed = replay(&["--since", &first, "--remove"]).expect(0);
    assert!(removed.text().contains("removed 1"), "{removed}");
    assert_eq!(validate(), (6, 1));
    let removed = replay(&["--remove"]).expect(0);
    assert!(removed.text().contains("removed 1"), "{removed}");
    assert_eq!(validate(), (6, 0));
}

#[test]
fn since_leaves_alone_what_somebody_has_changed_on_the_target() {
    let way = Way::new("");
    let passwords = way.path("passwords.csv").to_str().unwrap().to_owned();
    groupware(&way, &[("a", "somebody's")], &[("one", "somebody's")]);
    way.prepare();
    way.replay(&["--passwords", &passwords]).expect(0);
    fs::remove_file(way.path("plan.journal")).unwrap();
    let first = groupware(&way, &[("a", "first")], &[("one", "first")]);
    groupware(&way, &[("a", "second")], &[("one", "second")]);
    way.plan(&["--update"]).expect(1);
    let ran = way.replay(&["--since", &first, "--passwords", &passwords]).expect(1);
    assert!(
        ran.text().contains("another object is there already") && ran.text().contains("another file is there already"),
        "{ran}"
    );
}

#[test]
fn an_updated_plan_has_the_domains_that_are_new_and_those_that_people_gave() {
    let way = Way::new("");
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    put(&mut mail, "", 1, "S");
    let mut old = Maildir::new(&way.path("old"), "old@old.example");
    put(&mut old, "", 2, "S");
    way.snapshot(&[(ANNA, &mail.root), ("old@old.example", &old.root)]);
    way.doctor().expect(0);
    way.plan(&[]).expect(0);
    let domains = || {
        let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
        plan.lines().find(|line| line.starts_with("domains = ")).unwrap().split("  #").next().unwrap().to_owned()
    };
    assert_eq!(domains(), "domains = [\"acme.example\", \"old.example\"]");
    let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
    fs::write(way.path("plan.toml"), plan.replace("\"old.example\"]", "\"old.example\", \"people.example\"]")).unwrap();
    let mut new = Maildir::new(&way.path("new"), "new@new.example");
    put(&mut new, "", 3, "S");
    way.snapshot(&[(ANNA, &mail.root), ("new@new.example", &new.root)]);
    way.plan(&["--update"]).expect(0);
    assert_eq!(domains(), "domains = [\"acme.example\", \"new.example\", \"people.example\"]");
    // What people took out stays out, where the source has not changed in that.
    let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
    fs::write(way.path("plan.toml"), plan.replace("\"new.example\", ", "")).unwrap();
    put(&mut new, "", 4, "S");
    way.snapshot(&[(ANNA, &mail.root), ("new@new.example", &new.root)]);
    way.plan(&["--update"]).expect(0);
    assert_eq!(domains(), "domains = [\"acme.example\", \"people.example\"]");
}

#[test]
fn a_sample_is_read_by_place_and_a_harm_in_it_is_found() {
    let way = Way::new("");
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    (1..=20).for_each(|n| put(&mut mail, "", n, "S"));
    way.snapshot(&[(ANNA, &mail.root)]);
    way.prepare();
    way.replay(&[]).expect(0);
    way.validate(&["--sample", "7", "--seed", "3"]).expect(0);
    assert_eq!(way.states(), states(&[("equivalent", 7)]));
    let drawn = |way: &Way| {
        let text = fs::read_to_string(way.path("report/items.csv")).unwrap();
        let mut rows: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        rows.sort();
        rows
    };
    let first = drawn(&way);
    way.validate(&["--sample", "7", "--seed", "3"]).expect(0);
    assert_eq!(drawn(&way), first);
    assert_eq!(way.report()["fixity"]["sample"]["items"], 7);
    for file in fs::read_dir(mailbox(&way, "INBOX")).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|e| e == "eml") {
            let mut bytes = fs::read(&file).unwrap();
            let at = bytes.len() - 30;
            bytes[at] ^= 1;
            fs::write(&file, bytes).unwrap();
        }
    }
    way.validate(&["--sample", "7", "--seed", "3"]).expect(2);
    assert_eq!(way.states(), states(&[("changed", 7)]));
    let changes = &way.report()["compare"]["changes"];
    assert_eq!(changes["body"], 7, "{changes}");
}

#[test]
fn status_says_how_far_it_is_while_nobody_is_asked() {
    let way = Way::new("");
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    (1..=4).for_each(|n| put(&mut mail, "", n, "S"));
    way.snapshot(&[(ANNA, &mail.root)]);
    way.prepare();
    let status = |code| {
        let mut command = support::program::floe();
        support::program::run(command.arg("status").arg("--plan").arg(way.path("plan.toml"))).expect(code).text()
    };
    assert!(status(1).contains("0 of 4"));
    way.replay(&["--only", "contacts"]).expect(0);
    assert!(status(1).contains("0 of 4"));
    way.replay(&["--only", "mail", "--rate", "6000"]).expect(0);
    assert!(status(0).contains("100 %") && status(0).contains("4 of 4"));
}

/// Snapshots one mailbox with a directory of two people and a list.
#[track_caller]
fn with_directory(way: &Way, mail: &Maildir, people: &str, members: &str) {
    fs::create_dir_all(way.path("directory")).unwrap();
    let heads = ("Email Address [Required],First Name,Email Aliases,Quota", "Group Email,Member Email,Member Role");
    fs::write(way.path("directory/users.csv"), format!("{}\n{people}", heads.0)).unwrap();
    fs::write(way.path("directory/groups.csv"), format!("{}\n{members}", heads.1)).unwrap();
    let mut command = support::program::snapshot(&[(ANNA, &mail.root)], &way.path("a.floe"));
    let ran = support::program::run(command.arg("--directory").arg(way.path("directory")));
    assert!(ran.code() <= 1, "{ran}");
}

#[test]
fn an_updated_plan_takes_in_what_is_new_of_its_accounts_and_leaves_what_was_edited() {
    let way = Way::new("");
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    put(&mut mail, "", 1, "S");
    let bert = "bert@acme.example,Bert,,";
    let team = "team@acme.example,anna@acme.example,MEMBER\n";
    let anna = |aliases: &str, quota: &str| format!("anna@acme.example,Anna,\"{aliases}\",{quota}\n{bert}\n");
    with_directory(&way, &mail, &anna("a@acme.example, old@acme.example, out@acme.example", "1 GB"), team);
    way.doctor().expect(0);
    way.plan(&[]);
    let line = |account: &str, name: &str| {
        let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
        let of = plan.split("[[account]]").find(|text| text.contains(&format!("target = \"{account}\""))).unwrap().to_owned();
        of.lines().find_map(|line| line.strip_prefix(&format!("{name} = "))).unwrap_or_default().to_owned()
    };
    assert_eq!(line(ANNA, "aliases"), r#"["a@acme.example", "old@acme.example", "out@acme.example"]"#);
    // A person takes an alias away, gives one of their own, and gives Bert one that the source will give to Anna.
    let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
    let plan = plan.replace("\"out@acme.example\"", "\"mine@acme.example\"").replace("name = \"Anna\"", "name = \"Anna M.\"");
    let given = "target = \"bert@acme.example\"\naliases = [\"berts@acme.example\"]";
    fs::write(way.path("plan.toml"), plan.replace("target = \"bert@acme.example\"", given)).unwrap();

    let aliases = "a@acme.example, new@new.example, berts@acme.example, out@acme.example";
    let people = anna(aliases, "2 GB").replace(",Anna,", ",Anna Maria,");
    with_directory(&way, &mail, &people, &format!("{team}team@acme.example,bert@acme.example,MEMBER\n"));
    let ran = way.plan(&["--update"]);
    assert_eq!(line(ANNA, "aliases"), r#"["a@acme.example", "mine@acme.example", "new@new.example"]"#, "{ran}");
    assert_eq!(line("bert@acme.example", "aliases"), r#"["berts@acme.example"]"#);
    assert_eq!(line(ANNA, "name"), r#""Anna M.""#);
    assert!(line(ANNA, "quota").starts_with("2147483648"), "{ran}");
    assert_eq!(line("team@acme.example", "members"), r#"["anna@acme.example", "bert@acme.example"]"#);
    for said in [
        "anna@acme.example: alias new@new.example: new",
        "anna@acme.example: alias old@acme.example: left, as it did at the source",
        "anna@acme.example: alias berts@acme.example: not taken in, since the plan gives it to bert@acme.example",
        "anna@acme.example: name: left as it was edited, though the source has changed",
        "anna@acme.example: quota: as the source has it now",
        "team@acme.example: member bert@acme.example: new",
        "new.example: is a new domain",
    ] {
        assert!(ran.text().contains(said), "{said}: {ran}");
    }

    // A snapshot that was made without a directory says nothing of all this.
    put(&mut mail, "", 2, "S");
    way.snapshot(&[(ANNA, &mail.root)]);
    let ran = way.plan(&["--update"]);
    assert!(ran.code() <= 1, "{ran}");
    assert_eq!(line(ANNA, "aliases"), r#"["a@acme.example", "mine@acme.example", "new@new.example"]"#, "{ran}");
    assert!(!ran.text().contains("alias"), "{ran}");
}
