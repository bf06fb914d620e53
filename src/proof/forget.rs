//! Removing snapshots or accounts for good: what only they need leaves the packs, and a signed tombstone says so.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use jiff::Timestamp;
use ssh_key::PrivateKey;

use super::events::{self, Event, EventType, Outcome};
use super::policy::{Outlook, Policy};
use super::tombstone::{self, ByRule, Counts, Gone, Tombstone};
use super::{hold, signature};
use crate::archive::{self, AccountEntry, Archive, Check, Snapshot, renew, without_packs};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::monitor::Monitor;
use crate::store::{LocalStore, Store as _};
use crate::vault::{Keys, Vault};

/// What is chosen.
#[derive(Clone, Debug)]
pub enum Choice {
    /// These snapshots as a whole (any unambiguous part of their names).
    Snapshots(Vec<String>),
    /// This account in all snapshots.
    Account(String),
    /// These accounts in these snapshots, by the digests of their roots. A snapshot of which no account is left goes as a whole.
    Listings(HashSet<(Digest, String)>),
}

/// What to remove.
#[derive(Clone, Debug)]
pub struct Request {
    /// What.
    pub choice: Choice,
    /// Why.
    pub why: String,
    /// Who decided it.
    pub who: String,
    /// The rule that it follows, if it is one of a policy.
    pub policy: Option<ByRule>,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Done {
    /// How much.
    #[serde(flatten)]
    pub counts: Counts,
    /// Listings that are concerned.
    pub listings: usize,
    /// The tombstone, when something was removed.
    pub tombstone: Option<String>,
}

/// Removes what only the chosen listings need. Without a key it only says how much that is.
///
/// # Errors
/// `Kind::Usage` when an account is held or nothing is chosen, `Kind::Damage` when the archive is not intact: who removes from a damaged
/// archive cannot say what. `Kind::Locked` and `Kind::Storage` as every writer.
pub fn run(path: &Path, keys: &Keys, request: &Request, key: Option<&PrivateKey>, monitor: &dyn Monitor) -> Result<Done> {
    let store = LocalStore::new(path);
    if store.read("bagit.txt", 1 << 10)?.is_none() {
        return Err(Error::usage("there is no archive in this folder").with("folder", path.display()));
    }
    let lock = store.lock()?;
    let mut archive = Archive::open_with(path, keys)?;
    if tombstone::finish(archive.vault())? {
        archive = Archive::open_with(path, keys)?;
    }
    archive.for_its_recipients()?;
    intact(&archive, monitor)?;
    let plan = plan(&archive, request)?;
    let mut done = Done { listings: plan.listings.len(), ..Done::default() };
    done.counts = Counts { items: plan.items, objects: plan.gone.len() as u64, bytes: 0 };
    let Some(key) = key.filter(|_| !plan.gone.is_empty()) else { return Ok(done) };

    let renewed = renew(&archive, &plan.gone)?;
    done.counts.bytes = renewed.bytes;
    let event = Event::new(EventType::Deaccession, Outcome::Success);
    let mut objects: Vec<Digest> = plan.gone.into_iter().collect();
    objects.sort_unstable();
    let stone = Tombstone {
        format: tombstone::FORMAT.to_owned(),
        version: 1,
        at: event.at,
        who: request.who.clone(),
        why: request.why.clone(),
        policy: request.policy.clone(),
        agent: event.agent.clone(),
        tool: event.tool.clone(),
        snapshots: plan.snapshots,
        listings: plan.listings,
        counts: done.counts.clone(),
        old_packs: renewed.old,
        new_packs: renewed.new,
        objects,
    };
    let file = commit(archive.vault(), &stone, key, event)?;
    tombstone::finish(archive.vault())?;
    drop(lock);
    if let Err(e) = archive::rebuild_index(path, keys) {
        // Only a cache: whoever reads or writes next does without it, or makes it.
        monitor.note(&format!("the index was not made anew: {e}"));
    }
    done.tombstone = Some(file);
    Ok(done)
}

/// A quick check finds no damage.
fn intact(archive: &Archive, monitor: &dyn Monitor) -> Result<()> {
    let check = Check { forgotten: tombstone::forgotten(archive.vault())?, ..Check::default() };
    let mut found = archive::verify(archive, &check, monitor)?;
    super::check(archive, &mut found)?;
    match found.damage.first() {
        Some(first) => Err(Error::damage(format!("nothing is removed from a damaged archive: {first}")).hint("see floe verify")),
        None => Ok(()),
    }
}

fn commit(vault: &Vault, stone: &Tombstone, key: &PrivateKey, event: Event) -> Result<String> {
    let mut bytes = serde_json::to_vec(stone).map_err(|e| Error::new(Kind::Internal, "cannot write a tombstone").because(e))?;
    bytes.push(b'\n');
    // It names accounts. What is signed is what lies there, so that the signature can be checked without the key.
    let bytes = vault.sealed(bytes, None)?;
    let digest = Digest::of(&bytes).to_string();
    let time = stone.at.strftime("%Y%m%dT%H%M%SZ");
    let file = format!("{}/{time}-{}.json{}", tombstone::FOLDER, &digest[..12], vault.suffix());
    let armored = signature::sign_bytes(key, tombstone::NAMESPACE, &bytes)?;
    let mut event = event.detail("file", file.as_str()).detail("sha256", digest);
    if !vault.is_sealed() {
        let counts = &stone.counts;
        event = event.detail("objects", counts.objects).detail("items", counts.items).detail("bytes", counts.bytes);
    }
    let files = vec![(file.clone(), bytes), (format!("{file}{}", signature::ENDING), armored.into_bytes())];
    let files = without_packs(vault.files(), files, &stone.old_packs, Timestamp::now())?;
    events::commit(vault.files(), files, event)?;
    Ok(file)
}

/// What is to go.
struct Plan {
    snapshots: Vec<Digest>,
    listings: Vec<Gone>,
    items: u64,
    gone: HashSet<Digest>,
}

/// What a policy removes, or would.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ByPolicy {
    /// What each rule comes to.
    pub rules: Vec<Outlook>,
    /// Accounts that no rule names: nothing of them goes.
    pub unnamed: BTreeSet<String>,
    /// How much: in all where nothing is removed, else rule by rule, as far as a rule removes anything.
    pub done: Vec<Done>,
}

