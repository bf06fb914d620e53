//! DAV: collections of calendars, contacts, notes and files, and the items in them.
//!
//! Everybody sees their own home only, under their own password; no administrator acts for others here.

mod content;
mod multistatus;
mod store;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use hyper::http::request::Parts;

pub(super) use self::store::Home;
use self::store::{About, Collection, Kind};
use super::http::{Reply, reply, status};
use super::world::Login;
use super::xml::{self, Node};
use super::{World, locked, place};
use crate::error::Error;

/// The body type of all XML answers.
const XML: &str = "application/xml; charset=utf-8";

/// What a path below `/webdav/` names.
enum Target {
    Root,
    Principal,
    Home,
    /// A collection or an item, by its path in the home.
    Below(String),
    /// Somebody else's, or nobody's.
    Foreign,
}

/// Lets a request in, with its user's address, or says how to answer it and after how long.
pub(super) fn admit(world: &World, head: &Parts) -> Result<String, Box<(Duration, Reply)>> {
    let path = head.uri.path();
    if path.starts_with("/.well-known/caldav") || path.starts_with("/.well-known/carddav") {
        let mut found = status(StatusCode::FOUND);
        found.headers_mut().insert(LOCATION, HeaderValue::from_static("/webdav/"));
        return Err(Box::new((Duration::ZERO, found)));
    }
    if path != "/webdav" && !path.starts_with("/webdav/") {
        return Err(Box::new((Duration::ZERO, status(StatusCode::NOT_FOUND))));
    }
    let mut refusal = status(StatusCode::UNAUTHORIZED);
    refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"IceWarp WebDAV\""));
    let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let text = given.and_then(|given| String::from_utf8(STANDARD.decode(given).ok()?).ok());
    let Some((name, password)) = text.as_deref().and_then(|text| text.split_once(':')) else {
        return Err(Box::new((Duration::ZERO, refusal)));
    };
    match world.login(&name.replacen(['%', '$'], "@", 1), password) {
        Login::Right(address, _) if address.contains('@') => Ok(address),
        Login::Right(..) | Login::Disabled => Err(Box::new((Duration::ZERO, refusal))),
        Login::Wrong(delay) => Err(Box::new((delay, refusal))),
    }
}

