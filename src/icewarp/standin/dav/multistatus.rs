//! Properties: asked for, told in a 207, and kept.

use hyper::StatusCode;

use super::super::http::{Reply, reply};
use super::super::place;
use super::super::xml::Node;
use super::store::{About, Collection, Home, Item, Kind};
use super::{CALDAV, CARDDAV, Target, XML};

const DAV: &str = "DAV:";
const ICEWARP: &str = "http://icewarp.com/ns/";

/// Properties that are kept.
const KEPT: &[&str] = &["displayname", "calendar-description", "calendar-timezone", "addressbook-description"];

/// Properties that are accepted and dropped.
const DROPPED: &[&str] = &["calendar-color", "calendar-order", "addressbook-color"];

/// Keeps a property of a collection; `false` if it is not one that is accepted.
pub(super) fn keep(about: &mut About, property: &Node) -> bool {
    let name = property.name.as_str();
    if KEPT.contains(&name) {
        about.properties.insert(name.to_owned(), property.text.clone());
    }
    KEPT.contains(&name) || DROPPED.contains(&name)
}

/// The properties in the `set` parts of a body.
pub(super) fn set_properties(root: &Node) -> Vec<Node> {
    let sets = root.children.iter().filter(|child| child.name == "set");
    sets.filter_map(|set| set.child("prop")).flat_map(|prop| prop.children.clone()).collect()
}

/// The path of something in a home, as it is written in XML and in headers.
pub(super) fn href(user: &str, path: &str, collection: bool) -> String {
    let mut out = String::from("/webdav/");
    for byte in format!("{user}/{path}").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    if collection && !out.ends_with('/') {
        out.push('/');
    }
    out
}

/// An element in a namespace.
fn element(namespace: &str, name: &str, text: impl Into<String>, children: Vec<Node>) -> Node {
    Node { namespace: namespace.to_owned(), children, ..Node::text(name, text) }
}

fn with_href(namespace: &str, name: &str, href: String) -> Node {
    element(namespace, name, "", vec![element(DAV, "href", href, Vec::new())])
}

/// Writes elements with their namespaces declared where they stand.
fn declared(node: &Node) -> Node {
    let mut out = Node { children: node.children.iter().map(declared).collect(), ..Node::text(&node.name, node.text.clone()) };
    out.attributes.push(("xmlns".into(), node.namespace.clone()));
    out.attributes.extend(node.attributes.iter().cloned());
    out
}

fn response(href: &str, groups: Vec<(Vec<Node>, &str)>) -> Node {
    let mut children = vec![element(DAV, "href", href, Vec::new())];
    for (properties, status) in groups.into_iter().filter(|(properties, _)| !properties.is_empty()) {
        let status = element(DAV, "status", format!("HTTP/1.1 {status}"), Vec::new());
        children.push(element(DAV, "propstat", "", vec![element(DAV, "prop", "", properties), status]));
    }
    element(DAV, "response", "", children)
}

fn multistatus(responses: Vec<Node>) -> Reply {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>");
    declared(&element(DAV, "multistatus", "", responses)).write(&mut text);
    reply(StatusCode::MULTI_STATUS, XML, text)
}

/// A 207 about one thing, all of whose properties fared alike.
pub(super) fn one(href: &str, properties: Vec<Node>, status: &str) -> Reply {
    multistatus(vec![response(href, vec![(properties, status)])])
}

/// What everything has: whose it is.
fn of_user(user: &str) -> Vec<Node> {
    let principal = || href("users", &format!("{user}/"), true);
    vec![
        with_href(DAV, "current-user-principal", principal()),
        with_href(DAV, "principal-URL", principal()),
        with_href(DAV, "owner", principal()),
    ]
}

fn of_principal(user: &str, home: &Home) -> Vec<Node> {
    let home_href = || href(user, "", true);
    let mut properties = of_user(user);
    properties.push(element(DAV, "resourcetype", "", vec![element(DAV, "principal", "", Vec::new())]));
    properties.push(with_href(CALDAV, "calendar-home-set", home_href()));
    properties.push(with_href(CARDDAV, "addressbook-home-set", home_href()));
    for (name, kind) in [
        ("default-calendar-URL", Kind::Events),
        ("default-tasks-URL", Kind::Tasks),
        ("default-journal-URL", Kind::Journal),
        ("default-notes-URL", Kind::Notes),
        ("default-contacts-URL", Kind::Contacts),
        ("default-files-URL", Kind::Files),
    ] {
        properties.push(with_href(ICEWARP, name, href(user, home.default_of(kind), true)));
    }
    properties
}

fn of_folder(user: &str) -> Vec<Node> {
    let mut properties = of_user(user);
    properties.push(element(DAV, "resourcetype", "", vec![element(DAV, "collection", "", Vec::new())]));
    properties
}

