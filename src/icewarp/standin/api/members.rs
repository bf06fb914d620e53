//! Members of groups and lists: nobody checks whether their addresses are anybody's.

use super::super::locked;
use super::super::xml::Node;
use super::{Call, Outcome, applied, mask_matches, page, refused};

/// A member as it is told; the field is spelled `recieve`, and one spelled otherwise is not read.
fn member(given: &Node) -> Node {
    let or_zero = |name: &str| if given.value(name).is_empty() { "0" } else { given.value(name) }.to_owned();
    let mut fields = vec![Node::text("val", given.value("val").to_lowercase())];
    fields.extend(["default", "recieve", "post", "digest"].map(|name| Node::text(name, or_zero(name))));
    fields.push(Node::text("params", given.value("params")));
    Node::of("item", fields)
}

/// A member of which only the address is known.
pub(super) fn plain(address: &str) -> Node {
    member(&Node::of("item", vec![Node::text("val", address), Node::text("recieve", "1"), Node::text("post", "1")]))
}

fn given(call: &Call<'_>) -> Vec<Node> {
    let members = call.params.child("members").and_then(|members| members.child("val"));
    let items = members.into_iter().flat_map(|val| &val.children).filter(|item| !item.value("val").is_empty());
    items.map(member).collect()
}

fn change(call: &Call<'_>, address: &str, change: impl FnOnce(&mut Vec<Node>)) -> Outcome {
    let mut directory = locked(&call.world.directory);
    let Some(account) = directory.account_mut(address) else { return refused("account_invalid") };
    if !matches!(account.kind(), "1" | "7") {
        return Ok(applied(false));
    }
    change(&mut account.members);
    directory.save_account(address)?;
    Ok(applied(true))
}

pub(super) fn list(call: &Call<'_>) -> Outcome {
    let address = call.account_param("who")?;
    let mask = call.params.child("filter").map_or("", |filter| filter.value("namemask"));
    let directory = locked(&call.world.directory);
    let Some(account) = directory.account(&address) else { return refused("account_invalid") };
    Ok(page(call.params, account.members.iter().filter(|member| mask_matches(mask, member.value("val"))).cloned().collect()))
}

pub(super) fn add(call: &Call<'_>) -> Outcome {
    let address = call.account_param("accountemail")?;
    let lag = call.world.difficulties.lag;
    let lately = locked(&call.world.touched).get(&address).is_some_and(|touched| touched.elapsed() < lag);
    if lately {
        return Ok(applied(true));
    }
    let given = given(call);
    change(call, &address, |members| {
        for member in given {
            members.retain(|other| other.value("val") != member.value("val"));
            members.push(member);
        }
    })
}

pub(super) fn delete(call: &Call<'_>) -> Outcome {
    let address = call.account_param("accountemail")?;
    let given = given(call);
    change(call, &address, |members| {
        members.retain(|member| !given.iter().any(|other| other.value("val") == member.value("val")))
    })
}

pub(super) fn delete_all(call: &Call<'_>) -> Outcome {
    let address = call.account_param("accountemail")?;
    let mask = call.params.child("filter").map_or("", |filter| filter.value("namemask"));
    change(call, &address, |members| members.retain(|member| !mask_matches(mask, member.value("val"))))
}
