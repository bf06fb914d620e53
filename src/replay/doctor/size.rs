//! Finds out how large an item a target takes: what it says itself, else by a few things of different sizes, of which none stays.

use std::io::{self, Read};

use crate::dav::{Body, Client, CollectionType, join};
use crate::error::Result;
use crate::replay::groupware::form_of;
use crate::replay::plan::Part;

/// The first size that is tried where nothing is known.
const FIRST_FILE_BYTES: u64 = 16 << 20;
/// The same for objects, which servers take apart: hundreds of times a usual one.
const FIRST_OBJECT_BYTES: u64 = 4 << 20;
/// What is taken without a try: the doctor has stored things of about this size.
const TAKEN_BYTES: u64 = 1 << 10;
/// Most sizes that are tried in one folder.
const TRIES: u32 = 32;
/// Most bytes that are sent to one folder while the limit is looked for.
const SENT_MAX_BYTES: u64 = 40 << 20;

/// What was found out about the largest item of a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Largest {
    /// Everything that was tried is taken.
    Unlimited,
    /// This many bytes, and none more.
    Bytes(u64),
    /// So many bytes are taken, and so many refused; what lies between was not tried any more.
    Between(u64, u64),
    /// Too large for what is left of the account's quota, which says nothing of other accounts.
    Quota,
}

/// The largest item that an empty folder takes. `like`: a limit that was found for files and may be one for everything.
///
/// # Errors
/// When the connection breaks, or something is refused for another reason than its size.
pub(super) fn largest(client: &mut Client, folder: &str, part: Part, like: Option<u64>) -> Result<Largest> {
    let announced = client.collection(folder)?.filter(|c| c.is != CollectionType::Folder).and_then(|c| c.largest);
    if let Some(bytes) = announced {
        return Ok(Largest::Bytes(bytes));
    }
    let most = if part == Part::Files { FIRST_FILE_BYTES } else { FIRST_OBJECT_BYTES };
    let first = like.map_or(most, |like| (like + 1).clamp(TAKEN_BYTES + 1, most));
    Tries { client, folder, part, made: 0, sent_bytes: 0 }.look(first, like)
}

struct Tries<'a> {
    client: &'a mut Client,
    folder: &'a str,
    part: Part,
    made: u32,
    sent_bytes: u64,
}

impl Tries<'_> {
    /// Goes from the first size, where that is refused, down to where the limit is: the guess, and one more, prove it where it is right.
    fn look(&mut self, first: u64, mut guess: Option<u64>) -> Result<Largest> {
        if self.takes(first)? {
            return Ok(Largest::Unlimited);
        }
        let (mut taken, mut refused) = (TAKEN_BYTES, first);
        while refused - taken > 1 && self.made < TRIES {
            let size = guess.take().filter(|size| (taken + 1..refused).contains(size)).unwrap_or_else(|| between(taken, refused));
            if self.sent_bytes + size > SENT_MAX_BYTES {
                break;
            }
            if self.takes(size)? { taken = size } else { refused = size }
        }
        Ok(match (self.is_quota(taken)?, refused - taken) {
            (true, _) => Largest::Quota,
            (false, 1) => Largest::Bytes(taken),
            (false, _) => Largest::Between(taken, refused),
        })
    }

    /// A limit of size does not care what else lies there; a quota does.
    fn is_quota(&mut self, taken: u64) -> Result<bool> {
        let one = self.put(taken)?;
        let second = self.put(taken)?;
        for path in [&one, &second].into_iter().flatten() {
            self.client.delete(path, None)?;
        }
        Ok(one.is_none() || second.is_none())
    }

    fn takes(&mut self, size: u64) -> Result<bool> {
        let path = self.put(size)?;
        if let Some(path) = &path {
            self.client.delete(path, None)?;
        }
        Ok(path.is_some())
    }

    /// Stores something of that size, and says where; nowhere if it was too large.
    fn put(&mut self, size: u64) -> Result<Option<String>> {
        self.made += 1;
        self.sent_bytes += size;
        if self.part == Part::Files {
            let path = join(self.folder, &format!("size-{}.bin", self.made));
            // Over a thin line, a file is given more time.
            let mut open = || -> Result<Box<dyn Read>> { Ok(Box::new(io::repeat(b'x').take(size))) };
            return Ok(self.client.takes(&path, Body::File(size, &mut open))?.then_some(path));
        }
        let (ending, media) = form_of(self.part);
        let bytes = object(self.part, self.made, size);
        let path = join(self.folder, &format!("size-{}.{ending}", self.made));
        Ok(self.client.takes(&path, Body::Bytes(&bytes, media))?.then_some(path))
    }
}

/// A size between two others: of the order of magnitude between them while they are far apart, then the middle.
fn between(taken: u64, refused: u64) -> u64 {
    if refused / taken >= 4 { (taken * refused).isqrt() } else { taken.midpoint(refused) }
}

/// The n-th card or event, of exactly so many bytes where these are enough for one.
fn object(part: Part, number: u32, size: u64) -> Vec<u8> {
    if part == Part::Contacts {
        let head = format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:floe-size-{number}\r\nN:Doctor;Floe;;;\r\nFN:Floe Doctor\r\nNOTE:");
        return filled(&head, "\r\nEND:VCARD\r\n", size);
    }
    let head = format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//doctor//EN\r\nBEGIN:VEVENT\r\nUID:floe-size-{number}\r\n\
         DTSTAMP:20240101T000000Z\r\nDTSTART;VALUE=DATE:20240301\r\nSUMMARY:floe doctor\r\nDESCRIPTION:"
    );
    filled(&head, "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n", size)
}

/// Head and tail with a folded text between them that makes it `size` bytes.
fn filled(head: &str, tail: &str, size: u64) -> Vec<u8> {
    const LINE: &[u8] = b"\r\n xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    let room = (size as usize).saturating_sub(head.len() + tail.len());
    let mut bytes = head.as_bytes().to_vec();
    // The last line is the longer one: a fold needs a text behind it.
    bytes.extend(LINE.iter().cycle().take(room - room % LINE.len()));
    bytes.resize(head.len() + room, b'x');
    bytes.extend_from_slice(tail.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_size_that_is_tried_and_are_such() {
        for part in [Part::Events, Part::Contacts] {
            for size in (TAKEN_BYTES..TAKEN_BYTES + 200).chain([1 << 20]) {
                let bytes = object(part, 7, size);
                assert_eq!(bytes.len() as u64, size, "{part}");
                let fitted = crate::objects::fit(&bytes).unwrap();
                assert!(fitted.uid == "floe-size-7" && fitted.bytes == bytes, "{part}: {size}");
            }
        }
    }

    #[test]
    fn every_limit_is_between_what_was_tried() {
        for limit in (TAKEN_BYTES..FIRST_OBJECT_BYTES).step_by(9973) {
            let (mut taken, mut refused, mut tries) = (TAKEN_BYTES, FIRST_OBJECT_BYTES, 0);
            while refused - taken > 1 {
                let size = between(taken, refused);
                assert!(taken < size && size < refused);
                if size <= limit {
                    taken = size
                } else {
                    refused = size
                }
                tries += 1;
            }
            assert!(taken == limit && tries < TRIES, "{limit}: {tries}");
        }
    }
}
