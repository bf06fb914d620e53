//! The record of events: what is written into it, and that nothing can be changed, taken out, moved or cut off unseen.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use floe::model::Digest;
use floe::proof::events::{self, Event, EventType, Outcome};
use serde_json::Value;
use support::archives::{copy, files, holds_exactly, root, roots};
use support::mail::{Maildir, Random};
use support::program::{Ran, floe, on, run, snapshot, traces};

struct Sample {
    _folder: tempfile::TempDir,
    archive: PathBuf,
    maildir: Maildir,
    random: Random,
}

impl Sample {
    /// Three snapshots; between them a check that was recorded.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::new(&folder.path().join("anna"), "anna");
        let archive = folder.path().join("a.floe");
        let mut sample = Sample { _folder: folder, archive, maildir, random: Random(9) };
        sample.snapshot().expect(0);
        sample.verify(&["--record"]).expect(0);
        sample.snapshot().expect(0);
        sample.snapshot().expect(0);
        sample.verify(&["--record", "--full"]).expect(0);
        sample
    }

    fn snapshot(&mut self) -> Ran {
        self.maildir.fill(&mut self.random, "", 2, 3000);
        run(&mut snapshot(&[("anna", &self.maildir.root)], &self.archive))
    }

    fn verify(&self, more: &[&str]) -> Ran {
        run(&mut on(&self.archive, "verify", more))
    }

    fn log(&self) -> PathBuf {
        self.archive.join("events.jsonl")
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap().lines().map(str::to_owned).collect()
    }

    fn undone(&mut self, test: impl FnOnce(&mut Self)) {
        let kept = self.archive.with_extension("kept");
        copy(&self.archive, &kept);
        test(self);
        fs::remove_dir_all(&self.archive).unwrap();
        fs::rename(&kept, &self.archive).unwrap();
    }

    /// With these lines for a record, and then also with a tag manifest that agrees with them: is what is wrong named?
    fn with_lines(&mut self, lines: &[String], named: &str) {
        self.undone(|sample| {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            fs::write(sample.log(), text).unwrap();
            damaged(&sample.verify(&[]), "events.jsonl");
            relist(&sample.archive);
            damaged(&sample.verify(&[]), named);
            damaged(&run(&mut on(&sample.archive, "events", &[])), named);
        });
    }
}

/// Makes the tag manifest anew from what lies there.
fn relist(archive: &Path) {
    let tags = archive.join("tagmanifest-sha256.txt");
    let listed = fs::read_to_string(&tags).unwrap();
    let line = |line: &str| Some(format!("{}  {}\n", Digest::of(&fs::read(archive.join(&line[66..])).ok()?), &line[66..]));
    fs::write(&tags, listed.lines().filter_map(line).collect::<String>()).unwrap();
}

#[track_caller]
fn damaged(ran: &Ran, named: &str) {
    assert_eq!(ran.code(), 2, "{ran}");
    let text = ran.text();
    assert!(text.lines().any(|line| line.starts_with("damaged: ") && line.contains(named)), "{named} is not in {ran}");
}

fn types(lines: &[String]) -> Vec<String> {
    let of = |line: &String| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned();
    lines.iter().map(of).collect()
}

#[test]
fn what_happens_is_written_down_in_a_chain_that_stock_tools_can_follow() {
    let sample = Sample::new();
    let lines = sample.lines();
    let captured = ["capture", "message digest calculation"];
    let want = [captured.as_slice(), &["fixity check"], &captured, &captured, &["fixity check"]].concat();
    assert_eq!(types(&lines), want);
    let mut previous = Value::Null;
    for (n, line) in lines.iter().enumerate() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&event["event"], &event["previous"]), (&(n as u64 + 1).into(), &previous), "{line}");
        assert!(
            event["agent"].as_str().is_some_and(|a| !a.is_empty())
                && event["tool"] == concat!("floe ", env!("CARGO_PKG_VERSION"))
        );
        assert!(!line.contains("anna"), "the record must not tell what the archive holds: {line}");
        let sum = run(Command::new("sh").args(["-c", "printf %s \"$1\" | sha256sum | cut -c1-64", "sh", line])).expect(0);
        previous = String::from_utf8(sum.stdout).unwrap().trim().into();
    }
    // Each root names the line before it.
    let all: Vec<Value> = roots(&sample.archive).iter().map(|path| root(path)).collect();
    let line = |n: usize| Value::from(Digest::of(lines[n].as_bytes()).to_string());
    assert_eq!(all[0]["events"], Value::from(Digest::of(b"").to_string()));
    assert_eq!((&all[1]["events"], &all[2]["events"]), (&line(2), &line(4)));
    let newest = Digest::of(&fs::read(roots(&sample.archive).pop().unwrap()).unwrap()).to_string();
    assert!(lines[5].contains(&newest) && lines[6].contains(&newest) && lines[7].contains(&newest));
    run(Command::new("sha256sum").args(["-c", "--quiet", "tagmanifest-sha256.txt"]).current_dir(&sample.archive)).expect(0);

    let ran = run(&mut on(&sample.archive, "events", &[])).expect(0).expect_harmless();
    assert!(
        ran.text().contains("fixity check: success") && ran.text().ends_with("PASS: 8 events, none changed or missing\n"),
        "{ran}"
    );
    let ran = run(&mut on(&sample.archive, "events", &["--json"])).expect(0);
    assert_eq!(serde_json::from_slice::<Value>(&ran.stdout).unwrap()["events"].as_array().unwrap().len(), 8);
    // A check that is not asked to record writes nothing.
    sample.verify(&["--full"]).expect(0);
    assert_eq!(sample.lines(), lines);
    holds_exactly(&sample.archive, &sample.maildir.items);
}

