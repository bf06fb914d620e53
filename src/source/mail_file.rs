//! Is a file one message, an mbox, or no mail? By its name where that is enough, else by how it begins.
//!
//! One place decides, so that in a tree of mixed files no two readers take the same one.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{disk, mbox, pim};

/// Bytes of a file in which header lines are looked for.
const FIRST_BYTES: u64 = 4 << 10;
/// So many files with a From_ line and one message each, side by side and no mbox among them, are messages and no mboxes.
const MANY_FROM_FILES: usize = 20;
/// Files of a folder that are looked at for that.
const SAMPLE_FILES: usize = 60;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MailFile {
    /// One message.
    Message,
    /// A mail folder in one file.
    Mbox,
    /// No mail.
    Neither,
}

/// What its name says; `None` if only its bytes can tell.
pub(super) fn by_name(name: &OsStr) -> Option<MailFile> {
    let extension = Path::new(name).extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("mbox") => Some(MailFile::Mbox),
        Some("eml") => Some(MailFile::Message),
        // What mail programs keep beside mail.
        Some("emlx" | "msf" | "ovw" | "toc" | "lock" | "index" | "dat" | "tmp") => Some(MailFile::Neither),
        _ if pim::is_named_so(name) => Some(MailFile::Neither),
        _ => is_numbered(name).then_some(MailFile::Message),
    }
}

/// `1.`, `23.`: digits and a dot, as in the Enron release and in Cyrus spools.
pub(super) fn is_numbered(name: &OsStr) -> bool {
    name.as_bytes().strip_suffix(b".").is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
}

/// What a regular file is. `from_are_messages`: what [`from_are_messages`] says of its folder.
pub(super) fn of(path: &Path, from_are_messages: bool) -> MailFile {
    let name = path.file_name().unwrap_or_default();
    if let Some(known) = by_name(name) {
        return known;
    }
    if mbox::begins_with_mail(path) {
        let message = from_are_messages && mbox::messages_at_start(path) == 1
            || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("msg"));
        return if message { MailFile::Message } else { MailFile::Mbox };
    }
    if begins_with_header(path) { MailFile::Message } else { MailFile::Neither }
}

/// Are the files of a folder that begin with a From_ line messages, one a file, and not mboxes that happen to be small?
pub(super) fn from_are_messages(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    let mut unnamed = Vec::new();
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_file())) {
        match by_name(&entry.file_name()) {
            Some(MailFile::Mbox) => return false,
            Some(_) => {}
            None => unnamed.push(entry.file_name()),
        }
    }
    if unnamed.len() < MANY_FROM_FILES {
        return false;
    }
    // The same files whatever the order in which the folder is listed.
    unnamed.sort_unstable();
    let sample = unnamed.iter().step_by(unnamed.len().div_ceil(SAMPLE_FILES));
    let messages: Vec<usize> = sample.map(|name| mbox::messages_at_start(&dir.join(name))).collect();
    messages.iter().all(|n| *n < 2) && messages.iter().filter(|n| **n == 1).count() >= MANY_FROM_FILES
}

/// Does the file begin with header lines, one of them such as only mail has?
pub(super) fn begins_with_header(path: &Path) -> bool {
    let mut first = Vec::new();
    let read = disk::open_regular(path).is_ok_and(|(file, _)| file.take(FIRST_BYTES).read_to_end(&mut first).is_ok());
    read && is_header(&first)
}

fn is_header(first: &[u8]) -> bool {
    const OF_MAIL: [&[u8]; 12] = [
        b"from",
        b"to",
        b"subject",
        b"date",
        b"received",
        b"return-path",
        b"message-id",
        b"mime-version",
        b"delivered-to",
        b"sender",
        b"reply-to",
        b"x-mailer",
    ];
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
    let (mut fields, mut of_mail) = (0, false);
    for line in first.split(|b| matches!(b, b'\n' | b'\r')).filter(|line| !line.is_empty()) {
        if matches!(line.first(), Some(b' ' | b'\t')) && fields > 0 {
            continue;
        }
        let Some(colon) = memchr::memchr(b':', line) else { break };
        let name = line.get(..colon).unwrap_or_default().trim_ascii_end();
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            break;
        }
        fields += 1;
        of_mail |= OF_MAIL.iter().any(|known| name.eq_ignore_ascii_case(known));
        if of_mail && fields >= 2 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_header_lines_and_one_of_mail_make_a_message() {
        for yes in ["From: a\nTo: b\n\nx", "X-Y: z\r\n folded\r\nSubject: b\r\n", "\u{feff}Date: x\rFrom: y\r\r"] {
            assert!(is_header(yes.as_bytes()), "{yes:?}");
        }
        for no in
            ["Subject: alone\n\nx", "Package: a\nVersion: 1\n", "just text\nTo: x\nFrom: y\n", " To: a\nFrom: b\n", "", "::\n::"]
        {
            assert!(!is_header(no.as_bytes()), "{no:?}");
        }
    }

    #[test]
    fn a_name_may_say_enough() {
        let known = |name: &str| by_name(OsStr::new(name));
        assert_eq!(known("a.EML"), Some(MailFile::Message));
        assert_eq!(known("12."), Some(MailFile::Message));
        assert_eq!(known("Sent.mbox"), Some(MailFile::Mbox));
        assert_eq!(known("Inbox.msf"), Some(MailFile::Neither));
        assert_eq!((known("12"), known("a.txt"), known("1.a.")), (None, None, None));
    }

    #[test]
    fn many_files_of_one_message_are_no_mboxes() {
        const MAIL: &str = "From a@b Mon Jan  1 00:00:00 2024\nA: b\n\nx\n";
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        for n in 0..MANY_FROM_FILES {
            assert!(!from_are_messages(dir.path()), "{n}");
            put(&format!("{n:05}.abc"), MAIL);
        }
        assert!(from_are_messages(dir.path()));
        let first = dir.path().join("00000.abc");
        assert_eq!((of(&first, true), of(&first, false)), (MailFile::Message, MailFile::Mbox));
        put("two", &format!("{MAIL}\n{MAIL}"));
        assert!(!from_are_messages(dir.path()));
    }
}
