//! Commands about accounts: users, lists, groups, resources.

use std::time::Instant;

use super::super::directory::{Account, Directory, Password, Power, string_value, text_of};
use super::super::xml::Node;
use super::super::{World, locked, random_hex};
use super::properties::{self, is_of_account, list_value};
use super::{Answer, Call, Outcome, applied, mask_matches, page, refused, string_list, text};

/// Fields of A_VCard; those left out when it is written are blanked.
const CARD_FIELDS: &[&str] = &[
    "firstname",
    "middlename",
    "lastname",
    "title",
    "suffix",
    "nickname",
    "fileas",
    "companyname",
    "department",
    "jobtitle",
    "officelocation",
    "managername",
    "assistantname",
    "profession",
    "gender",
    "spouse",
    "birthday",
    "anniversary",
    "body",
    "webpage",
    "freebusyurl",
    "certificate",
    "sensitivity",
    "categories",
    "email1address",
    "email2address",
    "email3address",
    "businessaddressstreet",
    "businessaddresscity",
    "businessaddressstate",
    "businessaddresspostalcode",
    "businessaddresscountry",
    "homeaddressstreet",
    "homeaddresscity",
    "homeaddressstate",
    "homeaddresspostalcode",
    "homeaddresscountry",
    "businesstelephonenumber",
    "hometelephonenumber",
    "mobiletelephonenumber",
    "businessfaxnumber",
    "imaddress",
];

/// `TAccountName` of a full name: what stands before the last blank is the given name.
pub(super) fn name_node(name: &str) -> Node {
    let (given, family) = name.rsplit_once(' ').unwrap_or(("", name));
    Node::of("name", vec![Node::text("classname", "TAccountName"), Node::text("name", given), Node::text("surname", family)])
}

fn quota_node(world: &World, address: &str, account: &Account, tag: &str) -> Node {
    // Opening every mailbox for a list would be slow; used space is told only of those that are asked for by name.
    let used = if tag == "quota" { 0 } else { world.used_bytes_of_open(address) };
    let limit = account.quota_bytes().unwrap_or(0) / 1024;
    let fields = vec![
        Node::text("classname", "TAccountQuota"),
        Node::text("mailboxsize", used.div_ceil(1024).to_string()),
        Node::text("mailboxquota", limit.to_string()),
    ];
    Node::of(tag, fields)
}

fn state_node(account: &Account, tag: &str) -> Node {
    let state = if account.disabled() { account.text("u_accountdisabled") } else { "0" };
    Node::of(tag, vec![Node::text("classname", "TAccountState"), Node::text("state", state)])
}

pub(super) fn list(call: &Call<'_>) -> Outcome {
    let domain_name = call.domain_param()?;
    let filter = call.params.child("filter");
    let value = |name: &str| filter.map_or("", |filter| filter.value(name));
    let directory = locked(&call.world.directory);
    let Some(domain) = directory.domains.get(&domain_name) else { return refused("domain_invalid") };
    let wanted = domain.accounts.iter().filter(|(local, account)| {
        let name_matches = mask_matches(value("namemask"), local)
            || mask_matches(value("namemask"), &format!("{local}@{domain_name}"))
            || mask_matches(value("namemask"), account.text("u_name"));
        name_matches && (value("typemask").is_empty() || value("typemask") == account.kind())
    });
    let item = |(local, account): (&String, &Account)| {
        let address = format!("{local}@{domain_name}");
        let admin = match account.power() {
            Power::User => "0",
            Power::Domain => "1",
            Power::Server => "2",
        };
        Node::of(
            "item",
            vec![
                Node::text("name", account.text("u_name")),
                Node::text("email", address.clone()),
                Node::text("displayemail", address.clone()),
                Node::text("accounttype", account.kind()),
                state_node(account, "accountstate"),
                Node::text("admintype", admin),
                quota_node(call.world, &address, account, "quota"),
                Node::new("planid"),
            ],
        )
    };
    Ok(page(call.params, wanted.map(item).collect()))
}

fn is_local_part(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_alphanumeric() || "!#$&'*+-=^_`{|}~.".contains(c))
        && !name.starts_with('.')
}

