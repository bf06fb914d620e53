//! `floe doctor`.

use std::path::PathBuf;

use jiff::Timestamp;

use super::groupware::{Dav, dav_address};
use super::output::{Output, Verdict};
use super::target::{Access, imap_address};
use crate::error::{Error, Kind, Result};
use crate::icewarp::api::Api;
use crate::imap::{Connection, Settings};
use crate::model::printable;
use crate::net::{Address, Scheme, Secret};
use crate::replay::doctor::{invitations_leave, look_at_admin, look_at_dav, look_at_mail};
use crate::replay::plan::Login;
use crate::replay::sheet::{AdminSheet, DavSheet, Fate, MailSheet, Sheet};

/// Look at the server with a disposable account: what it takes, changes and refuses
///
/// Logs in to one account that nobody uses, tries odd messages, dates, keywords, folder names, calendar objects, cards and files, and how
/// large these may be, in folders of its own, removes these, and writes what it saw to a capability sheet that floe plan reads. With an
/// administrator's password it also asks the server's administration for version, licence, password policy and limits. With a second
/// disposable account it finds out whether mail leaves when an event with an attendee is stored.
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
    /// With --login own: file whose first line is the password of --admin, to ask the administration as well
    #[arg(long, value_name = "FILE", requires = "admin")]
    admin_password_file: Option<PathBuf>,
    /// A second disposable account, entered in the same way: try whether an invitation to it leaves (takes up to 15 seconds)
    #[arg(long, value_name = "ADDRESS")]
    attendee: Option<String>,
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
    // Of the administrator's password the API says most clearly whether it is wrong; then it is sent nowhere else.
    let admin = admin(args, &password, &mut unknown)?;
    let mail = mail(args, &password, admin.as_ref(), &mut unknown)?;
    let mut dav = dav(args, &password, &mut unknown)?;
    if let (Some(dav), Some(_)) = (&mut dav, &mail) {
        dav.invitations_leave = invitations(args, &password, &mut unknown)?;
    }
    let sheet = Sheet { version: 1, probed: Some(Timestamp::now()), mail, dav, admin, unknown };
    let mut text =
        serde_json::to_vec_pretty(&sheet).map_err(|e| Error::new(Kind::Internal, "cannot write the sheet").because(e))?;
    text.push(b'\n');
    std::fs::write(&args.out, text).map_err(|e| Error::io(Kind::Storage, "cannot write the capability sheet", &args.out, e))?;
    if args.json {
        out.json(&sheet)?;
        return Ok(0);
    }
    if let Some(admin) = &sheet.admin {
        tell_admin(admin, out)?;
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

/// The administrator's password, where it is known.
fn admin_password(args: &Args, password: &Secret) -> Result<Option<Secret>> {
    match (args.login, &args.admin_password_file) {
        (Login::Own, None) => Ok(None),
        (_, Some(file)) => Secret::from_file(file).map(Some),
        (Login::OnBehalf | Login::Master, None) => Ok(Some(password.clone())),
    }
}

/// What its administration says, where it has an API and an administrator's password is known.
fn admin(args: &Args, password: &Secret, unknown: &mut Vec<String>) -> Result<Option<AdminSheet>> {
    if !is_web(&args.to) || args.login == Login::Master {
        return Ok(None);
    }
    let Some(password) = admin_password(args, password)? else {
        unknown.push("administration: not asked; give --admin and --admin-password-file".to_owned());
        return Ok(None);
    };
    let looked = Api::open(&args.to, &args.access.trust()?, args.access.admin()?, &password).and_then(|mut api| {
        let looked = look_at_admin(&mut api);
        api.log_out();
        looked
    });
    match looked {
        // Not every target is an IceWarp server.
        Err(e) if matches!(e.kind(), Kind::Protocol | Kind::Unreachable | Kind::Refused) => {
            unknown.push(format!("administration: {}", printable(&e.to_string())));
            Ok(None)
        }
        looked => {
            let (sheet, more) = looked?;
            unknown.extend(more);
            Ok(Some(sheet))
        }
    }
}

/// Does mail leave when an event with an attendee is stored? Unknown where there is nobody to invite.
fn invitations(args: &Args, password: &Secret, unknown: &mut Vec<String>) -> Result<Option<bool>> {
    let Some(attendee) = &args.attendee else {
        unknown.push("invitations: not tried; give a second disposable account with --attendee".to_owned());
        return Ok(None);
    };
    let Some(address) = dav_address(&args.to, args.dav.as_ref()) else { return Ok(None) };
    let settings = args.access.imap(imap_address(&args.to, args.imap.as_ref()))?;
    let mut inboxes = Vec::new();
    for account in [&args.account, attendee] {
        inboxes.push(Connection::open(&settings, &args.access.login(args.login, account, password)?)?);
    }
    let tried = Dav::of_account(address, &args.access, args.login, password)
        .enter(&args.account)
        .and_then(|(mut client, _)| invitations_leave(&mut client, &mut inboxes, &args.account, attendee));
    inboxes.into_iter().for_each(Connection::logout);
    match tried {
        Err(e) if matches!(e.kind(), Kind::Refused | Kind::Protocol) => {
            unknown.push(format!("invitations: {}", printable(&e.to_string())));
            Ok(None)
        }
        tried => tried.map(Some),
    }
}

/// What its IMAP does. A web server alone may have none.
fn mail(args: &Args, password: &Secret, admin: Option<&AdminSheet>, unknown: &mut Vec<String>) -> Result<Option<MailSheet>> {
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
    let mut sheet = look_at_mail(&mut connection, (args.login == Login::OnBehalf).then_some(true), admin)?;
    connection.logout();
    if args.login == Login::Own
        && let Some(password) = admin_password(args, password)?
    {
        sheet.on_behalf = on_behalf(args, &settings, &password)?;
    }
    Ok(Some(sheet))
}

/// May the administrator enter the account on its user's behalf? Tried once: servers punish who guesses.
fn on_behalf(args: &Args, settings: &Settings, password: &Secret) -> Result<Option<bool>> {
    match Connection::open(settings, &args.access.login(Login::OnBehalf, &args.account, password)?) {
        Ok(connection) => {
            connection.logout();
            Ok(Some(true))
        }
        Err(e) if matches!(e.kind(), Kind::Login | Kind::Refused) => Ok(Some(false)),
        Err(e) => Err(e),
    }
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

fn tell_admin(admin: &AdminSheet, out: &mut Output<'_>) -> Result<()> {
    out.line(format_args!("version   {}", admin.version.as_deref().unwrap_or("not told")))?;
    if let Some(licence) = &admin.licence {
        out.line(format_args!("licence   {licence}"))?;
    }
    if admin.number("C_Accounts_Policies_Pass_Enable").is_some_and(|on| on != 0) {
        let least = admin.number("C_Accounts_Policies_Pass_MinLength").unwrap_or(0);
        out.line(format_args!("passwords of at least {least} characters, by the server's policy: floe provision makes them so"))?;
    }
    if let Some(most) = admin.appends_per_minute().filter(|most| *most > 0) {
        out.line(format_args!(
            "throttle  {most} messages a minute: switch it off for the replay (C_System_Services_IMAP_MaxAppendsPerMinute 0)"
        ))?;
    }
    if admin.number("C_AV_Action_MailIMAPEnabled").is_some_and(|on| on != 0) {
        out.line(format_args!("antivirus looks at every message that is appended: it may refuse some, and takes time"))?;
    }
    if admin.number("C_WebDAV_Active") == Some(0) {
        out.line(format_args!("DAV       is switched off: calendars, contacts and files have no way (C_WebDAV_Active 1)"))?;
    }
    Ok(())
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
    for (mark, names) in &dav.lost_at {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        out.line(format_args!("lost      at {}: {}", mark.words(), printable(&names.join(" "))))?;
    }
    for (part, largest) in &dav.largest {
        out.line(format_args!("largest   {largest} bytes for {part}: larger ones stay in the archive"))?;
    }
    if dav.card_4 == Fate::Refused {
        out.line(format_args!("refused   cards of version 4.0"))?;
    }
    if dav.event_without_end == Fate::Refused {
        out.line(format_args!("refused   events with neither end nor duration"))?;
    }
    if dav.event_of_no_length == Fate::Refused {
        out.line(format_args!("refused   events that end when they begin"))?;
    }
    if dav.one_uid_each {
        out.line(format_args!("refused   a second calendar's event, task or journal of the same UID: it stays in the archive"))?;
    }
    match dav.invitations_leave {
        Some(true) => out.line(format_args!(
            "mails     invitations though it is asked not to: stop its outgoing mail before calendars are carried over"
        ))?,
        Some(false) => out.line(format_args!("mails     no invitation, as it is asked"))?,
        None => {}
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
    if let Some(may) = mail.on_behalf {
        out.line(format_args!(
            "on behalf {}",
            if may { "the administrator may enter accounts" } else { "refused: use --login own" }
        ))?;
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
