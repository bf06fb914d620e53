//! What makes an archive stand up to an auditor: signatures and time stamps on its roots, the record of what happened to it, evidence of
//! single items, and the sheet that goes with a disk.

mod der;
pub mod events;
pub mod evidence;
pub mod forget;
pub mod handover;
pub mod hold;
pub mod key;
mod new_file;
pub mod policy;
mod root_file;
pub mod signature;
pub mod since;
pub mod timestamp;
pub mod tombstone;
mod words;

use crate::archive::{Archive, Findings};
use crate::error::Result;

pub use root_file::RootFile;

/// Checks every signature and the record of events; what is wrong is added to what a check of the archive found. Gives the signatures.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn check(archive: &Archive, found: &mut Findings) -> Result<Vec<signature::Signature>> {
    let (signatures, others) = signature::all(archive.store())?;
    for signature in &signatures {
        if let Some(why) = &signature.broken {
            found.damage.push(format!("the signature {} does not hold: {why}", signature.file));
        }
    }
    found.warnings.extend(others.iter().map(|file| format!("{file} is not called like a signature, and was not checked")));
    found.damage.extend(hold::all(archive.vault())?.into_iter().filter_map(Result::err).map(|e| e.to_string()));
    tombstone::check(archive.vault(), found)?;
    events::check(archive, found)?;
    order(archive, found)?;
    Ok(signatures)
}

/// Does each root follow the one that stands before it? One that was put back stands where none should be.
fn order(archive: &Archive, found: &mut Findings) -> Result<()> {
    for pair in archive.snapshots()?.windows(2) {
        let [earlier, later] = pair else { continue };
        if later.root.previous != Some(earlier.digest) {
            found.warnings.push(format!(
                "snapshot {} does not follow {}, which stands before it: that one was put back, or damaged when the other was made",
                later.id, earlier.id
            ));
        }
    }
    Ok(())
}
