//! The forecast: item by item, what the target will refuse or not keep. A pure reading of archive, plan and sheet; nothing is written.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::map::{legal_file_name, part_of};
use super::{AccountPlan, FolderPlan, Part, Plan, people};
use crate::archive::{Archive, CollectionEntry, Snapshot};
use crate::error::Result;
use crate::imap::is_keyword;
use crate::model::{CollectionHead, CollectionPath, Digest, Placement};
use crate::objects::{Rule, fit, has_endless_event, has_event_of_no_length, properties_with};
use crate::replay::groupware::{LARGEST_OBJECT, name_of, relative_path};
use crate::replay::sheet::{DavSheet, Fate, MailSheet, Oddity, Sheet};

/// Why an item that is kept among objects is not sent.
pub const NO_OBJECT: &str = "there is no calendar object, no card and no note in it, or several notes";
/// Why an object cannot be stored beside another one.
pub const SAME_UID: &str = "another object of this folder has the same UID";

/// Why an item of that size is not sent.
pub fn too_large(bytes: u64, most: u64) -> String {
    format!("{bytes} bytes, at most {most} can be sent")
}

/// Why something will not arrive as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The item is larger than the target takes.
    TooLarge,
    /// The target refuses such an item.
    ContentRefused,
    /// The target changes the bytes of such an item.
    ContentChanged,
    /// The target does not keep such an internal date.
    DateChanged,
    /// A keyword cannot be kept.
    KeywordLost,
    /// The account's items are more than its quota.
    OverQuota,
    /// A property does not survive on the target.
    PropertyLost,
    /// The item must be written otherwise for any server to take it.
    Rewritten,
    /// A name that servers do not take is written otherwise.
    NameChanged,
    /// The folder gets another name.
    FolderRenamed,
    /// A calendar of several kinds is split.
    CalendarSplit,
    /// The target has nowhere to put such items.
    NoPlace,
    /// The plan leaves it out.
    LeftOut,
    /// A filter that the server cannot hold.
    RuleLost,
    /// A right that the server has no equal of.
    RightLost,
    /// A right that means something else on the server.
    RightChanged,
    /// An address that somebody else has.
    AddressClash,
    /// An address in a domain that is not the company's own.
    AddressLost,
    /// An address in another domain than the account's.
    AliasAsList,
    /// A forward that means something else on the server.
    ForwardChanged,
    /// Files say different things.
    Contradiction,
    /// An entry of a directory file that was not taken.
    EntryLost,
    /// The password is not carried.
    PasswordNew,
}

impl Cause {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Cause::TooLarge => "items larger than the server takes: they stay in the archive",
            Cause::ContentRefused => "items that the server refuses: they stay in the archive",
            Cause::ContentChanged => "items whose bytes the server changes",
            Cause::DateChanged => "items whose internal date the server does not keep",
            Cause::KeywordLost => "items with keywords that the server does not keep",
            Cause::OverQuota => "accounts larger than their quota",
            Cause::PropertyLost => "items with properties that the server does not keep",
            Cause::Rewritten => "items that are written otherwise, since no server takes them as they are",
            Cause::NameChanged => "files whose names servers do not take",
            Cause::FolderRenamed => "folders that get another name",
            Cause::CalendarSplit => "calendars that are split, one folder for each kind",
            Cause::NoPlace => "items that the server has no place for: they stay in the archive",
            Cause::LeftOut => "accounts and folders that the plan leaves out",
            Cause::RuleLost => "filters that the server cannot hold",
            Cause::RightLost => "rights that the server has no equal of",
            Cause::RightChanged => "rights that mean something else on the server",
            Cause::AddressClash => "addresses that somebody else has",
            Cause::AddressLost => "addresses in a domain that belongs to a provider: not made",
            Cause::AliasAsList => "addresses in another domain: made as lists of one member",
            Cause::ForwardChanged => "forwards that leave a copy, though none stayed before",
            Cause::Contradiction => "properties of which files say different things: the first one stands",
            Cause::EntryLost => "entries of directory files that were not taken",
            Cause::PasswordNew => "accounts whose password is not carried: they get a new one",
        }
    }
}