/// Answers a request of `user`.
pub(super) fn answer(world: &World, user: &str, head: &Parts, body: &[u8]) -> Reply {
    let Some(path) = place::percent_decoded(head.uri.path()) else { return status(StatusCode::BAD_REQUEST) };
    let Ok(home) = world.home(user) else { return status(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut home = locked(&home);
    let request = Request { world, user, headers: &head.headers, body };
    let target = target(&path, user);
    match (head.method.as_str(), target) {
        ("OPTIONS", _) => options(),
        (_, Target::Foreign) => status(StatusCode::FORBIDDEN),
        ("PROPFIND", target) => request.propfind(&home, &target),
        (method, Target::Below(path)) => request.on_item(method, &mut home, &path).unwrap_or_else(|e| broken(&e)),
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn options() -> Reply {
    let mut options = status(StatusCode::OK);
    options
        .headers_mut()
        .insert("dav", HeaderValue::from_static("1, 3, access-control, calendar-access, addressbook, extended-mkcol"));
    let allow = "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, PROPPATCH, MKCOL, MKCALENDAR, REPORT";
    options.headers_mut().insert("allow", HeaderValue::from_static(allow));
    options
}

fn broken(_: &Error) -> Reply {
    status(StatusCode::INTERNAL_SERVER_ERROR)
}

fn target(path: &str, user: &str) -> Target {
    let path = path.trim_start_matches("/webdav").trim_matches('/');
    if path.is_empty() {
        return Target::Root;
    }
    let own = |path: &str| path.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case(user));
    if let Some(principal) = path.strip_prefix("users/") {
        return if own(principal) && !principal.contains('/') { Target::Principal } else { Target::Foreign };
    }
    match path.split_once('/') {
        _ if !own(path) => Target::Foreign,
        None => Target::Home,
        Some((_, below)) if below.split('/').any(str::is_empty) => Target::Foreign,
        Some((_, below)) => Target::Below(below.to_owned()),
    }
}

/// An error answer of DAV: a status, and the precondition that failed.
fn precondition(code: StatusCode, namespace: &str, name: &str) -> Reply {
    reply(
        code,
        XML,
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><d:error xmlns:d=\"DAV:\"><x:{name} xmlns:x=\"{namespace}\"/></d:error>"
        ),
    )
}

const CALDAV: &str = "urn:ietf:params:xml:ns:caldav";
const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";

struct Request<'a> {
    world: &'a World,
    user: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl Request<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
    }

    fn on_item(&self, method: &str, home: &mut Home, path: &str) -> crate::Result<Reply> {
        Ok(match method {
            "MKCOL" | "MKCALENDAR" => self.make(home, path, method == "MKCALENDAR")?,
            "PUT" => self.put(home, path)?,
            "GET" | "HEAD" => self.get(home, path, method == "GET"),
            "DELETE" => self.delete(home, path)?,
            "PROPPATCH" => self.proppatch(home, path)?,
            "REPORT" => self.report(home, path),
            _ => status(StatusCode::METHOD_NOT_ALLOWED),
        })
    }

    /// The collection and the name of an item in it.
    fn item<'p, 'h>(home: &'h mut Home, path: &'p str) -> Option<(&'h mut Collection, &'p str)> {
        let (parent, name) = path.rsplit_once('/')?;
        Some((home.collections.get_mut(parent)?, name))
    }

    fn make(&self, home: &mut Home, path: &str, calendar: bool) -> crate::Result<Reply> {
        let is_item = Self::item(home, path).is_some_and(|(parent, name)| parent.items.contains_key(name));
        if is_item || home.collections.contains_key(path) {
            return Ok(precondition(StatusCode::FORBIDDEN, "DAV:", "resource-must-be-null"));
        }
        if path.rsplit_once('/').is_some_and(|(parent, _)| !home.collections.contains_key(parent)) {
            return Ok(status(StatusCode::CONFLICT));
        }
        if path.split('/').any(|part| (part.starts_with("@@") && part.ends_with("@@")) || part.chars().any(char::is_control)) {
            return Ok(status(StatusCode::FORBIDDEN));
        }
        let properties = match self.body {
            [] => Vec::new(),
            body => match xml::parse(body) {
                Some(root) => multistatus::set_properties(&root),
                None => return Ok(status(StatusCode::BAD_REQUEST)),
            },
        };
        let Some(kind) = kind_wanted(&properties, calendar) else {
            return Ok(precondition(StatusCode::FORBIDDEN, CALDAV, "supported-calendar-component"));
        };
        if self.world.difficulties.no_note_collections && matches!(kind, Kind::Notes | Kind::Journal) {
            return Ok(precondition(StatusCode::FORBIDDEN, CALDAV, "supported-calendar-component"));
        }
        let mut about = About { kind, properties: Default::default() };
        for property in &properties {
            if !multistatus::keep(&mut about, property)
                && !matches!(property.name.as_str(), "resourcetype" | "supported-calendar-component-set")
            {
                return Ok(status(StatusCode::FORBIDDEN));
            }
        }
        Ok(status(if home.make(path, about)? { StatusCode::CREATED } else { StatusCode::FORBIDDEN }))
    }

    fn put(&self, home: &mut Home, path: &str) -> crate::Result<Reply> {
        let (tallies, d) = (&self.world.tallies, &self.world.difficulties);
        if home.collections.contains_key(path) {
            return Ok(status(StatusCode::METHOD_NOT_ALLOWED));
        }
        let Some((collection, name)) = Self::item(home, path) else { return Ok(status(StatusCode::CONFLICT)) };
        if self.headers.get(CONTENT_LENGTH).is_none() {
            return Ok(status(StatusCode::LENGTH_REQUIRED));
        }
        if tallies.locked.strikes(d.locked) {
            return Ok(status(StatusCode::LOCKED));
        }
        if collection.file(name).is_none() {
            return Ok(status(StatusCode::FORBIDDEN));
        }
        if let Some(refusal) = self.refuses_match(collection.items.get(name).map(store::Item::etag)) {
            return Ok(refusal);
        }
        let existed = collection.items.contains_key(name);
        let kind = collection.about.kind;
        let taken = match content::take(kind, self.header("content-type"), self.body, &d.drop_properties) {
            Ok(taken) => taken,
            Err(content::Refused::Type) => {
                return Ok(precondition(StatusCode::PRECONDITION_FAILED, CALDAV, "supported-calendar-data"));
            }
            Err(content::Refused::Component) => {
                return Ok(precondition(StatusCode::FORBIDDEN, CALDAV, "supported-calendar-component"));
            }
            Err(content::Refused::Several) => {
                return Ok(precondition(StatusCode::FORBIDDEN, CALDAV, "valid-calendar-object-resource"));
            }
            // Nothing usable in it: said to be stored, and is not.
            Err(content::Refused::Nothing) => return Ok(stored(existed, Some("\"deadbeef\""))),
        };
        if tallies.made_up_etag.strikes(d.made_up_etag) {
            return Ok(stored(existed, Some("\"deadbeef\"")));
        }
        if self.world.over_quota_with(self.user, home.bytes, taken.bytes.len() as u64) {
            return Ok(status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        self.store(home, path, taken, existed)
    }

    fn store(&self, home: &mut Home, path: &str, mut taken: content::Taken, existed: bool) -> crate::Result<Reply> {
        let (tallies, d) = (&self.world.tallies, &self.world.difficulties);
        let (altered, dropped) = (tallies.alter_item.strikes(d.alter_item), tallies.drop_item.strikes(d.drop_item));
        let Some((collection, name)) = Self::item(home, path) else { return Ok(status(StatusCode::CONFLICT)) };
        if !taken.attendees.is_empty() && self.mails_attendees() {
            self.world.mailed("invitation", &taken.attendees.join("\n"))?;
            self.world.invite(self.user, &taken.attendees)?;
        }
        if altered {
            content::alter(&mut taken.bytes);
        }
        // A name that Outlook publishes whole calendars under: what was there is deleted.
        if name.ends_with("Calendar.ics") {
            for other in collection.items.keys().cloned().collect::<Vec<_>>() {
                collection.remove(&other)?;
            }
        }
        if !dropped {
            collection.put(name, &taken.mime, &taken.bytes)?;
        }
        let etag = collection.items.get(name).map(store::Item::etag).filter(|_| !taken.changed);
        home.recount();
        Ok(stored(existed, etag.as_deref()))
    }

    fn mails_attendees(&self) -> bool {
        self.world.difficulties.invites || self.header("schedule-reply") != "F"
    }

    fn refuses_match(&self, etag: Option<String>) -> Option<Reply> {
        let listed = |header: &str, etag: &str| header.split(',').any(|given| given.trim() == "*" || given.trim() == etag);
        let (matching, none) = (self.header("if-match"), self.header("if-none-match"));
        let refused = match &etag {
            Some(etag) => (!matching.is_empty() && !listed(matching, etag)) || (!none.is_empty() && listed(none, etag)),
            None => !matching.is_empty(),
        };
        refused.then(|| status(StatusCode::PRECONDITION_FAILED))
    }

    fn get(&self, home: &mut Home, path: &str, with_body: bool) -> Reply {
        let Some((collection, name)) = Self::item(home, path) else { return status(StatusCode::NOT_FOUND) };
        let Some(item) = collection.items.get(name) else { return status(StatusCode::NOT_FOUND) };
        let Some(bytes) = collection.file(name).and_then(|file| std::fs::read(file).ok()) else {
            return status(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let mut got = status(StatusCode::OK);
        let headers = got.headers_mut();
        for (header, value) in [(CONTENT_TYPE, item.mime.clone()), (ETAG, item.etag()), (CONTENT_LENGTH, bytes.len().to_string())]
        {
            headers.extend(HeaderValue::from_str(&value).ok().map(|value| (header, value)));
        }
        if with_body {
            *got.body_mut() = http_body_util::Full::new(bytes.into());
        }
        got
    }

    fn delete(&self, home: &mut Home, path: &str) -> crate::Result<Reply> {
        if let Some(collection) = home.collections.get(path) {
            if home.default_of(collection.about.kind) == path {
                return Ok(status(StatusCode::FORBIDDEN));
            }
            home.remove(path)?;
            return Ok(status(StatusCode::NO_CONTENT));
        }
        let Some((collection, name)) = Self::item(home, path) else { return Ok(status(StatusCode::NOT_FOUND)) };
        let Some(item) = collection.items.get(name) else { return Ok(status(StatusCode::NOT_FOUND)) };
        if let Some(refusal) = self.refuses_match(Some(item.etag())) {
            return Ok(refusal);
        }
        let bytes = collection.file(name).and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
        let attendees = content::attendees(collection.about.kind, &bytes);
        if !attendees.is_empty() && self.mails_attendees() {
            self.world.mailed("cancellation", &attendees.join("\n"))?;
        }
        collection.remove(name)?;
        home.recount();
        Ok(status(StatusCode::NO_CONTENT))
    }

    fn proppatch(&self, home: &mut Home, path: &str) -> crate::Result<Reply> {
        let Some(root) = xml::parse(self.body) else { return Ok(status(StatusCode::BAD_REQUEST)) };
        let Some(collection) = home.collections.get_mut(path) else { return Ok(status(StatusCode::FORBIDDEN)) };
        let properties = multistatus::set_properties(&root);
        let mut about = collection.about.clone();
        let all = properties.iter().all(|property| multistatus::keep(&mut about, property));
        if all {
            collection.about = about;
            collection.save_about()?;
        }
        let bare =
            properties.iter().map(|property| Node { children: Vec::new(), text: String::new(), ..property.clone() }).collect();
        Ok(multistatus::one(&multistatus::href(self.user, path, true), bare, if all { "200 OK" } else { "403 Forbidden" }))
    }

    fn propfind(&self, home: &Home, target: &Target) -> Reply {
        let depth = match self.header("depth") {
            "0" => 0,
            "1" => 1,
            _ => return precondition(StatusCode::FORBIDDEN, "DAV:", "propfind-finite-depth"),
        };
        let wanted = match self.body {
            [] => Some(Vec::new()),
            body => xml::parse(body).map(|root| root.child("prop").map(|prop| prop.children.clone()).unwrap_or_default()),
        };
        let Some(wanted) = wanted else { return status(StatusCode::BAD_REQUEST) };
        multistatus::propfind(self.user, home, target, depth, &wanted)
    }

    fn report(&self, home: &Home, path: &str) -> Reply {
        let Some(root) = xml::parse(self.body) else { return status(StatusCode::BAD_REQUEST) };
        let Some(collection) = home.collections.get(path) else { return status(StatusCode::NOT_FOUND) };
        let wanted = root.child("prop").map(|prop| prop.children.clone()).unwrap_or_default();
        match root.name.as_str() {
            "calendar-multiget" | "addressbook-multiget" => {
                let hrefs = root.children.iter().filter(|child| child.name == "href").map(|href| href.text.trim().to_owned());
                multistatus::multiget(self.user, path, collection, &hrefs.collect::<Vec<_>>(), &wanted)
            }
            "calendar-query" | "addressbook-query" => {
                let names = ["prop-filter", "time-range", "text-match", "is-not-defined"];
                if root.child("filter").is_some_and(|filter| contains_any(filter, &names)) {
                    return precondition(
                        StatusCode::FORBIDDEN,
                        if root.name.starts_with('c') { CALDAV } else { CARDDAV },
                        "supported-filter",
                    );
                }
                let hrefs: Vec<String> =
                    collection.items.keys().map(|name| multistatus::href(self.user, &format!("{path}/{name}"), false)).collect();
                multistatus::multiget(self.user, path, collection, &hrefs, &wanted)
            }
            _ => precondition(StatusCode::FORBIDDEN, "DAV:", "supported-report"),
        }
    }
}

fn contains_any(node: &Node, names: &[&str]) -> bool {
    node.children.iter().any(|child| names.contains(&child.name.as_str()) || contains_any(child, names))
}

fn stored(existed: bool, etag: Option<&str>) -> Reply {
    let mut done = status(if existed { StatusCode::NO_CONTENT } else { StatusCode::CREATED });
    done.headers_mut().extend(etag.and_then(|etag| HeaderValue::from_str(etag).ok()).map(|etag| (ETAG, etag)));
    done
}

/// The kind that a request to make a collection asks for; `None` for one with more or other than one known component.
fn kind_wanted(properties: &[Node], calendar: bool) -> Option<Kind> {
    let resource = properties.iter().find(|property| property.name == "resourcetype");
    let is = |name: &str| resource.is_some_and(|resource| resource.child(name).is_some());
    if is("addressbook") {
        return Some(Kind::Contacts);
    }
    if !calendar && !is("calendar") {
        return Some(Kind::Files);
    }
    let Some(set) = properties.iter().find(|property| property.name == "supported-calendar-component-set") else {
        return Some(Kind::Events);
    };
    match set.children.as_slice() {
        [one] => Kind::of_component(one.attribute("name").unwrap_or_default()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_paths_are_ones_own() {
        let is = |path: &str| match target(path, "a@x") {
            Target::Root => "root".to_owned(),
            Target::Principal => "principal".into(),
            Target::Home => "home".into(),
            Target::Below(path) => path,
            Target::Foreign => "foreign".into(),
        };
        assert_eq!(
            (is("/webdav/"), is("/webdav/users/a@x/"), is("/webdav/A@x/")),
            ("root".into(), "principal".into(), "home".into())
        );
        assert_eq!(
            (is("/webdav/a@x/C/1.ics"), is("/webdav/b@x/C"), is("/webdav/users/b@x/")),
            ("C/1.ics".into(), "foreign".into(), "foreign".into())
        );
        assert_eq!(is("/webdav/a@x/C//1"), "foreign");
    }
}
