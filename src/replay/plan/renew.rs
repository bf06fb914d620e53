//! A plan for a later snapshot of the same archive: what people decided before stays, what is new is added.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::Serialize;

use super::{AccountPlan, Details, Plan};
use crate::archive::{Archive, Snapshot};
use crate::directory::domain_of;
use crate::error::{Error, Result};

/// What is otherwise in a plan than in the one that it was made out of, or why it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whose it is: the account's address on the target, or the domain.
    pub of: String,
    /// What has become of what.
    pub what: String,
}

/// Takes what was decided in `old` over into a plan that was drafted for another snapshot, and says what is not as it was. `draft` drafts a
/// plan as it was drafted for the old one: by it decisions are told from what was proposed.
///
/// # Errors
/// `Kind::Usage` when the old plan was made for another archive; those of `draft`.
pub fn renew(
    archive: &Archive,
    mut drafted: Plan,
    old: Plan,
    draft: &dyn Fn(&Snapshot) -> Result<Plan>,
) -> Result<(Plan, Vec<Change>)> {
    let snapshots = archive.snapshots()?;
    let Some(snapshot) = snapshots.iter().find(|s| s.id == old.snapshot && s.digest == old.root) else {
        return Err(Error::usage("the plan was made for another archive")
            .with("snapshot", &old.snapshot)
            .hint("make a new plan"));
    };
    let proposed = draft(snapshot)?;
    // A snapshot that was made without a directory does not say that nobody has an alias any more.
    let says_who = snapshots.iter().any(|s| s.id == drafted.snapshot && s.root.directory.is_some());
    let mut changes = Vec::new();
    for account in &mut drafted.accounts {
        match find(&old, account) {
            Some(before) => {
                let mut merge = Merge { of: &before.target, changes: &mut changes };
                let proposed = if says_who { find(&proposed, account) } else { None };
                let nothing = AccountPlan::without_mail(&account.target);
                let now = if says_who { account.clone() } else { nothing.clone() };
                take_over(account, before, &now, proposed.unwrap_or(&nothing), &mut merge);
            }
            None => changes.push(Change { of: account.target.clone(), what: "is a new account".to_owned() }),
        }
    }
    keep_apart(&mut drafted.accounts, &old, &mut changes);
    for gone in old.accounts.iter().filter(|account| find(&drafted, account).is_none()) {
        changes.push(Change { of: gone.target.clone(), what: "is not in the snapshot any more, so it left the plan".to_owned() });
    }
    let used: BTreeSet<String> =
        drafted.accounts.iter().filter(|a| !a.skip).map(|a| domain_of(&a.target).to_lowercase()).collect();
    let names = |plan: &Plan| -> BTreeMap<String, ()> { plan.domains.iter().map(|d| (d.to_lowercase(), ())).collect() };
    let (before, now) = (names(&old), names(&drafted));
    let domains = merge(before.clone(), &names(&proposed), now, |domain| used.contains(domain));
    for new in domains.keys().filter(|domain| !before.contains_key(*domain)) {
        changes.push(Change { of: new.clone(), what: "is a new domain".to_owned() });
    }
    let aliases = merge(old.domain_aliases, &proposed.domain_aliases, drafted.domain_aliases, |_| false);
    // Not both at once, whatever the directory says now.
    let domain_aliases: BTreeMap<_, _> = aliases.into_iter().filter(|(alias, _)| !domains.contains_key(alias)).collect();
    let Plan { to, imap, dav, login, .. } = old;
    Ok((Plan { to, imap, dav, login, domains: domains.into_keys().collect(), domain_aliases, ..drafted }, changes))
}

/// The same account in another plan. Who has no mail in the archive is known by the address.
fn find<'a>(plan: &'a Plan, account: &AccountPlan) -> Option<&'a AccountPlan> {
    plan.accounts.iter().find(|a| a.source == account.source && (!a.source.is_empty() || a.target == account.target))
}

