//! What opens an encrypted archive: the options that every command has that reads one.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use crate::archive::Archive;
use crate::error::Result;
use crate::net::Secret;
use crate::store::LocalStore;
use crate::vault::{self, Keys};

/// Secrets come from files or from the terminal, so that no list of processes shows them.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// File with an age key of one of the recipients of an encrypted archive; may be given again
    #[arg(long = "identity", value_name = "FILE", env = "FLOE_IDENTITY", hide_env_values = true)]
    identities: Vec<PathBuf>,
    /// File whose first line is the passphrase of an encrypted archive; on a terminal it is asked for
    #[arg(long, value_name = "FILE", env = "FLOE_PASSPHRASE_FILE", hide_env_values = true)]
    passphrase_file: Option<PathBuf>,
}

impl KeyArgs {
    /// For a command in which these options have other names.
    pub(super) fn of(identities: Vec<PathBuf>, passphrase_file: Option<PathBuf>) -> Self {
        KeyArgs { identities, passphrase_file }
    }

    /// Opens the archive.
    pub(super) fn open(&self, archive: &Path) -> Result<Archive> {
        Archive::open_with(archive, &self.keys(archive)?)
    }

    /// Opens the archive for what needs no key; locked when none was given.
    pub(super) fn open_or_locked(&self, archive: &Path) -> Result<Archive> {
        let passphrase = self.passphrase_file.as_deref().map(Secret::from_file).transpose()?;
        Archive::open_or_locked(archive, &Keys::new(&self.identities, passphrase)?)
    }

    /// What was given, and what was asked for because it is needed.
    pub(super) fn keys(&self, archive: &Path) -> Result<Keys> {
        self.asking(|| self.needs_passphrase(archive))
    }

    /// The same for a folder of which nothing is known, such as what is left of an archive.
    pub(super) fn keys_for_heap(&self, folder: &Path) -> Result<Keys> {
        self.asking(|| Ok(self.is_encrypted() || self.identities.is_empty() && folder.join(vault::KEY_FILE).is_file()))
    }

    fn asking(&self, needs_passphrase: impl FnOnce() -> Result<bool>) -> Result<Keys> {
        let passphrase = match &self.passphrase_file {
            Some(file) => Some(Secret::from_file(file)?),
            None if std::io::stdin().is_terminal() && needs_passphrase()? => Some(Secret::ask("Passphrase: ")?),
            None => None,
        };
        Keys::new(&self.identities, passphrase)
    }

    /// Is one of the files with a key encrypted itself?
    fn is_encrypted(&self) -> bool {
        self.identities.iter().any(|file| Keys::is_encrypted(file))
    }

    fn needs_passphrase(&self, archive: &Path) -> Result<bool> {
        let store = LocalStore::new(archive);
        Ok(self.is_encrypted() || self.identities.is_empty() && vault::is_encrypted(&store)? && vault::has_passphrase(&store)?)
    }
}
