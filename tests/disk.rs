//! Disks that let us down: full, failing at any call, or holding what cannot be read or changes while it is read.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use support::archives::{copy, export, holds_exactly, next_second, root, roots, wanted};
use support::mail::{Item, Maildir, Random, message};
use support::program::{Ran, is_root, limited, on, run, snapshot, traces};
use support::skipped;
use support::way::Way;

/// A small disk of its own; gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where mounting is not permitted.
    fn new(kilobytes: u64) -> Option<Self> {
        if !is_root() {
            skipped("full disks: only root may mount one");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let ran =
            run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"]).arg(folder.path()));
        let denied =
            ["permission denied", "not permitted", "must be superuser"].iter().any(|t| ran.text().to_lowercase().contains(t));
        if ran.code() != 0 && denied {
            skipped("full disks: mounting one is not permitted here, not even for root");
            return None;
        }
        ran.expect(0);
        Some(SmallDisk(folder))
    }

    fn resize(&self, kilobytes: u64) {
        run(Command::new("mount").args(["-o", &format!("remount,size={kilobytes}k")]).arg(self.0.path())).expect(0);
    }

    /// Leaves so many bytes free.
    fn fill_but(&self, free: usize) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        let block = vec![0u8; 4096];
        let mut written = 0u64;
        while file.write_all(&block).is_ok() {
            written += 4096;
        }
        file.set_len(written.saturating_sub(free as u64)).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn maildir(folder: &Path, random: &mut Random, count: u64, max_bytes: u64) -> Maildir {
    let mut maildir = Maildir::new(&folder.join("anna"), "anna");
    maildir.fill(random, "", count, max_bytes);
    maildir
}

fn taken(maildir: &Maildir, archive: &Path) -> Ran {
    run(&mut snapshot(&[("anna", &maildir.root)], archive))
}

/// It failed as a whole, and says why and what to do.
#[track_caller]
fn says_what_to_do(ran: &Ran, why: &str) {
    let text = ran.text();
    assert!(ran.code() == 2 && text.contains(why), "{ran}");
    assert!(text.contains("hint: ") && text.ends_with("FAIL\n"), "{ran}");
}

#[track_caller]
fn still_holds(archive: &Path, items: &[Item], what: &str) {
    let ran = run(&mut on(archive, "verify", &["--full"]));
    assert_eq!(ran.code(), 0, "{what}: {ran}");
    let oldest = roots(archive)[0].file_stem().unwrap().to_str().unwrap().to_owned();
    let (out, ran) = export(archive, &["--snapshot", &oldest]);
    assert!(ran.code() == 0 && out == wanted(items), "{what}: {ran}");
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_a_run_loses_nothing_and_the_next_run_completes() {
    let Some(disk) = SmallDisk::new(8 << 10) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(21);
    let mut maildir = maildir(folder.path(), &mut random, 10, 200 << 10);
    let archive = disk.0.path().join("a.floe");
    taken(&maildir, &archive).expect(0);
    let first = maildir.items.clone();
    next_second();
    maildir.fill(&mut random, ".New", 60, 500 << 10);
    for _ in 0..2 {
        says_what_to_do(&taken(&maildir, &archive), "No space left on device");
        still_holds(&archive, &first, "after a full disk");
    }
    disk.resize(100 << 10);
    taken(&maildir, &archive).expect(0);
    holds_exactly(&archive, &maildir.items);
}

/// The plan, and with it the journal, lies on a small disk; the server has room.
#[test]
fn a_disk_that_is_full_under_the_journal_is_named_and_the_next_run_sends_the_rest_once() {
    let (mut full, mut done) = (0, 0);
    for free in [0, 4, 12, 24, 36, 48, 64, 96, 128, 192, 256, 1024] {
        let Some(disk) = SmallDisk::new(4 << 10) else { return };
        let way = Way::new("");
        let mut mail = Maildir::new(&way.path("mail"), "anna@acme.example");
        let mut random = Random(free);
        mail.fill(&mut random, "", 250, 600);
        mail.fill(&mut random, ".Work", 20, 600);
        way.snapshot(&[("anna@acme.example", &mail.root)]);
        way.prepare();
        let plan = disk.0.path().join("plan.toml");
        fs::copy(way.path("plan.toml"), &plan).unwrap();
        let ballast = disk.fill_but(free as usize * 1024);
        let ran = way.replay_of(&plan);
        if ran.code() == 0 {
            done += 1;
        } else {
            full += 1;
            let text = ran.text();
            assert!(ran.code() == 2 && text.contains("the disk is full under the journal"), "{free} KiB: {ran}");
            assert!(text.contains("plan.journal") && text.contains("free some space on that disk"), "{free} KiB: {ran}");
            // Once more, with the disk still full: nothing gets worse.
            assert_eq!(way.replay_of(&plan).code(), 2, "{free} KiB");
        }
        fs::remove_file(ballast).unwrap();
        way.replay_of(&plan).expect(0);
        let again = way.replay_of(&plan).expect(0);
        assert!(again.text().contains(" 0 sent now"), "{again}");
        way.validate(&[]).expect(0);
        let states = way.states();
        assert_eq!(states.iter().map(|(state, n)| (state.as_str(), *n)).collect::<Vec<_>>(), [("equivalent", 270)], "{free} KiB");
    }
    assert!(full > 2 && done > 0, "{full} {done}");
}

#[test]
fn a_disk_that_is_full_at_any_point_of_the_commit_loses_nothing_and_the_next_run_completes() {
    let Some(disk) = SmallDisk::new(4 << 10) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(22);
    let mut maildir = maildir(folder.path(), &mut random, 6, 20_000);
    let base = folder.path().join("base.floe");
    taken(&maildir, &base).expect(0);
    let first = maildir.items.clone();
    next_second();
    maildir.fill(&mut random, ".New", 6, 20_000);
    let (mut full, mut done) = (0, 0);
    for free in (0..400_000).step_by(8192) {
        let archive = disk.0.path().join("a.floe");
        copy(&base, &archive);
        let ballast = disk.fill_but(free);
        let ran = taken(&maildir, &archive);
        if ran.code() == 0 {
            done += 1;
        } else {
            says_what_to_do(&ran, "No space left on device");
            full += 1;
        }
        still_holds(&archive, &first, &format!("with {free} bytes free"));
        fs::remove_file(ballast).unwrap();
        taken(&maildir, &archive).expect(0);
        holds_exactly(&archive, &maildir.items);
        fs::remove_dir_all(&archive).unwrap();
        if done > 2 {
            break;
        }
    }
    assert!(full > 10 && done > 2, "full {full} times, done {done} times");
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(23);
    let mut maildir = maildir(folder.path(), &mut random, 5, 20_000);
    let archive = folder.path().join("a.floe");
    taken(&maildir, &archive).expect(0);
    let first = maildir.items.clone();
    next_second();
    maildir.fill(&mut random, ".New", 8, 500_000);
    let command = snapshot(&[("anna", &maildir.root)], &archive);
    // Blocks of 512 bytes: nothing fits, part of a pack, a pack nearly.
    for blocks in [0, 1, 200, 4000] {
        let ran = run(Command::new("sh")
            .arg("-c")
            .arg("trap '' XFSZ; exec \"$@\"")
            .arg("sh")
            .arg("sh")
            .args(limited(&format!("-f {blocks}"), &command).get_args()));
        // With a limit of nothing at all even its words cannot be written, for they go to a file in this test.
        assert_eq!(ran.code(), 2, "{blocks}: {ran}");
        if blocks > 1 {
            says_what_to_do(&ran, "File too large");
        }
        still_holds(&archive, &first, &format!("after a limit of {blocks} blocks"));
        // Without the shell's word for it, the system kills the process; that must do no harm either.
        let ran = run(&mut limited(&format!("-f {blocks}"), &command));
        assert!(ran.status.signal().is_some() || ran.code() == 2, "{ran}");
        still_holds(&archive, &first, &format!("after a signal at {blocks} blocks"));
    }
    taken(&maildir, &archive).expect(0);
    holds_exactly(&archive, &maildir.items);
}

/// The command with this error at its n-th call of these.
fn failing(n: u32, calls: &str, error: &str, command: &Command) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:error={error}:when={n}")]);
    strace.arg(command.get_program()).args(command.get_args());
    strace
}

#[test]
fn an_error_at_any_call_that_writes_is_reported_and_loses_nothing() {
    if !traces("errors at every call that writes") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(24);
    let mut maildir = maildir(folder.path(), &mut random, 6, 20_000);
    let base = folder.path().join("base.floe");
    taken(&maildir, &base).expect(0);
    let first = maildir.items.clone();
    next_second();
    maildir.fill(&mut random, ".New", 6, 20_000);
    let calls = "write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,rmdir,unlink,unlinkat,linkat";
    let mut failed = 0;
    for n in 1.. {
        let archive = folder.path().join(format!("{n}.floe"));
        copy(&base, &archive);
        let command = snapshot(&[("anna", &maildir.root)], &archive);
        let ran = run(&mut failing(n, calls, if n % 2 == 0 { "EIO" } else { "ENOSPC" }, &command));
        still_holds(&archive, &first, &format!("call {n}"));
        let committed = roots(&archive).len() > 1;
        let whole = ran.code() == 0 && ran.text().contains("PASS");
        assert!(whole || ran.code() == 2, "call {n}: {ran}");
        assert!(!whole || committed, "call {n}: {ran}");
        failed += u32::from(!whole);
        taken(&maildir, &archive).expect(0);
        holds_exactly(&archive, &maildir.items);
        fs::remove_dir_all(&archive).unwrap();
        // Calls may be fewer than n by now: then nothing failed, several times in a row.
        if whole && n > failed + 12 {
            break;
        }
    }
    assert!(failed > 10, "only {failed} calls failed");
}

#[test]
fn nobody_listening_is_no_reason_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut maildir = maildir(folder.path(), &mut Random(25), 3, 2000);
    // Something to report on standard error.
    fs::create_dir(maildir.path("", "a-folder")).unwrap();
    maildir.put("", "1700.ok", b"Subject: a\n\nb\n");
    for (n, to) in ["2>/dev/full", "2>&-", ">/dev/full 2>&1", ">&- 2>&-", "2>&1 | true"].iter().enumerate() {
        let archive = folder.path().join(format!("{n}.floe"));
        let command = snapshot(&[("anna", &maildir.root)], &archive);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("\"$@\" {to}")).arg("sh").arg(command.get_program()).args(command.get_args());
        let ran = run(&mut shell);
        assert!(matches!(ran.code(), 0 | 2), "{to}: {ran}");
        holds_exactly(&archive, &maildir.items);
    }
}

