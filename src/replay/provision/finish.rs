//! What comes last, when the mail is there: rights, which need their folders; and what would act on the mail that is being sent, or lock
//! somebody out: rules, forwards, responders, disabled accounts.

use std::collections::BTreeMap;

use super::accounts::property;
use super::{Ended, Provisioned, insist};
use crate::directory::{Address, FolderRights, Responder, Who, domain_of};
use crate::error::Result;
use crate::icewarp::api::{Api, Element, Folder, Right};
use crate::model::CollectionPath;
use crate::replay::plan::AccountPlan;
use crate::replay::rules;

/// Counts what of an account waits.
pub(super) fn count(account: &AccountPlan, waiting: &mut BTreeMap<&'static str, u64>) {
    let details = &account.details;
    for (what, count) in [
        ("rights", details.rights.len()),
        ("rules", details.rules.len()),
        ("forwards", usize::from(details.forward.is_some())),
        ("responders", usize::from(details.responder.is_some())),
        ("accounts to be disabled", usize::from(details.disabled)),
    ] {
        if count > 0 {
            *waiting.entry(what).or_default() += count as u64;
        }
    }
}

/// Writes it.
pub(super) fn finish(account: &AccountPlan, api: &mut Api, done: &mut Provisioned) -> Result<()> {
    let details = &account.details;
    rights(account, api, done)?;
    filters(account, api, done)?;
    if let Some(forward) = details.forward.as_ref().filter(|f| !f.to.is_empty()) {
        let to: Vec<&str> = forward.to.iter().map(Address::as_str).collect();
        property(account, "U_ForwardTo", to.join(";"), api, done)?;
    }
    if let Some(responder) = &details.responder {
        let wanted = responder_element(account, responder);
        let ended = insist(
            api,
            &mut |api| Ok(api.properties(&account.target, &["A_Responder"])?.get("a_responder").is_some_and(|r| r.says(&wanted))),
            &mut |api| api.set_properties(&account.target, &[("A_Responder", wanted.clone())]),
        )?;
        done.note(&account.target, "responder", ended);
    }
    if details.disabled {
        property(account, "U_AccountDisabled", "1".to_owned(), api, done)?;
    }
    Ok(())
}

fn responder_element(account: &AccountPlan, responder: &Responder) -> Element {
    let subject = responder.subject.as_deref().unwrap_or_default();
    let from = responder.from.as_deref().unwrap_or(&account.target);
    // A day is written as the server writes days elsewhere.
    let day = |day: &Option<String>| day.as_deref().unwrap_or_default().replace('-', "/");
    // 2 answers everybody once, 3 again after so many days.
    let (kind, period) = responder.days.map_or(("2", 0), |days| ("3", days));
    let message = vec![
        Element::text("classname", "TAccountResponderMessage"),
        Element::text("from", from),
        Element::text("subject", subject),
        Element::text("text", &*responder.text),
    ];
    Element::of(
        "propertyval",
        vec![
            Element::text("classname", "TAccountResponder"),
            Element::of("norespond", vec![Element::text("classname", "TPropertyStringList"), Element::of("val", Vec::new())]),
            Element::of("respondermessage", message),
            Element::text("respondertype", kind),
            Element::text("respondperiod", period.to_string()),
            Element::text("respondbetweenfrom", day(&responder.first_day)),
            Element::text("respondbetweento", day(&responder.last_day)),
            Element::text("respondonlyiftome", "1"),
        ],
    )
}

/// Rights, folder by folder, since a folder's list is written whole.
pub(super) fn rights(account: &AccountPlan, api: &mut Api, done: &mut Provisioned) -> Result<()> {
    if account.details.rights.is_empty() {
        return Ok(());
    }
    let folders = api.folders(&account.target)?;
    let mut by_folder: BTreeMap<&[String], Vec<Right>> = BTreeMap::new();
    for right in &account.details.rights {
        // The owner may do everything, there and here.
        by_folder.entry(&right.folder).or_default().extend(right_of(account, right));
    }
    for (path, wanted) in by_folder.into_iter().filter(|(_, wanted)| !wanted.is_empty()) {
        let shown = CollectionPath(path.to_vec());
        let target = rules::target_folder(account, path);
        match folders.iter().find(|f| is_folder(f, &target)) {
            Some(folder) => {
                let ended = folder_rights(account, &folder.id, &wanted, api)?;
                done.note(&account.target, &format!("rights of {shown}"), ended);
            }
            None => done.refuse(&account.target, format!("rights of {shown}: the folder is not there; replay its mail first")),
        }
    }
    Ok(())
}

fn right_of(account: &AccountPlan, right: &FolderRights) -> Option<Right> {
    let who = match &right.who {
        Who::User(address) | Who::Group(address) => address.as_str().to_owned(),
        Who::Authenticated => format!("[{}]", domain_of(&account.target)),
        Who::Anyone => "anyone".to_owned(),
        Who::Owner => return None,
    };
    Some(Right { account: who.to_lowercase(), letters: right.letters.clone() })
}

/// Is it that mail folder? An empty path is the account itself; the inbox has its name in any case.
fn is_folder(folder: &Folder, path: &[String]) -> bool {
    let same = |a: &String, b: &String| a == b || a.eq_ignore_ascii_case("INBOX") && b.eq_ignore_ascii_case("INBOX");
    let letter = if path.is_empty() { "X" } else { "M" };
    folder.letter == letter && folder.path.len() == path.len() && folder.path.iter().zip(path).all(|(a, b)| same(a, b))
}

fn folder_rights(account: &AccountPlan, folder: &str, wanted: &[Right], api: &mut Api) -> Result<Ended> {
    insist(
        api,
        &mut |api| {
            let there = api.rights(&account.target, folder)?;
            Ok(wanted.iter().all(|w| there.iter().any(|t| t.account == w.account && same_letters(&t.letters, &w.letters))))
        },
        &mut |api| {
            let mut all = api.rights(&account.target, folder)?;
            all.retain(|t| !wanted.iter().any(|w| w.account == t.account));
            all.extend(wanted.iter().cloned());
            api.set_rights(&account.target, folder, &all)
        },
    )
}

fn same_letters(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.chars().all(|c| b.contains(c))
}

/// Filters in their order. One that cannot be made ends it: those after it would act on mail that it should have taken.
fn filters(account: &AccountPlan, api: &mut Api, done: &mut Provisioned) -> Result<()> {
    let mut left: Vec<Element> = Vec::new();
    let mut fresh = true;
    for rule in &account.details.rules {
        let Ok(wanted) = rules::element(rule, account) else {
            done.refuse(&account.target, format!("rule {}: the server has no such rules, as the forecast says", rule.title));
            continue;
        };
        if std::mem::take(&mut fresh) {
            left = api.rules(&account.target)?;
        }
        // A rule that is there counts for one of the plan's.
        if let Some(at) = left.iter().position(|there| there.says(&wanted)) {
            left.remove(at);
            done.as_planned += 1;
            continue;
        }
        let before = api.rules(&account.target)?.iter().filter(|r| r.says(&wanted)).count();
        let ended = insist(
            api,
            &mut |api| Ok(api.rules(&account.target)?.iter().filter(|r| r.says(&wanted)).count() > before),
            &mut |api| match api.add_rule(&account.target, &wanted) {
                Err(e) if e.kind().is_transient() => Ok(false),
                done => done,
            },
        )?;
        done.note(&account.target, &format!("rule {}", rule.title), ended);
        if ended == Ended::Refused {
            done.refuse(&account.target, "the rules after it were not made");
            break;
        }
    }
    Ok(())
}
