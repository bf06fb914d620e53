//! Accounts: made when missing, then named, described and given their addresses and members.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ended, Provisioned, insist, parts};
use crate::directory::{Address, Kind};
use crate::error::Result;
use crate::icewarp::api::{Api, Element, Property};
use crate::net::Secret;
use crate::replay::plan::{AccountPlan, Plan, has_mailbox};

/// Longest list of aliases that is written as one text.
const ALIAS_TEXT_MAX: usize = 255;

/// `U_Type` of an account.
fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::User | Kind::Shared => "0",
        Kind::List => "1",
        Kind::Group => "7",
        Kind::Room | Kind::Equipment => "8",
    }
}

/// The accounts of the plan's domains that the server has, each with its type.
pub(super) fn there(plan: &Plan, api: &mut Api) -> Result<BTreeMap<String, String>> {
    let domains: BTreeSet<String> = plan.accounts.iter().filter(|a| !a.skip).map(|a| parts(&a.target).1).collect();
    let known = api.domains()?;
    let mut there = BTreeMap::new();
    for domain in domains.iter().filter(|d| known.contains(d)) {
        there.extend(api.accounts(domain, "*")?);
    }
    Ok(there)
}

/// Addresses of the mailboxes that will be made, which need passwords.
pub(super) fn missing(plan: &Plan, there: &BTreeMap<String, String>) -> Vec<String> {
    let new =
        |a: &&AccountPlan| !a.skip && a.create && has_mailbox(a.details.kind) && !there.contains_key(&a.target.to_lowercase());
    plan.accounts.iter().filter(new).map(|a| a.target.to_lowercase()).collect()
}

/// Makes the account if it is missing; is it there now?
pub(super) fn make(
    account: &AccountPlan,
    there: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, Secret>,
    api: &mut Api,
    done: &mut Provisioned,
) -> Result<bool> {
    let target = account.target.to_lowercase();
    let kind = type_of(account.details.kind);
    match there.get(&target) {
        Some(found) if !found.is_empty() && found != kind => {
            done.refuse(&account.target, format!("the address belongs to an account of type {found}, not {kind}"));
            return Ok(false);
        }
        Some(_) => {
            done.there.push(account.target.clone());
            return Ok(true);
        }
        None if !account.create => {
            done.refuse(&account.target, "it is missing, and the plan says not to make it");
            return Ok(false);
        }
        None => {}
    }
    let (local, domain) = parts(&target);
    let mut properties: Vec<Property<'_>> = vec![
        ("U_Type", Element::string(kind)),
        ("U_Mailbox", Element::string(&*local)),
        ("U_Name", Element::string(account.name.as_deref().unwrap_or(&local))),
    ];
    if let Some(password) = secrets.get(&target) {
        // An account that may only use POP3 has no calendars: 1 is IMAP and POP3.
        properties.push(("U_AccountType", Element::string("1")));
        properties.push(("U_Password", Element::string(password.expose())));
        if account.quota.is_none() {
            properties.push(("U_MaxBox", Element::string("0")));
        }
    }
    let ended = insist(api, &mut |api| Ok(api.accounts(&domain, &local)?.contains_key(&target)), &mut |api| {
        api.create_account(&domain, &properties)
    })?;
    match ended {
        Ended::There | Ended::Written => {
            done.made.push(account.target.clone());
            Ok(true)
        }
        Ended::Refused => {
            done.refuse(
                &account.target,
                "the server took the account's data and did not make it: the licence may be used up, its address may be taken, or a \
                 policy forbids it; look in the server's console",
            );
            Ok(false)
        }
    }
}

/// Gives an account that is there what the plan says of it: name, card, quota, addresses, members.
pub(super) fn describe(plan: &Plan, account: &AccountPlan, api: &mut Api, done: &mut Provisioned) -> Result<()> {
    for (name, value) in wanted(account) {
        property(account, name, value, api, done)?;
    }
    card(account, api, done)?;
    aliases(plan, account, api, done)?;
    members(account, api, done)
}

