//! The IMAP client against real servers.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use floe::Kind;
use floe::imap::{Append, Body, Connection, Fetched, Login, Messages, Settings, Want, Way, Written};
use floe::net::{Secret, Trust};
use support::servers::Server;

/// Keeps whole messages.
#[derive(Default)]
struct Kept {
    body: Vec<u8>,
    messages: Vec<(Fetched, Vec<u8>)>,
}

impl Messages for Kept {
    fn piece(&mut self, bytes: &[u8]) -> floe::Result<()> {
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    fn message(&mut self, message: Fetched) -> floe::Result<()> {
        self.messages.push((message, std::mem::take(&mut self.body)));
        Ok(())
    }
}

const ALL: Want = Want { flags: true, date: true, size: true, body: true };

fn message(n: usize, size: usize) -> Vec<u8> {
    let mut text = format!("From: a@example.test\r\nSubject: {n}\r\nMessage-ID: <{n}@x>\r\n\r\n").into_bytes();
    while text.len() < size {
        text.extend_from_slice(b") {12} f1 OK [ALERT] \" ~\xc3\xbc\r\n");
    }
    text
}

/// Appends messages of odd sizes by every way that the server allows, and reads them back.
fn round_trip(connection: &mut Connection) {
    let dates = ["2024-01-01T10:00:00Z", "2001-09-09T01:46:40Z"].map(|text| text.parse().unwrap());
    let flags = ["\\Seen".to_owned(), "\\Flagged".to_owned()];
    let texts: Vec<Vec<u8>> = [100, 4096, 5000, 70_000, 300_000].iter().enumerate().map(|(n, s)| message(n, *s)).collect();
    let mut appended = 0;
    for way in [Way::Multi, Way::Pipelined, Way::OneByOne] {
        if way == Way::Multi && connection.append_way() != Way::Multi {
            continue;
        }
        let mut batch: Vec<Append<'_>> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| Append { flags: &flags, date: Some(dates[n % 2]), body: Body::Bytes(text) })
            .collect();
        let sent = connection.send_append("INBOX", way, &mut batch).unwrap();
        let written = connection.finish_append(sent).unwrap();
        assert!(written.iter().all(|w| matches!(w, Written::Stored(_))), "{way:?} {written:?}");
        if connection.has("UIDPLUS") {
            assert!(written.iter().all(|w| matches!(w, Written::Stored(Some(_)))), "{way:?} {written:?}");
        }
        appended += written.len();
    }
    let selected = connection.select("INBOX", true).unwrap();
    assert_eq!(selected.exists as usize, appended);
    assert_ne!(selected.uid_validity, 0);
    let mut kept = Kept::default();
    connection.fetch_from(1, ALL, &mut kept).unwrap();
    assert_eq!(kept.messages.len(), appended);
    for (n, (told, body)) in kept.messages.iter().enumerate() {
        let n = n % texts.len();
        assert!(*body == texts[n], "message {n} came back as other bytes");
        assert_eq!(told.size, Some(body.len() as u64));
        assert_eq!(told.date, Some(dates[n % 2]));
        assert!(flags.iter().all(|flag| told.flags.contains(flag)), "{:?}", told.flags);
    }
    let uids: Vec<u32> = kept.messages.iter().map(|(told, _)| told.uid).collect();
    let mut again = Kept::default();
    connection.fetch(&uids, Want { size: true, ..Want::default() }, &mut again).unwrap();
    assert_eq!(again.messages.len(), uids.len());
    connection.leave().unwrap();
}

#[test]
fn dovecot_gives_back_what_was_appended_whatever_it_announces() {
    let all = "IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ MULTIAPPEND UIDPLUS MOVE NAMESPACE SPECIAL-USE LIST-EXTENDED UNSELECT";
    for (n, capabilities) in ["", all, "IMAP4rev1 LITERAL+ UIDPLUS", "IMAP4rev1 LITERAL-", "IMAP4rev1"].into_iter().enumerate() {
        let options: &[&str] = if capabilities.is_empty() { &[] } else { &["--capability", capabilities] };
        let Some(server) = Server::start("dovecot", options) else { return };
        let mut connection = server.connect(1);
        if n == 4 {
            assert_eq!(connection.append_way(), Way::OneByOne);
        }
        round_trip(&mut connection);
        folders(&mut connection);
        connection.logout();
    }
}

fn levels(path: &[&str]) -> Vec<String> {
    path.iter().map(|&level| level.to_owned()).collect()
}

/// Makes folders in folders, moves a message into one, and removes it.
fn folders(connection: &mut Connection) {
    let path = levels(&["Kunden", "Müller & Söhne", "台北"]);
    connection.create(&path).unwrap();
    connection.create(&path).unwrap();
    let name = connection.names().write(&path).unwrap();
    let listed = connection.list().unwrap();
    assert!(listed.iter().any(|folder| folder.path == path && folder.name == name), "{listed:?}");
    let sent = floe::imap::special_folders(&listed);
    assert!(sent.iter().any(|(use_, path, _)| *use_ == floe::imap::SpecialUse::Sent && path == &["Sent"]), "{sent:?}");
    connection.select("INBOX", false).unwrap();
    let mut kept = Kept::default();
    connection.fetch_from(1, Want::default(), &mut kept).unwrap();
    let uid = kept.messages[0].0.uid;
    connection.store(&[uid], true, &["$Label1".to_owned()]).unwrap();
    if connection.has("UIDPLUS") {
        connection.move_to(&[uid], &name).unwrap();
        assert_eq!(connection.select(&name, false).unwrap().exists, 1);
        let mut kept = Kept::default();
        connection.fetch_from(1, ALL, &mut kept).unwrap();
        assert!(kept.messages[0].0.flags.contains(&"$Label1".to_owned()));
        connection.remove(&[kept.messages[0].0.uid]).unwrap();
        assert_eq!(connection.status("INBOX").unwrap().uid_validity, connection.select("INBOX", true).unwrap().uid_validity);
    } else {
        // Only all that is marked as deleted can be removed: nothing of anybody else's may be among it.
        let deleted = ["\\Deleted".to_owned()];
        let other = kept.messages[1].0.uid;
        connection.store(&[other], true, &deleted).unwrap();
        assert_eq!(connection.remove(&[uid]).unwrap_err().kind(), Kind::Refused);
        connection.store(&[other], false, &deleted).unwrap();
        connection.remove(&[uid]).unwrap();
        assert_eq!(connection.select("INBOX", false).unwrap().exists as usize, kept.messages.len() - 1);
    }
}

#[test]
fn cyrus_gives_back_what_was_appended_in_both_layouts() {
    for layout in ["alt", "std"] {
        let Some(server) = Server::start("cyrus", &["--layout", layout]) else { return };
        let mut connection = server.connect(1);
        round_trip(&mut connection);
        folders(&mut connection);
        connection.logout();
        let admin = |password: &str| Login::OnBehalf {
            user: "user002@example.test".into(),
            admin: "admin".into(),
            password: Secret::new(password),
        };
        round_trip(&mut Connection::open(&server.settings(), &admin("master-secret")).unwrap());
        let refused = Connection::open(&server.settings(), &admin("wrong-secret")).err().unwrap();
        assert_eq!(refused.kind(), Kind::Login, "{refused}");
        assert!(!refused.to_string().contains("wrong-secret"));
    }
}

#[test]
fn a_server_without_extensions_gives_back_what_was_appended() {
    for plugins in ["LITERALPLUS,UIDPLUS,NAMESPACE,SPECIAL-USE,ENABLE,UNSELECT", "ID"] {
        let Some(server) = Server::start("hoodiecrow", &["--plugins", plugins]) else { return };
        let mut connection = server.connect(1);
        let mut batch = [message(1, 500), message(2, 9000)];
        let way = connection.append_way();
        for text in &mut batch {
            // This server keeps text, not bytes.
            text.retain(u8::is_ascii);
            let mut append = [Append { flags: &[], date: None, body: Body::Bytes(text) }];
            let sent = connection.send_append("INBOX", way, &mut append).unwrap();
            assert!(matches!(connection.finish_append(sent).unwrap()[0], Written::Stored(_)));
        }
        connection.select("INBOX", true).unwrap();
        let mut kept = Kept::default();
        connection.fetch_from(1, ALL, &mut kept).unwrap();
        let bodies: Vec<&Vec<u8>> = kept.messages.iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, [&batch[0], &batch[1]]);
    }
}

