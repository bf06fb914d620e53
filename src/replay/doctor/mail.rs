//! Finds out what a target's IMAP takes, changes and refuses, with odd messages in a folder of its own that it removes.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use jiff::{Span, Timestamp};

use crate::error::{Error, Kind, Result};
use crate::imap::{Append, Body, Connection, Fetched, Found, Messages, Want, Way, Written, special_folders};
use crate::model::{CollectionPath, Digest, Hasher, printable};
use crate::replay::sheet::{AdminSheet, Fate, MailSheet, Oddity};

/// Characters that some server or other refuses in folder names.
const SUSPECTS: &str = "*%\"\\|.#:<>?~";
/// A keyword that nobody uses.
const KEYWORD: &str = "$FloeProbe";

/// Largest message that is sent only to see whether it is refused.
const LARGEST_PROBE: u64 = 64 << 20;

/// Looks at one account of the target: what it announces, and what becomes of odd messages, dates, keywords and names; whether what its
/// administration says of limits, if it was asked, holds for APPEND too.
///
/// # Errors
/// When the connection breaks, or the account cannot have a folder made in it.
pub fn look_at_mail(connection: &mut Connection, on_behalf: Option<bool>, admin: Option<&AdminSheet>) -> Result<MailSheet> {
    let folders = connection.list()?;
    let special_use = special_folders(&folders)
        .into_iter()
        // An archive folder in English that is not there is nobody's wish.
        .filter(|(_, path, found)| *found != Found::English || path != &["Archive"])
        .map(|(use_, path, _)| (use_.attribute().to_owned(), CollectionPath(path).to_string()))
        .collect();
    let probe = Probe::begin(connection)?;
    let looked = probe.look(connection, special_use, on_behalf, admin);
    let removed = probe.end(connection);
    let sheet = looked?;
    removed.map(|()| sheet)
}

/// The folder in which it all happens.
struct Probe {
    path: Vec<String>,
    name: String,
}

impl Probe {
    fn begin(connection: &mut Connection) -> Result<Self> {
        let path = vec![format!("floe-probe-{}", Timestamp::now().as_millisecond())];
        connection.create(&path)?;
        let name = connection.names().write(&path)?;
        Ok(Probe { path, name })
    }

    /// Removes the folder with all that is in it.
    fn end(&self, connection: &mut Connection) -> Result<()> {
        connection.leave()?;
        connection.unsubscribe(&self.name)?;
        connection.delete_mailbox(&self.name).map_err(|e| {
            Error::new(e.kind(), "the probe's folder could not be removed")
                .with("folder", &self.name)
                .because(e)
                .hint("remove it by hand")
        })
    }

    fn look(
        &self,
        connection: &mut Connection,
        special_use: BTreeMap<String, String>,
        on_behalf: Option<bool>,
        admin: Option<&AdminSheet>,
    ) -> Result<MailSheet> {
        let selected = connection.select(&self.name, false)?;
        let mut odd = BTreeMap::new();
        let mut append_uid = false;
        for oddity in Oddity::ALL {
            let fate = self.fate(connection, oddity, &mut append_uid)?;
            if fate != Fate::Kept {
                odd.insert(oddity, fate);
            }
        }
        let keywords = selected.permanent_flags.iter().any(|f| f == "\\*") && self.keeps_keyword(connection)?;
        Ok(MailSheet {
            greeting: printable(connection.greeting()),
            before_login: connection.capabilities_before_login().map(printable).collect(),
            after_login: connection.capabilities().map(printable).collect(),
            delimiter: connection.names().delimiter.unwrap_or('/'),
            prefix: connection.names().prefix.clone(),
            special_use,
            append_uid,
            on_behalf,
            largest_message: self.largest(connection, admin.and_then(AdminSheet::largest_message))?,
            keywords,
            not_in_names: self.refused_in_names(connection)?,
            appends_per_minute: admin.and_then(AdminSheet::appends_per_minute),
            odd,
        })
    }

    /// Appends a message with that oddity and looks what came of it.
    fn fate(&self, connection: &mut Connection, oddity: Oddity, append_uid: &mut bool) -> Result<Fate> {
        let message = message_with(oddity);
        let date = date_with(oddity);
        // A probe with a date that IMAP cannot say is refused before it is sent.
        let Some((uid, known)) = self.append(connection, &message, date, &[])? else { return Ok(Fate::Refused) };
        *append_uid |= known;
        let mut seen = Look::default();
        connection.fetch_from(uid, Want { flags: false, date: true, size: false, body: true }, &mut seen)?;
        let came = seen.messages.iter().any(|(f, sha256)| *sha256 == Digest::of(&message) && f.date == date);
        Ok(if came { Fate::Kept } else { Fate::Changed })
    }

    fn keeps_keyword(&self, connection: &mut Connection) -> Result<bool> {
        let Some((uid, _)) = self.append(connection, PLAIN, Some(yesterday()), &[KEYWORD.to_owned()])? else { return Ok(false) };
        let mut seen = Look::default();
        connection.fetch_from(uid, Want { flags: true, date: false, size: false, body: false }, &mut seen)?;
        Ok(seen.messages.iter().any(|(f, _)| f.flags.iter().any(|flag| flag.eq_ignore_ascii_case(KEYWORD))))
    }

