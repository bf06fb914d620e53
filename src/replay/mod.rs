//! Stage two: fills a target from an archive, and knows at any moment what the target holds. Never sees a source.

pub mod journal;
