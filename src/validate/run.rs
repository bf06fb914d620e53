//! Compares whole accounts, several at a time, and tells a report what became of every item.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::dav::{compare_folder, only_named};
use super::read::compare;
use super::{Folder, Judged, Judgement, Sample, Verdict};
use crate::archive::{Archive, CollectionEntry, Snapshot};
use crate::dav::{Client, Homes};
use crate::error::Result;
use crate::imap::Connection;
use crate::model::{CollectionKind, Digest, Placement};
use crate::monitor::Monitor;
use crate::replay::accounts::each_account;
use crate::replay::journal::{CollectionName, Journal, Key, Status};
use crate::replay::plan::{AccountPlan, FolderPlan, ForecastFile, Login, OfAccount, Part, Plan};
use crate::report::{Builder, Class, Example, Finding, FolderId, add_folder, add_leftovers};

/// Enters an account over DAV.
pub type Enter<'a> = dyn Fn(&AccountPlan) -> Result<(Client, Homes)> + Sync + 'a;

/// What is compared.
pub struct Job<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The archive.
    pub archive: &'a Archive,
    /// The snapshot of the plan.
    pub snapshot: &'a Snapshot,
    /// The plan's forecast; without it nothing counts as foreseen.
    pub forecast: Option<&'a ForecastFile>,
    /// Where messages are by what replay wrote down: a sample reads only those, and what was changed beyond recognition is known by it.
    pub journal: Option<&'a Journal>,
    /// The accounts.
    pub accounts: &'a [&'a AccountPlan],
    /// Items of a sample, and its seed; without it everything is read back.
    pub sample: Option<(usize, u64)>,
    /// Accounts at a time.
    pub connections: usize,
    /// Opens a connection to an account.
    pub connect: &'a (dyn Fn(&AccountPlan) -> Result<Connection> + Sync),
    /// Enters an account over DAV; none where the target speaks none.
    pub enter: Option<&'a Enter<'a>>,
    /// Is told how it goes.
    pub monitor: &'a dyn Monitor,
}

/// Reads everything back and adds it to the report. What cannot be compared is an exception of the report, and the rest goes on. Gives
/// back how many items of the plan were not compared, because there is no comparison for their kind.
///
/// # Errors
/// Those of reading the archive and writing the report.
pub fn run(job: &Job<'_>, report: &Mutex<Builder>) -> Result<u64> {
    let mut scope = Scope::default();
    for account in job.accounts {
        scope.add(job, &mut lock(report), account)?;
    }
    let sample = job.sample.map(|(items, seed)| scope.draw(job, items, seed)).transpose()?;
    let work = Work { job, report, scope: &scope, sample: sample.as_ref() };
    let one_login = job.plan.login != Login::Own;
    let ended = each_account(job.accounts, job.connections, one_login, |account, judgement: &mut Judgement| {
        work.account(account, judgement)
    });
    let mut report = lock(report);
    let mut all = Judgement::default();
    for (account, (judgement, ended)) in job.accounts.iter().zip(ended) {
        all.add(&judgement);
        if let Err(e) = ended {
            unproven(&mut report, account, "", &e.to_string())?;
        }
    }
    add_leftovers(&mut report, job.archive, job.snapshot)?;
    for line in all.forecast() {
        report.forecast(line)?;
    }
    if let (Some(fixity), Some(sample)) = (&mut report.fixity, &sample) {
        fixity.sample = Some(crate::report::Sample { items: sample.items(), seed: sample.seed() });
    }
    Ok(scope.not_compared)
}

fn lock(report: &Mutex<Builder>) -> MutexGuard<'_, Builder> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unproven(report: &mut Builder, account: &AccountPlan, folder: &str, why: &str) -> Result<()> {
    let (account, folder) = (account.source.clone(), folder.to_owned());
    let example = Example { account, folder, place: String::new(), detail: why.to_owned() };
    report.exception(Class::Unproven, "could not be compared", example)
}

/// One folder that is compared.
struct Compare<'a> {
    account: &'a AccountPlan,
    collection: CollectionEntry,
    to: FolderPlan,
    id: FolderId,
    /// What the target has refused, and why, once it was asked for.
    refusals: Mutex<Option<HashMap<Digest, String>>>,
}

