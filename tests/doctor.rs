//! The doctor's look at the administration, its limits, and whether invitations leave.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;

use floe::icewarp::api::{Api, Element};
use floe::net::{Secret, Trust};
use floe::replay::plan::Part;
use serde_json::Value;
use support::program::{Ran, floe, run};
use support::servers::Server;
use support::way::Way;

/// The mailbox that is invited.
const SECOND: &str = "second@standin.test";
const PASSWORD: &str = "Correct-Horse-7-Battery";

/// Looks at the stand-in with its administrator as the disposable account.
fn look(way: &Way, more: &[&str]) -> (Ran, Value) {
    let mut command = floe();
    command.args(["doctor", "--to", &way.server.http(), "--imap", &format!("imap://{}", way.server.imap())]);
    command.args(["--admin", way.server.admin(), "--account", way.server.admin(), "--password-file"]);
    command.arg(way.server.password_file()).arg("--out").arg(way.path("sheet.json")).args(more);
    let ran = run(&mut command);
    let sheet = fs::read(way.path("sheet.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    (ran, sheet.unwrap_or_default())
}

fn second_account(way: &Way, more: &[(&str, &str)]) {
    let password = Secret::from_file(&way.server.password_file()).unwrap();
    let mut api = Api::open(&way.server.http().parse().unwrap(), &Trust::default(), way.server.admin(), &password).unwrap();
    let all = [&[("U_Type", "0"), ("U_Mailbox", "second"), ("U_Password", PASSWORD)], more].concat();
    let properties: Vec<_> = all.into_iter().map(|(name, value)| (name, Element::string(value))).collect();
    assert!(api.create_account("standin.test", &properties).unwrap());
    api.log_out();
}

/// Looks at the stand-in with the second account, under its own password.
fn look_as_second(way: &Way, more: &[&str]) -> (Ran, Value) {
    fs::write(way.path("own"), format!("{PASSWORD}\n")).unwrap();
    let mut command = floe();
    command.args(["doctor", "--to", &way.server.http(), "--imap", &format!("imap://{}", way.server.imap())]);
    command.args(["--account", SECOND, "--login", "own", "--password-file"]).arg(way.path("own"));
    let ran = run(command.arg("--out").arg(way.path("sheet.json")).args(more));
    (ran, serde_json::from_slice(&fs::read(way.path("sheet.json")).unwrap()).unwrap())
}

#[test]
fn the_administration_tells_version_licence_policy_and_limits() {
    let way = Way::new("max-message=20000,appends-per-minute=100000,licence=7,password-length=13");
    let (ran, sheet) = look(&way, &[]);
    let ran = ran.expect(0);
    for line in ["version ", "accountslimit 7", "at least 13 characters", "100000 messages a minute", "largest   20000 bytes"] {
        assert!(ran.text().contains(line), "{line}: {ran}");
    }
    assert_eq!(sheet["mail"]["largest_message"], 20_000);
    assert_eq!(sheet["mail"]["appends_per_minute"], 100_000);
    assert_eq!(sheet["admin"]["properties"]["c_accounts_policies_pass_minlength"], "13");
    // A secret file's content is nowhere in what is shipped.
    let secret = fs::read_to_string(way.server.password_file()).unwrap();
    assert!(!fs::read_to_string(way.path("sheet.json")).unwrap().contains(secret.trim()) && !ran.text().contains(secret.trim()));
}

#[test]
fn a_login_as_the_user_asks_the_administration_with_its_own_password() {
    let way = Way::new("no-admin-login");
    second_account(&way, &[]);
    let run_as = |more: &[&str]| look_as_second(&way, more);
    let (ran, sheet) = run_as(&[]);
    assert!(ran.expect(0).text().contains("unknown   administration"), "nobody was told that it was not asked");
    assert!(sheet["admin"].is_null() && sheet["mail"]["on_behalf"].is_null());
    let file = way.server.password_file().to_str().unwrap().to_owned();
    let (ran, sheet) = run_as(&["--admin", way.server.admin(), "--admin-password-file", &file]);
    assert!(ran.expect(0).text().contains("on behalf refused"));
    assert!(sheet["admin"]["version"].is_string());
    assert_eq!(sheet["mail"]["on_behalf"], false);
}

#[test]
fn whether_invitations_leave_is_seen_and_stops_the_calendars() {
    for (difficult, leave) in [("", false), ("invites", true)] {
        let way = Way::new(difficult);
        second_account(&way, &[]);
        let (ran, sheet) = look(&way, &["--attendee", SECOND]);
        ran.expect(0);
        assert_eq!(sheet["dav"]["invitations_leave"], leave, "{difficult}");
        // The probe is gone, and the mailbox holds the invitation only where one left.
        let inbox = way.path("icewarp/mail").join(SECOND).join("folders/INBOX");
        let mails = fs::read_dir(inbox).unwrap().filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "eml"));
        assert_eq!(mails.count(), usize::from(leave), "{difficult}");
        let home = way.path("icewarp/webdav").join(way.server.admin());
        assert!(fs::read_dir(home).unwrap().all(|f| !f.unwrap().file_name().to_string_lossy().contains("probe")));

        let store = way.path("calendars/anna@acme.example");
        fs::create_dir_all(&store).unwrap();
        let event = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//EN\r\nBEGIN:VEVENT\r\nUID:e1\r\nDTSTAMP:20240101T000000Z\r\n\
            DTSTART:20240101T090000Z\r\nDTEND:20240101T100000Z\r\nSUMMARY:x\r\nORGANIZER:mailto:anna@acme.example\r\n\
            ATTENDEE:mailto:bert@acme.example\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
        fs::write(store.join("work.ics"), event).unwrap();
        way.snapshot(&[("anna@acme.example", &store)]);
        way.plan(&[]);
        way.provision().expect(0);
        let passwords = way.path("passwords.csv").to_str().unwrap().to_owned();
        let outbox = || fs::read_dir(way.path("icewarp/outbox")).unwrap().count();
        let before = outbox();
        let replayed = way.replay(&["--passwords", &passwords]);
        if leave {
            assert!(replayed.expect(2).text().contains("nothing was sent"));
            assert_eq!(outbox(), before);
            way.replay(&["--only", "mail", "--passwords", &passwords]).expect(0);
            way.replay(&["--danger-let-invitations-leave", "--passwords", &passwords]).expect(0);
            assert!(outbox() > before, "the stand-in mailed nobody");
        } else {
            replayed.expect(0);
            assert_eq!(outbox(), before);
        }
    }
}

