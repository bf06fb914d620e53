//! The bytes of messages on the target, hashed as they stream by.

use crate::error::Result;
use crate::imap::{Fetched, Messages};
use crate::model::{Digest, Hasher};

/// Hashes bytes with those made equal that servers are known to change: NUL and 8-bit bytes, which become 0x80 or `X`; and without CRs,
/// which are lost where they do not end a line alone.
#[derive(Default)]
pub(super) struct Masked {
    hasher: Hasher,
    text: Vec<u8>,
    size: u64,
}

impl Masked {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.text.clear();
        let kept = bytes.iter().filter(|b| **b != b'\r');
        self.text.extend(kept.map(|b| if *b == 0 || *b > 127 { b'X' } else { *b }));
        self.hasher.update(&self.text);
        self.size += self.text.len() as u64;
    }

    /// What is left, in bytes, and its digest.
    pub(super) fn finish(self) -> (u64, Digest) {
        (self.size, self.hasher.finish())
    }
}

/// What lies on the target: UID, size, digest, and size and digest of the masked bytes.
#[derive(Default)]
pub(super) struct Found {
    hasher: Hasher,
    mask: Masked,
    pub(super) messages: Vec<(u32, u64, Digest, (u64, Digest))>,
}

impl Messages for Found {
    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.mask.update(bytes);
        Ok(())
    }

    fn message(&mut self, message: Fetched) -> Result<()> {
        let sha256 = std::mem::take(&mut self.hasher).finish();
        let masked = std::mem::take(&mut self.mask).finish();
        if let Some(size) = message.body {
            self.messages.push((message.uid, size, sha256, masked));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_a_server_changed_has_the_same_masked_digest() {
        let masked = |bytes: &[u8]| {
            let mut mask = Masked::default();
            mask.update(bytes);
            mask.finish()
        };
        assert_eq!(masked(b"a\0b \xe4"), masked(b"a\x80b X"));
        assert_eq!(masked(b"a\r\r\nb\r"), masked(b"a\r\nb"));
        assert_ne!(masked(b"a\0b"), masked(b"acb"));
    }
}