/// Is a name taken in the domain by another account than this one?
fn is_taken(call: &Call<'_>, directory: &Directory, domain: &str, own: Option<&str>, name: &str) -> bool {
    let Some(found) = directory.domains.get(domain) else { return false };
    let postmaster = text_of(&found.properties, "d_postmaster");
    let reserved =
        call.world.difficulties.postmaster_taken && postmaster.split(';').any(|other| other.eq_ignore_ascii_case(name));
    reserved
        || found
            .accounts
            .iter()
            .any(|(local, account)| Some(local.as_str()) != own && account.names().iter().any(|other| other == name))
}

/// Was the address created or deleted so lately that the command comes to nothing?
fn lags(call: &Call<'_>, address: &str) -> bool {
    let lag = call.world.difficulties.lag;
    let before = locked(&call.world.touched).insert(address.to_owned(), Instant::now());
    !lag.is_zero() && before.is_some_and(|before| before.elapsed() < lag)
}

pub(super) fn create(call: &Call<'_>) -> Outcome {
    let domain = call.domain_param()?;
    let given = properties::written(call.params.child("accountproperties"));
    let given_text =
        |name: &str| given.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value.value("val")).to_owned();
    let (local, kind) = (given_text("u_mailbox").to_lowercase(), given_text("u_type"));
    if local.is_empty() {
        return refused("account_mailbox_property_missing");
    }
    if kind.is_empty() {
        return refused("account_type_property_missing");
    }
    let address = format!("{local}@{domain}");
    let mut directory = locked(&call.world.directory);
    let Some(found) = directory.domains.get(&domain) else { return refused("domain_invalid") };
    let most: usize = text_of(&found.properties, "d_accountnumber").parse().unwrap_or(0);
    if most > 0 && found.accounts.len() > most {
        return refused("account_domain_limit_exceeded");
    }
    let licence = call.world.difficulties.licence_accounts as usize;
    let licence_spent = kind == "0" && licence > 0 && directory.users_count() >= licence;
    if !is_local_part(&local) || licence_spent || is_taken(call, &directory, &domain, None, &local) {
        return Ok(applied(false));
    }
    let mut account = Account::default();
    if kind == "0" {
        account.properties.insert("u_accounttype".into(), string_value("1"));
        if call.world.difficulties.quota_kb > 0 {
            account.properties.insert("u_maxbox".into(), string_value("1"));
            account.properties.insert("u_maxboxsize".into(), string_value(call.world.difficulties.quota_kb.to_string()));
        }
    }
    account.properties.insert("u_mailbox".into(), string_value(local.clone()));
    let aliases_clash = alias_clash(call, &directory, &domain, None, &given);
    for (name, value) in given {
        write(call, &mut account, &local, &name, value)?;
    }
    account.properties.insert("u_mailbox".into(), string_value(local.clone()));
    if aliases_clash {
        return Ok(applied(false));
    }
    if lags(call, &address) {
        return Ok(applied(true));
    }
    if let Some(found) = directory.domains.get_mut(&domain) {
        found.accounts.insert(local, account);
    }
    directory.save_account(&address)?;
    Ok(applied(true))
}

pub(super) fn delete(call: &Call<'_>) -> Outcome {
    let domain = call.domain_param()?;
    let mut done = false;
    for name in string_list(call.params.child("accountlist")) {
        let name = name.to_lowercase();
        let address = if name.contains('@') { name } else { format!("{name}@{domain}") };
        let mut directory = locked(&call.world.directory);
        if directory.account(&address).is_none() || !address.ends_with(&format!("@{domain}")) {
            continue;
        }
        done = true;
        if lags(call, &address) {
            continue;
        }
        if let (Some(found), Some((local, _))) = (directory.domains.get_mut(&domain), address.rsplit_once('@')) {
            found.accounts.remove(local);
        }
        directory.save_account(&address)?;
        drop(directory);
        if call.params.value("leavedata") != "1" {
            call.world.remove_data(&address)?;
        }
    }
    Ok(applied(done))
}

/// The aliases that a list of properties sets.
fn aliases_given(given: &[(String, Node)]) -> Option<Vec<String>> {
    given.iter().rev().find_map(|(name, value)| match name.as_str() {
        "u_alias" => Some(value.value("val").split(';').filter(|alias| !alias.is_empty()).map(str::to_lowercase).collect()),
        "a_aliaslist" => Some(string_list(Some(value)).iter().map(|alias| alias.to_lowercase()).collect()),
        _ => None,
    })
}

