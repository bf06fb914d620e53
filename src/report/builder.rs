//! The builder: counts while a job runs, writes the lists out as they come, and finishes the report.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::actions::action;
use super::model::{
    Bar, Cause, Change, Class, Compare, Compared, Duplicates, EXAMPLES, Event, Example, Finding, Fixity, Forecast, Header, Job,
    Outcome, Repeats, Report, Scope, Seal, Spread, Step, Sum, Total, Totals, Verdict, type_name,
};
use super::page;
use super::repeats::Keys;
use super::side::{ID_DIGITS, Lines, item_id};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionKind, CollectionPath, Digest, Exception, Ledger, Placement, printable_json};

/// Causes that are told apart; hostile sources could make up any number.
const CAUSES_MAX: usize = 300;
/// What causes beyond that are counted under.
const OTHERS: &str = "other causes, see exceptions.csv";
const YEARS: std::ops::RangeInclusive<i16> = 1985..=2100;
const SIZES: [(u64, &str); 8] = [
    (4 << 10, "under 4 KiB"),
    (16 << 10, "4 to 16 KiB"),
    (64 << 10, "16 to 64 KiB"),
    (256 << 10, "64 to 256 KiB"),
    (1 << 20, "256 KiB to 1 MiB"),
    (4 << 20, "1 to 4 MiB"),
    (16 << 20, "4 to 16 MiB"),
    (u64::MAX, "16 MiB and more"),
];

/// A folder of the report that is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderId(usize);

struct Folder {
    account: String,
    path: String,
    kind: Option<CollectionKind>,
    uid_validity: Option<u32>,
    ledger: Ledger,
    compared: Compared,
}

/// A report that is being built. Folders, items and exceptions may come in any order; only the lists on disk grow with them.
pub struct Builder {
    folder: PathBuf,
    header: Header,
    /// What was looked at.
    pub scope: Scope,
    /// The fixity check, when there was one.
    pub fixity: Option<Fixity>,
    folders: Vec<Folder>,
    causes: BTreeMap<(Class, String), Cause>,
    compare: Option<Compare>,
    custody: Vec<Event>,
    seals: Vec<Seal>,
    steps: Vec<Step>,
    reasons: Vec<(Outcome, String)>,
    years: BTreeMap<String, Bar>,
    sizes: Vec<Bar>,
    labelled: u64,
    by_bytes: Keys,
    by_message_id: Keys,
    items_jsonl: Lines,
    items_csv: Lines,
    exceptions_csv: Lines,
    duplicates_csv: Lines,
}

/// One line of `items.jsonl`.
#[derive(Serialize)]
struct ItemLine<'a> {
    id: &'a str,
    account: &'a str,
    folder: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_validity: Option<u32>,
    state: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    /// SHA-256 of the form that is compared: with CR LF line ends for mail, else the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_sha256: Option<Digest>,
    #[serde(flatten)]
    placement: Option<&'a Placement>,
}

const ITEM_COLUMNS: [&str; 17] = [
    "id",
    "account",
    "folder",
    "kind",
    "state",
    "detail",
    "size",
    "sha256",
    "canonical_sha256",
    "date",
    "flags",
    "keywords",
    "uid",
    "uid_validity",
    "source_path",
    "source_offset",
    "message_id",
];

/// What the items of a group have in common, the group's number, its items (or an item's labels), the item, and how it is kept.
const DUPLICATE_COLUMNS: [&str; 5] = ["by", "group", "items", "id", "kept"];

