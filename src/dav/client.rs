//! Requests and answers: who asks, redirects on the same host, waiting when told to, and what a status means.

use std::io::{BufReader, Read};
use std::time::Duration;

use super::auth::{Challenge, Login, offers};
use super::href::same_place;
use super::xml::{self, Element};
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, printable};
use crate::net::{Address, MAX_PAUSE, Scheme, Trust, pause};

const TIMEOUT: Duration = Duration::from_secs(120);
const REACH_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of XML that an answer may have.
const MAX_XML_BYTES: u64 = 64 << 20;
/// Bytes of a refusal that are looked at.
const MAX_REFUSAL_BYTES: u64 = 64 << 10;
/// Requests for one thing, when the server says "not now" or the connection breaks.
const TRIES: u32 = 6;

/// What a request carries.
pub enum Body<'a> {
    /// Nothing.
    Empty,
    /// Bytes with their media type.
    Bytes(&'a [u8], &'a str),
    /// So many bytes of a file, which can be opened again for another try.
    File(u64, &'a mut dyn FnMut() -> Result<Box<dyn Read>>),
}

/// An answer whose body is not read yet.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Entity tag as the server writes it; it may be made up.
    pub etag: Option<String>,
    location: Option<String>,
    retry_after: Option<u64>,
    challenges: Vec<String>,
    body: ureq::Body,
}

impl Answer {
    /// The body, if it is at most `max_bytes`.
    ///
    /// # Errors
    /// `Kind::Protocol` when it is longer, `Kind::Unreachable` when it breaks off.
    pub fn bytes(self, max_bytes: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.reader().take(max_bytes + 1).read_to_end(&mut bytes);
        read.map_err(|e| Error::new(Kind::Unreachable, "the server's answer broke off").because(e))?;
        if bytes.len() as u64 > max_bytes {
            return Err(Error::new(Kind::Protocol, "the server's answer is longer than it may be").with("bytes", max_bytes));
        }
        Ok(bytes)
    }

    /// The body as it comes.
    pub fn reader(self) -> impl Read {
        self.body.into_with_config().limit(u64::MAX).reader()
    }

    /// Hands each child of the XML's root over.
    pub(super) fn children(self, each: &mut dyn FnMut(Element) -> Result<()>) -> Result<Element> {
        xml::children(BufReader::new(self.reader().take(MAX_XML_BYTES)), each)
    }

    /// What a status other than success means; reads the precondition that the body names.
    pub(super) fn refusal(self, what: &str, path: &str) -> Error {
        let status = self.status;
        let (condition, _) = self.precondition();
        let kind = match status {
            401 => Kind::Login,
            423 | 429 | 502..=504 => Kind::Busy,
            // Of several things some were refused, and so all that was asked for.
            207 | 400 | 403..=422 | 424..=428 | 430..=499 | 500 | 501 | 505..=599 => Kind::Refused,
            _ => Kind::Protocol,
        };
        let meaning = match status {
            207 => "a part of it is refused",
            401 => "the name or the password is refused",
            403 => "not allowed",
            404 | 410 => "nothing is there",
            409 => "the collection above is missing, or there is a conflict",
            412 => "a precondition does not hold",
            413 => "too large",
            423 => "locked",
            429 | 503 => "not now",
            507 => "the quota is used up",
            _ => "refused",
        };
        let named = condition.map_or_else(String::new, |c| format!(" ({})", printable(&c)));
        Error::new(kind, format!("{what}: {meaning}{named}")).with("status", status).with("path", path)
    }

    /// The condition in a `DAV:error`, and the address that it names.
    pub(super) fn precondition(self) -> (Option<String>, Option<String>) {
        let tree = xml::tree(BufReader::new(self.reader().take(MAX_REFUSAL_BYTES)));
        let condition = tree.ok().filter(|root| root.is(xml::DAV, "error")).and_then(|root| root.children.into_iter().next());
        condition.map_or((None, None), |c| (Some(c.name().to_owned()), c.href().map(str::to_owned)))
    }
}

/// A server, as one user.
pub struct Client {
    agent: ureq::Agent,
    base: Address,
    login: Login,
    digest: Option<Challenge>,
    counter: u64,
    tries: u32,
}

