//! The first draft of a plan: every account and folder of a snapshot, mapped to where it most likely belongs on the target.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::names::{is_foreign_root, is_inbox, legal_segment, special_use_of, unlike};
use super::{AccountPlan, Details, FolderPlan, Login, Part, Plan, people};
use crate::archive::{AccountEntry, Archive, CollectionEntry, Snapshot};
use crate::error::Result;
use crate::model::{CollectionKind, CollectionPath};
use crate::replay::sheet::{DavSheet, MailSheet, Sheet};

/// Names under which programs keep the one calendar, task list or address book that everybody has. Compared without case.
const DEFAULT_NAMES: &[(Part, &[&str])] = &[
    (Part::Events, &["calendar", "kalender", "personal", "default", "home", "kalendář", "calendrier", "calendario", "agenda"]),
    (Part::Tasks, &["tasks", "aufgaben", "to-do", "todo", "úkoly", "tâches", "tareas"]),
    (Part::Journals, &["journal"]),
    (
        Part::Contacts,
        &["contacts", "kontakte", "addressbook", "address book", "adressbuch", "kontakty", "personal", "default", "card"],
    ),
    (Part::Notes, &["notes", "notizen"]),
    (Part::Files, &["files", "dateien", "documents", "dokumente"]),
];

/// Drafts a plan for `snapshot` on a target with `sheet`. Accounts whose names are no addresses get `domain`, or wait for a
/// person to say which mailbox they are.
///
/// # Errors
/// Those of reading the archive's listings.
pub fn draft(archive: &Archive, place: &str, snapshot: &Snapshot, to: &str, domain: Option<&str>, sheet: &Sheet) -> Result<Plan> {
    let mut accounts = Vec::new();
    for account in &snapshot.root.accounts {
        accounts.push(draft_account(archive, account, domain, sheet)?);
    }
    let domains: BTreeSet<String> = accounts
        .iter()
        .filter_map(|a: &AccountPlan| a.target.rsplit_once('@'))
        .map(|(_, domain)| domain.to_lowercase())
        .collect();
    let mut plan = Plan {
        archive: place.to_owned(),
        snapshot: snapshot.id.clone(),
        root: snapshot.digest,
        made: Timestamp::now(),
        to: to.to_owned(),
        imap: None,
        dav: None,
        login: Login::default(),
        domains: domains.into_iter().collect(),
        domain_aliases: BTreeMap::new(),
        accounts,
    };
    if let Some(directory) = people::directory_of(archive, snapshot)? {
        people::join(&directory, &mut plan);
    }
    Ok(plan)
}

fn draft_account(archive: &Archive, account: &AccountEntry, domain: Option<&str>, sheet: &Sheet) -> Result<AccountPlan> {
    let collections = archive.collections(account)?;
    let mut folders = Vec::new();
    if let Some(mail) = &sheet.mail {
        map_mail(&collections, mail, &mut folders);
    }
    if let Some(dav) = &sheet.dav {
        for collection in collections.iter().filter(|c| c.head.kind != CollectionKind::Mail) {
            map_parts(collection, &parts_of(archive, collection)?, dav, &mut folders);
        }
    }
    let target = match domain {
        Some(domain) if !account.account.contains('@') => format!("{}@{domain}", account.account),
        _ => account.account.clone(),
    };
    let is_address = target.contains('@');
    Ok(AccountPlan {
        source: account.account.clone(),
        target,
        create: is_address,
        skip: !is_address,
        name: None,
        aliases: Vec::new(),
        quota: None,
        bytes: account.ledger.bytes,
        details: Details::default(),
        folders,
    })
}

fn map_mail(collections: &[CollectionEntry], mail: &MailSheet, folders: &mut Vec<FolderPlan>) {
    let mail_folders = || collections.iter().filter(|c| c.head.kind == CollectionKind::Mail);
    let mut special = special_folders(mail_folders(), mail);
    let has_inbox = mail_folders().any(|c| matches!(c.head.path.0.as_slice(), [name] if name.eq_ignore_ascii_case("INBOX")));
    if let Some(translated) = mail_folders().find(|c| !has_inbox && is_inbox(&c.head.path)) {
        special.insert(translated.head.path.clone(), CollectionPath::new(["INBOX"]));
    }
    let mut taken = BTreeSet::new();
    for collection in mail_folders() {
        let path = &collection.head.path;
        let wanted = match special.iter().filter(|(from, _)| path.0.starts_with(&from.0)).max_by_key(|(from, _)| from.0.len()) {
            Some((from, to)) => {
                let mut segments = to.0.clone();
                segments.extend(path.0[from.0.len()..].iter().map(|s| legal_segment(s, mail)));
                CollectionPath(segments)
            }
            None => ordinary(path, mail),
        };
        let to = unlike(wanted, |p| taken.contains(p));
        taken.insert(to.clone());
        folders.push(FolderPlan { from: path.clone(), part: Part::Mail, to, items: collection.items, skip: false });
    }
}

