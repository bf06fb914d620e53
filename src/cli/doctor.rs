//! `floe doctor`.

use std::path::PathBuf;

use jiff::Timestamp;

use super::output::{Output, Verdict};
use super::target::{Access, imap_address};
use crate::error::{Error, Kind, Result};
use crate::imap::Connection;
use crate::net::{Address, Scheme};
use crate::replay::doctor::look_at_mail;
use crate::replay::plan::Login;
use crate::replay::sheet::{Fate, MailSheet, Sheet};

/// Look at the server with a disposable account: what it takes, changes and refuses
///
/// Logs in to one account that nobody uses, tries odd messages, dates, keywords and folder names in a folder of its own, removes that
/// folder, and writes what it saw to a capability sheet that floe plan reads.
///
/// Example: floe doctor --to imaps://mail.acme.example --account probe@acme.example --login own --password-file pw --out acme.sheet.json
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server
    #[arg(long, value_name = "URL")]
    to: Address,
    /// Its IMAP address, where that is not the usual port of the same host
    #[arg(long, value_name = "URL")]
    imap: Option<Address>,
    /// The disposable account
    #[arg(long, value_name = "ADDRESS")]
    account: String,
    /// How to log in: on-behalf (administrator for the user), master (Dovecot), own (the account's password)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    login: Login,
    #[command(flatten)]
    access: Access,
    /// Where to write the capability sheet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the sheet as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let settings = args.access.imap(imap_address(&args.to, args.imap.as_ref()))?;
    let password = args.access.password()?;
    let mut connection = Connection::open(&settings, &args.access.login(args.login, &args.account, &password)?)?;
    let mail = look_at_mail(&mut connection, (args.login == Login::OnBehalf).then_some(true))?;
    connection.logout();
    // What DAV does is assumed for IceWarp until it is looked at too; a mail server alone has none.
    let web = matches!(args.to.scheme, Scheme::Http | Scheme::Https);
    let assumed = Sheet::assumed();
    let sheet = Sheet {
        probed: Some(Timestamp::now()),
        mail: Some(mail),
        dav: assumed.dav.filter(|_| web),
        unknown: if web { vec!["calendars, contacts and files: not looked at, assumed".to_owned()] } else { Vec::new() },
        ..assumed
    };
    let mut text =
        serde_json::to_vec_pretty(&sheet).map_err(|e| Error::new(Kind::Internal, "cannot write the sheet").because(e))?;
    text.push(b'\n');
    std::fs::write(&args.out, text).map_err(|e| Error::io(Kind::Storage, "cannot write the capability sheet", &args.out, e))?;
    if args.json {
        out.json(&sheet)?;
        return Ok(0);
    }
    if let Some(mail) = &sheet.mail {
        tell(mail, out)?;
    }
    out.verdict(&Verdict::Pass(format!("sheet {} for floe plan --sheet", args.out.display())))
}

fn tell(mail: &MailSheet, out: &mut Output<'_>) -> Result<()> {
    out.line(format_args!("server    {}", mail.greeting))?;
    out.line(format_args!("announces {}", mail.after_login.join(" ")))?;
    for (special, name) in &mail.special_use {
        out.line(format_args!("{special:<9} {}", crate::model::printable(name)))?;
    }
    out.line(format_args!("keywords  {}", if mail.keywords { "kept" } else { "not kept: tags will be lost" }))?;
    if !mail.not_in_names.is_empty() {
        out.line(format_args!("names     cannot hold {}", mail.not_in_names))?;
    }
    if let Some(largest) = mail.largest_message {
        out.line(format_args!("largest   {largest} bytes: larger messages stay in the archive"))?;
    }
    for (oddity, fate) in &mail.odd {
        let what = match fate {
            Fate::Kept => continue,
            Fate::Changed => "changed",
            Fate::Refused => "refused",
        };
        out.line(format_args!("{what:<9} {oddity}"))?;
    }
    Ok(())
}