impl Client {
    /// A client of the server at `base`; nothing is sent yet.
    ///
    /// # Errors
    /// `Kind::Usage` for an address that is not of HTTP.
    pub fn new(base: Address, login: Login, trust: &Trust) -> Result<Self> {
        if !matches!(base.scheme, Scheme::Http | Scheme::Https) {
            return Err(Error::usage("DAV is spoken over https").with("address", &base));
        }
        Ok(Client { agent: trust.http_agent(TIMEOUT), base, login, digest: None, counter: 0, tries: TRIES })
    }

    /// Makes a request so many times before it gives up at "not now" or broken connections.
    #[must_use]
    pub fn with_tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// The server's address.
    pub fn base(&self) -> &Address {
        &self.base
    }

    /// May a password be sent as it is?
    fn is_private(&self) -> bool {
        let host = self.base.host.as_str();
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.base.scheme.is_tls() || loopback
    }

    /// Is there anybody at that address? Asked once, and without login.
    ///
    /// # Errors
    /// `Kind::Unreachable` when nobody answers; `Kind::Protocol` when TLS fails.
    pub fn reach(address: &Address, trust: &Trust) -> Result<()> {
        let request = ureq::http::Request::builder().method("OPTIONS").uri(address.to_string()).body(());
        let request = request.map_err(|e| Error::new(Kind::Internal, "cannot make a request").because(e))?;
        let answer = trust.http_agent(REACH_TIMEOUT).run(request);
        answer.map(drop).map_err(|e| failed(e).with("server", address))
    }

    /// The path of an address in an answer, which must lie on this server.
    pub(super) fn path_of(&self, href: &str) -> Result<String> {
        let base = url::Url::parse(&self.base.at(self.base.scheme, Some(self.base.port), "/").to_string());
        let joined = base.ok().and_then(|base| base.join(href).ok().map(|url| (base, url)));
        match joined {
            Some((base, url)) if url.origin() == base.origin() => Ok(url.path().to_owned()),
            _ => Err(Error::new(Kind::Protocol, "the server sends floe to another server").with("address", href)),
        }
    }

