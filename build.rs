//! Lets a release build know the commit that it was made of, where it is made in a git checkout: reports name it.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=FLOE_COMMIT");
    // What is built for tests is not built anew after every commit.
    if std::env::var("PROFILE").as_deref() != Ok("release") || std::env::var_os("FLOE_COMMIT").is_some() {
        return;
    }
    for changed in ["src", "Cargo.toml", "Cargo.lock", ".git/logs/HEAD"] {
        if Path::new(changed).exists() {
            println!("cargo:rerun-if-changed={changed}");
        }
    }
    let git = |args: &[&str]| {
        let ran = Command::new("git").args(args).output().ok().filter(|ran| ran.status.success())?;
        String::from_utf8(ran.stdout).ok().map(|text| text.trim().to_owned())
    };
    // A package that lies in another project's repository is not of that one's commit.
    if !Path::new(".git").exists() {
        return;
    }
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return };
    let changes = git(&["status", "--porcelain", "--untracked-files=no"]).unwrap_or_default();
    println!("cargo:rustc-env=FLOE_COMMIT={commit}{}", if changes.is_empty() { "" } else { ", with changes" });
}