/// Properties that the plan states; what it does not state stays as the server has it.
fn wanted(account: &AccountPlan) -> Vec<(&'static str, String)> {
    let details = &account.details;
    let first_owner = details.owners.first().map(|a| a.as_str().to_owned());
    let mut wanted = Vec::new();
    wanted.extend(account.name.clone().map(|name| ("U_Name", name)));
    match details.kind {
        Kind::User | Kind::Shared => {
            if let Some(bytes) = account.quota {
                wanted.extend([("U_MaxBox", "1".to_owned()), ("U_MaxBoxSize", bytes.div_ceil(1024).to_string())]);
            }
        }
        Kind::List => {
            // Its members are those in its own list.
            wanted.push(("M_SendAllLists", "0".to_owned()));
            wanted.extend(first_owner.map(|owner| ("M_OwnerAddress", owner)));
        }
        Kind::Group => wanted.extend(account.name.clone().map(|name| ("G_Name", name))),
        Kind::Room | Kind::Equipment => {
            wanted.push(("S_Type", if details.kind == Kind::Room { "0" } else { "1" }.to_owned()));
            wanted.extend(first_owner.map(|owner| ("S_Manager", owner)));
        }
    }
    wanted
}

/// One property: read, written where it differs, read again.
pub(super) fn property(
    account: &AccountPlan,
    name: &'static str,
    value: String,
    api: &mut Api,
    done: &mut Provisioned,
) -> Result<()> {
    let key = name.to_lowercase();
    let ended = insist(
        api,
        &mut |api| {
            Ok(api.properties(&account.target, &[name])?.get(&key).is_some_and(|found| found.value("val").trim() == value.trim()))
        },
        &mut |api| api.set_properties(&account.target, &[(name, Element::string(&*value))]),
    )?;
    done.note(&account.target, name, ended);
    Ok(())
}

/// The card. A card that is written has to be whole: what is left out of it is blanked.
fn card(account: &AccountPlan, api: &mut Api, done: &mut Provisioned) -> Result<()> {
    let details = &account.details;
    let mut fields: BTreeMap<&str, &str> = details.card.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    fields.extend(details.given_name.as_deref().map(|name| ("firstname", name)));
    fields.extend(details.family_name.as_deref().map(|name| ("lastname", name)));
    if fields.is_empty() {
        return Ok(());
    }
    let read = |api: &mut Api| {
        let mut found = api.properties(&account.target, &["A_VCard"])?;
        let empty = || Element::of("propertyval", vec![Element::text("classname", "TAccountCard")]);
        Ok::<Element, crate::Error>(found.remove("a_vcard").unwrap_or_else(empty))
    };
    let ended = insist(
        api,
        &mut |api| {
            let card = read(api)?;
            Ok(fields.iter().all(|(name, value)| card.value(name) == value.trim()))
        },
        &mut |api| {
            let mut card = read(api)?;
            for (name, value) in &fields {
                match card.children.iter_mut().find(|c| c.name == *name) {
                    Some(field) => (*value).clone_into(&mut field.text),
                    None => card.children.push(Element::text(name, *value)),
                }
            }
            api.set_properties(&account.target, &[("A_VCard", card)])
        },
    )?;
    done.note(&account.target, "card", ended);
    Ok(())
}