/// One foreseen loss or change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    /// Account in the archive.
    pub account: String,
    /// Collection in the archive; none when it concerns the whole account.
    pub folder: Option<CollectionPath>,
    /// The item; none when it concerns the whole folder.
    pub item: Option<Digest>,
    /// Where the item lies in the source.
    pub source: Option<String>,
    /// Why.
    pub cause: Cause,
    /// What exactly: the oddity, the keywords, the new name, the sizes.
    pub detail: String,
}

/// How many items there are and what is foreseen for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Items that the plan covers.
    pub items: u64,
    /// Items with something foreseen.
    pub touched: u64,
    /// Things foreseen that are of no item or folder: filters, rights, addresses.
    pub entries: u64,
    /// How often each cause.
    pub causes: BTreeMap<Cause, u64>,
}

/// Tells `each` of everything that the target will not take as it is.
///
/// # Errors
/// Those of reading the archive, and of `each`.
pub fn forecast(
    archive: &Archive,
    snapshot: &Snapshot,
    plan: &Plan,
    sheet: &Sheet,
    each: &mut dyn FnMut(Foreseen) -> Result<()>,
) -> Result<Summary> {
    let mut summary = Summary::default();
    people::forecast(archive, snapshot, plan, &mut |foreseen| {
        summary.entries += 1;
        *summary.causes.entry(foreseen.cause).or_insert(0) += 1;
        each(foreseen)
    })?;
    for account in &plan.accounts {
        let Some(entry) = snapshot.root.accounts.iter().find(|a| a.account == account.source) else { continue };
        let mut teller = Teller { account, summary: &mut summary, each, uids: HashSet::new() };
        if account.skip {
            teller.tell(None, None, Cause::LeftOut, "the account".to_owned())?;
            continue;
        }
        if let Some(quota) = account.quota.filter(|quota| account.bytes > *quota) {
            teller.tell(None, None, Cause::OverQuota, format!("{} bytes into {quota}", account.bytes))?;
        }
        for collection in archive.collections(entry)? {
            teller.collection(archive, &collection, sheet)?;
        }
    }
    Ok(summary)
}

/// The first item of each UID of a folder.
type Firsts = HashMap<(Part, String), Digest>;

struct Teller<'a> {
    account: &'a AccountPlan,
    summary: &'a mut Summary,
    each: &'a mut dyn FnMut(Foreseen) -> Result<()>,
    /// The UIDs of the account's calendars so far, where one may be in one of them only.
    uids: HashSet<String>,
}

