//! The client of IceWarp's HTTP/XML admin API: one session, the calls that a migration needs.
//!
//! A result of 0 arrives as a success and means "not applied": whoever writes something looks afterwards whether it is there. A session
//! that ran out is opened again once. A refused password is never sent twice: the server holds such clients up for longer each time.

mod commands;
mod element;

use std::thread::sleep;
use std::time::Duration;

use quick_xml::escape::escape;

pub use self::commands::{Folder, Property, Right};
pub use self::element::Element;
use self::element::parse;
use crate::error::{Error, Kind, Result};
use crate::net::{Address, Secret, Trust};

/// Wrong logins are answered after half a minute and more.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How long to wait when a server is busy or not there, before each new try.
const BUSY_WAITS: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8)];
/// Accounts asked for at a time.
const PAGE: usize = 200;

/// A session of an administrator.
pub struct Api {
    agent: ureq::Agent,
    url: String,
    admin: String,
    password: Secret,
    sid: String,
}

impl Api {
    /// Logs in at a server.
    ///
    /// # Errors
    /// `Kind::Unreachable` when nobody answers, `Kind::Login` when the login is refused, `Kind::Protocol` when it is no IceWarp.
    pub fn open(to: &Address, trust: &Trust, admin: &str, password: &Secret) -> Result<Self> {
        let url = format!("{}/icewarpapi/", to.at(to.scheme, Some(to.port), "/"));
        let (agent, admin, password) = (trust.http_agent(TIMEOUT), admin.to_owned(), password.clone());
        let mut api = Api { agent, url, admin, password, sid: String::new() };
        for wait in BUSY_WAITS {
            match api.log_in() {
                Err(e) if e.kind() == Kind::Busy => sleep(wait),
                done => return done.map(|()| api),
            }
        }
        api.log_in().map(|()| api)
    }

    fn log_in(&mut self) -> Result<()> {
        let params = format!(
            "<authtype>0</authtype><email>{}</email><password>{}</password><digest/><persistentlogin>0</persistentlogin>",
            escape(&self.admin),
            escape(self.password.expose())
        );
        self.sid.clear();
        let answer = self.post("authenticate", &params)?;
        match (error_of(&answer), answer.attribute("sid")) {
            (None, Some(sid)) if result_of(&answer).is_some_and(applied) => {
                sid.clone_into(&mut self.sid);
                Ok(())
            }
            (refused, _) => Err(Error::new(Kind::Login, "the server refused the administrator's login")
                .with("answer", refused.unwrap_or("not applied"))
                .with("administrator", &self.admin)
                .hint("check the name and the password; floe does not try again by itself, since the server punishes guessing")),
        }
    }

    /// Sends a command; the whole answer, errors included.
    fn post(&self, command: &str, params: &str) -> Result<Element> {
        let sid = if self.sid.is_empty() { String::new() } else { format!(" sid=\"{}\"", escape(&self.sid)) };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><iq{sid}><query xmlns=\"admin:iq:rpc\"><commandname>{command}</commandname>\
             <commandparams>{params}</commandparams></query></iq>"
        );
        let unreachable = |e: ureq::Error| {
            Error::new(Kind::Unreachable, "the server's admin API cannot be reached").with("address", &self.url).because(e)
        };
        let mut answer =
            self.agent.post(&self.url).header("Content-Type", "text/xml; charset=utf-8").send(body).map_err(unreachable)?;
        if answer.status() != 200 {
            let kind = if answer.status().is_server_error() { Kind::Busy } else { Kind::Protocol };
            return Err(Error::new(kind, "no admin API answers there")
                .with("address", &self.url)
                .with("status", answer.status()));
        }
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(unreachable)?;
        let root = parse(&text)?;
        if root.name == "iq" {
            return Ok(root);
        }
        Err(Error::new(Kind::Protocol, "that is no answer of an admin API").with("address", &self.url))
    }

    /// Sends a command that does no harm when it comes twice, until the server is not busy; its result. A session that ran out is opened
    /// again.
    fn call(&mut self, command: &str, params: &str) -> Result<Element> {
        for wait in BUSY_WAITS {
            match self.call_once(command, params) {
                Err(e) if e.kind().is_transient() => sleep(wait),
                done => return done,
            }
        }
        self.call_once(command, params)
    }

    /// As [`Api::call`], and not again when nobody knows what became of it.
    fn call_once(&mut self, command: &str, params: &str) -> Result<Element> {
        let mut answer = self.post(command, params)?;
        if error_of(&answer) == Some("session_invalid") {
            self.log_in()?;
            answer = self.post(command, params)?;
        }
        if let Some(uid) = error_of(&answer) {
            return Err(Error::new(Kind::Refused, format!("the server refused {command}")).with("answer", uid));
        }
        let query = answer.children.into_iter().find(|c| c.name == "query");
        let result = query.and_then(|q| q.children.into_iter().find(|c| c.name == "result"));
        result.ok_or_else(|| Error::new(Kind::Protocol, format!("the answer to {command} holds no result")))
    }

    /// All items of a list, page by page.
    fn list(&mut self, command: &str, params: &str) -> Result<Vec<Element>> {
        let mut items = Vec::new();
        loop {
            let page = format!("{params}<offset>{}</offset><count>{PAGE}</count>", items.len());
            let result = self.call(command, &page)?;
            let all: usize = result.value("overallcount").parse().unwrap_or(0);
            let before = items.len();
            items.extend(result.children.into_iter().filter(|c| c.name == "item"));
            if items.len() >= all || items.len() == before {
                return Ok(items);
            }
        }
    }

    /// Ends the session; whatever the server answers.
    pub fn log_out(mut self) {
        let _ = self.call("logout", "");
    }
}

fn result_of(answer: &Element) -> Option<&Element> {
    answer.child("query").and_then(|q| q.child("result"))
}

fn applied(result: &Element) -> bool {
    result.text.trim() == "1"
}

/// The error's name, when the answer is one.
fn error_of(answer: &Element) -> Option<&str> {
    if answer.attribute("type") != Some("error") {
        return None;
    }
    let error = answer.child("query").and_then(|q| q.child("error"));
    Some(error.and_then(|e| e.attribute("uid")).unwrap_or("an error without a name"))
}
