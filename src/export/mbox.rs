//! Mail as mbox: a file a folder, mboxrd quoting, state in header lines.
//!
//! A message begins with `From SENDER DATE` in UTC. Lines of the body that look so get one `>` more. Flags and keywords go
//! into `Status`, `X-Status` and `X-Keywords`, but only into a message that has none of these lines; a message whose last
//! line has no end gets one. Subfolders of `Name.mbox` lie in a folder `Name`.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};

use jiff::Timestamp;
use rayon::prelude::*;

use super::deliver::{Fate, Loss, Outcome, Tracking, ends_all, part_name};
use super::dir::Dir;
use super::plan::AccountPlan;
use super::run::{Finished, Item, Writer};
use super::status::{FROM, fields, state_lines};
use crate::archive::Archive;
use crate::error::{Error, Kind, Result};
use crate::model::Placement;

/// Larger messages are not held in memory.
const WHOLE_BYTES: u64 = 16 << 20;
/// A header that is longer is passed on as it is.
const HEAD_MAX_BYTES: usize = 1 << 20;
const SENDER_MAX_BYTES: usize = 200;

/// Writes one folder.
pub(super) struct Mbox {
    dir: Dir,
    name: String,
    shown: String,
    out: BufWriter<File>,
    /// End of the last message that is complete.
    end: u64,
    /// Why the file cannot be written any further: it has become too large for its file system, for example.
    broken: Option<io::Error>,
}

impl Mbox {
    /// Begins the file.
    pub(super) fn new(home: &Dir, folder: &[String], name: &str) -> io::Result<Self> {
        let dir = home.below(folder)?;
        let out = BufWriter::with_capacity(1 << 18, dir.create_part(&part_name(name))?);
        Ok(Mbox { dir, name: name.to_owned(), shown: format!("{}/{name}", folder.join("/")), out, end: 0, broken: None })
    }

    /// Writes a message that is ready, or one that is too large to be, straight from the archive.
    fn append(&mut self, archive: &Archive, item: &Placement, ready: Option<Message>) -> io::Result<Message> {
        if let Some(message) = ready {
            self.out.write_all(&message.bytes)?;
            self.end += message.bytes.len() as u64;
            return Ok(message);
        }
        let mut out = Tracking { out: &mut self.out, failed: None };
        let done = message(archive, item, &mut out);
        if let Some(e) = out.failed {
            return Err(e);
        }
        if done.failed.is_some() {
            // What is written of it must not be taken for a message.
            self.out.flush()?;
            self.out.get_mut().set_len(self.end)?;
            self.out.seek(SeekFrom::Start(self.end))?;
        }
        self.end = self.out.stream_position()?;
        Ok(done)
    }

    /// What becomes of one message.
    fn message(&mut self, archive: &Archive, item: &Placement, ready: Option<Message>) -> Result<Outcome> {
        let file = self.shown.clone();
        if let Some(why) = &self.broken {
            return Ok(Outcome::failed(file, "the file could not be written", why.to_string()));
        }
        match self.append(archive, item, ready) {
            Ok(Message { failed: None, losses, .. }) => Ok(Outcome { file, fate: Fate::Written, losses }),
            Ok(Message { failed: Some(why), .. }) => Ok(Outcome::failed(file, "the item is damaged in the archive", why)),
            Err(e) if ends_all(&e) => {
                Err(Error::io(Kind::Storage, "cannot write the mbox", &self.dir.path().join(&self.name), e))
            }
            Err(e) => {
                let outcome = Outcome::failed(file, "the file could not be written", e.to_string());
                self.broken = Some(e);
                Ok(outcome)
            }
        }
    }
}

/// A message as it stands in the file, unless it was written there directly.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
    losses: Vec<Loss>,
    failed: Option<String>,
}

fn message(archive: &Archive, item: &Placement, out: &mut dyn Write) -> Message {
    let mut quoting = Quoting::new(item, out);
    let copied = archive.copy(item.sha256, &mut quoting).map(|_| ()).map_err(|e| e.to_string());
    match copied.and_then(|()| quoting.finish().map_err(|e| e.to_string())) {
        Ok(losses) => Message { losses, ..Message::default() },
        Err(e) => Message { failed: Some(e), ..Message::default() },
    }
}

