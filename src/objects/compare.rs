//! Do two texts say the same? Property by property: written otherwise, by which rule; or changed, and what.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

use super::content::{Component, components, content_lines, text_of};
use super::fit::made_uid;
use super::note::Keep;
use super::value::{Meaning, Value};

/// How a server may write an object otherwise without changing what it says; the further below, the further it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Line ends and folds.
    LineEnds,
    /// Order of properties.
    Order,
    /// Escapes, encodings, case of names, lists in one line or several.
    Written,
    /// What was written against the rules and says the same when it is mended.
    Mended,
    /// Properties that say nothing came or went.
    Empty,
    /// What the one who stores an object sets: PRODID, DTSTAMP, LAST-MODIFIED, REV.
    Stamps,
    /// A time zone of the IANA database that goes by its name alone.
    ZoneByName,
    /// Properties of the server's own (`X-`) came in.
    Added,
    /// No METHOD.
    Method,
    /// A DTSTAMP where there was none.
    Stamp,
    /// A UID where there was none.
    Uid,
    /// A name to show where there was none.
    Name,
    /// A card of version 3.0.
    Card3,
    /// A title where there was none.
    Title,
    /// A vNote.
    Keep,
}

impl Rule {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Rule::LineEnds => "lines are folded or end otherwise (RFC 5545 3.1)",
            Rule::Order => "properties stand in another order",
            Rule::Written => "values are written otherwise: escapes, encodings, case of names, lists, defaults, units of time",
            Rule::Mended => {
                "what was against the rules is mended: VALUE of a date, spaces around numbers, dates and identifiers, backslashes in addresses"
            }
            Rule::Empty => "properties that say nothing came or went",
            Rule::Stamps => "PRODID, DTSTAMP, LAST-MODIFIED or REV were set by the server that stores it",
            Rule::ZoneByName => "a time zone of the IANA database goes by its name (RFC 7809)",
            Rule::Added => "the server added properties of its own (X-)",
            Rule::Method => "METHOD was taken away, which stored objects must not have (RFC 4791 4.1)",
            Rule::Stamp => "it got a DTSTAMP, which every component must have (RFC 5545 3.6.1)",
            Rule::Uid => "it got a UID, which every stored object must have (RFC 4791 4.1, RFC 6352 5.1)",
            Rule::Name => "it got a name to show, which every card must have (RFC 2426 3.1.1)",
            Rule::Card3 => "the card became one of version 3.0 (RFC 2426)",
            Rule::Title => "the note got its first line as title",
            Rule::Keep => "the note of Google Keep became a vNote (IrMC 1.1)",
        }
    }
}

/// A property that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PropertyChange {
    /// Components and name: `VEVENT/VALARM/TRIGGER`.
    pub name: String,
    /// As it was; none for one that is new.
    pub expected: Option<String>,
    /// As it is; none for one that is gone.
    pub found: Option<String>,
}

/// What comparing two texts gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// The same bytes.
    Identical,
    /// The same content, by the rule that reaches furthest.
    Equivalent(Rule),
    /// Not the same.
    Changed(Vec<PropertyChange>),
}

/// Properties that are the storing server's to set.
const STAMPS: &[&str] = &["PRODID", "DTSTAMP", "LAST-MODIFIED", "REV"];

/// Compares an object with what became of it.
pub fn compare(expected: &[u8], found: &[u8]) -> Likeness {
    if expected == found {
        return Likeness::Identical;
    }
    if let Some(keep) = Keep::of(expected) {
        return compare_keep(&keep, expected, found);
    }
    let whole = |bytes: &[u8]| Some(format!("{} bytes", bytes.len()));
    let unreadable =
        || Likeness::Changed(vec![PropertyChange { name: String::new(), expected: whole(expected), found: whole(found) }]);
    let (Some(mut a), Some(mut b)) = (content_lines(&text_of(expected)), content_lines(&text_of(found))) else {
        return unreadable();
    };
    let (left, right) = (components(&a), components(&b));
    if left.is_empty() {
        return unreadable();
    }
    let mut finding = Finding { rule: Rule::LineEnds, changes: Vec::new() };
    if a != b {
        a.sort_unstable();
        b.sort_unstable();
        finding.rule = if a == b { Rule::Order } else { Rule::Written };
    }
    finding.components("", &left, &right);
    if finding.changes.is_empty() { Likeness::Equivalent(finding.rule) } else { Likeness::Changed(finding.changes) }
}