impl Builder {
    /// Begins a report in a folder, which is made when it is not there; the files of an earlier report in it are replaced.
    ///
    /// # Errors
    /// `Kind::Storage` when it cannot be written.
    pub fn create(folder: &Path, header: Header) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(Kind::Storage, "cannot make the report's folder", folder, e))?;
        let exceptions = ["class", "cause", "account", "folder", "place", "detail", "action"];
        Ok(Builder {
            folder: folder.to_owned(),
            header,
            scope: Scope::default(),
            fixity: None,
            folders: Vec::new(),
            causes: BTreeMap::new(),
            compare: None,
            custody: Vec::new(),
            seals: Vec::new(),
            steps: Vec::new(),
            reasons: Vec::new(),
            years: BTreeMap::new(),
            sizes: SIZES.iter().map(|(_, label)| Bar { label: (*label).to_owned(), items: 0, bytes: 0 }).collect(),
            labelled: 0,
            by_bytes: Keys::new()?,
            by_message_id: Keys::new()?,
            items_jsonl: Lines::create(folder, "items.jsonl", "every item, an object a line")?,
            items_csv: Lines::csv(folder, "items.csv", "every item, a row each", &ITEM_COLUMNS)?,
            exceptions_csv: Lines::csv(folder, "exceptions.csv", "every exception, a row each", &exceptions)?,
            duplicates_csv: Lines::csv(
                folder,
                "duplicates.csv",
                "items that are alike, by their id in items.csv",
                &DUPLICATE_COLUMNS,
            )?,
        })
    }

    /// Adds a folder of an account with its ledger.
    pub fn folder(&mut self, account: &str, path: &CollectionPath, kind: CollectionKind, ledger: &Ledger) -> FolderId {
        self.add_folder(account, path.to_string(), Some(kind), ledger)
    }

    /// Adds what belongs to no folder, such as a store that could not be opened.
    pub fn unassigned(&mut self, account: &str, ledger: &Ledger) -> FolderId {
        self.add_folder(account, String::new(), None, ledger)
    }

    fn add_folder(&mut self, account: &str, path: String, kind: Option<CollectionKind>, ledger: &Ledger) -> FolderId {
        self.folders.push(Folder {
            account: account.to_owned(),
            path,
            kind,
            uid_validity: None,
            ledger: ledger.clone(),
            compared: Compared::default(),
        });
        FolderId(self.folders.len() - 1)
    }

    /// Says the UIDVALIDITY of a folder, for its items.
    pub fn uid_validity(&mut self, folder: FolderId, uid_validity: Option<u32>) {
        self.folders[folder.0].uid_validity = uid_validity;
    }

    /// Adds an item that is in the archive.
    ///
    /// # Errors
    /// `Kind::Storage` when the lists cannot be written; so for all that follow.
    pub fn item(&mut self, folder: FolderId, item: &Placement) -> Result<()> {
        let place = item.source.to_string();
        let id = self.id_of(folder, Some(item), &place);
        self.tally(item, &id)?;
        self.write_item(folder, Some(item), "captured", (&id, &place), "")
    }

    /// Adds what a comparison found of one item. Of an item that only the target has, there is no placement; `place` says
    /// where it lies in the target. What is not identical, equivalent or allowed becomes an exception too.
    ///
    /// # Errors
    /// As [`Builder::item`].
    pub fn compared(&mut self, folder: FolderId, item: Option<&Placement>, place: &str, finding: &Finding) -> Result<()> {
        let id = self.id_of(folder, item, place);
        if let (Some(item), false) = (item, matches!(finding, Finding::Duplicate | Finding::Extra)) {
            self.tally(item, &id)?;
        }
        self.folders[folder.0].compared.count(finding);
        let compare = self.compare.get_or_insert_default();
        compare.all.count(finding);
        let (state, detail) = words_of(finding);
        match finding {
            Finding::Equivalent(rule) => bump(&mut compare.rules, rule),
            Finding::Changed(changes) | Finding::Altered(changes) => {
                changes.iter().for_each(|change| bump(&mut compare.changes, &change.what));
            }
            _ => {}
        }
        if let Some((class, cause)) = exception_of(finding) {
            let at = &self.folders[folder.0];
            let example =
                Example { account: at.account.clone(), folder: at.path.clone(), place: place.to_owned(), detail: detail.clone() };
            self.exception(class, &cause, example)?;
        }
        self.write_item(folder, item, state, (&id, place), &detail)
    }

    /// Says how the comparison was made; a comparison of nothing is one too.
    pub fn compare_method(&mut self, method: &str) {
        self.compare.get_or_insert_default().method = method.to_owned();
    }

    /// Adds a line of the forecast with what came of it; where they differ that is an exception.
    ///
    /// # Errors
    /// As [`Builder::item`].
    pub fn forecast(&mut self, line: Forecast) -> Result<()> {
        if !line.agrees() {
            let detail = format!("forecast {} times, happened {} times", line.expected, line.happened);
            let example = Example { account: String::new(), folder: String::new(), place: line.what.clone(), detail };
            self.exception(Class::Note, "the outcome is not the forecast", example)?;
        }
        self.compare.get_or_insert_default().forecast.push(line);
        Ok(())
    }

    /// Adds an item that was not captured.
    ///
    /// # Errors
    /// As [`Builder::item`].
    pub fn not_captured(&mut self, e: &Exception) -> Result<()> {
        let class = match e.outcome {
            crate::model::Outcome::Skipped => Class::Skipped,
            crate::model::Outcome::Failed => Class::Failed,
        };
        let example = Example {
            account: e.account.clone(),
            folder: e.collection.clone(),
            place: e.source.to_string(),
            detail: e.detail.clone(),
        };
        self.exception(class, &e.reason, example)
    }

    /// Adds any exception.
    ///
    /// # Errors
    /// As [`Builder::item`].
    pub fn exception(&mut self, class: Class, cause: &str, example: Example) -> Result<()> {
        let todo = action(class, cause);
        let Example { account, folder, place, detail } = &example;
        let cells = [class.word(), cause, account, folder, place, detail, todo];
        self.exceptions_csv.row(cells.map(str::to_owned))?;
        let known = self.causes.len() < CAUSES_MAX || self.causes.contains_key(&(class, cause.to_owned()));
        let cause = if known { cause } else { OTHERS };
        let entry = self.causes.entry((class, cause.to_owned())).or_insert_with(|| Cause {
            class,
            cause: cause.to_owned(),
            count: 0,
            action: todo.to_owned(),
            examples: Vec::new(),
        });
        entry.count += 1;
        if entry.examples.len() < EXAMPLES {
            entry.examples.push(example);
        }
        Ok(())
    }

    /// Makes the verdict at least as bad as this, for this reason.
    pub fn at_least(&mut self, outcome: Outcome, reason: impl Into<String>) {
        self.reasons.push((outcome, reason.into()));
    }

    /// Adds an event of the chain of custody.
    pub fn event(&mut self, event: Event) {
        self.custody.push(event);
    }

    /// Adds a signature or timestamp; one that does not hold makes the verdict FAIL.
    pub fn seal(&mut self, seal: Seal) {
        if !seal.good {
            self.at_least(Outcome::Fail, format!("the {} by {} does not hold: {}", seal.kind, seal.by, seal.result));
        }
        self.seals.push(seal);
    }

    /// Adds a step that a third party can repeat, before those on the report's own files.
    pub fn step(&mut self, shows: &str, command: impl Into<String>, expect: &str) {
        self.steps.push(Step { shows: shows.to_owned(), command: command.into(), expect: expect.to_owned() });
    }

    fn id_of(&self, folder: FolderId, item: Option<&Placement>, place: &str) -> Digest {
        let folder = &self.folders[folder.0];
        item_id(&folder.account, &folder.path, place, item.map(|i| &i.sha256))
    }

    fn tally(&mut self, item: &Placement, id: &Digest) -> Result<()> {
        self.by_bytes.push(&item.sha256, id)?;
        if let Some(message_id) = &item.message_id {
            self.by_message_id.push(&Digest::of(message_id.as_bytes()), id)?;
        }
        if item.labels.len() > 1 {
            self.labelled += 1;
            let (labels, id) = (item.labels.len().to_string(), id.to_string()[..ID_DIGITS].to_owned());
            self.duplicates_csv.row(["labels".to_owned(), String::new(), labels, id, "once, with all its labels".to_owned()])?;
        }
        let year = item.date.map(|d| d.at.to_zoned(jiff::tz::TimeZone::UTC).year());
        let label = match year {
            None => "no date".to_owned(),
            Some(year) if year < *YEARS.start() => format!("before {}", YEARS.start()),
            Some(year) if year > *YEARS.end() => format!("later than {}", YEARS.end()),
            Some(year) => year.to_string(),
        };
        let year = self.years.entry(label).or_insert_with_key(|label| Bar { label: label.clone(), items: 0, bytes: 0 });
        let size = SIZES.iter().position(|(limit, _)| item.size < *limit).unwrap_or(SIZES.len() - 1);
        for bar in [year, &mut self.sizes[size]] {
            bar.items += 1;
            bar.bytes = bar.bytes.saturating_add(item.size);
        }
        Ok(())
    }

    fn write_item(
        &mut self,
        folder: FolderId,
        item: Option<&Placement>,
        state: &str,
        (id, place): (&Digest, &str),
        detail: &str,
    ) -> Result<()> {
        let folder = &self.folders[folder.0];
        let id = id.to_string()[..ID_DIGITS].to_owned();
        let kind = type_name(folder.kind);
        let canonical = item.map(|i| i.crlf.map_or(i.sha256, |form| form.sha256));
        self.items_jsonl.json(&ItemLine {
            id: &id,
            account: &folder.account,
            folder: &folder.path,
            kind: &kind,
            uid_validity: folder.uid_validity,
            state,
            detail,
            canonical_sha256: canonical,
            placement: item,
        })?;
        let text = |value: Option<String>| value.unwrap_or_default();
        let flags = item.map(|i| i.flags.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(" "));
        self.items_csv.row([
            id,
            folder.account.clone(),
            folder.path.clone(),
            kind,
            state.to_owned(),
            detail.to_owned(),
            text(item.map(|i| i.size.to_string())),
            text(item.map(|i| i.sha256.to_string())),
            text(canonical.map(|c| c.to_string())),
            text(item.and_then(|i| i.date).map(|d| d.at.to_string())),
            text(flags),
            text(item.map(|i| i.keywords.join(" "))),
            text(item.and_then(|i| i.source.uid.map(|uid| uid.to_string()).or_else(|| i.uid.clone()))),
            text(folder.uid_validity.map(|v| v.to_string())),
            item.map_or_else(|| place.to_owned(), |i| i.source.path.clone()),
            text(item.and_then(|i| i.source.offset).map(|o| o.to_string())),
            text(item.and_then(|i| i.message_id.clone())),
        ])
    }

    /// Decides the verdict and writes `report.json`, `report.html` and the lists.
    ///
    /// # Errors
    /// `Kind::Storage` when they cannot be written.
    pub fn finish(mut self) -> Result<Report> {
        let totals = totals(&self.folders, self.compare.is_some());
        let mut totals_csv = Lines::csv(&self.folder, "totals.csv", "control totals on four levels", &TOTAL_COLUMNS)?;
        write_totals(&totals, &mut totals_csv)?;
        self.unbalanced(&totals);
        let mut exceptions: Vec<Cause> = self.causes.into_values().collect();
        exceptions.sort_by_key(|cause| (cause.class, std::cmp::Reverse(cause.count)));
        let verdict = verdict(self.header.job, self.reasons, &exceptions);
        let list = &mut self.duplicates_csv;
        let duplicates = Duplicates {
            by_bytes: write_repeats(self.by_bytes, ("bytes", "stored once, each place listed"), list)?,
            by_message_id: write_repeats(self.by_message_id, ("message-id", "each as it is"), list)?,
            by_label: self.labelled,
        };
        let files = vec![
            self.items_jsonl.finish()?,
            self.items_csv.finish()?,
            self.exceptions_csv.finish()?,
            self.duplicates_csv.finish()?,
            totals_csv.finish()?,
        ];
        let mut repeat = self.steps;
        repeat.extend(files.iter().map(|file| Step {
            shows: format!("{} is the list that this report counts", file.name),
            command: format!("sha256sum {}", file.name),
            expect: file.sha256.to_string(),
        }));
        self.custody.sort_by_key(|event| event.at);
        let report = Report {
            format: "floe report",
            version: 1,
            verdict,
            header: self.header,
            scope: self.scope,
            totals,
            exceptions,
            duplicates,
            fixity: self.fixity,
            compare: self.compare,
            custody: self.custody,
            seals: self.seals,
            repeat,
            spread: Spread { years: in_order(self.years), sizes: self.sizes },
            files,
        };
        write_whole(&self.folder, "report.json", "the report", &json(&report)?)?;
        write_whole(&self.folder, "report.html", "the report", page::html(&report).as_bytes())?;
        Ok(report)
    }

    /// The job that the report is about.
    pub fn job(&self) -> Job {
        self.header.job
    }

    /// A ledger that does not balance is a FAIL, on whichever level it shows.
    fn unbalanced(&mut self, totals: &Totals) {
        let broken = |totals: &[Total]| totals.iter().filter(|t| !t.all.holds).count();
        let folders = broken(&totals.folders);
        if folders > 0 || broken(&totals.accounts) > 0 || broken(&totals.domains) > 0 || !totals.server.all.holds {
            let reason = format!("source = captured + skipped + failed does not hold for {folders} folders");
            self.reasons.push((Outcome::Fail, reason));
        }
    }
}

