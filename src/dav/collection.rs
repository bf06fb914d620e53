//! Collections: what there is below a home, and making one that holds a single kind of item.

use super::client::{Body, Client};
use super::href::same_place;
use super::xml::{self, APPLE, CALDAV, CARDDAV, DAV, Element, SERVER};
use crate::error::Result;

/// What a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectionType {
    /// Events, tasks, journals or notes: see its components.
    Calendar,
    /// Contacts.
    AddressBook,
    /// Plain files.
    Folder,
}

/// A collection as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Path, in percent-encoding.
    pub path: String,
    /// What it is.
    pub is: CollectionType,
    /// Components that it takes, such as `VTODO`; empty where the server does not say.
    pub components: Vec<String>,
    /// Name to show.
    pub display_name: Option<String>,
    /// Colour.
    pub color: Option<String>,
    /// Changes when anything in it does.
    pub ctag: Option<String>,
    /// Bytes of the largest object that it takes, where the server says so (RFC 4791 5.2.5, RFC 6352 6.2.3).
    pub largest: Option<u64>,
}

/// A collection to be made.
#[derive(Clone, Debug)]
pub struct NewCollection<'a> {
    /// What it is.
    pub is: CollectionType,
    /// The one component of a calendar.
    pub component: &'a str,
    /// Name to show.
    pub display_name: &'a str,
    /// Colour, set afterwards.
    pub color: Option<&'a str>,
    /// Description, set afterwards.
    pub description: Option<&'a str>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is new; the properties that the server refused.
    Created(Vec<String>),
    /// Something is there already.
    Exists,
}

const PROPERTIES: &str = "<d:resourcetype/><d:displayname/><c:supported-calendar-component-set/><i:calendar-color/><s:getctag/>\
    <c:max-resource-size/><a:max-resource-size/>";

fn collection(path: String, response: &Element) -> Option<Collection> {
    let (properties, _) = response.properties();
    let get = |space, name| properties.iter().find(|p| p.is(space, name)).copied();
    let text = |space, name| get(space, name).map(|p| p.text.trim().to_owned()).filter(|t| !t.is_empty());
    let kind = get(DAV, "resourcetype").filter(|t| t.child(DAV, "collection").is_some())?;
    let is = if kind.child(CALDAV, "calendar").is_some() {
        CollectionType::Calendar
    } else if kind.child(CARDDAV, "addressbook").is_some() {
        CollectionType::AddressBook
    } else if kind.children.iter().any(|c| c.is(CALDAV, "schedule-inbox") || c.is(CALDAV, "schedule-outbox")) {
        return None;
    } else {
        CollectionType::Folder
    };
    let set = get(CALDAV, "supported-calendar-component-set");
    let components = set.into_iter().flat_map(|s| &s.children).filter_map(|c| c.label.clone()).collect();
    let (display_name, color, ctag) = (text(DAV, "displayname"), text(APPLE, "calendar-color"), text(SERVER, "getctag"));
    let said = text(CALDAV, "max-resource-size").or_else(|| text(CARDDAV, "max-resource-size"));
    let largest = said.and_then(|size| size.parse().ok()).filter(|size| *size > 0);
    Some(Collection { path, is, components, display_name, color, ctag, largest })
}

impl Client {
    /// The collections right below `home`; those of the server's own use (`@@...@@`) are left out.
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Refused` when the server says no.
    pub fn collections(&mut self, home: &str) -> Result<Vec<Collection>> {
        let mut all = Vec::new();
        self.propfind(home, "1", PROPERTIES, &mut |path, response| {
            let own = super::last_name(&path);
            let servers_own = own.starts_with("@@") && own.ends_with("@@");
            if !servers_own && !same_place(&path, home) {
                all.extend(collection(path, &response));
            }
        })?;
        Ok(all)
    }

    /// One collection, when there is one.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn collection(&mut self, path: &str) -> Result<Option<Collection>> {
        let response = match self.properties(path, PROPERTIES) {
            Err(e) if e.kind() == crate::Kind::Refused => return Ok(None),
            response => response?,
        };
        Ok(response.and_then(|r| collection(path.to_owned(), &r)))
    }

    /// Makes a collection with its type and its name, then sets the rest, which a server may refuse.
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Refused` when the server does not make it.
    pub fn make(&mut self, path: &str, new: &NewCollection<'_>) -> Result<Made> {
        let name = format!("<d:displayname>{}</d:displayname>", quick_xml::escape::escape(new.display_name));
        let (method, root, properties) = match new.is {
            CollectionType::Folder => ("MKCOL", "", String::new()),
            CollectionType::AddressBook => {
                ("MKCOL", "d:mkcol", format!("<d:resourcetype><d:collection/><a:addressbook/></d:resourcetype>{name}"))
            }
            CollectionType::Calendar => {
                let component = quick_xml::escape::escape(new.component);
                let set = format!(
                    "<c:supported-calendar-component-set><c:comp name=\"{component}\"/></c:supported-calendar-component-set>"
                );
                ("MKCALENDAR", "c:mkcalendar", name + &set)
            }
        };
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<{root} {}><d:set><d:prop>{properties}</d:prop></d:set></{root}>",
            xml::PREFIXES
        );
        let body = if root.is_empty() { Body::Empty } else { Body::Bytes(xml.as_bytes(), "application/xml; charset=utf-8") };
        let answer = self.send(method, &format!("{}/", path.trim_end_matches('/')), &[], body)?;
        if (200..300).contains(&answer.status) && answer.status != 207 {
            return Ok(Made::Created(self.describe(path, new)?));
        }
        let refusal = answer.refusal(method, path);
        // Servers disagree on the status for a name that is taken, so look.
        if refusal.kind() == crate::Kind::Refused && self.collection(path)?.is_some() { Ok(Made::Exists) } else { Err(refusal) }
    }

    fn describe(&mut self, path: &str, new: &NewCollection<'_>) -> Result<Vec<String>> {
        let (calendar, book) = (new.is == CollectionType::Calendar, new.is == CollectionType::AddressBook);
        let description = if book { "a:addressbook-description" } else { "c:calendar-description" };
        let wanted =
            [("i:calendar-color", new.color.filter(|_| calendar)), (description, new.description.filter(|_| calendar || book))];
        let mut refused = Vec::new();
        for (name, value) in wanted.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            let value = quick_xml::escape::escape(value);
            let xml = format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:propertyupdate {}><d:set><d:prop><{name}>{value}</{name}></d:prop></d:set></d:propertyupdate>",
                xml::PREFIXES
            );
            let answer = self.send("PROPPATCH", path, &[], Body::Bytes(xml.as_bytes(), "application/xml; charset=utf-8"))?;
            let mut bad = answer.status != 207;
            if !bad {
                self.responses(answer, "PROPPATCH", path, &mut |_, r| bad |= !r.properties().1.is_empty())?;
            }
            if bad {
                refused.push(name.split(':').next_back().unwrap_or_default().to_owned());
            }
        }
        Ok(refused)
    }
}