    /// Sends a request and follows redirects on the same server; for a safe method, and one that can be repeated, tries again when the server is busy.
    ///
    /// # Errors
    /// `Kind::Unreachable`, `Kind::Busy` after some tries; `Kind::Login`; `Kind::Protocol`. A status that says no is no error here.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], mut body: Body<'_>) -> Result<Answer> {
        let (mut path, mut tries, mut redirects) = (path.to_owned(), 0, 0);
        loop {
            tries += 1;
            let answer = self.authorized(method, &path, headers, &mut body);
            let wait = match &answer {
                Err(e) if e.kind().is_transient() => Some(None),
                Ok(a) if matches!(a.status, 423 | 429 | 502..=504) => Some(a.retry_after.map(Duration::from_secs)),
                _ => None,
            };
            if let Some(told) = wait.filter(|_| tries < self.tries) {
                std::thread::sleep(told.map_or_else(|| pause(tries), |told| told.min(MAX_PAUSE)));
                continue;
            }
            let answer = answer?;
            match (&answer.location, answer.status) {
                (Some(location), 301 | 302 | 307 | 308) => {
                    redirects += 1;
                    if redirects > 5 {
                        return Err(Error::new(Kind::Protocol, "the server redirects in circles").with("path", &path));
                    }
                    path = self.path_of(location)?;
                    tries = 0;
                }
                _ => return Ok(answer),
            }
        }
    }

    fn authorized(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &mut Body<'_>) -> Result<Answer> {
        let sent = match &mut self.digest {
            Some(challenge) => {
                self.counter += 1;
                let seed = format!("{}{}{:?}", self.counter, std::process::id(), std::time::SystemTime::now());
                let cnonce = Digest::of(seed.as_bytes()).to_string();
                Some(challenge.answer(&self.login, method, path, &cnonce[..32]))
            }
            None => self.is_private().then(|| self.login.basic()),
        };
        let answer = self.once(method, path, headers, sent.as_deref(), body)?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let (basic, digest) = offers(answer.challenges.iter().map(String::as_str));
        let again = match &digest {
            Some(challenge) if self.digest.is_some() => challenge.stale,
            Some(_) => !(basic && self.is_private()),
            None => false,
        };
        if !again {
            let error = Error::new(Kind::Login, "the server refuses the name or the password").with("user", &self.login.user);
            let hint = "the server asks for the password in the clear: use https";
            return Err(if sent.is_none() && basic { error.hint(hint) } else { error });
        }
        self.digest = digest;
        let cnonce = Digest::of(format!("{:?}", std::time::SystemTime::now()).as_bytes()).to_string();
        let sent = self.digest.as_mut().map(|c| c.answer(&self.login, method, path, &cnonce[..32]));
        let answer = self.once(method, path, headers, sent.as_deref(), body)?;
        if answer.status == 401 {
            return Err(Error::new(Kind::Login, "the server refuses the name or the password").with("user", &self.login.user));
        }
        Ok(answer)
    }

    fn once(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        auth: Option<&str>,
        body: &mut Body<'_>,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.base.at(self.base.scheme, Some(self.base.port), "/"));
        let mut request = ureq::http::Request::builder().method(method).uri(url).header("Accept-Encoding", "identity");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(auth) = auth {
            request = request.header("Authorization", auth);
        }
        let bad = |e: ureq::http::Error| Error::new(Kind::Internal, "cannot make a request").because(e);
        let sent = match body {
            Body::Empty => self.agent.run(request.body(()).map_err(bad)?),
            Body::Bytes(bytes, media) => {
                let request = request.header("Content-Type", *media).header("Content-Length", bytes.len());
                self.agent.run(request.body(*bytes).map_err(bad)?)
            }
            Body::File(size, open) => {
                let mut reader = open()?;
                let request = request.header("Content-Type", "application/octet-stream").header("Content-Length", *size);
                let request = request.body(ureq::SendBody::from_reader(&mut reader)).map_err(bad)?;
                // A large file over a thin line takes its time: 64 KiB a second are expected.
                let timeout = TIMEOUT + Duration::from_secs(*size >> 16);
                self.agent.run(self.agent.configure_request(request).timeout_global(Some(timeout)).build())
            }
        };
        let answer = sent.map_err(|e| failed(e).with("server", &self.base))?;
        let text = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let all = answer.headers().get_all("WWW-Authenticate").iter();
        Ok(Answer {
            status: answer.status().as_u16(),
            etag: text("ETag"),
            location: text("Location"),
            retry_after: text("Retry-After").and_then(|t| t.trim().parse().ok()),
            challenges: all.filter_map(|v| v.to_str().ok().map(str::to_owned)).collect(),
            body: answer.into_body(),
        })
    }

    /// PROPFIND; hands each response with its path over.
    pub(super) fn propfind(
        &mut self,
        path: &str,
        depth: &str,
        properties: &str,
        each: &mut dyn FnMut(String, Element),
    ) -> Result<()> {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:propfind {}><d:prop>{properties}</d:prop></d:propfind>",
            xml::PREFIXES
        );
        let answer =
            self.send("PROPFIND", path, &[("Depth", depth)], Body::Bytes(body.as_bytes(), "application/xml; charset=utf-8"))?;
        self.responses(answer, "PROPFIND", path, each)
    }

    /// The responses of a multistatus; those that name another server are passed over.
    pub(super) fn responses(&self, answer: Answer, what: &str, path: &str, each: &mut dyn FnMut(String, Element)) -> Result<()> {
        if answer.status != 207 {
            return Err(answer.refusal(what, path));
        }
        let root = answer.children(&mut |child| {
            if let Some(path) = child.href().and_then(|href| self.path_of(href).ok()) {
                each(path, child);
            }
            Ok(())
        })?;
        if root.is(xml::DAV, "multistatus") {
            Ok(())
        } else {
            Err(Error::new(Kind::Protocol, "the server's answer is not a multistatus").with("path", path))
        }
    }

    /// PROPFIND of one resource; its response.
    pub(super) fn properties(&mut self, path: &str, properties: &str) -> Result<Option<Element>> {
        let mut all = Vec::new();
        self.propfind(path, "0", properties, &mut |at, element| {
            if all.is_empty() || same_place(&at, path) {
                all = vec![element];
            }
        })?;
        Ok(all.pop())
    }
}

/// An error of the connection.
fn failed(e: ureq::Error) -> Error {
    let kind = match &e {
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            Kind::Unreachable
        }
        _ => Kind::Protocol,
    };
    Error::new(kind, "a request to the server failed").because(e)
}