/// Lists the items of each group, and counts them.
fn write_repeats(keys: Keys, (by, kept): (&str, &str), list: &mut Lines) -> Result<Repeats> {
    let mut number = 0;
    keys.repeats(&mut |group| {
        number += 1;
        let (group_number, items) = (number.to_string(), group.len().to_string());
        group.iter().try_for_each(|keyed| {
            let id = format!("{:032x}", keyed.id);
            list.row([by.to_owned(), group_number.clone(), items.clone(), id, kept.to_owned()])
        })
    })
}

fn bump(counts: &mut BTreeMap<String, u64>, what: &str) {
    let known = counts.len() < CAUSES_MAX || counts.contains_key(what);
    *counts.entry(if known { what } else { "others" }.to_owned()).or_default() += 1;
}

/// The state of an item in the lists, and what is to be said of it.
fn words_of(finding: &Finding) -> (&'static str, String) {
    match finding {
        Finding::Identical => ("identical", String::new()),
        Finding::Equivalent(rule) => ("equivalent", rule.clone()),
        Finding::Changed(changes) => ("changed", in_words(changes)),
        Finding::Altered(changes) => ("altered", in_words(changes)),
        Finding::Missing(why) => ("missing", why.clone().unwrap_or_default()),
        Finding::Extra => ("extra", String::new()),
        Finding::Duplicate => ("duplicate", String::new()),
        Finding::Refused(why) => ("refused", why.clone()),
    }
}

