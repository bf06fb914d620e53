//! The date ladder: what the store holds, else `Received`, else `Date`, else the file's time, and which it was.

use jiff::Timestamp;

use super::HeaderFacts;
use crate::model::InternalDate;

/// Reads a date as mail has them (RFC 5322 3.3 with its obsolete forms, and what is met in life); `None` if it is none.
pub fn parse_date(text: &[u8]) -> Option<Timestamp> {
    let _ = text;
    None
}

/// The internal date of an item: the store's own first, then the ladder.
pub fn internal_date(stored: Option<InternalDate>, facts: &HeaderFacts, file_time: Option<Timestamp>) -> Option<InternalDate> {
    let _ = (facts, file_time);
    stored
}
