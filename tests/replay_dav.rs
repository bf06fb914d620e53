//! Calendars, contacts and files replayed into real servers and the stand-in: everything arrives once, as the maker of the store knows it,
//! whatever breaks on the way, and what a server loses or changes is found out.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; the seed is told")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use floe::dav::{Body, Client, Login, Put, When, join};
use floe::icewarp::standin::StandIn;
use floe::net::{Secret, Trust};
use support::mail::Random;
use support::proxy::Proxy;
use support::servers::{Server, give_to_users};

/// Objects with a property of every kind, as servers write them themselves.
const RICH: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//acme//rich//EN\r\nBEGIN:VEVENT\r\nUID:rich-1@acme.example\r\n\
    DTSTAMP:20240101T000000Z\r\nCREATED:20230101T000000Z\r\nDTSTART:20240105T100000Z\r\nDTEND:20240105T110000Z\r\n\
    SUMMARY:Treffen\\, groß\\; und lang\\nzweite Zeile\r\nLOCATION:Raum \\\\ 1\r\nCATEGORIES:eins,zwei\r\nCLASS:PRIVATE\r\n\
    SEQUENCE:3\r\nSTATUS:CONFIRMED\r\nTRANSP:OPAQUE\r\nPRIORITY:5\r\nGEO:50.5;14.5\r\nX-FLOE;X-P=\"q:r\":abc\r\n\
    ATTACH;FMTTYPE=text/plain;ENCODING=BASE64;VALUE=BINARY:aGFsbG8=\r\nORGANIZER;CN=\"Müller, Jörg\":mailto:joerg@acme.example\r\n\
    ATTENDEE;CN=B;ROLE=REQ-PARTICIPANT;RSVP=TRUE:mailto:b@acme.example\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nDESCRIPTION:bald\r\n\
    TRIGGER:-PT15M\r\nEND:VALARM\r\nEND:VEVENT\r\nBEGIN:VTODO\r\nUID:rich-2@acme.example\r\nDTSTAMP:20240101T000000Z\r\n\
    DUE;VALUE=DATE:20240301\r\nSUMMARY:Aufgabe\r\nPERCENT-COMPLETE:40\r\nEND:VTODO\r\nEND:VCALENDAR\r\n";
const CARDS: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:rich-3\r\nN:Doe;J\\;r;;;\r\nFN:Doe\r\nORG:A\\, B;Dept\r\n\
    TEL;TYPE=CELL,PREF:+1\r\nADR;TYPE=HOME:;;Str. 1;Berlin;;10115;DE\r\nNOTE:Zeile\\n2\\, x\r\nBDAY:1970-01-01\r\nX-FOO:bar\r\n\
    URL:https://x.y/?a=b\r\nEND:VCARD\r\nBEGIN:VCARD\r\nVERSION:2.1\r\nUID:rich-4\r\n\
    N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;=C3=84nne\r\nFN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=C3=84nne M=C3=BCller\r\n\
    TEL;WORK;VOICE:+49 30 1\r\nEND:VCARD\r\n";

/// A target: where it is, and where a user's things are in it.
struct Target {
    port: u16,
    imap: Option<String>,
    calendars: &'static str,
    books: &'static str,
    files: Option<&'static str>,
}

impl Target {
    fn radicale(server: &Server) -> Self {
        Target {
            port: server.var("HTTP_PORT").parse().unwrap(),
            imap: None,
            calendars: "/{user}/",
            books: "/{user}/",
            files: None,
        }
    }

    fn cyrus(server: &Server) -> Self {
        // An account's first login by IMAP makes its mailbox, and that its calendars.
        (1..=3).for_each(|n| server.connect(n).logout());
        Target {
            port: server.var("HTTP_PORT").parse().unwrap(),
            imap: Some(format!("imap://127.0.0.1:{}", server.port())),
            calendars: "/dav/calendars/user/{user}/",
            books: "/dav/addressbooks/user/{user}/",
            files: None,
        }
    }
}

/// A made-up company of two users, its archive, and what is needed to carry it to `target`.
struct Job {
    folder: tempfile::TempDir,
}