/// Compares a note of Google Keep with what became of the vNote that was made of it.
fn compare_keep(keep: &Keep, expected: &[u8], found: &[u8]) -> Likeness {
    let mut changes = keep.left_out();
    if let Likeness::Changed(more) = compare(keep.note(&made_uid(expected)).as_bytes(), found) {
        changes.extend(more);
    }
    if changes.is_empty() { Likeness::Equivalent(Rule::Keep) } else { Likeness::Changed(changes) }
}

struct Finding {
    rule: Rule,
    changes: Vec<PropertyChange>,
}

/// Everything that a component says, for finding its like.
type Sum = (Vec<Meaning>, Vec<String>);

impl Finding {
    fn by(&mut self, rule: Rule) {
        self.rule = self.rule.max(rule);
    }

    /// Pairs components by what they are, then by what they say, then in their order.
    fn components(&mut self, above: &str, expected: &[Component], found: &[Component]) {
        let mut groups: BTreeMap<Identity, [Vec<(Sum, &Component)>; 2]> = BTreeMap::new();
        for (side, all) in [expected, found].into_iter().enumerate() {
            for component in all {
                groups.entry(identity(component)).or_default()[side].push((sum(component), component));
            }
        }
        for ((name, _), [left, right]) in groups {
            let (left, right) = unpaired(left, right);
            let path = if above.is_empty() { name } else { format!("{above}/{name}") };
            let pairs = left.len().min(right.len());
            for (a, b) in left.iter().zip(&right) {
                self.properties(&path, a, b);
                // A wrapper says nothing itself.
                let inside = if path == "VCALENDAR" { "" } else { path.as_str() };
                self.components(inside, &a.components, &b.components);
            }
            left[pairs..].iter().for_each(|c| self.alone(&path, c, true));
            right[pairs..].iter().for_each(|c| self.alone(&path, c, false));
        }
    }

    /// A component that came or went.
    fn alone(&mut self, path: &str, component: &Component, gone: bool) {
        let zone = component.property("TZID").filter(|_| component.name == "VTIMEZONE");
        if zone.is_some_and(|id| jiff::tz::TimeZone::get(id.value.trim()).is_ok()) {
            return self.by(Rule::ZoneByName);
        }
        let what = Some("the component".to_owned());
        let (expected, found) = if gone { (what, None) } else { (None, what) };
        self.changes.push(PropertyChange { name: path.to_owned(), expected, found });
    }

    fn properties(&mut self, path: &str, expected: &Component, found: &Component) {
        let all = |component| meanings(component).into_iter().map(|m| (m.clone(), m)).collect();
        let (mut left, mut right) = unpaired::<Meaning, Meaning>(all(expected), all(found));
        left.retain(|m| self.excuse(m, expected, true, &right).map(|rule| self.by(rule)).is_none());
        left.retain(|m| {
            let mended = right.iter().position(|found| m.is_mended_in(found)).map(|at| right.remove(at));
            mended.map(|_| self.by(Rule::Mended)).is_none()
        });
        let lost: Vec<Meaning> = left.clone();
        right.retain(|m| self.excuse(m, expected, false, &lost).map(|rule| self.by(rule)).is_none());
        for gone in left {
            let name = format!("{path}/{}", gone.name);
            let now = right.iter().position(|m| m.name == gone.name).map(|at| right.remove(at).shown());
            self.changes.push(PropertyChange { name, expected: Some(gone.shown()), found: now });
        }
        for new in right {
            let name = format!("{path}/{}", new.name);
            self.changes.push(PropertyChange { name, expected: None, found: Some(new.shown()) });
        }
    }

