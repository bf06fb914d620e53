//! Snapshot roots and account listings: the upper half of the Merkle tree (docs/format.md sections 5 and 6).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::merkle::Merkle;
use crate::error::{Error, Result};
use crate::model::{CollectionHead, Digest, Ledger};

/// What a root's `format` member says.
const FORMAT: &str = "floe snapshot";
/// The version of roots that this code writes and reads.
const VERSION: u32 = 1;

/// Which program wrote a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A path that was given, and the format if one was forced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceNote {
    /// As given.
    pub path: String,
    /// As forced by `--as`.
    pub format: Option<String>,
}

/// Options that shape a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// zstd level, where one was given.
    pub level: Option<i32>,
    /// Were unchanged files read again?
    pub reread: bool,
}

/// One account of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEntry {
    /// Its name.
    pub account: String,
    /// The account listing.
    pub listing: Digest,
    /// Collections in it.
    pub collections: u64,
    /// Sum of its collections' ledgers.
    pub ledger: Ledger,
}

/// The immutable root that commits to everything captured in one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Always `floe snapshot`.
    pub format: String,
    /// Version of this structure.
    pub version: u32,
    /// When the run began.
    pub created: Timestamp,
    /// What wrote it.
    pub tool: Tool,
    /// SHA-256 of the root file before this one.
    pub previous: Option<Digest>,
    /// SHA-256 of the last line of the record of events before this root was made, or of nothing where there was none; absent
    /// in roots of versions that kept no such record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Digest>,
    /// Digest over all account listings: equal trees hold the same.
    pub tree: Digest,
    /// Options.
    pub options: Options,
    /// Paths that were read.
    pub sources: Vec<SourceNote>,
    /// Accounts sorted by name.
    pub accounts: Vec<AccountEntry>,
    /// Exceptions listing of what belongs to no account.
    pub leftovers: Option<Digest>,
    /// Domains, accounts, groups, rights and rules, where files of them were captured.
    pub directory: Option<Digest>,
    /// The trees by which one item is shown to belong to this root; roots of older archives have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merkle: Option<Merkle>,
    /// Sum of everything.
    pub ledger: Ledger,
}

impl Root {
    /// A root of this version with nothing in it.
    pub fn new(created: Timestamp, previous: Option<Digest>) -> Self {
        Root {
            format: FORMAT.to_owned(),
            version: VERSION,
            created,
            tool: Tool { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            previous,
            events: None,
            tree: Self::tree_of(&[]),
            options: Options::default(),
            sources: Vec::new(),
            accounts: Vec::new(),
            leftovers: None,
            directory: None,
            merkle: None,
            ledger: Ledger::default(),
        }
    }

    /// Digest over the account listings.
    pub fn tree_of(accounts: &[AccountEntry]) -> Digest {
        let lines: String = accounts.iter().map(|a| format!("{} {}\n", a.listing, a.account)).collect();
        Digest::of(lines.as_bytes())
    }

    /// The bytes of the root file.
    ///
    /// # Errors
    /// `Kind::Internal` if it cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::new(crate::Kind::Internal, "cannot write the snapshot root").because(e))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a root file.
    ///
    /// # Errors
    /// `Kind::Damage` if it is not a root of a version that this code knows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let root: Root = serde_json::from_slice(bytes).map_err(|e| Error::damage("not a snapshot root").because(e))?;
        if root.format != FORMAT || root.version != VERSION {
            return Err(Error::damage(format!("a snapshot root of format '{}' version {}", root.format, root.version))
                .hint("a newer floe can read it"));
        }
        Ok(root)
    }
}

/// A committed snapshot: its root and how it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// File name without `.json`, such as `20261122T210500Z-0123456789ab`; any unambiguous part of it names the snapshot.
    pub id: String,
    /// SHA-256 of the root file.
    pub digest: Digest,
    /// The root.
    pub root: Root,
}

/// A file of several items, kept whole as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Where it lies, relative to the account's root in the source.
    pub path: String,
    /// Its object.
    pub sha256: Digest,
    /// Its bytes.
    pub size: u64,
}

/// One collection of an account listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionEntry {
    /// What the source says of the collection.
    #[serde(flatten)]
    pub head: CollectionHead,
    /// Format of the store.
    pub format: String,
    /// The collection listing.
    pub listing: Digest,
    /// Placements in it.
    pub items: u64,
    /// Its ledger.
    pub ledger: Ledger,
    /// Exceptions listing, when there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceptions: Option<Digest>,
    /// Files of several items, kept whole as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub originals: Vec<Original>,
}
