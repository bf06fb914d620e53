//! `floe key`.

use std::path::PathBuf;

use clap::Subcommand;
use ssh_key::HashAlg;

use super::output::{Output, Verdict};
use crate::error::Result;
use crate::model::printable;
use crate::net::Secret;
use crate::proof::key;

/// Make a key to sign archives with
///
/// An existing SSH key (Ed25519, ECDSA or RSA) serves as well, so this is for those who have none or want one for this alone. The
/// private key goes into FILE, for its owner only, the public one into FILE.pub, both as OpenSSH writes them. Hand FILE.pub to whoever
/// is to check your signatures; who has FILE can sign in your name.
///
/// Example: floe key new --out operator.key --passphrase-file secret.txt
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new Ed25519 key; nothing is overwritten
    New {
        /// File for the private key; the public one gets the same name with .pub
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// File whose first line is the passphrase that locks the private key; not locked without it
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// A word on whose key it is, for the public key's line
        #[arg(long, default_value = "floe")]
        comment: String,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: Args, out: &mut Output<'_>) -> Result<u8> {
    let Command::New { out: path, passphrase_file, comment, json } = args.command;
    let passphrase = passphrase_file.as_deref().map(Secret::from_file).transpose()?;
    let made = key::make(&path, &printable(&comment), passphrase.as_ref())?;
    let fingerprint = made.fingerprint(HashAlg::Sha256).to_string();
    let public = key::public_path(&path);
    let verdict = Verdict::Pass(format!("{} holds the private key: keep it to yourself", path.display()));
    if json {
        let words = verdict.words();
        out.json(&serde_json::json!({ "private": path, "public": public, "fingerprint": fingerprint, "verdict": words }))?;
        return Ok(verdict.code());
    }
    out.line(format_args!("public key {} {fingerprint}", public.display()))?;
    out.verdict(&verdict)
}
