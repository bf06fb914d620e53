//! Finds out what a target's DAV takes and what survives a round trip, with odd objects in collections of its own that it removes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::size::{Largest, largest};
use crate::dav::{Body, Client, Collection, CollectionType, Homes, NewCollection, Put, When, join, last_name};
use crate::error::{Error, Kind, Result};
use crate::model::printable;
use crate::objects::{Likeness, Mark, compare, properties_with};
use crate::replay::groupware::{home_of, wanted};
use crate::replay::plan::Part;
use crate::replay::sheet::{DavSheet, Fate};

/// An event with a property of every kind that people have, but no attendee: nobody is to be invited.
const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VTIMEZONE\r\nTZID:Floe/Probe\r\n\
    BEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0130\r\nTZOFFSETTO:+0130\r\nTZNAME:PROBE\r\nEND:STANDARD\r\n\
    END:VTIMEZONE\r\nBEGIN:VEVENT\r\nUID:floe-probe-event\r\nDTSTAMP:20240101T000000Z\r\nCREATED:20230101T000000Z\r\n\
    DTSTART;TZID=Floe/Probe:20240301T090000\r\nDTEND;TZID=Floe/Probe:20240301T100000\r\nRRULE:FREQ=WEEKLY;COUNT=5\r\n\
    EXDATE;TZID=Floe/Probe:20240308T090000\r\nSUMMARY:floe doctor\r\nDESCRIPTION:one\\ntwo\\, three\r\nLOCATION:here\r\n\
    CATEGORIES:ONE,TWO\r\nCLASS:PRIVATE\r\nPRIORITY:5\r\nSEQUENCE:2\r\nSTATUS:CONFIRMED\r\nTRANSP:TRANSPARENT\r\nGEO:50.5;14.5\r\n\
    URL:https://floe.invalid/event\r\nCOMMENT:a comment\r\nCONTACT:somebody\r\nCOLOR:red\r\nRELATED-TO:floe-probe-other\r\n\
    CONFERENCE;VALUE=URI;FEATURE=AUDIO;LABEL=call:https://floe.invalid/call\r\nX-FLOE-PROBE;X-PARAM=a:b\r\nATTACH:https://floe.invalid/attached\r\nBEGIN:VALARM\r\nACTION:DISPLAY\r\nDESCRIPTION:alarm\r\n\
    TRIGGER:-PT15M\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
/// An event that ends as it begins (RFC 5545 3.6.1), which Cyrus does not take.
const ENDLESS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VEVENT\r\nUID:floe-probe-endless\r\n\
    DTSTAMP:20240101T000000Z\r\nDTSTART:20240301T090000Z\r\nSUMMARY:floe doctor\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
/// An event that ends when it begins, such as calendars of holidays and reminders have.
const NO_LENGTH: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VEVENT\r\nUID:floe-probe-no-length\r\n\
    DTSTAMP:20240101T000000Z\r\nDTSTART:20240301T090000Z\r\nDTEND:20240301T090000Z\r\nSUMMARY:floe doctor\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const TASK: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VTODO\r\nUID:floe-probe-task\r\n\
    DTSTAMP:20240101T000000Z\r\nDUE;VALUE=DATE:20240301\r\nSUMMARY:floe doctor\r\nDESCRIPTION:text\r\nPRIORITY:1\r\n\
    PERCENT-COMPLETE:40\r\nSTATUS:IN-PROCESS\r\nCATEGORIES:ONE\r\nX-FLOE-PROBE:b\r\nEND:VTODO\r\nEND:VCALENDAR\r\n";
const JOURNAL: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VJOURNAL\r\nUID:floe-probe-journal\r\n\
    DTSTAMP:20240101T000000Z\r\nDTSTART;VALUE=DATE:20240301\r\nSUMMARY:floe doctor\r\nDESCRIPTION:text\r\nEND:VJOURNAL\r\nEND:VCALENDAR\r\n";
const NOTE: &str = "BEGIN:VNOTE\r\nVERSION:1.1\r\nUID:floe-probe-note\r\nSUMMARY:floe doctor\r\n\
    BODY;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:one=0D=0Atwo =C3=A4\r\nCATEGORIES:ONE,TWO\r\nCLASS:PRIVATE\r\nDCREATED:20240101T000000Z\r\n\
    X-FLOE-PROBE:b\r\nEND:VNOTE\r\n";
