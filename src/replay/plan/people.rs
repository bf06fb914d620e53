//! The archive's directory in the plan: who gets which account, and what the server will not hold of it.

use std::collections::{BTreeMap, BTreeSet};

use super::forecast::{Cause, Foreseen};
use super::{AccountPlan, Details, Plan};
use crate::archive::{Archive, Snapshot};
use crate::directory::{self, Account, Address, Directory, Kind, MemberRole, Quota, Who};
use crate::error::Result;
use crate::replay::rules;

/// Domains that providers gave to their customers: nobody else can receive mail there.
const PROVIDERS: &[&str] = &["onmicrosoft.com", "test-google-a.com"];
/// Names that an IceWarp domain keeps for its administrator, unless `D_PostMaster` says otherwise.
const POSTMASTER: &[&str] = &["postmaster", "admin", "administrator", "supervisor", "hostmaster", "webmaster", "abuse"];

/// The directory that a snapshot names.
pub(super) fn directory_of(archive: &Archive, snapshot: &Snapshot) -> Result<Option<Directory>> {
    snapshot.root.directory.map(|object| directory::load(archive, object)).transpose()
}

/// Gives the plan's accounts what the directory says of them, and adds those that have no mail.
pub(super) fn join(directory: &Directory, plan: &mut Plan) {
    for (domain, about) in &directory.domains {
        plan.domain_aliases.extend(about.aliases.iter().map(|alias| (alias.clone(), domain.clone())));
    }
    let mut taken = BTreeSet::new();
    for account in &mut plan.accounts {
        let by_store = directory.accounts.iter().find(|(_, entry)| entry.stores.contains(&account.source));
        let by_name = || Address::parse(&account.target).and_then(|a| directory.accounts.get_key_value(&a));
        let Some((address, entry)) = by_store.or_else(by_name) else { continue };
        address.as_str().clone_into(&mut account.target);
        if !has_mailbox(entry.kind()) || !taken.insert(address) {
            // Its mail has no mailbox to go into, or another store of the same person goes there.
            account.skip = true;
            account.create = false;
            continue;
        }
        (account.create, account.skip) = (true, false);
        fill(account, address, entry, &plan.domain_aliases);
    }
    for (address, entry) in directory.accounts.iter().filter(|(a, _)| !taken.contains(a)) {
        let mut account = AccountPlan::without_mail(address.as_str());
        fill(&mut account, address, entry, &plan.domain_aliases);
        plan.accounts.push(account);
    }
    let used = plan.accounts.iter().filter(|a| !a.skip).flat_map(|a| std::iter::once(&a.target).chain(&a.aliases));
    let domains: BTreeSet<String> = used
        .map(|address| directory::domain_of(address).to_lowercase())
        .filter(|domain| !domain.is_empty() && !plan.domain_aliases.contains_key(domain))
        .collect();
    plan.domains = domains.into_iter().collect();
}

/// Has such an account a mailbox that mail can be replayed into?
pub fn has_mailbox(kind: Kind) -> bool {
    matches!(kind, Kind::User | Kind::Shared)
}

fn fill(account: &mut AccountPlan, address: &Address, entry: &Account, domain_aliases: &BTreeMap<String, String>) {
    let given = [&entry.given_name, &entry.family_name].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    account.name = entry.display_name.clone().or(Some(given).filter(|name| !name.is_empty()));
    let itself = |alias: &Address| {
        alias.local_part() == address.local_part()
            && domain_aliases.get(alias.domain()).is_some_and(|domain| domain == address.domain())
    };
    account.aliases = entry.aliases.iter().filter(|a| !itself(a) && !is_of_provider(a)).map(|a| a.as_str().to_owned()).collect();
    account.quota = match entry.quota {
        Some(Quota::Bytes(bytes)) => Some(bytes),
        Some(Quota::Unlimited) | None => None,
    };
    account.details = Details {
        kind: entry.kind(),
        given_name: entry.given_name.clone(),
        family_name: entry.family_name.clone(),
        card: entry.card.clone(),
        disabled: entry.disabled.unwrap_or(false),
        members: entry.members.keys().cloned().collect(),
        owners: entry.members.iter().filter(|(_, role)| **role >= MemberRole::Manager).map(|(a, _)| a.clone()).collect(),
        forward: entry.forward.clone(),
        responder: entry.responder.clone(),
        rights: entry.rights.clone(),
        rules: entry.rules.clone(),
    };
}

