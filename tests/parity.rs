//! Recovery data: the stock command reads it, and what its bound allows is mended.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::archives::{files, next_second, roots};
use support::mail::{Maildir, Random};
use support::program::{Ran, on, run, snapshot};

/// An archive of two snapshots and two packs, both too large to be protected whole.
struct Sample {
    folder: tempfile::TempDir,
    archive: PathBuf,
    maildir: Maildir,
}

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(47);
        let mut maildir = Maildir::new(&folder.path().join("anna"), "anna");
        let archive = folder.path().join("a.floe");
        for round in 0..2 {
            if round > 0 {
                next_second();
            }
            maildir.fill(&mut random, "", 10, 120_000);
            run(&mut snapshot(&[("anna", &maildir.root)], &archive)).expect(0);
        }
        let sample = Sample { folder, archive, maildir };
        assert_eq!((sample.packs().len(), roots(&sample.archive).len()), (2, 2));
        sample
    }

    fn packs(&self) -> Vec<PathBuf> {
        files(&self.archive.join("data/packs")).into_iter().map(|f| self.archive.join("data/packs").join(f)).collect()
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Runs the stock command on the recovery file of a pack or root, as docs/format.md says.
fn par2(archive: &Path, verb: &str, file: &Path) -> Ran {
    let folder = file.parent().unwrap().strip_prefix(archive).unwrap();
    let mut par2 = Command::new("par2");
    par2.args([verb, "-B"]).arg(folder).arg(format!("parity/{}.par2", name(file)));
    run(par2.current_dir(archive))
}

#[test]
fn the_stock_command_verifies_and_mends_with_floes_recovery_data() {
    let sample = Sample::new();
    run(&mut on(&sample.archive, "protect", &[])).expect(0);
    let mut all = sample.packs();
    all.extend(roots(&sample.archive));
    for file in &all {
        par2(&sample.archive, "verify", file).expect(0);
        let good = fs::read(file).unwrap();
        let mut bad = good.clone();
        let third = bad.len() / 3;
        bad[third..third + 5000.min(third)].fill(7);
        fs::write(file, &bad).unwrap();
        par2(&sample.archive, "verify", file).expect(1);
        par2(&sample.archive, "repair", file).expect(0);
        assert!(fs::read(file).unwrap() == good, "{}", file.display());
    }
    assert_eq!(sample.maildir.items.len(), 20);
    drop(sample.folder);
}
