//! `kill -9` at any moment of a snapshot: what is committed stays intact and readable, what is not is never taken for damage,
//! and the next run completes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::archives::{copy, export, files, holds_exactly, next_second, roots, wanted};
use support::mail::{Item, Maildir, Random};
use support::program::{floe, on, run, snapshot, start, traces};

fn damage_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.starts_with("damaged:"))
}

/// The archive opens, and a check finds nothing but that nothing is committed yet, where that is so.
#[track_caller]
fn opens_undamaged(archive: &Path, when: &str) {
    let ran = run(&mut on(archive, "verify", &[]));
    if roots(archive).is_empty() && roots(&archive.join("pending")).is_empty() {
        // Nothing there, or nothing committed: neither is damage.
        assert!(matches!(ran.code(), 1 | 64), "{when}: {ran}");
        assert_eq!(damage_lines(&ran.text()).count(), 0, "{when}: {ran}");
        assert!(ran.code() == 64 || ran.text().contains("note: no snapshot is committed yet"), "{when}: {ran}");
    } else {
        assert_eq!(ran.code(), 0, "{when}: {ran}");
        run(&mut on(archive, "list", &[])).expect(0);
    }
}

/// Kills it unless it has ended; was it killed?
fn kill(mut child: Child) -> bool {
    let _ = child.kill();
    let status = child.wait().unwrap();
    assert!(status.signal() == Some(9) || status.code() == Some(0), "{status}");
    status.signal().is_some()
}

fn store(folder: &Path, random: &mut Random, megabytes: u64) -> Maildir {
    let mut maildir = Maildir::new(&folder.join("anna"), "anna");
    maildir.fill(random, "", megabytes, 700 << 10);
    maildir.fill(random, ".Sent", 200, 8 << 10);
    maildir
}

/// Runs a snapshot again and again and kills each run at another moment, spread over the whole duration.
fn kill_all_over(maildir: &Maildir, archive: &Path, committed: &[Item], random: &mut Random, times: u32) {
    let fresh = archive.with_extension("whole");
    copy(archive, &fresh);
    let whole = run(&mut snapshot(&[("anna", &maildir.root)], &fresh)).expect(0).elapsed;
    fs::remove_dir_all(&fresh).unwrap();
    let before = roots(archive).len();
    for n in 0..times {
        let moment = whole.mul_f64(1.1 * (f64::from(n) + random.below(1000) as f64 / 1000.0) / f64::from(times));
        let child = start(&mut snapshot(&[("anna", &maildir.root)], archive));
        sleep(moment);
        let killed = kill(child);
        let when = format!("killed ({killed}) after {moment:?} of {whole:?}");
        opens_undamaged(archive, &when);
        if before > 0 && n % 5 == 0 {
            let oldest = roots(archive)[0].file_stem().unwrap().to_str().unwrap().to_owned();
            let (out, ran) = export(archive, &["--snapshot", &oldest]);
            ran.expect(0);
            assert!(out == wanted(committed), "{when}");
        }
    }
    run(&mut snapshot(&[("anna", &maildir.root)], archive)).expect(0);
    holds_exactly(archive, &maildir.items);
}

#[test]
fn a_first_run_killed_at_any_moment_is_completed_by_the_next() {
    let mut random = Random::fresh("first run");
    let folder = tempfile::tempdir().unwrap();
    let maildir = store(folder.path(), &mut random, 80);
    let archive = folder.path().join("a.floe");
    fs::create_dir(&archive).unwrap();
    kill_all_over(&maildir, &archive, &[], &mut random, 20);
}

#[test]
fn a_later_run_killed_at_any_moment_leaves_the_earlier_snapshot_and_is_completed_by_the_next() {
    let mut random = Random::fresh("later run");
    let folder = tempfile::tempdir().unwrap();
    let mut maildir = store(folder.path(), &mut random, 10);
    let archive = folder.path().join("a.floe");
    run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
    let committed = maildir.items.clone();
    maildir.fill(&mut random, ".New", 70, 700 << 10);
    kill_all_over(&maildir, &archive, &committed, &mut random, 20);
}

