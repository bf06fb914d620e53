//! A retention policy: a TOML file whose rules say how long what account's mail is kept, and what of an archive is past that.
//!
//! The first rule that names an account decides on it; an account that no rule names is kept. Unknown words and contradictions are refused with
//! their line, for a slip in such a file removes what nobody wanted removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::archive::Snapshot;
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, line_of, printable};

const VERSION: i64 = 1;
/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;
/// Longest time that a rule may name: what is meant to be kept for longer is kept forever.
const DAYS_MAX: u64 = 36_525;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    policy: Head,
    #[serde(default)]
    rule: Vec<Spanned<RuleText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: Spanned<i64>,
    who: Spanned<String>,
    why: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RuleText {
    name: Spanned<String>,
    account: Option<Spanned<String>>,
    keep_days: Option<Spanned<u64>>,
    keep_last: Option<Spanned<u64>>,
    keep_forever: Option<Spanned<bool>>,
    who: Option<Spanned<String>>,
    why: Option<Spanned<String>>,
}

/// A policy that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// SHA-256 of the file: tombstones name it.
    pub sha256: Digest,
    /// In the order of the file.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name: tombstones have it.
    pub name: String,
    /// Accounts: `*` is any letters, `?` is one.
    pub account: String,
    /// What stays of them.
    pub keep: Keep,
    /// Who decided it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What stays of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    Forever,
    /// What is in a snapshot of the last so many days, or in one of the last so many snapshots that have the account.
    For {
        /// Days.
        days: Option<u64>,
        /// Snapshots.
        last: Option<u64>,
    },
}

/// An account in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Listed {
    /// The snapshot's name.
    pub snapshot: String,
    /// SHA-256 of its root.
    pub root: Digest,
    /// The account.
    pub account: String,
}

/// What a rule comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Outlook {
    /// The rule's name.
    pub rule: String,
    /// What is past the time.
    pub goes: BTreeSet<Listed>,
    /// Accounts of which something would go and that are held, and why: of these nothing goes.
    pub held: BTreeMap<String, String>,
}