fn floe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_floe")).args(arguments).output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains("pw-user"), "a password is shown: {text}");
    text
}

impl Job {
    fn new() -> Job {
        let folder = tempfile::tempdir().unwrap();
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/mailstore.py");
        let mut make = Command::new("python3");
        make.arg(tool).arg("--out").arg(folder.path().join("store")).args(["--users", "2", "--messages", "1"]);
        make.args(["--events", "10", "--contacts", "10", "--files", "5", "--max-attachment", "60000"]);
        expect(&make.output().unwrap(), 0);
        let job = Job { folder };
        let home = format!("{}/users/anna.koenig", job.path("store"));
        fs::write(format!("{home}/calendars/Reich.ics"), RICH).unwrap();
        fs::write(format!("{home}/contacts/Reich.vcf"), CARDS).unwrap();
        fs::write(job.path("pw.csv"), "user001@example.test,pw-user001\nuser002@example.test,pw-user002\n").unwrap();
        fs::write(job.path("pw"), "pw-user003\n").unwrap();
        fs::write(job.path("master"), "master-secret\n").unwrap();
        job.snapshot();
        job
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn snapshot(&self) {
        expect(&floe(&["snapshot", &self.path("store/users"), "--archive", &self.path("a.floe")]), 0);
    }

    /// Looks at the target and plans for it, with the store's accounts as the server's first users; what the doctor said, where it was not
    /// there before.
    fn plan(&self, target: &Target, login: &str) -> String {
        let to = format!("http://127.0.0.1:{}", target.port);
        let imap: Vec<&str> = target.imap.iter().flat_map(|imap| ["--imap", imap.as_str()]).collect();
        let (sheet, archive, password) = (self.path("sheet.json"), self.path("a.floe"), self.path("pw"));
        let mut said = String::new();
        if !Path::new(&sheet).exists() {
            let look =
                ["doctor", "--to", &to, "--account", "user003@example.test", "--login", "own", "--password-file", &password];
            said = expect(&floe(&[&look[..], &["--out", &sheet], &imap].concat()), 0);
        }
        let _ = fs::remove_file(self.path("plan.toml"));
        let draft =
            ["plan", &archive, "--to", &to, "--sheet", &sheet, "--domain", "example.test", "--out", &self.path("plan.toml")];
        let drafted = floe(&[&draft[..], &imap].concat());
        assert!(matches!(drafted.status.code(), Some(0 | 1)), "{drafted:?}");
        give_to_users(Path::new(&self.path("plan.toml")), login, 1);
        said
    }

    /// Replay goes over a bad line from now on. The doctor would use the cuts up.
    fn goes_over(&self, proxy: &Proxy, direct: &Target) {
        let plan = fs::read_to_string(self.path("plan.toml")).unwrap();
        let over = plan.replace(&format!("127.0.0.1:{}", direct.port), &format!("127.0.0.1:{}", proxy.port));
        assert_ne!(plan, over);
        fs::write(self.path("plan.toml"), over).unwrap();
    }

    /// Takes another snapshot and brings the plan up to date.
    #[track_caller]
    fn update(&self, target: &Target) {
        self.snapshot();
        let to = format!("http://127.0.0.1:{}", target.port);
        let update = ["plan", &self.path("a.floe"), "--to", &to, "--sheet", &self.path("sheet.json")];
        let updated = floe(&[&update[..], &["--domain", "example.test", "--update", "--out", &self.path("plan.toml")]].concat());
        assert!(matches!(updated.status.code(), Some(0 | 1)), "{updated:?}");
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floe"));
        command.args([
            name,
            "--plan",
            &self.path("plan.toml"),
            "--passwords",
            &self.path("pw.csv"),
            "--password-file",
            &self.path("pw"),
        ]);
        command
    }

    fn replay(&self) -> Command {
        let mut command = self.command("replay");
        command.args(["--sheet", &self.path("sheet.json")]);
        command
    }

    fn validate(&self) -> Command {
        let mut command = self.command("validate");
        let _ = fs::remove_dir_all(self.path("report"));
        command.args(["--report", &self.path("report")]);
        command
    }

    /// How many items have which state in the last report.
    fn states(&self) -> BTreeMap<String, u64> {
        let mut states = BTreeMap::new();
        for line in fs::read_to_string(self.path("report/items.jsonl")).unwrap().lines() {
            let item: serde_json::Value = serde_json::from_str(line).unwrap();
            *states.entry(item["state"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        states
    }

    /// A second opinion, by a program that shares nothing with floe: its words, and its exit code.
    fn checked(&self, target: &Target, passwords: &str) -> (i32, String) {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/check_dav.py");
        let mut check = Command::new("python3");
        check.arg(tool).args(["--base", &format!("http://127.0.0.1:{}", target.port), "--plan", &self.path("plan.toml")]);
        check.args(["--passwords", passwords, "--store", &self.path("store")]);
        check.args(["--calendars", target.calendars, "--books", target.books]);
        check.args(target.files.iter().flat_map(|files| ["--files", files]));
        let output = check.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), text)
    }

    #[track_caller]
    fn everything_is_there_once(&self, target: &Target) {
        let validated = self.validate().output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&validated.stdout), String::from_utf8_lossy(&validated.stderr));
        assert!(matches!(validated.status.code(), Some(0 | 1)), "{text}");
        let states = self.states();
        let lost: Vec<_> = ["changed", "missing", "extra", "duplicate"].iter().filter(|s| states.contains_key(**s)).collect();
        assert!(lost.is_empty(), "{states:?}");
        assert!(states["equivalent"] + states.get("identical").unwrap_or(&0) >= 50, "{states:?}");
        let (code, said) = self.checked(target, &self.path("pw.csv"));
        assert_eq!(code, 0, "{said}");
        assert!(!said.starts_with("0 "), "{said}");
    }
}

