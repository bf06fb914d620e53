//! Domains, accounts, server values: one JSON file each, replaced whole before a command is answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::place::{broken, folder, name_of, replace, segment};
use super::xml::Node;
use crate::error::Result;

/// Properties by their names in small letters; of each, the `propertyval` as it was written.
pub(super) type Properties = BTreeMap<String, Node>;

/// A `propertyval` of class TPropertyString.
pub(super) fn string_value(text: impl Into<String>) -> Node {
    Node::of("propertyval", vec![Node::text("classname", "TPropertyString"), Node::text("val", text)])
}

/// The text of a property; empty if it is not set.
pub(super) fn text_of<'a>(properties: &'a Properties, name: &str) -> &'a str {
    properties.get(name).map_or("", |value| value.value("val"))
}

/// What an account is that acts: none, its domain, everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Power {
    User,
    Domain,
    Server,
}

/// A user, list, group or resource.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) properties: Properties,
    #[serde(default)]
    pub(super) password: Password,
    #[serde(default)]
    pub(super) members: Vec<Node>,
    #[serde(default)]
    pub(super) rules: Vec<Node>,
    #[serde(default)]
    pub(super) rules_made: u64,
    /// By folder id: the `item`s that were set; a folder that inherits is not here.
    #[serde(default)]
    pub(super) rights: BTreeMap<String, Vec<Node>>,
}

/// A salted digest: the state folder holds nobody's password.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Password {
    salt: String,
    digest: String,
}

impl Password {
    pub(super) fn new(text: &str) -> Self {
        let salt = super::random_hex();
        let digest = Self::digest(&salt, text);
        Password { salt, digest }
    }

    fn digest(salt: &str, text: &str) -> String {
        Sha256::digest(format!("{salt}:{text}")).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Is it this one? An account without a password has none that is right.
    pub(super) fn is(&self, text: &str) -> bool {
        !self.digest.is_empty() && self.digest == Self::digest(&self.salt, text)
    }
}

impl Account {
    pub(super) fn text(&self, name: &str) -> &str {
        text_of(&self.properties, name)
    }

    /// `U_Type`.
    pub(super) fn kind(&self) -> &str {
        self.text("u_type")
    }

    pub(super) fn disabled(&self) -> bool {
        !matches!(self.text("u_accountdisabled"), "" | "0")
    }

    /// The local part and all aliases, in small letters.
    pub(super) fn names(&self) -> Vec<String> {
        let split = |text: &str| text.split(';').filter(|alias| !alias.is_empty()).map(str::to_lowercase).collect::<Vec<_>>();
        let mut names = split(self.text("u_mailbox"));
        names.extend(split(self.text("u_alias")));
        names
    }

    /// Quota in bytes, if it has one.
    pub(super) fn quota_bytes(&self) -> Option<u64> {
        let limit = self.text("u_maxboxsize").parse::<u64>().unwrap_or(0);
        (self.text("u_maxbox") == "1" && limit > 0).then(|| limit.saturating_mul(1024))
    }

    pub(super) fn power(&self) -> Power {
        match (self.text("u_admin"), self.text("u_domainadmin")) {
            ("1", _) => Power::Server,
            (_, "1") => Power::Domain,
            _ => Power::User,
        }
    }
}

/// A domain and what is in it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Domain {
    pub(super) properties: Properties,
    #[serde(default)]
    pub(super) rules: Vec<Node>,
    #[serde(default)]
    pub(super) rules_made: u64,
    #[serde(skip)]
    pub(super) accounts: BTreeMap<String, Account>,
}

/// What belongs to the whole server.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Server {
    pub(super) properties: Properties,
    /// Of `globaladmin`.
    pub(super) password: Password,
    #[serde(default)]
    pub(super) rules: Vec<Node>,
    #[serde(default)]
    pub(super) rules_made: u64,
}

/// All of them, as in the state folder.
pub(super) struct Directory {
    dir: PathBuf,
    pub(super) server: Server,
    pub(super) domains: BTreeMap<String, Domain>,
}

