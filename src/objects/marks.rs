//! Marks in values at which servers are known to lose some of it: commas and semicolons that one program takes for a part of the text and
//! another for the end of it, and spaces at its ends.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::content::{Component, components, content_lines, text_of};

/// A mark in the value of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// A comma without a backslash.
    Comma,
    /// A comma with one.
    EscapedComma,
    /// A semicolon without a backslash.
    Semicolon,
    /// A space at the beginning or the end.
    OuterSpace,
}

impl Mark {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Mark::Comma => "a comma",
            Mark::EscapedComma => "a comma with a backslash",
            Mark::Semicolon => "a semicolon",
            Mark::OuterSpace => "a space at the beginning or the end",
        }
    }
}

/// The properties of an object that have that mark in their values, by name.
pub fn properties_with(bytes: &[u8], mark: Mark) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Some(lines) = content_lines(&text_of(bytes)) {
        components(&lines).iter().for_each(|top| gather(top, mark, &mut names));
    }
    names
}

fn gather(component: &Component, mark: Mark, names: &mut BTreeSet<String>) {
    let with = component.properties.iter().filter(|property| has(&property.value, mark));
    names.extend(with.map(|property| property.name.clone()));
    component.components.iter().for_each(|inner| gather(inner, mark, names));
}

/// Does a value have the mark?
pub(super) fn has(value: &str, mark: Mark) -> bool {
    if mark == Mark::OuterSpace {
        return !value.trim().is_empty() && value.trim() != value;
    }
    let mut escaped = false;
    value.chars().any(|c| {
        let was_escaped = escaped;
        escaped = c == '\\' && !escaped;
        match mark {
            Mark::Comma => c == ',' && !was_escaped,
            Mark::EscapedComma => c == ',' && was_escaped,
            Mark::Semicolon => c == ';' && !was_escaped,
            Mark::OuterSpace => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_in_values_and_nowhere_else() {
        let event = b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nX-A;P=\"a,b;c\":plain\nX-B:a\\,b\nX-C:a\\\\,b\nURL:x?a;\n b,c\nBEGIN:VALARM\nX-D:1,2\n\
            END:VALARM\nEND:VEVENT\nEND:VCALENDAR\n";
        let names = |mark| properties_with(event, mark).into_iter().collect::<Vec<_>>();
        assert_eq!(names(Mark::Comma), ["URL", "X-C", "X-D"]);
        assert_eq!(names(Mark::EscapedComma), ["X-B"]);
        assert_eq!(names(Mark::Semicolon), ["URL"]);
        assert_eq!(properties_with(b"BEGIN:VCARD\nFN: a\nNOTE:b \nX-C:c\nX-D: \nEND:VCARD\n", Mark::OuterSpace).len(), 2);
    }
}
