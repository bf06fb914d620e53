//! The same input gives the same listings and the same `tree`, whatever the number of threads and the order in which the
//! files of the source were made.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use support::archives::{root, roots};
use support::mail::{Random, message};
use support::program::{run, snapshot};

/// The files of a small company: three sorts of stores, large and small items, duplicates.
fn company() -> Vec<(String, Vec<u8>)> {
    let mut random = Random(6);
    let shared = random.bytes(30_000);
    let mut files = Vec::new();
    for n in 0..120u32 {
        let length = random.below(20_000) as usize;
        let attachment = if n % 5 == 0 { shared.clone() } else { random.bytes(length) };
        let folder = ["", ".Sent/", ".Archiv.2023/"][n as usize % 3];
        files.push((format!("anna/Maildir/{folder}cur/170000{n:04}.M{n}P1.host:2,S"), message(&format!("m {n}"), &attachment)));
    }
    // Larger than what is held in memory, so it goes another way.
    files.push(("anna/Maildir/cur/1700009999.M1P1.host:2,".into(), message("large", &random.bytes(26 << 20))));
    for name in ["INBOX.mbox", "Projekte/Übergabe.mbox", "a.mbox", "B.mbox"] {
        let mut mbox = Vec::new();
        for n in 0..40 {
            mbox.extend_from_slice(format!("From a@b Mon Jan  1 00:00:{n:02} 2024\n").as_bytes());
            mbox.extend_from_slice(&message(&format!("{name} {n}"), &random.bytes(3000)));
            mbox.push(b'\n');
        }
        files.push((format!("boris/mail/{name}"), mbox));
    }
    for n in 0..30 {
        files.push((format!("carla/eml/Folder {}/{n}.eml", n % 4), message(&format!("eml {n}"), &shared)));
    }
    files
}

/// Lays the files down in this order, all with the same time.
fn lay(files: &[(String, Vec<u8>)], root: &Path) {
    for sub in ["cur", "new", "tmp"] {
        for folder in ["", ".Sent", ".Archiv.2023"] {
            fs::create_dir_all(root.join("anna/Maildir").join(folder).join(sub)).unwrap();
        }
    }
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let when = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(when).unwrap();
    }
}

#[test]
fn threads_and_the_order_of_creation_change_nothing() {
    let mut random = Random::fresh("determinism");
    let mut files = company();
    let mut first = None;
    for threads in ["1", "2", "5", "2"] {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("users");
        lay(&files, &source);
        let archive = folder.path().join("a.floe");
        let accounts = [("anna", source.join("anna")), ("boris", source.join("boris")), ("carla", source.join("carla"))];
        let named: Vec<(&str, &Path)> = accounts.iter().map(|(name, path)| (*name, path.as_path())).collect();
        run(snapshot(&named, &archive).env("RAYON_NUM_THREADS", threads)).expect(0);
        let root = root(&roots(&archive)[0]);
        assert_eq!(root["ledger"]["captured"], 120 + 1 + 160 + 30);
        let got = (root["tree"].clone(), root["accounts"].clone(), root["ledger"].clone());
        let want = first.get_or_insert_with(|| got.clone());
        assert_eq!(got, *want, "with {threads} threads");
        for i in (1..files.len()).rev() {
            files.swap(i, random.below(i as u64 + 1) as usize);
        }
    }
}
