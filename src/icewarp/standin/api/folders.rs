//! The tree of an account's folders, mail and groupware, and who may do what in them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::locked;
use super::super::mail::Special;
use super::super::xml::Node;
use super::{Answer, Call, Outcome, applied, refused};

/// The id that the account itself has in the tree.
const ROOT_ID: &str = "2";

/// A folder of either sort: its path, its id, its type's letter, and the letter of the default that it is.
struct Entry {
    path: String,
    id: String,
    letter: &'static str,
    default: &'static str,
}

fn entries(call: &Call<'_>, address: &str) -> Result<Vec<Entry>, Answer> {
    let id = |sort: char, path: &str| format!("{sort}{}", STANDARD.encode(path));
    let mut entries = Vec::new();
    let home = call.world.home(address)?;
    for (path, kind) in locked(&home).collections() {
        entries.push(Entry { id: id('1', &path), letter: kind.letter(), default: "", path });
    }
    let mailbox = call.world.mailbox(address)?;
    let mailbox = locked(&mailbox);
    for path in mailbox.folders.keys() {
        let default = match mailbox.special(path) {
            Some(Special::Inbox) => "I",
            _ => "",
        };
        entries.push(Entry { id: id('0', path), letter: "M", default, path: path.clone() });
    }
    Ok(entries)
}

/// The entries of one sort that lie directly below `parent`, each with its own below it.
fn below(entries: &[Entry], sort: &str, parent: &str) -> Vec<Node> {
    let own = entries
        .iter()
        .filter(|entry| entry.id.starts_with(sort) && entry.path.rsplit_once('/').map_or("", |(above, _)| above) == parent);
    let node = |entry: &Entry| {
        let name = match entry.path.as_str() {
            "INBOX" => "Inbox",
            path => path.rsplit('/').next().unwrap_or(path),
        };
        Node::of(
            "item",
            vec![
                Node::text("name", name),
                Node::text("id", entry.id.clone()),
                Node::text("foldertype", entry.letter),
                Node::text("defaulttype", entry.default),
                Node::of("subfolders", below(entries, sort, &entry.path)),
            ],
        )
    };
    own.map(node).collect()
}

pub(super) fn list(call: &Call<'_>) -> Outcome {
    let address = call.account_param("accountemail")?;
    let mut entries = entries(call, &address)?;
    if call.params.value("onlydefault") == "1" {
        entries.retain(|entry| !entry.path.contains('/'));
    }
    let tree = [below(&entries, "1", ""), below(&entries, "0", "")].concat();
    let fields = vec![
        Node::text("name", address),
        Node::text("id", ROOT_ID),
        Node::text("foldertype", "X"),
        Node::new("defaulttype"),
        Node::of("subfolders", tree),
    ];
    Ok(Answer::Result(Node::of("result", fields)))
}

/// The account, and the id of a folder that it has.
fn folder(call: &Call<'_>) -> Result<Option<(String, String)>, Answer> {
    let address = call.account_param("accountemail")?;
    let id = call.params.value("folderid").to_owned();
    let there = id == ROOT_ID || entries(call, &address)?.iter().any(|entry| entry.id == id);
    Ok(there.then_some((address, id)))
}

pub(super) fn permissions(call: &Call<'_>) -> Outcome {
    let Some((address, id)) = folder(call)? else { return Ok(applied(false)) };
    let directory = locked(&call.world.directory);
    let Some(account) = directory.account(&address) else { return refused("account_invalid") };
    let set = account.rights.get(&id);
    let mut fields = vec![Node::text("isinherited", if set.is_some() { "0" } else { "1" })];
    fields.extend(set.into_iter().flatten().cloned());
    Ok(Answer::Result(Node::of("result", fields)))
}

/// Replaces the whole list.
pub(super) fn set_permissions(call: &Call<'_>) -> Outcome {
    let Some((address, id)) = folder(call)? else { return Ok(applied(false)) };
    let given = call.params.child("permissions").into_iter().flat_map(|list| &list.children);
    let item = |item: &Node| {
        Node::of("item", ["account", "permissions"].iter().map(|name| Node::text(name, item.value(name))).collect())
    };
    let items: Vec<Node> = given.map(item).collect();
    let letters =
        |item: &Node| item.value("permissions") == "*" || item.value("permissions").chars().all(|c| c.is_ascii_lowercase());
    if !items.iter().all(|item| !item.value("account").is_empty() && letters(item)) {
        return Ok(applied(false));
    }
    let mut directory = locked(&call.world.directory);
    if let Some(account) = directory.account_mut(&address) {
        account.rights.insert(id, items);
    }
    directory.save_account(&address)?;
    Ok(applied(true))
}

pub(super) fn inherit(call: &Call<'_>) -> Outcome {
    let Some((address, id)) = folder(call)? else { return Ok(applied(false)) };
    let mut directory = locked(&call.world.directory);
    if let Some(account) = directory.account_mut(&address) {
        account.rights.remove(&id);
    }
    directory.save_account(&address)?;
    Ok(applied(true))
}
