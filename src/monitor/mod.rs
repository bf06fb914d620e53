//! Progress and item failures as a small trait, so that the library never prints.

mod terminal;

pub use terminal::Terminal;

use crate::model::Exception;

/// Is told what happens while a command runs. All methods may be called from any thread.
pub trait Monitor: Send + Sync {
    /// A phase begins; `total_bytes` is the work ahead where it is known.
    fn phase(&self, name: &str, total_bytes: Option<u64>);
    /// So many more items and bytes are done.
    fn advance(&self, items: u64, bytes: u64);
    /// An item was skipped or failed; the run goes on.
    fn exception(&self, exception: &Exception);
    /// Something that the person should know.
    fn note(&self, text: &str);
    /// The phase is over.
    fn done(&self);
}

/// Tells nobody.
pub struct Silent;

impl Monitor for Silent {
    fn phase(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64, _: u64) {}
    fn exception(&self, _: &Exception) {}
    fn note(&self, _: &str) {}
    fn done(&self) {}
}