impl Teller<'_> {
    /// What is foreseen for an object besides others. `firsts`: the first item of each UID in its folder.
    fn beside(
        &mut self,
        firsts: &mut Firsts,
        (name, item, part): (String, &Placement, Part),
        dav: &DavSheet,
        foreseen: Vec<(Cause, String)>,
    ) -> Vec<(Cause, String)> {
        let first = firsts.get(&(part, name.clone())).copied();
        firsts.entry((part, name.clone())).or_insert(item.sha256);
        if foreseen.iter().any(|(cause, _)| matches!(cause, Cause::ContentRefused | Cause::TooLarge)) {
            return foreseen;
        }
        let alone = dav.one_uid_each && matches!(part, Part::Events | Part::Tasks | Part::Journals);
        let refused = |why: &str| vec![(Cause::ContentRefused, why.to_owned())];
        match first {
            Some(first) if first != item.sha256 => refused(SAME_UID),
            None if alone && !self.uids.insert(name) => refused("another calendar of the account has the same UID"),
            _ => foreseen,
        }
    }

    fn tell(&mut self, folder: Option<&CollectionPath>, item: Option<&Placement>, cause: Cause, detail: String) -> Result<()> {
        *self.summary.causes.entry(cause).or_insert(0) += 1;
        (self.each)(Foreseen {
            account: self.account.source.clone(),
            folder: folder.cloned(),
            item: item.map(|p| p.sha256),
            source: item.map(|p| p.source.to_string()),
            cause,
            detail,
        })
    }

    fn collection(&mut self, archive: &Archive, collection: &CollectionEntry, sheet: &Sheet) -> Result<()> {
        let path = &collection.head.path;
        let folders: HashMap<Part, &FolderPlan> = self
            .account
            .folders
            .iter()
            .filter(|f| f.from == *path && f.part.kind() == collection.head.kind)
            .map(|f| (f.part, f))
            .collect();
        for folder in folders.values().filter(|f| f.skip) {
            self.tell(Some(path), None, Cause::LeftOut, format!("its {}", folder.part))?;
        }
        for folder in folders.values().filter(|f| !f.skip && f.part == Part::Mail && f.to != *path) {
            self.tell(Some(path), None, Cause::FolderRenamed, folder.to.to_string())?;
        }
        if folders.len() > 1 {
            let parts: Vec<String> = folders.values().map(|f| f.to.to_string()).collect();
            self.tell(Some(path), None, Cause::CalendarSplit, parts.join(", "))?;
        }
        let now = Timestamp::now();
        let mut firsts = Firsts::new();
        archive.placements(collection, &mut |placement| {
            let part = part_of(collection.head.kind, placement.component.as_deref());
            match folders.get(&part) {
                Some(folder) if folder.skip => return Ok(()),
                _ => self.summary.items += 1,
            }
            let foreseen = match (part, &sheet.mail, &sheet.dav) {
                _ if !folders.contains_key(&part) => vec![(Cause::NoPlace, format!("the plan has no folder for {part}"))],
                (Part::Mail, Some(mail), _) => of_message(archive, &placement, mail, now)?,
                (Part::Mail, None, _) => vec![(Cause::NoPlace, "the target speaks no IMAP".to_owned())],
                (Part::Files, _, Some(dav)) => of_object(archive, &collection.head, &placement, part, dav)?,
                (_, _, Some(dav)) => {
                    let foreseen = of_object(archive, &collection.head, &placement, part, dav)?;
                    let name = name_of(part, &collection.head, &placement);
                    self.beside(&mut firsts, (name, &placement, part), dav, foreseen)
                }
                _ => vec![(Cause::NoPlace, "the target speaks no DAV".to_owned())],
            };
            self.summary.touched += u64::from(!foreseen.is_empty());
            for (cause, detail) in foreseen {
                self.tell(Some(path), Some(&placement), cause, detail)?;
            }
            Ok(())
        })
    }
}

/// What is foreseen for one message.
fn of_message(archive: &Archive, item: &Placement, mail: &MailSheet, now: Timestamp) -> Result<Vec<(Cause, String)>> {
    let sent = item.crlf.map_or(item.size, |form| form.size);
    if let Some(most) = mail.largest_message.filter(|most| sent > *most) {
        return Ok(vec![(Cause::TooLarge, format!("{sent} bytes, the server takes {most}"))]);
    }
    let mut found = Vec::new();
    let mut changed = Vec::new();
    for oddity in oddities(archive, item, mail)? {
        match mail.fate(oddity) {
            Fate::Kept => {}
            Fate::Changed => changed.push(oddity.to_string()),
            Fate::Refused => return Ok(vec![(Cause::ContentRefused, oddity.to_string())]),
        }
    }
    // However many reasons there are, one message is changed once.
    if !changed.is_empty() {
        found.push((Cause::ContentChanged, changed.join(", ")));
    }
    if let Some(oddity) = date_oddity(item, now) {
        match mail.fate(oddity) {
            Fate::Kept => {}
            Fate::Changed | Fate::Refused => found.push((Cause::DateChanged, oddity.to_string())),
        }
    }
    let lost: Vec<&str> = item.keywords.iter().map(String::as_str).filter(|k| !mail.keywords || !is_keyword(k)).collect();
    if !lost.is_empty() {
        found.push((Cause::KeywordLost, lost.join(" ")));
    }
    Ok(found)
}