fn is_of_provider(address: &Address) -> bool {
    PROVIDERS.iter().any(|provider| address.domain().ends_with(provider))
}

/// Tells what the server will not hold of the directory and of the plan's accounts.
pub(super) fn forecast(
    archive: &Archive,
    snapshot: &Snapshot,
    plan: &Plan,
    tell: &mut dyn FnMut(Foreseen) -> Result<()>,
) -> Result<()> {
    let mut say = |account: &str, cause: Cause, detail: String| {
        tell(Foreseen { account: account.to_owned(), folder: None, item: None, source: None, cause, detail })
    };
    if let Some(directory) = directory_of(archive, snapshot)? {
        of_directory(&directory, &mut say)?;
    }
    let addresses: BTreeMap<String, &str> =
        plan.accounts.iter().filter(|a| !a.skip).map(|a| (a.target.to_lowercase(), a.target.as_str())).collect();
    for account in plan.accounts.iter().filter(|a| !a.skip) {
        of_account(plan, account, &addresses, &mut say)?;
    }
    Ok(())
}

type Say<'a> = &'a mut dyn FnMut(&str, Cause, String) -> Result<()>;

fn of_directory(directory: &Directory, say: Say<'_>) -> Result<()> {
    let formats: BTreeMap<&str, &str> = directory.files.iter().map(|f| (f.path.as_str(), f.format.as_str())).collect();
    for unmapped in &directory.unmapped {
        let cause = match formats.get(unmapped.file.as_str()) {
            Some(&"sieve") => Cause::RuleLost,
            Some(&"dovecot-acl") => Cause::RightLost,
            _ => Cause::EntryLost,
        };
        let account = unmapped.account.as_ref().map_or("", Address::as_str);
        say(account, cause, format!("{}: {}", unmapped.place(), unmapped.what))?;
    }
    for c in &directory.contradictions {
        let detail = format!("{}: {} ({}), not {} ({})", c.property, c.kept.value, c.kept.file, c.other.value, c.other.file);
        let cause = if c.property == "alias" { Cause::AddressClash } else { Cause::Contradiction };
        say(&c.subject, cause, detail)?;
    }
    for (address, account) in &directory.accounts {
        if account.had_password {
            say(address.as_str(), Cause::PasswordNew, "IceWarp takes no hashes".to_owned())?;
        }
        for alias in account.aliases.iter().filter(|a| is_of_provider(a)) {
            say(address.as_str(), Cause::AddressLost, alias.to_string())?;
        }
    }
    Ok(())
}

fn of_account(plan: &Plan, account: &AccountPlan, addresses: &BTreeMap<String, &str>, say: Say<'_>) -> Result<()> {
    let (who, details) = (account.target.as_str(), &account.details);
    for alias in &account.aliases {
        let (local, domain) = (directory::local_part(alias).to_lowercase(), directory::domain_of(alias).to_lowercase());
        if addresses.contains_key(&alias.to_lowercase()) {
            say(who, Cause::AddressClash, format!("{alias} is another account"))?;
        } else if POSTMASTER.contains(&local.as_str()) {
            say(who, Cause::AddressClash, format!("{alias}: IceWarp keeps such names for a domain's administrator"))?;
        } else if !plan.is_own_domain(who, &domain) {
            say(who, Cause::AliasAsList, alias.clone())?;
        }
    }
    for rule in &details.rules {
        if let Err(why) = rules::element(rule, account) {
            say(who, Cause::RuleLost, format!("{}: {why}", rule.title))?;
        }
    }
    for right in &details.rights {
        let folder = crate::model::CollectionPath(right.folder.clone());
        match &right.who {
            Who::Owner => say(who, Cause::RightLost, format!("{folder}: the owner may do everything"))?,
            Who::Authenticated => {
                say(
                    who,
                    Cause::RightChanged,
                    format!("{folder}: everybody of {} in place of everybody with an account", directory::domain_of(who)),
                )?;
            }
            _ => {}
        }
    }
    if details.owners.len() > 1 && details.kind == Kind::List {
        let others: Vec<&str> = details.owners.iter().skip(1).map(Address::as_str).collect();
        say(who, Cause::RightLost, format!("a list has one owner; not {}", others.join(", ")))?;
    }
    if details.forward.as_ref().is_some_and(|f| f.keep_copy == Some(false)) {
        say(who, Cause::ForwardChanged, "a copy stays, though none did".to_owned())?;
    }
    Ok(())
}
