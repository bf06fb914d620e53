//! Filters as rules of IceWarp: conditions and actions that it is known to have. A rule is carried whole or not at all.

use super::plan::{AccountPlan, Part};
use crate::directory::{Action, Condition, Field, FlagName, Match, Rule};
use crate::icewarp::api::Element;
use crate::model::CollectionPath;

/// The rule's settings, as the server takes them and gives them back.
///
/// # Errors
/// What of it the server has no counterpart of, in words.
pub fn element(rule: &Rule, account: &AccountPlan) -> Result<Element, String> {
    let conditions = match rule.conditions.as_slice() {
        [] => vec![item("TRuleAllCondition", vec![number("conditiontype", 35)])],
        some => some.iter().map(|c| condition(c, rule.all)).collect::<Result<_, _>>()?,
    };
    let actions = rule.actions.iter().map(|a| action(a, account)).collect::<Result<Vec<_>, String>>()?;
    if actions.is_empty() {
        return Err("it does nothing".to_owned());
    }
    Ok(Element::of(
        "rulesettings",
        vec![
            Element::of("conditions", conditions),
            Element::of("actions", actions),
            Element::text("title", &*rule.title),
            number("active", u32::from(rule.active)),
        ],
    ))
}

/// Where a folder of the archive lies on the server: as the plan says, else under its own name.
pub fn target_folder(account: &AccountPlan, path: &[String]) -> Vec<String> {
    let from = CollectionPath(path.to_vec());
    account.folder(&from, Part::Mail).map_or_else(|| path.to_vec(), |folder| folder.to.0.clone())
}

fn item(class: &str, mut fields: Vec<Element>) -> Element {
    fields.insert(0, Element::text("classname", class));
    Element::of("item", fields)
}

fn number(name: &str, value: u32) -> Element {
    Element::text(name, value.to_string())
}

fn condition(condition: &Condition, all: bool) -> Result<Element, String> {
    let Condition::Words { field, how, value, not } = condition else {
        return Err("a condition on the size: how IceWarp writes one is not known".to_owned());
    };
    let field = match field {
        Field::From => 1,
        Field::To => 2,
        Field::Subject => 3,
        Field::Cc => 4,
        Field::ReplyTo => 5,
        Field::Bcc => 6,
        Field::Body => 11,
        Field::Header(name) => return Err(format!("a condition on the header {name}: how IceWarp names one is not known")),
        Field::Sender | Field::Recipient => {
            return Err("a condition on the envelope: how IceWarp writes one is not known".to_owned());
        }
    };
    let how = match how {
        Match::Contains => 1,
        Match::Regex => 3,
        Match::Equals => 6,
        Match::Pattern => 7,
    };
    Ok(item(
        "TRuleSomeWordsCondition",
        vec![
            number("conditiontype", field),
            number("operatorand", u32::from(all)),
            number("logicalnot", u32::from(*not)),
            number("bracketsleft", 0),
            number("bracketsright", 0),
            number("matchfunction", how),
            Element::text("matchvalue", &**value),
            number("matchcase", 0),
            number("matchwholewordsonly", 0),
            number("notmatch", 0),
            number("multipleitemsmatch", 0),
            number("parsexml", 0),
        ],
    ))
}

fn action(action: &Action, account: &AccountPlan) -> Result<Element, String> {
    let typed = |class: &str, kind: u32, more: Vec<Element>| {
        let mut fields = vec![number("actiontype", kind)];
        fields.extend(more);
        item(class, fields)
    };
    let folder = |path: &[String]| {
        let target = target_folder(account, path);
        match target.iter().any(|segment| segment.contains('/')) {
            true => Err("a folder with a '/' in its name".to_owned()),
            false => Ok(vec![Element::text("folder", target.join("/"))]),
        }
    };
    let message = |kind| typed("TRuleMessageActionAction", 25, vec![number("messageactiontype", kind)]);
    Ok(match action {
        Action::Move(path) => typed("TRuleMoveToFolderAction", 4, folder(path)?),
        Action::Copy(path) => typed("TRuleCopyToFolderAction", 5, folder(path)?),
        Action::Redirect(to) => typed("TRuleForwardToEmailAction", 2, vec![Element::text("email", to.as_str())]),
        Action::Keep => message(0),
        Action::Discard => message(1),
        Action::Flag(flag) => typed("TRuleSetFlagsAction", 9, flags(*flag)),
        Action::Stop => typed("TRuleStopAction", 27, Vec::new()),
    })
}

fn flags(set: FlagName) -> Vec<Element> {
    let mut flags: Vec<(String, bool)> =
        [("flagged", FlagName::Flagged), ("seen", FlagName::Seen), ("junk", FlagName::Junk), ("notjunk", FlagName::NotJunk)]
            .iter()
            .map(|(name, flag)| ((*name).to_owned(), *flag == set))
            .collect();
    flags.extend((1..=6).map(|n| (format!("label{n}"), set == FlagName::Label(n))));
    flags.into_iter().map(|(name, on)| number(&name, u32::from(on))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: Condition, action: Action) -> Rule {
        Rule { title: "t".to_owned(), active: true, all: true, conditions: vec![condition], actions: vec![action], line: 1 }
    }

    fn words(field: Field) -> Condition {
        Condition::Words { field, how: Match::Contains, value: "x".to_owned(), not: false }
    }

    #[test]
    fn a_rule_is_carried_whole_or_not_at_all() {
        let account = AccountPlan::without_mail("anna@acme.example");
        let settings = element(&rule(words(Field::From), Action::Move(vec!["A".to_owned(), "B".to_owned()])), &account).unwrap();
        let moved = &settings.child("actions").unwrap().children[0];
        assert_eq!((moved.value("actiontype"), moved.value("folder")), ("4", "A/B"));
        assert_eq!(settings.child("conditions").unwrap().children[0].value("conditiontype"), "1");
        assert!(element(&rule(words(Field::Header("X-Spam".to_owned())), Action::Keep), &account).is_err());
        assert!(element(&rule(Condition::Larger { bytes: 1, not: false }, Action::Keep), &account).is_err());
        assert!(element(&rule(words(Field::To), Action::Move(vec!["a/b".to_owned()])), &account).is_err());
    }
}
