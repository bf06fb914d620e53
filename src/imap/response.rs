//! What a server says: one response cut into values and understood (RFC 3501 section 7, RFC 4315, RFC 5530, RFC 9051).
//!
//! A response reaches this module as one text in which each literal is a mark, with the literals beside it; so nothing
//! here reads from the network, and nothing a server sends makes it fail in another way than by an error.

use std::collections::VecDeque;

use crate::error::{Error, Kind, Result};
use crate::model::printable;

/// Stands in a response's text for a literal: a byte that no line holds.
pub(super) const LITERAL_MARK: u8 = b'\n';
/// Parentheses in parentheses that are followed; nothing that floe asks for needs more than a few.
const DEPTH_MAX: usize = 16;
/// Ranges of UIDs that are read out of one response code.
const RANGES_MAX: usize = 100_000;

/// A value in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Atom(String),
    Text(Vec<u8>),
    /// A literal that went to the receiver of bodies.
    Streamed,
    Nil,
    List(Vec<Value>),
}

impl Value {
    /// The value as text, if it is one; a NIL is none.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Value::Atom(atom) => Some(atom.clone()),
            Value::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        if let Value::Atom(atom) = self { atom.parse().ok() } else { None }
    }

    pub(super) fn list(self) -> Option<Vec<Value>> {
        if let Value::List(values) = self { Some(values) } else { None }
    }
}

/// A literal of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Bytes(Vec<u8>),
    Streamed,
}

/// The text of a response and its literals in their order.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub text: Vec<u8>,
    pub literals: VecDeque<Literal>,
}

/// Ranges of UIDs, both ends included.
pub type Uids = Vec<(u32, u32)>;

/// A response code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// Where appended messages are: UIDVALIDITY, UIDs.
    AppendUid(u32, Uids),
    /// Where copied or moved messages are: UIDVALIDITY, UIDs there before, UIDs now.
    CopyUid(u32, Uids, Uids),
    /// Capabilities.
    Capability(Vec<String>),
    /// Flags that can be kept; `\*` for any keyword.
    PermanentFlags(Vec<String>),
    /// UIDVALIDITY.
    UidValidity(u32),
    /// UIDNEXT.
    UidNext(u32),
    /// Any other, in capitals: `TRYCREATE`, `OVERQUOTA`, `LIMIT`, `TOOBIG`, `ALERT`, ...
    Other(String),
}

/// How a command ended, or what a server says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Done.
    Ok,
    /// Not done.
    No,
    /// Not understood.
    Bad,
    /// The server ends the connection.
    Bye,
    /// The greeting of a server that knows already who this is.
    Preauth,
}

/// A status response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Condition.
    pub condition: Condition,
    /// Response code.
    pub code: Option<Code>,
    /// Text for people, made safe to show.
    pub text: String,
}

impl Status {
    /// Is it the other code of this name?
    pub fn is(&self, name: &str) -> bool {
        matches!(&self.code, Some(Code::Other(code)) if code == name)
    }

    /// Does the server say "not now" rather than "no"?
    fn is_transient(&self) -> bool {
        ["UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG"].iter().any(|name| self.is(name))
    }

    /// As an error of doing `what`.
    pub fn error(&self, what: &str) -> Error {
        let kind = match self.condition {
            Condition::Bye => Kind::Unreachable,
            _ if self.is_transient() => Kind::Busy,
            Condition::Bad => Kind::Protocol,
            _ => Kind::Refused,
        };
        let verb = if kind == Kind::Unreachable { "ended the connection" } else { "refused" };
        Error::new(kind, format!("the server {verb}: {what}")).because(self.reason())
    }

