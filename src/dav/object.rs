//! Objects in a collection: listed, put where nothing is, read, read many at once, removed.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::CollectionType;
use super::client::{Body, Client};
use super::href::same_place;
use super::xml::{self, CALDAV, CARDDAV, DAV};
use crate::error::{Error, Kind, Result};

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
    /// When it was last modified, as the server says.
    pub modified: Option<Timestamp>,
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

/// On what condition a PUT stores.
#[derive(Clone, Copy, Debug)]
pub enum When<'a> {
    /// Nothing is there.
    New,
    /// What is there still has this tag.
    Still(&'a str),
}

/// What became of a PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// Stored, with the tag that the server gives it; read it back.
    Stored(Option<String>),
    /// Something has this name already.
    Exists,
    /// What is there is not what it was.
    Differs,
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
        self.propfind(
            collection,
            "1",
            "<d:getetag/><d:getcontentlength/><d:getlastmodified/><d:resourcetype/>",
            &mut |path, response| {
                let (properties, _) = response.properties();
                let get = |name| properties.iter().find(|p| p.is(DAV, name));
                let text = |name| get(name).map(|p| p.text.trim().to_owned()).filter(|t| !t.is_empty());
                if !same_place(&path, collection) && response.status() < 300 {
                    all.push(Entry {
                        path,
                        etag: text("getetag"),
                        size: text("getcontentlength").and_then(|t| t.parse().ok()),
                        modified: text("getlastmodified").and_then(|t| http_date(&t)),
                        is_collection: get("resourcetype").is_some_and(|t| t.child(DAV, "collection").is_some()),
                    });
                }
            },
        )?;
        Ok(all)
    }

    /// Stores a resource where none is. No invitation leaves.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn put_new(&mut self, path: &str, body: Body<'_>) -> Result<Put> {
        self.put(path, body, When::New, None)
    }

    /// Stores a resource on a condition, with the modification time that some servers keep. No invitation leaves.
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Refused` when the server says no for another reason than a name or UID that is taken.
    pub fn put(&mut self, path: &str, body: Body<'_>, when: When<'_>, modified: Option<Timestamp>) -> Result<Put> {
        let modified = modified.map(|at| at.as_second().to_string());
        let mut headers = vec![NO_INVITATIONS];
        headers.push(match when {
            When::New => ("If-None-Match", "*"),
            When::Still(etag) => ("If-Match", etag),
        });
        headers.extend(modified.as_deref().map(|seconds| ("X-OC-Mtime", seconds)));
        let answer = self.send("PUT", path, &headers, body)?;
        match answer.status {
            200..=299 => Ok(Put::Stored(answer.etag)),
            403 | 409 | 412 => {
                let status = answer.status;
                let (condition, href) = answer.precondition();
                match condition.as_deref() {
                    Some("no-uid-conflict" | "unique-scheduling-object-resource") => {
                        Ok(Put::UidTaken(href.and_then(|href| self.path_of(&href).ok())))
                    }
                    None if status == 412 => Ok(match when {
                        When::New => Put::Exists,
                        When::Still(_) => Put::Differs,
                    }),
                    Some("resource-must-be-null") => Ok(Put::Exists),
                    other => Err(refused(status, other, path)),
                }
            }
            _ => Err(answer.refusal("PUT", path)),
        }
    }

    /// Stores a resource where none is, and says whether it is there; `false` when the server refuses it for its size. No invitation leaves.
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Refused` when the server says no for another reason.
    pub fn takes(&mut self, path: &str, body: Body<'_>) -> Result<bool> {
        let answer = self.send("PUT", path, &[NO_INVITATIONS, ("If-None-Match", "*")], body)?;
        match answer.status {
            200..=299 => Ok(true),
            413 => Ok(false),
            status @ (403 | 409 | 412) => match answer.precondition().0.as_deref() {
                Some("max-resource-size") => Ok(false),
                // The answer to an earlier try was lost.
                None if status == 412 => Ok(true),
                other => Err(refused(status, other, path)),
            },
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

    /// Copies a resource's bytes as they come, and gives their number and the tag; nothing when there is none.
    ///
    /// # Errors
    /// As [`Client::send`]; `Kind::Unreachable` when the answer breaks off.
    pub fn get_to(&mut self, path: &str, out: &mut dyn std::io::Write) -> Result<Option<(u64, Option<String>)>> {
        let answer = self.send("GET", path, &[], Body::Empty)?;
        match answer.status {
            200 => {
                let etag = answer.etag.clone();
                let copied = std::io::copy(&mut answer.reader(), out);
                let bytes = copied.map_err(|e| Error::new(Kind::Unreachable, "the server's answer broke off").because(e))?;
                Ok(Some((bytes, etag)))
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

/// The error of a PUT that was refused with a condition, or without a word.
fn refused(status: u16, condition: Option<&str>, path: &str) -> Error {
    let why = crate::model::printable(condition.unwrap_or("no reason given"));
    Error::new(Kind::Refused, format!("PUT: refused, {why}")).with("status", status).with("path", path)
}

/// A date as HTTP writes it (RFC 9110 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read() {
        assert_eq!(http_date("Tue, 22 May 2018 14:06:46 GMT"), "2018-05-22T14:06:46Z".parse().ok());
        assert_eq!(http_date("yesterday"), None);
    }
}
