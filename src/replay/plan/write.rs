//! The plan as a TOML file that a person reads and edits.

use std::fmt::Write as _;

use clap::ValueEnum as _;

use super::forecast::Summary;
use super::texts::{ForwardText, ResponderText, who_text};
use super::{AccountPlan, Details, Plan};
use crate::directory::Kind;
use crate::model::CollectionPath;

/// Version of the file.
pub(super) const VERSION: i64 = 1;

/// The plan's text. `summary` is told in comments: it follows from the plan and is worked out anew wherever it is needed.
pub fn write(plan: &Plan, summary: &Summary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_head(&mut text, plan, summary);
    for account in &plan.accounts {
        let _ = write_account(&mut text, account);
    }
    text
}

fn write_head(out: &mut String, plan: &Plan, summary: &Summary) -> std::fmt::Result {
    writeln!(out, "# What floe will do. Edit it, then run:  floe replay --plan THIS --dry-run")?;
    writeln!(out, "# Lines that begin with # are for you; floe does not read them.")?;
    writeln!(out, "#")?;
    writeln!(out, "# Forecast: what the target will not take as it is ({} of {} items).", summary.touched, summary.items)?;
    for (cause, count) in &summary.causes {
        writeln!(out, "#   {count:>8}  {}", cause.words())?;
    }
    if summary.causes.is_empty() {
        writeln!(out, "#          nothing: everything is expected to arrive as it is")?;
    }
    writeln!(out, "# The list, item by item, is in the forecast file beside this one.\n")?;
    writeln!(out, "[plan]")?;
    writeln!(out, "version = {VERSION}")?;
    writeln!(out, "archive = {}", quoted(&plan.archive))?;
    writeln!(out, "snapshot = {}", quoted(&plan.snapshot))?;
    writeln!(out, "root = \"{}\"  # SHA-256 of the snapshot's root file", plan.root)?;
    writeln!(out, "made = \"{}\"", plan.made)?;
    writeln!(out, "to = {}", quoted(&plan.to))?;
    for (name, value) in [("imap", &plan.imap), ("dav", &plan.dav)] {
        match value {
            Some(value) => writeln!(out, "{name} = {}", quoted(value))?,
            None => writeln!(out, "# {name} = \"...\"  # only when it is not on the usual port of the same host")?,
        }
    }
    let login = plan.login.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    writeln!(out, "login = \"{login}\"  # on-behalf (administrator for the user), master (Dovecot), own (each user's password)")?;
    writeln!(out, "domains = {}  # made when missing", list(&plan.domains))?;
    if !plan.domain_aliases.is_empty() {
        writeln!(out, "domain-aliases = {}  # made as aliases of the other", inline(&plan.domain_aliases))?;
    }
    Ok(())
}

fn write_account(out: &mut String, account: &AccountPlan) -> std::fmt::Result {
    writeln!(out, "\n[[account]]")?;
    if account.source.is_empty() {
        writeln!(out, "# the archive holds no mail of it")?;
    } else {
        writeln!(out, "source = {}", quoted(&account.source))?;
    }
    if account.target.contains('@') {
        writeln!(out, "target = {}", quoted(&account.target))?;
    } else {
        writeln!(out, "target = {}  # no address: write one, and take skip away", quoted(&account.target))?;
    }
    writeln!(out, "create = {}", account.create)?;
    if account.skip {
        writeln!(out, "skip = true")?;
    }
    if let Some(name) = &account.name {
        writeln!(out, "name = {}", quoted(name))?;
    }
    if !account.aliases.is_empty() {
        writeln!(out, "aliases = {}", list(&account.aliases))?;
    }
    if let Some(quota) = account.quota {
        writeln!(out, "quota = {quota}  # bytes")?;
    }
    if !account.source.is_empty() {
        writeln!(out, "bytes = {}  # in the archive", account.bytes)?;
    }
    write_details(out, &account.details)?;
    for folder in &account.folders {
        writeln!(out, "[[account.folder]]")?;
        writeln!(out, "from = {}", quoted(&folder.from.to_string()))?;
        writeln!(out, "part = \"{}\"", folder.part)?;
        writeln!(out, "to = {}", quoted(&folder.to.to_string()))?;
        if folder.skip {
            writeln!(out, "skip = true")?;
        }
        writeln!(out, "items = {}", folder.items)?;
    }
    Ok(())
}

fn write_details(out: &mut String, details: &Details) -> std::fmt::Result {
    if details.kind != Kind::User {
        writeln!(out, "type = \"{}\"", details.kind.word())?;
    }
    for (name, value) in [("given-name", &details.given_name), ("family-name", &details.family_name)] {
        if let Some(value) = value {
            writeln!(out, "{name} = {}", quoted(value))?;
        }
    }
    if !details.card.is_empty() {
        writeln!(out, "card = {}", inline(&details.card))?;
    }
    if details.disabled {
        writeln!(out, "disabled = true  # by provision --finish, when the mail is there")?;
    }
    for (name, many) in [("members", &details.members), ("owners", &details.owners)] {
        if !many.is_empty() {
            writeln!(out, "{name} = {}", inline(many))?;
        }
    }
    if let Some(forward) = &details.forward {
        writeln!(out, "forward = {}", inline(&ForwardText::from(forward)))?;
    }
    if let Some(responder) = &details.responder {
        writeln!(out, "responder = {}", inline(&ResponderText::from(responder)))?;
    }
    for right in &details.rights {
        let folder = CollectionPath(right.folder.clone()).to_string();
        writeln!(out, "[[account.right]]\nfolder = {}", quoted(&folder))?;
        writeln!(out, "who = {}\nletters = {}", quoted(&who_text(&right.who)), quoted(&right.letters))?;
    }
    for rule in &details.rules {
        writeln!(out, "[[account.rule]]\ntitle = {}\nactive = {}", quoted(&rule.title), rule.active)?;
        writeln!(out, "match = \"{}\"  # all or any of the conditions", if rule.all { "all" } else { "any" })?;
        writeln!(out, "conditions = {}\nactions = {}", inline(&rule.conditions), inline(&rule.actions))?;
    }
    Ok(())
}

/// A value as TOML on one line.
fn inline(value: &impl serde::Serialize) -> String {
    toml::Value::try_from(value).map(|value| value.to_string()).unwrap_or_default()
}

/// A TOML string of any text.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|t| quoted(t)).collect();
    format!("[{}]", quoted.join(", "))
}