const CARD: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:floe-probe-card\r\nN:Doctor;Floe;;;\r\nFN:Floe Doctor\r\nORG:floe;probes\r\n\
    TITLE:Doctor\r\nROLE:probe\r\nNICKNAME:doc\r\nTEL;TYPE=CELL:+1 555 0100\r\nEMAIL;TYPE=INTERNET:probe@floe.invalid\r\n\
    ADR;TYPE=HOME:;;Street 1;Town;;12345;Country\r\nURL:https://floe.invalid/\r\nNOTE:one\\ntwo\\, three\r\nBDAY:1970-01-02\r\n\
    CATEGORIES:ONE,TWO\r\nitem1.X-ABLABEL:label\r\nX-FLOE-PROBE:b\r\nPHOTO;ENCODING=b;TYPE=GIF:R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=\r\n\
    END:VCARD\r\n";
const CARD_4: &str = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:floe-probe-card-4\r\nN:Doctor;Floe;;;\r\nFN:Floe Doctor\r\nKIND:individual\r\n\
    ANNIVERSARY:20090808\r\nGENDER:O\r\nLANG:de\r\nRELATED;TYPE=friend:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\r\nEND:VCARD\r\n";
const CARD_GROUP: &str = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:floe-probe-card-group\r\nN:Doctors;;;;\r\nFN:Floe Doctors\r\nKIND:group\r\n\
    MEMBER:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\r\nEND:VCARD\r\n";

/// Objects with marks in values at which servers are known to lose some of them. A text's comma is escaped before it is sent, so it is not
/// tried.
const COMMAS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VEVENT\r\nUID:floe-probe-commas\r\n\
    DTSTAMP:20240101T000000Z\r\nDTSTART:20240301T090000Z\r\nDTEND:20240301T100000Z\r\nSUMMARY:floe doctor\r\nCOLOR:red,blue\r\n\
    URL:https://floe.invalid/?a,b\r\nATTACH:https://floe.invalid/attached?a,b\r\nX-FLOE-PROBE:a,b\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const ESCAPED_COMMAS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VEVENT\r\nUID:floe-probe-escaped\r\n\
    DTSTAMP:20240101T000000Z\r\nDTSTART:20240301T090000Z\r\nDTEND:20240301T100000Z\r\nSUMMARY:floe doctor\r\n\
    CATEGORIES:ONE\\, TWO,THREE\r\nRESOURCES:ONE\\, TWO\r\nX-FLOE-PROBE:a\\,b\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const SEMICOLONS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VEVENT\r\nUID:floe-probe-semicolons\r\n\
    DTSTAMP:20240101T000000Z\r\nDTSTART:20240301T090000Z\r\nDTEND:20240301T100000Z\r\nSUMMARY:floe; doctor\r\nLOCATION:a;b\r\n\
    DESCRIPTION:a;b\r\nURL:https://floe.invalid/?a;b\r\nATTACH:https://floe.invalid/attached?a;b\r\nX-FLOE-PROBE:a;b\r\nEND:VEVENT\r\n\
    END:VCALENDAR\r\n";
const CARD_COMMAS: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:floe-probe-card-commas\r\nN:Doctor;Floe;A,B;;\r\nFN:Floe Doctor\r\nNICKNAME:doc,dok\r\n\
    ADR:;;Street 1,Yard 2;Town;;1;Country\r\nTEL:+1 555 0100,1\r\nEMAIL:probe,floe@floe.invalid\r\nURL:https://floe.invalid/?a,b\r\nIMPP:x:a,b\r\nLABEL:a,b\r\nX-FLOE-PROBE:a,b\r\n\
    END:VCARD\r\n";
const CARD_ESCAPED: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:floe-probe-card-escaped\r\nN:Doctor\\, X;Floe;;;\r\nFN:Floe Doctor\r\n\
    ADR:;;Street 1\\, back;Town;;1;Country\r\nNICKNAME:doc\\, dok\r\nCATEGORIES:ONE\\, TWO\r\nX-FLOE-PROBE:a\\,b\r\nEND:VCARD\r\n";
const CARD_SEMICOLONS: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:floe-probe-card-semicolons\r\nN:Doctor;Floe;;;\r\nFN:Floe; Doctor\r\n\
    NOTE:a;b\r\nTEL:+1 555 0100;1\r\nURL:https://floe.invalid/?a;b\r\nIMPP:x:a;b\r\nX-FLOE-PROBE:a;b\r\nEND:VCARD\r\n";
