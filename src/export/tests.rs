//! For the tests of this module: a plain item, and what holds for whole exports.

use crate::model::{Digest, Place, Placement};

/// An item of which nothing but its bytes is known.
pub(super) fn item(bytes: &[u8]) -> Placement {
    Placement {
        sha256: Digest::of(bytes),
        size: bytes.len() as u64,
        crlf: None,
        stored: None,
        stateless: None,
        date: None,
        flags: Vec::new(),
        keywords: Vec::new(),
        labels: Vec::new(),
        message_id: None,
        uid: None,
        component: None,
        mode: None,
        guid: None,
        source: Place::default(),
        notes: Vec::new(),
    }
}
