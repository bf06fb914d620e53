//! How replay, validate and the doctor enter accounts over DAV, and the carrying of one account.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::replay::earlier;
use super::target::Access;
use crate::archive::{AccountEntry, Archive, Snapshot};
use crate::dav::{Client, Homes};
use crate::error::{Error, Kind, Result};
use crate::imap::{Connection, Settings};
use crate::model::{CollectionKind, printable};
use crate::monitor::Monitor;
use crate::net::{Address, Pace, Scheme, Secret, patiently};
use crate::replay::Filled;
use crate::replay::groupware::{DavJob, fill, held, name_refused};
use crate::replay::journal::Journal;
use crate::replay::plan::{AccountPlan, Login, Part, Plan};
use crate::replay::sheet::DavSheet;

/// Users' own passwords.
#[derive(Debug, clap::Args)]
pub(super) struct Passwords {
    /// CSV of addresses and passwords, as floe provision writes it: calendars, contacts and files are entered as their users
    #[arg(long, value_name = "FILE")]
    passwords: Option<PathBuf>,
}

/// How the users of a target are entered over DAV.
pub(super) struct Dav<'a> {
    address: Option<Address>,
    access: &'a Access,
    login: Login,
    password: &'a Secret,
    own: HashMap<String, Secret>,
}

/// The DAV address of a target; an IMAP server alone has none.
pub(super) fn dav_address(to: &Address, given: Option<&Address>) -> Option<Address> {
    let web = matches!(to.scheme, Scheme::Http | Scheme::Https);
    given.cloned().or_else(|| web.then(|| to.clone()))
}

impl<'a> Dav<'a> {
    /// As the plan and the person say.
    pub(super) fn of(plan: &Plan, access: &'a Access, password: &'a Secret, passwords: &Passwords) -> Result<Self> {
        let given = plan.dav.as_deref().map(str::parse).transpose()?;
        let address = dav_address(&plan.to.parse()?, given.as_ref());
        let own = passwords.passwords.as_deref().map_or_else(|| Ok(HashMap::new()), read_passwords)?;
        Ok(Dav { address, access, login: plan.login, password, own })
    }

    /// One account, with the password given for it.
    pub(super) fn of_account(address: Address, access: &'a Access, login: Login, password: &'a Secret) -> Self {
        Dav { address: Some(address), access, login, password, own: HashMap::new() }
    }

    /// Has the target any?
    pub(super) fn is_spoken(&self) -> bool {
        self.address.is_some()
    }

    /// Says at once when a server that these accounts go to is not there at all; later it would be waited for.
    pub(super) fn reach(&self, imap: &Settings, accounts: &[&AccountPlan], wants: impl Fn(Part) -> bool) -> Result<()> {
        let mut parts = accounts.iter().flat_map(|a| &a.folders).filter(|f| !f.skip && wants(f.part)).map(|f| f.part);
        let hinted = |e: Error, more: &str| match e.kind() {
            Kind::Unreachable => e.hint(format!("look at the address in the plan, and whether a firewall lets it through{more}")),
            _ => e,
        };
        if parts.clone().any(|part| part == Part::Mail) {
            Connection::reach(imap).map_err(|e| hinted(e, ""))?;
        }
        match &self.address {
            Some(address) if parts.any(|part| part != Part::Mail) => {
                Client::reach(address, &self.access.trust()?).map_err(|e| hinted(e, "; mail alone goes with replay --only mail"))
            }
            _ => Ok(()),
        }
    }

    /// The password of a user's own login.
    fn own_password(&self, user: &str) -> &Secret {
        self.own.get(&user.to_lowercase()).unwrap_or(self.password)
    }

    /// The password that opens a user's mailbox: the administrator's, or the user's own.
    pub(super) fn password_of(&self, user: &str) -> &Secret {
        if self.login == Login::Own { self.own_password(user) } else { self.password }
    }