#[test]
fn tls_is_spoken_with_the_authority_given_and_with_no_other() {
    let Some(server) = Server::start("dovecot", &[]) else { return };
    let trusted = Trust::default().with_ca_file(std::path::Path::new(server.var("CA_FILE"))).unwrap();
    let at = |url: String, trust: &Trust| Settings::new(url.parse().unwrap(), trust.clone());
    let imaps = format!("imaps://127.0.0.1:{}", server.var("IMAPS_PORT"));
    let starttls = format!("imap://127.0.0.1:{}", server.port());
    for url in [&imaps, &starttls] {
        let mut connection = Connection::open(&at(url.clone(), &trusted), &server.user(1)).unwrap();
        assert!(connection.is_encrypted(), "{url}");
        connection.noop().unwrap();
        let refused = Connection::open(&at(url.clone(), &Trust::default()), &server.user(1)).err().unwrap();
        assert_eq!(refused.kind(), Kind::Refused, "{refused}");
        assert!(refused.to_string().contains("certificate"), "{refused}");
    }
    round_trip(&mut Connection::open(&at(imaps, &trusted), &server.user(2)).unwrap());
}

#[test]
fn a_master_user_opens_the_users_account_and_a_wrong_password_does_not() {
    let Some(server) = Server::start("dovecot", &[]) else { return };
    let login = |password: &str| Login::Master {
        user: "user003@example.test".into(),
        master: "master".into(),
        separator: '*',
        password: Secret::new(password),
    };
    round_trip(&mut Connection::open(&server.settings(), &login("master-secret")).unwrap());
    assert_eq!(server.connect(3).select("INBOX", true).unwrap().exists, 15);
    let refused = Connection::open(&server.settings(), &login("hunter2")).err().unwrap();
    assert_eq!(refused.kind(), Kind::Login, "{refused}");
    assert!(!format!("{refused:?}").contains("hunter2"));
}