fn in_words(changes: &[Change]) -> String {
    let words = changes.iter().map(|c| if c.detail.is_empty() { c.what.clone() } else { format!("{}: {}", c.what, c.detail) });
    words.collect::<Vec<_>>().join("; ")
}

/// What changed, each once and without the details.
fn causes_of(changes: &[Change]) -> String {
    let mut what: Vec<&str> = changes.iter().map(|change| change.what.as_str()).collect();
    what.dedup();
    what.join(", ")
}

fn exception_of(finding: &Finding) -> Option<(Class, String)> {
    Some(match finding {
        Finding::Identical | Finding::Equivalent(_) => return None,
        Finding::Changed(changes) => (Class::Changed, format!("changed: {}", causes_of(changes))),
        Finding::Altered(changes) => (Class::Altered, format!("changed as forecast: {}", causes_of(changes))),
        Finding::Missing(None) => (Class::Missing, "not in the target".to_owned()),
        Finding::Missing(Some(_)) => (Class::Missing, "not in the target, which has refused it".to_owned()),
        Finding::Extra => (Class::Extra, "not in the archive".to_owned()),
        Finding::Duplicate => (Class::Duplicate, "more than once in the target".to_owned()),
        Finding::Refused(why) => (Class::Refused, format!("refused: {why}")),
    })
}

