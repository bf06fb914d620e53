//! One client's session: who it is, which folder it has open, and what it is told.

use std::fmt::Arguments;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imap_codec::imap_types::auth::AuthMechanism;
use imap_codec::imap_types::command::CommandBody;

use super::super::mail::Mailbox;
use super::super::{Difficulties, Login, Tallies, World, locked};
use super::wire;

/// Nobody needs to be silent for longer.
const SILENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// Who logged in.
pub(super) struct User {
    pub(super) address: String,
    pub(super) mailbox: Arc<Mutex<Mailbox>>,
}

/// The folder that is open, as this client knows it.
pub(super) struct Selected {
    pub(super) name: String,
    pub(super) read_only: bool,
    /// UIDs in the order of message numbers.
    pub(super) uids: Vec<u32>,
}

/// APPENDs of the running minute.
pub(super) struct Minute {
    pub(super) began: Instant,
    pub(super) appends: u64,
}

pub(super) struct Session<'a> {
    pub(super) world: &'a World,
    pub(super) reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
    pub(super) user: Option<User>,
    pub(super) selected: Option<Selected>,
    pub(super) minute: Minute,
}

impl<'a> Session<'a> {
    pub(super) fn new(world: &'a World, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let reader = BufReader::with_capacity(64 * 1024, stream.try_clone()?);
        let writer = BufWriter::with_capacity(64 * 1024, stream);
        let minute = Minute { began: Instant::now(), appends: 0 };
        Ok(Session { world, reader, writer, user: None, selected: None, minute })
    }