/// Removes what is past the time at `now`, rule by rule, each with a tombstone of its own. What is held is left out, and the rest goes on.
/// Without a key it only says what that is.
///
/// # Errors
/// As [`run`]; what the rules before removed stays removed.
pub fn by_policy(
    path: &Path,
    keys: &Keys,
    (policy, now): (&Policy, Timestamp),
    key: Option<&PrivateKey>,
    monitor: &dyn Monitor,
) -> Result<ByPolicy> {
    let archive = Archive::open_with(path, keys)?;
    let snapshots = archive.snapshots()?;
    let held = hold::held(archive.vault())?;
    let gone = tombstone::told(archive.vault())?.flat_map(|t| t.listings).map(|gone| (gone.root, gone.account)).collect();
    let rules = policy.outlook(&snapshots, &gone, &held, now);
    let unnamed = policy.unnamed(&snapshots);
    drop(archive);
    let listings =
        |outlook: &Outlook| outlook.goes.iter().map(|listed| (listed.root, listed.account.clone())).collect::<Vec<_>>();
    let mut done = Vec::new();
    match key {
        None => {
            let choice = Choice::Listings(rules.iter().flat_map(listings).collect());
            let request = Request { choice, why: String::new(), who: String::new(), policy: None };
            done.push(run(path, keys, &request, None, monitor)?);
        }
        Some(_) => {
            for (rule, outlook) in policy.rules.iter().zip(&rules).filter(|(_, outlook)| !outlook.goes.is_empty()) {
                let (choice, by) = (Choice::Listings(listings(outlook).into_iter().collect()), rule.name.clone());
                let policy = Some(ByRule { sha256: policy.sha256, rule: by });
                let request = Request { choice, why: rule.why.clone(), who: rule.who.clone(), policy };
                done.push(run(path, keys, &request, key, monitor)?);
            }
        }
    }
    Ok(ByPolicy { rules, unnamed, done })
}

