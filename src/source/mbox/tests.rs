//! Whole stores: what a sink is given, and that nothing of a file is lost.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::scan::{Limits, Opening, Splitter};
use super::*;
use crate::model::{Digest, Flag, Place};
use crate::source::{Coding, Content, FoundItem};

const LINE: &str = "From a@b Mon Jan  1 00:00:00 2024\n";

/// Keeps what it is given.
#[derive(Default)]
struct Kept {
    items: Vec<FoundItem>,
    exceptions: Vec<(Place, Outcome, String)>,
    read_up_to: Option<Grown>,
    resumed: bool,
    /// Items that are stretches of it can still be read.
    file: Option<tempfile::NamedTempFile>,
}

impl ItemSink for Kept {
    fn item(&mut self, item: FoundItem) -> Result<()> {
        self.items.push(item);
        Ok(())
    }

    fn exception(&mut self, place: Place, outcome: Outcome, reason: &str, _detail: String) -> Result<()> {
        self.exceptions.push((place, outcome, reason.to_owned()));
        Ok(())
    }

    fn original(&mut self, _place: Place, _path: PathBuf) -> Result<()> {
        Ok(())
    }

    fn read_up_to(&mut self, offset: u64, xxh3: u128) {
        self.read_up_to = Some(Grown { offset, xxh3 });
    }

    fn resumed(&mut self) -> Result<()> {
        self.resumed = true;
        Ok(())
    }
}

impl Kept {
    fn total(&self) -> u64 {
        (self.items.len() + self.exceptions.len()) as u64
    }

    fn texts(&self) -> Vec<String> {
        self.items.iter().map(|i| String::from_utf8(bytes_of(i)).unwrap()).collect()
    }
}

fn bytes_of(item: &FoundItem) -> Vec<u8> {
    let stored = match &item.content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::File { .. } => Vec::new(),
        Content::Range { path, offset, length } => {
            let mut bytes = vec![0; usize::try_from(*length).unwrap()];
            std::fs::File::open(path).unwrap().read_exact_at(&mut bytes, *offset).unwrap();
            bytes
        }
    };
    item.coding.undo(&stored, u64::MAX).unwrap().into_owned()
}

fn read_store(root: &Path, format: Format, grown: Option<Grown>) -> Vec<(CollectionHead, Kept, u64)> {
    let store = open(root, format).unwrap();
    let read = |head: CollectionHead| {
        let mut kept = Kept::default();
        store.read(&head, grown, &mut kept).unwrap();
        let count = store.count(&head).unwrap();
        (head, kept, count)
    };
    store.collections().unwrap().into_iter().map(read).collect()
}

fn read_as(text: impl AsRef<[u8]>, format: Format) -> Kept {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, text.as_ref()).unwrap();
    let (_, mut kept, count) = read_store(file.path(), format, None).pop().unwrap();
    assert_eq!(kept.total(), count, "the second count differs: {:?}", String::from_utf8_lossy(text.as_ref()));
    let size = text.as_ref().len() as u64;
    assert_eq!(count::count_with(file.as_file(), size, 0).unwrap(), count, "mbox-reader sees other lines than the scan");
    kept.file = Some(file);
    kept
}

fn read(text: impl AsRef<[u8]>) -> Kept {
    read_as(text, Format::Mbox)
}

#[test]
fn the_empty_line_before_a_from_line_belongs_to_the_separator() {
    for eol in ["\n", "\r\n"] {
        let kept = read(format!("{LINE}A: b\n\none\n\n{LINE}A: b\n\ntwo\n\n\n{LINE}\n{LINE}A: b\n\n").replace('\n', eol));
        let want = ["A: b\n\none\n", "A: b\n\ntwo\n\n", "", "A: b\n"].map(|t| t.replace('\n', eol));
        assert_eq!(kept.texts(), want);
        let place = &kept.items[0].place;
        assert_eq!((place.offset, place.length), (Some((LINE.len() + eol.len() - 1) as u64), Some(want[0].len() as u64)));
    }
}