fn client(port: u16, user: u32) -> Client {
    let (user, password) = (format!("user{user:03}@example.test"), format!("pw-user{user:03}"));
    let login = Login { user, password: Secret::new(password) };
    Client::new(format!("http://127.0.0.1:{port}/").parse().unwrap(), login, &Trust::default()).unwrap()
}

#[test]
fn a_company_arrives_in_radicale_with_every_property_and_the_doctor_leaves_nothing() {
    let Some(server) = Server::start("radicale", &[]) else { return };
    let (job, target) = (Job::new(), Target::radicale(&server));
    job.plan(&target, "own");
    let mut probed = client(target.port, 3);
    let home = probed.discover().unwrap().calendars.unwrap();
    assert_eq!(probed.collections(&home).unwrap(), []);
    let said = expect(&job.replay().output().unwrap(), 0);
    assert!(said.contains("sent now"), "{said}");
    job.everything_is_there_once(&target);
    let again = expect(&job.replay().output().unwrap(), 0);
    assert!(again.contains(" 0 sent now"), "{again}");
    // A lost journal is no reason to send anything twice.
    fs::remove_file(job.path("plan.journal")).unwrap();
    let again = expect(&job.replay().output().unwrap(), 0);
    assert!(again.contains(" 0 sent now"), "{again}");
    job.everything_is_there_once(&target);
}

