//! A plan for a later snapshot of the same archive: what people decided before stays, what is new is added.

use std::collections::{BTreeMap, BTreeSet};

use super::{AccountPlan, Plan};
use crate::archive::{Archive, Snapshot};
use crate::directory::domain_of;
use crate::error::{Error, Result};

/// Takes what was decided in `old` over into a plan that was drafted for another snapshot. `draft` drafts a plan as it was drafted for the
/// old one: by it decisions are told from what was proposed.
///
/// # Errors
/// `Kind::Usage` when the old plan was made for another archive; those of `draft`.
pub fn renew(archive: &Archive, mut drafted: Plan, old: Plan, draft: &dyn Fn(&Snapshot) -> Result<Plan>) -> Result<Plan> {
    let snapshots = archive.snapshots()?;
    let Some(snapshot) = snapshots.iter().find(|s| s.id == old.snapshot && s.digest == old.root) else {
        return Err(Error::usage("the plan was made for another archive")
            .with("snapshot", &old.snapshot)
            .hint("make a new plan"));
    };
    let proposed = draft(snapshot)?;
    for account in &mut drafted.accounts {
        // Who has no mail in the archive is known by the address.
        let same = |a: &&AccountPlan| a.source == account.source && (!a.source.is_empty() || a.target == account.target);
        if let Some(before) = old.accounts.iter().find(same) {
            take_over(account, before);
        }
    }
    let used: BTreeSet<String> =
        drafted.accounts.iter().filter(|a| !a.skip).map(|a| domain_of(&a.target).to_lowercase()).collect();
    let names = |plan: &Plan| -> BTreeMap<String, ()> { plan.domains.iter().map(|d| (d.to_lowercase(), ())).collect() };
    let domains = merge(names(&old), &names(&proposed), names(&drafted), |domain| used.contains(domain));
    let aliases = merge(old.domain_aliases, &proposed.domain_aliases, drafted.domain_aliases, |_| false);
    // Not both at once, whatever the directory says now.
    let domain_aliases: BTreeMap<_, _> = aliases.into_iter().filter(|(alias, _)| !domains.contains_key(alias)).collect();
    let Plan { to, imap, dav, login, .. } = old;
    Ok(Plan { to, imap, dav, login, domains: domains.into_keys().collect(), domain_aliases, ..drafted })
}

/// What people had, without what was proposed then and is gone at the source now, unless it is used; with what is proposed now and was not
/// then.
fn merge<T>(
    old: BTreeMap<String, T>,
    proposed: &BTreeMap<String, T>,
    now: BTreeMap<String, T>,
    is_used: impl Fn(&str) -> bool,
) -> BTreeMap<String, T> {
    let gone = |name: &String| proposed.contains_key(name) && !now.contains_key(name) && !is_used(name);
    let mut merged: BTreeMap<String, T> = old.into_iter().filter(|(name, _)| !gone(name)).collect();
    for (name, value) in now.into_iter().filter(|(name, _)| !proposed.contains_key(name)) {
        merged.entry(name).or_insert(value);
    }
    merged
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