    pub(super) fn line(&mut self, text: Arguments<'_>) -> io::Result<()> {
        write!(self.writer, "{text}\r\n")
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Says why and ends the connection.
    pub(super) fn hang_up<T>(&mut self, why: &str) -> io::Result<T> {
        self.line(format_args!("* BYE {why}"))?;
        self.flush()?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Loses the connection if this is the moment for it; untold lines are lost as well.
    pub(super) fn cut(&mut self, strikes: impl Fn(&Tallies, &Difficulties) -> bool) -> io::Result<()> {
        if strikes(&self.world.tallies, &self.world.difficulties) {
            self.writer.get_ref().shutdown(std::net::Shutdown::Both)?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Commands that the codec does not know; `true` if it was one and has been answered.
    pub(super) fn extra(&mut self, text: &[u8]) -> io::Result<bool> {
        let tag = wire::tag_of(text);
        let word = text.trim_ascii_end().get(tag.len()..).unwrap_or_default().trim_ascii();
        if !word.eq_ignore_ascii_case(b"NAMESPACE") {
            return Ok(false);
        }
        if self.user.is_none() {
            self.line(format_args!("{tag} NO log in first"))?;
        } else {
            self.line(format_args!("* NAMESPACE ((\"\" \"/\")) ((\"~\" \"/\")) ((\"Public Folders/\" \"/\"))"))?;
            self.line(format_args!("{tag} OK NAMESPACE completed"))?;
        }
        self.flush()?;
        Ok(true)
    }

    /// Carries out a command; gives the tagged reply without its tag.
    pub(super) fn command(&mut self, body: CommandBody<'_>, xlist: bool) -> io::Result<String> {
        match body {
            CommandBody::Capability => {
                let capabilities = self.capabilities();
                self.line(format_args!("* CAPABILITY {capabilities}"))?;
                Ok("OK CAPABILITY completed".into())
            }
            CommandBody::Noop | CommandBody::Check => Ok("OK completed".into()),
            CommandBody::Logout => {
                self.line(format_args!("* BYE IceWarp stand-in logging out"))?;
                Ok("OK LOGOUT completed".into())
            }
            CommandBody::Login { username, password } => {
                let (name, password) = (text(username.as_ref()), text(password.declassify().as_ref()));
                self.login(&name, &name, &password)
            }
            CommandBody::Authenticate { mechanism, initial_response } => {
                let initial = initial_response.map(|secret| secret.declassify().to_vec());
                self.authenticate(&mechanism, initial)
            }
            _ if self.user.is_none() => Ok("NO log in first".into()),
            CommandBody::Idle => self.idle(),
            body => self.folder_command(body, xlist),
        }
    }

    fn capabilities(&self) -> String {
        let difficulties = &self.world.difficulties;
        let plain = if difficulties.no_plain { "LOGINDISABLED" } else { "AUTH=PLAIN" };
        let mut list = vec!["IMAP4rev1", plain];
        let announced = [
            (!difficulties.no_literal_plus, "LITERAL+"),
            (!difficulties.no_uidplus, "UIDPLUS"),
            (!difficulties.no_multiappend, "MULTIAPPEND"),
            (!difficulties.no_move, "MOVE"),
            (!difficulties.no_special_use, "SPECIAL-USE"),
            (!difficulties.no_xlist, "XLIST"),
        ];
        list.extend(announced.iter().filter(|(there, _)| *there).map(|(_, name)| *name));
        list.extend(["UNSELECT", "NAMESPACE", "QUOTA", "IDLE"]);
        list.join(" ")
    }

    fn authenticate(&mut self, mechanism: &AuthMechanism<'_>, initial: Option<Vec<u8>>) -> io::Result<String> {
        if *mechanism != AuthMechanism::Plain {
            return Ok("NO mechanism not offered".into());
        }
        // No SASL-IR is announced, so an initial response is not expected.
        let response = match initial {
            Some(_) => return Ok("BAD initial response without SASL-IR".into()),
            None => {
                self.line(format_args!("+ "))?;
                self.flush()?;
                STANDARD.decode(wire::line(&mut self.reader, 8 * 1024)?).unwrap_or_default()
            }
        };
        let parts: Vec<String> = response.split(|&byte| byte == 0).map(text).collect();
        match parts.as_slice() {
            [user, name, password] if user.is_empty() => self.login(name, name, password),
            [user, name, password] => self.login(user, name, password),
            _ => Ok("BAD not a PLAIN response".into()),
        }
    }

    /// Logs `name` in to act as `user`.
    fn login(&mut self, user: &str, name: &str, password: &str) -> io::Result<String> {
        if self.user.is_some() {
            return Ok("BAD already logged in".into());
        }
        if self.world.difficulties.no_plain {
            return Ok("NO plain logins are disabled".into());
        }
        let allowed = match self.world.login(name, password) {
            Login::Right(address, _) if user.eq_ignore_ascii_case(name) => self.world.has_imap(&address).then_some(address),
            // The built-in super account and domain administrators are not known to be let in for others, so they are not.
            Login::Right(admin, _) if self.world.may_act_for_all(&admin) => {
                self.world.has_imap(user).then(|| user.to_lowercase())
            }
            Login::Right(..) | Login::Disabled => None,
            Login::Wrong(delay) => {
                std::thread::sleep(delay);
                None
            }
        };
        let Some(address) = allowed else { return Ok("NO [AUTHENTICATIONFAILED] login failed".into()) };
        match self.world.mailbox(&address) {
            Ok(mailbox) => self.user = Some(User { address, mailbox }),
            Err(_) => return Ok("NO [SERVERBUG] the mailbox cannot be opened".into()),
        }
        Ok("OK login completed".into())
    }

    fn idle(&mut self) -> io::Result<String> {
        self.line(format_args!("+ idling"))?;
        self.flush()?;
        let done = wire::line(&mut self.reader, 1024)?.eq_ignore_ascii_case(b"DONE");
        Ok(if done { "OK IDLE completed" } else { "BAD expected DONE" }.into())
    }

    /// The mailbox, locked. Only called after login.
    pub(super) fn mailbox(&self) -> io::Result<Arc<Mutex<Mailbox>>> {
        self.user.as_ref().map(|user| Arc::clone(&user.mailbox)).ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }

    /// Tells of messages that came and went in the open folder.
    pub(super) fn tell_changes(&mut self) -> io::Result<()> {
        let Some(mut selected) = self.selected.take() else { return Ok(()) };
        let mailbox = self.mailbox()?;
        let mailbox = locked(&mailbox);
        let Some(folder) = mailbox.folders.get(&selected.name) else {
            drop(mailbox);
            return self.hang_up("the open folder is gone");
        };
        let last = selected.uids.last().copied().unwrap_or(0);
        let gone: Vec<usize> =
            selected.uids.iter().enumerate().filter(|(_, uid)| !folder.messages.contains_key(uid)).map(|(at, _)| at).collect();
        let fresh: Vec<u32> = folder.messages.range(last.saturating_add(1)..).map(|(uid, _)| *uid).collect();
        drop(mailbox);
        // From the last to the first, so that numbers hold while they are told.
        for &at in gone.iter().rev() {
            self.line(format_args!("* {} EXPUNGE", at + 1))?;
        }
        let mut gone = gone.into_iter().peekable();
        let mut at = 0..;
        selected.uids.retain(|_| gone.next_if_eq(&at.next().unwrap_or(usize::MAX)).is_none());
        if !fresh.is_empty() {
            selected.uids.extend(fresh);
            self.line(format_args!("* {} EXISTS", selected.uids.len()))?;
        }
        self.selected = Some(selected);
        Ok(())
    }
}

/// Bytes of a name or password as text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
