//! Finds out whether mail leaves when an event with an attendee is stored, though the server is asked not to send any (RFC 6638 8.1).

use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;

use crate::dav::{Body, Client, CollectionType, NewCollection, Put, When, join};
use crate::error::{Error, Kind, Result};
use crate::imap::Connection;

/// How often, and after what pause each time, the mailboxes are looked at for mail that left.
const LOOKS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(500);

/// Stores an event of `organizer` with `attendee` in it, and waits for mail in `inboxes`: those of both. The event is removed again.
///
/// Mail to either counts, an invitation to the one or a failed delivery to the other. `false` says that none came while it waited.
///
/// # Errors
/// When the server has no calendars or refuses the event, and when a connection breaks.
pub fn invitations_leave(client: &mut Client, inboxes: &mut [Connection], organizer: &str, attendee: &str) -> Result<bool> {
    let homes = client.discover()?;
    let home = homes.calendars.ok_or_else(|| Error::new(Kind::Refused, "the server tells of no place for calendars"))?;
    let stamp = Timestamp::now().as_millisecond();
    let path = join(&home, &format!("floe-probe-{stamp}-invitation"));
    let new = NewCollection {
        is: CollectionType::Calendar,
        component: "VEVENT",
        display_name: "floe doctor",
        color: None,
        description: None,
    };
    client.make(&path, &new)?;
    let before = next_uids(inboxes)?;
    let mail =
        store(client, &join(&path, "invitation.ics"), &event(stamp, organizer, attendee)).and_then(|()| came(inboxes, &before));
    client.delete(&path, None)?;
    mail
}

fn store(client: &mut Client, path: &str, event: &str) -> Result<()> {
    match client.put(path, Body::Bytes(event.as_bytes(), "text/calendar; charset=utf-8"), When::New, None)? {
        // What exists already is what a lost answer to the first try was about.
        Put::Stored(_) | Put::Exists => Ok(()),
        Put::Differs | Put::UidTaken(_) => Err(Error::new(Kind::Protocol, "the server says that a new event is there already")),
    }
}

/// Does mail arrive while it is waited for?
fn came(inboxes: &mut [Connection], before: &[u32]) -> Result<bool> {
    for _ in 0..LOOKS {
        sleep(PAUSE);
        if next_uids(inboxes)? != before {
            return Ok(true);
        }
    }
    Ok(false)
}

fn next_uids(inboxes: &mut [Connection]) -> Result<Vec<u32>> {
    inboxes.iter_mut().map(|inbox| inbox.status("INBOX").map(|counts| counts.uid_next)).collect()
}

/// In the future: of the past, some servers tell nobody.
fn event(stamp: i64, organizer: &str, attendee: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VEVENT\r\nUID:floe-probe-{stamp}\r\n\
         DTSTAMP:20240101T000000Z\r\nDTSTART:20400301T090000Z\r\nDTEND:20400301T100000Z\r\nSUMMARY:floe doctor\r\n\
         ORGANIZER:mailto:{organizer}\r\nATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:{attendee}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}