impl Writer for Mbox {
    fn write(&mut self, archive: &Archive, _: &mut AccountPlan, items: &[Item]) -> Result<Vec<Option<Outcome>>> {
        let ready: Vec<Option<Message>> = items
            .par_iter()
            .map(|item| {
                (item.wanted && item.placement.size <= WHOLE_BYTES).then(|| {
                    let mut bytes = Vec::new();
                    let done = message(archive, &item.placement, &mut bytes);
                    if done.failed.is_some() { done } else { Message { bytes, ..done } }
                })
            })
            .collect();
        let mut outcomes = Vec::with_capacity(items.len());
        for (item, ready) in items.iter().zip(ready) {
            if !item.wanted {
                outcomes.push(None);
                continue;
            }
            outcomes.push(Some(self.message(archive, &item.placement, ready)?));
        }
        Ok(outcomes)
    }

    fn finish(&mut self) -> io::Result<Finished> {
        if let Some(e) = self.broken.take() {
            return Err(e);
        }
        self.out.flush()?;
        let settled = self.dir.settle(&part_name(&self.name), &self.dir, &self.name)?;
        Ok(Finished { settled, losses: Vec::new() })
    }
}

impl Drop for Mbox {
    fn drop(&mut self) {
        // Of a run that ends early nothing half written stays; after `finish` there is nothing of this name.
        let _ = self.dir.remove(&part_name(&self.name));
    }
}

/// Turns the bytes of a message into those that stand in an mbox, in bounded memory.
struct Quoting<'a> {
    item: &'a Placement,
    out: &'a mut dyn Write,
    /// The header, until its end is seen.
    head: Option<Vec<u8>>,
    /// Bytes of `From ` seen at the beginning of a line, after any `>`; None inside a line.
    matched: Option<usize>,
    last: u8,
    losses: Vec<Loss>,
}

impl<'a> Quoting<'a> {
    fn new(item: &'a Placement, out: &'a mut dyn Write) -> Self {
        Quoting { item, out, head: Some(Vec::new()), matched: Some(0), last: b'\n', losses: Vec::new() }
    }

    fn header(&mut self, head: &[u8], complete: bool) -> io::Result<()> {
        write_from_line(self.item, head, &mut self.losses, self.out)?;
        for line in head.split_inclusive(|b| *b == b'\n') {
            // `From : a@b` is an old way to write the field; quoted it would be none any more.
            if line.starts_with(FROM) && !line[FROM.len()..].trim_ascii_start().starts_with(b":") {
                self.losses.push(Loss::new("a From_ line in the header was quoted", ""));
                self.out.write_all(b">")?;
            }
            self.out.write_all(line)?;
        }
        self.last = head.last().copied().unwrap_or(self.last);
        let (lines, losses) = state_lines(self.item, head, complete);
        if !lines.is_empty() {
            if self.last != b'\n' {
                self.losses.push(Loss::new("a line end was added at the end", ""));
                self.out.write_all(b"\n")?;
            }
            self.out.write_all(&lines)?;
            self.last = b'\n';
        }
        self.losses.extend(losses);
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while let Some((&first, after)) = rest.split_first() {
            match self.matched {
                Some(0) if first == b'>' => {
                    self.out.write_all(b">")?;
                    rest = after;
                }
                Some(n) if first == FROM[n] => {
                    rest = after;
                    self.matched = Some(n + 1);
                    if n + 1 == FROM.len() {
                        self.out.write_all(b">From ")?;
                        self.matched = None;
                    }
                }
                Some(n) => {
                    self.out.write_all(&FROM[..n])?;
                    self.matched = None;
                }
                None => {
                    let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
                    let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
                    self.out.write_all(line)?;
                    self.matched = end.map(|_| 0);
                    rest = after;
                }
            }
        }
        self.last = bytes.last().copied().unwrap_or(self.last);
        Ok(())
    }

