//! Mail as Maildir++, laid out as Dovecot and Courier keep it, so that Dovecot can take it over as it is.
//!
//! A message is `SECONDS.NUMBER_DIGEST.floe,S=SIZE,W=SIZE:2,LETTERS` in `cur`; its modification time is the internal date.
//! Keywords are letters `a` to `z` with their names in `dovecot-keywords`, UIDs are in `dovecot-uidlist`, subscriptions in
//! `subscriptions` at the top. Folder names are modified UTF-7; a `.` or `/` inside a level, which Maildir++ has no way
//! to write, becomes `_`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use super::deliver::{Delivery, Loss, Outcome, deliver_all, part_name};
use super::dir::{Dir, Settled};
use super::plan::AccountPlan;
use super::run::{Finished, Item, Writer};
use crate::archive::Archive;
use crate::error::Result;
use crate::model::{CollectionHead, CollectionPath, Digest, Flag, Placement};
use crate::source::mutf7;

/// The Maildir's folder in the account's folder.
pub(super) const TOP: &str = "Maildir";
/// Longest folder name; file systems end at 255 bytes.
const MAX_FOLDER_BYTES: usize = 230;
const UIDLIST: &str = "dovecot-uidlist";
const KEYWORDS: &str = "dovecot-keywords";
/// The keyword that the letter `P` stands for. Dovecot does not know that letter, so the keyword gets one of its own too.
const FORWARDED: &str = "$Forwarded";

/// One level of a folder's name as Maildir++ can have it.
fn level(segment: &str) -> String {
    if segment.is_empty() { "_".to_owned() } else { mutf7::encode(&segment.replace(['.', '/'], "_")) }
}

/// The folder's name on disk; `None` for INBOX.
pub(super) fn folder_name(path: &CollectionPath) -> Option<String> {
    if let [only] = path.0.as_slice()
        && only.eq_ignore_ascii_case("inbox")
    {
        return None;
    }
    let levels: Vec<String> = if path.0.is_empty() { vec![level("")] } else { path.0.iter().map(|s| level(s)).collect() };
    let name = format!(".{}", levels.join("."));
    if name.len() <= MAX_FOLDER_BYTES {
        return Some(name);
    }
    let last: String = path.0.last().into_iter().flat_map(|s| s.chars()).take(20).collect();
    Some(format!(".{}~{}", level(&last), Digest::of(path.to_string().as_bytes()).short()))
}

/// The name that the folder has if Maildir++ has a way to write it.
pub(super) fn plain_name(path: &CollectionPath) -> String {
    path.0.iter().map(|segment| format!(".{}", mutf7::encode(segment))).collect()
}

/// A message's name up to the flags.
pub(super) fn base_name(number: u64, item: &Placement) -> String {
    let seconds = item.date.map_or(0, |d| d.at.as_second()).max(0);
    let wire_bytes = item.crlf.map_or(item.size, |crlf| crlf.size);
    format!("{seconds}.{number:06}_{}.floe,S={},W={wire_bytes}", item.sha256.short(), item.size)
}

/// The letters of a folder's keywords, given in the order in which they come.
#[derive(Default)]
struct Letters {
    names: Vec<String>,
    by_name: HashMap<String, u8>,
}

impl Letters {
    fn letter(&mut self, keyword: &str) -> Result<u8, Loss> {
        if let Some(letter) = self.by_name.get(keyword) {
            return Ok(*letter);
        }
        if keyword.is_empty() || keyword.contains(char::is_control) {
            return Err(Loss::new("a keyword cannot be written", crate::model::printable(keyword)));
        }
        let letter = b"abcdefghijklmnopqrstuvwxyz".get(self.names.len()).copied();
        let letter =
            letter.ok_or_else(|| Loss::new("more than 26 keywords in one Maildir folder", crate::model::printable(keyword)))?;
        self.names.push(keyword.to_owned());
        self.by_name.insert(keyword.to_owned(), letter);
        Ok(letter)
    }

    /// What stands behind `:2,`, and the keywords that cannot.
    fn of(&mut self, item: &Placement) -> (String, Vec<Loss>) {
        let mut letters: Vec<u8> = item
            .flags
            .iter()
            .map(|flag| match flag {
                Flag::Draft => b'D',
                Flag::Flagged => b'F',
                Flag::Answered => b'R',
                Flag::Seen => b'S',
                Flag::Deleted => b'T',
            })
            .collect();
        let mut losses = Vec::new();
        for keyword in &item.keywords {
            let forwarded = keyword == FORWARDED;
            letters.extend(forwarded.then_some(b'P'));
            match self.letter(keyword) {
                Ok(letter) => letters.push(letter),
                Err(_) if forwarded => {}
                Err(loss) => losses.push(loss),
            }
        }
        letters.sort_unstable();
        letters.dedup();
        (letters.into_iter().map(char::from).collect(), losses)
    }
}