    /// The largest message that is taken. Nobody knows whether a limit for SMTP holds for APPEND; one byte more than it shows that.
    fn largest(&self, connection: &mut Connection, smtp: Option<u64>) -> Result<Option<u64>> {
        let announced = connection.append_limit();
        let Some(most) = smtp.filter(|most| announced.is_none_or(|announced| *most < announced)) else { return Ok(announced) };
        if most > LARGEST_PROBE {
            return Ok(Some(most));
        }
        let mut message = PLAIN.to_vec();
        message.resize((most as usize + 1).max(PLAIN.len()), b'x');
        let taken = self.append(connection, &message, Some(yesterday()), &[])?;
        Ok(if taken.is_none() { Some(most) } else { announced })
    }

    /// The UID from which the message is found, and whether the server told it; none when it was refused for good.
    fn append(
        &self,
        connection: &mut Connection,
        message: &[u8],
        date: Option<Timestamp>,
        flags: &[String],
    ) -> Result<Option<(u32, bool)>> {
        let mut refused = None;
        for pause in [0, 100, 500, 2000] {
            sleep(Duration::from_millis(pause));
            let next = connection.status(&self.name)?.uid_next;
            let mut batch = [Append { flags, date, body: Body::Bytes(message) }];
            let sent = connection.send_append(&self.name, Way::OneByOne, &mut batch)?;
            match connection.finish_append(sent)?.pop() {
                Some(Written::Stored(Some((_, uid)))) => return Ok(Some((uid, true))),
                Some(Written::Stored(None)) => return Ok(Some((next, false))),
                Some(Written::Refused(status)) => refused = Some(status.error("a probe")),
                None => return Err(Error::new(Kind::Protocol, "the server did not answer an APPEND")),
            }
            if refused.as_ref().is_some_and(|e| !e.kind().is_transient()) {
                return Ok(None);
            }
        }
        refused.map_or(Ok(None), Err)
    }

    fn refused_in_names(&self, connection: &mut Connection) -> Result<String> {
        let mut refused = String::new();
        let mut made = Vec::new();
        let delimiter = connection.names().delimiter;
        for suspect in SUSPECTS.chars().filter(|c| Some(*c) != delimiter) {
            let mut path = self.path.clone();
            path.push(format!("a{suspect}b"));
            match connection.create(&path) {
                Ok(()) => made.push(connection.names().write(&path)?),
                Err(e) if e.kind() == Kind::Refused => refused.push(suspect),
                Err(e) => return Err(e),
            }
        }
        for name in made {
            connection.unsubscribe(&name)?;
            connection.delete_mailbox(&name)?;
        }
        Ok(refused)
    }
}

/// A message with nothing odd about it.
const PLAIN: &[u8] = b"From: probe@floe.invalid\r\nSubject: floe doctor\r\nMessage-ID: <probe@floe.invalid>\r\n\r\nprobe\r\n";

fn message_with(oddity: Oddity) -> Vec<u8> {
    match oddity {
        Oddity::Empty => Vec::new(),
        Oddity::Nul => [PLAIN, b"a\0b\r\n"].concat(),
        Oddity::BareCr => [PLAIN, b"a\rb\r\n"].concat(),
        Oddity::DoubledCr => [PLAIN, b"a\r\r\n"].concat(),
        Oddity::CrAtEnd => [PLAIN, b"a\r"].concat(),
        Oddity::EightBitHeader => [b"X-Eight: \xe4\xf6\xfc\r\n", PLAIN].concat(),
        Oddity::BadHeader => b"this is no header\r\n\r\nprobe\r\n".to_vec(),
        Oddity::NoHeader => b"\r\nprobe\r\n".to_vec(),
        Oddity::FoldedFirst => [b" folded\r\n", PLAIN].concat(),
        Oddity::EightBitName => [b"\xef\xbb\xbfX-Probe: a\r\n", PLAIN].concat(),
        Oddity::UnendedHeader => b"From: probe@floe.invalid\r\nSubject: floe doctor".to_vec(),
        Oddity::DateZero | Oddity::DateBefore1970 | Oddity::DateInFuture | Oddity::NoDate => PLAIN.to_vec(),
    }
}

fn date_with(oddity: Oddity) -> Option<Timestamp> {
    match oddity {
        Oddity::DateZero => Some(Timestamp::UNIX_EPOCH),
        Oddity::DateBefore1970 => Timestamp::from_second(-86_400).ok(),
        Oddity::DateInFuture => Timestamp::from_second(4_102_444_800).ok(),
        Oddity::NoDate => None,
        _ => Some(yesterday()),
    }
}

fn yesterday() -> Timestamp {
    let now = Timestamp::now();
    let then = now.checked_sub(Span::new().hours(24)).unwrap_or(now);
    Timestamp::from_second(then.as_second()).unwrap_or(then)
}

/// Messages as they come back, with the digest of their bytes.
#[derive(Default)]
struct Look {
    hasher: Hasher,
    messages: Vec<(Fetched, Digest)>,
}

impl Messages for Look {
    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        Ok(())
    }

    fn message(&mut self, message: Fetched) -> Result<()> {
        let digest = std::mem::take(&mut self.hasher).finish();
        self.messages.push((message, digest));
        Ok(())
    }
}
