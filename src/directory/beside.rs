//! Directory files that servers keep beside the mail: `dovecot-acl` in the folders of a Maildir, `.dovecot.sieve` on top of an account.

use std::path::{Path, PathBuf};

use super::file::Format;
use crate::source::{self, AccountSource};

/// A directory file that was found beside an account's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The account that it lies beside, as the archive calls it.
    pub store: String,
    /// The file.
    pub path: PathBuf,
    /// What it is, by its name and place.
    pub format: Format,
    /// The folder that it lies in; of ACL files.
    pub folder: Vec<String>,
}

/// What lies beside the mail of an account. Only names and places that mean one thing are taken.
pub fn beside(account: &AccountSource) -> Vec<Beside> {
    let found = |path: PathBuf, format, folder| Beside { store: account.account.clone(), path, format, folder };
    let maildirs =
        account.readers.iter().filter(|r| matches!(r.format(), source::Format::MaildirPlusPlus | source::Format::MaildirFs));
    let mut all = Vec::new();
    let mut scripts = vec![account.root.join(SCRIPT)];
    for reader in maildirs {
        scripts.push(reader.root().join(SCRIPT));
        // A store that cannot be listed is an exception of the snapshot itself.
        for head in reader.collections().unwrap_or_default() {
            // Places begin at the account's folder.
            let path = account.root.join(&head.source_path).join("dovecot-acl");
            if is_file(&path) {
                all.push(found(path, Format::Acl, head.path.0));
            }
        }
    }
    scripts.dedup();
    all.extend(scripts.into_iter().filter_map(|path| script(&path, &account.root)).map(|p| found(p, Format::Sieve, Vec::new())));
    all
}

/// The script that a server runs for an account.
const SCRIPT: &str = ".dovecot.sieve";

/// The script itself, or where its link leads: ManageSieve links the active script. A link out of the account is not followed.
fn script(path: &Path, root: &Path) -> Option<PathBuf> {
    if is_file(path) {
        return Some(path.to_owned());
    }
    let (target, root) = (path.canonicalize().ok()?, root.canonicalize().ok()?);
    (target.starts_with(&root) && is_file(&target)).then_some(target)
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_file())
}