/// Takes an alias that is new out again where somebody else has that address by the old plan: an address is one account's only.
fn keep_apart(accounts: &mut [AccountPlan], old: &Plan, changes: &mut Vec<Change>) {
    let mut decided = BTreeMap::new();
    for account in accounts.iter().filter(|a| !a.skip) {
        let had = |alias: &&String| find(old, account).is_some_and(|before| before.aliases.contains(alias));
        for address in std::iter::once(&account.target).chain(account.aliases.iter().filter(had)) {
            decided.insert(address.to_lowercase(), account.target.clone());
        }
    }
    for account in accounts.iter_mut().filter(|a| !a.skip) {
        account.aliases.retain(|alias| match decided.get(&alias.to_lowercase()) {
            Some(other) if *other != account.target => {
                let what = format!("alias {alias}: not taken in, since the plan gives it to {other}");
                changes.push(Change { of: account.target.clone(), what });
                false
            }
            _ => true,
        });
    }
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

/// Gives the drafted account what was decided before, and of what the source says `now` only what it did not say when it was `proposed`.
fn take_over(account: &mut AccountPlan, before: &AccountPlan, now: &AccountPlan, proposed: &AccountPlan, merge: &mut Merge<'_>) {
    account.target.clone_from(&before.target);
    (account.create, account.skip) = (before.create, before.skip);
    for folder in &mut account.folders {
        if let Some(decided) = before.folders.iter().find(|f| f.from == folder.from && f.part == folder.part) {
            folder.to.clone_from(&decided.to);
            folder.skip = decided.skip;
        }
    }
    account.name = merge.value("name", &before.name, &now.name, &proposed.name);
    account.aliases = merge.set("alias", &before.aliases, &now.aliases, &proposed.aliases);
    account.quota = merge.value("quota", &before.quota, &now.quota, &proposed.quota);
    account.details = merge.details(&before.details, &now.details, &proposed.details);
}

/// Brings together what the plan has, what the source says now, and what it said when the plan was made.
struct Merge<'a> {
    of: &'a str,
    changes: &'a mut Vec<Change>,
}

impl Merge<'_> {
    fn say(&mut self, what: String) {
        self.changes.push(Change { of: self.of.to_owned(), what });
    }

    fn details(&mut self, before: &Details, now: &Details, proposed: &Details) -> Details {
        let kind = before.kind;
        if now.kind != proposed.kind && now.kind != kind {
            // A list has no quota and a user no members: what fits together is for people to say.
            self.say(format!("type: left as it is in the plan, though the source says {} now", now.kind.word()));
            return before.clone();
        }
        Details {
            kind,
            given_name: self.value("given name", &before.given_name, &now.given_name, &proposed.given_name),
            family_name: self.value("family name", &before.family_name, &now.family_name, &proposed.family_name),
            card: self.value("card", &before.card, &now.card, &proposed.card),
            disabled: self.value("disabled", &before.disabled, &now.disabled, &proposed.disabled),
            members: self.set("member", &before.members, &now.members, &proposed.members),
            owners: self.set("owner", &before.owners, &now.owners, &proposed.owners),
            forward: self.value("forward", &before.forward, &now.forward, &proposed.forward),
            responder: self.value("responder", &before.responder, &now.responder, &proposed.responder),
            rights: self.value("rights", &before.rights, &now.rights, &proposed.rights),
            rules: self.value("rules", &before.rules, &now.rules, &proposed.rules),
        }
    }

    /// What the source says now, if nobody edited what it said before.
    fn value<T: Clone + PartialEq>(&mut self, name: &str, before: &T, now: &T, proposed: &T) -> T {
        if now == proposed || now == before {
            return before.clone();
        }
        if before == proposed {
            self.say(format!("{name}: as the source has it now"));
            return now.clone();
        }
        self.say(format!("{name}: left as it was edited, though the source has changed"));
        before.clone()
    }

    /// What the plan has, without what left the source, and with what is new there.
    fn set<C, T>(&mut self, name: &str, before: &C, now: &C, proposed: &C) -> C
    where
        for<'c> &'c C: IntoIterator<Item = &'c T>,
        C: FromIterator<T>,
        T: Clone + PartialEq + Display + 'static,
    {
        let has = |all: &C, one: &T| all.into_iter().any(|other| other == one);
        let (gone, stays): (Vec<&T>, Vec<&T>) = before.into_iter().partition(|one| has(proposed, one) && !has(now, one));
        let new: Vec<&T> = now.into_iter().filter(|one| !has(proposed, one) && !has(before, one)).collect();
        gone.iter().for_each(|one| self.say(format!("{name} {one}: left, as it did at the source")));
        new.iter().for_each(|one| self.say(format!("{name} {one}: new")));
        stays.into_iter().chain(new).cloned().collect()
    }
}
