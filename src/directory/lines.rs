//! The directory as an object of the archive: JSON Lines, each with its `type` (docs/format.md section 6).

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::model::{Account, Contradiction, Directory, Domain, FileNote, Unmapped};
use super::names::Address;
use crate::archive::{Archive, ListingWriter, Writer, line};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;

/// The version that this code writes.
const VERSION: u32 = 1;
/// Largest directory that is read back into memory.
const MAX_BYTES: usize = 2 << 30;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line {
    Directory {
        version: u32,
    },
    File(FileNote),
    Domain {
        name: String,
        #[serde(flatten)]
        domain: Domain,
    },
    Account {
        address: Address,
        #[serde(flatten)]
        account: Box<Account>,
    },
    Contradiction(Contradiction),
    Unmapped(Unmapped),
    HomelessStore {
        store: String,
    },
    /// What a later version may add.
    #[serde(other)]
    Other,
}

/// Stores the directory; the object that a root names.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be written.
pub fn store(directory: &Directory, writer: &mut Writer) -> Result<Digest> {
    let mut listing = ListingWriter::default();
    for one in lines_of(directory) {
        listing.push(writer, &line(&one)?)?;
    }
    listing.finish(writer)
}

/// Gives each line as it lies in the archive.
///
/// # Errors
/// Those of `each`.
pub fn each_line(directory: &Directory, each: &mut dyn FnMut(&serde_json::Value) -> Result<()>) -> Result<()> {
    for one in lines_of(directory) {
        let value = serde_json::to_value(&one)
            .map_err(|e| Error::new(Kind::Internal, "cannot write the directory's lines").because(e))?;
        each(&value)?;
    }
    Ok(())
}

fn lines_of(directory: &Directory) -> impl Iterator<Item = Line> {
    let Directory { domains, accounts, contradictions, unmapped, files, homeless_stores } = directory.clone();
    std::iter::once(Line::Directory { version: VERSION })
        .chain(files.into_iter().map(Line::File))
        .chain(domains.into_iter().map(|(name, domain)| Line::Domain { name, domain }))
        .chain(accounts.into_iter().map(|(address, account)| Line::Account { address, account: Box::new(account) }))
        .chain(contradictions.into_iter().map(Line::Contradiction))
        .chain(unmapped.into_iter().map(Line::Unmapped))
        .chain(homeless_stores.into_iter().map(|store| Line::HomelessStore { store }))
}

/// Reads the directory that a root names.
///
/// # Errors
/// `Kind::Damage` when the object is missing, damaged or of a version that this code does not know.
pub fn load(archive: &Archive, object: Digest) -> Result<Directory> {
    let mut bytes = Bounded(Vec::new());
    archive.copy(object, &mut bytes)?;
    let mut directory = Directory::default();
    for text in bytes.0.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let malformed = |e| Error::damage("the directory has a malformed line").because(e).with("object", object);
        match serde_json::from_slice::<Line>(text).map_err(malformed)? {
            Line::Directory { version: VERSION } | Line::Other => {}
            Line::Directory { version } => {
                return Err(Error::damage(format!("a directory of version {version}")).hint("a newer floe can read it"));
            }
            Line::File(note) => directory.files.push(note),
            Line::Domain { name, domain } => drop(directory.domains.insert(name, domain)),
            Line::Account { address, account } => drop(directory.accounts.insert(address, *account)),
            Line::Contradiction(contradiction) => directory.contradictions.push(contradiction),
            Line::Unmapped(unmapped) => directory.unmapped.push(unmapped),
            Line::HomelessStore { store } => drop(directory.homeless_stores.insert(store)),
        }
    }
    Ok(directory)
}

/// Takes no more than a directory may have.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