fn plan(archive: &Archive, request: &Request) -> Result<Plan> {
    let earlier: Vec<Tombstone> = tombstone::told(archive.vault())?.collect();
    let went: HashSet<(Digest, &str)> =
        earlier.iter().flat_map(|t| &t.listings).map(|gone| (gone.root, gone.account.as_str())).collect();
    let snapshots = archive.snapshots()?;
    let whole = whole(archive, &snapshots, &request.choice, &went)?;
    let went_whole: HashSet<Digest> = earlier.iter().flat_map(|t| t.snapshots.iter().copied()).collect();
    let held = hold::held(archive.vault())?;
    let (mut kept, mut chosen) = (Reached::new(archive), Reached::new(archive));
    let mut listings = Vec::new();
    for snapshot in &snapshots {
        let is_whole = whole.contains(&snapshot.digest);
        for account in snapshot.root.accounts.iter().filter(|a| !went.contains(&(snapshot.digest, a.account.as_str()))) {
            if !is_whole && !request.choice.names(snapshot, account) {
                kept.account(account)?;
                continue;
            }
            if let Some(why) = held.get(&account.account) {
                return Err(Error::usage("this account is held, and nothing of it may be removed")
                    .with("account", &account.account)
                    .with("why", why)
                    .hint("floe hold --release ends a hold"));
            }
            chosen.account(account)?;
            listings.push(Gone { root: snapshot.digest, account: account.account.clone() });
        }
        match (is_whole, went_whole.contains(&snapshot.digest)) {
            (_, true) => {}
            (true, false) => chosen.rest(snapshot)?,
            (false, false) => kept.rest(snapshot)?,
        }
    }
    if let Choice::Account(account) = &request.choice
        && !snapshots.iter().any(|s| s.root.accounts.iter().any(|a| a.account == *account))
    {
        return Err(Error::usage("no snapshot has this account").with("account", account));
    }
    let snapshots = whole.into_iter().filter(|digest| !went_whole.contains(digest)).collect();
    let gone = chosen.objects.difference(&kept.objects).copied().collect();
    Ok(Plan { snapshots, listings, items: chosen.items, gone })
}

impl Choice {
    /// Is this account of this snapshot chosen by itself?
    fn names(&self, snapshot: &Snapshot, account: &AccountEntry) -> bool {
        match self {
            Choice::Snapshots(_) => false,
            Choice::Account(name) => *name == account.account,
            Choice::Listings(listings) => listings.contains(&(snapshot.digest, account.account.clone())),
        }
    }
}

/// The snapshots that go as a whole.
fn whole(archive: &Archive, snapshots: &[Snapshot], choice: &Choice, went: &HashSet<(Digest, &str)>) -> Result<HashSet<Digest>> {
    match choice {
        Choice::Snapshots(ids) => ids.iter().map(|id| Ok(archive.snapshot(Some(id))?.digest)).collect(),
        Choice::Account(_) => Ok(HashSet::new()),
        Choice::Listings(_) => {
            let goes = |s: &Snapshot, a: &AccountEntry| choice.names(s, a) || went.contains(&(s.digest, a.account.as_str()));
            let is_whole = |s: &&Snapshot| {
                let accounts = &s.root.accounts;
                accounts.iter().any(|a| choice.names(s, a)) && accounts.iter().all(|a| goes(s, a))
            };
            Ok(snapshots.iter().filter(is_whole).map(|s| s.digest).collect())
        }
    }
}

/// The objects to which listings lead.
struct Reached<'a> {
    archive: &'a Archive,
    objects: HashSet<Digest>,
    /// Objects whose blobs are among them too. Not all of them: a blob of one object may be another one that is made of blobs.
    followed: HashSet<Digest>,
    /// Account listings that were read. An item may have the very bytes of a listing, so they are told apart.
    read: HashSet<Digest>,
    items: u64,
}

impl<'a> Reached<'a> {
    fn new(archive: &'a Archive) -> Self {
        Reached { archive, objects: HashSet::new(), followed: HashSet::new(), read: HashSet::new(), items: 0 }
    }

    /// An object, and the blobs of which it is made.
    fn object(&mut self, object: Digest) -> Result<()> {
        self.objects.insert(object);
        if self.followed.insert(object) {
            self.objects.extend(self.archive.blobs_of(object)?);
        }
        Ok(())
    }

    fn account(&mut self, account: &AccountEntry) -> Result<()> {
        // Snapshots share the listings of what did not change.
        if !self.read.insert(account.listing) {
            return Ok(());
        }
        self.object(account.listing)?;
        for collection in self.archive.collections(account)? {
            self.object(collection.listing)?;
            collection.exceptions.into_iter().try_for_each(|listing| self.object(listing))?;
            collection.originals.iter().try_for_each(|original| self.object(original.sha256))?;
            let archive = self.archive;
            archive.placements(&collection, &mut |item| {
                self.items += 1;
                self.object(item.sha256)
            })?;
        }
        Ok(())
    }

    /// What of a snapshot belongs to no account.
    fn rest(&mut self, snapshot: &Snapshot) -> Result<()> {
        [snapshot.root.leftovers, snapshot.root.directory].into_iter().flatten().try_for_each(|object| self.object(object))
    }
}