    /// Ends the message: a line end if it has none, and the empty line that parts it from the next.
    fn finish(mut self) -> io::Result<Vec<Loss>> {
        if let Some(head) = self.head.take() {
            self.header(&head, true)?;
        }
        if let Some(n) = self.matched {
            self.out.write_all(&FROM[..n])?;
        }
        if self.last != b'\n' {
            self.losses.push(Loss::new("a line end was added at the end", ""));
            self.out.write_all(b"\n")?;
        }
        self.out.write_all(b"\n")?;
        Ok(self.losses)
    }
}

impl Write for Quoting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(head) = &mut self.head else {
            self.body(bytes)?;
            return Ok(bytes.len());
        };
        // The empty line may begin in what came before.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(bytes);
        let end = empty_line(head, from);
        if end.is_none() && head.len() <= HEAD_MAX_BYTES {
            return Ok(bytes.len());
        }
        let head = self.head.take().unwrap_or_default();
        let (header, body) = head.split_at(end.unwrap_or(head.len()));
        self.header(header, end.is_some())?;
        // The empty line itself is no quoted line.
        self.matched = (self.last == b'\n').then_some(0);
        self.body(body)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Where the first empty line begins that ends at `from` or later.
fn empty_line(head: &[u8], from: usize) -> Option<usize> {
    if head.starts_with(b"\n") || head.starts_with(b"\r\n") {
        return Some(0);
    }
    memchr::memchr_iter(b'\n', &head[from..])
        .map(|at| from + at + 1)
        .find(|&at| head[at..].starts_with(b"\n") || head[at..].starts_with(b"\r\n"))
}

fn write_from_line(item: &Placement, head: &[u8], losses: &mut Vec<Loss>, out: &mut dyn Write) -> io::Result<()> {
    let known = item.date.map(|d| d.at);
    // Readers take no year before 1900 for a date.
    let at = known.filter(|at| at.as_second() >= -2_208_988_800).unwrap_or(Timestamp::UNIX_EPOCH);
    if known != Some(at) {
        losses.push(Loss::new("no internal date is known that can be written", "the From_ line says 1970"));
    }
    let sender = sender(head).unwrap_or_else(|| "MAILER-DAEMON".to_owned());
    writeln!(out, "From {sender} {}", at.strftime("%a %b %e %H:%M:%S %Y"))
}

