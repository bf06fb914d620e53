//! Calendars and cards of many programs' test suites: each is read without loss, and a second parser finds in the objects what it
//! finds in the files.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use calcard::{Entry, Parser};
use floe::model::{Outcome, Place};
use floe::source::{Content, Format, FoundItem, ItemSink, pim};

/// What is compared; cards in a calendar file are none of its objects.
const KINDS: [&str; 5] = ["VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VCARD"];

/// A test of the impossible: floe gives UIDs as they are written.
const UID_IN_BASE64: &str = "Serialization/Encoding1.ics";

/// What came out of one file.
#[derive(Default)]
struct Kept {
    items: Vec<FoundItem>,
    exceptions: Vec<String>,
    originals: Vec<PathBuf>,
}

impl ItemSink for Kept {
    fn item(&mut self, item: FoundItem) -> floe::Result<()> {
        self.items.push(item);
        Ok(())
    }

    fn exception(&mut self, _: Place, _: Outcome, reason: &str, _: String) -> floe::Result<()> {
        self.exceptions.push(reason.to_owned());
        Ok(())
    }

    fn original(&mut self, _: Place, path: PathBuf) -> floe::Result<()> {
        self.originals.push(path);
        Ok(())
    }

    fn read_up_to(&mut self, _: u64, _: u128) {}

    fn resumed(&mut self) -> floe::Result<()> {
        Ok(())
    }
}

fn read(path: &Path) -> Kept {
    let reader = pim::open(path, Format::Pim).unwrap();
    let mut kept = Kept::default();
    let heads = reader.collections().unwrap();
    assert_eq!(heads.len(), 1);
    reader.read(&heads[0], None, &mut kept).unwrap();
    let found = reader.count(&heads[0]).unwrap();
    assert_eq!(found, (kept.items.len() + kept.exceptions.len()) as u64, "the ledger balances");
    kept
}

fn bytes(item: &FoundItem) -> Vec<u8> {
    match &item.content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::File { path, .. } => fs::read(path).unwrap(),
        Content::Range { path, offset, length } => fs::read(path).unwrap()[*offset as usize..][..*length as usize].to_vec(),
    }
}

/// The objects that the other parser finds, and how many components of each: kind and UID. Nothing if it gives up.
fn seen_by_other(file: &[u8]) -> Option<BTreeMap<(String, Option<String>), usize>> {
    let text = String::from_utf8_lossy(file);
    let mut parser = Parser::new(&text);
    let mut found = BTreeMap::new();
    let mut add = |kind: &str, uid: Option<&str>| {
        if KINDS.contains(&kind) {
            let uid = uid.map(|uid| uid.trim().to_owned()).filter(|uid| !uid.is_empty());
            *found.entry((kind.to_owned(), uid)).or_insert(0) += 1;
        }
    };
    loop {
        match parser.entry() {
            Entry::ICalendar(calendar) => {
                let top = calendar.components.first()?;
                add(top.component_type.as_str(), top.uid());
                for component in top.component_ids.iter().filter_map(|id| calendar.component_by_id(*id)) {
                    add(component.component_type.as_str(), component.uid());
                }
            }
            Entry::VCard(card) => add("VCARD", card.uid()),
            Entry::InvalidLine(_) => {}
            Entry::Eof => return Some(found),
            _ => return None,
        }
    }
}

/// The folder of the corpus: `FLOE_CORPUS` names it; by default it lies beside the project.
fn corpus() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    std::env::var_os("FLOE_CORPUS").map_or(beside, PathBuf::from)
}

/// Every file of a tar archive.
fn each_file(tar: impl Read, f: &mut dyn FnMut(&str, Vec<u8>)) {
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            f(&name, content);
        }
    }
}

#[derive(Debug, Default)]
struct Totals {
    files: usize,
    items: usize,
    whole: usize,
    agreed: usize,
    exceptions: BTreeMap<String, usize>,
    notes: BTreeMap<String, usize>,
}

impl Totals {
    /// Reads one file and compares.
    fn check(&mut self, name: &str, content: &[u8], path: &Path) {
        fs::write(path, content).unwrap();
        let kept = read(path);
        let whole = kept.items.len() == 1 && bytes(&kept.items[0]) == content;
        assert!(whole || content.is_empty() || kept.originals == [path.to_owned()], "{name} is kept");
        self.files += 1;
        self.items += kept.items.len();
        self.whole += usize::from(whole);
        for reason in &kept.exceptions {
            *self.exceptions.entry(reason.clone()).or_default() += 1;
        }
        for note in kept.items.iter().flat_map(|i| &i.state.notes) {
            *self.notes.entry(note.clone()).or_default() += 1;
        }
        let mut ours = BTreeMap::new();
        for item in &kept.items {
            for (object, components) in seen_by_other(&bytes(item)).expect("the other parser reads every object") {
                *ours.entry(object).or_insert(0) += components;
            }
        }
        let theirs = seen_by_other(content).unwrap_or_else(|| panic!("the other parser reads {name}"));
        let cards = path.extension().is_some_and(|e| e == "vcf");
        for (object, components) in theirs.iter().filter(|((kind, _), _)| (kind == "VCARD") == cards) {
            let mine = ours.get(object).copied().unwrap_or_default();
            assert!(mine >= *components, "{name}: {components} of {object:?}, found {mine}");
            let uid = kept.items.iter().any(|i| i.state.uid.as_deref().map(str::trim) == object.1.as_deref());
            assert!(uid || name.ends_with(UID_IN_BASE64), "{name}: {object:?} has no item");
        }
        self.agreed += usize::from(ours == theirs);
    }
}

#[test]
fn calendars_and_cards_of_other_programs_are_read_without_loss() {
    let folder = corpus().join("f-calendar-contacts");
    let dir = tempfile::tempdir().unwrap();
    for (archive, file) in [("ics.tar.zst", "a.ics"), ("vcf.tar.zst", "a.vcf")] {
        let Ok(packed) = File::open(folder.join(archive)) else {
            eprintln!("skipped: no {archive} in the corpus; FLOE_CORPUS names its folder");
            continue;
        };
        let mut totals = Totals::default();
        each_file(zstd::Decoder::new(packed).unwrap(), &mut |name, content| totals.check(name, &content, &dir.path().join(file)));
        println!("{archive}: {totals:#?}");
        assert!(totals.files > 500 && totals.agreed * 100 > totals.files * 99, "most files are as the other parser reads them");
    }
}
