//! vCard files (RFC 2426, RFC 6350, vCard 2.1): one item per card.

use std::path::Path;

use super::{Evidence, Format, Reader};
use crate::error::{Error, Result};

/// Looks at a path and says whether it is such a store, and why.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn detect(path: &Path) -> Result<Option<Evidence>> {
    let _ = path;
    Ok(None)
}

/// Opens the store at `root`.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open(root: &Path, format: Format) -> Result<Box<dyn Reader>> {
    Err(Error::source("not built yet").with("path", root.display()).with("format", format))
}
