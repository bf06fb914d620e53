//! The report as types: what `report.json` holds, member by member (docs/report.schema.json).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{CollectionKind, Digest, Ledger};

/// Examples kept of each cause; the full list is in the side file.
pub const EXAMPLES: usize = 20;

/// A whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Always `floe report`.
    pub format: &'static str,
    /// Version of this structure.
    pub version: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// Who, what, when, with what.
    pub header: Header,
    /// What was looked at, and what was not.
    pub scope: Scope,
    /// Control totals on four levels.
    pub totals: Totals,
    /// What is not as it should be, by cause.
    pub exceptions: Vec<Cause>,
    /// Items that are there more than once; never losses.
    pub duplicates: Duplicates,
    /// The fixity check, when the job made one.
    pub fixity: Option<Fixity>,
    /// Archive against target, when the job compared them.
    pub compare: Option<Compare>,
    /// What happened to the archive, oldest first.
    pub custody: Vec<Event>,
    /// Signatures and timestamps that are present.
    pub seals: Vec<Seal>,
    /// How a third party repeats the check with stock tools.
    pub repeat: Vec<Step>,
    /// Items by year and by size.
    pub spread: Spread,
    /// The files beside this one, with their digests.
    pub files: Vec<SideFile>,
}

/// How a job ended; says the same as the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Outcome {
    /// All well: exit code 0.
    #[serde(rename = "PASS")]
    Pass,
    /// Finished, with exceptions that are listed: exit code 1.
    #[serde(rename = "PASS WITH EXCEPTIONS")]
    PassWithExceptions,
    /// Failed: exit code 2.
    #[serde(rename = "FAIL")]
    Fail,
}

impl Outcome {
    /// In words, as the last line of a command has it.
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Pass => "PASS",
            Outcome::PassWithExceptions => "PASS WITH EXCEPTIONS",
            Outcome::Fail => "FAIL",
        }
    }

    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Outcome::Pass => 0,
            Outcome::PassWithExceptions => 1,
            Outcome::Fail => 2,
        }
    }
}

/// The verdict and its reasons.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// PASS, PASS WITH EXCEPTIONS or FAIL.
    pub result: Outcome,
    /// 0, 1 or 2.
    pub exit_code: u8,
    /// Why it is not PASS, worst first.
    pub reasons: Vec<String>,
}

/// What kind of job a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// Sources were captured into an archive.
    Snapshot,
    /// An archive was checked.
    Verify,
    /// A target was compared with an archive.
    Validate,
}

impl Job {
    /// As a command is called.
    pub fn name(self) -> &'static str {
        match self {
            Job::Snapshot => "snapshot",
            Job::Verify => "verify",
            Job::Validate => "validate",
        }
    }
}

/// Who made the report, when, with what, about which archive.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// Names this report.
    pub id: String,
    /// The job.
    pub job: Job,
    /// When the report was begun.
    pub created: Timestamp,
    /// Which clock said so.
    pub clock: String,
    /// The program.
    pub tool: Program,
    /// The archive.
    pub archive: Option<ArchiveIdentity>,
    /// The machine, without secrets.
    pub host: Host,
    /// Who ran it, as far as the environment says.
    pub operator: Option<String>,
    /// The options in use.
    pub options: BTreeMap<String, String>,
}

/// The program that made a report.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The commit that it was built from, where the build knew it.
    pub commit: Option<&'static str>,
    /// SHA-256 of the running binary.
    pub sha256: Option<Digest>,
}

/// The machine that a report was made on.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Operating system.
    pub os: &'static str,
    /// Processor.
    pub arch: &'static str,
    /// Tells machines apart without naming them: a digest of the machine's id or name.
    pub fingerprint: Option<String>,
}

/// Which archive, in which state.
#[derive(Clone, Debug, Serialize)]
pub struct ArchiveIdentity {
    /// SHA-256 of the archive's first root: the same for its whole life.
    pub id: Digest,
    /// The folder, as given.
    pub path: String,
    /// The snapshot reported on.
    pub snapshot: String,
    /// The newest state.
    pub checkpoint: Checkpoint,
    /// Bytes and files of the payload, as BagIt has it.
    pub payload_oxum: Option<String>,
}

/// A state of an archive: commits to all before it.
#[derive(Clone, Debug, Serialize)]
pub struct Checkpoint {
    /// Which log of roots.
    pub origin: String,
    /// Roots in it.
    pub size: u64,
    /// SHA-256 of the root.
    pub root: Digest,
    /// The root's first 128 bits in groups, to read out and to sign.
    pub fingerprint: String,
}

/// What was looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scope {
    /// Sources.
    pub sources: Vec<Source>,
    /// The target, for a comparison (never with a password).
    pub target: Option<String>,
    /// When the capture began.
    pub captured_from: Option<Timestamp>,
    /// When it ended.
    pub captured_to: Option<Timestamp>,
    /// Filters in use, in words.
    pub filters: Vec<String>,
    /// What was not looked at, in words.
    pub out_of_scope: Vec<String>,
}