    /// Enters a user's account, as that user: no way is known for an administrator to act for others over DAV.
    ///
    /// # Errors
    /// `Kind::Refused` when the user's password is not known.
    pub(super) fn enter(&self, user: &str) -> Result<(Client, Homes)> {
        let address = self.address.as_ref().ok_or_else(|| Error::usage("the target speaks no DAV"))?;
        let known = self.login == Login::Own
            || self.own.contains_key(&user.to_lowercase())
            || self.access.admin().is_ok_and(|admin| admin.eq_ignore_ascii_case(user));
        if !known {
            return Err(Error::new(Kind::Refused, "calendars, contacts and files are entered with the user's own password")
                .with("user", user)
                .hint("give it with --passwords: a CSV of addresses and passwords, such as floe provision writes"));
        }
        let login = crate::dav::Login { user: user.to_owned(), password: self.own_password(user).clone() };
        let mut client = Client::new(address.clone(), login, &self.access.trust()?)?;
        let homes = client.discover()?;
        Ok((client, homes))
    }

    /// Carries an account's calendars, contacts and files over.
    pub(super) fn carry(&self, run: &Carry<'_>, account: &AccountPlan, entry: &AccountEntry) -> Result<Filled> {
        let mut sum = Filled::default();
        let mut entered = None;
        for collection in run.archive.collections(entry)?.iter().filter(|c| c.head.kind != CollectionKind::Mail) {
            for folder in account.folders_of(&collection.head).filter(|f| (run.wants)(f.part)) {
                let since = match run.since {
                    Some(snapshot) => Some(match earlier(run.archive, snapshot, account, collection)? {
                        Some(before) => held(run.archive, &before, folder.part)?,
                        None => HashMap::new(),
                    }),
                    None => None,
                };
                let job = DavJob {
                    route: run.plan.route(account),
                    collection,
                    part: folder.part,
                    to: &folder.to.0,
                    largest: run.sheet.and_then(|s| s.largest_of(folder.part)),
                    since: since.as_ref(),
                    remove: run.remove,
                    pace: run.pace,
                };
                let (client, homes) = match &mut entered {
                    Some(entered) => entered,
                    None => entered.insert(patiently(run.monitor, &mut (), |()| 0, |()| self.enter(&account.target))?),
                };
                let mut filled = Filled::default();
                let progress = |filled: &Filled| filled.sent + filled.claimed;
                let done = patiently(run.monitor, &mut filled, progress, |filled| {
                    fill(run.archive, job, run.journal, client, homes, filled, run.monitor)
                });
                match done {
                    // The folder cannot be had; the others can.
                    Err(e) if matches!(e.kind(), Kind::Refused | Kind::Protocol | Kind::Usage) => {
                        run.monitor.note(&format!("{}: {e}", printable(&folder.to.to_string())));
                        name_refused(run.archive, job, run.journal, &mut filled, &e, run.monitor)?;
                    }
                    done => done?,
                }
                sum.add(filled);
            }
        }
        Ok(sum)
    }
}

/// What a run of replay has for all accounts.
pub(super) struct Carry<'a> {
    pub archive: &'a Archive,
    pub plan: &'a Plan,
    pub journal: &'a Journal,
    pub sheet: Option<&'a DavSheet>,
    /// Only what changed since this snapshot.
    pub since: Option<&'a Snapshot>,
    pub remove: bool,
    pub pace: &'a Pace,
    pub wants: &'a dyn Fn(Part) -> bool,
    pub monitor: &'a dyn Monitor,
}

/// Addresses and passwords; of an address that is there twice, the last one.
fn read_passwords(path: &Path) -> Result<HashMap<String, Secret>> {
    let failed = || Error::usage("this is no CSV of addresses and passwords").with("path", path.display());
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).map_err(|e| failed().because(e))?;
    let mut all = HashMap::new();
    for row in reader.records() {
        // The cause would repeat the line, and with it a password.
        let row = row.map_err(|_| failed())?;
        let (Some(address), Some(password)) = (row.get(0), row.get(1)) else { return Err(failed()) };
        all.insert(address.trim().to_lowercase(), Secret::new(password));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_password_file_is_refused_without_repeating_it() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "Ann@x.test,hunter2\nbob@x.test,\"a,b\"\n").expect("write");
        let all = read_passwords(file.path()).expect("passwords");
        assert_eq!((all["ann@x.test"].expose(), all["bob@x.test"].expose()), ("hunter2", "a,b"));
        std::fs::write(file.path(), "ann@x.test,hunter2\nhunter3\n").expect("write");
        let refused = read_passwords(file.path()).map(drop).expect_err("refused");
        assert!(!format!("{refused:?}{refused}").contains("hunter"), "{refused}");
    }
}