impl Compare<'_> {
    fn folder<'a>(&'a self, archive: &'a Archive, sample: Option<&'a Sample>) -> Folder<'a> {
        let Compare { account, collection, to, .. } = self;
        Folder { archive, account: &account.source, collection, part: to.part, to: &to.to.0, sample }
    }
}

/// What is compared, and what is not.
#[derive(Default)]
struct Scope<'a> {
    folders: HashMap<String, Vec<Compare<'a>>>,
    not_compared: u64,
}

impl<'a> Scope<'a> {
    /// Adds an account's folders to the report, whether they will be compared or not: its totals are those of the archive.
    fn add(&mut self, job: &Job<'_>, report: &mut Builder, account: &'a AccountPlan) -> Result<()> {
        let entry = account.entry(job.snapshot)?;
        let folders = self.folders.entry(account.source.clone()).or_default();
        for collection in job.archive.collections(entry)? {
            let id = add_folder(report, job.archive, &account.source, &collection)?;
            let path = &collection.head.path;
            let spoken = collection.head.kind == CollectionKind::Mail || job.enter.is_some();
            let parts: Vec<FolderPlan> = account.folders_of(&collection.head).filter(|_| spoken).cloned().collect();
            if !parts.is_empty() {
                folders.extend(parts.into_iter().map(|to| Compare {
                    account,
                    collection: collection.clone(),
                    to,
                    id,
                    refusals: Mutex::default(),
                }));
                continue;
            }
            let items = collection.items;
            let why = if spoken { "the plan leaves it out" } else { "the target speaks no DAV" };
            if !spoken && account.folders_of(&collection.head).next().is_some() {
                self.not_compared += items;
            }
            report.scope.out_of_scope.push(format!("{} {path}, {items} items: {why}.", account.source));
        }
        Ok(())
    }

    /// Draws a sample of what is compared.
    fn draw(&self, job: &Job<'_>, items: usize, seed: u64) -> Result<Sample> {
        let mut sample = Sample::new(items, seed);
        for (account, folders) in &self.folders {
            for folder in folders {
                folder.folder(job.archive, None).placements(&mut |item, n| {
                    sample.put(account, &folder.collection.head.path, &item.sha256, n);
                    Ok(())
                })?;
            }
        }
        Ok(sample)
    }
}

struct Work<'a> {
    job: &'a Job<'a>,
    report: &'a Mutex<Builder>,
    scope: &'a Scope<'a>,
    sample: Option<&'a Sample>,
}