    /// The server's words, with the code in front.
    pub fn reason(&self) -> String {
        match &self.code {
            Some(Code::Other(code)) => format!("[{}] {}", printable(code), self.text),
            _ if self.text.is_empty() => "it gave no reason".to_owned(),
            _ => self.text.clone(),
        }
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// The server wants what was announced.
    Continue(String),
    /// A command is over.
    Tagged(String, Status),
    /// A status of no command.
    Status(Status),
    /// `* 23 EXISTS` and its like, with what follows the word.
    Numbered(u32, String, Vec<Value>),
    /// Everything else: the word in capitals and what follows.
    Data(String, Vec<Value>),
}

fn nonsense(what: &str) -> Error {
    Error::new(Kind::Protocol, format!("the server's answer makes no sense: {what}"))
}

/// Understands a response.
///
/// # Errors
/// `Kind::Protocol` when it is none.
pub(super) fn understand(mut raw: Raw) -> Result<Response> {
    let text = std::mem::take(&mut raw.text);
    if let Some(rest) = text.strip_prefix(b"+") {
        return Ok(Response::Continue(String::from_utf8_lossy(rest).trim().to_owned()));
    }
    let mut cursor = Cursor { text: &text, at: 0, literals: raw.literals };
    let tag = cursor.word();
    let word = cursor.word();
    if tag != "*" {
        let condition = condition(&word).ok_or_else(|| nonsense("a line that is neither status nor data"))?;
        return Ok(Response::Tagged(tag, cursor.status(condition)?));
    }
    if let Some(condition) = condition(&word) {
        return Ok(Response::Status(cursor.status(condition)?));
    }
    if let Ok(number) = word.parse() {
        let word = cursor.word().to_ascii_uppercase();
        return Ok(Response::Numbered(number, word, cursor.values(0)?));
    }
    Ok(Response::Data(word.to_ascii_uppercase(), cursor.values(0)?))
}

fn condition(word: &str) -> Option<Condition> {
    Some(match word.to_ascii_uppercase().as_str() {
        "OK" => Condition::Ok,
        "NO" => Condition::No,
        "BAD" => Condition::Bad,
        "BYE" => Condition::Bye,
        "PREAUTH" => Condition::Preauth,
        _ => return None,
    })
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    literals: VecDeque<Literal>,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// What comes up to the next space, lossy.
    fn word(&mut self) -> String {
        self.skip_spaces();
        let rest = &self.text[self.at..];
        let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        self.at += end;
        String::from_utf8_lossy(&rest[..end]).into_owned()
    }

    fn status(mut self, condition: Condition) -> Result<Status> {
        self.skip_spaces();
        let mut rest = &self.text[self.at..];
        let mut code = None;
        if let Some(inside) = rest.strip_prefix(b"[") {
            // A code may hold a quoted `]` in extensions that floe does not use; the first one ends it.
            if let Some(end) = memchr::memchr(b']', inside) {
                let mut cursor = Cursor { text: &inside[..end], at: 0, literals: std::mem::take(&mut self.literals) };
                let name = cursor.word().to_ascii_uppercase();
                code = Some(understand_code(name, cursor.values(0).unwrap_or_default()));
                rest = &inside[end + 1..];
            }
        }
        Ok(Status { condition, code, text: printable(String::from_utf8_lossy(rest).trim()) })
    }

    /// All values up to the end, or to the parenthesis that closes the list.
    fn values(&mut self, depth: usize) -> Result<Vec<Value>> {
        if depth > DEPTH_MAX {
            return Err(nonsense("lists in lists without end"));
        }
        let mut values = Vec::new();
        loop {
            self.skip_spaces();
            let value = match self.peek() {
                None if depth == 0 => return Ok(values),
                None => return Err(nonsense("a list without end")),
                Some(b')') if depth > 0 => {
                    self.at += 1;
                    return Ok(values);
                }
                Some(b'(') => {
                    self.at += 1;
                    Value::List(self.values(depth + 1)?)
                }
                Some(b'"') => Value::Text(self.quoted()?),
                Some(LITERAL_MARK) => {
                    self.at += 1;
                    match self.literals.pop_front() {
                        Some(Literal::Bytes(bytes)) => Value::Text(bytes),
                        Some(Literal::Streamed) => Value::Streamed,
                        None => return Err(nonsense("a literal that was not sent")),
                    }
                }
                Some(_) => self.atom(),
            };
            values.push(value);
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(nonsense("a quoted string without end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.extend(self.peek());
                }
                Some(c) => out.push(c),
            }
            self.at += 1;
        }
    }

    /// An atom; brackets are part of it with all that is in them (`BODY[HEADER.FIELDS (X)]<0>`).
    fn atom(&mut self) -> Value {
        let start = self.at;
        let mut brackets = 0usize;
        while let Some(c) = self.peek() {
            match c {
                b'[' => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                b' ' | b'(' | b')' if brackets > 0 => {}
                b' ' | b'(' | b')' | b'"' | LITERAL_MARK => break,
                _ => {}
            }
            self.at += 1;
        }
        if self.at == start {
            // A stray parenthesis outside of any list.
            self.at += 1;
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        if text.eq_ignore_ascii_case("NIL") { Value::Nil } else { Value::Atom(text) }
    }
}

fn understand_code(name: String, values: Vec<Value>) -> Code {
    let number = |at: usize| values.get(at).and_then(Value::number).and_then(|n| u32::try_from(n).ok());
    let uids = |at: usize| values.get(at).and_then(Value::text).and_then(|text| read_uids(&text));
    let words = |values: &[Value]| values.iter().filter_map(Value::text).collect::<Vec<_>>();
    let code = match name.as_str() {
        "APPENDUID" => number(0).zip(uids(1)).map(|(validity, uids)| Code::AppendUid(validity, uids)),
        "COPYUID" => match (number(0), uids(1), uids(2)) {
            (Some(validity), Some(from), Some(to)) => Some(Code::CopyUid(validity, from, to)),
            _ => None,
        },
        "CAPABILITY" => Some(Code::Capability(words(&values))),
        "PERMANENTFLAGS" => match values.first() {
            Some(Value::List(flags)) => Some(Code::PermanentFlags(words(flags))),
            _ => None,
        },
        "UIDVALIDITY" => number(0).map(Code::UidValidity),
        "UIDNEXT" => number(0).map(Code::UidNext),
        _ => None,
    };
    code.unwrap_or(Code::Other(name))
}

/// A set such as `2:3,7`; `None` where it is none or too long.
fn read_uids(text: &str) -> Option<Uids> {
    let mut uids = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        uids.push((first.min(last), first.max(last)));
        if uids.len() > RANGES_MAX {
            return None;
        }
    }
    Some(uids)
}

/// All UIDs of the ranges, if they are as many as there should be.
pub fn expand(uids: &Uids, count: usize) -> Option<Vec<u32>> {
    let total: u64 = uids.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
    (total == count as u64).then(|| uids.iter().flat_map(|(first, last)| *first..=*last).collect())
}

/// The size of the literal that a line announces at its end.
pub(super) fn literal_size(line: &[u8]) -> Option<u64> {
    let inside = line.strip_suffix(b"}")?;
    let start = memchr::memrchr(b'{', inside)?;
    let digits = inside[start + 1..].strip_suffix(b"+").unwrap_or(&inside[start + 1..]);
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Response {
        understand(Raw { text: text.as_bytes().to_vec(), literals: VecDeque::new() }).expect(text)
    }

    fn code(text: &str) -> Option<Code> {
        match parsed(text) {
            Response::Tagged(_, status) | Response::Status(status) => status.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn codes_are_read() {
        assert_eq!(code("a1 OK [APPENDUID 38505 2:3,9] done"), Some(Code::AppendUid(38505, vec![(2, 3), (9, 9)])));
        assert_eq!(code("a1 OK [copyuid 1 4 7] x"), Some(Code::CopyUid(1, vec![(4, 4)], vec![(7, 7)])));
        assert_eq!(code("a1 NO [TRYCREATE] no"), Some(Code::Other("TRYCREATE".into())));
        let flags = Code::PermanentFlags(vec!["\\Seen".into(), "\\*".into()]);
        assert_eq!(code("* OK [PERMANENTFLAGS (\\Seen \\*)] ok"), Some(flags));
        assert_eq!(code("* OK [UIDVALIDITY 99999999999] ok"), Some(Code::Other("UIDVALIDITY".into())));
        assert_eq!(code("a1 NO [ unclosed"), None);
    }

    #[test]
    fn a_fetch_with_a_literal_is_a_list_of_values() {
        let raw = Raw {
            text: b"* 2 FETCH (UID 7 FLAGS (\\Seen $Junk) BODY[HEADER.FIELDS (X Y)]<0> \n RFC822.SIZE 3 X NIL)".to_vec(),
            literals: VecDeque::from([Literal::Bytes(b"a)\n".to_vec())]),
        };
        let Response::Numbered(2, word, values) = understand(raw).unwrap() else { panic!() };
        assert_eq!(word, "FETCH");
        let Value::List(list) = &values[0] else { panic!() };
        assert_eq!(list[4], Value::Atom("BODY[HEADER.FIELDS (X Y)]<0>".into()));
        assert_eq!(list[5], Value::Text(b"a)\n".to_vec()));
        assert_eq!(list[9], Value::Nil);
    }

    #[test]
    fn ranges_are_expanded_only_to_the_number_expected() {
        assert_eq!(expand(&vec![(2, 3), (9, 9)], 3), Some(vec![2, 3, 9]));
        assert_eq!(expand(&vec![(1, u32::MAX)], 3), None);
    }

    #[test]
    fn literals_are_announced_at_the_end_of_a_line_only() {
        assert_eq!(literal_size(b"* 1 FETCH (BODY[] {12}"), Some(12));
        assert_eq!(literal_size(b"x {12+}"), Some(12));
        for line in [&b"x {12} "[..], b"x {}", b"x {-1}", b"x {99999999999999999999}", b"{", b"}"] {
            assert_eq!(literal_size(line), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in "(\\* |[ab]1 )?(OK|NO|LIST|1 FETCH|\\+)?[ -~\\n]{0,80}", more in any::<Vec<u8>>()) {
            let mut text = text.into_bytes();
            text.extend(more);
            let literals = VecDeque::from([Literal::Bytes(b"x".to_vec()), Literal::Streamed]);
            let _ = understand(Raw { text, literals });
        }
    }
}