/// The reasons for which items were skipped or failed, in the newest root.
fn reasons(archive: &Path) -> String {
    let root = root(roots(archive).last().unwrap());
    format!("{} {}", root["ledger"]["skipped"], root["ledger"]["failed"])
}

#[test]
fn what_is_no_file_is_named_and_counted_and_the_rest_is_captured() {
    let folder = tempfile::tempdir().unwrap();
    let maildir = maildir(folder.path(), &mut Random(26), 4, 2000);
    let odd = |name: &str| maildir.path("", name);
    run(Command::new("mkfifo").arg(odd("1.fifo"))).expect(0);
    fs::create_dir(odd("2.folder")).unwrap();
    fs::write(odd("2.folder").join("inside"), "x").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(odd("3.socket")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", odd("4.device")).unwrap();
    std::os::unix::fs::symlink("5.loop", odd("5.loop")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", odd("6.out")).unwrap();
    let mut count = 6;
    if is_root() && run(Command::new("mknod").arg(odd("7.zero")).args(["c", "1", "5"])).code() == 0 {
        count += 1;
    }
    // The same in a tree of .eml files and in a folder of mboxes.
    let eml = folder.path().join("eml");
    fs::create_dir_all(&eml).unwrap();
    fs::write(eml.join("good.eml"), "Subject: good\n\nx\n").unwrap();
    run(Command::new("mkfifo").arg(eml.join("fifo.eml"))).expect(0);
    std::os::unix::fs::symlink("/etc/passwd", eml.join("link.eml")).unwrap();
    std::os::unix::fs::symlink("..", eml.join("up")).unwrap();
    let mboxes = folder.path().join("mboxes");
    fs::create_dir_all(&mboxes).unwrap();
    fs::write(mboxes.join("good.mbox"), "From a@b Mon Jan  1 00:00:00 2024\nSubject: mbox\n\nx\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", mboxes.join("link.mbox")).unwrap();

    let archive = folder.path().join("a.floe");
    let accounts = [("anna", maildir.root.as_path()), ("boris", eml.as_path()), ("carla", mboxes.as_path())];
    let ran = run(&mut snapshot(&accounts, &archive));
    assert!(matches!(ran.code(), 0 | 1), "{ran}");
    let root = root(&roots(&archive)[0]);
    let anna = &root["accounts"][0]["ledger"];
    assert_eq!((anna["captured"].as_u64(), anna["found"].as_u64()), (Some(4), Some(4 + count)), "{ran}");
    assert_eq!(root["ledger"]["captured"], 6, "{ran}");
    for name in ["1.fifo", "2.folder", "3.socket", "4.device", "5.loop", "6.out", "fifo.eml", "link.eml", "link.mbox"] {
        assert!(ran.text().contains(name), "{name} is not named: {ran}");
    }
    let (out, ran) = export(&archive, &[]);
    ran.expect(0);
    assert_eq!(out.values().sum::<usize>(), 6);
    assert!(!out.contains_key(&floe::model::Digest::of(&fs::read("/etc/passwd").unwrap()).to_string()));
}

#[test]
fn a_fifo_in_a_folder_of_mboxes_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mboxes = folder.path().join("mboxes");
    fs::create_dir_all(&mboxes).unwrap();
    fs::write(mboxes.join("good.mbox"), "From a@b Mon Jan  1 00:00:00 2024\nSubject: mbox\n\nx\n").unwrap();
    run(Command::new("mkfifo").arg(mboxes.join("fifo.mbox"))).expect(0);
    let ran = run(&mut snapshot(&[("carla", &mboxes)], &folder.path().join("a.floe")));
    assert!(ran.text().contains("fifo.mbox"), "{ran}");
}

#[test]
fn a_link_in_a_tree_of_eml_files_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let eml = folder.path().join("eml");
    fs::create_dir_all(&eml).unwrap();
    fs::write(eml.join("good.eml"), "Subject: good\n\nx\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", eml.join("link.eml")).unwrap();
    let archive = folder.path().join("a.floe");
    run(&mut snapshot(&[("boris", &eml)], &archive)).expect(0);
    assert_eq!(root(&roots(&archive)[0])["ledger"]["found"], 2);
}