fn verdict(job: Job, mut reasons: Vec<(Outcome, String)>, exceptions: &[Cause]) -> Verdict {
    // A check of an archive says whether it is intact; that the source had items nobody could read is listed, and no news.
    let counts = |cause: &&Cause| !(job == Job::Verify && cause.class == Class::Failed);
    for cause in exceptions.iter().filter(counts).filter(|c| c.class.verdict() > Outcome::Pass) {
        reasons.push((cause.class.verdict(), format!("{} {}: {}", cause.count, cause.class.word(), cause.cause)));
    }
    reasons.retain(|(outcome, _)| *outcome > Outcome::Pass);
    reasons.sort_by_key(|(outcome, _)| std::cmp::Reverse(*outcome));
    let result = reasons.first().map_or(Outcome::Pass, |(outcome, _)| *outcome);
    Verdict { result, exit_code: result.code(), reasons: reasons.into_iter().map(|(_, reason)| reason).collect() }
}

/// Sums of ledgers under one name.
#[derive(Default)]
struct Adding {
    all: Ledger,
    by_type: BTreeMap<String, Ledger>,
    compared: Compared,
    /// Does every ledger in it balance? Two that do not could make a sum that does.
    holds: bool,
}

impl Adding {
    fn add(&mut self, folder: &Folder) {
        self.all.add(&folder.ledger);
        self.by_type.entry(type_name(folder.kind)).or_default().add(&folder.ledger);
        self.compared.add(&folder.compared);
        self.holds &= folder.ledger.balances();
    }

