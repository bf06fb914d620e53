//! `floe doctor`.

use std::path::PathBuf;

use jiff::Timestamp;

use super::groupware::{Dav, dav_address};
use super::output::{Output, Verdict};
use super::target::{Access, imap_address};
use crate::error::{Error, Kind, Result};
use crate::imap::Connection;
use crate::model::printable;
use crate::net::{Address, Scheme, Secret};
use crate::replay::doctor::{look_at_dav, look_at_mail};
use crate::replay::plan::Login;
use crate::replay::sheet::{DavSheet, Fate, MailSheet, Sheet};

/// Look at the server with a disposable account: what it takes, changes and refuses
///
/// Logs in to one account that nobody uses, tries odd messages, dates, keywords, folder names, calendar objects, cards and a file in
/// folders of its own, removes these, and writes what it saw to a capability sheet that floe plan reads.
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
    /// Its DAV address, where that is not the address of the server
    #[arg(long, value_name = "URL")]
    dav: Option<Address>,
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
    let password = args.access.password()?;
    let mut unknown = Vec::new();
    let mail = mail(args, &password, &mut unknown)?;
    let dav = dav(args, &password, &mut unknown)?;
    let sheet = Sheet { probed: Some(Timestamp::now()), mail, dav, unknown, ..Sheet::assumed() };
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
    if let Some(dav) = &sheet.dav {
        tell_dav(dav, out)?;
    }
    for unknown in &sheet.unknown {
        out.line(format_args!("unknown   {unknown}"))?;
    }
    out.verdict(&Verdict::Pass(format!("sheet {} for floe plan --sheet", args.out.display())))
}

/// What its IMAP does. A web server alone may have none.
fn mail(args: &Args, password: &Secret, unknown: &mut Vec<String>) -> Result<Option<MailSheet>> {
    let settings = args.access.imap(imap_address(&args.to, args.imap.as_ref()))?;
    let guessed = args.imap.is_none() && is_web(&args.to);
    let mut connection = match Connection::open(&settings, &args.access.login(args.login, &args.account, password)?) {
        Err(e) if guessed && e.kind() == Kind::Unreachable => {
            unknown.push(format!(
                "mail: there is no IMAP where it mostly is, and --imap was not given: {}",
                printable(&e.to_string())
            ));
            return Ok(None);
        }
        connection => connection?,
    };
    let sheet = look_at_mail(&mut connection, (args.login == Login::OnBehalf).then_some(true))?;
    connection.logout();
    Ok(Some(sheet))
}

/// What its DAV does, where it has one and lets the account in.
fn dav(args: &Args, password: &Secret, unknown: &mut Vec<String>) -> Result<Option<DavSheet>> {
    let Some(address) = dav_address(&args.to, args.dav.as_ref()) else { return Ok(None) };
    let looked = Dav::of_account(address, &args.access, args.login, password)
        .enter(&args.account)
        .and_then(|(mut client, _)| look_at_dav(&mut client));
    match looked {
        Err(e) if matches!(e.kind(), Kind::Refused | Kind::Login | Kind::Protocol) => {
            unknown.push(format!("calendars, contacts and files: {}", printable(&e.to_string())));
            Ok(None)
        }
        looked => {
            let (sheet, more) = looked?;
            unknown.extend(more);
            Ok(Some(sheet))
        }
    }
}

fn is_web(to: &Address) -> bool {
    matches!(to.scheme, Scheme::Http | Scheme::Https)
}

fn tell_dav(dav: &DavSheet, out: &mut Output<'_>) -> Result<()> {
    for (part, name) in &dav.defaults {
        out.line(format_args!("{part:<9} {}", printable(name)))?;
    }
    out.line(format_args!(
        "makes     folders for {}",
        if dav.creates.is_empty() { "nothing".to_owned() } else { dav.creates.join(", ") }
    ))?;
    if !dav.lost_properties.is_empty() {
        out.line(format_args!("lost      {}", printable(&dav.lost_properties.join(" "))))?;
    }
    if dav.card_4 == Fate::Refused {
        out.line(format_args!("refused   cards of version 4.0"))?;
    }
    if dav.event_without_end == Fate::Refused {
        out.line(format_args!("refused   events with neither end nor duration"))?;
    }
    if dav.creates.iter().any(|part| part == "files") && !dav.keeps_file_times {
        out.line(format_args!("lost      modification times of files"))?;
    }
    Ok(())
}

fn tell(mail: &MailSheet, out: &mut Output<'_>) -> Result<()> {
    out.line(format_args!("server    {}", mail.greeting))?;
    out.line(format_args!("announces {}", mail.after_login.join(" ")))?;
    for (special, name) in &mail.special_use {
        out.line(format_args!("{special:<9} {}", printable(name)))?;
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
