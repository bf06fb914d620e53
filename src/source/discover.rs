//! From paths on the command line to accounts and their readers.

use std::path::PathBuf;

use super::{Format, Reader};
use crate::error::Result;
use crate::model::Place;

/// One account and the stores that hold its data.
pub struct AccountSource {
    /// Its name: an address where the tree shows one, else the folder's name.
    pub account: String,
    /// Folder (or file) that all places of this account are relative to.
    pub root: PathBuf,
    /// Its stores in a fixed order.
    pub readers: Vec<Box<dyn Reader>>,
}

/// Something under the given paths that belongs to no account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Where it lies.
    pub place: Place,
    /// Why it was left, in a few fixed words.
    pub reason: String,
}

/// What was found under the given paths.
pub struct Discovery {
    /// Accounts sorted by name.
    pub accounts: Vec<AccountSource>,
    /// Files that belong to no account.
    pub leftovers: Vec<Leftover>,
}

/// Finds accounts and their stores under `paths`, and those that `named` gives a name (`--account NAME=PATH`).
///
/// # Errors
/// `Kind::Source` when a path cannot be read or is nothing that floe knows, `Kind::Usage` when a path could be two things
/// and `format` does not say which.
pub fn discover(paths: &[PathBuf], named: &[(String, PathBuf)], format: Option<Format>) -> Result<Discovery> {
    let _ = (paths, named, format);
    Ok(Discovery { accounts: Vec::new(), leftovers: Vec::new() })
}
