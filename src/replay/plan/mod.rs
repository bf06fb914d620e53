//! The plan: which account and folder goes where, what will be made, and what will be lost on the way, before anything moves.
//!
//! [`draft`] makes one from an archive and a [`Sheet`](super::sheet::Sheet); people edit its TOML; [`read()`] takes it back and
//! refuses contradictions with the line; [`forecast()`] says item by item what the target will not keep.

mod forecast;
mod foreseen;
mod map;
mod names;
mod people;
mod read;
mod renew;
mod texts;
mod write;

pub use forecast::{Cause, Foreseen, NO_OBJECT, SAME_UID, Summary, forecast, too_large};
pub use foreseen::{ForecastFile, OfAccount};
pub use map::draft;
pub(crate) use map::{legal_file_name, part_of};
pub use people::has_mailbox;
pub use read::read;
pub use renew::{Change, renew};
pub use write::write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::{AccountEntry, Snapshot};
use crate::directory::{Address, FolderRights, Forward, Kind, Responder, Rule, domain_of};
use crate::error::{Error, Result};
use crate::model::{CollectionHead, CollectionKind, CollectionPath, Digest};

/// What a folder of the target holds. A source calendar that mixes kinds becomes several folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Messages.
    Mail,
    /// Events.
    Events,
    /// Tasks.
    Tasks,
    /// Journal entries.
    Journals,
    /// Contacts.
    Contacts,
    /// Notes.
    Notes,
    /// Files.
    Files,
}

impl Part {
    /// The word in the plan.
    pub fn word(self) -> &'static str {
        match self {
            Part::Mail => "mail",
            Part::Events => "events",
            Part::Tasks => "tasks",
            Part::Journals => "journals",
            Part::Contacts => "contacts",
            Part::Notes => "notes",
            Part::Files => "files",
        }
    }

    /// The kind of collection that it is part of.
    pub fn kind(self) -> CollectionKind {
        match self {
            Part::Mail => CollectionKind::Mail,
            Part::Events | Part::Tasks | Part::Journals => CollectionKind::Calendar,
            Part::Contacts => CollectionKind::AddressBook,
            Part::Notes => CollectionKind::Notes,
            Part::Files => CollectionKind::Files,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How floe logs in to users' mailboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    /// As the administrator, on behalf of the user (SASL PLAIN with an authorization id).
    #[default]
    OnBehalf,
    /// As Dovecot's master user (`user*master`).
    Master,
    /// With each user's own password, from the password file.
    Own,
}

/// One folder: a part of a collection and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderPlan {
    /// The collection in the archive.
    pub from: CollectionPath,
    /// Which part of it.
    pub part: Part,
    /// Where it goes; segments from the top of the user's folders.
    pub to: CollectionPath,
    /// Items, as counted when the plan was made. For people.
    pub items: u64,
    /// Left out?
    pub skip: bool,
}

/// What a directory says of an account beyond its name and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// What it is.
    pub kind: Kind,
    /// Given name.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// More of its card, by IceWarp's field names.
    pub card: BTreeMap<String, String>,
    /// May its owner not log in?
    pub disabled: bool,
    /// Members of a list or group.
    pub members: BTreeSet<Address>,
    /// Those of them who may change it; the manager of a resource.
    pub owners: BTreeSet<Address>,
    /// Where its mail is sent on to.
    pub forward: Option<Forward>,
    /// Answers while its owner is away.
    pub responder: Option<Responder>,
    /// Who else may do what in which folder; folders as the archive calls them.
    pub rights: Vec<FolderRights>,
    /// Its filters, in their order; folders as the archive calls them.
    pub rules: Vec<Rule>,
}

/// One account and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPlan {
    /// The account in the archive; empty where the archive holds no data of it.
    pub source: String,
    /// The address on the target.
    pub target: String,
    /// Make the account when it is missing?
    pub create: bool,
    /// Left out?
    pub skip: bool,
    /// Display name.
    pub name: Option<String>,
    /// Other addresses of the account.
    pub aliases: Vec<String>,
    /// Quota in bytes; none for no limit.
    pub quota: Option<u64>,
    /// Bytes in the archive, for the quota.
    pub bytes: u64,
    /// What a directory says of it.
    pub details: Details,
    /// Its folders.
    pub folders: Vec<FolderPlan>,
}

/// From which account of the source to which one of which target. An account that the plan sends to another address later begins anew there.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The account at the source.
    pub account: &'a str,
    /// The target, as its URL.
    pub target: &'a str,
    /// The address of the account there.
    pub user: &'a str,
}

/// What replay will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The archive's folder, as given.
    pub archive: String,
    /// The snapshot.
    pub snapshot: String,
    /// SHA-256 of its root file: a plan for another archive is refused.
    pub root: Digest,
    /// When the plan was made.
    pub made: Timestamp,
    /// The IceWarp server, or a generic target's main address.
    pub to: String,
    /// IMAP address, where it differs from the one that follows from `to`.
    pub imap: Option<String>,
    /// DAV address, where it differs.
    pub dav: Option<String>,
    /// How floe logs in.
    pub login: Login,
    /// Domains to make when missing.
    pub domains: Vec<String>,
    /// Domains that mean another one: the alias, and what it stands for.
    pub domain_aliases: BTreeMap<String, String>,
    /// Accounts.
    pub accounts: Vec<AccountPlan>,
}

impl Plan {
    /// The accounts whose data the plan carries over; only those of `names`, where any are given.
    pub fn accounts_of(&self, names: &[String]) -> Vec<&AccountPlan> {
        let wanted = |a: &&AccountPlan| !a.skip && !a.source.is_empty() && (names.is_empty() || names.contains(&a.source));
        self.accounts.iter().filter(wanted).collect()
    }

    /// Where an account of this plan goes.
    pub fn route<'a>(&'a self, account: &'a AccountPlan) -> Route<'a> {
        Route { account: &account.source, target: &self.to, user: &account.target }
    }

    /// Is that the domain of `address`, or one that means it?
    pub fn is_own_domain(&self, address: &str, domain: &str) -> bool {
        let own = domain_of(address);
        own.eq_ignore_ascii_case(domain) || self.domain_aliases.get(domain).is_some_and(|d| d.eq_ignore_ascii_case(own))
    }
}

impl AccountPlan {
    /// An account that the archive holds no data of.
    pub fn without_mail(target: &str) -> Self {
        AccountPlan {
            source: String::new(),
            target: target.to_owned(),
            create: true,
            skip: false,
            name: None,
            aliases: Vec::new(),
            quota: None,
            bytes: 0,
            details: Details::default(),
            folders: Vec::new(),
        }
    }

    /// The account's entry in the archive.
    ///
    /// # Errors
    /// `Kind::Usage` when the archive has no such account.
    pub fn entry<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a AccountEntry> {
        let entry = snapshot.root.accounts.iter().find(|a| a.account == self.source);
        entry.ok_or_else(|| Error::usage("the archive has no such account").with("account", &self.source).hint("mend the plan"))
    }

    /// Where the parts of a collection go, without those that the plan leaves out.
    pub fn folders_of<'a>(&'a self, head: &'a CollectionHead) -> impl Iterator<Item = &'a FolderPlan> {
        self.folders.iter().filter(|f| f.part.kind() == head.kind && !f.skip && f.from == head.path)
    }

    /// Where that part of a collection goes, unless the plan leaves it out.
    pub fn folder(&self, from: &CollectionPath, part: Part) -> Option<&FolderPlan> {
        self.folders.iter().find(|f| f.part == part && !f.skip && f.from == *from)
    }
}