/// What is odd about a message's bytes, of the things that the target does not keep.
fn oddities(archive: &Archive, item: &Placement, mail: &MailSheet) -> Result<Vec<Oddity>> {
    let matters = |o: &Oddity| mail.fate(*o) != Fate::Kept;
    if item.size == 0 {
        return Ok([Oddity::Empty].into_iter().filter(matters).collect());
    }
    if !Oddity::ALL.iter().filter(|o| !o.is_of_the_date()).any(matters) {
        return Ok(Vec::new());
    }
    let mut look = Look::default();
    archive.copy(item.sha256, &mut look)?;
    Ok(look.found().into_iter().filter(matters).collect())
}

fn date_oddity(item: &Placement, now: Timestamp) -> Option<Oddity> {
    match item.date.map(|d| d.at) {
        None => Some(Oddity::NoDate),
        Some(at) if at == Timestamp::UNIX_EPOCH => Some(Oddity::DateZero),
        Some(at) if at < Timestamp::UNIX_EPOCH => Some(Oddity::DateBefore1970),
        Some(at) if at > now => Some(Oddity::DateInFuture),
        Some(_) => None,
    }
}

/// What is foreseen for a calendar object, contact, note or file.
fn of_object(
    archive: &Archive,
    head: &CollectionHead,
    item: &Placement,
    part: Part,
    dav: &DavSheet,
) -> Result<Vec<(Cause, String)>> {
    let largest = dav.largest_of(part);
    Ok(match part {
        Part::Files => over(item.size, largest).unwrap_or_else(|| of_file(head, item, dav)),
        _ => match over(item.size, Some(LARGEST_OBJECT)) {
            Some(too_large) => too_large,
            None => of_entry(&archive.read(item.sha256, LARGEST_OBJECT)?, largest, dav),
        },
    })
}

fn over(bytes: u64, most: Option<u64>) -> Option<Vec<(Cause, String)>> {
    let most = most.filter(|most| bytes > *most)?;
    Some(vec![(Cause::TooLarge, too_large(bytes, most))])
}

fn of_file(head: &CollectionHead, item: &Placement, dav: &DavSheet) -> Vec<(Cause, String)> {
    let mut found = Vec::new();
    let names = relative_path(head, item);
    if names.iter().any(|name| legal_file_name(name) != *name) {
        found.push((Cause::NameChanged, names.iter().map(|name| legal_file_name(name)).collect::<Vec<_>>().join("/")));
    }
    if !dav.keeps_file_times && item.date.is_some() {
        found.push((Cause::DateChanged, "the modification time".to_owned()));
    }
    found
}

