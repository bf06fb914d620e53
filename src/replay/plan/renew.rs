//! A plan for a later snapshot of the same archive: what people decided before stays, what is new is added.

use super::{AccountPlan, Plan};
use crate::archive::Archive;
use crate::error::{Error, Result};

/// Takes what was decided in `old` over into a plan that was drafted for another snapshot.
///
/// # Errors
/// `Kind::Usage` when the old plan was made for another archive.
pub fn renew(archive: &Archive, mut drafted: Plan, old: Plan) -> Result<Plan> {
    if !archive.snapshots()?.iter().any(|s| s.id == old.snapshot && s.digest == old.root) {
        return Err(Error::usage("the plan was made for another archive")
            .with("snapshot", &old.snapshot)
            .hint("make a new plan"));
    }
    for account in &mut drafted.accounts {
        // Who has no mail in the archive is known by the address.
        let same = |a: &&AccountPlan| a.source == account.source && (!a.source.is_empty() || a.target == account.target);
        if let Some(before) = old.accounts.iter().find(same) {
            take_over(account, before);
        }
    }
    let Plan { to, imap, dav, login, domains, domain_aliases, .. } = old;
    Ok(Plan { to, imap, dav, login, domains, domain_aliases, ..drafted })
}

fn take_over(account: &mut AccountPlan, before: &AccountPlan) {
    let AccountPlan { target, create, skip, name, aliases, quota, details, .. } = before.clone();
    *account = AccountPlan { target, create, skip, name, aliases, quota, details, ..account.clone() };
    for folder in &mut account.folders {
        if let Some(decided) = before.folders.iter().find(|f| f.from == folder.from && f.part == folder.part) {
            folder.to.clone_from(&decided.to);
            folder.skip = decided.skip;
        }
    }
}