fn sender(head: &[u8]) -> Option<String> {
    ["return-path", "sender", "from"].into_iter().find_map(|wanted| {
        let (_, value) = fields(head).find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()))?;
        let value = std::str::from_utf8(value).ok()?;
        let address = match value.rsplit_once('<') {
            Some((_, rest)) => rest.split('>').next()?,
            None => value.split_whitespace().find(|word| word.contains('@'))?,
        };
        let plain = address.contains('@')
            && address.len() <= SENDER_MAX_BYTES
            && address.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
        plain.then(|| address.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::export::tests::item;
    use crate::model::Flag;

    fn written(item: &Placement, bytes: &[u8], piece: usize) -> (String, Vec<&'static str>) {
        let mut out = Vec::new();
        let mut quoting = Quoting::new(item, &mut out);
        for part in bytes.chunks(piece) {
            quoting.write_all(part).unwrap();
        }
        let losses = quoting.finish().unwrap();
        (String::from_utf8_lossy(&out).into_owned(), losses.iter().map(|l| l.reason).collect())
    }

    fn dated() -> Placement {
        let mut message = item(b"x");
        message.date = Some(crate::model::InternalDate {
            at: "2024-01-02T03:04:05Z".parse().unwrap(),
            rule: crate::model::DateRule::Stored,
        });
        message
    }

    #[test]
    fn body_lines_get_one_more_quote_and_the_header_keeps_its_own() {
        let bytes = b"Return-Path: <a@b>\n>From x\nFrom y\nFrom : z\nA: b\n\nFrom 1\n>From 2\n>>From 3\n> From 4\nFrom\nxFrom 5\nFrom 6\n";
        for piece in [1, 2, 3, 5, 1000] {
            let (text, losses) = written(&dated(), bytes, piece);
            let want = "From a@b Tue Jan  2 03:04:05 2024\nReturn-Path: <a@b>\n>From x\n>From y\nFrom : z\nA: b\n\n>From 1\n>>From 2\n>>>From 3\n> From 4\nFrom\nxFrom 5\n>From 6\n\n";
            assert_eq!((text.as_str(), losses), (want, vec!["a From_ line in the header was quoted"]), "pieces of {piece}");
        }
    }

    #[test]
    fn state_goes_into_the_header_only_where_there_is_none() {
        let mut message = dated();
        message.flags = vec![Flag::Answered, Flag::Flagged, Flag::Seen];
        message.keywords = vec!["$Label1".into(), "wörk".into()];
        let head = "From MAILER-DAEMON Tue Jan  2 03:04:05 2024\n";
        let (text, losses) = written(&message, b"A: b\r\n\r\nbody\r\n", 4);
        assert_eq!(text, format!("{head}A: b\r\nStatus: RO\r\nX-Status: AF\r\nX-Keywords: $Label1 wörk\r\n\r\nbody\r\n\n"));
        assert!(losses.is_empty());
        let own = b"status: RO\nX-Status: AF\nX-Keywords: w\xc3\xb6rk $Label1\n\nb\n";
        let (text, losses) = written(&message, own, 3);
        assert_eq!((text, losses), (format!("{head}{}\n", String::from_utf8_lossy(own)), vec![]));
        let (_, losses) = written(&message, b"Status: O\n\nb\n", 3);
        assert_eq!(losses, ["its own lines of state say something else"]);
        let (text, losses) = written(&message, b"no header here\n\nb\n", 3);
        assert_eq!((text, losses), (format!("{head}no header here\n\nb\n\n"), vec!["it has no header for flags and keywords"]));
        let mozilla = b"X-Mozilla-Status: 1003\nX-Mozilla-Keys: $Label1\nA: b\n\n";
        let (text, losses) = written(&message, mozilla, 3);
        assert!(
            text.contains("A: b\nStatus: RO\n") && losses == ["its own lines of state say something else"],
            "{text} {losses:?}"
        );
        message.keywords.push("$Forwarded".into());
        assert!(written(&message, mozilla, 3).1.is_empty(), "all of it is wanted");
        assert!(written(&message, b"From x\nA: b\n\n", 3).0.contains("\n>From x\nA: b\nStatus: RO\n"));
        message.keywords = vec!["two words".into()];
        assert_eq!(
            written(&message, b"A: b", 1),
            (
                format!("{head}A: b\nStatus: RO\nX-Status: AF\n\n"),
                vec!["a line end was added at the end", "a keyword cannot be written"]
            )
        );
    }

    #[test]
    fn hostile_senders_and_missing_dates_leave_a_from_line_that_readers_know() {
        let first = |bytes: &[u8]| written(&dated(), bytes, 100).0.lines().next().unwrap().to_owned();
        for bytes in [&b"Return-Path: <>\n\n"[..], b"From: \"a b\"@c\n\n", b"From: x y z\n\n", b"From: a\x01@b\n\n", b"", b"\n"] {
            assert_eq!(first(bytes), "From MAILER-DAEMON Tue Jan  2 03:04:05 2024", "{bytes:?}");
        }
        assert_eq!(first(b"From: Anna <anna@x>\nReturn-Path:\n <b@y>\n\n"), "From b@y Tue Jan  2 03:04:05 2024");
        let (text, losses) = written(&item(b"x"), b"A: b\n\n", 9);
        assert!(text.starts_with("From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n") && losses.len() == 1, "{text} {losses:?}");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(parts in proptest::collection::vec(prop_oneof![Just(b"From ".to_vec()), Just(b">".to_vec()), Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()), Just(b"A: b\n".to_vec()), any::<Vec<u8>>()], 0..40), piece in 1usize..9) {
            let bytes = parts.concat();
            prop_assert_eq!(written(&dated(), &bytes, piece), written(&dated(), &bytes, 1 << 20));
        }
    }
}
