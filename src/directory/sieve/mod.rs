//! Sieve scripts (RFC 5228) as rules that IceWarp can hold; what it cannot hold is listed by its line.
//!
//! IceWarp joins conditions by one "and" or one "or", so a test that mixes both is not mapped. A rule is mapped whole or not
//! at all: half a filter would do what nobody asked for.

mod parse;
mod tests_of;

use self::parse::{Argument, Node};
use self::tests_of::{Joined, negated, positive};
use super::model::{Account, Action, Condition, FlagName, Found, Responder, Rule};
use super::names::Address;

/// Why the text is a Sieve script.
pub(super) fn evidence(name: &str, text: &str) -> Option<String> {
    let named = name.ends_with(".sieve");
    let commands = parse::parse(text);
    let requires = commands.as_ref().is_ok_and(|c| c.first().is_some_and(|c| c.name == "require" && !c.arguments.is_empty()));
    match (named, requires) {
        (true, _) => Some("named .sieve".to_owned()),
        (false, true) => Some("begins with require".to_owned()),
        (false, false) => None,
    }
}

/// Reads the script of `owner`.
pub(super) fn read(text: &str, owner: Option<&Address>) -> Found {
    let mut found = Found::default();
    let commands = match parse::parse(text) {
        Ok(commands) => commands,
        Err((line, why)) => {
            found.cannot(line, owner, format!("not a Sieve script: {why}"));
            return found;
        }
    };
    let Some(owner) = owner else {
        found.cannot(0, None, "a script whose account neither its name nor its folder says");
        return found;
    };
    let mut mapping = Mapping { owner, found: &mut found, account: Account::default() };
    mapping.script(&commands);
    let account = mapping.account;
    found.accounts.push((owner.clone(), account));
    found
}

struct Mapping<'a> {
    owner: &'a Address,
    found: &'a mut Found,
    account: Account,
}

impl Mapping<'_> {
    fn script(&mut self, commands: &[Node]) {
        let mut rest = commands.iter().filter(|c| c.name != "require").peekable();
        while let Some(command) = rest.next() {
            self.found.records += 1;
            if command.name == "if" {
                let mut branches = vec![command];
                while let Some(next) = rest.next_if(|c| matches!(c.name.as_str(), "elsif" | "else")) {
                    branches.push(next);
                }
                let is_last = rest.peek().is_none();
                self.branches(&branches, is_last);
            } else if command.name == "vacation" {
                self.vacation(command, None, None);
            } else {
                // Commands on their own up to the next `if` are one rule for every message.
                let mut actions = vec![command.clone()];
                while let Some(next) = rest.next_if(|c| !matches!(c.name.as_str(), "if" | "vacation")) {
                    actions.push(next.clone());
                }
                self.rule(command.line, &Joined::default(), &actions, false);
            }
        }
    }

    /// `if`, `elsif`, `else`: the later ones are for messages that no earlier one took.
    fn branches(&mut self, branches: &[&Node], is_last: bool) {
        let mut not_before: Option<Joined> = Some(Joined::default());
        for branch in branches {
            let own = match branch.tests.first() {
                Some(test) => positive(test),
                None => Ok(Joined::default()),
            };
            let both = not_before.as_ref().map(|before| own.clone().and_then(|own| before.clone().and(own)));
            if let [only] = branch.block.as_slice()
                && only.name == "vacation"
                && branches.len() == 1
                && let Some((first, last)) = branch.tests.first().and_then(tests_of::days)
            {
                self.vacation(only, first, last);
                return;
            }
            match both {
                Some(Ok(conditions)) => {
                    // Where nothing follows, ending the rules after this one is the same as "else".
                    self.rule(branch.line, &conditions, &branch.block, is_last && branches.len() > 1);
                }
                Some(Err((line, why))) => self.cannot(line, why),
                None => self.cannot(branch.line, "it depends on an earlier test that could not be mapped".to_owned()),
            }
            let not_own = branch.tests.first().map(negated);
            not_before = match (not_before, not_own) {
                (Some(before), Some(Ok(not))) => before.and(not).ok(),
                _ => None,
            };
        }
    }

    fn rule(&mut self, line: u32, conditions: &Joined, commands: &[Node], stop: bool) {
        match actions_of(commands) {
            Ok(mut actions) => {
                if stop && !actions.contains(&Action::Stop) {
                    actions.push(Action::Stop);
                }
                let Joined { all, conditions } = conditions.clone();
                let title = title(&conditions, line);
                self.account.rules.push(Rule { title, active: true, all, conditions, actions, line });
            }
            Err((line, why)) => self.cannot(line, why),
        }
    }

    fn vacation(&mut self, command: &Node, first_day: Option<String>, last_day: Option<String>) {
        let valued = ["days", "seconds", "subject", "from", "addresses", "handle"];
        let text = command.texts(&valued).first().and_then(|list| list.first().cloned());
        let Some(text) = text else { return self.cannot(command.line, "a vacation without a text".to_owned()) };
        if command.has_tag("mime") {
            return self.cannot(command.line, "a vacation whose text is a MIME entity".to_owned());
        }
        if self.account.responder.is_some() {
            return self.cannot(command.line, "a second vacation".to_owned());
        }
        let days = match (command.value_of("days"), command.value_of("seconds")) {
            (Some(Argument::Number(days)), _) => u32::try_from(*days).ok(),
            (None, Some(Argument::Number(seconds))) => u32::try_from(seconds.div_ceil(86_400)).ok(),
            _ => None,
        };
        let owned = |tag| command.text_of(tag).map(str::to_owned);
        self.account.responder =
            Some(Responder { subject: owned("subject"), text, from: owned("from"), days, first_day, last_day });
    }

    fn cannot(&mut self, line: u32, why: String) {
        self.found.cannot(line, Some(self.owner), why);
    }
}

