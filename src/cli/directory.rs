//! `floe list --directory`: who there is, as the archive's directory says.

use super::output::Output;
use crate::archive::{Archive, Snapshot};
use crate::directory::{self, Account, Directory, Quota, Who};
use crate::error::{Error, Result};
use crate::model::{CollectionPath, printable};

/// Prints the directory of a snapshot; in JSON an object a line, as it lies in the archive.
pub(super) fn list(archive: &Archive, snapshot: &Snapshot, json: bool, out: &mut Output<'_>) -> Result<u8> {
    let object = snapshot.root.directory.ok_or_else(|| {
        Error::usage("the snapshot holds no directory")
            .with("snapshot", &snapshot.id)
            .hint("name its files with `floe snapshot --directory FILE`")
    })?;
    let directory = directory::load(archive, object)?;
    if json {
        directory::each_line(&directory, &mut |line| out.json(line))?;
        return Ok(0);
    }
    tell(&directory, out)?;
    Ok(0)
}

fn tell(directory: &Directory, out: &mut Output<'_>) -> Result<()> {
    for file in &directory.files {
        let passed: u64 = file.passed_over.values().sum();
        out.line(format_args!("file {}: {}, {} records, {passed} of nobody", printable(&file.path), file.format, file.records))?;
    }
    for (name, domain) in &directory.domains {
        let aliases: Vec<&str> = domain.aliases.iter().map(String::as_str).collect();
        let also = if aliases.is_empty() { String::new() } else { format!(", also {}", aliases.join(", ")) };
        out.line(printable(&format!("domain {name}{also}")))?;
    }
    for (address, account) in &directory.accounts {
        out.line(printable(&format!("{} {address}{}", account.kind(), words_of(account))))?;
        for (member, role) in &account.members {
            out.line(printable(&format!("    {} {member}", format!("{role:?}").to_lowercase())))?;
        }
        for right in &account.rights {
            let folder =
                if right.folder.is_empty() { "all folders".to_owned() } else { CollectionPath(right.folder.clone()).to_string() };
            out.line(printable(&format!("    right {} of {} in {folder}", right.letters, who(&right.who))))?;
        }
        for rule in &account.rules {
            out.line(printable(&format!("    rule {}", rule.title)))?;
        }
    }
    for c in &directory.contradictions {
        let (kept, other) = (&c.kept, &c.other);
        out.line(printable(&format!(
            "CONTRADICTION {} of {}: {} ({}) stands against {} ({})",
            c.property, c.subject, kept.value, kept.file, other.value, other.file
        )))?;
    }
    for unmapped in &directory.unmapped {
        out.line(printable(&format!("NOT TAKEN {}: {}", unmapped.place(), unmapped.what)))?;
    }
    for store in &directory.homeless_stores {
        out.line(printable(&format!("NO ADDRESS for the mail of {store}")))?;
    }
    Ok(())
}

fn words_of(account: &Account) -> String {
    let mut words = String::new();
    if let Some(name) = &account.display_name {
        words.push_str(&format!(" \"{name}\""));
    }
    for (what, many) in [("aliases", &account.aliases), ("forwards to", &account.forward.clone().unwrap_or_default().to)] {
        if !many.is_empty() {
            let many: Vec<&str> = many.iter().map(directory::Address::as_str).collect();
            words.push_str(&format!(", {what} {}", many.join(", ")));
        }
    }
    match account.quota {
        Some(Quota::Bytes(bytes)) => words.push_str(&format!(", quota {bytes} bytes")),
        Some(Quota::Unlimited) => words.push_str(", no quota"),
        None => {}
    }
    for (is, word) in [(account.disabled == Some(true), ", disabled"), (account.responder.is_some(), ", responder")] {
        if is {
            words.push_str(word);
        }
    }
    if !account.stores.is_empty() {
        let stores: Vec<&str> = account.stores.iter().map(String::as_str).collect();
        words.push_str(&format!(", mail of {}", stores.join(", ")));
    }
    words
}

fn who(who: &Who) -> String {
    match who {
        Who::User(address) => address.to_string(),
        Who::Group(address) => format!("group {address}"),
        Who::Authenticated => "everybody with an account".to_owned(),
        Who::Anyone => "anyone".to_owned(),
        Who::Owner => "the owner".to_owned(),
    }
}
