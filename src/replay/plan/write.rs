//! The plan as a TOML file that a person reads and edits.

use std::fmt::Write as _;

use clap::ValueEnum as _;

use super::forecast::Summary;
use super::{AccountPlan, Plan};

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
    writeln!(out, "domains = {}  # made when missing", list(&plan.domains))
}

fn write_account(out: &mut String, account: &AccountPlan) -> std::fmt::Result {
    writeln!(out, "\n[[account]]")?;
    writeln!(out, "source = {}", quoted(&account.source))?;
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
    writeln!(out, "bytes = {}  # in the archive", account.bytes)?;
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

/// A TOML string of any text.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|t| quoted(t)).collect();
    format!("[{}]", quoted.join(", "))
}