#[test]
fn a_company_arrives_in_cyrus_with_mail_by_the_administrator_and_the_rest_as_its_users() {
    let Some(server) = Server::start("cyrus", &[]) else { return };
    let (job, target) = (Job::new(), Target::cyrus(&server));
    let said = job.plan(&target, "on-behalf");
    for words in
        ["of the same UID: it stays in the archive", "events that end when they begin", "at a semicolon: KEY LOGO PHOTO SOUND"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let access =
        ["--danger-accept-any-certificate", "--admin", "admin", "--password-file", &job.path("master")].map(str::to_owned);
    let files = ["--plan", &job.path("plan.toml"), "--passwords", &job.path("pw.csv")].map(str::to_owned);
    let run = |name: &str, more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_floe")).arg(name).args(&files).args(&access).args(more).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    };
    run("replay", &["--sheet", &job.path("sheet.json"), "--only", "calendar", "--only", "tasks"]);
    run("replay", &["--sheet", &job.path("sheet.json")]);
    run("validate", &["--report", &job.path("report")]);
    let states = job.states();
    assert!(["changed", "missing", "extra", "duplicate"].iter().all(|state| !states.contains_key(*state)), "{states:?}");
    let (code, said) = job.checked(&target, &job.path("pw.csv"));
    assert_eq!(code, 0, "{said}");
}

#[test]
fn what_a_server_cuts_at_commas_is_foreseen_and_texts_arrive_whole() {
    let Some(server) = Server::start("radicale", &[]) else { return };
    let (job, target) = (Job::new(), Target::radicale(&server));
    let home = format!("{}/users/anna.koenig", job.path("store"));
    let event = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:commas\r\nDTSTAMP:20240101T000000Z\r\n\
        DTSTART:20240301T090000Z\r\nDTEND:20240301T100000Z\r\nSUMMARY:a, b; c\r\nDESCRIPTION:d, e\r\nX-ODD:f, g; h\r\n\
        URL:https://x.invalid/?a;b,c\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:card-commas\r\nN:Doe;J;;;\r\nFN:a, b\r\nORG:c, d;e\r\nNICKNAME:f,g\r\n\
        TEL:1,2\r\nURL:https://x.invalid/?a;b\r\nEND:VCARD\r\n";
    fs::write(format!("{home}/calendars/Commas.ics"), event).unwrap();
    fs::write(format!("{home}/contacts/Commas.vcf"), card).unwrap();
    job.snapshot();
    job.plan(&target, "own");
    let sheet: serde_json::Value = serde_json::from_slice(&fs::read(job.path("sheet.json")).unwrap()).unwrap();
    assert!(sheet["dav"]["lost_at"]["comma"].as_array().is_some_and(|names| !names.is_empty()), "{sheet}");
    expect(&job.replay().output().unwrap(), 1);
    expect(&job.validate().output().unwrap(), 1);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(job.path("report/report.json")).unwrap()).unwrap();
    let all = &report["compare"]["all"];
    assert_eq!((&all["changed"], &all["missing"], &all["altered"]), (&0.into(), &0.into(), &2.into()), "{all}");
    for line in report["compare"]["forecast"].as_array().unwrap() {
        assert_eq!(line["expected"], line["happened"], "{line}");
    }
    let mut client = client(target.port, 1);
    let home = client.discover().unwrap().calendars.unwrap();
    let calendar = join(&home, "Commas");
    let there = client.list(&calendar).unwrap();
    let stored = client.get(&there[0].path, 1 << 20).unwrap().unwrap();
    let text = String::from_utf8(stored.bytes).unwrap();
    assert!(text.contains("SUMMARY:a\\, b\\; c") && text.contains("DESCRIPTION:d\\, e"), "{text}");
}

#[test]
fn a_user_whose_password_is_not_known_is_named_and_the_mail_still_goes() {
    let Some(server) = Server::start("cyrus", &[]) else { return };
    let (job, target) = (Job::new(), Target::cyrus(&server));
    job.plan(&target, "on-behalf");
    let mut replay = Command::new(env!("CARGO_BIN_EXE_floe"));
    replay.args(["replay", "--plan", &job.path("plan.toml"), "--danger-accept-any-certificate", "--admin", "admin"]);
    let said = expect(&replay.args(["--password-file", &job.path("master")]).output().unwrap(), 2);
    assert!(said.contains("own password") && said.contains("sent 1"), "{said}");
}

#[test]
fn connections_cut_anywhere_leave_no_gap_and_no_double() {
    let mut random = Random::fresh("dav cuts");
    let Some(server) = Server::start("radicale", &[]) else { return };
    let (job, direct) = (Job::new(), Target::radicale(&server));
    job.plan(&direct, "own");
    let cuts: Vec<u64> = (0..60).map(|_| 300 + random.below(2500)).collect();
    let proxy = Proxy::start(direct.port, cuts);
    job.goes_over(&proxy, &direct);
    for _ in 0..8 {
        if job.replay().output().unwrap().status.success() {
            break;
        }
    }
    assert!(proxy.cuts.load(Ordering::SeqCst) > 3, "hardly a connection was cut");
    expect(&job.replay().output().unwrap(), 0);
    job.everything_is_there_once(&direct);
}