/// Which source folders go into a special folder of the target: what the source says itself, else what the name says, when
/// nothing else claims that use.
fn special_folders<'a>(
    folders: impl Iterator<Item = &'a CollectionEntry> + Clone,
    mail: &MailSheet,
) -> BTreeMap<CollectionPath, CollectionPath> {
    let mut found = BTreeMap::new();
    for (special, name) in &mail.special_use {
        let said = folders.clone().find(|c| c.head.special_use.as_deref() == Some(special));
        let named = || folders.clone().find(|c| c.head.special_use.is_none() && special_use_of(&c.head.path) == Some(special));
        if let Some(folder) = said.or_else(named) {
            found.insert(folder.head.path.clone(), CollectionPath::parse(name));
        }
    }
    found
}

fn ordinary(path: &CollectionPath, mail: &MailSheet) -> CollectionPath {
    let mut segments: Vec<String> = path.0.iter().map(|s| legal_segment(s, mail)).collect();
    if let Some(first) = segments.first_mut() {
        if first.eq_ignore_ascii_case("INBOX") {
            "INBOX".clone_into(first);
        } else if is_foreign_root(first) {
            first.push_str(" (migrated)");
        }
    }
    CollectionPath(segments)
}

/// Which parts a collection holds, with the items of each.
fn parts_of(archive: &Archive, collection: &CollectionEntry) -> Result<BTreeMap<Part, u64>> {
    let mut parts = BTreeMap::new();
    archive.placements(collection, &mut |placement| {
        let part = part_of(collection.head.kind, placement.component.as_deref());
        *parts.entry(part).or_insert(0) += 1;
        Ok(())
    })?;
    if parts.is_empty() {
        parts.insert(part_of(collection.head.kind, None), 0);
    }
    Ok(parts)
}

/// The part that an item belongs to.
pub(crate) fn part_of(kind: CollectionKind, component: Option<&str>) -> Part {
    match (kind, component) {
        (CollectionKind::Mail, _) => Part::Mail,
        (CollectionKind::Calendar, Some("VTODO")) => Part::Tasks,
        (CollectionKind::Calendar, Some("VJOURNAL")) => Part::Journals,
        (CollectionKind::Calendar, _) => Part::Events,
        (CollectionKind::AddressBook, _) => Part::Contacts,
        (CollectionKind::Notes, _) => Part::Notes,
        (CollectionKind::Files, _) => Part::Files,
    }
}

fn map_parts(collection: &CollectionEntry, parts: &BTreeMap<Part, u64>, dav: &DavSheet, folders: &mut Vec<FolderPlan>) {
    let main = parts.iter().max_by_key(|(part, items)| (**items, std::cmp::Reverse(**part))).map(|(part, _)| *part);
    for (&part, &items) in parts {
        let taken = |p: &CollectionPath| folders.iter().any(|f| f.part != Part::Mail && f.to == *p);
        let default = dav.defaults.get(part.word()).map(|name| CollectionPath::new([name.as_str()]));
        if !dav.creates.iter().any(|word| word == part.word()) {
            // Where no folder can be made, there is the user's own, for one collection.
            if let Some(to) = default.filter(|to| !taken(to)) {
                folders.push(FolderPlan { from: collection.head.path.clone(), part, to, items, skip: false });
            }
            continue;
        }
        let wanted = wanted_name(collection, part, main == Some(part), dav);
        let to = unlike(wanted, |p| folders.iter().any(|f| f.part != Part::Mail && f.to == *p));
        folders.push(FolderPlan { from: collection.head.path.clone(), part, to, items, skip: false });
    }
}

fn wanted_name(collection: &CollectionEntry, part: Part, main: bool, dav: &DavSheet) -> CollectionPath {
    let head = &collection.head;
    let name = head.display_name.clone().or_else(|| head.path.0.last().cloned()).unwrap_or_default();
    let lower = name.to_lowercase();
    let is_default = DEFAULT_NAMES.iter().any(|(p, names)| *p == part && names.contains(&lower.as_str()))
        || (!main && DEFAULT_NAMES.iter().any(|(_, names)| names.contains(&lower.as_str())));
    match dav.defaults.get(part.word()) {
        Some(default) if is_default => CollectionPath::new([default.as_str()]),
        _ if part == Part::Files => CollectionPath(head.path.0.iter().map(|s| legal_file_name(s)).collect()),
        _ if main => CollectionPath::new([legal_file_name(&name)]),
        _ => CollectionPath::new([format!("{} ({part})", legal_file_name(&name))]),
    }
}

/// A path segment that DAV servers take.
pub(crate) fn legal_file_name(name: &str) -> String {
    let legal: String = name.chars().map(|c| if c == '/' || c == '\\' || c == ':' || c.is_control() { '_' } else { c }).collect();
    match legal.trim() {
        "" | "." | ".." => "_".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}
