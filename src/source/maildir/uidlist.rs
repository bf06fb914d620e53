//! UID lists: `dovecot-uidlist` (versions 1 and 3) and `courierimapuiddb`.
//!
//! A header with UIDVALIDITY and UIDNEXT, then a line a message with its UID and its name. Version 3 has a GUID of the
//! folder and, where it differs from the name, of the message.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use crate::source::disk;

/// Longer lines are not looked at.
const MAX_LINE_BYTES: u64 = 16 * 1024;

/// The lists, best first, and whether the name may have versions other than 1.
const LISTS: [&str; 2] = ["dovecot-uidlist", "courierimapuiddb"];

/// What the first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub file: &'static str,
    pub version: u8,
    pub uid_validity: Option<u32>,
    pub uid_next: Option<u32>,
    pub guid: Option<String>,
}

impl Header {
    pub(super) fn describe(&self) -> String {
        match self.uid_validity {
            Some(validity) => format!("{} with UIDVALIDITY {validity}", self.file),
            None => format!("{} without UIDVALIDITY", self.file),
        }
    }
}

/// One message's line.
pub(super) struct Line<'a> {
    pub uid: u32,
    pub guid: Option<&'a [u8]>,
    pub name: &'a [u8],
}

/// Calls `f` with every line, without its end, in bounded memory; `f` says whether to go on.
pub(super) fn each_line(file: File, f: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            line.pop_if(|b| *b == b'\r');
        } else if line.len() as u64 >= MAX_LINE_BYTES {
            reader.skip_until(b'\n')?;
            continue;
        }
        if !f(&line) {
            return Ok(());
        }
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    std::str::from_utf8(bytes).ok()?.parse().ok().filter(|&n| n > 0)
}

fn parse_header(file: &'static str, line: &[u8]) -> Option<Header> {
    let mut words = line.split(|&b| b == b' ').filter(|w| !w.is_empty());
    let mut header = match words.next()? {
        b"1" => {
            let (uid_validity, uid_next) = (words.next().and_then(number), words.next().and_then(number));
            return uid_validity.map(|_| Header { file, version: 1, uid_validity, uid_next, guid: None });
        }
        b"3" => Header { file, version: 3, uid_validity: None, uid_next: None, guid: None },
        _ => return None,
    };
    for word in words {
        match word.split_first() {
            Some((b'V', rest)) => header.uid_validity = number(rest),
            Some((b'N', rest)) => header.uid_next = number(rest),
            Some((b'G', rest)) => header.guid = std::str::from_utf8(rest).ok().filter(|g| !g.is_empty()).map(str::to_owned),
            _ => {}
        }
    }
    Some(header)
}

fn parse_line(version: u8, line: &[u8]) -> Option<Line<'_>> {
    let space = memchr::memchr(b' ', line)?;
    let uid = number(line.get(..space)?)?;
    let mut rest = line.get(space + 1..)?;
    let mut guid = None;
    if version == 3 {
        while let Some((&first, after)) = rest.split_first() {
            if first == b':' {
                rest = after;
                break;
            }
            let end = memchr::memchr(b' ', rest)?;
            if first == b'G' {
                guid = after.get(..end.checked_sub(1)?).filter(|g| !g.is_empty());
            }
            rest = rest.get(end + 1..)?;
        }
    }
    (!rest.is_empty()).then_some(Line { uid, guid, name: rest })
}

fn open(dir: &Path) -> Option<(&'static str, crate::Result<File>)> {
    LISTS.into_iter().find_map(|name| {
        let path = dir.join(name);
        std::fs::symlink_metadata(&path).is_ok().then(|| (name, disk::open_regular(&path).map(|(file, _)| file)))
    })
}

/// What the first line of the folder's list says, where there is a list.
pub(super) fn header(dir: &Path) -> Option<Header> {
    let (name, file) = open(dir)?;
    let mut header = None;
    each_line(file.ok()?, &mut |line| {
        header = parse_header(name, line);
        false
    })
    .ok()?;
    header
}

/// Calls `f` with every message's line of the folder's list.
///
/// # Errors
/// In words for a note, when there is a list that cannot be read.
pub(super) fn each(dir: &Path, f: &mut dyn FnMut(Line<'_>)) -> Result<(), String> {
    let Some((name, file)) = open(dir) else { return Ok(()) };
    let file = file.map_err(|e| format!("{name} cannot be read: {e}"))?;
    let mut version = None;
    each_line(file, &mut |line| {
        match version {
            None => version = parse_header(name, line).map(|h| h.version),
            Some(version) => {
                if let Some(line) = parse_line(version, line) {
                    f(line);
                }
            }
        }
        version.is_some()
    })
    .map_err(|e| format!("{name} cannot be read: {e}"))?;
    version.map(|_| ()).ok_or_else(|| format!("{name} is in a version that is not known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = (u32, Option<Vec<u8>>, Vec<u8>);

    fn lines(file: &str, text: &[u8]) -> (Option<Header>, Vec<Seen>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(file), text).unwrap();
        let mut lines = Vec::new();
        let _ = each(dir.path(), &mut |l| lines.push((l.uid, l.guid.map(<[u8]>::to_vec), l.name.to_vec())));
        (header(dir.path()), lines)
    }

    #[test]
    fn version_3_gives_guids_of_folder_and_message() {
        let text = b"3 V1700000001 N9 G00ff\n1 :a,S=1\n2 W10 Gfe-01 S9 :b c:d\nnonsense\n0 :z\n8 W1\n";
        let (header, lines) = lines("dovecot-uidlist", text);
        let header = header.unwrap();
        assert_eq!((header.uid_validity, header.uid_next, header.guid.as_deref()), (Some(1_700_000_001), Some(9), Some("00ff")));
        assert_eq!(lines, [(1, None, b"a,S=1".to_vec()), (2, Some(b"fe-01".to_vec()), b"b c:d".to_vec())]);
    }

    #[test]
    fn version_1_of_dovecot_and_courier_are_alike() {
        for file in LISTS {
            let (header, lines) = lines(file, b"1 1700000002 4\n3 a:2,S\r\n");
            assert_eq!(header.map(|h| (h.uid_validity, h.uid_next)), Some((Some(1_700_000_002), Some(4))));
            assert_eq!(lines, [(3, None, b"a:2,S".to_vec())]);
        }
    }

    #[test]
    fn an_unknown_version_is_said_and_a_long_line_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LISTS[0]), "7 V1 N2\n1 :a\n").unwrap();
        assert!(each(dir.path(), &mut |_| panic!("no line of an unknown version may count")).unwrap_err().contains("version"));
        let mut text = b"3 V5 N6\n1 :".to_vec();
        text.resize(1 << 20, b'x');
        text.extend_from_slice(b"\n2 :b\n");
        assert_eq!(lines(LISTS[0], &text).1, [(2, None, b"b".to_vec())]);
    }
}
