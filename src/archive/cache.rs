//! Decompressed frames that are kept at hand, up to a number of bytes in all.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use crate::model::Digest;

/// Bytes of frames that are kept.
const CACHED_BYTES: usize = 96 << 20;

/// A frame: its pack, and its first byte in it.
pub(super) type FrameKey = (Digest, u64);

/// The frames used last; may be shared between threads.
#[derive(Default)]
pub(super) struct FrameCache {
    frames: Mutex<Vec<(FrameKey, Arc<Vec<u8>>)>>,
}

impl FrameCache {
    /// The frame, from the cache or by `read`.
    ///
    /// # Errors
    /// What `read` gives.
    pub(super) fn get(&self, key: FrameKey, read: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Vec<u8>>> {
        {
            let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(i) = frames.iter().rposition(|(k, _)| *k == key) {
                let hit = frames.remove(i);
                let frame = Arc::clone(&hit.1);
                frames.push(hit);
                return Ok(frame);
            }
        }
        let frame = Arc::new(read()?);
        self.put(key, &frame);
        Ok(frame)
    }

    /// Keeps a frame, and lets go of those that were not used for longest.
    fn put(&self, key: FrameKey, frame: &Arc<Vec<u8>>) {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if frames.iter().any(|(k, _)| *k == key) {
            return;
        }
        frames.push((key, Arc::clone(frame)));
        let mut bytes: usize = frames.iter().map(|(_, f)| f.len()).sum();
        while bytes > CACHED_BYTES && frames.len() > 1 {
            bytes -= frames.remove(0).1.len();
        }
    }
}