#[test]
fn what_may_not_be_read_is_named_and_counted_and_the_rest_is_captured() {
    let folder = tempfile::tempdir().unwrap();
    let mut maildir = maildir(folder.path(), &mut Random(27), 4, 2000);
    let good = maildir.items.clone();
    maildir.put("", "1.secret", b"Subject: secret\n\n");
    maildir.put(".Closed", "2.closed", b"Subject: closed\n\n");
    let mbox = folder.path().join("boris.mbox");
    fs::write(&mbox, "From a@b Mon Jan  1 00:00:00 2024\nSubject: mbox\n\nx\n").unwrap();
    let none = fs::Permissions::from_mode(0o000);
    fs::set_permissions(maildir.path("", "1.secret"), none.clone()).unwrap();
    fs::set_permissions(maildir.root.join(".Closed/cur"), none).unwrap();
    // Root may read everything, so somebody else runs it.
    let program = folder.path().join("floe");
    fs::copy(env!("CARGO_BIN_EXE_floe"), &program).unwrap();
    let writable = folder.path().join("writable");
    fs::create_dir(&writable).unwrap();
    for (path, mode) in [(folder.path(), 0o755), (&program, 0o755), (&writable, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let archive = writable.join("a.floe");
    let command = snapshot(&[("anna", &maildir.root), ("boris", &mbox)], &archive);
    let mut other = Command::new(&program);
    if is_root() {
        other = Command::new("setpriv");
        other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        if run(Command::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups", "true"])).code() != 0 {
            return skipped("unreadable files: root may not become somebody else here");
        }
    }
    let ran = run(other.args(command.get_args())).expect(1);
    let text = ran.text();
    assert!(text.contains("1.secret") && text.contains(".Closed"), "{ran}");
    let root = root(&roots(&archive)[0]);
    assert_eq!((root["ledger"]["captured"].as_u64(), root["ledger"]["found"].as_u64()), (Some(5), Some(7)), "{ran}");
    let (out, ran) = export(&archive, &[]);
    ran.expect(0);
    assert!(good.iter().all(|item| out.contains_key(&item.sha256)) && out.len() == 5);
    // Once it may be read, the next run has it.
    fs::set_permissions(maildir.path("", "1.secret"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(maildir.root.join(".Closed/cur"), fs::Permissions::from_mode(0o755)).unwrap();
    next_second();
    taken(&maildir, &archive).expect(0);
    holds_exactly(&archive, &maildir.items);
}

#[test]
fn a_file_that_fails_to_read_is_named_and_the_rest_is_captured() {
    if !traces("read errors") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let maildir = maildir(folder.path(), &mut Random(28), 6, 20_000);
    let bad = &maildir.items[3];
    let path = maildir.path("", &bad.file);
    let archive = folder.path().join("a.floe");
    let command = snapshot(&[("anna", &maildir.root)], &archive);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=read,pread64", "-e", "inject=read,pread64:error=EIO"]);
    let ran = run(strace.arg("-P").arg(&path).arg(command.get_program()).args(command.get_args())).expect(1);
    assert!(ran.text().contains(&bad.file) && ran.text().contains("Input/output error"), "{ran}");
    assert!(reasons(&archive).contains(":1"), "{}", reasons(&archive));
    let (out, ran) = export(&archive, &[]);
    ran.expect(0);
    assert!(out == wanted(maildir.items.iter().filter(|item| *item != bad)));
}

/// Calls `change` again and again while `command` runs.
fn while_changing(command: &mut Command, mut change: impl FnMut(u64) + Send) -> Ran {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                change(n);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let ran = run(command);
        over.store(true, Ordering::Relaxed);
        ran
    })
}

#[test]
fn an_mbox_that_shrinks_and_grows_while_it_is_read_is_no_crash_and_gives_no_bytes_that_never_were() {
    let mut random = Random::fresh("changing mbox");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("INBOX.mbox");
    let mut mbox = Vec::new();
    let mut items = Vec::new();
    for n in 0..300 {
        mbox.extend_from_slice(b"From a@b Mon Jan  1 00:00:00 2024\n");
        let message = message(&format!("m {n}"), &random.bytes(if n % 100 == 7 { 3 << 20 } else { 50_000 }));
        items.push(floe::model::Digest::of(&message).to_string());
        mbox.extend_from_slice(&message);
        mbox.push(b'\n');
    }
    let whole = mbox.len() as u64;
    for round in 0..6 {
        fs::write(&path, &mbox).unwrap();
        let archive = folder.path().join(format!("{round}.floe"));
        let file = File::options().append(true).open(&path).unwrap();
        let new = b"From a@b Mon Jan  1 00:00:00 2024\nSubject: new\n\nnew\n\n";
        let ran = while_changing(&mut snapshot(&[("anna", &path)], &archive), |n| match round % 3 {
            0 => drop((&file).write_all(new)),
            1 => file.set_len(whole.saturating_sub(n * 100_000)).unwrap(),
            _ if n % 2 == 0 => file.set_len(random.below(whole)).unwrap(),
            _ => file.set_len(whole).unwrap(),
        });
        assert!(matches!(ran.code(), 0..=2), "{ran}");
        if roots(&archive).is_empty() {
            continue;
        }
        run(&mut on(&archive, "verify", &["--full"])).expect(0);
        let (out, _) = export(&archive, &[]);
        if round % 3 == 0 {
            assert!(items.iter().all(|item| out.contains_key(item)), "only grown, and something is lost: {ran}");
        }
        let changed = !reasons(&archive).ends_with("{}");
        if round % 3 == 1 {
            assert!(changed || items.iter().all(|item| out.contains_key(item)), "cut, and not a word of it: {ran}");
        }
    }
}

#[test]
fn an_mbox_that_only_grows_while_it_is_read_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("INBOX.mbox");
    let letter = [b"From a@b Mon Jan  1 00:00:00 2024\n".as_slice(), &message("m", &[7; 50_000]), b"\n"].concat();
    fs::write(&path, letter.repeat(300)).unwrap();
    let file = File::options().append(true).open(&path).unwrap();
    let archive = folder.path().join("a.floe");
    let mut command = snapshot(&[("anna", &path)], &archive);
    let ran = while_changing(&mut command, |_| (&file).write_all(&letter).unwrap());
    assert_eq!(ran.code(), 0, "{ran}");
}

#[test]
fn messages_that_change_while_they_are_read_are_whole_or_named() {
    let mut random = Random::fresh("changing Maildir");
    let folder = tempfile::tempdir().unwrap();
    let maildir = maildir(folder.path(), &mut random, 60, 400 << 10);
    let good: Vec<(PathBuf, Vec<u8>)> = maildir
        .items
        .iter()
        .map(|item| maildir.path("", &item.file))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    for round in 0..3 {
        let archive = folder.path().join(format!("{round}.floe"));
        let ran = while_changing(&mut snapshot(&[("anna", &maildir.root)], &archive), |_| {
            let (path, bytes) = &good[random.below(good.len() as u64) as usize];
            match round {
                0 => File::options().append(true).open(path).unwrap().write_all(b"more\n").unwrap(),
                1 => File::options().write(true).open(path).unwrap().set_len(bytes.len() as u64 / 2).unwrap(),
                _ => {
                    fs::remove_file(path).unwrap();
                    fs::create_dir(path).unwrap();
                    fs::remove_dir(path).unwrap();
                    fs::write(path, bytes).unwrap();
                }
            }
        });
        assert!(matches!(ran.code(), 0..=2), "{ran}");
        run(&mut on(&archive, "verify", &["--full"])).expect(0);
        let root = root(&roots(&archive)[0]);
        let ledger = &root["ledger"];
        let sum = |name: &str| ledger[name].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>();
        if ran.code() != 2 {
            let found = ledger["found"].as_u64().unwrap();
            assert_eq!(ledger["captured"].as_u64().unwrap() + sum("skipped") + sum("failed"), found, "{ran}");
            // One may not have been there when the folder was listed.
            assert!((59..=60).contains(&found), "{ran}");
        } else {
            assert!(ran.text().contains("does not balance"), "{ran}");
        }
        for (path, bytes) in &good {
            fs::write(path, bytes).unwrap();
        }
    }
}