#[test]
fn last_message_without_newline_is_kept() {
    assert_eq!(read(format!("{LINE}A: b\n\none\n\n{LINE}A: b\n\ny")).texts(), ["A: b\n\none\n", "A: b\n\ny"]);
    assert_eq!(read(LINE.trim_end()).texts(), [""]);
}

#[test]
fn an_empty_file_is_an_empty_collection() {
    assert_eq!(read("").total(), 0);
    assert_eq!(read("\n \r\n").total(), 0);
    assert_eq!(read(format!("\u{feff}\n\n{LINE}A: b\n")).texts(), ["A: b\n"]);
}

#[test]
fn bytes_before_the_first_from_line_are_kept_with_a_note() {
    let kept = read(format!("junk\nmore\n\n{LINE}A: b\n\none\n"));
    assert_eq!(kept.texts(), ["junk\nmore\n", "A: b\n\none\n"]);
    assert_eq!((kept.items[0].place.offset, kept.items[0].place.length), (Some(0), Some(10)));
    assert_eq!(kept.items[0].state.notes, ["stands before the first From_ line: perhaps no message"]);
    assert!(kept.items[1].state.notes.is_empty() && kept.exceptions.is_empty());
}

#[test]
fn a_file_without_any_from_line_is_one_message() {
    for text in ["Subject: x\n\nbody\n\n", "no mail at all", "\u{feff}Subject: x\n\n\n"] {
        let kept = read(text);
        assert_eq!(kept.texts(), [text]);
        assert_eq!(kept.items[0].state.notes, ["no From_ line in the whole file: taken as one message"]);
    }
}

