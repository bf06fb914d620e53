//! Rules of a user, a domain or the server.

use super::super::directory::Directory;
use super::super::locked;
use super::super::xml::Node;
use super::{Answer, Call, Outcome, Power, applied, page, refused};

/// The rules of `who` and the number of the last one made.
fn of<'a>(directory: &'a mut Directory, who: &str) -> Result<(&'a mut Vec<Node>, &'a mut u64), Answer> {
    if who.is_empty() {
        return Ok((&mut directory.server.rules, &mut directory.server.rules_made));
    }
    if who.contains('@') {
        return match directory.account_mut(who) {
            Some(account) => Ok((&mut account.rules, &mut account.rules_made)),
            None => refused("account_invalid"),
        };
    }
    match directory.domains.get_mut(who) {
        Some(domain) => Ok((&mut domain.rules, &mut domain.rules_made)),
        None => refused("domain_invalid"),
    }
}

fn who(call: &Call<'_>) -> Result<String, Answer> {
    let who = call.params.value("who").to_lowercase();
    if who.is_empty() && call.power != Power::Server {
        return refused("account_permission");
    }
    if !who.is_empty() {
        call.needs_power_over(&who)?;
    }
    Ok(who)
}

/// Changes the rules and keeps them; did it do anything?
fn change(call: &Call<'_>, change: impl FnOnce(&mut Vec<Node>, &mut u64) -> bool) -> Outcome {
    let who = who(call)?;
    let mut directory = locked(&call.world.directory);
    let (rules, made) = of(&mut directory, &who)?;
    let done = change(rules, made);
    match () {
        () if who.is_empty() => directory.save_server()?,
        () if who.contains('@') => directory.save_account(&who)?,
        () => directory.save_domain(&who)?,
    }
    Ok(applied(done))
}

/// The settings as they are kept: conditions, actions, title, active; a script is not known to be taken.
fn settings(given: &Node, id: &str) -> Node {
    let mut children: Vec<Node> = ["conditions", "actions"].iter().filter_map(|name| given.child(name)).map(bare).collect();
    children.push(Node::text("title", given.value("title")));
    children.push(Node::text("active", if given.value("active").is_empty() { "0" } else { given.value("active") }));
    children.push(Node::text("ruleid", id));
    Node::of("result", children)
}

fn bare(node: &Node) -> Node {
    let text = if node.children.is_empty() { node.text.clone() } else { String::new() };
    Node { children: node.children.iter().map(bare).collect(), ..Node::text(&node.name, text) }
}

fn position(rules: &[Node], call: &Call<'_>) -> Option<usize> {
    let id = call.params.value("ruleid");
    rules.iter().position(|rule| rule.value("ruleid") == id)
}

pub(super) fn list(call: &Call<'_>) -> Outcome {
    let who = who(call)?;
    let mut directory = locked(&call.world.directory);
    let (rules, _) = of(&mut directory, &who)?;
    let item = |rule: &Node| {
        let first = |list: &str| rule.child(list).and_then(|list| list.children.first()).cloned();
        let action = first("actions").map_or(String::new(), |action| action.value("actiontype").to_owned());
        let mut fields: Vec<Node> = ["ruleid", "title", "active"].iter().map(|name| Node::text(name, rule.value(name))).collect();
        fields.push(Node::text("actiontype", action));
        fields.extend(first("conditions").map(|condition| Node { name: "condition".into(), ..condition }));
        Node::of("item", fields)
    };
    Ok(page(call.params, rules.iter().map(item).collect()))
}

pub(super) fn get(call: &Call<'_>) -> Outcome {
    let who = who(call)?;
    let mut directory = locked(&call.world.directory);
    let (rules, _) = of(&mut directory, &who)?;
    Ok(position(rules, call).map_or_else(|| applied(false), |at| Answer::Result(rules[at].clone())))
}

pub(super) fn add(call: &Call<'_>) -> Outcome {
    let Some(given) = call.params.child("rulesettings") else { return Ok(applied(false)) };
    change(call, |rules, made| {
        *made += 1;
        rules.push(settings(given, &made.to_string()));
        true
    })
}

pub(super) fn edit(call: &Call<'_>) -> Outcome {
    let Some(given) = call.params.child("rulesettings") else { return Ok(applied(false)) };
    change(call, |rules, _| {
        position(rules, call)
            .is_some_and(|at| rules.get_mut(at).map(|rule| *rule = settings(given, call.params.value("ruleid"))).is_some())
    })
}

pub(super) fn delete(call: &Call<'_>) -> Outcome {
    change(call, |rules, _| position(rules, call).map(|at| rules.remove(at)).is_some())
}

pub(super) fn shift(call: &Call<'_>) -> Outcome {
    let down = call.params.value("movetype") == "1";
    change(call, |rules, _| {
        let other = position(rules, call).and_then(|at| Some((at, if down { Some(at + 1) } else { at.checked_sub(1) }?)));
        other.filter(|(_, to)| *to < rules.len()).map(|(at, to)| rules.swap(at, to)).is_some()
    })
}

/// State 0 is active and 1 disabled, the reverse of the field in the settings.
pub(super) fn set_active(call: &Call<'_>) -> Outcome {
    let active = if call.params.value("state") == "0" { "1" } else { "0" };
    change(call, |rules, _| {
        let rule = position(rules, call).and_then(|at| rules.get_mut(at));
        let field = rule.and_then(|rule| rule.children.iter_mut().find(|child| child.name == "active"));
        field.map(|field| field.text = active.to_owned()).is_some()
    })
}