/// Pictures and the like as URIs of their own bytes, as cards of version 4.0 have them.
const CARD_DATA: &str = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:floe-probe-card-data\r\nN:Doctor;Floe;;;\r\nFN:Floe Doctor\r\n\
    PHOTO:data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=\r\nLOGO:data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=\r\n\
    SOUND:data:audio/basic;base64,AA==\r\nKEY:data:application/pgp-keys;base64,AA==\r\nEND:VCARD\r\n";
const SPACES: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VEVENT\r\nUID:floe-probe-spaces\r\n\
    DTSTAMP:20240101T000000Z\r\nDTSTART:20240301T090000Z\r\nDTEND:20240301T100000Z\r\nSUMMARY: floe doctor \r\nLOCATION: here \r\n\
    DESCRIPTION: text \r\nCOMMENT: text \r\nCATEGORIES: ONE \r\nCONTACT: somebody \r\nURL: https://floe.invalid/ \r\n\
    X-FLOE-PROBE: a \r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const TASK_SPACES: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VTODO\r\nUID:floe-probe-task-spaces\r\n\
    DTSTAMP:20240101T000000Z\r\nSUMMARY: floe doctor \r\nLOCATION: here \r\nDESCRIPTION: text \r\nEND:VTODO\r\nEND:VCALENDAR\r\n";
const CARD_SPACES: &str = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:floe-probe-card-spaces\r\nN: Doctor;Floe;;; \r\nFN: Floe Doctor \r\n\
    NOTE: text \r\nORG: floe \r\nTITLE: Doctor \r\nTEL: +1 555 0100 \r\nEMAIL: probe@floe.invalid \r\nADR: ;;Street 1;Town;;1;Land \r\n\
    URL: https://floe.invalid/ \r\nX-FLOE-PROBE: a \r\nEND:VCARD\r\n";
const MARKED: &[(&str, Mark)] = &[
    (COMMAS, Mark::Comma),
    (ESCAPED_COMMAS, Mark::EscapedComma),
    (SEMICOLONS, Mark::Semicolon),
    (CARD_COMMAS, Mark::Comma),
    (CARD_ESCAPED, Mark::EscapedComma),
    (CARD_SEMICOLONS, Mark::Semicolon),
    (CARD_DATA, Mark::Semicolon),
    (SPACES, Mark::OuterSpace),
    (TASK_SPACES, Mark::OuterSpace),
    (CARD_SPACES, Mark::OuterSpace),
];

/// What is tried: the part, the name of the resource, its type and its content.
const TRIES: &[(Part, &str, &str, &str)] = &[
    (Part::Events, "probe.ics", "text/calendar; charset=utf-8", EVENT),
    (Part::Events, "endless.ics", "text/calendar; charset=utf-8", ENDLESS),
    (Part::Events, "moment.ics", "text/calendar; charset=utf-8", NO_LENGTH),
    (Part::Events, "commas.ics", "text/calendar; charset=utf-8", COMMAS),
    (Part::Events, "escaped.ics", "text/calendar; charset=utf-8", ESCAPED_COMMAS),
    (Part::Events, "semicolons.ics", "text/calendar; charset=utf-8", SEMICOLONS),
    (Part::Events, "spaces.ics", "text/calendar; charset=utf-8", SPACES),
    (Part::Tasks, "probe.ics", "text/calendar; charset=utf-8", TASK),
    (Part::Tasks, "spaces.ics", "text/calendar; charset=utf-8", TASK_SPACES),
    (Part::Journals, "probe.ics", "text/calendar; charset=utf-8", JOURNAL),
    (Part::Notes, "probe.vnt", "text/x-vnote; charset=utf-8", NOTE),
    (Part::Contacts, "probe.vcf", "text/vcard; charset=utf-8", CARD),
    (Part::Contacts, "probe4.vcf", "text/vcard; charset=utf-8", CARD_4),
    (Part::Contacts, "group.vcf", "text/vcard; charset=utf-8", CARD_GROUP),
    (Part::Contacts, "commas.vcf", "text/vcard; charset=utf-8", CARD_COMMAS),
    (Part::Contacts, "escaped.vcf", "text/vcard; charset=utf-8", CARD_ESCAPED),
    (Part::Contacts, "semicolons.vcf", "text/vcard; charset=utf-8", CARD_SEMICOLONS),
    (Part::Contacts, "data.vcf", "text/vcard; charset=utf-8", CARD_DATA),
    (Part::Contacts, "spaces.vcf", "text/vcard; charset=utf-8", CARD_SPACES),
    (Part::Files, "probe.txt", "text/plain", "floe doctor\n"),
];