#[test]
fn an_mbox_of_an_old_mac_is_parted_at_its_cr_line_ends() {
    let text = format!("{LINE}A: b\nX-UID: 7\n\none\n>From x\n\n{LINE}C: d\n\ntwo\n").replace('\n', "\r");
    let kept = read(&text);
    assert_eq!(kept.texts(), ["A: b\rX-UID: 7\r\rone\r>From x\r", "C: d\r\rtwo\r"]);
    assert_eq!((kept.items[0].place.uid, kept.items[0].state.date.is_some()), (Some(7), true));
    assert_eq!(kept.items[0].state.notes, ["quoted From lines in a file with CR line ends: kept as stored"]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Inbox"), &text).unwrap();
    assert_eq!(detect(dir.path()).unwrap().map(|e| e.format), Some(Format::Mbox));
    // One LF far behind, and the CRs are text.
    assert_eq!(read(format!("{text}{}\n", "x".repeat(70_000))).items.len(), 1);
}

#[test]
fn unquoted_from_lines_stay_in_the_body_with_a_note() {
    let kept = read(format!("{LINE}A: b\n\nFrom here on\n\nFrom me to you.\n>From x\n\n{LINE}A: b\n\n>From y\n"));
    assert_eq!(kept.texts(), ["A: b\n\nFrom here on\n\nFrom me to you.\n>From x\n", "A: b\n\n>From y\n"]);
    assert_eq!(kept.items[0].state.notes, ["unquoted From line in the body"]);
    assert_eq!(kept.items[1].state.notes, ["quoted From lines, and unquoted ones in the same file: kept as stored"]);
    let kept = read(format!("{LINE}A: b\n\nx\n{LINE}C: d\n"));
    assert_eq!(kept.items.len(), 1);
    assert!(kept.items[0].state.notes[0].contains("perhaps two messages"));
}

#[test]
fn a_content_length_counts_only_where_it_lands() {
    let body = format!("one\n\n{LINE}Not: a message\n");
    let holds = format!("{LINE}Content-Length: {}\n\n{body}\n{LINE}A: b\n\ntwo\n", body.len());
    let kept = read(&holds);
    assert_eq!(kept.texts()[0], format!("Content-Length: {}\n\n{body}", body.len()));
    assert_eq!((kept.items.len(), kept.items[0].coding), (2, Coding::Plain));
    let lies = holds.replace(&format!("Length: {}", body.len()), "Length: 7");
    assert_eq!(read(lies).items.len(), 3);
    // It may also end the last message, and one whose last line has no end.
    assert_eq!(
        read(format!("{LINE}Content-Length: 1\n\nx\n{LINE}Content-Length: 1\n\ny\n")).texts().concat().matches("\n\n").count(),
        2
    );
}

#[test]
fn mmdf_delimiters_part_messages() {
    let kept = read(format!(
        "\x01\x01\x01\x01\nA: b\n\n{LINE}\n\x01\x01\x01\x01\n\x01\x01\x01\x01\n{LINE}C: d\n\n>From e\n\x01\x01\x01\x01\n"
    ));
    assert_eq!(kept.texts(), [format!("A: b\n\n{LINE}\n"), "C: d\n\n>From e\n".to_owned()]);
    assert!(kept.items[0].state.date.is_none() && kept.items[1].state.date.is_some());
}

#[test]
fn what_thunderbird_expunged_is_skipped_and_listed() {
    let text = "From - Mon Jan  1 00:00:00 2024\nX-Mozilla-Status: 0009\nX-Mozilla-Status2: 00000000\nA: b\n\nx\n\nFrom - Mon Jan  1 00:00:00 2024\nX-Mozilla-Status: 1001\nA: b\n\ny\n";
    let kept = read_as(text, Format::Thunderbird);
    assert_eq!((kept.exceptions[0].1, kept.exceptions[0].2.as_str()), (Outcome::Skipped, "expunged, not compacted"));
    assert_eq!((&kept.items[0].state.flags, &kept.items[0].state.keywords), (&vec![Flag::Seen], &vec!["$Forwarded".to_owned()]));
    // A header that a sender wrote removes nothing.
    assert_eq!(read(format!("{LINE}X-Mozilla-Status: 0009\nA: b\n\nx\n")).items[0].state.flags, [Flag::Deleted, Flag::Seen]);
}

#[test]
fn c_clients_own_data_is_no_mail() {
    let text = format!(
        "{LINE}Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 17 4\n\nThis text\n\n{LINE}X-UID: 3\nStatus: RO\n\nx\n"
    );
    let kept = read(text);
    assert_eq!((kept.exceptions[0].2.as_str(), kept.items[0].place.uid), ("server's own folder data", Some(3)));
}

#[test]
fn gmail_labels_are_kept_and_become_flags() {
    let text = "From 1628424719502045299@xxx Tue Mar 19 09:13:51 +0000 2019\nX-Gmail-Labels: =?UTF-8?Q?Gel=C3=B6scht,Ungelesen,\"a,_b\"?=\n\nx\n";
    let item = read_as(text, Format::Takeout).items.remove(0);
    assert_eq!(item.state.labels, ["Gelöscht", "Ungelesen", "a, b"]);
    assert_eq!((item.state.flags, item.state.guid.as_deref()), (vec![], Some("1628424719502045299")));
}

fn grow(before: &str, after: &str) -> (Kept, Kept) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    std::fs::write(&path, before).unwrap();
    let old = read_store(&path, Format::Mbox, None).pop().unwrap().1;
    std::fs::write(&path, format!("{before}{after}")).unwrap();
    let new = read_store(&path, Format::Mbox, old.read_up_to).pop().unwrap().1;
    (old, new)
}

