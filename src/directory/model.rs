//! The directory's words as types. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::names::Address;
use crate::model::{Exception, Outcome, Place};

/// What several files and the mail stores together say of a company.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Domains by name: those of the accounts, and those that a file names.
    pub domains: BTreeMap<String, Domain>,
    /// Accounts by address.
    pub accounts: BTreeMap<Address, Account>,
    /// Where files say different things; the first file's word stands.
    pub contradictions: Vec<Contradiction>,
    /// What a file says and this directory cannot hold, or IceWarp cannot do.
    pub unmapped: Vec<Unmapped>,
    /// The files read.
    pub files: Vec<FileNote>,
    /// Accounts of the archive that no address could be found for.
    pub homeless_stores: BTreeSet<String>,
}

impl Directory {
    /// What could not be taken over, as a snapshot counts and lists it.
    pub fn exceptions(&self) -> impl Iterator<Item = Exception> {
        self.unmapped.iter().map(|unmapped| Exception {
            account: unmapped.account.as_ref().map(Address::to_string).unwrap_or_default(),
            collection: String::new(),
            source: Place::file(unmapped.place()),
            outcome: Outcome::Skipped,
            reason: "not taken into the directory".to_owned(),
            detail: unmapped.what.clone(),
        })
    }
}

impl Unmapped {
    /// File and line.
    pub fn place(&self) -> String {
        if self.line == 0 { self.file.clone() } else { format!("{}, line {}", self.file, self.line) }
    }
}

/// A mail domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Domains whose addresses mean the same accounts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<String>,
}

/// What an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A person's mailbox.
    #[default]
    User,
    /// A mailbox that several people use.
    Shared,
    /// A list: mail to it goes to its members.
    List,
    /// A group of people, who may share folders.
    Group,
    /// A room.
    Room,
    /// A piece of equipment.
    Equipment,
}

impl Kind {
    /// The word in files.
    pub fn word(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Shared => "shared",
            Kind::List => "list",
            Kind::Group => "group",
            Kind::Room => "room",
            Kind::Equipment => "equipment",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::User => "user",
            Kind::Shared => "shared mailbox",
            Kind::List => "list",
            Kind::Group => "group",
            Kind::Room => "room",
            Kind::Equipment => "equipment",
        })
    }
}

/// One account: a mailbox, a list, a group or a resource. What no file says is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    /// More of its card, by IceWarp's field names: `companyname`, `department`, `jobtitle`, `officelocation`, `managername`,
    /// `businesstelephonenumber`, `mobiletelephonenumber`, `hometelephonenumber`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub card: BTreeMap<String, String>,
    /// More addresses of the same account.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<Address>,
    /// How much it may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// May its owner not log in?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Had it a password or a hash of one? It is not kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub had_password: bool,
    /// Members of a list or group, by address; they may lie outside of the company.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<Address, MemberRole>,
    /// Where its mail is sent on to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// Answers while its owner is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responder: Option<Responder>,
    /// Who else may do what in which folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<FolderRights>,
    /// Its filters, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Accounts of the archive that hold its data.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stores: BTreeSet<String>,
    /// Files that spoke of it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sources: BTreeSet<String>,
}

impl Account {
    /// What it is; where no file says, a list if it has members, else a person's mailbox.
    pub fn kind(&self) -> Kind {
        self.kind.unwrap_or(if self.members.is_empty() { Kind::User } else { Kind::List })
    }
}

/// How much an account may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quota {
    /// As much as there is.
    Unlimited,
    /// So many bytes.
    Bytes(u64),
}

/// What a member is to a list or group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberRole {
    /// One of them.
    #[default]
    Member,
    /// May change the list.
    Manager,
    /// Owns the list.
    Owner,
}

/// A member as a file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whose.
    pub address: Address,
    /// As what.
    pub role: MemberRole,
}

/// Where mail is sent on to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Addresses.
    pub to: BTreeSet<Address>,
    /// Does a copy stay? `None` where the file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_copy: Option<bool>,
}

/// An answer that goes out while somebody is away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Responder {
    /// Subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Text.
    pub text: String,
    /// Sender of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Days before the same person gets another answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// First day, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_day: Option<String>,
    /// Last day, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_day: Option<String>,
}