/// One source.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// Its type.
    pub kind: String,
    /// Path or URL.
    pub path: String,
    /// Does floe promise not to write to it?
    pub read_only: bool,
}

/// Control totals on four levels.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Everything.
    pub server: Total,
    /// Part after the `@` of account names.
    pub domains: Vec<Total>,
    /// Accounts.
    pub accounts: Vec<Total>,
    /// Collections.
    pub folders: Vec<Total>,
}

/// The count of one server, domain, account or folder.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Total {
    /// Its name; empty for the server.
    pub name: String,
    /// The account that a folder belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// All object types together.
    pub all: Sum,
    /// By object type.
    pub by_type: BTreeMap<String, Sum>,
    /// What a comparison found, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compared>,
}

/// `source = captured + skipped + failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Items that a second method counted in the source.
    pub source: u64,
    /// Items captured.
    pub captured: u64,
    /// Items left out by rule, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Items that could not be read, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Bytes of what was captured.
    pub bytes: u64,
    /// Octets and items, as BagIt writes totals.
    pub oxum: String,
    /// Does the identity hold?
    pub holds: bool,
}

impl Sum {
    /// From a ledger.
    pub fn of(ledger: &Ledger) -> Self {
        Sum {
            source: ledger.found,
            captured: ledger.captured,
            skipped: ledger.skipped.clone(),
            failed: ledger.failed.clone(),
            bytes: ledger.bytes,
            oxum: format!("{}.{}", ledger.bytes, ledger.captured),
            holds: ledger.balances(),
        }
    }

    /// Items skipped for any reason.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Items failed for any reason.
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// What kind of exception it is; decides what it means for the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The archive's bytes are damaged: FAIL.
    Damaged,
    /// In the archive, not in the target, and not forecast: FAIL.
    Missing,
    /// In both, not the same, by no known rule: FAIL.
    Changed,
    /// Could not be compared: FAIL.
    Unproven,
    /// Could not be read at the source: an exception.
    Failed,
    /// Refused by the target, as forecast: an exception.
    Refused,
    /// Changed by the target, as forecast: an exception.
    Altered,
    /// Twice in the target: an exception.
    Duplicate,
    /// In the target, not in the archive: an exception.
    Extra,
    /// To be known, loses nothing: an exception.
    Note,
    /// Left out by rule, and listed: no exception to the verdict.
    Skipped,
}

impl Class {
    /// What one of these does to the verdict.
    pub fn verdict(self) -> Outcome {
        match self {
            Class::Damaged | Class::Missing | Class::Changed | Class::Unproven => Outcome::Fail,
            Class::Failed | Class::Refused | Class::Altered | Class::Duplicate | Class::Extra | Class::Note => {
                Outcome::PassWithExceptions
            }
            Class::Skipped => Outcome::Pass,
        }
    }

    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Class::Damaged => "damaged",
            Class::Missing => "missing",
            Class::Changed => "changed",
            Class::Unproven => "unproven",
            Class::Failed => "failed",
            Class::Refused => "refused",
            Class::Altered => "altered",
            Class::Duplicate => "duplicate",
            Class::Extra => "extra",
            Class::Note => "note",
            Class::Skipped => "skipped",
        }
    }
}

/// Exceptions of one cause.
#[derive(Clone, Debug, Serialize)]
pub struct Cause {
    /// The class.
    pub class: Class,
    /// The cause in a few fixed words.
    pub cause: String,
    /// How many.
    pub count: u64,
    /// What to do.
    pub action: String,
    /// The first of them; all are in `exceptions.csv`.
    pub examples: Vec<Example>,
}

/// One exception.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// Account, empty where it belongs to none.
    pub account: String,
    /// Collection, empty where it belongs to none.
    pub folder: String,
    /// Where it lies.
    pub place: String,
    /// More about it.
    pub detail: String,
}

/// Items that are there more than once.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Duplicates {
    /// With the same bytes: stored once.
    pub by_bytes: Repeats,
    /// With the same Message-ID, whatever their bytes: all kept.
    pub by_message_id: Repeats,
    /// Items that a source shows under several labels: kept once.
    pub by_label: u64,
}

/// Groups of like items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repeats {
    /// Groups of two or more.
    pub groups: u64,
    /// Items beyond the first of each group.
    pub copies: u64,
}

/// A fixity check.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fixity {
    /// `quick` (files and listings), `full` (every object rebuilt), `full + replay compare`.
    pub level: String,
    /// Files hashed.
    pub files: u64,
    /// Objects rebuilt and hashed.
    pub objects: u64,
    /// Placements followed.
    pub placements: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Milliseconds that it took.
    pub elapsed_ms: u64,
    /// Bytes with another digest than they should have.
    pub mismatches: u64,
    /// Files or objects that are not there.
    pub missing: u64,
    /// Mended from recovery data.
    pub repaired: u64,
    /// Size and seed, if only a sample was read.
    pub sample: Option<Sample>,
}

