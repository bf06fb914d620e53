//! XML of requests and answers: small trees, read with bounded depth and size.

use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

use crate::error::{Error, Kind, Result};
use crate::model::printable;

/// Deepest answer, and most elements of one.
const DEPTH_MAX: usize = 32;
const ELEMENTS_MAX: usize = 2_000_000;

/// An element of a request or an answer, by local name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name without a namespace.
    pub name: String,
    /// Names and values of its attributes.
    pub attributes: Vec<(String, String)>,
    /// Its text.
    pub text: String,
    /// What is in it.
    pub children: Vec<Element>,
}

impl Element {
    /// One that holds a text.
    pub fn text(name: &str, text: impl Into<String>) -> Self {
        Element { name: name.to_owned(), text: text.into(), ..Element::default() }
    }

    /// One that holds others.
    pub fn of(name: &str, children: Vec<Element>) -> Self {
        Element { name: name.to_owned(), children, ..Element::default() }
    }

    /// A `propertyval` of class TPropertyString.
    pub fn string(text: impl Into<String>) -> Self {
        Element::of("propertyval", vec![Element::text("classname", "TPropertyString"), Element::text("val", text)])
    }

    /// A `propertyval` of class TPropertyStringList.
    pub fn list(items: impl IntoIterator<Item = String>) -> Self {
        let items = items.into_iter().map(|item| Element::text("item", item)).collect();
        Element::of("propertyval", vec![Element::text("classname", "TPropertyStringList"), Element::of("val", items)])
    }

    /// Appends it as XML.
    pub fn write(&self, out: &mut String) {
        let _ = write!(out, "<{}>{}", self.name, escape(&self.text));
        self.children.iter().for_each(|child| child.write(out));
        let _ = write!(out, "</{}>", self.name);
    }

    /// Does this element say all that `wanted` says? What `wanted` leaves empty, and the case of class names, do not matter.
    pub fn says(&self, wanted: &Element) -> bool {
        let texts = match wanted.name.as_str() {
            "classname" => self.text.trim().eq_ignore_ascii_case(wanted.text.trim()),
            _ => self.text.trim() == wanted.text.trim(),
        };
        let items = |e: &Element| e.children.iter().filter(|c| c.name == "item").cloned().collect::<Vec<_>>();
        let (own, want) = (items(self), items(wanted));
        texts
            && own.len() == want.len()
            && own.iter().zip(&want).all(|(own, want)| own.says(want))
            && wanted
                .children
                .iter()
                .filter(|c| c.name != "item" && !c.is_empty())
                .all(|c| self.child(&c.name).is_some_and(|own| own.says(c)))
    }

    fn is_empty(&self) -> bool {
        self.text.trim().is_empty() && self.children.iter().all(Element::is_empty)
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// The text of the first child of that name; empty without one.
    pub fn value(&self, name: &str) -> &str {
        self.child(name).map_or("", |c| c.text.trim())
    }

    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Reads an answer with bounded depth and size. Only the five entities of XML itself are known.
pub(super) fn parse(text: &[u8]) -> Result<Element> {
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

    use super::super::{applied, error_of, result_of};
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

    #[test]
    fn what_was_written_is_compared_by_what_it_says() {
        let wanted = Element::of(
            "rule",
            vec![Element::text("classname", "TRuleX"), Element::text("empty", ""), Element::list(["a".to_owned()])],
        );
        let got = parse(b"<rule><more>1</more><classname>trulex</classname><propertyval><classname>tpropertystringlist</classname><val><item>a</item></val></propertyval></rule>").expect("xml");
        assert!(got.says(&wanted));
        let two = parse(b"<rule><classname>trulex</classname><propertyval><classname>tpropertystringlist</classname><val><item>a</item><item>b</item></val></propertyval></rule>").expect("xml");
        assert!(!two.says(&wanted) && !Element::default().says(&wanted));
        let mut text = String::new();
        Element::text("a", "<&>\"").write(&mut text);
        assert_eq!(parse(text.as_bytes()).expect("xml").text, "<&>\"");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"<iq type=\"result\"><query>", bytes.as_slice(), b"</query></iq>"].concat());
        }
    }
}
