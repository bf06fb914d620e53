//! Takes an edited plan back: unknown words and contradictions are refused with their line.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use toml::Spanned;

use super::texts::{ForwardText, ResponderText, who_of};
use super::write::VERSION;
use super::{AccountPlan, Details, FolderPlan, Login, Part, Plan};
use crate::directory::{self, Action, Condition, FolderRights};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionPath, Digest, line_of, printable};
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
    #[serde(default, rename = "domain-aliases")]
    domain_aliases: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Account {
    source: Option<Spanned<String>>,
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
    #[serde(default, rename = "type")]
    kind: directory::Kind,
    given_name: Option<String>,
    family_name: Option<String>,
    #[serde(default)]
    card: BTreeMap<String, String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    members: BTreeSet<directory::Address>,
    #[serde(default)]
    owners: BTreeSet<directory::Address>,
    forward: Option<ForwardText>,
    responder: Option<ResponderText>,
    #[serde(default)]
    right: Vec<Right>,
    #[serde(default)]
    rule: Vec<Rule>,
    #[serde(default)]
    folder: Vec<Folder>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Right {
    folder: String,
    who: Spanned<String>,
    letters: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    title: String,
    active: bool,
    #[serde(rename = "match")]
    matching: Matching,
    conditions: Vec<Condition>,
    actions: Vec<Action>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Matching {
    All,
    Any,
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
        check_details(text, account)?;
    }
    for (alias, domain) in &file.plan.domain_aliases {
        if file.plan.domains.contains(alias) || file.plan.domain_aliases.contains_key(domain.get_ref()) {
            return refuse(domain.span(), format!("{} is a domain itself, or its domain is an alias", printable(alias)));
        }
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
        domain_aliases: file.plan.domain_aliases.into_iter().map(|(alias, domain)| (alias, domain.into_inner())).collect(),
        accounts: file.account.into_iter().map(account).collect(),
    })
}

fn account(account: Account) -> AccountPlan {
    AccountPlan {
        source: account.source.map(Spanned::into_inner).unwrap_or_default(),
        target: account.target.into_inner(),
        create: account.create,
        skip: account.skip,
        name: account.name,
        aliases: account.aliases.into_iter().map(Spanned::into_inner).collect(),
        quota: account.quota,
        bytes: account.bytes,
        details: Details {
            kind: account.kind,
            given_name: account.given_name,
            family_name: account.family_name,
            card: account.card,
            disabled: account.disabled,
            members: account.members,
            owners: account.owners,
            forward: account.forward.map(Into::into),
            responder: account.responder.map(Into::into),
            rights: account.right.into_iter().filter_map(right).collect(),
            rules: account.rule.into_iter().map(rule).collect(),
        },
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

fn right(right: Right) -> Option<FolderRights> {
    let folder = if right.folder.is_empty() { Vec::new() } else { CollectionPath::parse(&right.folder).0 };
    Some(FolderRights { folder, who: who_of(right.who.get_ref())?, letters: right.letters.into_inner() })
}

fn rule(rule: Rule) -> directory::Rule {
    let Rule { title, active, matching, conditions, actions } = rule;
    directory::Rule { title, active, all: matching == Matching::All, conditions, actions, line: 0 }
}

/// What only some accounts have is on those only, and rights make sense.
fn check_details(text: &str, account: &Account) -> Result<()> {
    let refuse = |span, message: &str| Err(at(text, Some(span), message.to_owned()));
    if !account.members.is_empty() && !matches!(account.kind, directory::Kind::List | directory::Kind::Group) {
        return refuse(account.target.span(), "only a list or a group has members");
    }
    for right in &account.right {
        if who_of(right.who.get_ref()).is_none() {
            return refuse(right.who.span(), "who: an address, group:ADDRESS, everybody, anyone or owner");
        }
        let letters = right.letters.get_ref();
        if letters.is_empty() || !letters.chars().all(|c| c.is_ascii_lowercase()) {
            return refuse(right.letters.span(), "letters: small letters, as IceWarp has them for rights");
        }
    }
    Ok(())
}

/// Every address is one account's only, and every account of the archive is named once.
fn check_addresses(text: &str, accounts: &[Account]) -> Result<()> {
    let mut sources = BTreeMap::new();
    let mut addresses: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for account in accounts {
        if let Some(source) = &account.source
            && let Some(first) = sources.insert(source.get_ref().clone(), source.span())
        {
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
            details: Details::default(),
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
            domain_aliases: BTreeMap::from([("example.net".to_owned(), "example.com".to_owned())]),
            accounts: vec![account("ann@example.com"), account("bob@example.com"), list()],
        }
    }

    /// A list with everything that a directory can say of an account.
    fn list() -> AccountPlan {
        let address = |text: &str| directory::Address::parse(text).expect("address");
        let words = |field| Condition::Words { field, how: directory::Match::Pattern, value: "\"*\n".to_owned(), not: true };
        let mut list = AccountPlan::without_mail("all@example.com");
        list.details = Details {
            kind: directory::Kind::List,
            given_name: Some("G".to_owned()),
            family_name: None,
            card: BTreeMap::from([("department".to_owned(), "R & D".to_owned())]),
            disabled: true,
            members: BTreeSet::from([address("ann@example.com"), address("x@elsewhere.example")]),
            owners: BTreeSet::from([address("ann@example.com")]),
            forward: Some(directory::Forward { to: BTreeSet::from([address("y@example.org")]), keep_copy: Some(true) }),
            responder: Some(directory::Responder { text: "a\n\"b'".to_owned(), days: Some(3), ..Default::default() }),
            rights: vec![FolderRights {
                folder: vec!["a/b".to_owned(), "c".to_owned()],
                who: directory::Who::Group(address("g@example.com")),
                letters: "lr".to_owned(),
            }],
            rules: vec![directory::Rule {
                title: "t".to_owned(),
                active: false,
                all: false,
                conditions: vec![words(directory::Field::Header("X".to_owned())), Condition::Larger { bytes: 9, not: false }],
                actions: vec![Action::Move(vec!["A".to_owned()]), Action::Flag(directory::FlagName::Label(2)), Action::Stop],
                line: 0,
            }],
        };
        list
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