#[test]
fn the_largest_item_is_found_to_the_byte_and_a_quota_is_not_taken_for_it() {
    let way = Way::new("max-body=30000");
    let (ran, sheet) = look(&way, &[]);
    assert!(ran.expect(0).text().contains("largest   30000 bytes for events"));
    for part in ["files", "events", "tasks", "journals", "contacts", "notes"] {
        assert_eq!(sheet["dav"]["largest"][part], 30_000, "{part}");
    }
    let home = way.path("icewarp/webdav").join(way.server.admin());
    assert!(fs::read_dir(home).unwrap().all(|f| !f.unwrap().file_name().to_string_lossy().contains("probe")));

    let way = Way::new("");
    second_account(&way, &[("U_MaxBox", "1"), ("U_MaxBoxSize", "100")]);
    let (ran, sheet) = look_as_second(&way, &[]);
    assert!(ran.expect(0).text().contains("files: how large one may be: the account's quota"));
    assert!(sheet["dav"]["largest"].is_null(), "{sheet}");
    let (_, sheet) = look(&way, &[]);
    assert!(sheet["dav"]["largest"].is_null(), "{sheet}");
}

#[test]
fn the_largest_object_that_a_server_tells_of_is_believed() {
    let Some(server) = Server::start("radicale", &[]) else { return };
    let address = format!("http://127.0.0.1:{}/", server.var("HTTP_PORT")).parse().unwrap();
    let login = floe::dav::Login { user: "user001@example.test".to_owned(), password: Secret::new("pw-user001") };
    let mut client = floe::dav::Client::new(address, login, &Trust::default()).unwrap();
    let (sheet, _) = floe::replay::doctor::look_at_dav(&mut client).unwrap();
    // What Radicale has unless it is configured otherwise; files it does not take at all.
    let told: Vec<(Part, u64)> =
        [Part::Events, Part::Tasks, Part::Journals, Part::Contacts, Part::Notes].map(|part| (part, 10_000_000)).to_vec();
    assert_eq!(sheet.largest.into_iter().collect::<Vec<_>>(), told);
}
