//! Names on disk: any name becomes one path segment that a person can still read; files are replaced whole.

use std::io;
use std::path::Path;

use crate::error::{Error, Kind, Result};

/// Longest name that a file may have.
const NAME_BYTES_MAX: usize = 255;

/// The name as one path segment: what is not letter, digit or plain sign is written `%XX`, and so is a dot in front.
///
/// `None` if it gets too long for a file name, or is empty.
pub(super) fn segment(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    for (at, c) in name.chars().enumerate() {
        let plain = c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '@' | '+' | '~') || (c == '.' && at > 0);
        if plain {
            out.push(c);
        } else {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
        }
    }
    (1..=NAME_BYTES_MAX).contains(&out.len()).then_some(out)
}

/// The name that [`segment`] made this of.
pub(super) fn name_of(segment: &str) -> Option<String> {
    let name = percent_decoded(segment)?;
    (self::segment(&name).as_deref() == Some(segment)).then_some(name)
}

/// `%XX` undone; `None` if what comes out is not UTF-8 or a `%` stands alone.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Writes a file whole or not at all: a kill leaves the old one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let half = path.with_extension("half");
    std::fs::write(&half, bytes)?;
    std::fs::rename(&half, path)
}

/// The stand-in's own error of a failed read or write.
pub(super) fn broken(path: &Path, cause: io::Error) -> Error {
    Error::io(Kind::Storage, "the stand-in cannot read or write its state", path, cause)
}

/// The folder, made with its parents.
pub(super) fn folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|e| broken(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_leave_their_folder_and_come_back() {
        for name in ["..", ".", "a/b", "../../etc", "Ko\u{161}", "a%b", "\0", "x\\y", ".hidden", "\u{202e}x"] {
            let segment = segment(name).expect("short");
            assert!(!segment.contains(['/', '\0']) && !segment.starts_with('.'), "{segment}");
            assert_eq!(name_of(&segment).as_deref(), Some(name));
        }
        assert_eq!((segment(""), segment(&"x".repeat(256))), (None, None));
        assert_eq!((percent_decoded("%zz"), percent_decoded("%4"), percent_decoded("%ff")), (None, None, None));
    }
}
