//! Mail replayed into real servers: everything arrives once, as the maker of the store knows it, whatever breaks on the way.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; the seed is told")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::mail::{Maildir, Random};
use support::program::{run, snapshot};
use support::proxy::Proxy;
use support::servers::{Server, give_to_users};

fn floe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_floe")).args(arguments).output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

/// A made-up store, its archive, and a plan for a server.
struct Job {
    folder: tempfile::TempDir,
    admin: &'static str,
}

impl Job {
    fn new(messages: u32) -> Job {
        Job::company(2, messages)
    }

    fn company(users: u32, messages: u32) -> Job {
        let folder = tempfile::tempdir().unwrap();
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/mailstore.py");
        let mut make = Command::new("python3");
        make.arg(tool).arg("--out").arg(folder.path().join("store")).args(["--users", &users.to_string(), "--no-groupware"]);
        make.args(["--max-attachment", "60000", "--messages"]).arg(messages.to_string());
        expect(&make.output().unwrap(), 0);
        let store = folder.path().join("store/users");
        Job::of(folder, &store)
    }

    fn of(folder: tempfile::TempDir, store: &Path) -> Job {
        let job = Job { folder, admin: "master" };
        expect(&floe(&["snapshot", store.to_str().unwrap(), "--archive", &job.path("a.floe")]), 0);
        fs::write(job.path("password"), "master-secret\n").unwrap();
        job
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Lets the doctor look at the server, as its last user.
    fn look(&self, server: &Server) {
        fs::write(self.path("own"), "pw-user020\n").unwrap();
        let (to, own, sheet) = (format!("imap://127.0.0.1:{}", server.port()), self.path("own"), self.path("sheet.json"));
        let mut doctor =
            vec!["doctor", "--to", &to, "--account", "user020@example.test", "--login", "own", "--password-file", &own];
        doctor.extend(["--out", &sheet]);
        match server.var("CA_FILE") {
            "" => doctor.push("--danger-accept-any-certificate"),
            file => doctor.extend(["--ca-file", file]),
        }
        expect(&floe(&doctor), 0);
    }

    /// Plans for the server at that port, with the store's accounts as the server's first users.
    fn plan(&self, port: u16, login: &str) {
        self.plan_for(port, login, 1);
    }

    /// The same with the users from that one on.
    fn plan_for(&self, port: u16, login: &str, user: usize) {
        let _ = fs::remove_file(self.path("plan.toml"));
        let to = format!("imap://127.0.0.1:{port}");
        let (archive, plan, sheet) = (self.path("a.floe"), self.path("plan.toml"), self.path("sheet.json"));
        let mut arguments = vec!["plan", &archive, "--to", &to, "--domain", "example.test", "--out", &plan];
        if Path::new(&sheet).exists() {
            arguments.extend(["--sheet", &sheet]);
        }
        let drafted = floe(&arguments);
        assert!(matches!(drafted.status.code(), Some(0 | 1)), "{drafted:?}");
        give_to_users(Path::new(&self.path("plan.toml")), login, user);
    }

    /// A command with the plan and the administrator's access.
    fn command(&self, name: &str, server: &Server) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floe"));
        command.arg(name).args([
            "--plan",
            &self.path("plan.toml"),
            "--admin",
            self.admin,
            "--password-file",
            &self.path("password"),
        ]);
        match server.var("CA_FILE") {
            "" => command.arg("--danger-accept-any-certificate"),
            file => command.args(["--ca-file", file]),
        };
        command
    }

    fn replay(&self, server: &Server) -> Command {
        self.command("replay", server)
    }

    #[track_caller]
    fn everything_is_there_once(&self, server: &Server) {
        let validated = self.command("validate", server).args(["--report", &self.path("report")]).output().unwrap();
        let said = expect(&validated, 0);
        assert!(said.contains("PASS: "), "{said}");
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/check_imap.py");
        let mut check = Command::new("python3");
        check.arg(tool).args([
            "--port",
            &server.port().to_string(),
            "--store",
            &self.path("store"),
            "--plan",
            &self.path("plan.toml"),
        ]);
        if !server.var("CA_FILE").is_empty() {
            check.args(["--ca-file", server.var("CA_FILE")]);
        }
        let checked = expect(&check.output().unwrap(), 0);
        assert!(checked.contains(" 0 differ") && !checked.starts_with("0 "), "{checked}");
    }
}