/// More addresses: in the account's own domain as aliases, elsewhere as lists with the account as their only member.
fn aliases(plan: &Plan, account: &AccountPlan, api: &mut Api, done: &mut Provisioned) -> Result<()> {
    let (local, _) = parts(&account.target);
    let mut own = BTreeSet::new();
    for alias in &account.aliases {
        let (name, domain) = parts(alias);
        if plan.is_own_domain(&account.target, &domain) {
            own.insert(name);
        } else if plan.domains.iter().any(|d| d.eq_ignore_ascii_case(&domain)) {
            elsewhere(account, alias, api, done)?;
        } else {
            done.refuse(&account.target, format!("the address {alias}: its domain is not among those of the plan"));
        }
    }
    own.remove(&local);
    if own.is_empty() {
        return Ok(());
    }
    // All at once; what is refused then is found one by one.
    if add_aliases(account, &local, &own, api)? == Ended::There {
        done.as_planned += 1;
        return Ok(());
    }
    let mut refused = Vec::new();
    for alias in &own {
        if add_aliases(account, &local, &BTreeSet::from([alias.clone()]), api)? == Ended::Refused {
            refused.push(alias.as_str());
        }
    }
    if refused.is_empty() {
        done.note(&account.target, "aliases", Ended::Written);
    } else {
        done.refuse(
            &account.target,
            format!("the server will not have these aliases, somebody may have them: {}", refused.join(", ")),
        );
    }
    Ok(())
}

fn add_aliases(account: &AccountPlan, local: &str, more: &BTreeSet<String>, api: &mut Api) -> Result<Ended> {
    insist(api, &mut |api| Ok(more.is_subset(&aliases_of(account, api)?)), &mut |api| {
        let before = aliases_of(account, api)?;
        // The first one is the address that mail is sent from.
        let mut all = vec![local.to_owned()];
        all.extend(before.union(more).filter(|a| *a != local).cloned());
        let text = all.join(";");
        let listed = api.set_properties(&account.target, &[("A_AliasList", Element::list(all))])?;
        if !more.is_subset(&aliases_of(account, api)?) && text.len() <= ALIAS_TEXT_MAX {
            return api.set_properties(&account.target, &[("U_Alias", Element::string(text))]);
        }
        Ok(listed)
    })
}

fn aliases_of(account: &AccountPlan, api: &mut Api) -> Result<BTreeSet<String>> {
    let found = api.properties(&account.target, &["A_AliasList", "U_Alias"])?;
    let listed = found.get("a_aliaslist").and_then(|v| v.child("val")).into_iter().flat_map(|val| &val.children);
    let mut aliases: BTreeSet<String> = listed.map(|item| item.text.trim().to_lowercase()).collect();
    let text = found.get("u_alias").map_or("", |v| v.value("val"));
    aliases.extend(text.split(';').filter(|a| !a.is_empty()).map(str::to_lowercase));
    Ok(aliases)
}

/// An address in another domain.
fn elsewhere(account: &AccountPlan, alias: &str, api: &mut Api, done: &mut Provisioned) -> Result<()> {
    let mut list = AccountPlan::without_mail(alias);
    list.name = Some(account.target.clone());
    list.details.kind = Kind::List;
    list.details.members.extend(Address::parse(&account.target));
    let there = api.accounts(&parts(alias).1, "*")?;
    if make(&list, &there, &BTreeMap::new(), api, done)? {
        property(&list, "M_SendAllLists", "0".to_owned(), api, done)?;
        members(&list, api, done)?;
    }
    Ok(())
}

fn members(account: &AccountPlan, api: &mut Api, done: &mut Provisioned) -> Result<()> {
    let wanted: BTreeSet<&str> = account.details.members.iter().map(Address::as_str).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let missing = |api: &mut Api| {
        let there = api.members(&account.target)?;
        Ok::<Vec<&str>, crate::Error>(wanted.iter().copied().filter(|m| !there.iter().any(|t| t == m)).collect())
    };
    let ended = insist(api, &mut |api| Ok(missing(api)?.is_empty()), &mut |api| {
        let some = missing(api)?;
        api.add_members(&account.target, &some)
    })?;
    match ended {
        Ended::Refused => {
            let left = missing(api)?.join(", ");
            done.refuse(&account.target, format!("the server does not keep these members: {left}"));
        }
        other => done.note(&account.target, "members", other),
    }
    Ok(())
}
