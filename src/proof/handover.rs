//! The sheet of paper that goes with an archive: what it is, how much, its fingerprints, and lines to sign.
//!
//! One page of A4 as HTML without a script, that loads nothing. `Html::raw` takes only text of this program; all else is escaped.

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;

use super::new_file::{NewFile, failed};
use super::signature::{self, Signature};
use super::timestamp::{self, Stamp};
use super::words::words;
use super::{RootFile, events};
use crate::archive::bag::{MANIFEST, MANIFEST_MAX_BYTES};
use crate::archive::{Archive, Findings, Snapshot};
use crate::error::{Error, Result};
use crate::model::Digest;
use crate::report::{Html, shown_bytes};

const STYLE: &str = include_str!("handover.css");
/// Accounts that are named one by one; with more of them the page would not do.
const ACCOUNTS: usize = 20;
/// Signatures and time stamps that are named one by one.
const LISTED: usize = 3;

/// A digest for people.
#[derive(Clone, Debug, Serialize)]
pub struct Fingerprint {
    /// As it is.
    pub sha256: Digest,
    /// In groups of four digits.
    pub grouped: String,
    /// The 24 words of BIP 39, English.
    pub words: String,
}

impl Fingerprint {
    fn of(sha256: Digest) -> Self {
        let hex = sha256.to_string();
        let groups: Vec<&str> = (0..hex.len()).step_by(4).map(|at| &hex[at..at + 4]).collect();
        Fingerprint { sha256, grouped: groups.join(" "), words: words(&sha256).join(" ") }
    }
}

/// What the sheet says.
#[derive(Clone, Debug, Serialize)]
pub struct Handover {
    /// The snapshot.
    pub snapshot: String,
    /// When it was made.
    pub created: Timestamp,
    /// Of the root file.
    pub root: Fingerprint,
    /// Of the manifest, which covers every pack and root.
    pub manifest: Fingerprint,
    /// Accounts, folders, items and their bytes in the snapshot.
    pub accounts: u64,
    /// Collections in them.
    pub collections: u64,
    /// Items in them.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Items left out by rule, and that could not be read.
    pub skipped: u64,
    /// Items that could not be read.
    pub failed: u64,
    /// Files of the payload and their bytes, as on the disk.
    pub files: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Signatures on the root, each checked.
    pub signatures: Vec<Signature>,
    /// Time stamps of the root.
    pub timestamps: Vec<Stamp>,
    /// Events in the record, and the last one.
    pub events: u64,
    /// Kind and time of the last event.
    pub last_event: Option<String>,
    /// Is something wrong with what the sheet names?
    pub damage: Vec<String>,
}

/// Finds what the sheet is to say.
///
/// # Errors
/// `Kind::Usage` when there is no such snapshot, `Kind::Damage` when its root or the manifest is damaged, `Kind::Storage` when the archive
/// cannot be read.
pub fn look(archive: &Archive, snapshot: &Snapshot) -> Result<Handover> {
    let (store, root) = (archive.store(), &snapshot.root);
    let manifest = store.read(MANIFEST, MANIFEST_MAX_BYTES)?.ok_or_else(|| {
        Error::damage("the archive has no manifest").with("file", MANIFEST).hint("'floe verify' names what is missing")
    })?;
    let mut found = Findings::default();
    let mut stamps = timestamp::check(store, &mut found)?;
    stamps.retain(|s| s.snapshot == snapshot.id);
    let signatures = signature::of_root(store, &snapshot.id)?;
    let broken = signatures.iter().filter_map(|s| Some(format!("{} does not hold: {}", s.file, s.broken.as_ref()?)));
    found.damage.extend(broken);
    let file = RootFile::find(store, Some(&snapshot.id))?;
    let events = events::read(store)?;
    let (mut files, mut stored_bytes) = (0, 0);
    for folder in ["data/packs", "data/snapshots"] {
        for file in store.list(folder)? {
            files += 1;
            stored_bytes += file.size;
        }
    }
    Ok(Handover {
        snapshot: snapshot.id.clone(),
        created: root.created,
        root: Fingerprint::of(file.digest),
        manifest: Fingerprint::of(Digest::of(&manifest)),
        accounts: root.accounts.len() as u64,
        collections: root.accounts.iter().map(|a| a.collections).sum(),
        items: root.ledger.captured,
        bytes: root.ledger.bytes,
        skipped: root.ledger.skipped_total(),
        failed: root.ledger.failed_total(),
        files,
        stored_bytes,
        signatures,
        timestamps: stamps,
        events: events.len() as u64,
        last_event: events.last().map(|e| format!("{} on {}", e.kind.term(), e.at.strftime("%F %T UTC"))),
        damage: found.damage,
    })
}

