//! FETCH: flags, dates, sizes, and bytes of messages, read a few messages at a time.

use std::io;

use imap_codec::imap_types::fetch::{MacroOrMessageDataItemNames, MessageDataItemName as Item, Section};
use imap_codec::imap_types::sequence::SequenceSet;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::super::locked;
use super::super::mail::Message;
use super::messages::uid_item;
use super::session::{Selected, Session};

/// Messages looked up under one lock.
const MESSAGES_AT_ONCE: usize = 500;

/// A date as IMAP writes it, in the zone that it came with.
fn internal_date(message: &Message) -> String {
    let zone = Offset::from_seconds(message.zone).unwrap_or(Offset::UTC);
    let time = Timestamp::from_second(message.date).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::fixed(zone)).strftime("%d-%b-%Y %H:%M:%S %z").to_string()
}

/// Is it an item that the stand-in can give?
fn is_offered(item: &Item<'_>) -> bool {
    use Item::{BodyExt, Flags, InternalDate, Rfc822, Rfc822Header, Rfc822Size, Uid};
    match item {
        Flags | InternalDate | Rfc822 | Rfc822Header | Rfc822Size | Uid => true,
        BodyExt { section: None, .. } => true,
        BodyExt { section: Some(section), .. } => {
            matches!(
                section,
                Section::Header(None) | Section::HeaderFields(None, _) | Section::HeaderFieldsNot(None, _) | Section::Text(None)
            )
        }
        _ => false,
    }
}

fn wants_bytes(item: &Item<'_>) -> bool {
    matches!(item, Item::BodyExt { .. } | Item::Rfc822 | Item::Rfc822Header)
}

fn marks_seen(item: &Item<'_>) -> bool {
    matches!(item, Item::BodyExt { peek: false, .. } | Item::Rfc822)
}