fn of_entry(bytes: &[u8], largest: Option<u64>, dav: &DavSheet) -> Vec<(Cause, String)> {
    let Some(fitted) = fit(bytes) else {
        return vec![(Cause::ContentRefused, NO_OBJECT.to_owned())];
    };
    // What is sent, which may be longer than what lies in the archive.
    if let Some(too_large) = over(fitted.bytes.len() as u64, largest) {
        return too_large;
    }
    if dav.card_4 == Fate::Refused && has_line(bytes, "VERSION", b"4.0") {
        return vec![(Cause::ContentRefused, "a card of version 4.0".to_owned())];
    }
    if dav.event_without_end == Fate::Refused && has_endless_event(bytes) {
        return vec![(Cause::ContentRefused, "an event with neither end nor duration".to_owned())];
    }
    if dav.event_of_no_length == Fate::Refused && has_event_of_no_length(bytes) {
        return vec![(Cause::ContentRefused, "an event that ends when it begins".to_owned())];
    }
    let mut found = Vec::new();
    if !fitted.rules.is_empty() {
        let rules: Vec<&str> = fitted.rules.iter().map(|rule| rule.words()).collect();
        found.push((Cause::Rewritten, rules.join("; ")));
    }
    // Of a note of Google Keep what it becomes, else what it was: what floe adds is not missed.
    let text = if fitted.rules.contains(&Rule::Keep) { &fitted.bytes } else { bytes };
    let has = |name: &str| has_property(text, name) || has_line(text, "BEGIN", name.as_bytes());
    let mut lost: BTreeSet<String> = dav.lost_properties.iter().filter(|p| has(p)).cloned().collect();
    for mark in dav.lost_at.keys() {
        lost.extend(properties_with(&fitted.bytes, *mark).into_iter().filter(|name| dav.is_lost_at(*mark, name)));
    }
    lost.extend(fitted.left_out);
    if !lost.is_empty() {
        found.push((Cause::PropertyLost, lost.into_iter().collect::<Vec<_>>().join(" ")));
    }
    found
}

/// Is there a line of that property with just that value?
fn has_line(text: &[u8], name: &str, value: &[u8]) -> bool {
    text.split(|b| *b == b'\n').any(|line| {
        let (left, right) = line.split_at(line.iter().position(|b| *b == b':').unwrap_or(0));
        left.eq_ignore_ascii_case(name.as_bytes())
            && right.strip_prefix(b":").is_some_and(|v| v.trim_ascii().eq_ignore_ascii_case(value))
    })
}

/// Does an iCalendar or vCard text hold a property of that name (RFC 5545 3.1, with or without a vCard group)?
fn has_property(text: &[u8], name: &str) -> bool {
    text.split(|b| *b == b'\n').any(|line| {
        let end = line.iter().position(|b| matches!(b, b':' | b';')).unwrap_or(0);
        let full = &line[..end];
        let bare = full.iter().position(|b| *b == b'.').map_or(full, |dot| &full[dot + 1..]);
        bare.eq_ignore_ascii_case(name.as_bytes())
    })
}

/// Looks at a message as it streams by.
#[derive(Default)]
struct Look {
    found: BTreeSet<Oddity>,
    fields: u64,
    /// CRs just before.
    crs: u64,
    in_body: bool,
    line: HeaderLine,
}

/// The header line that is being read.
#[derive(Default)]
struct HeaderLine {
    bytes: u64,
    folded: bool,
    colon: bool,
    bad_name: bool,
    eight_bit_name: bool,
    /// A From_ line of an mbox on top is passed by.
    from_so_far: bool,
}