fn title(conditions: &[Condition], line: u32) -> String {
    let what = match conditions.first() {
        Some(Condition::Words { value, .. }) => crate::model::printable(value),
        Some(Condition::Larger { .. }) => "size".to_owned(),
        None => "all mail".to_owned(),
    };
    let what: String = what.chars().take(40).collect();
    format!("{what} (line {line})")
}

/// The actions of a block. Sieve keeps a message unless something else became of it; IceWarp keeps it unless it is moved or
/// thrown away.
fn actions_of(commands: &[Node]) -> Result<Vec<Action>, parse::Fault> {
    let mut actions = Vec::new();
    let mut redirected_away = false;
    for command in commands {
        let one = |what: &str| {
            let texts = command.texts(&["flags"]);
            match texts.as_slice() {
                [[one]] => Ok(one.clone()),
                _ => Err((command.line, format!("{what} takes one name"))),
            }
        };
        match command.name.as_str() {
            "keep" => actions.push(Action::Keep),
            "discard" => actions.push(Action::Discard),
            "stop" => {
                actions.push(Action::Stop);
                break;
            }
            "fileinto" => {
                let folder = one("fileinto")?;
                if folder.contains("${") {
                    return Err((command.line, "a folder whose name is a variable".to_owned()));
                }
                let path: Vec<String> = folder.split('/').map(str::to_owned).collect();
                actions.push(if command.has_tag("copy") { Action::Copy(path) } else { Action::Move(path) });
            }
            "redirect" => {
                let to = one("redirect")?;
                let to = Address::parse(&to).ok_or((command.line, "a redirect to what is no mail address".to_owned()))?;
                redirected_away |= !command.has_tag("copy");
                actions.push(Action::Redirect(to));
            }
            "addflag" | "setflag" => {
                let flags: Vec<&String> = command.texts(&[]).into_iter().last().into_iter().flatten().collect();
                actions.extend(flags_of(command.line, &flags)?);
            }
            other => return Err((command.line, format!("'{}' has no counterpart", crate::model::printable(other)))),
        }
        if let Some(Argument::Texts(flags)) = command.value_of("flags") {
            actions.extend(flags_of(command.line, &flags.iter().collect::<Vec<_>>())?);
        }
    }
    settle(&mut actions, redirected_away);
    Ok(actions)
}

/// Makes of several deliveries what IceWarp does: one move at most, and a redirect without a copy throws the message away here.
fn settle(actions: &mut Vec<Action>, redirected_away: bool) {
    let keeps = actions.contains(&Action::Keep);
    let mut moves = actions.iter().filter(|a| matches!(a, Action::Move(_))).count();
    if keeps || moves > 1 {
        for action in actions.iter_mut() {
            let spare = keeps || moves > 1;
            if let (Action::Move(path), true) = (&action, spare) {
                *action = Action::Copy(path.clone());
                moves -= 1;
            }
        }
    }
    let stays = actions.iter().any(|a| matches!(a, Action::Keep | Action::Move(_)));
    if stays {
        actions.retain(|a| *a != Action::Discard);
    } else if redirected_away && !actions.contains(&Action::Discard) {
        let at = actions.iter().position(|a| *a == Action::Stop).unwrap_or(actions.len());
        actions.insert(at, Action::Discard);
    }
}

