//! XML of answers: trees of bounded depth and size, with no entities but the five, and text for requests.

use std::io::BufRead;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use crate::error::{Error, Kind, Result};

pub(super) const DAV: &str = "DAV:";
pub(super) const CALDAV: &str = "urn:ietf:params:xml:ns:caldav";
pub(super) const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";
pub(super) const APPLE: &str = "http://apple.com/ns/ical/";
pub(super) const SERVER: &str = "http://calendarserver.org/ns/";
pub(super) const ICEWARP: &str = "http://icewarp.com/ns/";
/// The prefixes of all of them, for the root element of a request.
pub(super) const PREFIXES: &str = "xmlns:d=\"DAV:\" xmlns:c=\"urn:ietf:params:xml:ns:caldav\" \
     xmlns:a=\"urn:ietf:params:xml:ns:carddav\" xmlns:i=\"http://apple.com/ns/ical/\" \
     xmlns:s=\"http://calendarserver.org/ns/\" xmlns:w=\"http://icewarp.com/ns/\"";

const MAX_DEPTH: usize = 32;
/// Elements of one child of the root, and of an answer without a `response` around them.
const MAX_ELEMENTS: usize = 10_000;

/// An element.
#[derive(Debug, Default)]
pub(super) struct Element {
    space: String,
    name: String,
    /// Its attribute `name`, the only one that CalDAV looks at.
    pub label: Option<String>,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub fn is(&self, space: &str, name: &str) -> bool {
        self.name == name && self.space == space
    }

    /// Its name without its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn child(&self, space: &str, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.is(space, name))
    }

    /// The text of its `href`.
    pub fn href(&self) -> Option<&str> {
        self.child(DAV, "href").map(|h| h.text.trim())
    }

    /// The properties that an answer gives with status 200, and those that it gives with another.
    pub fn properties(&self) -> (Vec<&Element>, Vec<&Element>) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for stat in self.children.iter().filter(|c| c.is(DAV, "propstat")) {
            let status = stat.child(DAV, "status").map_or(200, |s| status_of(&s.text));
            let into = if (200..300).contains(&status) { &mut good } else { &mut bad };
            into.extend(stat.child(DAV, "prop").into_iter().flat_map(|p| &p.children));
        }
        (good, bad)
    }

    /// The status of a response as a whole.
    pub fn status(&self) -> u16 {
        self.child(DAV, "status").map_or(200, |s| status_of(&s.text))
    }
}

/// The number in `HTTP/1.1 404 Not Found`.
fn status_of(line: &str) -> u16 {
    line.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn malformed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(Kind::Protocol, "the server's answer is not well-formed XML").because(cause)
}

fn too_much(what: &str) -> Error {
    Error::new(Kind::Protocol, format!("the server's answer has more {what} than any answer should"))
}

/// Reads a document and hands each child of its root to `each`, one at a time; the root without them.
///
/// # Errors
/// `Kind::Protocol` for what is not XML, goes too deep, has too many elements or uses entities of its own; what `each` gives.
pub(super) fn children(from: impl BufRead, each: &mut dyn FnMut(Element) -> Result<()>) -> Result<Element> {
    let mut reader = NsReader::from_reader(from);
    reader.config_mut().expand_empty_elements = true;
    let (mut buffer, mut open, mut elements) = (Vec::new(), Vec::<Element>::new(), 0);
    loop {
        buffer.clear();
        let (space, event) = reader.read_resolved_event_into(&mut buffer).map_err(malformed)?;
        match event {
            Event::Start(start) => {
                elements += 1;
                if elements > MAX_ELEMENTS {
                    return Err(too_much("elements"));
                }
                if open.len() >= MAX_DEPTH {
                    return Err(too_much("levels"));
                }
                open.push(element(&space, &start)?);
            }
            Event::End(_) => match (open.pop(), open.len()) {
                (Some(root), 0) => return Ok(root),
                (Some(child), 1) => {
                    elements = 0;
                    each(child)?;
                }
                (Some(child), _) => {
                    if let Some(parent) = open.last_mut() {
                        parent.children.push(child);
                    }
                }
                (None, _) => return Err(malformed("an end without a start")),
            },
            Event::Text(text) => push(&mut open, &text.xml10_content()),
            Event::CData(text) => push(&mut open, &text.xml10_content()),
            Event::GeneralRef(name) => push(&mut open, &entity(&name)?),
            Event::DocType(_) => return Err(too_much("document types")),
            Event::Eof => return Err(malformed("it ends in the middle")),
            _ => {}
        }
    }
}

fn push(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn element(space: &ResolveResult<'_>, start: &BytesStart<'_>) -> Result<Element> {
    let space = match space {
        ResolveResult::Bound(space) => space.0.to_owned(),
        _ => String::new(),
    };
    let label = start.try_get_attribute("name").map_err(malformed)?;
    let label = label
        .map(|a| a.normalized_value(XmlVersion::Implicit1_0).map(std::borrow::Cow::into_owned))
        .transpose()
        .map_err(malformed)?;
    Ok(Element { space, name: start.local_name().as_ref().to_owned(), label, ..Element::default() })
}

/// One of the five entities of XML, or a character by its number.
fn entity(name: &BytesRef<'_>) -> Result<String> {
    if let Some(c) = name.resolve_char_ref().map_err(malformed)? {
        return Ok(c.to_string());
    }
    let known = resolve_xml_entity(&name.xml10_content()).map(str::to_owned);
    known.ok_or_else(|| malformed("it uses an entity of its own"))
}

/// A whole document as a tree.
pub(super) fn tree(from: impl BufRead) -> Result<Element> {
    let mut all = Vec::new();
    let mut root = children(from, &mut |child| {
        all.push(child);
        if all.len() > MAX_ELEMENTS { Err(too_much("elements")) } else { Ok(()) }
    })?;
    root.children = all;
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_found_whatever_their_prefixes() {
        let text = r#"<?xml version="1.0"?><x:multistatus xmlns:x="DAV:"><x:response><x:href>/a&amp;b&#x20;</x:href><x:propstat>
            <x:prop><getetag xmlns="DAV:">"1"</getetag></x:prop><x:status>HTTP/1.1 200 OK</x:status></x:propstat><x:propstat>
            <x:prop><x:owner/></x:prop><x:status>HTTP/1.1 404 Not Found</x:status></x:propstat></x:response></x:multistatus>"#;
        let root = tree(text.as_bytes()).expect("tree");
        let (good, bad) = root.children[0].properties();
        assert_eq!((root.children[0].href(), good[0].text.as_str(), bad[0].name()), (Some("/a&b"), "\"1\"", "owner"));
        assert!(root.is(DAV, "multistatus") && good[0].is(DAV, "getetag"));
    }

    #[test]
    fn depth_elements_and_entities_are_bounded() {
        let deep = "<a>".repeat(1_000_000);
        let wide = format!("<r><c>{}</c></r>", "<a/>".repeat(MAX_ELEMENTS + 1));
        let bomb = r#"<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>"#;
        for text in [deep.as_str(), &wide, bomb, "<a>&b;</a>", "<a>", "", "x", "<a></b>", "<a b=\"1\" b='2'><"] {
            let error = tree(text.as_bytes()).expect_err("refused");
            assert_eq!(error.kind(), Kind::Protocol, "{error}");
        }
    }
}