    fn total(self, name: String, account: Option<String>, compare: bool) -> Total {
        let mut all = Sum::of(&self.all);
        all.holds &= self.holds;
        Total {
            name,
            account,
            all,
            by_type: self.by_type.into_iter().map(|(kind, ledger)| (kind, Sum::of(&ledger))).collect(),
            compare: compare.then_some(self.compared),
        }
    }
}

fn fresh() -> Adding {
    Adding { holds: true, ..Adding::default() }
}

fn totals(folders: &[Folder], compare: bool) -> Totals {
    let mut server = fresh();
    let (mut domains, mut accounts) = (HashMap::<String, Adding>::new(), HashMap::<&str, Adding>::new());
    let mut rows = Vec::new();
    for folder in folders {
        let domain = folder.account.rsplit_once('@').map(|(_, domain)| domain.to_lowercase()).unwrap_or_default();
        server.add(folder);
        domains.entry(domain).or_insert_with(fresh).add(folder);
        accounts.entry(&folder.account).or_insert_with(fresh).add(folder);
        let mut row = fresh();
        row.add(folder);
        rows.push(row.total(folder.path.clone(), Some(folder.account.clone()), compare));
    }
    rows.sort_by(|a, b| (&a.account, &a.name).cmp(&(&b.account, &b.name)));
    let mut domains: Vec<Total> = domains.into_iter().map(|(name, sum)| sum.total(name, None, compare)).collect();
    let mut accounts: Vec<Total> = accounts.into_iter().map(|(name, sum)| sum.total(name.to_owned(), None, compare)).collect();
    domains.sort_by(|a, b| a.name.cmp(&b.name));
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    Totals { server: server.total(String::new(), None, compare), domains, accounts, folders: rows }
}

const TOTAL_COLUMNS: [&str; 11] =
    ["level", "account", "name", "type", "source", "captured", "skipped", "failed", "bytes", "oxum", "holds"];

fn write_totals(totals: &Totals, csv: &mut Lines) -> Result<()> {
    let levels = [
        ("server", std::slice::from_ref(&totals.server)),
        ("domain", &totals.domains),
        ("account", &totals.accounts),
        ("folder", &totals.folders),
    ];
    for (level, totals) in levels {
        for total in totals {
            let all = "all".to_owned();
            for (kind, sum) in total.by_type.iter().chain([(&all, &total.all)]) {
                let numbers = [sum.source, sum.captured, sum.skipped_total(), sum.failed_total(), sum.bytes];
                let names = [level.to_owned(), total.account.clone().unwrap_or_default(), total.name.clone(), kind.clone()];
                let ends = [sum.oxum.clone(), sum.holds.to_string()];
                csv.row(names.into_iter().chain(numbers.map(|n| n.to_string())).chain(ends))?;
            }
        }
    }
    Ok(())
}

/// Years in order, what has no year at the end.
fn in_order(years: BTreeMap<String, Bar>) -> Vec<Bar> {
    let mut bars: Vec<Bar> = years.into_values().collect();
    bars.sort_by_key(|bar| match bar.label.as_bytes().first() {
        Some(b'b') => 0,
        Some(b'0'..=b'9') => 1,
        Some(b'l') => 2,
        _ => 3,
    });
    bars
}

fn json(report: &Report) -> Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(report).map_err(|e| Error::new(Kind::Internal, "cannot write JSON").because(e))?;
    // Line ends are the only control characters that stand outside of strings.
    let lines: Vec<String> = text.lines().map(printable_json).collect();
    Ok((lines.join("\n") + "\n").into_bytes())
}

fn write_whole(folder: &Path, name: &str, what: &'static str, bytes: &[u8]) -> Result<()> {
    let mut file = Lines::create(folder, name, what)?;
    file.put(bytes)?;
    file.finish().map(|_| ())
}