/// Writes `dovecot-uidlist` while the messages come.
struct UidList {
    out: BufWriter<File>,
    validity: u32,
    next: u32,
    guid: Option<String>,
    last: u32,
}

impl UidList {
    /// None if the source has no UIDVALIDITY: then UIDs mean nothing.
    fn begin(dir: &Dir, head: &CollectionHead) -> io::Result<Option<Self>> {
        let Some(validity) = head.uid_validity else { return Ok(None) };
        let guid = head.guid.clone().filter(|g| g.len() == 32 && g.bytes().all(|b| b.is_ascii_hexdigit()));
        let out = BufWriter::new(dir.create_part(&part_name(UIDLIST))?);
        let mut list = UidList { out, validity, next: head.uid_next.unwrap_or(1), guid, last: 0 };
        list.header()?;
        Ok(Some(list))
    }

    /// Always as long, so that it can be written again when the next UID is known.
    fn header(&mut self) -> io::Result<()> {
        write!(self.out, "3 V{} N{:010}", self.validity, self.next)?;
        if let Some(guid) = &self.guid {
            write!(self.out, " G{guid}")?;
        }
        writeln!(self.out)
    }

    fn message(&mut self, item: &Placement, base: &str) -> io::Result<Option<Loss>> {
        let Some(uid) = item.source.uid else { return Ok(None) };
        // Servers take a list whose UIDs do not ascend for broken, all of it.
        if uid <= self.last || uid == u32::MAX {
            return Ok(Some(Loss::new("a UID is out of order", uid.to_string())));
        }
        self.last = uid;
        self.next = self.next.max(uid + 1);
        let plain = |g: &&String| (1..=128).contains(&g.len()) && g.bytes().all(|b| b.is_ascii_graphic());
        match item.guid.as_ref().filter(plain) {
            Some(guid) => writeln!(self.out, "{uid} G{guid} :{base}")?,
            None => writeln!(self.out, "{uid} :{base}")?,
        }
        Ok(None)
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_mut().seek(SeekFrom::Start(0))?;
        self.header()?;
        self.out.flush()
    }
}

/// Writes one folder.
pub(super) struct Folder {
    dir: Dir,
    cur: Arc<Dir>,
    tmp: Arc<Dir>,
    shown: String,
    letters: Letters,
    uids: Option<UidList>,
}

impl Folder {
    /// Makes the folder, and the top where it is missing.
    pub(super) fn new(home: &Dir, name: Option<&str>, head: &CollectionHead) -> io::Result<Self> {
        let top = home.sub(TOP)?;
        for sub in ["cur", "new", "tmp"] {
            top.sub(sub)?;
        }
        let (dir, shown) = match name {
            None => (home.sub(TOP)?, format!("{TOP}/cur")),
            Some(name) => (top.sub(name)?, format!("{TOP}/{name}/cur")),
        };
        dir.sub("new")?;
        if name.is_some() && !dir.has("maildirfolder")? {
            dir.create_part("maildirfolder")?;
        }
        let (cur, tmp) = (Arc::new(dir.sub("cur")?), Arc::new(dir.sub("tmp")?));
        let uids = UidList::begin(&dir, head)?;
        Ok(Folder { dir, cur, tmp, shown, letters: Letters::default(), uids })
    }

    /// Names a message. Letters and UIDs are given to all messages of the folder, so that they do not depend on what is wanted.
    fn delivery(&mut self, item: &Item) -> io::Result<Option<Delivery>> {
        let base = base_name(item.number, &item.placement);
        let (letters, mut losses) = self.letters.of(&item.placement);
        if let Some(uids) = &mut self.uids {
            losses.extend(uids.message(&item.placement, &base)?);
        }
        if !item.wanted {
            return Ok(None);
        }
        if item.placement.date.is_none() {
            losses.push(Loss::new("no internal date is known", "the file's time is 1970"));
        }
        let name = format!("{base}:2,{letters}");
        let file = format!("{}/{name}", self.shown);
        let mut delivery = Delivery::new(&item.placement, Arc::clone(&self.cur), name, file);
        delivery.part_in = Arc::clone(&self.tmp);
        delivery.part = base;
        delivery.modified = Some(delivery.modified.unwrap_or_default());
        delivery.losses = losses;
        Ok(Some(delivery))
    }
}

