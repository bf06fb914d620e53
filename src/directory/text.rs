//! The text of a directory file, whatever its encoding: UTF-8, UTF-16 with or without byte order mark, Windows-1252.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// The text, and the name of its encoding where it is not UTF-8.
pub(super) fn decode(bytes: &[u8]) -> (Cow<'_, str>, Option<&'static str>) {
    let (encoding, bytes) = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => (encoding, bytes.get(length..).unwrap_or_default()),
        None => (without_mark(bytes), bytes),
    };
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    (text, (encoding != UTF_8).then(|| encoding.name()))
}

/// Text in a Latin script in UTF-16 has a zero in nearly every other byte.
fn without_mark(bytes: &[u8]) -> &'static Encoding {
    let start = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
    let zeros = |odd: usize| start.iter().skip(odd).step_by(2).filter(|&&b| b == 0).count() * 2;
    let half = start.len() / 2;
    if half > 1 && zeros(1) > half && zeros(0) < half / 4 {
        UTF_16LE
    } else if half > 1 && zeros(0) > half && zeros(1) < half / 4 {
        UTF_16BE
    } else if std::str::from_utf8(bytes).is_ok() {
        UTF_8
    } else {
        WINDOWS_1252
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_read_from_every_encoding() {
        let text = "name,mail\r\nMüller,m@acme.example\r\n";
        let utf16 = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        let (little, big) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe".as_slice(), &little].concat(),
            [b"\xfe\xff".as_slice(), &big].concat(),
            little,
            big,
            text.replace('ü', "\u{1}").bytes().map(|b| if b == 1 { 0xfc } else { b }).collect(),
        ] {
            assert_eq!(decode(&bytes).0, text);
        }
    }
}