fn flags_of(line: u32, flags: &[&String]) -> Result<Vec<Action>, parse::Fault> {
    let names = flags.iter().flat_map(|f| f.split_whitespace());
    names
        .map(|name| {
            let flag = match name.to_ascii_lowercase().as_str() {
                "\\seen" => FlagName::Seen,
                "\\flagged" => FlagName::Flagged,
                "$junk" | "junk" => FlagName::Junk,
                "$notjunk" | "notjunk" | "nonjunk" => FlagName::NotJunk,
                "$label1" => FlagName::Label(1),
                "$label2" => FlagName::Label(2),
                "$label3" => FlagName::Label(3),
                "$label4" => FlagName::Label(4),
                "$label5" => FlagName::Label(5),
                "$label6" => FlagName::Label(6),
                _ => return Err((line, format!("rules cannot set the flag '{}'", crate::model::printable(name)))),
            };
            Ok(Action::Flag(flag))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::model::{Field, Match};
    use super::*;

    fn script(text: &str) -> Found {
        read(text, Address::parse("anna@acme.example").as_ref())
    }

    fn rules(text: &str) -> Vec<Rule> {
        script(text).accounts.remove(0).1.rules
    }

    #[test]
    fn common_rules_are_mapped() {
        let rules = rules(
            "require [\"fileinto\",\"imap4flags\"];\nif header :contains [\"to\",\"cc\"] \"list@x.example\" { fileinto \"Lists/X\"; stop; }\n\
             if allof (address :is \"from\" \"boss@x.example\", not size :over 1M) { addflag \"\\\\Flagged\"; keep; }\n\
             if header :matches \"X-Spam\" \"Yes*\" { discard; }\nredirect \"boris@x.example\";\n",
        );
        assert_eq!(rules.len(), 4);
        assert_eq!((rules[0].all, rules[0].conditions.len()), (false, 2));
        assert_eq!(rules[0].actions, [Action::Move(vec!["Lists".to_owned(), "X".to_owned()]), Action::Stop]);
        assert!(rules[1].all);
        assert_eq!(rules[1].conditions[1], Condition::Larger { bytes: 1 << 20, not: true });
        let spam = Condition::Words {
            field: Field::Header("X-Spam".to_owned()),
            how: Match::Pattern,
            value: "Yes*".to_owned(),
            not: false,
        };
        assert_eq!(rules[2].conditions, [spam]);
        assert_eq!(rules[3].actions, [Action::Redirect(Address::parse("boris@x.example").unwrap()), Action::Discard]);
    }

    #[test]
    fn else_is_for_what_no_earlier_test_took() {
        let rules = rules(
            "if header :is \"a\" \"1\" { fileinto \"A\"; } elsif header :is \"b\" \"2\" { fileinto \"B\"; } else { fileinto \"C\"; }\nkeep;",
        );
        let nots: Vec<Vec<bool>> = rules
            .iter()
            .map(|r| r.conditions.iter().map(|c| matches!(c, Condition::Words { not: true, .. })).collect())
            .collect();
        assert_eq!(nots, [vec![false], vec![true, false], vec![true, true], vec![]]);
    }

    #[test]
    fn what_cannot_be_mapped_is_listed_by_its_line_and_not_half_done() {
        let found = script(
            "if anyof (header :is \"a\" \"1\", allof (header :is \"b\" \"2\", header :is \"c\" \"3\")) { keep; }\n\
             if header :is \"a\" \"1\" {\n fileinto \"A\";\n notify;\n}\nif spamtest :value \"ge\" \"3\" { discard; } else { fileinto \"B\"; }\n",
        );
        assert!(found.accounts[0].1.rules.is_empty(), "{:?}", found.accounts);
        assert_eq!(found.unmapped.iter().map(|(line, ..)| *line).collect::<Vec<_>>(), [1, 4, 6, 6]);
    }

    #[test]
    fn a_vacation_becomes_a_responder_with_its_days() {
        let found = script(
            "require [\"vacation\",\"date\",\"relational\"];\nif allof (currentdate :value \"ge\" \"date\" \"2024-03-01\", currentdate :value \"le\" \"date\" \"2024-03-09\") {\n\
             vacation :days 3 :subject \"Away\" :addresses [\"a@x.example\"] \"Back soon.\";\n}\n",
        );
        let responder = found.accounts[0].1.responder.clone().unwrap();
        assert_eq!((responder.days, responder.text.as_str()), (Some(3), "Back soon."));
        assert_eq!((responder.first_day.as_deref(), responder.last_day.as_deref()), (Some("2024-03-01"), Some("2024-03-09")));
    }

    proptest! {
        #[test]
        fn no_script_makes_it_panic(text in "(if |anyof |allof |not |header |:is |\"a\" |\\[|\\]|\\{|\\}|\\(|\\)|,|;|text:\n|\\.\n|keep|[0-9]K|\\PC){0,60}") {
            let _ = (evidence("a.sieve", &text), script(&text));
        }
    }
}
