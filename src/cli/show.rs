//! `floe show`: the exact bytes for programs, a readable view for people.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use mail_parser::{Address, HeaderValue, Message, MessageParser, MimeHeaders as _};

use super::output::Output;
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::model::{Digest, printable, printable_lines};

/// Show one item
///
/// On a terminal a readable view: the headers that matter, the attachments, the text, with nothing in it that could drive the
/// terminal. Anywhere else, or with --raw, the exact bytes and nothing but them.
///
/// Example: floe show acme.floe 5f2c81d0 --text
///
/// Example: floe show acme.floe 5f2c81d0 > mail.eml
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// SHA-256 of the item, or an unambiguous beginning of eight digits or more
    #[arg(value_name = "SHA256")]
    sha256: String,
    /// The exact bytes, also on a terminal
    #[arg(long, conflicts_with = "text")]
    raw: bool,
    /// The readable view, also where there is no terminal
    #[arg(long)]
    text: bool,
}

/// Larger items are not looked into.
const READABLE_BYTES: u64 = 32 << 20;
/// More messages inside each other than this overflow the parser's stack.
const MAX_MESSAGES: usize = 100;
/// More boundaries than this take the parser very long.
const MAX_BOUNDARIES: usize = 1000;

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let archive = Archive::open(&args.archive)?;
    let digest = resolve(&archive, &args.sha256)?;
    if args.raw || !(args.text || std::io::stdout().is_terminal()) {
        archive.copy(digest, out.bytes())?;
        return Ok(0);
    }
    let mut size = Counter(0);
    archive.copy(digest, &mut size)?;
    if size.0 > READABLE_BYTES {
        return Err(Error::usage(format!("the item has {} bytes, too many for a readable view", size.0))
            .hint("`floe show --raw` gives its bytes"));
    }
    let bytes = archive.read(digest, READABLE_BYTES)?;
    out.line(readable(&bytes))?;
    Ok(0)
}

struct Counter(u64);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The one object whose digest begins like this.
pub(super) fn resolve(archive: &Archive, text: &str) -> Result<Digest> {
    let text = text.to_ascii_lowercase();
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    if !(8..64).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::usage("not a SHA-256 digest: expected 64 hex digits, or eight or more of its beginning"));
    }
    let mut found = BTreeSet::new();
    archive.index().each(archive.store(), &mut |digest, _, _| {
        if found.len() < 2 && digest.to_string().starts_with(&text) {
            found.insert(digest);
        }
        Ok(())
    })?;
    match (found.pop_first(), found.pop_first()) {
        (Some(digest), None) => Ok(digest),
        (None, _) => Err(Error::usage("no object's digest begins like this").with("digits", text)),
        _ => Err(Error::usage("several objects' digests begin like this").with("digits", text).hint("give more digits")),
    }
}

fn readable(bytes: &[u8]) -> String {
    let text = match message(bytes) {
        Some(message) => message,
        None => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => printable_lines(text),
            _ => format!("{} bytes that are no text; `floe show --raw` gives them", bytes.len()),
        },
    };
    text.trim_end().to_owned()
}

/// Is it safe to parse?
fn is_guarded(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    let count = |needle: &[u8]| memchr::memmem::find_iter(&lower, needle).count();
    count(b"message/rfc822") + count(b"message/global") < MAX_MESSAGES && count(b"boundary") < MAX_BOUNDARIES
}

fn message(bytes: &[u8]) -> Option<String> {
    if !is_guarded(bytes) {
        return None;
    }
    let message = MessageParser::default().parse(bytes)?;
    // Anything parses; only what has one of these is mail.
    let is_mail = ["From", "Date", "Subject", "To", "Message-ID", "Received"].iter().any(|name| message.header(*name).is_some());
    is_mail.then(|| page(&message))
}

fn page(message: &Message<'_>) -> String {
    let mut page = String::new();
    for name in ["From", "To", "Cc", "Bcc", "Reply-To", "Date", "Subject", "Message-ID"] {
        if let Some(value) = message.header(name).map(value_of).filter(|v| !v.is_empty()) {
            page.push_str(&format!("{name}: {}\n", printable(&value)));
        }
    }
    for attachment in message.attachments() {
        let name = attachment.attachment_name().unwrap_or("without a name");
        let kind = attachment.content_type().map_or_else(String::new, |t| match t.subtype() {
            Some(subtype) => format!("{}/{subtype}", t.ctype()),
            None => t.ctype().to_owned(),
        });
        page.push_str(&format!("Attachment: {}, {}, {} bytes\n", printable(name), printable(&kind), attachment.len()));
    }
    page.push('\n');
    page.push_str(&printable_lines(&message.body_text(0).unwrap_or_default()));
    page
}

fn value_of(value: &HeaderValue<'_>) -> String {
    match value {
        HeaderValue::Address(address) => addresses(address),
        HeaderValue::Text(text) => text.to_string(),
        HeaderValue::TextList(texts) => texts.join(", "),
        HeaderValue::DateTime(date) => date.to_rfc3339(),
        _ => String::new(),
    }
}

fn addresses(address: &Address<'_>) -> String {
    let one = |a: &mail_parser::Addr<'_>| match (&a.name, &a.address) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.as_ref().or(address.as_ref()).map(ToString::to_string).unwrap_or_default(),
    };
    let all: Vec<String> = address.iter().map(one).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_decoded_and_cannot_drive_the_terminal() {
        let mail = b"From: =?utf-8?q?J=C3=BCrgen=1B[2J?= <j@x>\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\nDate: Tue, 2 Jan 2024 03:04:05 +0100\n\
            Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nline\x1b[31m\n\ttab\n--b\n\
            Content-Type: application/pdf; name=\"a\x07.pdf\"\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n";
        let shown = readable(mail);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown:?}");
        for part in
            ["Jürgen", "Subject: Grüße", "2024-01-02T03:04:05+01:00", "line\\u{1b}[31m\n\ttab", "application/pdf, 3 bytes"]
        {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    #[test]
    fn what_would_break_the_parser_is_shown_as_it_is() {
        let nested = [b"Subject: x\n".as_slice(), &b"Content-Type: message/rfc822\n\n".repeat(200)].concat();
        assert!(message(&nested).is_none() && readable(&nested).starts_with("Subject: x"));
        let boundaries = b"Content-Type: multipart/mixed; boundary=a\n\n--a\n".repeat(1000);
        assert!(message(&boundaries).is_none());
        assert!(readable(b"\0\x01\x02").contains("no text"));
    }
}