impl Directory {
    /// Reads what is there; a new folder gives an empty one.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let domains_dir = dir.join("domains");
        folder(&domains_dir)?;
        let mut directory = Directory { dir: dir.to_owned(), server: Server::default(), domains: BTreeMap::new() };
        directory.server = read(&directory.server_file())?.unwrap_or_default();
        for domain in names_in(&domains_dir)? {
            let Some(mut found) = read::<Domain>(&directory.domain_file(&domain))? else { continue };
            let accounts = directory.accounts_dir(&domain);
            folder(&accounts)?;
            for local in names_in(&accounts)? {
                if let Some(account) = read(&directory.account_file(&domain, &local))? {
                    found.accounts.insert(local, account);
                }
            }
            directory.domains.insert(domain, found);
        }
        Ok(directory)
    }

    fn server_file(&self) -> PathBuf {
        self.dir.join("server.json")
    }

    fn domain_dir(&self, domain: &str) -> PathBuf {
        self.dir.join("domains").join(segment(domain).unwrap_or_default())
    }

    fn domain_file(&self, domain: &str) -> PathBuf {
        self.domain_dir(domain).join("domain.json")
    }

    fn accounts_dir(&self, domain: &str) -> PathBuf {
        self.domain_dir(domain).join("accounts")
    }

    fn account_file(&self, domain: &str, local: &str) -> PathBuf {
        self.accounts_dir(domain).join(format!("{}.json", segment(local).unwrap_or_default()))
    }

    pub(super) fn save_server(&self) -> Result<()> {
        write(&self.server_file(), &self.server)
    }

    pub(super) fn save_domain(&self, domain: &str) -> Result<()> {
        folder(&self.accounts_dir(domain))?;
        self.domains.get(domain).map_or(Ok(()), |found| write(&self.domain_file(domain), found))
    }

    /// Writes the account's file, or removes it when the account is gone.
    pub(super) fn save_account(&self, address: &str) -> Result<()> {
        let Some((local, domain)) = address.rsplit_once('@') else { return Ok(()) };
        let file = self.account_file(domain, local);
        match self.account(address) {
            Some(account) => write(&file, account),
            None => std::fs::remove_file(&file).map_err(|e| broken(&file, e)),
        }
    }

    pub(super) fn remove_domain(&mut self, domain: &str) -> Result<()> {
        self.domains.remove(domain);
        let dir = self.domain_dir(domain);
        std::fs::remove_dir_all(&dir).map_err(|e| broken(&dir, e))
    }

    /// The account of that address (not of an alias).
    pub(super) fn account(&self, address: &str) -> Option<&Account> {
        let (local, domain) = address.rsplit_once('@')?;
        self.domains.get(domain)?.accounts.get(local)
    }

    pub(super) fn account_mut(&mut self, address: &str) -> Option<&mut Account> {
        let (local, domain) = address.rsplit_once('@')?;
        self.domains.get_mut(domain)?.accounts.get_mut(local)
    }

    /// Addresses of the groups that this address is a member of.
    pub(super) fn groups_of(&self, address: &str) -> Vec<String> {
        let is_member =
            |account: &Account| account.members.iter().any(|member| member.value("val").eq_ignore_ascii_case(address));
        let all = self.domains.iter().flat_map(|(domain, found)| found.accounts.iter().map(move |(local, a)| (local, domain, a)));
        all.filter(|(_, _, account)| account.kind() == "7" && is_member(account)).map(|(l, d, _)| format!("{l}@{d}")).collect()
    }

    /// How many accounts count against the licence.
    pub(super) fn users_count(&self) -> usize {
        self.domains.values().flat_map(|domain| domain.accounts.values()).filter(|account| account.kind() == "0").count()
    }
}

/// Names of the entries of a folder, with their escapes and `.json` undone.
pub(super) fn names_in(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| broken(dir, e))? {
        let entry = entry.map_err(|e| broken(dir, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        names.extend(name_of(name.strip_suffix(".json").unwrap_or(&name)));
    }
    Ok(names)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| broken(path, e.into())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(broken(path, e)),
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|e| broken(path, e.into()))?;
    replace(path, &bytes).map_err(|e| broken(path, e))
}
