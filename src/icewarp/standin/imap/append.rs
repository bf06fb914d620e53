//! APPEND and MULTIAPPEND (RFC 3502): all messages of a command or none.

use std::io;
use std::time::{Duration, Instant};

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder as _;
use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::extensions::binary::LiteralOrLiteral8;

use super::super::mail::Incoming;
use super::super::{World, locked};
use super::folders::folder_name;
use super::messages::{flag_texts, uid_set};
use super::session::Session;
use super::wire::{self, Literal};

/// Largest message unless a difficulty says less.
const MESSAGE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// What stands before one message.
struct Head {
    mailbox: Option<String>,
    flags: Vec<String>,
    date: (i64, i32),
}

/// The head of one message of an APPEND, by the codec: what it needs to see is a whole command, so the message is left empty.
fn head(text: &[u8]) -> Option<Head> {
    let (_, start) = Literal::at_end(text)?;
    let mut whole = text.get(..start)?.to_vec();
    whole.extend_from_slice(b"{0}\r\n\r\n");
    let (_, command) = CommandCodec::default().decode(&whole).ok()?;
    let CommandBody::Append { mailbox, flags, date, message: LiteralOrLiteral8::Literal(_) } = command.body else { return None };
    let date = date.map_or_else(now, |date| (date.as_ref().timestamp(), date.as_ref().offset().local_minus_utc()));
    Some(Head { mailbox: folder_name(&mailbox), flags: flag_texts(&flags), date })
}

fn now() -> (i64, i32) {
    (jiff::Timestamp::now().as_second(), 0)
}

impl Session<'_> {
    /// Takes an APPEND of which the text up to the first message has been read, and answers it.
    pub(super) fn append(&mut self, text: Vec<u8>) -> io::Result<()> {
        self.cut(|tallies, d| tallies.cut_command.strikes(d.cut_command))?;
        let tag = wire::tag_of(&text);
        let answer = self.take_messages(&tag, text)?;
        self.tell_changes()?;
        self.cut(|tallies, d| tallies.cut_reply.strikes(d.cut_reply) | tallies.cut_append.strikes(d.cut_append))?;
        self.line(format_args!("{tag} {answer}"))?;
        self.flush()
    }

    fn take_messages(&mut self, tag: &str, first: Vec<u8>) -> io::Result<String> {
        let mailbox = self.mailbox()?;
        let mut refusal: Option<String> = None;
        let mut incoming = Incomings::default();
        let mut target: Option<String> = None;
        let mut text = first;
        loop {
            let Some((literal, _)) = Literal::at_end(&text) else { return Ok("BAD no message".into()) };
            if !literal.waits && self.world.difficulties.no_literal_plus {
                return self.hang_up("LITERAL+ was not announced");
            }
            match head(&text) {
                None => refusal = refusal.or_else(|| Some("BAD arguments invalid".into())),
                Some(head) => {
                    if target.is_none() {
                        refusal = refusal.or_else(|| self.refuses_target(head.mailbox.as_deref()));
                        target = head.mailbox.clone();
                    }
                    refusal = refusal.or_else(|| self.refuses_size(literal.bytes));
                    if refusal.is_none() {
                        self.go_ahead(literal)?;
                        let bytes = self.message_bytes(literal.bytes)?;
                        refusal = self.refuses_bytes(&bytes, incoming.bytes);
                        let file = locked(&mailbox).incoming_file();
                        if refusal.is_none() {
                            let made = incoming.take(self.world, file, head, bytes);
                            refusal = made.err().map(|_| "NO [SERVERBUG] cannot be stored".into());
                        }
                        text = self.next_head(tag)?;
                        if text.is_empty() {
                            break;
                        }
                        continue;
                    }
                }
            }
            if literal.waits {
                return Ok(refusal.unwrap_or_default());
            }
            wire::skip(&mut self.reader, literal.bytes)?;
            text = self.next_head(tag)?;
            if text.is_empty() {
                break;
            }
        }
        match (refusal, target) {
            (None, Some(target)) => self.store(&target, &incoming),
            (refusal, _) => Ok(refusal.unwrap_or_else(|| "BAD arguments invalid".into())),
        }
    }

    fn go_ahead(&mut self, literal: Literal) -> io::Result<()> {
        if literal.waits {
            self.line(format_args!("+ go on"))?;
            self.flush()?;
        }
        Ok(())
    }

    fn message_bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        if self.world.tallies.cut_literal.strikes(self.world.difficulties.cut_literal) {
            wire::skip(&mut self.reader, count / 2)?;
            self.cut(|_, _| true)?;
        }
        wire::bytes(&mut self.reader, count)
    }

    /// What follows a message: nothing, or the head of another one, made into a command for the codec.
    fn next_head(&mut self, tag: &str) -> io::Result<Vec<u8>> {
        let rest = wire::line(&mut self.reader, 64 * 1024)?;
        if rest.is_empty() {
            return Ok(rest);
        }
        if self.world.difficulties.no_multiappend {
            return self.hang_up("MULTIAPPEND was not announced");
        }
        Ok([tag.as_bytes(), b" APPEND INBOX", &rest].concat())
    }

    fn refuses_target(&self, name: Option<&str>) -> Option<String> {
        let Some(name) = name else { return Some("NO not a name in modified UTF-7".into()) };
        let mailbox = self.mailbox().ok()?;
        if !locked(&mailbox).folders.contains_key(name) {
            return Some("NO [TRYCREATE] no such folder".into());
        }
        let (tallies, difficulties) = (&self.world.tallies, &self.world.difficulties);
        tallies.append_refused.strikes(difficulties.append_refused).then(|| "NO [LIMIT] not now".into())
    }

    fn refuses_size(&self, bytes: u64) -> Option<String> {
        let user = self.user.as_ref()?;
        let most = match self.world.difficulties.max_message_bytes {
            0 => MESSAGE_BYTES_MAX,
            most => most,
        };
        let most = most.min(self.world.message_bytes_max(&user.address).unwrap_or(u64::MAX));
        match bytes {
            0 => Some("NO empty message".into()),
            _ if bytes > most => Some("NO message too large".into()),
            _ => None,
        }
    }

    fn refuses_bytes(&self, message: &[u8], before: u64) -> Option<String> {
        let user = self.user.as_ref()?;
        if memchr::memchr(0, message).is_some() && self.world.server_text("c_system_services_imap_allowbinaryappend") != "1" {
            return Some("NO message contains NUL".into());
        }
        let over = self.world.over_quota(&user.address, before + message.len() as u64);
        over.then(|| "NO [OVERQUOTA] over quota".into())
    }

    fn store(&mut self, target: &str, incoming: &Incomings) -> io::Result<String> {
        self.throttle(incoming.given);
        let mailbox = self.mailbox()?;
        let mut mailbox = locked(&mailbox);
        let Some(folder) = mailbox.folders.get_mut(target) else { return Ok("NO [TRYCREATE] no such folder".into()) };
        let Ok(uids) = folder.add(&incoming.messages) else { return Ok("NO [SERVERBUG] cannot be stored".into()) };
        let validity = folder.validity;
        mailbox.bytes += incoming.bytes;
        if self.world.difficulties.no_uidplus || uids.len() != incoming.given as usize {
            return Ok("OK APPEND completed".into());
        }
        Ok(format!("OK [APPENDUID {validity} {}] APPEND completed", uid_set(&uids)))
    }

    /// Beyond the server's appends per minute, each one waits for its share of a minute.
    fn throttle(&mut self, messages: u64) {
        let limit: u64 = self.world.server_text("c_system_services_imap_maxappendsperminute").parse().unwrap_or(0);
        if limit == 0 {
            return;
        }
        if self.minute.began.elapsed() > Duration::from_secs(60) {
            self.minute.began = Instant::now();
            self.minute.appends = 0;
        }
        let before = self.minute.appends;
        self.minute.appends += messages;
        let late = (before + messages).saturating_sub(limit).min(messages);
        std::thread::sleep(Duration::from_secs(60).mul_f64(late as f64 / limit as f64));
    }
}

