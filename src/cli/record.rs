//! Writing down in the archive what a command did with it, where it was asked to and the archive can be written.

use std::path::Path;

use crate::error::Result;
use crate::model::Digest;
use crate::monitor::{Monitor as _, Terminal};
use crate::proof::events::{self, Event, EventType, Outcome};

/// Adds the event of a command that ended so.
pub(super) fn record(archive: &Path, kind: EventType, root: Digest, items: u64, ended: &Result<u8>) {
    let outcome = match ended {
        Ok(0) => Outcome::Success,
        Ok(_) => Outcome::Warning,
        Err(_) => Outcome::Fail,
    };
    append(archive, Event::new(kind, outcome).root(root).detail("items", items));
}

/// Adds an event. An archive that cannot be written is no reason to fail for what was done elsewhere.
pub(super) fn append(archive: &Path, event: Event) {
    if let Err(e) = events::append(archive, event) {
        // Standard error, so that it is heard also where JSON goes to standard output.
        Terminal::new(false).note(&format!("what was done is not in the archive's record of events: {e}"));
    }
}