    /// The rule by which a property may come or go.
    fn excuse(&self, meaning: &Meaning, expected: &Component, gone: bool, others: &[Meaning]) -> Option<Rule> {
        let name = meaning.name.as_str();
        let text = match &meaning.value {
            Value::Text(text) => text.as_str(),
            _ => "",
        };
        let had = expected.property(name).is_some();
        let card_21 = expected.is_card_21();
        match name {
            "DTSTAMP" if !gone && !had => Some(Rule::Stamp),
            _ if STAMPS.contains(&name) => Some(Rule::Stamps),
            _ if meaning.is_empty() && (gone || !others.iter().any(|m| m.name == name)) => Some(Rule::Empty),
            _ if !gone && !had && name.starts_with("X-") => Some(Rule::Added),
            "METHOD" if gone => Some(Rule::Method),
            "CALSCALE" if text.eq_ignore_ascii_case("GREGORIAN") => Some(Rule::Written),
            "UID" if !gone && !had && text.starts_with(super::fit::UID_PREFIX) => Some(Rule::Uid),
            "FN" if !gone && !had => Some(Rule::Name),
            "SUMMARY" if !gone && !had && expected.name == "VNOTE" => Some(Rule::Title),
            "N" if !gone && !had && card_21 => Some(Rule::Name),
            "VERSION" if expected.name == "VCARD" && (if gone { text != "3.0" } else { text == "3.0" }) => Some(Rule::Card3),
            _ => None,
        }
    }
}

/// What one side has and the other has not, both sorted.
fn unpaired<K: Ord, T>(mut left: Vec<(K, T)>, mut right: Vec<(K, T)>) -> (Vec<T>, Vec<T>) {
    left.sort_by(|a, b| a.0.cmp(&b.0));
    right.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut only_left, mut only_right) = (Vec::new(), Vec::new());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return (only_left, only_right),
        };
        match order {
            Ordering::Less => only_left.extend(left.next().map(|(_, t)| t)),
            Ordering::Greater => only_right.extend(right.next().map(|(_, t)| t)),
            Ordering::Equal => drop((left.next(), right.next())),
        }
    }
}

/// Name, and what tells it from others of that name.
type Identity = (String, String);

fn identity(component: &Component) -> Identity {
    let key = match component.name.as_str() {
        "VEVENT" | "VTODO" | "VJOURNAL" => "RECURRENCE-ID",
        "VTIMEZONE" => "TZID",
        _ => "",
    };
    (component.name.clone(), component.property(key).map(|p| p.value.trim().to_owned()).unwrap_or_default())
}

fn meanings(component: &Component) -> Vec<Meaning> {
    let card_21 = component.is_card_21();
    component.properties.iter().flat_map(|p| Meaning::of(p, card_21)).collect()
}