impl Fixity {
    /// Megabytes a second.
    pub fn mb_per_second(&self) -> f64 {
        if self.elapsed_ms == 0 { 0.0 } else { self.bytes as f64 / 1000.0 / self.elapsed_ms as f64 }
    }
}

/// A sample that anyone can draw again.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Items in it.
    pub items: u64,
    /// The seed.
    pub seed: u64,
}

/// What changed of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In few fixed words: `flag \\Seen`, `header Received`, `internal date`.
    pub what: String,
    /// How; may be empty.
    pub detail: String,
}

/// What a comparison of one item found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What the target gives back has the digest, the state and the date.
    Identical,
    /// The same but for a difference that this rule allows.
    Equivalent(String),
    /// There, but not the same.
    Changed(Vec<Change>),
    /// There and not the same, as the plan forecast.
    Altered(Vec<Change>),
    /// Not there.
    Missing(Option<String>),
    /// There, and not in the archive.
    Extra,
    /// There once more.
    Duplicate,
    /// Not there, as the plan forecast, for this reason.
    Refused(String),
}

/// Counts of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Identical.
    pub identical: u64,
    /// Equivalent.
    pub equivalent: u64,
    /// Changed, and not as forecast.
    pub changed: u64,
    /// Changed as forecast.
    pub altered: u64,
    /// Missing.
    pub missing: u64,
    /// Extra.
    pub extra: u64,
    /// Duplicate.
    pub duplicate: u64,
    /// Refused as forecast.
    pub refused: u64,
}

impl Compared {
    pub(super) fn count(&mut self, finding: &Finding) {
        *match finding {
            Finding::Identical => &mut self.identical,
            Finding::Equivalent(_) => &mut self.equivalent,
            Finding::Changed(_) => &mut self.changed,
            Finding::Altered(_) => &mut self.altered,
            Finding::Missing(_) => &mut self.missing,
            Finding::Extra => &mut self.extra,
            Finding::Duplicate => &mut self.duplicate,
            Finding::Refused(_) => &mut self.refused,
        } += 1;
    }

    pub(super) fn add(&mut self, other: &Compared) {
        self.identical += other.identical;
        self.equivalent += other.equivalent;
        self.changed += other.changed;
        self.altered += other.altered;
        self.missing += other.missing;
        self.extra += other.extra;
        self.duplicate += other.duplicate;
        self.refused += other.refused;
    }
}

/// Archive against target.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compare {
    /// How it was proven.
    pub method: String,
    /// All items.
    pub all: Compared,
    /// Equivalent items by rule.
    pub rules: BTreeMap<String, u64>,
    /// Changed items by what changed; an item may count under several.
    pub changes: BTreeMap<String, u64>,
    /// Forecast of the plan against the outcome.
    pub forecast: Vec<Forecast>,
}

/// One line of the forecast.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    /// What was forecast.
    pub what: String,
    /// How often.
    pub expected: u64,
    /// How often it came so.
    pub happened: u64,
}

impl Forecast {
    /// Did it come as forecast?
    pub fn agrees(&self) -> bool {
        self.expected == self.happened
    }
}

/// One event of the chain of custody, in PREMIS terms.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// `capture`, `fixity check`, `replication`, `signature`, `migration`, `validation`.
    pub event: String,
    /// Who or what did it.
    pub agent: String,
    /// The root concerned.
    pub root: Option<Digest>,
    /// Label or serial of the medium, where there is one.
    pub medium: Option<String>,
    /// How it ended.
    pub outcome: String,
}

/// A signature or a timestamp.
#[derive(Clone, Debug, Serialize)]
pub struct Seal {
    /// `signature` or `timestamp`.
    pub kind: String,
    /// Role of the signer, or name of the authority.
    pub by: String,
    /// Fingerprint of the key.
    pub key: String,
    /// What it seals.
    pub root: Option<Digest>,
    /// When, as far as it says.
    pub at: Option<Timestamp>,
    /// Does it hold?
    pub good: bool,
    /// What the check said.
    pub result: String,
}

/// One step that anybody can repeat.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What it shows.
    pub shows: String,
    /// What to type.
    pub command: String,
    /// What it must print.
    pub expect: String,
}

/// Items by year and by size.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Spread {
    /// By year of the internal date.
    pub years: Vec<Bar>,
    /// By size.
    pub sizes: Vec<Bar>,
}

/// One bar of a histogram.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    /// What it is for.
    pub label: String,
    /// Items.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A file beside the report.
#[derive(Clone, Debug, Serialize)]
pub struct SideFile {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub what: String,
    /// Rows without the header.
    pub rows: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// The name of an object type in the totals.
pub(super) fn type_name(kind: Option<CollectionKind>) -> String {
    kind.map_or_else(|| "unassigned".to_owned(), |k| k.to_string())
}
