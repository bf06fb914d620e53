//! Lists of properties as they are asked for, told and written; which ones there are.

use super::super::directory::string_value;
use super::super::xml::Node;
use super::Answer;

/// Account properties that can be written and read back.
const ACCOUNT: &[&str] = &[
    "u_type",
    "u_mailbox",
    "u_alias",
    "u_emailalias",
    "u_alternateemail",
    "u_name",
    "a_vcard",
    "u_comment",
    "u_accounttype",
    "u_authmode",
    "u_accountdisabled",
    "u_maxbox",
    "u_maxboxsize",
    "u_maxmailsize",
    "u_maxmessagesize",
    "u_forwardto",
    "u_useremoteaddress",
    "u_remoteaddress",
    "u_mailin",
    "u_mailout",
    "u_respond",
    "u_respondperiod",
    "u_respondbetweenfrom",
    "u_respondbetweento",
    "u_respondonlyiftome",
    "u_replyfrom",
    "u_respondercontent",
    "u_norespondfor",
    "a_responder",
    "a_respondermessage",
    "u_spamfolder",
    "u_rulescontentxml",
    "u_mailboxpath",
    "u_gw",
    "u_webdav",
    "u_im",
    "u_activesync",
    "u_webmail",
    "u_smtp",
    "u_pop3imap",
    "u_passwordexpired",
    "u_nopasswordexpiration",
    "u_pass_policy_temporary_disable",
    "u_accountvalid",
    "u_accountvalidtill",
    "u_accountvalidtill_date",
    "u_deleteexpire",
    "u_admin",
    "u_domainadmin",
    "u_webadmin",
    "u_blocked",
    "a_image",
    "a_imagesmall",
    "u_saas_plan",
    "m_owneraddress",
    "m_sendalllists",
    "m_listfile",
    "m_defaultrights",
    "m_membersonly",
    "m_moderated",
    "m_moderatedpassword",
    "m_checkmailbox",
    "g_name",
    "g_description",
    "g_groupwareshared",
    "g_groupwaremembers",
    "g_groupwaremaildelivery",
    "g_groupwaredefaultrights",
    "g_groupwaredl",
    "g_addrootadmin",
    "g_maxbox",
    "g_maxboxsize",
    "g_mailboxpath",
    "s_type",
    "s_manager",
    "s_unavailable",
    "s_allowconflicts",
    "s_notificationtomanager",
    "s_organizersfile_contents",
];

/// Domain properties that can be written and read back.
const DOMAIN: &[&str] = &[
    "d_type",
    "d_domainvalue",
    "d_description",
    "d_adminemail",
    "d_postmaster",
    "d_aliases",
    "d_aliaslist",
    "d_unknownuserstype",
    "d_unknownforwardto",
    "d_diskquota",
    "d_accountnumber",
    "d_usermailbox",
    "d_groupmailbox",
    "d_disablelogin",
    "d_rulescontentxml",
    "d_rulessieve",
    "d_server_language",
    "d_webdav",
];

pub(super) fn is_of_account(name: &str) -> bool {
    ACCOUNT.contains(&name)
}

pub(super) fn is_of_domain(name: &str) -> bool {
    DOMAIN.contains(&name)
}

/// Answers a list of names: each with its value, or no value, and the right to it.
pub(super) fn read(list: Option<&Node>, value_of: impl Fn(&str) -> (Option<Node>, &'static str)) -> Answer {
    let names = list.into_iter().flat_map(|list| &list.children).map(|item| item.value("propname"));
    Answer::Result(Node::of("result", names.map(|name| item(name, value_of(&name.to_lowercase()))).collect()))
}

fn item(name: &str, (value, right): (Option<Node>, &str)) -> Node {
    let none = || Node::of("propertyval", vec![Node::text("classname", "TPropertyNoValue")]);
    let property = Node::of("apiproperty", vec![Node::text("propname", name)]);
    Node::of("item", vec![property, value.unwrap_or_else(none), Node::text("propertyright", right)])
}

/// Names, in small letters, and values of a list that is to be written.
pub(super) fn written(list: Option<&Node>) -> Vec<(String, Node)> {
    let items = list.into_iter().flat_map(|list| &list.children);
    let pairs = items.filter_map(|item| {
        let name = item.child("apiproperty")?.value("propname").to_lowercase();
        let value = item.child("propertyval")?;
        Some((name, kept(value)))
    });
    pairs.collect()
}

/// A value as it is kept: TPropertyString by its text alone, whatever number class it was sent under.
fn kept(value: &Node) -> Node {
    let class = value.value("classname").to_lowercase();
    if class == "tpropertystring" || class == "nativeint" || class.is_empty() {
        return string_value(value.child("val").map_or("", |val| val.text.as_str()));
    }
    clean(value)
}

/// Without the white space between elements, without attributes.
fn clean(node: &Node) -> Node {
    let text = if node.children.is_empty() { node.text.clone() } else { String::new() };
    Node { children: node.children.iter().map(clean).collect(), ..Node::text(&node.name, text) }
}

/// A value of class TPropertyStringList.
pub(super) fn list_value(items: impl IntoIterator<Item = String>) -> Node {
    let items = items.into_iter().map(|item| Node::text("item", item)).collect();
    Node::of("propertyval", vec![Node::text("classname", "TPropertyStringList"), Node::of("val", items)])
}
