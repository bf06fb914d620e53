//! The client of IceWarp's HTTP/XML admin API: one session, the calls that a migration needs.
//!
//! A result of 0 arrives as a success and means "not applied": whoever writes something looks afterwards whether it is there. A session
//! that ran out is opened again once. A refused password is never sent twice: the server holds such clients up for longer each time.

use std::fmt::Write as _;
use std::time::Duration;

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

use crate::error::{Error, Kind, Result};
use crate::model::printable;
use crate::net::{Address, Secret, Trust};

/// Wrong logins are answered after half a minute and more.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Deepest answer, and most elements of one.
const DEPTH_MAX: usize = 32;
const ELEMENTS_MAX: usize = 2_000_000;
/// Accounts asked for at a time.
const PAGE: usize = 200;

/// An element of an answer, by local name.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    fn value(&self, name: &str) -> &str {
        self.child(name).map_or("", |c| c.text.trim())
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// A property to be set, with its text.
pub type Property<'a> = (&'a str, &'a str);

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
        api.log_in()?;
        Ok(api)
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

    /// Sends a command and gives its result; a session that ran out is opened again once.
    fn call(&mut self, command: &str, params: &str) -> Result<Element> {
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

    /// Names of all domains.
    ///
    /// # Errors
    /// As every call.
    pub fn domains(&mut self) -> Result<Vec<String>> {
        let items = self.list("getdomainsinfolist", "<filter><namemask>*</namemask></filter>")?;
        Ok(items.iter().map(|i| i.value("name").to_lowercase()).collect())
    }

    /// Makes a domain; was it applied?
    ///
    /// # Errors
    /// As every call.
    pub fn create_domain(&mut self, domain: &str) -> Result<bool> {
        let params = format!("<domainstr>{}</domainstr><domainproperties/>", escape(domain));
        self.call("createdomain", &params).map(|result| applied(&result))
    }

    /// Addresses of the accounts of a domain whose name or address fits `mask`; `*` for all.
    ///
    /// # Errors
    /// As every call.
    pub fn accounts(&mut self, domain: &str, mask: &str) -> Result<Vec<String>> {
        let params = format!("<domainstr>{}</domainstr><filter><namemask>{}</namemask></filter>", escape(domain), escape(mask));
        let items = self.list("getaccountsinfolist", &params)?;
        Ok(items.iter().map(|i| i.value("email").to_lowercase()).collect())
    }

    /// Makes a user account; was it applied? A 0 may mean a licence that is used up, or an alias that is taken.
    ///
    /// # Errors
    /// As every call.
    pub fn create_account(&mut self, domain: &str, properties: &[Property<'_>]) -> Result<bool> {
        let mut params = format!("<domainstr>{}</domainstr><accountproperties>", escape(domain));
        for (name, value) in properties {
            // Writing to a String cannot fail.
            let _ = write!(
                params,
                "<item><apiproperty><propname>{name}</propname></apiproperty><propertyval><classname>TPropertyString</classname>\
                 <val>{}</val></propertyval></item>",
                escape(*value)
            );
        }
        params.push_str("</accountproperties>");
        self.call("createaccount", &params).map(|result| applied(&result))
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

/// Reads an answer with bounded depth and size. Only the five entities of XML itself are known.
fn parse(text: &[u8]) -> Result<Element> {
    let broken = |why: &str| Error::new(Kind::Protocol, "the server's answer is no sound XML").with("why", printable(why));
    let text = std::str::from_utf8(text).map_err(|_| broken("it is not UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    let mut count = 0;
    loop {
        let event = reader.read_event().map_err(|e| broken(&e.to_string()))?;
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            count += 1;
            if count > ELEMENTS_MAX || open.len() > DEPTH_MAX {
                return Err(broken("it is too deep or too large"));
            }
        }
        match event {
            Event::Start(start) => open.push(element(&start).ok_or_else(|| broken("an attribute makes no sense"))?),
            Event::Empty(start) => {
                let empty = element(&start).ok_or_else(|| broken("an attribute makes no sense"))?;
                if let Some(parent) = open.last_mut() {
                    parent.children.push(empty);
                }
            }
            Event::End(_) => {
                if let (Some(done), Some(parent)) = (open.pop(), open.last_mut()) {
                    parent.children.push(done);
                }
            }
            Event::Text(text) => push_text(&mut open, &text),
            Event::CData(text) => push_text(&mut open, &text),
            Event::GeneralRef(entity) => {
                let escaped = format!("&{};", &*entity);
                push_text(&mut open, &quick_xml::escape::unescape(&escaped).map_err(|e| broken(&e.to_string()))?);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let mut roots = open.swap_remove(0).children.into_iter();
    roots.next().ok_or_else(|| broken("it is empty"))
}

fn push_text(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn element(start: &quick_xml::events::BytesStart<'_>) -> Option<Element> {
    let name = start.local_name().as_ref().to_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        let value = quick_xml::escape::unescape(&attribute.value).ok()?.into_owned();
        attributes.push((attribute.key.local_name().as_ref().to_owned(), value));
    }
    Some(Element { name, attributes, ..Element::default() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_error_is_told_by_its_name_whatever_the_namespace() {
        let answer = parse(b"<iq type=\"error\"><query><error uid=\"account_invalid\"/></query></iq>").expect("xml");
        assert_eq!(error_of(&answer), Some("account_invalid"));
        let answer = parse(b"<x:iq xmlns:x='y' type=\"result\"><query xmlns='admin:iq:rpc'><result>1</result></query></x:iq>")
            .expect("xml");
        assert!(error_of(&answer).is_none() && result_of(&answer).is_some_and(applied));
    }

    #[test]
    fn texts_keep_their_entities_and_bombs_are_refused() {
        let answer = parse(b"<iq><a>x &amp; &#228; <![CDATA[<y>]]></a></iq>").expect("xml");
        assert_eq!(answer.value("a"), "x & \u{e4} <y>");
        assert!(parse(b"<!DOCTYPE a [<!ENTITY b 'cc'>]><iq>&b;</iq>").is_err());
        assert!(parse("<a>".repeat(100).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"<iq type=\"result\"><query>", bytes.as_slice(), b"</query></iq>"].concat());
        }
    }
}