/// Is a commit under way, as far as can be seen from outside?
fn committing(archive: &Path) -> bool {
    ["pending.tmp", "pending"].iter().any(|name| archive.join(name).exists())
        || fs::read_dir(archive.join("data/packs")).is_ok_and(|mut packs| packs.next().is_some())
}

#[test]
fn a_run_killed_while_it_commits_is_committed_or_not_and_never_half() {
    let mut random = Random::fresh("commit");
    let folder = tempfile::tempdir().unwrap();
    let maildir = store(folder.path(), &mut random, 6);
    for n in 0..40 {
        let archive = folder.path().join(format!("{n}.floe"));
        let child = start(&mut snapshot(&[("anna", &maildir.root)], &archive));
        let begun = Instant::now();
        while !committing(&archive) && begun.elapsed() < Duration::from_secs(20) {
            std::hint::spin_loop();
        }
        sleep(Duration::from_micros(random.below(12_000)));
        kill(child);
        opens_undamaged(&archive, &format!("commit {n}"));
        run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
        holds_exactly(&archive, &maildir.items);
        fs::remove_dir_all(&archive).unwrap();
    }
}

/// The command with SIGKILL at its n-th system call of these.
fn killed_at(n: u32, calls: &str, command: &Command) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={n}")]);
    strace.arg(command.get_program()).args(command.get_args());
    strace
}

/// Every call that changes the names or the durability of files.
const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat,ftruncate";

#[test]
fn a_run_killed_at_each_system_call_that_changes_names_is_committed_or_not_and_never_half() {
    if !traces("killing at every system call") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(1);
    let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
    maildir.fill(&mut random, "", 10, 20_000);
    let first = maildir.items.clone();
    let base = folder.path().join("base.floe");
    run(&mut snapshot(&[("anna", &maildir.root)], &base)).expect(0);
    next_second();
    maildir.fill(&mut random, ".New", 10, 20_000);
    let named: [(&str, &Path); 1] = [("anna", &maildir.root)];
    for with_base in [true, false] {
        let mut ends = 0;
        for n in 1.. {
            let archive: PathBuf = folder.path().join(format!("{with_base}-{n}.floe"));
            if with_base {
                copy(&base, &archive);
            }
            let ran = run(&mut killed_at(n, CALLS, &snapshot(&named, &archive)));
            if ran.status.signal().is_none() {
                assert_eq!(ran.code(), 0, "{ran}");
                ends = n;
                break;
            }
            opens_undamaged(&archive, &format!("call {n}"));
            if with_base {
                let oldest = roots(&archive)[0].file_stem().unwrap().to_str().unwrap().to_owned();
                let (out, ran) = export(&archive, &["--snapshot", &oldest]);
                assert!(ran.code() == 0 && out == wanted(&first), "call {n}");
            }
            run(&mut snapshot(&named, &archive)).expect(0);
            holds_exactly(&archive, &maildir.items);
            assert!(!archive.join("pending").exists() && !archive.join("pending.tmp").exists(), "call {n}");
            fs::remove_dir_all(&archive).unwrap();
        }
        assert!(ends > 10, "only {ends} calls were traced");
    }
}

#[test]
fn two_snapshots_in_one_second_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    for n in 0..6 {
        let mut maildir = Maildir::new(&folder.path().join(format!("anna{n}")), "anna");
        let archive = folder.path().join(format!("{n}.floe"));
        for _ in 0..3 {
            maildir.fill(&mut random, "", 1, 2000);
            run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
            holds_exactly(&archive, &maildir.items);
        }
    }
}

