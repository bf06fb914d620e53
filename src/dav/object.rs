//! Objects in a collection: listed, put where nothing is, read, read many at once, removed.

use std::fmt::Write as _;

use super::CollectionType;
use super::client::{Body, Client};
use super::href::same_place;
use super::xml::{self, CALDAV, CARDDAV, DAV};
use crate::error::{Kind, Result};

/// Objects asked for in one multiget.
const BATCH: usize = 50;
/// Keeps a server from mailing invitations or cancellations to attendees (RFC 6638 8.1).
const NO_INVITATIONS: (&str, &str) = ("Schedule-Reply", "F");

/// A resource in a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path, in percent-encoding.
    pub path: String,
    /// Entity tag.
    pub etag: Option<String>,
    /// Bytes, where the server says.
    pub size: Option<u64>,
    /// It is a collection itself.
    pub is_collection: bool,
}

/// A resource with what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Path, in percent-encoding.
    pub path: String,
    /// Entity tag.
    pub etag: Option<String>,
    /// Its bytes. Out of a multiget they have gone through XML, which makes every line end a single LF.
    pub bytes: Vec<u8>,
}

/// What became of a PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// Stored, with the tag that the server gives it; read it back.
    Stored(Option<String>),
    /// Something has this name already.
    Exists,
    /// Something else has this UID already, and where the server says so, which.
    UidTaken(Option<String>),
}

impl Client {
    /// What lies right in a collection.
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Refused` when the server says no.
    pub fn list(&mut self, collection: &str) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        self.propfind(collection, "1", "<d:getetag/><d:getcontentlength/><d:resourcetype/>", &mut |path, response| {
            let (properties, _) = response.properties();
            let get = |name| properties.iter().find(|p| p.is(DAV, name));
            let text = |name| get(name).map(|p| p.text.trim().to_owned()).filter(|t| !t.is_empty());
            if !same_place(&path, collection) && response.status() < 300 {
                all.push(Entry {
                    path,
                    etag: text("getetag"),
                    size: text("getcontentlength").and_then(|t| t.parse().ok()),
                    is_collection: get("resourcetype").is_some_and(|t| t.child(DAV, "collection").is_some()),
                });
            }
        })?;
        Ok(all)
    }

    /// Stores a resource where none is. No invitation leaves.
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Refused` when the server says no for another reason than a name or UID that is taken.
    pub fn put_new(&mut self, path: &str, body: Body<'_>) -> Result<Put> {
        let answer = self.send("PUT", path, &[("If-None-Match", "*"), NO_INVITATIONS], body)?;
        match answer.status {
            200..=299 => Ok(Put::Stored(answer.etag)),
            403 | 409 | 412 => {
                let status = answer.status;
                let (condition, href) = answer.precondition();
                match condition.as_deref() {
                    Some("no-uid-conflict" | "unique-scheduling-object-resource") => {
                        Ok(Put::UidTaken(href.and_then(|href| self.path_of(&href).ok())))
                    }
                    None if status == 412 => Ok(Put::Exists),
                    Some("resource-must-be-null") => Ok(Put::Exists),
                    other => {
                        let why = crate::model::printable(other.unwrap_or("no reason given"));
                        Err(crate::Error::new(Kind::Refused, format!("PUT: refused, {why}"))
                            .with("status", status)
                            .with("path", path))
                    }
                }
            }
            _ => Err(answer.refusal("PUT", path)),
        }
    }

    /// A resource's bytes, or nothing when there is none.
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Protocol` when there are more than `max_bytes`.
    pub fn get(&mut self, path: &str, max_bytes: u64) -> Result<Option<Object>> {
        let answer = self.send("GET", path, &[], Body::Empty)?;
        match answer.status {
            200 => {
                let etag = answer.etag.clone();
                Ok(Some(Object { path: path.to_owned(), etag, bytes: answer.bytes(max_bytes)? }))
            }
            404 | 410 => Ok(None),
            _ => Err(answer.refusal("GET", path)),
        }
    }

    /// Many objects of a calendar or address book, in batches (RFC 4791 7.9, RFC 6352 8.7).
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Refused` when the server does not know the report.
    pub fn multiget(
        &mut self,
        collection: &str,
        is: CollectionType,
        paths: &[String],
        each: &mut dyn FnMut(Object),
    ) -> Result<()> {
        let (root, data, space, name) = match is {
            CollectionType::AddressBook => ("a:addressbook-multiget", "a:address-data", CARDDAV, "address-data"),
            _ => ("c:calendar-multiget", "c:calendar-data", CALDAV, "calendar-data"),
        };
        for batch in paths.chunks(BATCH) {
            let hrefs = batch.iter().fold(String::new(), |mut all, path| {
                let _ = write!(all, "<d:href>{}</d:href>", quick_xml::escape::escape(path.as_str()));
                all
            });
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<{root} {}><d:prop><d:getetag/><{data}/></d:prop>{hrefs}</{root}>",
                xml::PREFIXES
            );
            let headers = [("Depth", "1")];
            let answer =
                self.send("REPORT", collection, &headers, Body::Bytes(body.as_bytes(), "application/xml; charset=utf-8"))?;
            self.responses(answer, "REPORT", collection, &mut |path, response| {
                let (properties, _) = response.properties();
                if let Some(data) = properties.iter().find(|p| p.is(space, name)) {
                    let etag = properties.iter().find(|p| p.is(DAV, "getetag")).map(|p| p.text.trim().to_owned());
                    each(Object { path, etag, bytes: data.text.clone().into_bytes() });
                }
            })?;
        }
        Ok(())
    }

    /// Removes a resource, if it still is the one with this tag. No cancellation leaves. `false` when nothing was there.
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Refused` when it changed since, or the server says no.
    pub fn delete(&mut self, path: &str, etag: Option<&str>) -> Result<bool> {
        let mut headers = vec![NO_INVITATIONS];
        headers.extend(etag.map(|etag| ("If-Match", etag)));
        let answer = self.send("DELETE", path, &headers, Body::Empty)?;
        match answer.status {
            200..=299 => Ok(true),
            404 | 410 => Ok(false),
            _ => Err(answer.refusal("DELETE", path)),
        }
    }
}
