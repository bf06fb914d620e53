//! Sieve's tests as IceWarp's conditions: one list, joined by "and" or by "or".

use super::super::model::{Condition, Field, Match};
use super::parse::{Argument, Fault, Node};

/// Conditions that are joined in one way; none of them for every message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Joined {
    /// By "and"?
    pub all: bool,
    pub conditions: Vec<Condition>,
}

impl Default for Joined {
    fn default() -> Self {
        Joined { all: true, conditions: Vec::new() }
    }
}

impl Joined {
    fn one(condition: Condition) -> Self {
        Joined { all: true, conditions: vec![condition] }
    }

    /// Joins both, where the result is joined in one way.
    pub fn and(self, other: Joined) -> Result<Joined, Fault> {
        self.join(other, true).ok_or((0, "it mixes 'and' and 'or'".to_owned()))
    }

    fn join(mut self, other: Joined, all: bool) -> Option<Joined> {
        // No conditions mean "always": neutral for "and", and everything for "or".
        match (self.conditions.is_empty(), other.conditions.is_empty()) {
            (true, _) => return Some(if all { other } else { self }),
            (_, true) => return Some(if all { self } else { other }),
            _ => {}
        }
        let fits = |j: &Joined| j.conditions.len() == 1 || j.all == all;
        (fits(&self) && fits(&other)).then(|| {
            self.conditions.extend(other.conditions);
            Joined { all, conditions: self.conditions }
        })
    }
}

/// The conditions under which a test holds.
pub(super) fn positive(test: &Node) -> Result<Joined, Fault> {
    conditions(test, false)
}

/// The conditions under which it does not.
pub(super) fn negated(test: &Node) -> Result<Joined, Fault> {
    conditions(test, true)
}

fn conditions(test: &Node, not: bool) -> Result<Joined, Fault> {
    match test.name.as_str() {
        "true" if !not => Ok(Joined::default()),
        "not" => match test.tests.as_slice() {
            [inner] => conditions(inner, !not),
            _ => Err((test.line, "'not' takes one test".to_owned())),
        },
        "anyof" | "allof" => {
            // What is not "all of them" is "one of them does not".
            let all = (test.name == "allof") != not;
            joined(test, all, test.tests.iter().map(|t| conditions(t, not)))
        }
        "header" | "address" | "envelope" | "body" => words(test, not),
        "size" => size(test, not),
        other => Err((test.line, format!("the test '{}' has no counterpart", crate::model::printable(other)))),
    }
}

fn joined(test: &Node, all: bool, parts: impl Iterator<Item = Result<Joined, Fault>>) -> Result<Joined, Fault> {
    let mut whole: Option<Joined> = None;
    for part in parts {
        let part = part?;
        whole = Some(match whole {
            None => part,
            Some(whole) => whole.join(part, all).ok_or((test.line, "it mixes 'and' and 'or'".to_owned()))?,
        });
    }
    whole.ok_or((test.line, "there is no test in it".to_owned()))
}

fn size(test: &Node, not: bool) -> Result<Joined, Fault> {
    match test.arguments.as_slice() {
        [Argument::Tag(tag), Argument::Number(bytes)] if tag == "over" => {
            Ok(Joined::one(Condition::Larger { bytes: *bytes, not }))
        }
        // "Under n" is "not over n - 1".
        [Argument::Tag(tag), Argument::Number(bytes)] if tag == "under" => {
            Ok(Joined::one(Condition::Larger { bytes: bytes.saturating_sub(1), not: !not }))
        }
        _ => Err((test.line, "a size that is neither over nor under a number".to_owned())),
    }
}

fn words(test: &Node, not: bool) -> Result<Joined, Fault> {
    const VALUED: [&str; 2] = ["comparator", "content"];
    for tag in
        ["user", "detail", "localpart", "domain", "count", "value", "raw", "mime", "index", "last", "anychild", "content", "list"]
    {
        if test.has_tag(tag) {
            return Err((test.line, format!("':{tag}' has no counterpart")));
        }
    }
    if test.text_of("comparator").is_some_and(|c| c != "i;ascii-casemap") {
        return Err((test.line, "a comparator other than i;ascii-casemap".to_owned()));
    }
    let how = match () {
        () if test.has_tag("contains") => Match::Contains,
        () if test.has_tag("matches") => Match::Pattern,
        () if test.has_tag("regex") => Match::Regex,
        () => Match::Equals,
    };
    let texts = test.texts(&VALUED);
    let (fields, values) = match (test.name.as_str(), texts.as_slice()) {
        ("body", [values]) => (vec![Field::Body], *values),
        ("body", _) => return Err((test.line, "a test of the body without a text".to_owned())),
        (kind, [names, values]) => (names.iter().map(|name| field(kind, name)).collect(), *values),
        _ => return Err((test.line, "a test without names and texts".to_owned())),
    };
    if values.iter().any(|v| v.contains("${") || v.is_empty()) {
        return Err((test.line, "a test for a variable or for nothing".to_owned()));
    }
    let each = fields.iter().flat_map(|field| {
        values.iter().map(|value| Ok(Joined::one(Condition::Words { field: field.clone(), how, value: value.clone(), not })))
    });
    // A name or a text that fits is enough; none of them does if each does not.
    joined(test, not, each)
}

fn field(kind: &str, name: &str) -> Field {
    match (kind, name.to_ascii_lowercase().as_str()) {
        ("envelope", "from") => Field::Sender,
        ("envelope", "to") => Field::Recipient,
        (_, "from") => Field::From,
        (_, "to") => Field::To,
        (_, "cc") => Field::Cc,
        (_, "bcc") => Field::Bcc,
        (_, "reply-to") => Field::ReplyTo,
        (_, "subject") => Field::Subject,
        _ => Field::Header(name.to_owned()),
    }
}

/// The first and the last day of `allof (currentdate ge, currentdate le)` or one of the two.
pub(super) fn days(test: &Node) -> Option<(Option<String>, Option<String>)> {
    let parts = if test.name == "allof" { test.tests.as_slice() } else { std::slice::from_ref(test) };
    let mut days = (None, None);
    for part in parts {
        let relation = part.text_of("value")?;
        let texts = part.texts(&["value", "zone", "comparator"]);
        let [[kind], [day]] = texts.as_slice() else { return None };
        if part.name != "currentdate" || kind != "date" || day.parse::<jiff::civil::Date>().is_err() {
            return None;
        }
        match relation {
            "ge" => days.0 = Some(day.clone()),
            "le" => days.1 = Some(day.clone()),
            _ => return None,
        }
    }
    Some(days)
}
