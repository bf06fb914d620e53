//! IMAP: a thread for each connection, RFC 3501 and the extensions that are announced.

mod append;
mod fetch;
mod folders;
mod messages;
mod session;
mod wire;

use std::io::{self, Write as _};
use std::net::TcpStream;

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder as _;
use imap_codec::imap_types::command::{Command, CommandBody};

use self::session::Session;
use super::World;

/// Talks to one client until either side has had enough.
pub(super) fn serve(world: &World, stream: TcpStream) -> io::Result<()> {
    let mut session = Session::new(world, stream)?;
    let now = jiff::Zoned::now().strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
    session.line(format_args!("* OK IceWarp {} stand-in x64 IMAP4rev1 {now}", super::VERSION))?;
    session.flush()?;
    loop {
        let text = match session.read_command()? {
            wire::Read::Command(text) => text,
            wire::Read::Append(head) => {
                session.append(head)?;
                continue;
            }
            wire::Read::Bad(tag, why) => {
                session.line(format_args!("{tag} BAD {why}"))?;
                session.flush()?;
                continue;
            }
        };
        if !one(&mut session, &text)? {
            return Ok(());
        }
    }
}

/// Carries one command out; `false` ends the connection.
fn one(session: &mut Session<'_>, text: &[u8]) -> io::Result<bool> {
    session.cut(|tallies, d| tallies.cut_command.strikes(d.cut_command))?;
    let (text, xlist) = without_xlist(text);
    if session.extra(&text)? {
        return Ok(true);
    }
    let Ok((rest, command)) = CommandCodec::default().decode(&text) else {
        let tag = wire::tag_of(&text);
        session.line(format_args!("{tag} BAD command unknown or arguments invalid"))?;
        session.flush()?;
        return Ok(true);
    };
    debug_assert!(rest.is_empty());
    let Command { tag, body } = command;
    let leaving = matches!(body, CommandBody::Logout);
    let quiet = matches!(
        body,
        CommandBody::Fetch { uid: false, .. } | CommandBody::Store { uid: false, .. } | CommandBody::Search { uid: false, .. }
    );
    let answer = session.command(body, xlist)?;
    if !quiet {
        session.tell_changes()?;
    }
    session.cut(|tallies, d| tallies.cut_reply.strikes(d.cut_reply))?;
    session.line(format_args!("{} {answer}", tag.as_ref()))?;
    session.flush()?;
    Ok(!leaving)
}

/// XLIST is an older LIST under another name, which the codec does not know.
fn without_xlist(text: &[u8]) -> (std::borrow::Cow<'_, [u8]>, bool) {
    let after_tag = text.iter().position(|&byte| byte == b' ').map_or(text.len(), |at| at + 1);
    let (tag, rest) = text.split_at(after_tag);
    match rest.get(..6) {
        Some(word) if word.eq_ignore_ascii_case(b"XLIST ") => {
            let mut list = tag.to_vec();
            let _ = list.write_all(b"LIST ");
            list.extend_from_slice(&rest[6..]);
            (list.into(), true)
        }
        _ => (text.into(), false),
    }
}