fn of_collection(user: &str, path: &str, collection: &Collection) -> Vec<Node> {
    let kind = collection.about.kind;
    let mut types = vec![element(DAV, "collection", "", Vec::new())];
    let mut properties = of_user(user);
    match kind {
        Kind::Files => {}
        Kind::Contacts => types.push(element(CARDDAV, "addressbook", "", Vec::new())),
        _ => types.push(element(CALDAV, "calendar", "", Vec::new())),
    }
    properties.push(element(DAV, "resourcetype", "", types));
    if let Some(component) = kind.component() {
        let comp = Node { attributes: vec![("name".into(), component.into())], ..element(CALDAV, "comp", "", Vec::new()) };
        properties.push(element(CALDAV, "supported-calendar-component-set", "", vec![comp]));
    }
    if !collection.about.properties.contains_key("displayname") {
        properties.push(element(DAV, "displayname", path.rsplit('/').next().unwrap_or(path), Vec::new()));
    }
    for (name, value) in &collection.about.properties {
        let namespace = match name.as_str() {
            "displayname" => DAV,
            "addressbook-description" => CARDDAV,
            _ => CALDAV,
        };
        properties.push(element(namespace, name, value.clone(), Vec::new()));
    }
    properties
}

fn of_item(user: &str, item: &Item) -> Vec<Node> {
    let time = jiff::Timestamp::from_second(item.modified).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let mut properties = of_user(user);
    properties.extend([
        element(DAV, "resourcetype", "", Vec::new()),
        element(DAV, "getetag", item.etag(), Vec::new()),
        element(DAV, "getcontenttype", item.mime.clone(), Vec::new()),
        element(DAV, "getcontentlength", item.size.to_string(), Vec::new()),
        element(DAV, "getlastmodified", time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(), Vec::new()),
        element(DAV, "displayname", item.name.clone(), Vec::new()),
    ]);
    properties
}

/// Sorts what is wanted into what there is and what there is not; nothing wanted means all.
fn answer(href: &str, there: Vec<Node>, wanted: &[Node]) -> Node {
    if wanted.is_empty() {
        return response(href, vec![(there, "200 OK")]);
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for want in wanted {
        match there.iter().find(|property| property.name == want.name && property.namespace == want.namespace) {
            Some(property) => found.push(property.clone()),
            None => missing.push(element(&want.namespace, &want.name, "", Vec::new())),
        }
    }
    response(href, vec![(found, "200 OK"), (missing, "404 Not Found")])
}

/// Does `path` lie directly in `parent`?
fn is_child(parent: &str, path: &str) -> bool {
    path.rsplit_once('/').map_or("", |(above, _)| above) == parent && path != parent
}

pub(super) fn propfind(user: &str, home: &Home, target: &Target, depth: u8, wanted: &[Node]) -> Reply {
    let mut responses = Vec::new();
    let below = match target {
        Target::Root => {
            responses.push(answer("/webdav/", of_folder(user), wanted));
            if depth == 1 {
                responses.push(answer(&href(user, "", true), of_folder(user), wanted));
            }
            None
        }
        Target::Principal => {
            responses.push(answer(&href("users", user, true), of_principal(user, home), wanted));
            None
        }
        Target::Home => {
            responses.push(answer(&href(user, "", true), of_folder(user), wanted));
            Some("")
        }
        Target::Below(path) => match (home.collections.get(path.as_str()), item_at(home, path)) {
            (Some(collection), _) => {
                responses.push(answer(&href(user, path, true), of_collection(user, path, collection), wanted));
                Some(path.as_str())
            }
            (None, Some(item)) => {
                responses.push(answer(&href(user, path, false), of_item(user, item), wanted));
                None
            }
            (None, None) => return super::status(StatusCode::NOT_FOUND),
        },
        Target::Foreign => return super::status(StatusCode::FORBIDDEN),
    };
    if let Some(parent) = below.filter(|_| depth == 1) {
        for (path, collection) in home.collections.iter().filter(|(path, _)| is_child(parent, path)) {
            responses.push(answer(&href(user, path, true), of_collection(user, path, collection), wanted));
        }
        for item in home.collections.get(parent).into_iter().flat_map(|collection| collection.items.values()) {
            responses.push(answer(&href(user, &format!("{parent}/{}", item.name), false), of_item(user, item), wanted));
        }
    }
    multistatus(responses)
}

fn item_at<'a>(home: &'a Home, path: &str) -> Option<&'a Item> {
    let (parent, name) = path.rsplit_once('/')?;
    home.collections.get(parent)?.items.get(name)
}

/// The items that are named, each with its data if that is wanted; one that is not there gets a 404 of its own.
pub(super) fn multiget(user: &str, path: &str, collection: &Collection, hrefs: &[String], wanted: &[Node]) -> Reply {
    let prefix = format!("/webdav/{user}/{path}/");
    let data_wanted = |name: &str| wanted.iter().any(|want| want.name == name);
    let one = |given: &String| {
        let decoded = place::percent_decoded(given).unwrap_or_default();
        let at = decoded.find("/webdav/").unwrap_or(0);
        let item = decoded[at..].strip_prefix(&prefix).and_then(|name| collection.items.get(name));
        let Some(item) = item else {
            let status = element(DAV, "status", "HTTP/1.1 404 Not Found", Vec::new());
            return element(DAV, "response", "", vec![element(DAV, "href", given.clone(), Vec::new()), status]);
        };
        let mut there = of_item(user, item);
        for (namespace, name) in [(CALDAV, "calendar-data"), (CARDDAV, "address-data")] {
            if data_wanted(name) {
                let bytes = collection.file(&item.name).and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
                there.push(element(namespace, name, String::from_utf8_lossy(&bytes), Vec::new()));
            }
        }
        answer(&href(user, &format!("{path}/{}", item.name), false), there, wanted)
    };
    multistatus(hrefs.iter().map(one).collect())
}
