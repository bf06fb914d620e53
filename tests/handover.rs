//! The sheet that goes with an archive: it says what the archive says, escapes what mail says, and is one page of paper.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use floe::model::Digest;
use serde_json::Value;
use support::mail::{Maildir, message};
use support::program::{on, run, snapshot};
use support::skipped;

/// An archive of accounts of these names, with one message each.
fn archive(folder: &Path, names: &[String]) -> PathBuf {
    let archive = folder.join("a.floe");
    let roots: Vec<PathBuf> = (0..names.len()).map(|n| folder.join(format!("mail{n}"))).collect();
    for (n, root) in roots.iter().enumerate() {
        Maildir::new(root, "x").put("", &format!("17000000{n:02}.M{n}P1.host:2,S"), &message(&format!("m {n}"), b"x"));
    }
    let named: Vec<(&str, &Path)> = names.iter().map(String::as_str).zip(roots.iter().map(PathBuf::as_path)).collect();
    run(&mut snapshot(&named, &archive)).expect(0);
    archive
}

/// Writes the sheet; what it says, as JSON and as HTML.
fn sheet(archive: &Path, out: &Path, code: i32) -> (Value, String) {
    let ran = run(&mut on(archive, "handover", &["--json", "--out", out.to_str().unwrap()])).expect(code);
    (serde_json::from_slice(&ran.stdout).unwrap(), fs::read_to_string(out).unwrap())
}

fn key(path: &Path) {
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path)).expect(0);
}

#[test]
fn the_sheet_says_what_sha256sum_and_the_root_say() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), &["anna@acme.example".to_owned(), "boris@acme.example".to_owned()]);
    let out = folder.path().join("sheet.html");
    let (said, html) = sheet(&archive, &out, 0);
    let root = format!("data/snapshots/{}.json", said["snapshot"].as_str().unwrap());
    let sums = run(Command::new("sha256sum").args([root.as_str(), "manifest-sha256.txt"]).current_dir(&archive)).expect(0);
    let sums: Vec<String> = sums.text().lines().map(|line| line[..64].to_owned()).collect();
    for (member, sum) in ["root", "manifest"].iter().zip(&sums) {
        let grouped = said[member]["grouped"].as_str().unwrap();
        assert_eq!(grouped.replace(' ', ""), *sum);
        let words = said[member]["words"].as_str().unwrap();
        assert_eq!(words.split(' ').count(), 24);
        assert!(html.contains(grouped) && html.contains(words), "{member}");
    }
    assert_eq!((&said["accounts"], &said["items"], &said["failed"]), (&2.into(), &2.into(), &0.into()));
    assert!(html.contains("anna@acme.example") && html.contains("boris@acme.example"));
    for word in ["<script", "http://", "https://", "<img", "<link", "url("] {
        assert!(!html.contains(word), "{word}");
    }
    // Nothing is replaced.
    run(&mut on(&archive, "handover", &["--out", out.to_str().unwrap()])).expect(64);
    let second = folder.path().join("second.html");
    run(&mut on(&archive, "handover", &["--out", second.to_str().unwrap()])).expect(0).expect_harmless();
    run(&mut on(&archive, "handover", &["--out", archive.join("x.html").to_str().unwrap()])).expect(64);
}

#[test]
fn signatures_are_on_the_sheet_with_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), &["anna@acme.example".to_owned()]);
    let own = folder.path().join("key");
    key(&own);
    run(&mut on(&archive, "sign", &["--role", "operator", "--key", own.to_str().unwrap()])).expect(0);
    let print = run(Command::new("ssh-keygen").arg("-lf").arg(&own)).expect(0).text();
    let print = print.split(' ').nth(1).unwrap().to_owned();
    let (said, html) = sheet(&archive, &folder.path().join("good.html"), 0);
    assert!(html.contains(&format!("operator: {print}")), "{print}");
    assert!(said["events"].as_u64().unwrap() >= 2 && html.contains("digital signature generation"), "{said}");
    let file = archive.join(said["signatures"][0]["file"].as_str().unwrap());
    fs::rename(&file, file.to_str().unwrap().replace(".operator.", ".auditor.")).unwrap();
    let (_, html) = sheet(&archive, &folder.path().join("bad.html"), 1);
    assert!(html.contains("auditor: DOES NOT HOLD"));
}

#[test]
fn hostile_names_stay_text() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["<script>alert(1)</script>", "\"' onload '", "a\u{202e}gpj", "&amp;"].map(str::to_owned);
    let archive = archive(folder.path(), &names);
    let (_, html) = sheet(&archive, &folder.path().join("sheet.html"), 0);
    for bad in ["<script", "' onload", "\u{202e}"] {
        assert!(!html.contains(bad), "{bad:?}");
    }
    for good in ["&lt;script&gt;", "&amp;amp;", "a\\u{202e}gpj"] {
        assert!(html.contains(good), "{good}");
    }
}

#[test]
fn the_sheet_is_one_page_of_paper_with_twenty_accounts_and_with_more() {
    let programs = ["chromium", "chromium-browser", "google-chrome"];
    let Some(program) = programs.iter().find(|p| Command::new(p).arg("--version").output().is_ok()) else {
        return skipped("the handover sheet on paper: there is no Chromium");
    };
    for accounts in [20, 21] {
        let folder = tempfile::tempdir().unwrap();
        let name = |n: u32| format!("a-rather-long-name-of-a-person-in-sales.{n:02}@subsidiary.acme.example");
        let archive = archive(folder.path(), &(0..accounts).map(name).collect::<Vec<_>>());
        for n in 0..5 {
            let own = folder.path().join(format!("key{n}"));
            key(&own);
            run(&mut on(&archive, "sign", &["--role", "auditor", "--key", own.to_str().unwrap()])).expect(0);
        }
        let out = folder.path().join("sheet.html");
        let (said, html) = sheet(&archive, &out, 0);
        assert_eq!(said["accounts"], accounts);
        assert_eq!(html.contains(&name(7)), accounts <= 20);
        let pdf = folder.path().join("sheet.pdf");
        let print = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-pdf-header-footer"];
        let to = format!("--print-to-pdf={}", pdf.display());
        run(Command::new(program).args(print).arg(to).arg(format!("file://{}", out.display()))).expect(0);
        if let Some(keep) = std::env::var_os("FLOE_KEEP_SHEET") {
            fs::copy(&pdf, Path::new(&keep).join(format!("sheet-{accounts}.pdf"))).unwrap();
            fs::copy(&out, Path::new(&keep).join(format!("sheet-{accounts}.html"))).unwrap();
        }
        let bytes = fs::read(&pdf).unwrap();
        let pages = memchr::memmem::find_iter(&bytes, "/Type /Page\n").count();
        assert_eq!(pages, 1, "{accounts} accounts, {}", Digest::of(&bytes));
    }
}
