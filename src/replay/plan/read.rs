//! Takes an edited plan back: unknown words and contradictions are refused with their line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use toml::Spanned;

use super::write::VERSION;
use super::{AccountPlan, FolderPlan, Login, Part, Plan};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionPath, Digest, printable};
use crate::net::Address;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    plan: Head,
    #[serde(default)]
    account: Vec<Account>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: Spanned<i64>,
    archive: String,
    snapshot: String,
    root: Spanned<String>,
    made: Spanned<String>,
    to: Spanned<String>,
    imap: Option<Spanned<String>>,
    dav: Option<Spanned<String>>,
    #[serde(default)]
    login: Login,
    #[serde(default)]
    domains: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    source: Spanned<String>,
    target: Spanned<String>,
    #[serde(default)]
    create: bool,
    #[serde(default)]
    skip: bool,
    name: Option<String>,
    #[serde(default)]
    aliases: Vec<Spanned<String>>,
    quota: Option<u64>,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    folder: Vec<Folder>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Folder {
    from: Spanned<String>,
    part: Part,
    to: Spanned<String>,
    #[serde(default)]
    skip: bool,
    #[serde(default)]
    items: u64,
}

/// Reads and checks the plan at `path`.
///
/// # Errors
/// `Kind::Usage` with the line for what is no TOML, has unknown words, or contradicts itself.
pub fn read(path: &Path) -> Result<Plan> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(Kind::Usage, "cannot read the plan", path, e))?;
    parse(&text).map_err(|e| e.with("plan", path.display()))
}

fn parse(text: &str) -> Result<Plan> {
    let file: File = toml::from_str(text).map_err(|e| at(text, e.span(), printable(e.message())))?;
    let refuse = |span: Range<usize>, message: String| Err(at(text, Some(span), message));
    if *file.plan.version.get_ref() != VERSION {
        return refuse(
            file.plan.version.span(),
            format!("a plan of version {}, floe knows version {VERSION}", file.plan.version.get_ref()),
        );
    }
    for address in [Some(&file.plan.to), file.plan.imap.as_ref(), file.plan.dav.as_ref()].into_iter().flatten() {
        if let Err(e) = address.get_ref().parse::<Address>() {
            return refuse(address.span(), e.to_string());
        }
    }
    check_addresses(text, &file.account)?;
    for account in &file.account {
        check_folders(text, account)?;
    }
    let Some(root) = Digest::from_hex(file.plan.root.get_ref().as_bytes()) else {
        return refuse(file.plan.root.span(), "not a SHA-256 in hex".to_owned());
    };
    let Ok(made) = file.plan.made.get_ref().parse::<Timestamp>() else {
        return refuse(file.plan.made.span(), "not a time".to_owned());
    };
    Ok(Plan {
        archive: file.plan.archive,
        snapshot: file.plan.snapshot,
        root,
        made,
        to: file.plan.to.into_inner(),
        imap: file.plan.imap.map(Spanned::into_inner),
        dav: file.plan.dav.map(Spanned::into_inner),
        login: file.plan.login,
        domains: file.plan.domains,
        accounts: file.account.into_iter().map(account).collect(),
    })
}

fn account(account: Account) -> AccountPlan {
    AccountPlan {
        source: account.source.into_inner(),
        target: account.target.into_inner(),
        create: account.create,
        skip: account.skip,
        name: account.name,
        aliases: account.aliases.into_iter().map(Spanned::into_inner).collect(),
        quota: account.quota,
        bytes: account.bytes,
        folders: account
            .folder
            .into_iter()
            .map(|f| FolderPlan {
                from: CollectionPath::parse(f.from.get_ref()),
                part: f.part,
                to: CollectionPath::parse(f.to.get_ref()),
                items: f.items,
                skip: f.skip,
            })
            .collect(),
    }
}

/// Every address is one account's only, and every account of the archive is named once.
fn check_addresses(text: &str, accounts: &[Account]) -> Result<()> {
    let mut sources = BTreeMap::new();
    let mut addresses: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for account in accounts {
        let source = &account.source;
        if let Some(first) = sources.insert(source.get_ref().clone(), source.span()) {
            return Err(twice(text, source.span(), first, &format!("account {} is named", printable(source.get_ref()))));
        }
        if account.skip {
            continue;
        }
        for address in std::iter::once(&account.target).chain(&account.aliases) {
            let shown = printable(address.get_ref());
            if !is_address(address.get_ref()) {
                return Err(at(text, Some(address.span()), format!("'{shown}' is no e-mail address")));
            }
            if let Some(first) = addresses.insert(address.get_ref().to_lowercase(), address.span()) {
                return Err(twice(text, address.span(), first, &format!("the address {shown} is given")));
            }
        }
    }
    Ok(())
}

