//! XML as a tree: small bodies of API and DAV, read with limits and written with everything escaped.
//!
//! Elements go by their local names, with the namespace beside them; text is kept where an element has any.

use quick_xml::NsReader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;
use serde::{Deserialize, Serialize};

/// Deeper trees than this are nobody's request.
const DEPTH_MAX: usize = 32;

/// More elements than this are nobody's request either.
const ELEMENTS_MAX: usize = 200_000;

/// An element: name, text, children. Of a stored property, only these three are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) children: Vec<Node>,
    #[serde(skip)]
    pub(super) namespace: String,
    #[serde(skip)]
    pub(super) attributes: Vec<(String, String)>,
}

impl Node {
    pub(super) fn new(name: &str) -> Self {
        Node { name: name.to_owned(), ..Node::default() }
    }

    pub(super) fn text(name: &str, text: impl Into<String>) -> Self {
        Node { text: text.into(), ..Node::new(name) }
    }

    pub(super) fn of(name: &str, children: Vec<Node>) -> Self {
        Node { children, ..Node::new(name) }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first child of that name, in any case.
    pub(super) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name.eq_ignore_ascii_case(name))
    }

    /// The text of the first child of that name; empty without one.
    pub(super) fn value(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.trim())
    }

    /// Adds the element to `out`.
    pub(super) fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (name, value) in &self.attributes {
            out.push_str(&format!(" {name}=\"{}\"", escape(value.as_str())));
        }
        if self.text.is_empty() && self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        out.push_str(&escape(self.text.as_str()));
        for child in &self.children {
            child.write(out);
        }
        out.push_str(&format!("</{}>", self.name));
    }
}

/// The root element of a document, or `None` if it is not well-formed, too deep or too large.
pub(super) fn parse(document: &[u8]) -> Option<Node> {
    let text = std::str::from_utf8(document).ok()?;
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    let mut open: Vec<Node> = Vec::new();
    for _ in 0..ELEMENTS_MAX {
        let (namespace, event) = reader.read_resolved_event().ok()?;
        let namespace = match namespace {
            ResolveResult::Bound(namespace) => namespace.0.to_owned(),
            _ => String::new(),
        };
        let closed = match event {
            Event::Start(start) if open.len() < DEPTH_MAX => {
                open.push(element(&start, namespace)?);
                continue;
            }
            Event::Empty(start) if open.len() < DEPTH_MAX => element(&start, namespace)?,
            Event::End(_) => open.pop()?,
            Event::Text(text) => {
                push_text(&mut open, &text);
                continue;
            }
            Event::CData(text) => {
                push_text(&mut open, &text);
                continue;
            }
            Event::GeneralRef(reference) => {
                push_text(&mut open, &referred(&reference)?);
                continue;
            }
            Event::Decl(_) | Event::Comment(_) => continue,
            _ => return None,
        };
        match open.last_mut() {
            Some(parent) => parent.children.push(closed),
            None => return Some(closed),
        }
    }
    None
}

fn push_text(open: &mut [Node], text: &str) {
    if let Some(node) = open.last_mut() {
        node.text.push_str(text);
    }
}

fn referred(reference: &BytesRef<'_>) -> Option<String> {
    if let Some(character) = reference.resolve_char_ref().ok()? {
        return Some(character.to_string());
    }
    quick_xml::escape::resolve_xml_entity(reference).map(str::to_owned)
}

fn element(start: &BytesStart<'_>, namespace: String) -> Option<Node> {
    let name = start.local_name().into_inner().to_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        let name = attribute.key.local_name().into_inner().to_owned();
        attributes.push((name, quick_xml::escape::unescape(&attribute.value).ok()?.into_owned()));
    }
    Some(Node { name, namespace, attributes, ..Node::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_local_and_text_is_unescaped_once() {
        let root =
            parse(b"\xef\xbb\xbf<?xml version=\"1.0\"?><d:a xmlns:d=\"DAV:\" x=\"1&amp;2\"><d:b>a&lt;&#98;</d:b><c/></d:a>")
                .expect("tree");
        assert_eq!((root.name.as_str(), root.namespace.as_str(), root.attribute("x")), ("a", "DAV:", Some("1&2")));
        assert_eq!((root.value("B"), root.child("c").is_some()), ("a<b", true));
    }

    #[test]
    fn what_was_written_reads_the_same() {
        let node = Node::of("r", vec![Node::text("v", "<&>\"' \u{e1}"), Node::new("empty")]);
        let mut out = String::new();
        node.write(&mut out);
        assert_eq!(parse(out.as_bytes()).expect("tree"), node);
    }

    #[test]
    fn deep_broken_and_entity_documents_are_refused() {
        let bomb = b"<!DOCTYPE a [<!ENTITY b \"bbbb\">]><a>&b;</a>".to_vec();
        for bad in [b"<a>".repeat(100_000), b"<a".to_vec(), b"<a></b>".to_vec(), b"\xff<a/>".to_vec(), Vec::new(), bomb] {
            assert!(parse(&bad).is_none());
        }
    }
}