#[test]
fn an_event_taken_out_changed_added_or_moved_is_found_and_named() {
    let mut sample = Sample::new();
    let lines = sample.lines();
    for n in 0..lines.len() - 1 {
        let mut less = lines.clone();
        less.remove(n);
        sample.with_lines(&less, &format!("events {} to {} are missing", n + 1, n + 1));
        let mut changed = lines.clone();
        changed[n] = changed[n].replacen("\"outcome\":\"success\"", "\"outcome\":\"warning\"", 1);
        sample.with_lines(&changed, &format!("event {} does not follow event {}", n + 2, n + 1));
        let mut swapped = lines.clone();
        swapped.swap(n, n + 1);
        sample.with_lines(&swapped, &format!("event {} stands behind event {}", n + 1, n + 2));
        let mut doubled = lines.clone();
        doubled.insert(n, lines[n].clone());
        sample.with_lines(&doubled, &format!("event {} stands behind event {}", n + 1, n + 1));
        let mut broken = lines.clone();
        broken[n].truncate(lines[n].len() / 2);
        sample.with_lines(&broken, &format!("line {} is no event", n + 1));
    }
    // The same, numbered and chained anew behind it: the roots still know the lines that were there.
    let forged = rechained(&lines, 2);
    sample.with_lines(&forged, "the event that snapshot");
    sample.verify(&["--full"]).expect(0);
}

/// The record without one line, as one would make it who hides that.
fn rechained(lines: &[String], without: usize) -> Vec<String> {
    let mut made: Vec<String> = Vec::new();
    for (_, line) in lines.iter().enumerate().filter(|(n, _)| *n != without) {
        let mut event: Value = serde_json::from_str(line).unwrap();
        event["event"] = (made.len() as u64 + 1).into();
        event["previous"] = made.last().map_or(Value::Null, |line| Digest::of(line.as_bytes()).to_string().into());
        made.push(event.to_string());
    }
    made
}