#[test]
fn an_archive_that_was_never_committed_is_not_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(4);
    let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
    let (whole, archive) = (folder.path().join("whole"), folder.path().join("a.floe"));
    maildir.fill(&mut random, "", 20, 20_000);
    run(&mut snapshot(&[("anna", &maildir.root)], &whole)).expect(0);
    drop(floe::archive::Writer::open(&archive, 3).unwrap());
    copy(&whole.join("data/packs"), &archive.join("data/packs"));
    opens_undamaged(&archive, "after a first run that never ended");
    run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
    holds_exactly(&archive, &maildir.items);
}

#[test]
fn whole_packs_of_an_interrupted_run_are_adopted_and_not_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(2);
    let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
    let archive = folder.path().join("a.floe");
    maildir.fill(&mut random, "", 20, 20_000);
    run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
    next_second();
    let early = folder.path().join("early");
    copy(&archive, &early);
    maildir.fill(&mut random, "", 20, 20_000);
    run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
    // Back to before the commit: bag files and roots of the first run, packs of both, no index.
    let newest = roots(&archive).pop().unwrap();
    fs::remove_file(newest).unwrap();
    for name in files(&early).iter().filter(|f| f.components().count() == 1) {
        fs::copy(early.join(name), archive.join(name)).unwrap();
    }
    fs::remove_dir_all(archive.join("index")).unwrap();
    let packs = files(&archive.join("data/packs"));
    opens_undamaged(&archive, "with a pack that no manifest lists");
    run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
    holds_exactly(&archive, &maildir.items);
    let after = files(&archive.join("data/packs"));
    // The new root's own listings may need one more; the items do not.
    assert!(packs.iter().all(|p| after.contains(p)) && after.len() <= packs.len() + 1, "{packs:?} {after:?}");
}

#[test]
fn a_bad_pack_of_an_interrupted_run_is_not_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(3);
    let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
    let archive = folder.path().join("a.floe");
    maildir.fill(&mut random, "", 5, 20_000);
    run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
    next_second();
    let good = fs::read(archive.join("data/packs").join(&files(&archive.join("data/packs"))[0])).unwrap();
    let mut cases = vec![good[..good.len() / 2].to_vec(), Vec::new(), random.bytes(5000)];
    let mut flipped = good.clone();
    flipped[good.len() / 3] ^= 1;
    cases.push(flipped);
    for bad in &cases {
        let name = format!("{}.tar.zst", floe::model::Digest::of(&random.bytes(8)));
        fs::write(archive.join("data/packs").join(&name), bad).unwrap();
    }
    maildir.fill(&mut random, "", 5, 20_000);
    let ran = run(&mut snapshot(&[("anna", &maildir.root)], &archive));
    assert!(matches!(ran.code(), 0 | 1), "{ran}");
    let (out, ran) = export(&archive, &[]);
    assert!(ran.code() == 0 && out == wanted(&maildir.items), "{ran}");
    let sums = run(Command::new("sha256sum").args(["-c", "--quiet", "manifest-sha256.txt"]).current_dir(&archive));
    assert_eq!(sums.code(), 0, "the manifest lists a file that has not its digest: {sums}");
}

#[test]
fn a_second_writer_is_sent_away_and_harms_nothing() {
    let mut random = Random::fresh("two writers");
    let folder = tempfile::tempdir().unwrap();
    let maildir = store(folder.path(), &mut random, 30);
    let archive = folder.path().join("a.floe");
    let mut child = start(&mut snapshot(&[("anna", &maildir.root)], &archive));
    while !archive.join("index/lock").exists() {
        sleep(Duration::from_millis(1));
    }
    sleep(Duration::from_millis(20));
    let second = run(&mut snapshot(&[("anna", &maildir.root)], &archive));
    if child.try_wait().unwrap().is_none() {
        assert!(second.code() == 2 && second.text().contains("another floe"), "{second}");
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    holds_exactly(&archive, &maildir.items);
    assert_eq!(run(floe().arg("--version")).code(), 0);
}