#[test]
fn a_replay_killed_at_any_moment_goes_on_without_gap_or_double() {
    let mut random = Random::fresh("dav kills");
    let Some(server) = Server::start("radicale", &[]) else { return };
    let (job, target) = (Job::new(), Target::radicale(&server));
    job.plan(&target, "own");
    for _ in 0..20 {
        let mut child = job.replay().spawn().unwrap();
        sleep(Duration::from_millis(20 + random.below(150)));
        let _ = child.kill();
        child.wait().unwrap();
    }
    expect(&job.replay().output().unwrap(), 0);
    job.everything_is_there_once(&target);
}

#[test]
fn a_server_that_is_away_for_half_a_minute_is_waited_for() {
    let Some(server) = Server::start("radicale", &[]) else { return };
    let (job, direct) = (Job::new(), Target::radicale(&server));
    job.plan(&direct, "own");
    // Radicale takes a connection for each request; one that fails is made six times.
    let proxy = Proxy::start(direct.port, [&[u64::MAX; 20][..], &[0; 7]].concat());
    job.goes_over(&proxy, &direct);
    let said = expect(&job.replay().args(["--connections", "1"]).output().unwrap(), 0);
    assert_eq!(proxy.cuts.load(Ordering::SeqCst), 7, "the server was not away");
    assert!(said.contains("trying again") && said.contains("64 items are on the server"), "{said}");
    job.everything_is_there_once(&direct);
}

#[test]
fn a_delta_brings_changes_and_removes_only_what_is_as_floe_left_it() {
    let Some(server) = Server::start("radicale", &[]) else { return };
    let (job, target) = (Job::new(), Target::radicale(&server));
    job.plan(&target, "own");
    expect(&job.replay().output().unwrap(), 0);
    let home = format!("{}/users/anna.koenig", job.path("store"));
    fs::write(format!("{home}/calendars/Reich.ics"), RICH.replace("SUMMARY:Treffen", "SUMMARY:Neues Treffen")).unwrap();
    fs::write(format!("{home}/contacts/Reich.vcf"), &CARDS[CARDS.find("BEGIN:VCARD\r\nVERSION:2.1").unwrap()..]).unwrap();
    job.update(&target);
    let kept = expect(&job.replay().output().unwrap(), 1);
    assert!(kept.contains(" 1 sent now") && kept.contains("1 are gone at the source and stay"), "{kept}");
    let removed = expect(&job.replay().arg("--remove").output().unwrap(), 0);
    assert!(removed.contains("removed 1"), "{removed}");
    job.everything_is_there_once(&target);
    fs::write(format!("{home}/contacts/Reich.vcf"), CARDS).unwrap();
    job.update(&target);
    let again = expect(&job.replay().output().unwrap(), 0);
    assert!(again.contains(" 1 sent now"), "{again}");
    job.everything_is_there_once(&target);
}

#[test]
fn a_target_that_loses_changes_and_doubles_is_found_out() {
    let Some(server) = Server::start("radicale", &[]) else { return };
    let (job, target) = (Job::new(), Target::radicale(&server));
    job.plan(&target, "own");
    expect(&job.replay().output().unwrap(), 0);
    let mut client = client(target.port, 1);
    let home = client.discover().unwrap().calendars.unwrap();
    let calendar = join(&home, "Reich");
    let path = join(&calendar, "rich-1@acme.example.ics");
    let object = client.get(&path, 1 << 20).unwrap().unwrap();
    let edited = String::from_utf8(object.bytes).unwrap().replace("TRIGGER:-PT15M", "TRIGGER:-PT20M");
    let etag = object.etag.unwrap();
    let put = client.put(&path, Body::Bytes(edited.as_bytes(), "text/calendar"), When::Still(&etag), None).unwrap();
    assert!(matches!(put, Put::Stored(_)));
    let card = join(&join(&home, "Reich (2)"), "rich-3.vcf");
    assert!(client.delete(&card, None).unwrap(), "{:?}", client.collections(&home).unwrap());
    let stranger = RICH[..RICH.find("BEGIN:VTODO").unwrap()].replace("rich-1", "stranger") + "END:VCALENDAR\r\n";
    client.put_new(&join(&calendar, "stranger.ics"), Body::Bytes(stranger.as_bytes(), "text/calendar")).unwrap();
    let validated = job.validate().output().unwrap();
    assert_eq!(validated.status.code(), Some(2), "{validated:?}");
    let states = job.states();
    let count = |state: &str| states.get(state).copied().unwrap_or_default();
    assert_eq!((count("changed"), count("missing"), count("extra"), count("duplicate")), (1, 1, 1, 0), "{states:?}");
    let (code, said) = job.checked(&target, &job.path("pw.csv"));
    assert!(code == 1 && said.contains("PT20M") && said.contains("rich-3") && said.contains("stranger"), "{said}");
}

