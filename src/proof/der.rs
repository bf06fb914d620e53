//! The little of DER (X.690) that time stamps need: values read one after the other, and written.

use crate::error::{Error, Result};

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTET_STRING: u8 = 0x04;
pub const NULL: u8 = 0x05;
pub const OID: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
/// The context's value 0, explicit.
pub const CONTEXT_0: u8 = 0xa0;

/// Reads values from bytes that may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// Is nothing left?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next value.
    pub fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next value, which must have this tag.
    pub fn value(&mut self, tag: u8) -> Result<&'a [u8]> {
        let (found, content) = self.next()?;
        if found == tag {
            return Ok(content);
        }
        Err(Error::damage(format!("not DER as it should be: tag {found:#04x} where {tag:#04x} was to be")))
    }

    /// A reader of what is in the next value, which must have this tag.
    pub fn inside(&mut self, tag: u8) -> Result<Reader<'a>> {
        self.value(tag).map(Reader)
    }

    /// Passes over the next value if it has this tag; its content.
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>> {
        if self.tag() == Some(tag) { self.value(tag).map(Some) } else { Ok(None) }
    }

    /// Tag and content of the next value.
    pub fn next(&mut self) -> Result<(u8, &'a [u8])> {
        let cut = || Error::damage("not DER: a value is cut short or has no length of its own");
        let (&tag, rest) = self.0.split_first().ok_or_else(cut)?;
        let (&first, rest) = rest.split_first().ok_or_else(cut)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Four bytes of length are more than any file that is read.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or_else(cut)?;
                (bytes.iter().fold(0usize, |n, b| n << 8 | usize::from(*b)), rest)
            }
            _ => return Err(cut()),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok((tag, content))
    }
}

/// A value of this tag.
pub fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        let long: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
        bytes.push(0x80 | long.len() as u8);
        bytes.extend(long);
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_any_length_come_back_and_cut_ones_are_refused() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let bytes = value(OCTET_STRING, &[&vec![7; length]]);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.value(OCTET_STRING).unwrap().len(), length);
            assert!(reader.is_empty());
            for cut in [0, 1, bytes.len() - 1] {
                assert!(Reader::new(&bytes[..cut]).next().is_err(), "{length} {cut}");
            }
        }
        assert!(Reader::new(&[0x30, 0x80, 0, 0]).next().is_err(), "without a length of its own");
        assert!(Reader::new(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).next().is_err());
        assert!(Reader::new(&[0x30, 0x85, 0, 0, 0, 0, 0]).next().is_err());
    }
}