/// No two folders of an account go into one, and none is mapped twice.
fn check_folders(text: &str, account: &Account) -> Result<()> {
    let mut from = BTreeMap::new();
    let mut to = BTreeMap::new();
    for folder in &account.folder {
        if let Some(first) = from.insert((folder.from.get_ref().clone(), folder.part), folder.from.span()) {
            return Err(twice(text, folder.from.span(), first, "this folder is mapped"));
        }
        if folder.skip {
            continue;
        }
        let path = CollectionPath::parse(folder.to.get_ref());
        if path.0.iter().any(|s| s.is_empty() || s.chars().any(char::is_control)) {
            return Err(at(text, Some(folder.to.span()), "a folder name with an empty part or a control character".to_owned()));
        }
        if let Some(first) = to.insert((folder.part == Part::Mail, path), folder.to.span()) {
            return Err(twice(text, folder.to.span(), first, "a folder that others go into too is named"));
        }
    }
    Ok(())
}

fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once('@');
    parts.is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
    })
}

fn twice(text: &str, second: Range<usize>, first: Range<usize>, what: &str) -> Error {
    at(text, Some(second), format!("{what} twice, first in line {}", line_of(text, first.start)))
}

fn at(text: &str, span: Option<Range<usize>>, message: String) -> Error {
    let line = span.map_or(1, |s| line_of(text, s.start));
    Error::usage(format!("the plan cannot be followed, line {line}: {message}"))
        .hint("mend that line, or make a new plan with floe plan")
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::plan::Summary;

    fn plan() -> Plan {
        let folder = |from: &str, to: &str| FolderPlan {
            from: CollectionPath::parse(from),
            part: Part::Mail,
            to: CollectionPath::parse(to),
            items: 3,
            skip: false,
        };
        let account = |name: &str| AccountPlan {
            source: name.to_owned(),
            target: name.to_owned(),
            create: true,
            skip: false,
            name: Some("A \"quoted\" \\ name".to_owned()),
            aliases: vec![format!("info.{name}")],
            quota: Some(1 << 30),
            bytes: 5,
            folders: vec![folder("INBOX", "INBOX"), folder("a\\/b/c", "a_b/c")],
        };
        Plan {
            archive: "acme.floe".to_owned(),
            snapshot: "20261124T100000Z-0123".to_owned(),
            root: Digest::of(b"root"),
            made: "2026-11-24T10:00:00Z".parse().expect("time"),
            to: "https://mail.example.com".to_owned(),
            imap: None,
            dav: Some("https://dav.example.com/webdav/".to_owned()),
            login: Login::Master,
            domains: vec!["example.com".to_owned()],
            accounts: vec![account("ann@example.com"), account("bob@example.com")],
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let plan = plan();
        assert_eq!(parse(&super::super::write(&plan, &Summary::default())).expect("plan"), plan);
    }

    #[test]
    fn edits_that_make_no_sense_are_refused_with_their_line() {
        let text = super::super::write(&plan(), &Summary::default());
        let line = |needle: &str, nth: usize| {
            text.lines().enumerate().filter(|(_, l)| l.contains(needle)).nth(nth).map(|(n, _)| n + 1).expect("line")
        };
        let cases = [
            (text.replace("create = true", "creat = true"), line("create", 0), "creat"),
            (text.replace("target = \"bob@", "target = \"ann@"), line("target = \"bob@", 0), "twice"),
            (text.replace("to = \"a_b/c\"", "to = \"INBOX\""), line("to = \"a_b/c\"", 0), "others"),
            (text.replace("part = \"mail\"", "part = \"male\""), line("part", 0), "male"),
            (text.replace("target = \"bob@example.com\"", "target = \"bob\""), line("target = \"bob@", 0), "no e-mail address"),
            (text.replace("version = 1", "version = 9"), line("version", 0), "version 9"),
            (text.replace("to = \"https://mail", "to = \"gopher://mail"), line("to = \"https://mail", 0), "gopher"),
        ];
        for (edited, line, words) in cases {
            let refused = parse(&edited).expect_err(words).to_string();
            assert!(refused.contains(&format!("line {line}:")) && refused.contains(words), "{refused} (line {line}, {words})");
        }
    }
}