#[test]
fn a_chain_cut_at_its_end_is_found_and_named() {
    let mut sample = Sample::new();
    let lines = sample.lines();
    let newest = roots(&sample.archive).pop().unwrap().file_stem().unwrap().to_str().unwrap().to_owned();
    // Below the newest root the roots know; above it only the tag manifest does.
    for end in 0..=5 {
        sample.with_lines(&lines[..end], &format!("the capture of snapshot {newest} is missing"));
    }
    for end in [6, 7] {
        sample.undone(|sample| {
            fs::write(sample.log(), lines[..end].iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
            damaged(&sample.verify(&[]), "events.jsonl");
            damaged(&run(&mut on(&sample.archive, "events", &[])), "not the file that tagmanifest");
            // Nobody who only adds an event covers it up ...
            let before = fs::read(sample.log()).unwrap();
            assert!(sample.verify(&["--record"]).expect(2).text().contains("is not in the record of events"));
            assert_eq!(fs::read(sample.log()).unwrap(), before);
            // ... and a snapshot, which has to go on, writes it down for ever.
            sample.snapshot().expect(0);
            let ran = sample.verify(&[]).expect(1);
            assert!(ran.text().contains(&format!("note: event {} tells that events.jsonl was another", end + 1)), "{ran}");
            run(&mut on(&sample.archive, "events", &[])).expect(1);
        });
    }
    sample.undone(|sample| {
        let text = fs::read_to_string(sample.log()).unwrap();
        fs::write(sample.log(), &text[..text.len() - 1]).unwrap();
        relist(&sample.archive);
        damaged(&sample.verify(&[]), "cut off within its last line");
    });
    sample.undone(|sample| {
        fs::remove_file(sample.log()).unwrap();
        damaged(&sample.verify(&[]), "events.jsonl is missing");
        relist(&sample.archive);
        damaged(&sample.verify(&[]), "events.jsonl is missing, and with it every event");
        sample.snapshot().expect(0);
        damaged(&sample.verify(&[]), "the event of the capture of snapshot");
    });
}

#[test]
fn an_old_root_put_back_or_the_newest_taken_out_is_found_and_named() {
    let mut sample = Sample::new();
    let newest = roots(&sample.archive).pop().unwrap();
    let digest = Digest::of(&fs::read(&newest).unwrap()).to_string();
    // All bag files as they were before the newest snapshot, its root and packs gone; only the record was forgotten.
    sample.undone(|sample| {
        fs::remove_file(&newest).unwrap();
        let manifest = sample.archive.join("manifest-sha256.txt");
        let name = newest.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&manifest).unwrap();
        let kept: String = text.lines().filter(|line| !line.contains(name)).map(|line| format!("{line}\n")).collect();
        fs::write(&manifest, kept).unwrap();
        relist(&sample.archive);
        damaged(&sample.verify(&[]), &digest);
        damaged(&run(&mut on(&sample.archive, "events", &[])), &digest);
    });
    // A root of an archive that went another way, put into this one.
    sample.undone(|sample| {
        let aside = sample.archive.with_extension("aside");
        copy(&sample.archive, &aside);
        run(&mut snapshot(&[("anna", &sample.maildir.root)], &aside)).expect(0);
        support::archives::next_second();
        sample.snapshot().expect(0);
        let stranger = roots(&aside).pop().unwrap();
        fs::copy(&stranger, sample.archive.join("data/snapshots").join(stranger.file_name().unwrap())).unwrap();
        for pack in files(&aside.join("data/packs")) {
            fs::copy(aside.join("data/packs").join(&pack), sample.archive.join("data/packs").join(&pack)).unwrap();
        }
        sample.snapshot().expect(0);
        let id = stranger.file_stem().unwrap().to_str().unwrap();
        damaged(&sample.verify(&[]), &format!("the capture of snapshot {id} is missing"));
        fs::remove_dir_all(aside).unwrap();
    });
    sample.verify(&["--full"]).expect(0);
}

#[test]
fn an_archive_made_before_there_were_events_stays_good_and_gets_them() {
    let mut sample = Sample::new();
    // As such a version wrote it: no record, and roots that name none.
    let folder = sample.archive.join("data/snapshots");
    let mut previous = Value::Null;
    for path in roots(&sample.archive) {
        let mut old = root(&path);
        old.as_object_mut().unwrap().remove("events");
        old["previous"] = previous;
        let text = serde_json::to_string_pretty(&old).unwrap() + "\n";
        let digest = Digest::of(text.as_bytes()).to_string();
        let time = path.file_name().unwrap().to_str().unwrap().split_once('-').unwrap().0.to_owned();
        fs::remove_file(&path).unwrap();
        fs::write(folder.join(format!("{time}-{}.json", &digest[..12])), text).unwrap();
        previous = digest.into();
    }
    fs::remove_file(sample.log()).unwrap();
    let manifest = sample.archive.join("manifest-sha256.txt");
    let sums =
        run(Command::new("sh").args(["-c", "sha256sum data/packs/* data/snapshots/*"]).current_dir(&sample.archive)).expect(0);
    fs::write(manifest, sums.stdout).unwrap();
    relist(&sample.archive);
    sample.verify(&["--full"]).expect(0);
    run(&mut on(&sample.archive, "events", &[])).expect(1);
    sample.snapshot().expect(0);
    sample.verify(&["--full"]).expect(0);
    assert_eq!(types(&sample.lines()), ["capture", "message digest calculation"]);
}

#[test]
fn an_event_is_appended_by_one_writer_at_a_time_and_only_to_an_archive() {
    let sample = Sample::new();
    let event = || Event::new(EventType::Replication, Outcome::Success).detail("packs", 3);
    events::append(&sample.archive, event()).unwrap();
    let read = events::read(&floe::store::LocalStore::new(&sample.archive)).unwrap();
    assert_eq!((read.len(), read[8].event, &read[8].kind), (9, 9, &EventType::Replication));
    let store = floe::store::LocalStore::new(&sample.archive);
    let lock = store.lock().unwrap();
    assert_eq!(events::append(&sample.archive, event()).unwrap_err().kind(), floe::Kind::Locked);
    drop(lock);
    let nowhere = sample.archive.with_extension("nowhere");
    assert_eq!(events::append(&nowhere, event()).unwrap_err().kind(), floe::Kind::Usage);
    assert!(!nowhere.exists());
    // A term that this version does not know is kept.
    let mut later = event();
    later.kind = EventType::Other("quarantine".to_owned());
    events::append(&sample.archive, later).unwrap();
    assert!(run(&mut on(&sample.archive, "events", &[])).expect(0).text().contains("quarantine: success"));
    sample.verify(&["--full"]).expect(0);
    // Damage elsewhere stays damage when an event is added.
    let pack = sample.archive.join("data/packs").join(&files(&sample.archive.join("data/packs"))[0]);
    fs::remove_file(pack).unwrap();
    sample.verify(&["--record"]).expect(2);
    damaged(&sample.verify(&[]), "is missing");
    assert!(sample.lines().last().unwrap().contains("\"outcome\":\"fail\""));
}