/// Writes the sheet to `out`, where nothing may be yet.
///
/// # Errors
/// `Kind::Usage` when `out` is there already, `Kind::Storage` when it cannot be written.
pub fn write(handover: &Handover, snapshot: &Snapshot, out: &Path) -> Result<()> {
    let file = NewFile::create(out)?;
    file.file().write_all(html(handover, snapshot).as_bytes()).map_err(|e| failed(out, e))?;
    file.finish().map(|_| ())
}

/// The parts of the sheet.
impl Html {
    /// A line of a list for each of the first few, and how many more there are.
    fn list(&mut self, lines: &[String], none: &'static str) {
        if lines.is_empty() {
            self.raw("<p>").raw(none).raw("</p>");
            return;
        }
        self.raw("<ul class=\"list\">");
        for line in lines.iter().take(LISTED) {
            self.raw("<li><bdi>").text(line).raw("</bdi></li>");
        }
        if lines.len() > LISTED {
            self.raw("<li>and ").number((lines.len() - LISTED) as u64).raw(" more</li>");
        }
        self.raw("</ul>");
    }
}

fn html(handover: &Handover, snapshot: &Snapshot) -> String {
    let mut sheet = Html::default();
    head(&mut sheet, handover);
    amounts(&mut sheet, handover);
    accounts(&mut sheet, handover, snapshot);
    fingerprints(&mut sheet, handover);
    custody(&mut sheet, handover);
    lines_to_sign(&mut sheet);
    sheet.raw("</body></html>\n");
    sheet.0
}

fn head(sheet: &mut Html, handover: &Handover) {
    let style = STANDARD.encode(Digest::of(STYLE.as_bytes()).as_bytes());
    sheet.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    sheet.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-");
    sheet.text(&style).raw("'; base-uri 'none'; form-action 'none'\"><meta name=\"referrer\" content=\"no-referrer\">");
    sheet.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    sheet.raw("<title>Handover of archive ").text(&handover.snapshot).raw("</title><style>").raw(STYLE);
    sheet.raw("</style></head><body><h1>Handover of a floe archive</h1><p>Snapshot <b>").text(&handover.snapshot);
    sheet.raw("</b>, made ").text(&handover.created.strftime("%F %T UTC").to_string());
    sheet.raw(". Printed by floe ").raw(env!("CARGO_PKG_VERSION")).raw(" on ");
    sheet.text(&Timestamp::now().strftime("%F %T UTC").to_string()).raw(".</p>");
}

fn amounts(sheet: &mut Html, handover: &Handover) {
    sheet.raw("<ul class=\"sums\"><li><b>").number(handover.accounts).raw("</b>accounts</li><li><b>");
    sheet.number(handover.collections).raw("</b>folders</li><li><b>").number(handover.items).raw("</b>items</li><li><b>");
    sheet.text(&shown_bytes(handover.bytes)).raw("</b>in items</li><li><b>").text(&shown_bytes(handover.stored_bytes));
    sheet.raw("</b>in ").number(handover.files).raw(" files on the disk</li></ul><p>Exactly ").number(handover.bytes);
    sheet.raw(" bytes in items and ").number(handover.stored_bytes).raw(" bytes in files. Not in it: ").number(handover.skipped);
    sheet.raw(" items left out by rule, ").number(handover.failed).raw(" that could not be read.</p>");
}