impl Session<'_> {
    pub(super) fn fetch(
        &mut self,
        selected: &Selected,
        set: &SequenceSet,
        items: MacroOrMessageDataItemNames<'_>,
        uid: bool,
    ) -> io::Result<String> {
        let items = match items {
            // Envelopes and structures are not offered; a macro gives what is.
            MacroOrMessageDataItemNames::Macro(_) => vec![Item::Flags, Item::InternalDate, Item::Rfc822Size],
            MacroOrMessageDataItemNames::MessageDataItemNames(items) => items,
        };
        if !items.iter().all(is_offered) {
            return Ok("BAD an item that is not offered".into());
        }
        let places = selected.places(set, uid);
        for places in places.chunks(MESSAGES_AT_ONCE) {
            self.fetch_some(selected, places, &items, uid)?;
        }
        Ok("OK FETCH completed".into())
    }

    fn fetch_some(&mut self, selected: &Selected, places: &[usize], items: &[Item<'_>], uid: bool) -> io::Result<()> {
        let mailbox = self.mailbox()?;
        let mut held = locked(&mailbox);
        let Some(folder) = held.folders.get_mut(&selected.name) else { return Ok(()) };
        if !selected.read_only && items.iter().any(marks_seen) {
            let named = places.iter().filter_map(|&place| folder.messages.get(&selected.uids[place]));
            let unseen = named.filter(|message| !message.flags.iter().any(|flag| flag == "\\Seen"));
            let seen = unseen.map(|message| (message.uid, [&message.flags[..], &["\\Seen".to_owned()]].concat())).collect();
            folder.set_flags(seen).map_err(io::Error::other)?;
        }
        let found = places.iter().filter_map(|&place| {
            let message = folder.messages.get(&selected.uids[place])?;
            Some((place, message.clone(), folder.file(message.uid)))
        });
        let found: Vec<_> = found.collect();
        drop(held);
        let reads = items.iter().any(wants_bytes);
        for (place, message, file) in found {
            // A message that another client has removed meanwhile is left out.
            let bytes = match reads.then(|| std::fs::read(&file)).transpose() {
                Ok(bytes) => bytes.unwrap_or_default(),
                Err(_) => continue,
            };
            self.fetch_one(place, &message, &bytes, items, uid)?;
        }
        Ok(())
    }

    fn fetch_one(&mut self, place: usize, message: &Message, bytes: &[u8], items: &[Item<'_>], uid: bool) -> io::Result<()> {
        let asked = items.iter().any(|item| matches!(item, Item::Uid));
        self.raw(format!("* {} FETCH ({}", place + 1, uid_item(uid && !asked, message.uid).trim_end()).as_bytes())?;
        let mut first = !uid || asked;
        for item in items {
            if !std::mem::take(&mut first) {
                self.raw(b" ")?;
            }
            match item {
                Item::Uid => self.raw(format!("UID {}", message.uid).as_bytes())?,
                Item::Flags => self.raw(format!("FLAGS ({})", message.flags.join(" ")).as_bytes())?,
                Item::InternalDate => self.raw(format!("INTERNALDATE \"{}\"", internal_date(message)).as_bytes())?,
                Item::Rfc822Size => self.raw(format!("RFC822.SIZE {}", message.size).as_bytes())?,
                Item::Rfc822 => self.literal("RFC822", bytes)?,
                Item::Rfc822Header => self.literal("RFC822.HEADER", split(bytes).0)?,
                Item::BodyExt { section, partial, .. } => self.body(section.as_ref(), *partial, bytes)?,
                _ => {}
            }
        }
        self.raw(b")\r\n")
    }

    fn literal(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.raw(format!("{name} {{{}}}\r\n", bytes.len()).as_bytes())?;
        self.raw(bytes)
    }

    fn body(
        &mut self,
        section: Option<&Section<'_>>,
        partial: Option<(u32, std::num::NonZeroU32)>,
        message: &[u8],
    ) -> io::Result<()> {
        let (header, text) = split(message);
        let names = |names: &[imap_codec::imap_types::core::AString<'_>]| -> Vec<String> {
            names.iter().map(|name| String::from_utf8_lossy(name.as_ref()).into_owned()).collect()
        };
        let (name, bytes) = match section {
            None => (String::new(), message.to_vec()),
            Some(Section::Header(_)) => ("HEADER".into(), header.to_vec()),
            Some(Section::Text(_)) => ("TEXT".into(), text.to_vec()),
            Some(Section::HeaderFields(_, wanted)) => {
                let wanted = names(wanted.as_ref());
                (format!("HEADER.FIELDS ({})", wanted.join(" ")), fields(header, |name| is_among(&wanted, name)))
            }
            Some(Section::HeaderFieldsNot(_, unwanted)) => {
                let unwanted = names(unwanted.as_ref());
                (format!("HEADER.FIELDS.NOT ({})", unwanted.join(" ")), fields(header, |name| !is_among(&unwanted, name)))
            }
            Some(_) => (String::new(), Vec::new()),
        };
        let Some((from, count)) = partial else { return self.literal(&format!("BODY[{name}]"), &bytes) };
        let start = (from as usize).min(bytes.len());
        let end = start.saturating_add(count.get() as usize).min(bytes.len());
        self.literal(&format!("BODY[{name}]<{from}>"), &bytes[start..end])
    }
}

fn is_among(names: &[String], name: &[u8]) -> bool {
    names.iter().any(|other| other.as_bytes().eq_ignore_ascii_case(name))
}

/// Header with its empty line, and text.
fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        at += line.len();
        if line.trim_ascii().is_empty() {
            break;
        }
    }
    message.split_at(at)
}

/// The header lines whose names are wanted, with an empty line after them.
fn fields(header: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut taken = false;
    for line in header.split_inclusive(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            taken = wanted(name.trim_ascii_end());
        }
        if taken {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_keep_their_folds_and_end_in_an_empty_line() {
        let (header, text) = split(b"Subject: a\r\n b\r\nMessage-ID: <1>\r\n\r\nbody\r\n\r\n");
        assert_eq!(text, b"body\r\n\r\n");
        assert_eq!(fields(header, |name| name.eq_ignore_ascii_case(b"subject")), b"Subject: a\r\n b\r\n\r\n");
    }

    #[test]
    fn dates_keep_zone_and_seconds() {
        let message = Message { uid: 1, flags: Vec::new(), date: 0, zone: -18_000, size: 0 };
        assert_eq!(internal_date(&message), "31-Dec-1969 19:00:00 -0500");
    }
}
