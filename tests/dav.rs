//! The DAV client against real servers: Radicale, Cyrus, WsgiDAV. A server that cannot be installed is skipped with a word.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use floe::Kind;
use floe::dav::{Body, Client, CollectionType, Login, Made, NewCollection, Put, join, resource_name};
use floe::net::{Secret, Trust};
use support::servers::Server;

fn client(server: &Server, path: &str, user: &str, password: &str) -> Client {
    let base = format!("http://127.0.0.1:{}{path}", server.var("HTTP_PORT")).parse().unwrap();
    let login = Login { user: user.to_owned(), password: Secret::new(password) };
    Client::new(base, login, &Trust::default()).unwrap().with_tries(1)
}

const USER: &str = "user001@example.test";
const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//t//EN\r\nBEGIN:VEVENT\r\nUID:uid-1@example.test\r\n\
    DTSTAMP:20240101T000000Z\r\nDTSTART:20240105T100000Z\r\nDTEND:20240105T110000Z\r\nSUMMARY:Treffen\\, Köln\r\n\
    ORGANIZER:mailto:user001@example.test\r\nATTENDEE:mailto:user002@example.test\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const CARD: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:card-1\r\nFN:Jürgen Test\r\nN:Test;Jürgen;;;\r\nEND:VCARD\r\n";

fn collections_and_objects(server: &str) {
    let Some(server) = Server::start(server, &[]) else { return };
    if !server.var("IMAP_PORT").is_empty() {
        // Cyrus makes an account's calendars only when it has a mailbox, which its first IMAP login makes.
        server.connect(1);
    }
    let mut client = self::client(&server, "/", USER, "pw-user001");
    let homes = client.discover().unwrap();
    let home = homes.calendars.unwrap();
    let calendar = join(&home, "Everywhere and nowhere");
    let new = NewCollection {
        is: CollectionType::Calendar,
        component: "VEVENT",
        display_name: "Überall & <nirgends>",
        color: Some("#336699FF"),
        description: None,
    };
    assert!(matches!(client.make(&calendar, &new).unwrap(), Made::Created(_)));
    assert_eq!(client.make(&calendar, &new).unwrap(), Made::Exists);
    let found = client.collections(&home).unwrap();
    let found = found.iter().find(|c| floe::dav::same_place(&c.path, &calendar)).unwrap();
    assert_eq!((found.is, found.display_name.as_deref()), (CollectionType::Calendar, Some("Überall & <nirgends>")));
    assert_eq!(found.components, ["VEVENT"]);

    let path = join(&calendar, &resource_name("uid-1@example.test", "ics"));
    let body = || Body::Bytes(EVENT.as_bytes(), "text/calendar; charset=utf-8");
    assert!(matches!(client.put_new(&path, body()).unwrap(), Put::Stored(_)));
    assert!(matches!(client.put_new(&path, body()).unwrap(), Put::Exists | Put::UidTaken(_)));
    let other = client.put_new(&join(&calendar, "other.ics"), body()).unwrap();
    assert!(matches!(other, Put::UidTaken(_)), "{other:?}");
    let object = client.get(&path, 1 << 20).unwrap().unwrap();
    assert!(String::from_utf8_lossy(&object.bytes).contains("UID:uid-1@example.test"));
    let listed = client.list(&calendar).unwrap();
    assert_eq!(listed.len(), 1);
    let mut many = Vec::new();
    client.multiget(&calendar, CollectionType::Calendar, &[listed[0].path.clone()], &mut |o| many.push(o)).unwrap();
    assert!(many.len() == 1 && String::from_utf8_lossy(&many[0].bytes).contains("Köln"));

    let book = join(&homes.address_books.unwrap(), "Leute");
    let new = NewCollection { is: CollectionType::AddressBook, component: "", display_name: "Leute", ..new };
    assert!(matches!(client.make(&book, &new).unwrap(), Made::Created(_)));
    let card = join(&book, "card-1.vcf");
    assert!(matches!(client.put_new(&card, Body::Bytes(CARD.as_bytes(), "text/vcard; charset=utf-8")).unwrap(), Put::Stored(_)));
    assert!(client.delete(&path, Some("\"another\"")).is_err(), "what changed since is not removed");
    assert!(client.delete(&path, listed[0].etag.as_deref()).unwrap() && client.get(&path, 1 << 20).unwrap().is_none());

    let refused = self::client(&server, "/", USER, "wrong").discover().unwrap_err();
    assert_eq!(refused.kind(), Kind::Login, "{refused}");
    assert!(!format!("{refused:?}").contains("wrong"));
}

#[test]
fn radicale_takes_collections_and_objects() {
    collections_and_objects("radicale");
}

#[test]
fn cyrus_takes_collections_and_objects() {
    collections_and_objects("cyrus");
}

#[test]
fn a_file_goes_up_in_a_stream_and_comes_back_the_same() {
    let Some(server) = Server::start("webdav", &[]) else { return };
    let mut client = self::client(&server, &format!("/{USER}/"), USER, "pw-user001");
    let home = client.discover().unwrap().files.unwrap();
    let folder = join(&home, "Verträge 2024");
    let new = NewCollection { is: CollectionType::Folder, component: "", display_name: "", color: None, description: None };
    assert_eq!(client.make(&folder, &new).unwrap(), Made::Created(Vec::new()));
    assert_eq!(client.make(&folder, &new).unwrap(), Made::Exists);
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7) as u8).collect();
    let (path, copy) = (join(&folder, "große Datei.bin"), bytes.clone());
    let mut open = move || Ok(Box::new(std::io::Cursor::new(copy.clone())) as Box<dyn std::io::Read>);
    assert!(matches!(client.put_new(&path, Body::File(bytes.len() as u64, &mut open)).unwrap(), Put::Stored(_)));
    assert_eq!(client.put_new(&path, Body::File(bytes.len() as u64, &mut open)).unwrap(), Put::Exists);
    assert_eq!(client.get(&path, 10 << 20).unwrap().unwrap().bytes, bytes);
    assert_eq!(client.list(&folder).unwrap()[0].size, Some(3_000_000));
    assert_eq!(client.get(&path, 1000).unwrap_err().kind(), Kind::Protocol, "more than was allowed");
}