fn accounts(sheet: &mut Html, handover: &Handover, snapshot: &Snapshot) {
    if snapshot.root.accounts.len() > ACCOUNTS {
        sheet.raw("<p>The ").number(handover.accounts).raw(" accounts are in the root file, one by one.</p>");
        return;
    }
    sheet.raw("<h2>Accounts</h2><table><thead><tr><th>account</th><th>folders</th><th>items</th><th>bytes</th><th>not in it</th></tr></thead><tbody>");
    for account in &snapshot.root.accounts {
        let ledger = &account.ledger;
        sheet.raw("<tr><td><bdi>").text(&account.account).raw("</bdi></td><td>").number(account.collections);
        sheet.raw("</td><td>").number(ledger.captured).raw("</td><td>").number(ledger.bytes).raw("</td><td>");
        sheet.number(ledger.skipped_total() + ledger.failed_total()).raw("</td></tr>");
    }
    sheet.raw("</tbody></table>");
}

fn fingerprints(sheet: &mut Html, handover: &Handover) {
    sheet.raw("<h2>Fingerprints (SHA-256; words: BIP 39 English)</h2>");
    for (what, print) in [
        ("Root: all that was captured, and all snapshots before", &handover.root),
        ("Manifest: every file of the archive's payload", &handover.manifest),
    ] {
        sheet.raw("<div class=\"print\"><p>").raw(what).raw("</p><p class=\"hex\">").text(&print.grouped);
        sheet.raw("</p><p class=\"words\">").text(&print.words).raw("</p></div>");
    }
    sheet
        .raw("<p>Who receives it compares both, in the archive's folder: <code>sha256sum data/snapshots/")
        .text(&handover.snapshot);
    sheet.raw(".json* ").raw(MANIFEST).raw("</code>, then checks every file: <code>sha256sum -c ").raw(MANIFEST);
    sheet.raw("</code> or <code>floe verify . --full</code>.</p>");
}

fn custody(sheet: &mut Html, handover: &Handover) {
    let by = |s: &Signature| match &s.broken {
        None => format!("{}: {}", s.role, s.fingerprint.as_deref().unwrap_or("a key that cannot be read")),
        Some(_) => format!("{}: DOES NOT HOLD, {}", s.role, s.file),
    };
    let signatures: Vec<String> = handover.signatures.iter().map(by).collect();
    let stamps: Vec<String> = handover
        .timestamps
        .iter()
        .map(|s| {
            format!(
                "{}, answer {}",
                s.at,
                s.file.rsplit('/').next().unwrap_or_default().trim_start_matches(&*handover.snapshot).trim_start_matches('.')
            )
        })
        .collect();
    sheet.raw("<div class=\"two\"><div><h2>Signatures on the root</h2>");
    sheet.list(&signatures, "None when this sheet was printed.");
    sheet.raw("</div><div><h2>Time stamps of the root</h2>");
    sheet.list(&stamps, "None when this sheet was printed.");
    sheet.raw("<h2>Record of events</h2><p>");
    match &handover.last_event {
        Some(last) => sheet.number(handover.events).raw(" events; the last: ").text(last).raw("."),
        None => sheet.raw("None when this sheet was printed."),
    };
    sheet.raw("</p></div></div>");
}

fn lines_to_sign(sheet: &mut Html) {
    sheet.raw("<h2>Handed over</h2><p>Disks (maker, serial number) and seals: ");
    sheet.raw("________________________________________________________________________</p><div class=\"sign\">");
    for (who, word) in [
        ("Given by", "fingerprints compared with the archive"),
        ("Carried by", "seals whole when taken and given"),
        ("Received by", "fingerprints compared with this sheet"),
    ] {
        sheet
            .raw("<div><b>")
            .raw(who)
            .raw("</b><span></span><small>name, organisation</small><span></span><small>date, time, place</small>");
        sheet.raw("<span></span><small>signature; by it: ").raw(word).raw("</small></div>");
    }
    sheet.raw("</div>");
}