impl Writer for Folder {
    fn write(&mut self, archive: &Archive, _: &mut AccountPlan, items: &[Item]) -> Result<Vec<Option<Outcome>>> {
        let files: io::Result<Vec<_>> = items.iter().map(|item| Ok(self.delivery(item)?.map(Ok))).collect();
        let files =
            files.map_err(|e| crate::Error::io(crate::Kind::Storage, "cannot write the list of UIDs", self.dir.path(), e))?;
        deliver_all(archive, files)
    }

    fn finish(&mut self) -> io::Result<Finished> {
        let mut losses = Vec::new();
        if let Some(uids) = self.uids.take() {
            uids.finish()?;
            losses.extend(settle(&self.dir, UIDLIST)?);
        }
        if !self.letters.names.is_empty() {
            let lines = self.letters.names.iter().zip(0u8..).map(|(name, number)| format!("{number} {name}\n"));
            losses.extend(beside(&self.dir, KEYWORDS, lines.collect::<String>().as_bytes())?);
        }
        Ok(Finished { settled: Settled::Placed, losses })
    }
}

fn settle(dir: &Dir, name: &str) -> io::Result<Option<Loss>> {
    let settled = dir.settle(&part_name(name), dir, name)?;
    Ok((settled == Settled::Conflict).then(|| Loss::new("another file is in its place", name)))
}

/// Writes a small file beside the mail.
fn beside(dir: &Dir, name: &str, bytes: &[u8]) -> io::Result<Option<Loss>> {
    dir.create_part(&part_name(name))?.write_all(bytes)?;
    settle(dir, name)
}

/// Writes the list of subscribed folders, where the source says anything of subscriptions.
pub(super) fn subscriptions(home: &Dir, heads: &[&CollectionHead]) -> io::Result<Option<Loss>> {
    if heads.iter().all(|head| head.subscribed.is_none()) {
        return Ok(None);
    }
    // Version 2 parts levels with TABs and so does not depend on the server's separator.
    let mut text = "V\t2\n\n".to_owned();
    for head in heads.iter().filter(|head| head.subscribed == Some(true)) {
        let levels: Vec<String> = head.path.0.iter().map(|segment| level(segment)).collect();
        text.push_str(&levels.join("\t"));
        text.push('\n');
    }
    beside(&home.sub(TOP)?, "subscriptions", text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::item;

    #[test]
    fn folder_names_are_those_of_maildir_plus_plus() {
        let name = |path: &[&str]| folder_name(&CollectionPath::new(path.iter().copied()));
        assert_eq!(name(&["inbox"]), None);
        assert_eq!(name(&["INBOX", "a"]).as_deref(), Some(".INBOX.a"));
        assert_eq!(name(&["Kunden", "Müller & Söhne"]).as_deref(), Some(".Kunden.M&APw-ller &- S&APY-hne"));
        assert_eq!(name(&["v1.2/x"]).as_deref(), Some(".v1_2_x"));
        assert_eq!(plain_name(&CollectionPath::new(["v1.2/x", "ü"])), ".v1.2/x.&APw-");
        assert_eq!(name(&["", ""]).as_deref(), Some("._._"));
        assert_eq!(name(&[]).as_deref(), Some("._"));
        let long = name(&["a", &"ü".repeat(300)]).unwrap();
        assert!(long.len() <= 255 && long.contains('~'), "{long}");
        assert_ne!(name(&["b", &"ü".repeat(300)]).unwrap(), long);
    }

    #[test]
    fn letters_are_sorted_and_the_twenty_seventh_keyword_is_named_as_lost() {
        let mut letters = Letters::default();
        let mut message = item(b"x");
        message.flags = vec![Flag::Answered, Flag::Deleted, Flag::Draft, Flag::Flagged, Flag::Seen];
        message.keywords = vec![FORWARDED.into(), "work".into()];
        assert_eq!(letters.of(&message), ("DFPRSTab".into(), vec![]));
        message.flags.clear();
        message.keywords = (1..=24).map(|n| format!("k{n}")).collect();
        assert_eq!(letters.of(&message).0, "cdefghijklmnopqrstuvwxyz");
        message.keywords = vec!["work".into(), "one too many".into(), "line\nend".into()];
        let (kept, losses) = letters.of(&message);
        assert_eq!(kept, "b");
        let details: Vec<&str> = losses.iter().map(|l| l.detail.as_str()).collect();
        assert_eq!(details, ["one too many", "line\\u{a}end"]);
    }
}