/// Reads and checks the policy at `path`.
///
/// # Errors
/// `Kind::Usage` with the line for what is no TOML, has unknown words, or contradicts itself.
pub fn read(path: &Path) -> Result<Policy> {
    let failed = |e| Error::io(Kind::Usage, "cannot read the policy", path, e);
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_BYTES {
        return Err(Error::usage("the policy is larger than a policy may be")
            .with("policy", path.display())
            .with("bytes", bytes));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse(&text).map_err(|e| e.with("policy", path.display()))
}

fn parse(text: &str) -> Result<Policy> {
    let file: File = toml::from_str(text).map_err(|e| at(text, e.span(), printable(e.message())))?;
    let refuse = |span: Range<usize>, message: &str| Err(at(text, Some(span), message.to_owned()));
    if *file.policy.version.get_ref() != VERSION {
        return refuse(file.policy.version.span(), "a policy of another version than 1, which is the one that this floe knows");
    }
    for said in [&file.policy.who, &file.policy.why] {
        if said.get_ref().trim().is_empty() {
            return refuse(said.span(), "a policy needs a name and a reason");
        }
    }
    if file.rule.is_empty() {
        return refuse(0..0, "the policy has no rule");
    }
    let mut rules: Vec<Rule> = Vec::new();
    for rule in &file.rule {
        let span = rule.span();
        let rule = rule.get_ref();
        let keep = keep(rule, span).map_err(|(span, why)| at(text, Some(span), why.to_owned()))?;
        let text_of = |own: &Option<Spanned<String>>, all: &Spanned<String>| own.as_ref().unwrap_or(all).get_ref().clone();
        let new = Rule {
            name: rule.name.get_ref().clone(),
            account: rule.account.as_ref().map_or("*", |account| account.get_ref()).to_owned(),
            keep,
            who: text_of(&rule.who, &file.policy.who),
            why: text_of(&rule.why, &file.policy.why),
        };
        let own = [Some(&rule.name), rule.account.as_ref(), rule.who.as_ref(), rule.why.as_ref()];
        if let Some(empty) = own.into_iter().flatten().find(|text| text.get_ref().trim().is_empty()) {
            return refuse(empty.span(), "this is empty");
        }
        if rules.iter().any(|before| before.name == new.name) {
            return refuse(rule.name.span(), "two rules have this name");
        }
        // Where one pattern is the other's case, the other one never decides.
        if let Some(before) = rules.iter().find(|before| matches(&before.account, &new.account)) {
            let message = format!("the rule '{}' before it decides on all accounts of this one", printable(&before.name));
            return refuse(rule.account.as_ref().unwrap_or(&rule.name).span(), &message);
        }
        rules.push(new);
    }
    Ok(Policy { sha256: Digest::of(text.as_bytes()), rules })
}

/// What a rule keeps; or where it contradicts itself, and how.
fn keep(rule: &RuleText, span: Range<usize>) -> Result<Keep, (Range<usize>, &'static str)> {
    let (days, last) = (&rule.keep_days, &rule.keep_last);
    match &rule.keep_forever {
        Some(forever) if !*forever.get_ref() => return Err((forever.span(), "write true, or leave keep-forever out")),
        Some(forever) if days.is_some() || last.is_some() => {
            return Err((forever.span(), "a rule that keeps forever has no keep-days and no keep-last"));
        }
        Some(_) => return Ok(Keep::Forever),
        None => {}
    }
    match (days, last) {
        (None, None) => Err((span, "a rule says keep-days, keep-last or keep-forever")),
        (Some(days), _) if !(1..=DAYS_MAX).contains(days.get_ref()) => {
            Err((days.span(), "keep-days is a number of days from 1 to 36525 (a hundred years)"))
        }
        (_, Some(last)) if *last.get_ref() == 0 => Err((last.span(), "keep-last is at least 1")),
        _ => Ok(Keep::For { days: days.as_ref().map(|d| *d.get_ref()), last: last.as_ref().map(|l| *l.get_ref()) }),
    }
}

/// A refusal that names the line in which the stretch begins.
fn at(text: &str, span: Option<Range<usize>>, message: String) -> Error {
    let line = span.map_or(1, |span| line_of(text, span.start));
    Error::usage(format!("the policy cannot be followed, line {line}: {message}")).hint("mend that line; nothing was removed")
}

/// Is the text one that the pattern means? `*` is any letters or none, `?` is one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Where the last star stood, and how far the text was taken by it.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            // A pattern as the text: its star may be anything, which one letter is not.
            Some('?') if text[t] != '*' => (p, t) = (p + 1, t + 1),
            Some(c) if *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

impl Policy {
    /// What of these snapshots, oldest first, goes at the time `now`, rule by rule. `gone` went before; of an account that is `held` nothing goes.
    pub fn outlook(
        &self,
        snapshots: &[Snapshot],
        gone: &HashSet<(Digest, String)>,
        held: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Vec<Outlook> {
        let empty = |rule: &Rule| Outlook { rule: rule.name.clone(), goes: BTreeSet::new(), held: BTreeMap::new() };
        let mut outlooks: Vec<Outlook> = self.rules.iter().map(empty).collect();
        let accounts: BTreeSet<&str> =
            snapshots.iter().flat_map(|s| &s.root.accounts).map(|account| account.account.as_str()).collect();
        for account in accounts {
            let rule = self.rules.iter().position(|rule| matches(&rule.account, account));
            let Some((rule, outlook)) = rule.and_then(|at| Some((self.rules.get(at)?, outlooks.get_mut(at)?))) else { continue };
            let has_it = |s: &&Snapshot| {
                s.root.accounts.iter().any(|a| a.account == account) && !gone.contains(&(s.digest, account.to_owned()))
            };
            let past = snapshots.iter().rev().filter(has_it).enumerate().filter(|(newer, s)| rule.is_past(s, *newer, now));
            let goes: Vec<Listed> =
                past.map(|(_, s)| Listed { snapshot: s.id.clone(), root: s.digest, account: account.to_owned() }).collect();
            match held.get(account) {
                Some(why) if !goes.is_empty() => _ = outlook.held.insert(account.to_owned(), why.clone()),
                _ => outlook.goes.extend(goes),
            }
        }
        outlooks
    }

    /// The accounts of these snapshots that no rule names.
    pub fn unnamed(&self, snapshots: &[Snapshot]) -> BTreeSet<String> {
        let accounts = snapshots.iter().flat_map(|s| &s.root.accounts).map(|account| &account.account);
        accounts.filter(|account| !self.rules.iter().any(|rule| matches(&rule.account, account))).cloned().collect()
    }
}

impl Rule {
    /// Is a snapshot, with so many newer ones of the account, past what the rule keeps?
    fn is_past(&self, snapshot: &Snapshot, newer: usize, now: Timestamp) -> bool {
        let Keep::For { days, last } = self.keep else { return false };
        let age = now.duration_since(snapshot.root.created);
        let is_old = |days| age > SignedDuration::from_hours(24 * i64::try_from(days).unwrap_or(i64::MAX / 100));
        days.is_none_or(is_old) && last.is_none_or(|last| newer as u64 >= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{AccountEntry, Root};
    use crate::model::Ledger;

    const GOOD: &str = "[policy]\nversion = 1\nwho = \"B. Legal\"\nwhy = \"schedule\"\n\n[[rule]]\nname = \"board\"\naccount = \"board@*\"\n\
                        keep-forever = true\n\n[[rule]]\nname = \"leavers\"\naccount = \"x-*\"\nkeep-days = 100\nwhy = \"left\"\n\n\
                        [[rule]]\nname = \"all\"\nkeep-days = 1000\nkeep-last = 2\n";

    /// Snapshots so many days before the time that `now` gives, oldest first, each with these accounts.
    fn snapshots(days: &[(i64, &[&str])]) -> Vec<Snapshot> {
        let of = |(before, accounts): &(i64, &[&str])| {
            let mut root = Root::new(now() - SignedDuration::from_hours(24 * before), None);
            root.accounts = accounts
                .iter()
                .map(|name| AccountEntry {
                    account: (*name).to_owned(),
                    listing: Digest::of(b""),
                    collections: 0,
                    ledger: Ledger::default(),
                })
                .collect();
            Snapshot { id: format!("{before} days"), digest: Digest::of(&before.to_le_bytes()), root }
        };
        days.iter().map(of).collect()
    }

    fn now() -> Timestamp {
        "2026-11-29T12:00:00Z".parse().expect("time")
    }

    fn goes(outlooks: &[Outlook]) -> Vec<(&str, &str, &str)> {
        let lines =
            outlooks.iter().flat_map(|o| o.goes.iter().map(|l| (o.rule.as_str(), l.account.as_str(), l.snapshot.as_str())));
        lines.collect()
    }

    #[test]
    fn the_first_rule_that_names_an_account_decides_and_what_none_names_stays() {
        let policy = parse(GOOD).expect("policy");
        assert_eq!((policy.rules[0].why.as_str(), policy.rules[1].why.as_str()), ("schedule", "left"));
        let all: &[&str] = &["ann@a", "board@a", "x-bob"];
        let snapshots = snapshots(&[(3000, all), (2000, all), (1001, all), (1000, all), (99, all), (0, &["ann@a"])]);
        let (none, held) = (HashSet::new(), BTreeMap::new());
        let found = policy.outlook(&snapshots, &none, &held, now());
        assert_eq!(
            goes(&found),
            [
                ("leavers", "x-bob", "1000 days"),
                ("leavers", "x-bob", "1001 days"),
                ("leavers", "x-bob", "2000 days"),
                ("leavers", "x-bob", "3000 days"),
                ("all", "ann@a", "1001 days"),
                ("all", "ann@a", "2000 days"),
                ("all", "ann@a", "3000 days"),
            ]
        );
        assert!(policy.unnamed(&snapshots).is_empty());
        // What went is not counted again, and what is held is named and stays.
        let went = HashSet::from([(snapshots[0].digest, "ann@a".to_owned())]);
        let held = BTreeMap::from([("x-bob".to_owned(), "case".to_owned()), ("board@a".to_owned(), "case".to_owned())]);
        let found = policy.outlook(&snapshots, &went, &held, now());
        assert_eq!(goes(&found), [("all", "ann@a", "1001 days"), ("all", "ann@a", "2000 days")]);
        assert_eq!(found[1].held, BTreeMap::from([("x-bob".to_owned(), "case".to_owned())]));
        assert!(found[0].held.is_empty(), "nothing of it would go");
    }

    #[test]
    fn the_last_snapshots_that_have_an_account_stay_however_old() {
        let head = "[policy]\nversion = 1\nwho = \"w\"\nwhy = \"w\"\n[[rule]]\nname = \"r\"\n";
        let all: &[&str] = &["a", "b"];
        let snapshots = snapshots(&[(900, all), (800, all), (700, all), (1, &["b"])]);
        let (none, held) = (HashSet::new(), BTreeMap::new());
        let of = |text: &str| {
            let policy = parse(&format!("{head}{text}")).expect("policy");
            let outlook = policy.outlook(&snapshots, &none, &held, now());
            let names = goes(&outlook).into_iter().map(|(_, account, snapshot)| format!("{account} {}", &snapshot[..3]));
            names.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(of("keep-last = 2"), "b 800, a 900, b 900");
        assert_eq!(of("keep-last = 2\nkeep-days = 850"), "a 900, b 900");
        assert_eq!(of("keep-days = 10\naccount = \"a\""), "a 700, a 800, a 900");
        assert_eq!(of("keep-last = 9"), "");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        let line = |needle: &str, nth: usize| {
            GOOD.lines().enumerate().filter(|(_, l)| l.contains(needle)).nth(nth).map(|(n, _)| n + 1).expect("line")
        };
        let cases = [
            (GOOD.replace("keep-last = 2", "keep-lasts = 2"), line("keep-last", 0), "keep-lasts"),
            (GOOD.replace("version = 1", "version = 2"), line("version", 0), "another version"),
            (GOOD.replace("keep-days = 100\n", "keep-days = 0\n"), line("keep-days = 100", 0), "number of days"),
            (GOOD.replace("keep-days = 100\n", "keep-days = -5\n"), line("keep-days = 100", 0), ""),
            (GOOD.replace("keep-last = 2", "keep-last = 0"), line("keep-last", 0), "at least 1"),
            (GOOD.replace("keep-forever = true", "keep-forever = false"), line("forever", 0), "write true"),
            (GOOD.replace("keep-forever = true", "keep-forever = true\nkeep-days = 3"), line("forever", 0), "no keep-days"),
            (GOOD.replace("keep-forever = true", ""), line("[[rule]]", 0), "keep-days, keep-last or keep-forever"),
            (GOOD.replace("name = \"all\"", "name = \"board\""), line("name = \"all\"", 0), "this name"),
            (GOOD.replace("account = \"board@*\"", "account = \"*\""), line("x-*", 0), "the rule 'board' before it"),
            (GOOD.replace("account = \"x-*\"", "account = \"board@a*\""), line("x-*", 0), "the rule 'board' before it"),
            (GOOD.replace("why = \"left\"", "why = \" \""), line("why = \"left\"", 0), "empty"),
            (GOOD.replace("who = \"B. Legal\"", "who = \"\""), line("who", 0), "a name and a reason"),
            (GOOD.replace("[[rule]]", "[[rules]]"), line("[[rule]]", 0), "rules"),
            (GOOD[..line("[[rule]]", 0)].to_owned(), 1, ""),
        ];
        for (edited, line, words) in cases {
            let refused = parse(&edited).expect_err(words).to_string();
            assert!(refused.contains(&format!("line {line}:")) && refused.contains(words), "{refused} (line {line}, {words})");
        }
    }

    #[test]
    fn patterns_mean_whole_names() {
        for (pattern, text, is_one) in [
            ("*", "", true),
            ("*", "a@b", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*@acme.example", "anna@acme.example", true),
            ("*@acme.example", "anna@acme.example.org", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("Anna", "anna", false),
            ("?", "ü", true),
        ] {
            assert_eq!(matches(pattern, text), is_one, "{pattern} {text}");
        }
        // Of patterns: the first means all that the second means.
        assert!(matches("a*", "ab*") && !matches("ab*", "a*") && !matches("a?", "a*") && matches("a?", "a?"));
    }

    #[test]
    fn the_example_in_the_documentation_is_one() {
        let text = include_str!("../../docs/compliance.md");
        let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("example");
        assert_eq!(parse(example).expect("policy").rules.len(), 4);
    }
}