impl std::io::Write for Look {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if memchr::memchr(0, bytes).is_some() {
            self.found.insert(Oddity::Nul);
        }
        for &b in bytes {
            self.cr_or_not(b);
            if !self.in_body {
                self.header_byte(b);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Look {
    fn cr_or_not(&mut self, b: u8) {
        match (b, self.crs) {
            (b'\r', _) => self.crs += 1,
            (_, 0) => {}
            (b'\n', crs) => {
                self.crs = 0;
                if crs > 1 {
                    self.found.insert(Oddity::DoubledCr);
                }
            }
            _ => {
                self.crs = 0;
                self.found.insert(Oddity::BareCr);
            }
        }
    }

    fn header_byte(&mut self, b: u8) {
        if b > 127 {
            self.found.insert(Oddity::EightBitHeader);
        }
        match b {
            b'\n' => self.end_of_line(),
            b'\r' => {}
            _ => {
                let line = &mut self.line;
                line.folded |= line.bytes == 0 && matches!(b, b' ' | b'\t');
                let from = b"From ";
                line.from_so_far = (line.bytes == 0 || line.from_so_far)
                    && (line.bytes >= from.len() as u64 || from.get(line.bytes as usize) == Some(&b));
                let in_name = !line.colon && !line.folded;
                line.bad_name |= in_name && (b <= b' ' || b == 127);
                line.eight_bit_name |= in_name && b > 127;
                line.colon |= b == b':';
                line.bytes += 1;
            }
        }
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let is_first = self.fields == 0;
        let is_field = line.colon && !line.folded && !line.bad_name && line.bytes > 1;
        if line.bytes == 0 {
            self.in_body = true;
            if is_first && !self.found.contains(&Oddity::BadHeader) && !self.found.contains(&Oddity::FoldedFirst) {
                self.found.insert(Oddity::NoHeader);
            }
        } else if line.folded && is_first {
            self.found.insert(Oddity::FoldedFirst);
        } else if is_field && line.eight_bit_name {
            self.found.insert(Oddity::EightBitName);
        } else if !(is_field || line.folded || line.from_so_far && is_first) {
            self.found.insert(Oddity::BadHeader);
        }
        self.fields += u64::from(is_field);
    }

    fn found(mut self) -> BTreeSet<Oddity> {
        if !self.in_body && self.line.bytes > 0 {
            self.end_of_line();
            self.found.insert(Oddity::UnendedHeader);
        }
        if self.crs > 0 {
            self.found.insert(Oddity::CrAtEnd);
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn look(message: &[u8]) -> Vec<Oddity> {
        let mut look = Look::default();
        for byte in message.chunks(3) {
            look.write_all(byte).expect("no failure");
        }
        look.found().into_iter().collect()
    }

    #[test]
    fn odd_messages_are_seen_in_pieces() {
        assert_eq!(look(b"Subject: x\r\n folded\r\n\r\nbody \xc3\xa4\r\n"), vec![]);
        assert_eq!(look(b"Subject: \xe4\n\nbody\n"), vec![Oddity::EightBitHeader]);
        assert_eq!(look(b"Subject: x\n\nbo\0dy\rx\n"), vec![Oddity::Nul, Oddity::BareCr]);
        assert_eq!(look(b"Subject: x\r\n\r\nbody\r\r\n\r\n"), vec![Oddity::DoubledCr]);
        assert_eq!(look(b"Subject: x\n\nbody\r"), vec![Oddity::CrAtEnd]);
        assert_eq!(look(b"\nbody only\n"), vec![Oddity::NoHeader]);
        assert_eq!(look(b"  \nSubject: x\n\nbody\n"), vec![Oddity::FoldedFirst]);
        assert_eq!(look(b"\xef\xbb\xbfSubject: x\n\nbody\n"), vec![Oddity::EightBitHeader, Oddity::EightBitName]);
        assert_eq!(look(b"Subject: x\nX-Y: z"), vec![Oddity::UnendedHeader]);
        assert_eq!(look(b"Subject: x\nX-Y: z\n"), vec![]);
        assert_eq!(look(b"no field"), vec![Oddity::BadHeader, Oddity::UnendedHeader]);
        assert_eq!(look(b"Subject: x\nno colon here\n\nbody\n"), vec![Oddity::BadHeader]);
        assert_eq!(look(b"Sub ject: x\n\nbody\n"), vec![Oddity::BadHeader]);
        assert_eq!(look(b"From a@b Mon Jan  1 00:00:00 2024\nSubject: x\n\nbody\n"), vec![]);
    }

    #[test]
    fn properties_are_found_by_name_not_by_substring() {
        let card = b"BEGIN:VCARD\r\nitem1.X-ABLABEL:x\r\nPHOTO;ENCODING=b:xx\r\nNOTE:PHOTO:\r\nEND:VCARD\r\n";
        assert!(has_property(card, "PHOTO") && has_property(card, "x-ablabel"));
        assert!(!has_property(card, "ABLABEL") && !has_property(card, "TEL"));
    }
}