/// Messages of one command so far; those that are not stored in the end are removed.
#[derive(Default)]
struct Incomings {
    messages: Vec<Incoming>,
    bytes: u64,
    /// How many the client gave, whatever became of them.
    given: u64,
}

impl Incomings {
    fn take(&mut self, world: &World, file: std::path::PathBuf, head: Head, mut bytes: Vec<u8>) -> io::Result<()> {
        let (tallies, d) = (&world.tallies, &world.difficulties);
        self.given += 1;
        let Head { mut flags, mut date, .. } = head;
        if tallies.alter_message.strikes(d.alter_message) {
            alter(&mut bytes);
        }
        if tallies.alter_date.strikes(d.alter_date) {
            date.0 += 86_400;
        }
        if tallies.lose_flag.strikes(d.lose_flag) {
            flags.pop();
        }
        if d.no_keywords {
            flags.retain(|flag| flag.starts_with('\\'));
        }
        let (doubled, dropped) = (tallies.duplicate.strikes(d.duplicate), tallies.drop_message.strikes(d.drop_message));
        for copy in 0..if dropped { 0 } else { 1 + usize::from(doubled) } {
            let file = if copy == 0 { file.clone() } else { file.with_extension("copy") };
            std::fs::write(&file, &bytes)?;
            let size = bytes.len() as u64;
            self.bytes += size;
            self.messages.push(Incoming { file, flags: flags.clone(), date: date.0, zone: date.1, size });
        }
        Ok(())
    }
}

impl Drop for Incomings {
    fn drop(&mut self) {
        // Those that were stored have moved; what is still here was refused.
        for message in &self.messages {
            let _ = std::fs::remove_file(&message.file);
        }
    }
}

/// Changes one letter near the end.
fn alter(bytes: &mut [u8]) {
    if let Some(letter) = bytes.iter_mut().rev().find(|byte| byte.is_ascii_alphabetic()) {
        *letter ^= 0x20;
    }
}