/// Who may do something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// One account.
    User(Address),
    /// A group.
    Group(Address),
    /// Everybody who can log in.
    Authenticated,
    /// Everybody.
    Anyone,
    /// The folder's owner.
    Owner,
}

/// What somebody may do in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderRights {
    /// The folder's path from the top; empty for the whole account.
    pub folder: Vec<String>,
    /// Who.
    pub who: Who,
    /// IceWarp's permission letters, in its order.
    pub letters: String,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// `From:`
    From,
    /// `To:`
    To,
    /// `Cc:`
    Cc,
    /// `Bcc:`
    Bcc,
    /// `Reply-To:`
    ReplyTo,
    /// `Subject:`
    Subject,
    /// Another header, by name.
    Header(String),
    /// The text.
    Body,
    /// The envelope's sender.
    Sender,
    /// The envelope's recipient.
    Recipient,
}

/// How a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// Somewhere in it.
    Contains,
    /// All of it.
    Equals,
    /// A pattern of `*` and `?`.
    Pattern,
    /// A regular expression.
    Regex,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A word in a field.
    Words {
        /// Where.
        field: Field,
        /// How.
        how: Match,
        /// What.
        value: String,
        /// Is the rule for messages that do not match?
        not: bool,
    },
    /// Larger than so many bytes, or not larger.
    Larger {
        /// The size.
        bytes: u64,
        /// Is the rule for messages that are not larger?
        not: bool,
    },
}

/// A flag that IceWarp's rules can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlagName {
    /// `\Seen`
    Seen,
    /// `\Flagged`
    Flagged,
    /// `$Junk`
    Junk,
    /// `$NotJunk`
    NotJunk,
    /// `$Label1` to `$Label6`
    Label(u8),
}

/// One action of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Into a folder, and not the inbox.
    Move(Vec<String>),
    /// Into a folder as well.
    Copy(Vec<String>),
    /// To another address as well.
    Redirect(Address),
    /// Into the inbox.
    Keep,
    /// Thrown away.
    Discard,
    /// Set a flag.
    Flag(FlagName),
    /// No rule after this one.
    Stop,
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub title: String,
    /// Is it in use?
    pub active: bool,
    /// Must all conditions hold (else: one of them)?
    pub all: bool,
    /// Conditions; none for every message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Actions, in their order.
    pub actions: Vec<Action>,
    /// Line of the script that it begins on.
    pub line: u32,
}

/// Two files that say different things of one account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Contradiction {
    /// Which account (or domain).
    pub subject: String,
    /// What of it: `quota`, `display name`, `alias`.
    pub property: String,
    /// What stands, and who said it.
    pub kept: Claim,
    /// What does not, and who said it.
    pub other: Claim,
}

/// What one file says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// The value, in words.
    pub value: String,
    /// The file.
    pub file: String,
}

/// What could not be taken over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unmapped {
    /// The file.
    pub file: String,
    /// Line in it, from 1; 0 for the whole file.
    pub line: u32,
    /// The account it is of, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Address>,
    /// Why, in words; never the text of a password.
    pub what: String,
}

/// One file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNote {
    /// Its path as given.
    pub path: String,
    /// What it is.
    pub format: String,
    /// Why it is taken to be that.
    pub because: Vec<String>,
    /// Records in it: rows, entries, lines, rules.
    pub records: u64,
    /// Records that say nothing of an account, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub passed_over: BTreeMap<String, u64>,
}

/// What a reader gets out of one file.
#[derive(Debug, Default)]
pub struct Found {
    /// What it says of accounts, in its order; an address may come several times.
    pub accounts: Vec<(Address, Account)>,
    /// Domains that mean another: alias, then the domain it stands for.
    pub domain_aliases: Vec<(String, String)>,
    /// What could not be taken over: line and reason.
    pub unmapped: Vec<(u32, Option<Address>, String)>,
    /// Records in the file.
    pub records: u64,
    /// Records that say nothing of an account, by reason.
    pub passed_over: BTreeMap<String, u64>,
}

impl Found {
    /// Counts a record that says nothing of an account.
    pub(super) fn pass_over(&mut self, reason: &str) {
        *self.passed_over.entry(reason.to_owned()).or_default() += 1;
    }

    /// Lists what could not be taken over.
    pub(super) fn cannot(&mut self, line: u32, account: Option<&Address>, what: impl Into<String>) {
        self.unmapped.push((line, account.cloned(), what.into()));
    }
}