/// Everything to a stand-in with these difficulties, again and again until it is done.
fn to_a_stand_in(difficult: &str) -> (Job, StandIn, Target) {
    let job = Job::new();
    let server = StandIn::start(&job.folder.path().join("icewarp"), difficult.parse().unwrap()).unwrap();
    let (http, imap, password) =
        (server.http(), format!("imap://{}", server.imap()), server.password_file().to_string_lossy().into_owned());
    let access = ["--admin", server.admin(), "--password-file", &password];
    let (sheet, plan, passwords) = (job.path("sheet.json"), job.path("plan.toml"), job.path("new.csv"));
    let run = |arguments: &[&str]| {
        let output = floe(&[arguments, &access].concat());
        assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}: {output:?}");
    };
    run(&["doctor", "--to", &http, "--imap", &imap, "--account", server.admin(), "--out", &sheet]);
    let drafted = floe(&[
        "plan",
        &job.path("a.floe"),
        "--to",
        &http,
        "--imap",
        &imap,
        "--sheet",
        &sheet,
        "--domain",
        "acme.example",
        "--out",
        &plan,
    ]);
    assert!(matches!(drafted.status.code(), Some(0 | 1)), "{drafted:?}");
    run(&["provision", "--plan", &plan, "--passwords", &passwords]);
    for _ in 0..3 {
        run(&["replay", "--plan", &plan, "--sheet", &sheet, "--passwords", &passwords]);
    }
    let validate = ["validate", "--plan", &plan, "--passwords", &passwords, "--report", &job.path("report")];
    let validated = floe(&[&validate[..], &access].concat());
    println!("{}", String::from_utf8_lossy(&validated.stdout));
    let port = http.rsplit(':').next().unwrap().parse().unwrap();
    let files = Some("/webdav/{user}/Documents/");
    let target = Target { port, imap: None, calendars: "/webdav/{user}/", books: "/webdav/{user}/", files };
    (job, server, target)
}

#[test]
fn a_difficult_stand_in_gets_everything_once_and_sends_no_invitation() {
    let (job, server, target) = to_a_stand_in("cut-put=3+, cut-make=2+, locked=7+, http-busy=31+");
    let states = job.states();
    assert!(["changed", "missing", "extra", "duplicate"].iter().all(|state| !states.contains_key(*state)), "{states:?}");
    let (code, said) = job.checked(&target, &job.path("new.csv"));
    assert_eq!(code, 0, "{said}");
    let mailed = fs::read_dir(server.outbox()).map(Iterator::count).unwrap_or_default();
    assert_eq!(mailed, 0, "mail left");
}

#[test]
fn what_a_stand_in_drops_or_alters_is_named_and_a_lost_property_was_forecast() {
    let (job, _server, _) = to_a_stand_in("drop-property=VALARM, drop-property=NOTE");
    let states = job.states();
    assert_eq!((states.get("changed"), states.get("missing")), (None, None), "{states:?}");
    let items = fs::read_to_string(job.path("report/items.jsonl")).unwrap();
    assert!(items.contains("VEVENT/VALARM") && items.contains("VCARD/NOTE"), "the losses are named");
    let (job, _server, _) = to_a_stand_in("alter-item=40, drop-item=45, made-up-etag=50");
    let states = job.states();
    let count = |state: &str| states.get(state).copied().unwrap_or_default();
    // One that was only said to be stored is stored at the second try.
    assert_eq!((count("changed"), count("missing"), count("extra"), count("duplicate")), (1, 0, 0, 0), "{states:?}");
}