/// Looks at one account of the target. The second value is what could not be found out, and why.
///
/// # Errors
/// When the account cannot be entered or no home is found in it, or when the connection breaks.
pub fn look_at_dav(client: &mut Client) -> Result<(DavSheet, Vec<String>)> {
    let homes = client.discover()?;
    let mut looking =
        Look { sheet: DavSheet { one_kind_each: true, ..DavSheet::default() }, unknown: Vec::new(), lost: BTreeSet::new() };
    looking.defaults(client, &homes)?;
    for (part, name, media, body) in TRIES {
        looking.in_folder(client, &homes, *part, |look, client, path| {
            look.round_trip(client, *part, &join(path, name), media, body)
        })?;
    }
    if looking.sheet.creates.iter().any(|word| word == Part::Events.word()) {
        looking.same_uid_twice(client, &homes)?;
    }
    for part in [Part::Files, Part::Events, Part::Contacts] {
        if looking.sheet.creates.iter().any(|word| word == part.word()) {
            looking.in_folder(client, &homes, part, |look, client, path| look.size(client, part, path))?;
        }
    }
    // What holds for events holds for what else calendars hold.
    if let Some(bytes) = looking.sheet.largest_of(Part::Events) {
        looking.sheet.largest.extend([(Part::Tasks, bytes), (Part::Journals, bytes), (Part::Notes, bytes)]);
    }
    let sheet = &mut looking.sheet;
    sheet.lost_at.values_mut().for_each(|names| names.retain(|name| !looking.lost.contains(name)));
    sheet.lost_at.retain(|_, names| !names.is_empty());
    sheet.lost_properties = looking.lost.into_iter().collect();
    Ok((looking.sheet, looking.unknown))
}

struct Look {
    sheet: DavSheet,
    unknown: Vec<String>,
    lost: BTreeSet<String>,
}

impl Look {
    /// The folders that the server names as a user's own; elsewhere the one calendar and the one address book, where there is just one.
    fn defaults(&mut self, client: &mut Client, homes: &Homes) -> Result<()> {
        let named = &homes.defaults;
        let all = [
            (Part::Events, &named.calendar),
            (Part::Tasks, &named.tasks),
            (Part::Journals, &named.journal),
            (Part::Notes, &named.notes),
            (Part::Contacts, &named.contacts),
            (Part::Files, &named.files),
        ];
        for (part, path) in all {
            self.sheet.defaults.extend(path.as_ref().map(|path| (part.word().to_owned(), last_name(path))));
        }
        for (part, home, is) in [
            (Part::Events, &homes.calendars, CollectionType::Calendar),
            (Part::Contacts, &homes.address_books, CollectionType::AddressBook),
        ] {
            let (Some(home), false) = (home, self.sheet.defaults.contains_key(part.word())) else { continue };
            let there: Vec<Collection> = client.collections(home)?.into_iter().filter(|c| c.is == is).collect();
            if let [only] = there.as_slice() {
                let name = last_name(&only.path);
                // One name for two things would be given a number in the plan.
                if !self.sheet.defaults.values().any(|other| *other == name) {
                    self.sheet.defaults.insert(part.word().to_owned(), name);
                }
            }
        }
        Ok(())
    }

    /// Makes a collection, hands its path to `work`, and removes it with all that is in it.
    fn in_folder(
        &mut self,
        client: &mut Client,
        homes: &Homes,
        part: Part,
        work: impl FnOnce(&mut Self, &mut Client, &str) -> Result<()>,
    ) -> Result<()> {
        let Some(home) = home_of(homes, part) else {
            self.unknown.push(format!("{part}: the server tells of no place for them"));
            return Ok(());
        };
        let path = join(home, &format!("floe-probe-{}-{part}", Timestamp::now().as_nanosecond()));
        let (is, component) = wanted(part);
        let new = NewCollection { is, component, display_name: "floe doctor", color: None, description: None };
        match client.make(&path, &new) {
            Ok(_) => {}
            Err(e) if e.kind() == Kind::Refused => {
                self.unknown.push(format!("{part}: the server makes no folder for them: {}", printable(&e.to_string())));
                return Ok(());
            }
            Err(e) => return Err(e),
        }
        let looked = work(self, client, &path);
        let removed = client.delete(&path, None);
        looked?;
        removed.map(drop).map_err(|e| {
            Error::new(e.kind(), "the probe's folder could not be removed")
                .with("path", &path)
                .because(e)
                .hint("remove it by hand")
        })
    }