fn alias_clash(call: &Call<'_>, directory: &Directory, domain: &str, own: Option<&str>, given: &[(String, Node)]) -> bool {
    aliases_given(given).is_some_and(|aliases| aliases.iter().any(|alias| is_taken(call, directory, domain, own, alias)))
}

pub(super) fn set_properties(call: &Call<'_>) -> Outcome {
    let address = call.account_param("accountemail")?;
    let (local, domain) = address.rsplit_once('@').unwrap_or_default();
    let given = properties::written(call.params.child("propertyvaluelist"));
    let mut directory = locked(&call.world.directory);
    if alias_clash(call, &directory, domain, Some(local), &given) {
        return Ok(applied(false));
    }
    let Some(account) = directory.account_mut(&address) else { return refused("account_invalid") };
    let mut changed = account.clone();
    let mut done = false;
    for (name, value) in given {
        done |= write(call, &mut changed, local, &name, value)?;
    }
    *account = changed;
    directory.save_account(&address)?;
    Ok(applied(done))
}

/// Writes one property; is it one that can be written?
fn write(call: &Call<'_>, account: &mut Account, local: &str, name: &str, value: Node) -> Result<bool, Answer> {
    let plain = value.value("val").to_owned();
    match name {
        "u_password" => {
            check_policy(call.world, local, &plain)?;
            account.password = Password::new(&plain);
        }
        // Read only, or not known to be writable.
        "u_mailbox" | "u_type" if account.properties.contains_key("u_type") && name != "u_type" => {}
        "u_type" if account.properties.contains_key("u_type") => return Ok(false),
        "a_state" => return Ok(false),
        "u_alias" if plain.len() > 255 => return Ok(false),
        "a_aliaslist" => {
            account.properties.insert("u_alias".into(), string_value(string_list(Some(&value)).join(";")));
        }
        "a_name" => {
            let full = format!("{} {}", value.value("name"), value.value("surname"));
            account.properties.insert("u_name".into(), string_value(full.trim()));
        }
        "a_quota" => {
            let limit = value.value("mailboxquota").to_owned();
            account.properties.insert("u_maxbox".into(), string_value(if limit == "0" { "0" } else { "1" }));
            account.properties.insert("u_maxboxsize".into(), string_value(limit));
        }
        "a_vcard" => {
            account.properties.insert("a_vcard".into(), card(&value));
        }
        "m_listfile_contents" | "g_listfile_contents" => {
            let members = plain.lines().map(str::trim).filter(|line| !line.is_empty());
            account.members = members.map(super::members::plain).collect();
        }
        "u_directorycache_refreshnow" | "g_addrootadmin" => {}
        _ if is_of_account(name) => {
            account.properties.insert(name.to_owned(), value);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// A card with all fields, those not given being empty.
fn card(given: &Node) -> Node {
    let mut fields = vec![Node::text("classname", "TAccountCard")];
    fields.extend(CARD_FIELDS.iter().map(|field| Node::text(field, given.value(field))));
    Node::of("propertyval", fields)
}

fn check_policy(world: &World, local: &str, password: &str) -> Result<(), Answer> {
    let d = &world.difficulties;
    let length = if d.password_length == 0 { 8 } else { d.password_length } as usize;
    let has = |test: fn(&char) -> bool| password.chars().any(|c| test(&c));
    let mixed = has(char::is_ascii_lowercase)
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_digit)
        && has(|c| !c.is_alphanumeric());
    let strong = password.chars().count() >= length && mixed && !password.to_lowercase().contains(local);
    if strong || d.no_password_policy { Ok(()) } else { refused("account_password_policy") }
}

pub(super) fn properties(call: &Call<'_>) -> Outcome {
    let address = call.account_param("accountemail")?;
    let directory = locked(&call.world.directory);
    let Some(account) = directory.account(&address) else { return refused("account_invalid") };
    let value = |name: &str| value_of(call.world, &directory, &address, account, name);
    if call.params.value("accountpropertyset") == "1" {
        let names = ["A_Name", "A_Quota", "A_Image", "A_AliasList", "A_State"];
        let list = names.iter().map(|name| Node::of("item", vec![Node::text("propname", *name)])).collect();
        return Ok(properties::read(Some(&Node::of("accountpropertylist", list)), value));
    }
    Ok(properties::read(call.params.child("accountpropertylist"), value))
}

fn value_of(world: &World, directory: &Directory, address: &str, account: &Account, name: &str) -> (Option<Node>, &'static str) {
    let used = || world.used_bytes_of_open(address).div_ceil(1024).to_string();
    let computed = match name {
        "u_email" | "u_login" => string_value(address),
        "u_primaryalias" => string_value(account.names().get(1).cloned().unwrap_or_else(|| account.text("u_mailbox").to_owned())),
        "u_mailboxsize" => string_value(used()),
        "u_mailboxquota" => string_value((account.quota_bytes().unwrap_or(0) / 1024).to_string()),
        "u_aliaslist" => string_value(account.text("u_alias")),
        "u_groups" | "u_groupslist" => {
            string_value(directory.groups_of(address).iter().map(|group| format!("{group};")).collect::<String>())
        }
        "a_grouplist" => list_value(directory.groups_of(address)),
        "u_password" => return (None, "0"),
        "a_admintype" => string_value(match account.power() {
            Power::User => "0",
            Power::Domain => "1",
            Power::Server => "2",
        }),
        "m_listfile_contents" | "g_listfile_contents" => {
            string_value(account.members.iter().map(|member| format!("{}\n", member.value("val"))).collect::<String>())
        }
        _ => return writable_value_of(world, address, account, name),
    };
    (Some(computed), "1")
}

fn writable_value_of(world: &World, address: &str, account: &Account, name: &str) -> (Option<Node>, &'static str) {
    let value = match name {
        "a_name" => Node { name: "propertyval".into(), ..name_node(account.text("u_name")) },
        "a_quota" => quota_node(world, address, account, "propertyval"),
        "a_state" => state_node(account, "propertyval"),
        "a_aliaslist" => list_value(account.text("u_alias").split(';').filter(|alias| !alias.is_empty()).map(str::to_owned)),
        "a_vcard" => account.properties.get(name).cloned().unwrap_or_else(|| card(&Node::default())),
        "u_accountdisabled" | "u_maxbox" | "u_maxboxsize" | "u_admin" | "u_domainadmin"
            if !account.properties.contains_key(name) =>
        {
            string_value("0")
        }
        name => match account.properties.get(name) {
            Some(value) => value.clone(),
            None if is_of_account(name) && !name.starts_with("a_") => string_value(""),
            None => return (None, "2"),
        },
    };
    (Some(value), "2")
}

pub(super) fn set_password(call: &Call<'_>) -> Outcome {
    let address = call.account_param("accountemail")?;
    let password = call.params.child("password").map_or("", |node| node.text.as_str());
    let (local, _) = address.rsplit_once('@').unwrap_or_default();
    if password.is_empty() {
        return refused("auth_password_missing");
    }
    if call.params.value("ignorepolicy") != "1" {
        check_policy(call.world, local, password)?;
    }
    let mut directory = locked(&call.world.directory);
    if let Some(account) = directory.account_mut(&address) {
        account.password = Password::new(password);
        account.properties.remove("u_passwordexpired");
    }
    directory.save_account(&address)?;
    Ok(applied(true))
}

pub(super) fn generate_password(call: &Call<'_>) -> Outcome {
    let length = call.world.difficulties.password_length.clamp(12, 200) as usize;
    let random: String = std::iter::repeat_with(random_hex).take(length.div_ceil(32)).collect();
    Ok(text(format!("vK7!{}", &random[..length - 4])))
}

pub(super) fn expire_password(call: &Call<'_>) -> Outcome {
    let address = call.account_param("accountemail")?;
    let mut directory = locked(&call.world.directory);
    if let Some(account) = directory.account_mut(&address) {
        account.properties.insert("u_passwordexpired".into(), string_value("1"));
    }
    directory.save_account(&address)?;
    if call.params.value("disablenotification") != "1" {
        call.world.mailed("password-expired", &address)?;
    }
    Ok(applied(true))
}