/// A process of the server that is killed may forget keywords that it has taken (Dovecot writes their list last); nothing else.
#[track_caller]
fn at_most_keywords_are_lost(job: &Job, server: &Server) {
    let validated = job.command("validate", server).args(["--report", &job.path("report")]).output().unwrap();
    let found = differences(job);
    let is_keyword = |item: &serde_json::Value| {
        item["state"] == "changed" && item["detail"].as_str().unwrap().split("; ").all(|change| change.starts_with("keyword: "))
    };
    assert!(validated.status.code() != Some(0) || found.is_empty(), "{found:#?}");
    assert!(found.iter().all(is_keyword), "{found:#?}");
}

fn items(job: &Job) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(PathBuf::from(job.path("report")).join("items.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn differences(job: &Job) -> Vec<serde_json::Value> {
    let is_kept = |item: &serde_json::Value| matches!(item["state"].as_str(), Some("identical" | "equivalent"));
    items(job).into_iter().filter(|item| !is_kept(item)).collect()
}

#[test]
fn the_fixtures_arrive_in_dovecot_and_in_cyrus() {
    for (name, login, admin) in [("dovecot", "master", "master"), ("cyrus", "on-behalf", "admin")] {
        let Some(server) = Server::start(name, &[]) else { return };
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/acme");
        let mut job = Job::of(tempfile::tempdir().unwrap(), &fixtures);
        job.admin = admin;
        job.look(&server);
        job.plan(server.port(), login);
        for command in [
            job.replay(&server).args(["--only", "mail"]),
            job.command("validate", &server).args(["--report", &job.path("report")]),
        ] {
            let output = command.output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        }
        let mail: Vec<_> = items(&job).into_iter().filter(|item| item["kind"] == "mail").collect();
        let states = |state: &str| mail.iter().filter(|item| item["state"] == state).count();
        // One has a NUL, which no server keeps, as the forecast says.
        let kept = (states("identical") + states("equivalent"), states("altered") + states("refused"));
        assert_eq!((kept, mail.len()), ((23, 1), 24), "{mail:#?}");
    }
}

#[test]
fn a_store_arrives_in_dovecot_once_and_imaplib_agrees() {
    let Some(server) = Server::start("dovecot", &[]) else { return };
    let job = Job::new(60);
    job.plan(server.port(), "master");
    let said = expect(&job.replay(&server).output().unwrap(), 0);
    assert!(said.contains("sent now"), "{said}");
    job.everything_is_there_once(&server);
    let again = expect(&job.replay(&server).output().unwrap(), 0);
    assert!(again.contains(" 0 sent now"), "{again}");
    job.everything_is_there_once(&server);
}

#[test]
fn a_server_that_announces_nothing_gets_everything_as_well() {
    let Some(server) = Server::start("dovecot", &["--capability", "IMAP4rev1"]) else { return };
    let job = Job::new(25);
    job.plan(server.port(), "master");
    expect(&job.replay(&server).output().unwrap(), 0);
    let again = expect(&job.replay(&server).output().unwrap(), 0);
    assert!(again.contains(" 0 sent now"), "{again}");
    job.everything_is_there_once(&server);
}

#[test]
fn a_store_arrives_in_cyrus_on_behalf_of_its_users() {
    let Some(server) = Server::start("cyrus", &[]) else { return };
    let mut job = Job::new(25);
    job.admin = "admin";
    job.plan(server.port(), "on-behalf");
    expect(&job.replay(&server).output().unwrap(), 0);
    job.everything_is_there_once(&server);
}

/// Messages of each user of the company that is carried over whole; 250 make it 5,000.
fn company_messages() -> u32 {
    std::env::var("FLOE_TEST_COMPANY").map_or(20, |n| n.parse().unwrap())
}

#[test]
fn a_company_of_twenty_arrives_in_dovecot_in_cyrus_and_in_the_stand_in() {
    let mut job = Job::company(20, company_messages());
    for (name, admin, login) in [("dovecot", "master", "master"), ("cyrus", "admin", "on-behalf")] {
        let Some(server) = Server::start(name, &[]) else { continue };
        job.admin = admin;
        job.plan(server.port(), login);
        expect(&job.replay(&server).output().unwrap(), 0);
        job.everything_is_there_once(&server);
    }
    let rehearsed = floe(&["rehearse", &job.path("store/users"), "--domain", "example.test", "--out", &job.path("rehearsal")]);
    assert!(matches!(rehearsed.status.code(), Some(0 | 1)), "{rehearsed:?}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(job.path("rehearsal/report/report.json")).unwrap()).unwrap();
    let all = &report["compare"]["all"];
    assert_eq!(
        (&all["missing"], &all["changed"], &all["extra"], &all["duplicate"]),
        (&0.into(), &0.into(), &0.into(), &0.into())
    );
    assert!(all["identical"].as_u64().unwrap() + all["equivalent"].as_u64().unwrap() > 100, "{all}");
}

/// One store is replayed to pair after pair of users, each time until it is whole there, and floe, the line or the server's process breaks
/// off at a moment that nobody chose, as long as there is something left to send.
fn broken_off(name: &str, options: &[&str], admin: &'static str, login: &str) {
    let mut random = Random::fresh(&format!("breaks, {name} {options:?}"));
    // Of each server a third.
    let breaks = std::env::var("FLOE_TEST_KILLS").map_or(10, |n| n.parse::<usize>().unwrap().div_ceil(3));
    let users = (6 * breaks + 2).to_string();
    let Some(server) = Server::start(name, &[&["--users", &users], options].concat()) else { return };
    let mut job = Job::new(150);
    job.admin = admin;
    let mut cuts = |_| if random.below(6) == 0 { 2000 + random.below(500_000) } else { u64::MAX };
    let proxy = Proxy::start(server.port(), (0..60 * breaks).map(&mut cuts).collect());
    let (mut floe, mut sessions, mut user, mut failures) = (0, 0, 1, 0);
    let mut whole = Duration::from_millis(600);
    loop {
        let lines = proxy.cuts.load(Ordering::SeqCst);
        if floe + sessions + lines >= breaks && floe > 0 && sessions > 0 && lines > 0 {
            println!("{name}: floe was killed {floe} times, the server {sessions} times, {lines} lines were cut");
            return;
        }
        job.plan_for(proxy.port, login, user);
        user += 2;
        let before = sessions;
        loop {
            let begun = Instant::now();
            let mut replay = job.replay(&server);
            let mut child = replay.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            sleep(whole.mul_f64(random.below(1000) as f64 / 1000.0));
            match random.below(4) {
                0 => sessions += server.kill_sessions(),
                1 | 2 => _ = child.kill(),
                // This one may come to its end.
                _ => {}
            }
            match child.wait().unwrap().code() {
                Some(0) => (whole, failures) = (whole.min(begun.elapsed()), 0),
                Some(_) => {
                    failures += 1;
                    assert!(failures < 20, "{name} is not reached any more");
                    continue;
                }
                None => {
                    floe += 1;
                    continue;
                }
            }
            break;
        }
        if sessions == before {
            job.everything_is_there_once(&server);
        } else {
            at_most_keywords_are_lost(&job, &server);
        }
    }
}

#[test]
fn broken_off_on_its_way_to_dovecot_it_goes_on_without_gap_or_double() {
    broken_off("dovecot", &[], "master", "master");
}

#[test]
fn broken_off_on_its_way_to_a_server_without_uidplus_it_goes_on_without_gap_or_double() {
    broken_off("dovecot", &["--capability", "IMAP4rev1 LITERAL+"], "master", "master");
}

#[test]
fn broken_off_on_its_way_to_cyrus_it_goes_on_without_gap_or_double() {
    broken_off("cyrus", &[], "admin", "on-behalf");
}

#[test]
fn a_server_that_is_away_for_half_a_minute_is_waited_for() {
    let Some(server) = Server::start("dovecot", &[]) else { return };
    let job = Job::new(150);
    let proxy = Proxy::start(server.port(), [&[u64::MAX, 60_000][..], &[0; 6]].concat());
    job.plan(proxy.port, "master");
    expect(&job.replay(&server).args(["--connections", "1"]).output().unwrap(), 0);
    assert_eq!(proxy.cuts.load(Ordering::SeqCst), 7, "the server was not away");
    job.everything_is_there_once(&server);
}

#[test]
fn what_a_broken_line_has_held_back_and_arrives_late_is_not_there_twice() {
    for capability in ["", "IMAP4rev1 LITERAL+ MULTIAPPEND", "IMAP4rev1 LITERAL+"] {
        let options = if capability.is_empty() { vec![] } else { vec!["--capability", capability] };
        let Some(server) = Server::start("dovecot", &options) else { return };
        let job = Job::new(150);
        // Over the first connection nothing is said: it is only seen whether the server is there.
        let proxy = Proxy::holding_back(server.port(), vec![u64::MAX, 60_000]);
        job.plan(proxy.port, "master");
        let said = expect(&job.replay(&server).args(["--connections", "1"]).output().unwrap(), 0);
        assert!(said.contains("came twice"), "{capability}: nothing was late: {said}");
        job.everything_is_there_once(&server);
        assert!(expect(&job.replay(&server).output().unwrap(), 0).contains(" 0 sent now"));
        job.everything_is_there_once(&server);
    }
}

#[test]
fn a_folder_that_the_server_refuses_does_not_stop_the_others() {
    let Some(server) = Server::start("dovecot", &[]) else { return };
    let job = Job::new(60);
    job.plan(server.port(), "master");
    let plan = fs::read_to_string(job.path("plan.toml")).unwrap();
    // A dot ends a level where Dovecot stores mail as Maildir++, whatever stands between levels in IMAP.
    assert!(plan.contains("to = \"Kunden/M"), "{plan}");
    fs::write(job.path("plan.toml"), plan.replace("to = \"Kunden/M", "to = \"Kunden/v1.0 M")).unwrap();
    let said = expect(&job.replay(&server).output().unwrap(), 1);
    assert!(said.contains("its folder is refused by the server") && said.contains("refused and stay in the archive"), "{said}");
    fs::write(job.path("plan.toml"), plan).unwrap();
    expect(&job.replay(&server).output().unwrap(), 0);
    job.everything_is_there_once(&server);
}

#[test]
fn what_the_server_changes_is_known_again_also_without_a_message_id() {
    let Some(server) = Server::start("dovecot", &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut mail = Maildir::new(&folder.path().join("anna"), "anna@example.test");
    for n in 0..40 {
        let end = ["whole\n", "a\0b\n", "a\r\r\nb\0\n", "a\n\r"][n % 4];
        let text = format!("From: a@b.example\nSubject: mail {n}\n\nnumber {n} {end}");
        mail.put("", &format!("17000000{n:02}.M{n}P1.host:2,S"), text.as_bytes());
    }
    let job = Job { folder, admin: "master" };
    run(&mut snapshot(&[(&mail.account, &mail.root)], Path::new(&job.path("a.floe")))).expect(0);
    fs::write(job.path("password"), "master-secret\n").unwrap();
    job.look(&server);
    job.plan(server.port(), "master");
    // Also where nobody knows what became of the first ones: the line is cut when they were sent, and no answer comes.
    let proxy = Proxy::start(server.port(), vec![3000, 4000, 5000]);
    let plan = fs::read_to_string(job.path("plan.toml")).unwrap();
    fs::write(job.path("plan.toml"), plan.replace(&format!(":{}", server.port()), &format!(":{}", proxy.port))).unwrap();
    expect(&job.replay(&server).output().unwrap(), 0);
    let validated = job.command("validate", &server).args(["--report", &job.path("report")]).output().unwrap();
    expect(&validated, 1);
    let report = fs::read_to_string(format!("{}/report.json", job.path("report"))).unwrap();
    assert!(!report.contains("the outcome is not the forecast"), "{report}");
    let found = differences(&job);
    assert!(found.len() == 30 && found.iter().all(|item| item["state"] == "altered"), "{found:#?}");
}

fn inbox_of_the_first(server: &Server) -> floe::imap::Connection {
    let mut settings = Server::settings_at(server.port());
    settings.trust = floe::net::Trust::default().with_ca_file(Path::new(server.var("CA_FILE"))).unwrap();
    let mut connection = floe::imap::Connection::open(&settings, &server.user(1)).unwrap();
    connection.select("INBOX", false).unwrap();
    connection
}

fn put_a_stranger_into(inbox: &mut floe::imap::Connection) {
    let stranger = b"From: x\r\nSubject: not from the archive\r\n\r\nx\r\n";
    let mut batch = [floe::imap::Append { flags: &[], date: None, body: floe::imap::Body::Bytes(stranger) }];
    let sent = inbox.send_append("INBOX", floe::imap::Way::OneByOne, &mut batch).unwrap();
    inbox.finish_append(sent).unwrap();
}

#[test]
fn a_removal_that_broke_off_is_finished_and_takes_nothing_else_along() {
    let Some(server) = Server::start("dovecot", &["--capability", "IMAP4rev1 LITERAL+"]) else { return };
    let job = Job::new(150);
    job.plan(server.port(), "master");
    expect(&job.replay(&server).output().unwrap(), 0);
    let mut inbox = inbox_of_the_first(&server);
    let aside = inbox.marked_deleted(&[]).unwrap();
    assert!(!aside.is_empty(), "nothing is marked as deleted");
    inbox.mark_deleted(&aside, false).unwrap();
    put_a_stranger_into(&mut inbox);
    inbox.leave().unwrap();
    let going = inbox.status("INBOX").unwrap().uid_next - 1;
    inbox.logout();
    let aside = aside.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let journal = rusqlite::Connection::open(job.path("plan.journal")).unwrap();
    let written = "UPDATE collection SET going=?1, aside=?2 WHERE remote='INBOX' AND user LIKE 'user001@%'";
    assert_eq!(journal.execute(written, [going.to_string(), aside]).unwrap(), 1);
    drop(journal);
    expect(&job.replay(&server).output().unwrap(), 0);
    job.everything_is_there_once(&server);
}

#[test]
fn a_target_that_loses_changes_and_doubles_is_found_out() {
    let Some(server) = Server::start("dovecot", &[]) else { return };
    let job = Job::new(20);
    job.plan(server.port(), "master");
    expect(&job.replay(&server).output().unwrap(), 0);
    let mut connection = inbox_of_the_first(&server);
    connection.store(&[1], true, &["\\Flagged".to_owned(), "surprise".to_owned()]).unwrap();
    connection.remove(&[2]).unwrap();
    put_a_stranger_into(&mut connection);
    connection.logout();
    expect(&job.command("validate", &server).args(["--report", &job.path("report")]).output().unwrap(), 2);
    let found = differences(&job);
    let count = |outcome: &str| found.iter().filter(|d| d["state"] == outcome).count();
    assert_eq!((count("changed"), count("missing"), count("extra")), (1, 1, 1), "{found:#?}");
}

#[test]
fn a_wrong_password_is_asked_once_and_never_shown() {
    let Some(server) = Server::start("dovecot", &[]) else { return };
    let job = Job::new(3);
    job.plan(server.port(), "master");
    fs::write(job.path("password"), "hunter2-is-wrong\n").unwrap();
    let said = expect(&job.replay(&server).args(["--connections", "1"]).output().unwrap(), 2);
    assert!(said.contains("refused the login") && said.contains("2 accounts"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    fs::write(job.path("password"), "master-secret\n").unwrap();
    expect(&job.replay(&server).output().unwrap(), 0);
}

#[test]
fn a_dry_run_sends_nothing() {
    let job = Job::new(3);
    job.plan(9, "master");
    let said = expect(&floe(&["replay", "--plan", &job.path("plan.toml"), "--dry-run"]), 0);
    assert!(said.contains("nothing was"), "{said}");
    assert!(!Path::new(&job.path("plan.journal")).exists());
}