    /// May a UID be in two calendars of an account?
    fn same_uid_twice(&mut self, client: &mut Client, homes: &Homes) -> Result<()> {
        let put = |client: &mut Client, path: &str| {
            let body = Body::Bytes(SPACES.as_bytes(), "text/calendar; charset=utf-8");
            client.put(&join(path, "twice.ics"), body, When::New, None)
        };
        self.in_folder(client, homes, Part::Events, |look, client, first| {
            if put(client, first).is_err() {
                return Ok(());
            }
            look.in_folder(client, homes, Part::Events, |look, client, second| {
                look.sheet.one_uid_each = match put(client, second) {
                    Err(e) if e.kind() == Kind::Refused => true,
                    put => matches!(put?, Put::Exists | Put::UidTaken(_)),
                };
                Ok(())
            })
        })
    }

    /// How large an item may be. What holds for files may hold for everything.
    fn size(&mut self, client: &mut Client, part: Part, path: &str) -> Result<()> {
        let bytes = match largest(client, path, part, self.sheet.largest_of(Part::Files)) {
            Ok(Largest::Unlimited) => return Ok(()),
            Ok(Largest::Bytes(bytes)) => bytes,
            Ok(Largest::Between(taken, refused)) => {
                self.unknown.push(format!("{part}: {taken} bytes are taken and {refused} refused; sizes between were not tried"));
                refused - 1
            }
            Ok(Largest::Quota) => {
                self.unknown.push(format!("{part}: how large one may be: the account's quota is too small to see it"));
                return Ok(());
            }
            // Some servers hang up on who sends too much; whether it is still there, the removal of the folder shows.
            Err(e) if matches!(e.kind(), Kind::Refused | Kind::Busy | Kind::Protocol | Kind::Unreachable) => {
                self.unknown.push(format!("{part}: how large one may be: {}", printable(&e.to_string())));
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        self.sheet.largest.insert(part, bytes);
        Ok(())
    }

    fn round_trip(&mut self, client: &mut Client, part: Part, path: &str, media: &str, body: &str) -> Result<()> {
        let modified = Timestamp::from_second(1_234_567_890).ok();
        let put = match client.put(path, Body::Bytes(body.as_bytes(), media), When::New, modified) {
            Err(e) if e.kind() == Kind::Refused => Err(e.to_string()),
            put => Ok(put?),
        };
        // In a new folder, what exists already is what the lost answer to the first try was about.
        let mut back = if matches!(put, Ok(Put::Stored(_) | Put::Exists)) { client.get(path, 1 << 20)? } else { None };
        if back.is_none() && matches!(put, Ok(Put::Stored(_))) {
            // As replay does where the server says that it has stored what is not there.
            client.put(path, Body::Bytes(body.as_bytes(), media), When::New, modified)?;
            back = client.get(path, 1 << 20)?;
        }
        let Some(back) = back else {
            let why = put.map_or_else(|e| e, |_| "it said so, and nothing is there".to_owned());
            if matches!(body, CARD_4 | CARD_GROUP | CARD_DATA) {
                self.sheet.card_4 = Fate::Refused;
            } else if body == ENDLESS {
                self.sheet.event_without_end = Fate::Refused;
            } else if body == NO_LENGTH {
                self.sheet.event_of_no_length = Fate::Refused;
            } else {
                self.unknown.push(format!("{part}: the server did not store one: {}", printable(&why)));
            }
            return Ok(());
        };
        if let Likeness::Changed(changes) = compare(body.as_bytes(), &back.bytes) {
            let names =
                changes.iter().filter(|c| c.expected.is_some()).filter_map(|c| c.name.rsplit('/').next()).map(str::to_owned);
            match MARKED.iter().find(|(marked, _)| *marked == body) {
                // What is lost anyway, or of another thing than the mark, is seen by the other tries.
                Some((_, mark)) => {
                    let with = properties_with(body.as_bytes(), *mark);
                    self.sheet.lost_at.entry(*mark).or_default().extend(names.filter(|name| with.contains(name)));
                }
                None => self.lost.extend(names),
            }
        }
        if part == Part::Files {
            let above = path.rsplit_once('/').map_or(path, |(above, _)| above);
            let entries = client.list(above)?;
            self.sheet.keeps_file_times = entries.iter().any(|e| e.modified.is_some() && e.modified == modified);
        }
        if !self.sheet.creates.iter().any(|word| word == part.word()) {
            self.sheet.creates.push(part.word().to_owned());
        }
        Ok(())
    }
}