#[test]
fn a_grown_file_is_read_on_only_where_a_full_reading_gives_the_same() {
    let one = format!("{LINE}A: b\n\none\n");
    let two = format!("{LINE}A: b\n\ntwo\n");
    let blank = format!("{one}\n");
    for (before, after, resumed) in [
        (blank.as_str(), two.clone(), true),
        (&one, format!("\n{two}"), true),
        (&blank, format!("\n{two}"), false),
        (&blank, "more text\n".to_owned(), false),
        (&one, two.clone(), false),
        (one.trim_end(), format!("\n\n{two}"), false),
        (&blank, String::new(), true),
        ("", two.clone(), false),
        // The length does not hold yet, and will.
        (&format!("{LINE}Content-Length: {}\n\none\n\n", 5 + LINE.len() + 6), format!("{LINE}A: b\n\n\n{two}"), false),
        // Only the new part shows that nobody quotes.
        (&format!("{LINE}Content-Length: 8\n\n>From x\n\n"), format!("{LINE}Content-Length: 7\n\nFrom x\n"), false),
        ("\x01\x01\x01\x01\nA: b\n\x01\x01\x01\x01\n", "\x01\x01\x01\x01\nA: b\n\x01\x01\x01\x01\n".to_owned(), true),
    ] {
        let (old, new) = grow(before, &after);
        assert_eq!(new.resumed, resumed, "{before:?} + {after:?}");
        let full = read(format!("{before}{after}"));
        let old = if resumed { old.items } else { Vec::new() };
        let places = |items: &[FoundItem]| items.iter().map(|i| (i.place.offset, bytes_of(i))).collect::<Vec<_>>();
        assert_eq!([places(&old), places(&new.items)].concat(), places(&full.items), "{before:?} + {after:?}");
        assert_eq!(new.read_up_to, full.read_up_to);
    }
}

#[test]
fn a_file_changed_in_place_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    std::fs::write(&path, format!("{LINE}Status: O\n\nx\n\n")).unwrap();
    let grown = read_store(&path, Format::Mbox, None).pop().unwrap().1.read_up_to;
    std::fs::write(&path, format!("{LINE}Status: R\n\nx\n\n{LINE}A: b\n")).unwrap();
    let kept = read_store(&path, Format::Mbox, grown).pop().unwrap().1;
    assert_eq!((kept.resumed, kept.items.len()), (false, 2));
}

/// Cuts its file short when the first item comes.
struct Cutter(PathBuf, Kept);

impl ItemSink for Cutter {
    fn item(&mut self, item: FoundItem) -> Result<()> {
        std::fs::OpenOptions::new().write(true).open(&self.0).unwrap().set_len(100).unwrap();
        self.1.item(item)
    }

    fn exception(&mut self, place: Place, outcome: Outcome, reason: &str, detail: String) -> Result<()> {
        self.1.exception(place, outcome, reason, detail)
    }

    fn original(&mut self, _place: Place, _path: PathBuf) -> Result<()> {
        Ok(())
    }

    fn read_up_to(&mut self, _offset: u64, _xxh3: u128) {
        panic!("the file did not end cleanly");
    }

    fn resumed(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for messages in [3, 200_000] {
        let path = dir.path().join("m");
        std::fs::write(&path, format!("{LINE}A: b\n\nx\n\n").repeat(messages)).unwrap();
        let store = open(&path, Format::Mbox).unwrap();
        let mut sink = Cutter(path, Kept::default());
        store.read(&store.collections().unwrap()[0], None, &mut sink).unwrap();
        let (place, outcome, reason) = sink.1.exceptions.pop().unwrap();
        assert_eq!((place.path.as_str(), outcome, reason.as_str()), ("m", Outcome::Failed, "file shrank while it was read"));
    }
}

#[test]
fn a_message_larger_than_memory_is_a_range() {
    a_long_message_is_a_range(33 << 20);
}

#[test]
#[ignore = "takes seconds"]
fn offsets_beyond_4_gib_are_right() {
    a_long_message_is_a_range((4 << 30) + 7);
}

fn a_long_message_is_a_range(hole: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    let file = std::fs::File::create(&path).unwrap();
    let start = LINE.len() as u64;
    file.write_all_at(format!("{LINE}A: b\n\n").as_bytes(), 0).unwrap();
    file.write_all_at(format!("\n\n{LINE}C: d\n\ntwo\n").as_bytes(), start + hole).unwrap();
    let (_, kept, count) = read_store(&path, Format::Mbox, None).pop().unwrap();
    assert_eq!((kept.items.len(), count), (2, 2));
    assert!(matches!(kept.items[0].content, Content::Range { offset, length, .. } if offset == start && length == hole + 1));
    assert_eq!(bytes_of(&kept.items[1]), b"C: d\n\ntwo\n");
    assert_eq!(kept.items[1].place.offset, Some(start + hole + 2 + start));
}

#[test]
fn folders_and_files_are_known_by_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    };
    let format_of = |name: &str| detect(&dir.path().join(name)).unwrap().map(|e| (e.format, e.because.is_empty()));
    put("users/x/mbox/INBOX.mbox", &format!("{LINE}A: b\n"));
    put("tb/Inbox", &format!("{LINE}A: b\n"));
    put("tb/Inbox.msf", "");
    put("Takeout/Mail/All.mbox", &format!("{LINE}X-Gmail-Labels: Inbox\n\n"));
    put("text/readme.txt", "From here on there is text.\n");
    put("md/cur/1", &format!("{LINE}A: b\n"));
    put("md/new/1", "");
    assert_eq!(format_of("users/x/mbox"), Some((Format::Mbox, false)));
    assert_eq!(format_of("users/x/mbox/INBOX.mbox"), Some((Format::Mbox, false)));
    assert_eq!(format_of("users"), None);
    assert_eq!(format_of("tb"), Some((Format::Thunderbird, false)));
    assert_eq!(format_of("Takeout"), Some((Format::Takeout, false)));
    assert_eq!((format_of("text"), format_of("md"), format_of("text/readme.txt")), (None, None, None));
}

fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        LINE.as_bytes().to_vec(),
        b"From a@b Mon Jan  1 00:00:00 2024\r\n".to_vec(),
        b"From a@b\nSubject: x\n".to_vec(),
        b"From - \n".to_vec(),
        b"From me to you\n".to_vec(),
        b">From x\n".to_vec(),
        b"\x01\x01\x01\x01\n".to_vec(),
        b"\n".to_vec(),
        b"\r\n".to_vec(),
        b"\r".to_vec(),
        b"From ".to_vec(),
        b"F".to_vec(),
        b"A: b\n".to_vec(),
        b"Content-Length: 4\n".to_vec(),
        b"Content-Length: 40\n\n".to_vec(),
        b"abc\n".to_vec(),
        b" ".to_vec(),
        b"\xef\xbb\xbf".to_vec(),
        b"\xff\0".to_vec(),
        vec![b'y'; 150],
    ]);
    prop::collection::vec(known, 0..40).prop_map(|parts| parts.concat())
}

type Shape = (bool, std::ops::Range<u64>, std::ops::Range<u64>, bool, u32, Vec<u8>);

fn shapes(file: &[u8], window_bytes: usize, keep_bytes: usize) -> Vec<Shape> {
    let limits = Limits { window_bytes, look_bytes: 300, keep_bytes, head_bytes: 400 };
    let mut splitter = Splitter::new(file, 0, file.len() as u64, limits, None);
    std::iter::from_fn(|| splitter.next().unwrap())
        .map(|p| {
            assert!(!p.whole || p.bytes.len() as u64 == p.content.end - p.content.start);
            (p.opening == Opening::Nothing, p.separator, p.content, p.length_holds, p.bare_count, p.bytes)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_is_in_a_message_a_separator_or_an_exception(file in fragments()) {
        let shapes = shapes(&file, 1 << 20, 1 << 20);
        let mut at = 0usize;
        for (nothing, separator, content, _, _, bytes) in &shapes {
            let (start, end) = (usize::try_from(content.start).unwrap(), usize::try_from(content.end).unwrap());
            prop_assert_eq!(separator.start, at as u64);
            prop_assert_eq!(separator.end, content.start);
            prop_assert!(*nothing || bytes.as_slice() == &file[start..end]);
            at = end;
        }
        // At most one empty line after the last message, or what holds nothing to see.
        let rest = &file[at..];
        let blank = rest.iter().all(|b| b.is_ascii_whitespace() || matches!(b, 1 | 0xef | 0xbb | 0xbf));
        prop_assert!(blank, "{:?}", rest);
    }

    #[test]
    fn the_size_of_the_window_does_not_matter(file in fragments(), window_bytes in 1usize..2000) {
        prop_assert_eq!(shapes(&file, window_bytes, 1 << 20), shapes(&file, 1 << 20, 1 << 20));
        let structure = |keep| shapes(&file, window_bytes, keep).into_iter().map(|s| (s.1, s.2, s.4)).collect::<Vec<_>>();
        prop_assert_eq!(structure(0), structure(1 << 20));
    }

    #[test]
    fn both_counts_agree(file in fragments()) {
        read(&file);
    }
}

/// Reads every store below the folders named in `FLOE_MBOX_STORES` (parted by `:`) and prints a line of JSON an item.
#[test]
#[ignore = "reads stores that are not part of the repository"]
fn given_stores_are_read_and_counted_alike() {
    let Ok(roots) = std::env::var("FLOE_MBOX_STORES") else { return };
    let format = match std::env::var("FLOE_MBOX_FORMAT").as_deref() {
        Ok("takeout") => Format::Takeout,
        Ok("thunderbird") => Format::Thunderbird,
        _ => Format::Mbox,
    };
    let mut differ = 0;
    for root in roots.split(':') {
        for (head, kept, count) in read_store(Path::new(root), format, None) {
            if count != kept.total() {
                differ += 1;
                eprintln!("{root}/{}: counted {count}, read {}", head.source_path, kept.total());
            }
            for item in &kept.items {
                let bytes = bytes_of(item);
                let state = &item.state;
                println!(
                    "{}",
                    serde_json::json!({
                        "root": root, "collection": head.path.0, "file": item.place.path, "offset": item.place.offset,
                        "sha256": Digest::of(&bytes).to_string(), "size": bytes.len(), "flags": state.flags,
                        "keywords": state.keywords, "labels": state.labels, "date": state.date.map(|d| d.at.as_second()),
                        "notes": state.notes, "uid": item.place.uid, "uid_validity": head.uid_validity,
                    })
                );
            }
            for (place, outcome, reason) in &kept.exceptions {
                println!(
                    "{}",
                    serde_json::json!({"root": root, "file": place.path, "offset": place.offset, "length": place.length, "outcome": outcome, "reason": reason})
                );
            }
        }
    }
    assert_eq!(differ, 0, "collections whose two counts differ");
}

/// Times reading and counting of the stores named in `FLOE_MBOX_STORES`.
#[test]
#[ignore = "a measurement"]
fn given_stores_are_read_fast() {
    let Ok(roots) = std::env::var("FLOE_MBOX_STORES") else { return };
    struct Sum(u64, u64);
    impl ItemSink for Sum {
        fn item(&mut self, item: FoundItem) -> Result<()> {
            self.0 += 1;
            self.1 += item.place.length.unwrap_or_default();
            Ok(())
        }
        fn exception(&mut self, _: Place, _: Outcome, _: &str, _: String) -> Result<()> {
            self.0 += 1;
            Ok(())
        }
        fn original(&mut self, _: Place, _: PathBuf) -> Result<()> {
            Ok(())
        }
        fn read_up_to(&mut self, _: u64, _: u128) {}
        fn resumed(&mut self) -> Result<()> {
            Ok(())
        }
    }
    for round in 0..3 {
        let (mut sum, mut counted) = (Sum(0, 0), 0);
        let (mut reading, mut counting) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
        for root in roots.split(':') {
            let store = open(Path::new(root), Format::Mbox).unwrap();
            for head in store.collections().unwrap() {
                let start = std::time::Instant::now();
                store.read(&head, None, &mut sum).unwrap();
                reading += start.elapsed();
                let start = std::time::Instant::now();
                counted += store.count(&head).unwrap();
                counting += start.elapsed();
            }
        }
        println!("round {round}: {} items, {} bytes read in {reading:?}; {counted} counted in {counting:?}", sum.0, sum.1);
    }
}