fn sum(component: &Component) -> Sum {
    let mut own = meanings(component);
    own.sort_unstable();
    let mut inner: Vec<String> = component.components.iter().map(|c| format!("{} {:?}", c.name, sum(c))).collect();
    inner.sort_unstable();
    (own, inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(inside: &str) -> String {
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:a\r\nBEGIN:VEVENT\r\nUID:1\r\n{inside}END:VEVENT\r\nEND:VCALENDAR\r\n")
    }

    fn card(inside: &str) -> String {
        format!("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nFN:A\r\n{inside}END:VCARD\r\n")
    }

    #[track_caller]
    fn equivalent(a: &str, b: &str, rule: Rule) {
        assert_eq!(compare(a.as_bytes(), b.as_bytes()), Likeness::Equivalent(rule), "{a}{b}");
    }

    #[track_caller]
    fn changed(a: &str, b: &str) -> Vec<String> {
        match compare(a.as_bytes(), b.as_bytes()) {
            Likeness::Changed(changes) => changes.into_iter().map(|c| c.name).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_only_written_otherwise_is_the_same_by_a_named_rule() {
        let a = event("SUMMARY:Team\\, all\r\nDTSTART:20240101T000000Z\r\n");
        assert_eq!(compare(a.as_bytes(), a.as_bytes()), Likeness::Identical);
        equivalent(&a, &a.replace("\r\n", "\n"), Rule::LineEnds);
        equivalent(&a, &a.replace("SUMMARY:Te", "SUMMARY:T\r\n e"), Rule::LineEnds);
        equivalent(&a, &event("DTSTART:20240101T000000Z\r\nSUMMARY:Team\\, all\r\n"), Rule::Order);
        equivalent(&a, &a.replace("SUMMARY:Team\\,", "summary:Team,"), Rule::Written);
        equivalent(&event("RDATE:1,2\r\n"), &event("RDATE:2\r\nRDATE:1\r\n"), Rule::Written);
        equivalent(
            &event("RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\n"),
            &event("RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\r\n"),
            Rule::Written,
        );
        for (a, b) in [
            ("RRULE:FREQ=DAILY;INTERVAL=1;WKST=MO", "RRULE:FREQ=DAILY"),
            ("RRULE:FREQ=YEARLY;BYMONTH=02", "RRULE:FREQ=YEARLY;BYMONTH=2"),
            ("DURATION:PT1H30M", "DURATION:PT90M"),
            ("DURATION:P1W", "DURATION:P7D"),
            ("X-A:1\r\nTZOFFSETTO:-080000", "X-A:1\r\nTZOFFSETTO:-0800"),
            ("GEO:38.9071923;-77.0368707", "GEO:38.907192;-77.036871"),
        ] {
            equivalent(&event(&format!("{a}\r\n")), &event(&format!("{b}\r\n")), Rule::Written);
        }
        for (a, b) in [
            ("RRULE:FREQ=DAILY;INTERVAL=2", "RRULE:FREQ=DAILY"),
            ("DURATION:P1D", "DURATION:PT24H"),
            ("DURATION:PT1H", "DURATION:-PT1H"),
            ("TZOFFSETTO:-0800", "TZOFFSETTO:+0800"),
            ("GEO:38.90719;14", "GEO:38.90718;14"),
        ] {
            changed(&event(&format!("{a}\r\n")), &event(&format!("{b}\r\n")));
        }
        equivalent(&event("GEO:50.10;14.40\r\n"), &event("GEO:50.100000;14.400000\r\n"), Rule::Written);
        equivalent(&a, &event("DTSTAMP:20250101T000000Z\r\nSUMMARY:Team\\, all\r\nDTSTART:20240101T000000Z\r\n"), Rule::Stamp);
        equivalent(&event("DTSTAMP:20240101T000000Z\r\n"), &event("DTSTAMP:20250101T000000Z\r\n"), Rule::Stamps);
        equivalent(&card("TEL;type=CELL;type=pref:1\r\n"), &card("TEL;TYPE=PREF,cell:1\r\n"), Rule::Written);
        equivalent(&card("N:Doe;J;;;\r\n"), &card("N:Doe;J\r\n"), Rule::Written);
        equivalent(&card("NOTE:\r\n"), &card(""), Rule::Empty);
        equivalent(&card("PHOTO;ENCODING=b:aGFs\r\n bG8=\r\n"), &card("PHOTO;ENCODING=BASE64:aGFsbG8=\r\n"), Rule::Written);
    }

    #[test]
    fn what_is_against_the_rules_and_mended_says_the_same() {
        for (a, b) in [
            ("DTSTART;TZID=US/Eastern:20060102", "DTSTART;TZID=US/Eastern;VALUE=DATE:20060102"),
            ("DTEND;VALUE=DATE:20060102T100000", "DTEND:20060102T100000"),
            ("DTSTART:20060102T100000 ", "DTSTART:20060102T100000"),
            ("SEQUENCE: 2", "SEQUENCE:2"),
            ("EXDATE:20060102,20060103", "EXDATE;VALUE=DATE:20060102,20060103"),
        ] {
            equivalent(&event(&format!("{a}\r\n")), &event(&format!("{b}\r\n")), Rule::Mended);
            changed(&event(&format!("{b}\r\n")), &event(&format!("{a}\r\n")));
        }
        equivalent(&card("URL:http\\://a.example/\r\n"), &card("URL:http://a.example/\r\n"), Rule::Mended);
        equivalent(&card("GEO:geo:1.5\\;2.5\r\n"), &card("GEO:geo:1.5;2.5\r\n"), Rule::Mended);
        changed(&event("SUMMARY: a\r\n"), &event("SUMMARY:a\r\n"));
        changed(&event("DTSTART:20060102\r\n"), &event("DTSTART;VALUE=DATE:20060103\r\n"));
        equivalent(&card("PHOTO;BASE64:\r\n  aGFs\r\n  bG8=\r\n"), &card("PHOTO;TYPE=BASE64: aGFs bG8=\r\n"), Rule::Written);
    }

    #[test]
    fn what_looks_alike_is_shown_with_what_tells_it_apart() {
        let shown = |a: &str, b: &str| match compare(card(a).as_bytes(), card(b).as_bytes()) {
            Likeness::Changed(changes) => (changes[0].expected.clone().unwrap(), changes[0].found.clone().unwrap()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            shown("N:Doe;J;;;Jr.,M.D.\r\n", "N:Doe;J;;;Jr.\\,M.D.\r\n"),
            ("Doe;J;;;Jr.,M.D.".into(), "Doe;J;;;Jr.\\,M.D.".into())
        );
        let (was, is) = shown("EMAIL;PID=4.2,5.1:a@b\r\n", "EMAIL;PID=\"4.2,5.1\":a@b\r\n");
        assert_eq!((was.as_str(), is.as_str()), (";PID=4.2,5.1:a@b", ";PID=\"4.2,5.1\":a@b"));
    }

    #[test]
    fn what_floe_must_change_before_it_sends_is_told_by_its_rule() {
        let a = event("SUMMARY:x\r\n");
        equivalent(&a.replace("PRODID", "METHOD:PUBLISH\r\nPRODID"), &a, Rule::Method);
        equivalent(&a.replace("UID:1\r\n", ""), &a.replace("UID:1", "UID:floe-1"), Rule::Uid);
        let old = "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;A, B\r\nTEL;WORK;VOICE:1\r\nEND:VCARD\r\n";
        let new = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:floe-1\r\nFN:Müller\r\nN:Müller;A\\, B;;;\r\nTEL;TYPE=WORK,VOICE:1\r\nEND:VCARD\r\n";
        equivalent(old, new, Rule::Card3);
    }

    #[test]
    fn every_change_is_named_with_its_property() {
        let a = event(
            "SUMMARY:a, b\r\nDTSTART;VALUE=DATE:20240101\r\nBEGIN:VALARM\r\nTRIGGER:-PT5M\r\nACTION:DISPLAY\r\nEND:VALARM\r\n",
        );
        assert_eq!(changed(&a, &a.replace("SUMMARY:a, b", "SUMMARY:a")), ["VEVENT/SUMMARY"]);
        assert_eq!(changed(&a, &a.replace("SUMMARY:a, b", "SUMMARY:A, b")), ["VEVENT/SUMMARY"]);
        assert_eq!(changed(&a, &a.replace(";VALUE=DATE", "")), ["VEVENT/DTSTART"]);
        assert_eq!(changed(&a, &a.replace("TRIGGER:-PT5M\r\n", "")), ["VEVENT/VALARM/TRIGGER"]);
        assert_eq!(changed(&a, &event("SUMMARY:a, b\r\nDTSTART;VALUE=DATE:20240101\r\n")), ["VEVENT/VALARM"]);
        assert_eq!(changed(&a, &a.replace("UID:1", "UID:2")), ["VEVENT/UID"]);
        assert_eq!(
            changed(&event("CATEGORIES:a,b\\,c\r\n"), &event("CATEGORIES:a,b,c\r\n")),
            ["VEVENT/CATEGORIES", "VEVENT/CATEGORIES"]
        );
        assert_eq!(changed(&card("URL:https://x/?a;b\r\n"), &card("URL:https://x/?a\\;b\r\n")), ["VCARD/URL"]);
        assert_eq!(changed(&card("KIND:org\r\nTEL:1\r\n"), &card("")), ["VCARD/KIND", "VCARD/TEL"]);
        assert_eq!(changed("no object", "another"), [""]);
        let series = |second: &str| {
            let one = |extra: &str| format!("BEGIN:VEVENT\r\nUID:1\r\n{extra}END:VEVENT\r\n");
            format!("BEGIN:VCALENDAR\r\n{}{}END:VCALENDAR\r\n", one("SUMMARY:m\r\n"), one(second))
        };
        let whole = series("RECURRENCE-ID:20240101T000000Z\r\nSUMMARY:o\r\n");
        assert_eq!(changed(&whole, &whole.replace("SUMMARY:o", "SUMMARY:p")), ["VEVENT/SUMMARY"]);
        assert_eq!(changed(&whole, &event("SUMMARY:m\r\n").replace("VERSION:2.0\r\nPRODID:a\r\n", "")), ["VEVENT"]);
    }
}