#[test]
fn a_body_that_ends_too_early_is_no_message_on_the_server() {
    let Some(server) = Server::start("dovecot", &[]) else { return };
    let text = message(1, 50_000);
    for cut in [0, 49_000, text.len() - 1, text.len()] {
        let mut connection = server.connect(4);
        let mut write = |out: &mut dyn std::io::Write| {
            out.write_all(&text[..cut]).unwrap();
            Err(floe::Error::damage("the end is damaged"))
        };
        let mut batch = [Append { flags: &[], date: None, body: Body::Stream(text.len() as u64, &mut write) }];
        assert!(connection.send_append("INBOX", connection.append_way(), &mut batch).is_err());
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(server.connect(4).select("INBOX", true).unwrap().exists, 0);
}

#[test]
fn nobody_at_the_port_is_worth_another_try_and_plaintext_to_elsewhere_is_refused() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = Connection::open(&Server::settings_at(port), &support::servers::user(1)).err().unwrap();
    assert_eq!(refused.kind(), Kind::Unreachable, "{refused}");
}

/// A server of one connection that deflates what it says; its message of UID n has n bytes. Nothing follows an answer.
fn deflating_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut out, _) = listener.accept().unwrap();
        let mut read = BufReader::new(out.try_clone().unwrap());
        out.write_all(b"* OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hi\r\n").unwrap();
        for answer in ["OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in", "OK deflating"] {
            let mut line = String::new();
            read.read_line(&mut line).unwrap();
            write!(out, "{} {answer}\r\n", line.split(' ').next().unwrap()).unwrap();
        }
        let mut out = DeflateEncoder::new(out, Compression::best());
        for line in BufReader::new(DeflateDecoder::new(read)).lines() {
            let Ok(line) = line else { return };
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                [_, "UID", "FETCH", uid, ..] => {
                    write!(out, "* 1 FETCH (UID {uid} BODY[] {{{uid}}}\r\n").unwrap();
                    out.write_all(&vec![b'a'; uid.parse().unwrap()]).unwrap();
                    out.write_all(b")\r\n").unwrap();
                }
                _ => out.write_all(b"* LIST () \"/\" \"\"\r\n").unwrap(),
            }
            write!(out, "{} OK done\r\n", words[0]).unwrap();
            out.flush().unwrap();
        }
    });
    port
}

#[test]
fn what_a_deflated_answer_still_owes_is_not_waited_for() {
    let mut settings = Server::settings_at(deflating_server());
    // A client that waits for more fails by this, and does not hang.
    settings.idle_timeout = Duration::from_secs(5);
    let mut connection = Connection::open(&settings, &support::servers::user(1)).unwrap();
    // Around what is inflated at a time, all deflated bytes may have been used while some of their text is still to come.
    for size in (200 << 10..800 << 10).step_by(977) {
        let mut kept = Kept::default();
        connection.fetch(&[size], Want { body: true, ..Want::default() }, &mut kept).unwrap();
        assert_eq!(kept.messages.len(), 1, "{size}");
        assert!(kept.messages[0].1.len() == size as usize && kept.messages[0].1.iter().all(|byte| *byte == b'a'), "{size}");
    }
    connection.logout();
}
