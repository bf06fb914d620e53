//! A connection: greeting, TLS, login, and the exchange of commands and responses that the other files build on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

use super::login::Login;
use super::names::Names;
use super::response::{Code, Condition, Literal, Raw, Response, Status, literal_size, understand};
use super::wire::{Wire, broken};
use crate::error::{Error, Kind, Result};
use crate::model::printable;
use crate::net::{Address, Scheme, Trust};

/// Most bytes of literals that one response may hold besides a body.
const LITERALS_MAX_BYTES: u64 = 4 << 20;
/// Most bytes of text that one response may hold.
const TEXT_MAX_BYTES: usize = 4 << 20;

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is: `imaps://`, or `imap://` which goes on in TLS when the server announces STARTTLS.
    pub address: Address,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Send passwords in the clear to a server that is not this machine and offers no TLS.
    pub allow_plaintext: bool,
    /// Deflate the connection when the server announces it (RFC 4978).
    pub compress: bool,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long the server may say nothing: long, for it may delay appends on purpose.
    pub idle_timeout: Duration,
}

impl Settings {
    /// The usual waiting times, TLS required, deflated unless the server is this machine.
    pub fn new(address: Address, trust: Trust) -> Self {
        let compress = !is_loopback(&address.host);
        Settings {
            address,
            trust,
            allow_plaintext: false,
            compress,
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(300),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Receives a body piece by piece.
pub(super) type TakeBytes<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// A part of a command.
pub(super) enum Piece<'a> {
    /// As it is.
    Word(&'a str),
    /// A string: quoted, or a literal where it cannot be.
    Text(&'a str),
}

/// An open connection of one account.
pub struct Connection {
    pub(super) wire: Wire,
    capabilities: BTreeSet<String>,
    before_login: BTreeSet<String>,
    greeting: String,
    tags: u64,
    /// Commands sent ahead, and their answers as far as they are there.
    ahead: BTreeMap<String, Option<Status>>,
    alerts: Vec<String>,
    encrypted: bool,
    /// How names are written here; known after the login.
    pub(super) names: Names,
}

impl Connection {
    /// The connection that is open already, taken out; a new one where there is none.
    ///
    /// # Errors
    /// What `connect` gives.
    pub fn kept_or_new(kept: &mut Option<Self>, connect: &mut dyn FnMut() -> Result<Self>) -> Result<Self> {
        kept.take().map_or_else(connect, Ok)
    }

    /// Connects, goes over to TLS, logs in, and learns how names are written.
    ///
    /// # Errors
    /// `Kind::Unreachable` when there is no connection, `Kind::Login` when the login is refused, `Kind::Refused` when the
    /// connection would not be safe.
    pub fn open(settings: &Settings, login: &Login) -> Result<Self> {
        let address = &settings.address;
        Self::open_inner(settings, login).map_err(|e| e.with("server", address).with("account", login.user()))
    }

    /// Is there anybody at that address? Nothing is said to them.
    ///
    /// # Errors
    /// `Kind::Unreachable` when there is no connection.
    pub fn reach(settings: &Settings) -> Result<()> {
        let Address { host, port, .. } = &settings.address;
        Wire::connect(host, *port, settings.connect_timeout, settings.idle_timeout).map(drop)
    }

    fn open_inner(settings: &Settings, login: &Login) -> Result<Self> {
        let Address { scheme, host, port, .. } = &settings.address;
        if !matches!(scheme, Scheme::Imap | Scheme::Imaps) {
            return Err(Error::usage("not the URL of an IMAP server").hint("it begins with imaps:// or imap://"));
        }
        let mut wire = Wire::connect(host, *port, settings.connect_timeout, settings.idle_timeout)?;
        if scheme.is_tls() {
            wire.start_tls(settings.trust.client_config()?, host)?;
        }
        let mut connection = Connection {
            wire,
            capabilities: BTreeSet::new(),
            before_login: BTreeSet::new(),
            greeting: String::new(),
            tags: 0,
            ahead: BTreeMap::new(),
            alerts: Vec::new(),
            encrypted: scheme.is_tls(),
            names: Names::default(),
        };
        connection.greet()?;
        connection.secure(settings)?;
        connection.before_login = connection.capabilities.clone();
        connection.login(login)?;
        if settings.compress && connection.has("COMPRESS=DEFLATE") {
            connection.compress()?;
        }
        connection.learn_names()?;
        Ok(connection)
    }

    fn greet(&mut self) -> Result<()> {
        match self.next_response(None)? {
            Response::Status(status) if status.condition == Condition::Ok => {
                self.greeting.clone_from(&status.text);
                self.take_capabilities(&status)
            }
            Response::Status(status) if status.condition == Condition::Preauth => {
                Err(Error::new(Kind::Refused, "the server has logged in somebody already, and says not whom"))
            }
            Response::Status(status) if status.condition == Condition::Bye => {
                Err(Error::new(Kind::Busy, "the server lets nobody in").because(status.reason()))
            }
            _ => Err(Error::new(Kind::Protocol, "this is not an IMAP server").hint("check the port")),
        }
    }

    /// Goes over to TLS where it can, and refuses where it must.
    fn secure(&mut self, settings: &Settings) -> Result<()> {
        if self.encrypted {
            return Ok(());
        }
        if self.has("STARTTLS") && !(is_loopback(&settings.address.host) && settings.allow_plaintext) {
            let status = self.run("STARTTLS")?;
            expect_ok(&status, "STARTTLS")?;
            self.wire.start_tls(settings.trust.client_config()?, &settings.address.host)?;
            self.encrypted = true;
            self.capabilities.clear();
            return self.ask_capabilities();
        }
        if settings.allow_plaintext || is_loopback(&settings.address.host) {
            return Ok(());
        }
        Err(Error::new(Kind::Refused, "the server offers no TLS, so the password would be sent in the clear")
            .hint("use imaps://, or allow plaintext if the network between is yours alone"))
    }

    fn compress(&mut self) -> Result<()> {
        // Refused is no harm done.
        if self.run("COMPRESS DEFLATE")?.condition == Condition::Ok {
            self.wire.start_deflate();
        }
        Ok(())
    }

    /// The capability is announced.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    /// Capabilities as announced after the login, in capitals.
    pub fn capabilities(&self) -> impl Iterator<Item = &str> {
        self.capabilities.iter().map(String::as_str)
    }

    /// Capabilities as announced before the login, in capitals.
    pub fn capabilities_before_login(&self) -> impl Iterator<Item = &str> {
        self.before_login.iter().map(String::as_str)
    }

    /// The words with which the server greeted.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// The largest message that the server says it takes (RFC 7889).
    pub fn append_limit(&self) -> Option<u64> {
        self.capabilities.iter().find_map(|c| c.strip_prefix("APPENDLIMIT=")?.parse().ok())
    }

    /// Is it in TLS?
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Alerts since they were last taken: the server wants people to read them.
    pub fn take_alerts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.alerts)
    }

    pub(super) fn take_capabilities(&mut self, status: &Status) -> Result<()> {
        match &status.code {
            Some(Code::Capability(words)) => {
                self.set_capabilities(words);
                Ok(())
            }
            _ => self.ask_capabilities(),
        }
    }

    fn set_capabilities(&mut self, words: &[String]) {
        self.capabilities = words.iter().take(1000).map(|w| w.to_ascii_uppercase()).collect();
    }

    fn ask_capabilities(&mut self) -> Result<()> {
        let mut words = Vec::new();
        let status = self.run_with("CAPABILITY", &mut |response| {
            if let Response::Data(name, values) = response
                && name == "CAPABILITY"
            {
                words = values.iter().filter_map(super::response::Value::text).collect();
            }
            Ok(())
        })?;
        expect_ok(&status, "CAPABILITY")?;
        self.set_capabilities(&words);
        Ok(())
    }

    /// Says goodbye; whatever the server answers.
    pub fn logout(mut self) {
        let _ = self.run("LOGOUT");
        self.wire.shut();
    }

    /// Asks for nothing: keeps the connection alive.
    ///
    /// # Errors
    /// As every command.
    pub fn noop(&mut self) -> Result<()> {
        expect_ok(&self.run("NOOP")?, "NOOP")
    }

    /// The tag of the next command.
    pub(super) fn tag(&mut self) -> String {
        self.tags += 1;
        format!("f{}", self.tags)
    }

    /// The answer to a command that was sent ahead will come.
    pub(super) fn await_answer(&mut self, tag: String) {
        self.ahead.insert(tag, None);
    }

    pub(super) fn is_awaited(&self, tag: &str) -> bool {
        matches!(self.ahead.get(tag), Some(None))
    }

    pub(super) fn answered(&mut self, tag: String, status: Status) -> Result<()> {
        match self.ahead.get_mut(&tag) {
            Some(answer @ None) => {
                *answer = Some(status);
                Ok(())
            }
            // Cyrus, when it refuses an APPEND now and then, reads on in the message and takes its lines for commands. What came of what
            // was sent nobody knows then, as after a line that broke; the tag would be a piece of somebody's mail.
            _ => Err(Error::new(Kind::Unreachable, "the server answers what was not asked: it has lost its place")
                .with("answer", printable(&status.text))),
        }
    }

    pub(super) fn take_answer(&mut self, tag: &str) -> Option<Status> {
        self.ahead.remove(tag).flatten()
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.wire.write_all(bytes).map_err(broken)
    }

    pub(super) fn send_line(&mut self, line: &[u8]) -> Result<()> {
        self.put(line)?;
        self.put(b"\r\n")?;
        self.wire.push()
    }

    /// Writes a command's pieces and sends them; its tag. Strings that cannot be quoted go as synchronising literals.
    pub(super) fn begin(&mut self, pieces: &[Piece<'_>]) -> Result<String> {
        let tag = self.tag();
        self.put(tag.as_bytes())?;
        for piece in pieces {
            self.put(b" ")?;
            match piece {
                Piece::Word(word) => self.put(word.as_bytes())?,
                Piece::Text(text) => match quote(text) {
                    Some(quoted) => self.put(quoted.as_bytes())?,
                    None => {
                        self.send_line(format!("{{{}}}", text.len()).as_bytes())?;
                        self.expect_continue(&tag)?;
                        self.put(text.as_bytes())?;
                    }
                },
            }
        }
        self.send_line(b"")?;
        Ok(tag)
    }

    fn expect_continue(&mut self, tag: &str) -> Result<()> {
        loop {
            match self.next_response(None)? {
                Response::Continue(_) => return Ok(()),
                Response::Tagged(t, status) if t == tag => return Err(status.error("a string")),
                _ => {}
            }
        }
    }

    /// Reads up to the end of a command; what comes before goes to `each`.
    pub(super) fn finish(&mut self, tag: &str, each: &mut dyn FnMut(Response) -> Result<()>) -> Result<Status> {
        loop {
            match self.next_response(None)? {
                Response::Tagged(t, status) if t == tag => return Ok(status),
                Response::Tagged(t, status) => self.answered(t, status)?,
                Response::Continue(_) => return Err(Error::new(Kind::Protocol, "the server wants more than it was to get")),
                response => each(response)?,
            }
        }
    }

    pub(super) fn run_pieces(&mut self, pieces: &[Piece<'_>], each: &mut dyn FnMut(Response) -> Result<()>) -> Result<Status> {
        let tag = self.begin(pieces)?;
        self.finish(&tag, each)
    }

    pub(super) fn run_with(&mut self, command: &str, each: &mut dyn FnMut(Response) -> Result<()>) -> Result<Status> {
        self.run_pieces(&[Piece::Word(command)], each)
    }

    pub(super) fn run(&mut self, command: &str) -> Result<Status> {
        self.run_with(command, &mut |_| Ok(()))
    }

    /// The next response. A body's literal goes to `body`, where one is given, piece by piece; a BYE is an error.
    pub(super) fn next_response(&mut self, body: Option<&mut TakeBytes<'_>>) -> Result<Response> {
        let response = understand(self.read_raw(body)?)?;
        if let Response::Status(status) | Response::Tagged(_, status) = &response {
            if status.is("ALERT") && self.alerts.len() < 100 {
                self.alerts.push(status.text.clone());
            }
            if status.condition == Condition::Bye && !self.greeting.is_empty() {
                return Err(status.error("goodbye"));
            }
        }
        Ok(response)
    }

    fn read_raw(&mut self, mut body: Option<&mut TakeBytes<'_>>) -> Result<Raw> {
        let mut raw = Raw::default();
        let mut held = 0;
        loop {
            let start = raw.text.len();
            self.wire.read_line(&mut raw.text)?;
            if raw.text.len() > TEXT_MAX_BYTES {
                return Err(Error::new(Kind::Protocol, "the server sent a response without end"));
            }
            let Some(size) = literal_size(&raw.text[start..]) else { return Ok(raw) };
            let announced = memchr::memrchr(b'{', &raw.text).unwrap_or(start);
            raw.text.truncate(announced);
            let of_body = raw.text.ends_with(b"BODY[] ") || raw.text.ends_with(b"RFC822 ");
            raw.text.push(super::response::LITERAL_MARK);
            match &mut body {
                Some(take) if of_body => {
                    self.wire.read_exact(size, take)?;
                    raw.literals.push_back(Literal::Streamed);
                }
                _ => {
                    held += size;
                    if held > LITERALS_MAX_BYTES {
                        return Err(Error::new(Kind::Protocol, "the server sent a longer string than was asked for"));
                    }
                    let mut bytes = Vec::new();
                    self.wire.read_exact(size, &mut |piece| {
                        bytes.extend_from_slice(piece);
                        Ok(())
                    })?;
                    raw.literals.push_back(Literal::Bytes(bytes));
                }
            }
        }
    }
}

/// The error of a command that did not end well.
pub(super) fn expect_ok(status: &Status, what: &str) -> Result<()> {
    if status.condition == Condition::Ok { Ok(()) } else { Err(status.error(what)) }
}

/// The text as a quoted string, where it can be one.
pub(super) fn quote(text: &str) -> Option<String> {
    if text.len() > 1000 || !text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return None;
    }
    Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;
    use crate::net::Secret;

    #[test]
    fn strings_that_cannot_be_quoted_are_not() {
        assert_eq!(quote("a\"b\\c").as_deref(), Some("\"a\\\"b\\\\c\""));
        for text in ["pass\r\nword", "ü", "\0", &"x".repeat(2000)] {
            assert_eq!(quote(text), None);
        }
    }

    /// Connects to a server that says these bytes and nothing else.
    fn against(bytes: Vec<u8>) -> Result<Connection> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.write_all(&bytes);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let mut settings = Settings::new(format!("imap://127.0.0.1:{port}").parse().unwrap(), Trust::default());
        settings.idle_timeout = Duration::from_secs(5);
        let opened = Connection::open(&settings, &Login::User { user: "u".into(), password: Secret::new("hunter2") });
        drop(server);
        opened
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_server_may_send_anything(bytes in any::<Vec<u8>>(), lines in proptest::collection::vec("[ -~]{0,60}", 0..8)) {
            let mut all = b"* OK [CAPABILITY IMAP4rev1] hello\r\nf1 OK in\r\n".to_vec();
            all.extend(lines.join("\r\n").into_bytes());
            all.extend(bytes);
            let _ = against(all);
        }
    }

    #[test]
    fn a_string_without_end_is_refused_and_not_held() {
        for hostile in [
            &b"* OK hi\r\n* CAPABILITY {99999999999}\r\n"[..],
            &[b"* OK hi\r\n* ".as_slice(), &[b'('; 3 << 20]].concat(),
            &[b"* OK hi\r\n* X ".as_slice(), &[b'('; 100], b"\r\n"].concat(),
        ] {
            let refused = against(hostile.to_vec()).err().expect("refused");
            assert_eq!(refused.kind(), Kind::Protocol, "{refused}");
        }
    }

    #[test]
    fn a_server_that_takes_mail_for_commands_is_worth_another_connection() {
        let lost = b"* OK [CAPABILITY IMAP4rev1] hi\r\nf1 OK in\r\nReturn-Path: BAD Unrecognized command\r\n";
        let refused = against(lost.to_vec()).err().expect("refused");
        assert!(refused.kind().is_transient(), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("Unrecognized command") && !said.contains("Return-Path"), "{said}");
    }

    #[test]
    fn a_refused_password_is_not_repeated_in_the_error() {
        let greeting = b"* OK [CAPABILITY IMAP4rev1] hi\r\nf1 NO [AUTHENTICATIONFAILED] no\r\n";
        let refused = against(greeting.to_vec()).err().expect("refused");
        assert_eq!(refused.kind(), Kind::Login);
        assert!(!format!("{refused:?} {refused}").contains("hunter2"));
    }
}