impl Work<'_> {
    fn account(&self, account: &AccountPlan, judgement: &mut Judgement) -> Result<()> {
        let foreseen = self.job.forecast.map(|forecast| forecast.of_account(&account.source)).transpose()?.unwrap_or_default();
        let mut connection = None;
        let mut entered = None;
        for folder in self.scope.folders.get(&account.source).into_iter().flatten() {
            if folder.to.part == Part::Mail {
                self.folder(account, folder, &foreseen, &mut connection, judgement)?;
            } else {
                self.dav_folder(account, folder, &foreseen, &mut entered, judgement)?;
            }
        }
        if let Some(connection) = connection {
            connection.logout();
        }
        Ok(())
    }

    fn folder(
        &self,
        account: &AccountPlan,
        folder: &Compare<'_>,
        foreseen: &OfAccount,
        connection: &mut Option<Connection>,
        judgement: &mut Judgement,
    ) -> Result<()> {
        let uids = |validity, wanted: &HashSet<Key>| self.uids(folder, validity, wanted);
        let compared = folder.folder(self.job.archive, self.sample);
        let done = compare(compared, &uids, &mut || (self.job.connect)(account), connection, self.job.monitor, &mut |compared| {
            let on_target = compared.seen.map(|seen| format!("{} UID {}", folder.to.to, seen.uid));
            self.tell(folder, foreseen, judgement, compared.item, on_target, compared.verdict)
        });
        self.ended(account, folder, done)
    }

    fn dav_folder(
        &self,
        account: &AccountPlan,
        folder: &Compare<'_>,
        foreseen: &OfAccount,
        entered: &mut Option<(Client, Homes)>,
        judgement: &mut Judgement,
    ) -> Result<()> {
        let Some(enter) = self.job.enter else { return Ok(()) };
        let (client, homes) = match entered {
            Some(entered) => entered,
            None => entered.insert(enter(account)?),
        };
        let compared = folder.folder(self.job.archive, self.sample);
        let done = compare_folder(compared, client, homes, self.job.monitor, &mut |compared| {
            self.tell(folder, foreseen, judgement, compared.item, compared.href, compared.verdict)
        });
        self.ended(account, folder, done)
    }

    fn ended(&self, account: &AccountPlan, folder: &Compare<'_>, done: Result<()>) -> Result<()> {
        // Where nobody can log in, no other folder can be read either.
        match done {
            Err(e) if e.kind().is_transient() || e.kind() == crate::error::Kind::Login => Err(e.with("folder", &folder.to.to)),
            Err(e) => unproven(&mut lock(self.report), account, &folder.collection.head.path.to_string(), &e.to_string()),
            Ok(()) => Ok(()),
        }
    }

    fn tell(
        &self,
        folder: &Compare<'_>,
        foreseen: &OfAccount,
        judgement: &mut Judgement,
        item: Option<Placement>,
        on_target: Option<String>,
        mut verdict: Verdict,
    ) -> Result<()> {
        let source = item.as_ref().map(|item| item.source.to_string()).unwrap_or_default();
        let none = Vec::new();
        let expected = match verdict {
            Verdict::Duplicate | Verdict::Extra => &none,
            _ => foreseen.get(&folder.collection.head.path).and_then(|of_folder| of_folder.get(&source)).unwrap_or(&none),
        };
        only_named(&mut verdict, expected);
        let Judged { mut finding, untrue } = judgement.judge(expected, verdict);
        if let (Finding::Changed(changes) | Finding::Altered(changes), Some(place)) = (&mut finding, &on_target) {
            changes.iter_mut().take(1).for_each(|change| change.detail += &format!(" ({place})"));
        }
        if let (Finding::Missing(why), Some(item)) = (&mut finding, &item) {
            *why = self.refusal(folder, item)?;
        }
        let place = if item.is_some() { source } else { on_target.unwrap_or_default() };
        let mut report = lock(self.report);
        for detail in untrue {
            let example = Example {
                account: folder.account.source.clone(),
                folder: folder.collection.head.path.to_string(),
                place: place.clone(),
                detail,
            };
            report.exception(Class::Note, "a forecast did not come true", example)?;
        }
        if let (Some(fixity), false) = (&mut report.fixity, matches!(finding, Finding::Missing(_) | Finding::Refused(_))) {
            fixity.objects += 1;
            fixity.bytes += item.as_ref().map_or(0, |item| item.size);
        }
        report.compared(folder.id, item.as_ref(), &place, &finding)
    }

    /// Why the target refuses an item, as replay wrote it down.
    fn refusal(&self, folder: &Compare<'_>, item: &Placement) -> Result<Option<String>> {
        let Some(journal) = self.job.journal else { return Ok(None) };
        let mut known = folder.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            let mut reasons = HashMap::new();
            if let Some(collection) = journal.find(self.name_of(folder))? {
                journal.rows(collection.id, &mut |row| {
                    if let (Status::Failed, Some(reason)) = (row.status, row.reason) {
                        reasons.insert(row.sha256, reason);
                    }
                    Ok(())
                })?;
            }
            *known = Some(reasons);
        }
        // Of messages it has the form that was sent.
        let forms = [Some(item.sha256), item.crlf.map(|form| form.sha256)];
        Ok(known.as_ref().and_then(|reasons| forms.into_iter().flatten().find_map(|form| reasons.get(&form).cloned())))
    }

    /// By what the journal knows a folder.
    fn name_of<'a>(&'a self, folder: &'a Compare<'a>) -> CollectionName<'a> {
        let route = self.job.plan.route(folder.account);
        CollectionName { route, part: folder.to.part, path: &folder.collection.head.path }
    }

    /// UIDs of those of these placements that the journal knows to be in the folder, as long as that was not made anew since.
    fn uids(&self, folder: &Compare<'_>, validity: u32, wanted: &HashSet<Key>) -> Result<HashMap<Key, u32>> {
        let mut uids = HashMap::new();
        let Some(journal) = self.job.journal else { return Ok(uids) };
        if let Some(collection) = journal.find(self.name_of(folder))?.filter(|collection| collection.validity == Some(validity)) {
            journal.rows(collection.id, &mut |row| {
                if let (Status::Confirmed, Some(uid), true) = (row.status, row.remote.uid, wanted.contains(&row.key)) {
                    uids.insert(row.key, uid);
                }
                Ok(())
            })?;
        }
        Ok(uids)
    }
}
