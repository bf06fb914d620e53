//! `floe sign`.

use std::path::PathBuf;

use ssh_key::HashAlg;

use super::output::{Output, Verdict};
use crate::error::{Error, Result};
use crate::model::Digest;
use crate::net::Secret;
use crate::proof::events::{self, Event, EventType, Outcome};
use crate::proof::signature::{self, Role};
use crate::proof::{RootFile, key};
use crate::store::{LocalStore, Store as _};

/// Sign a snapshot of an archive with an SSH key
///
/// The signature stands for the snapshot's root, and by it for everything captured up to then. It is written into the archive's
/// signatures/ and told of in events.jsonl; nothing else changes. Any number of people may sign one root. The
/// signature says who holds the key and as what, not that the archive is intact: run floe verify first. Anybody can check it with ssh-keygen
/// -Y verify, or with floe verify --signed-by. An encrypted archive is signed without its key.
///
/// Example: floe sign acme.floe --key ~/.ssh/id_ed25519 --role operator
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// The private key, in OpenSSH's format
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What you are in this
    #[arg(long)]
    role: Role,
    /// Any unambiguous part of a snapshot's name; the newest otherwise
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// File whose first line is the key's passphrase; asked for on the terminal without it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let store = LocalStore::new(&args.archive);
    if store.read("bagit.txt", 1 << 10)?.is_none() {
        return Err(Error::usage("there is no archive in this folder").with("folder", args.archive.display()));
    }
    let key = key::read(&args.key, &|| match &args.passphrase_file {
        Some(file) => Secret::from_file(file),
        None => Secret::ask(&format!("Passphrase of {}: ", args.key.display())),
    })?;
    let _lock = store.lock()?;
    let root = RootFile::find(&store, args.snapshot.as_deref())?;
    let file = signature::file_name(&root.id, args.role, key.public_key())?;
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    let is_signed = signature::of_root(&store, &root.id)?.iter().any(|s| s.file == file && s.holds());
    if !is_signed {
        let armored = signature::sign(&key, args.role, &root.bytes)?;
        let event = Event::new(EventType::DigitalSignatureGeneration, Outcome::Success)
            .root(root.digest)
            .detail("file", file.as_str())
            .detail("sha256", Digest::of(armored.as_bytes()).to_string())
            .detail("role", args.role.word())
            .detail("key", fingerprint.as_str());
        events::commit(&store, vec![(file.clone(), armored.into_bytes())], event)?;
    }
    let done = if is_signed { "was signed already" } else { "is signed" };
    let verdict = Verdict::Pass(format!("snapshot {} {done} by the {} with {fingerprint}", root.id, args.role));
    if args.json {
        out.json(&serde_json::json!({
            "snapshot": root.id, "root": root.digest, "role": args.role, "key": fingerprint, "file": file, "new": !is_signed,
            "verdict": verdict.words(),
        }))?;
        return Ok(verdict.code());
    }
    out.line(format_args!("root {}", root.digest))?;
    out.line(format_args!("signature {file}"))?;
    out.verdict(&verdict)
}