#[test]
fn a_bundle_of_evidence_is_recorded_where_that_is_asked_for_and_never_which_item_is_in_it() {
    let sample = Sample::new();
    let before = sample.lines();
    let item = run(&mut on(&sample.archive, "manifest", &["--format", "sha256sum"])).expect(0).text()[..64].to_owned();
    let bundle = |name: &str, more: &[&str]| {
        let zip = sample.archive.with_file_name(name);
        run(on(&sample.archive, "evidence", &[&item, "--out", zip.to_str().unwrap()]).args(more)).expect(0);
        Digest::of(&fs::read(zip).unwrap()).to_string()
    };
    bundle("quiet.zip", &[]);
    assert_eq!(sample.lines(), before);
    let digest = bundle("told.zip", &["--record"]);
    let lines = sample.lines();
    assert_eq!((lines.len(), types(&lines).pop().unwrap().as_str()), (before.len() + 1, "dissemination"));
    let told = lines.last().unwrap();
    assert!(told.contains(&digest) && !told.contains(&item) && told.contains("\"root\":"), "{told}");
    sample.verify(&["--full"]).expect(0);
}

/// Every call that changes the names or the durability of files.
const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat,ftruncate";

#[test]
fn a_check_killed_while_it_records_leaves_the_old_record_or_the_new_one() {
    if !traces("killing floe verify --record at every system call") {
        return;
    }
    let mut sample = Sample::new();
    let old = sample.lines();
    for n in 1.. {
        let mut ended = false;
        sample.undone(|sample| {
            let verify = on(&sample.archive, "verify", &["--record"]);
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")]);
            strace.args(["-e", &format!("inject={CALLS}:signal=SIGKILL:when={n}")]);
            let ran = run(strace.arg(verify.get_program()).args(verify.get_args()));
            ended = ran.status.signal().is_none();
            sample.verify(&[]).expect(0);
            // The next writer finishes what was committed.
            sample.verify(&["--record"]).expect(0);
            let lines = sample.lines();
            assert!(lines.starts_with(&old) && matches!(lines.len() - old.len(), 1 | 2), "call {n}: {lines:?}");
            assert!(!sample.archive.join("pending").exists() && !sample.archive.join("pending.tmp").exists());
        });
        if ended {
            assert!(n > 5, "only {n} calls were traced");
            break;
        }
    }
    assert_eq!(run(floe().arg("--version")).code(), 0);
}

#[test]
fn replay_and_validate_are_recorded_where_that_is_asked_for_and_the_archive_can_be_written() {
    let way = support::way::Way::new("");
    let account = "anna@acme.example";
    let mut mail = Maildir::new(&way.path("mail"), account);
    mail.fill(&mut Random(3), "", 3, 2000);
    way.snapshot(&[(account, &mail.root)]);
    way.prepare();
    let archive = way.path("a.floe");
    let recorded =
        || types(&fs::read_to_string(archive.join("events.jsonl")).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
    let captured = ["capture", "message digest calculation"];
    way.replay(&[]).expect(0);
    assert_eq!(recorded(), captured);
    {
        let store = floe::store::LocalStore::new(&archive);
        let _lock = store.lock().unwrap();
        for ran in [way.replay(&["--record"]).expect(0), way.validate(&["--record", "--json"]).expect(0)] {
            assert!(ran.text().contains("is not in the archive's record of events"), "{ran}");
        }
        assert_eq!(recorded(), captured);
    }
    way.replay(&["--record"]).expect(0);
    way.validate(&["--record"]).expect(0);
    assert_eq!(recorded(), [captured.as_slice(), &["migration", "validation"]].concat());
    let ran = run(&mut on(&archive, "events", &[])).expect(0);
    assert!(
        ran.text().contains("validation: success") && ran.text().contains("items 3") && !ran.text().contains("acme"),
        "{ran}"
    );
    run(&mut on(&archive, "verify", &["--full"])).expect(0);
}
