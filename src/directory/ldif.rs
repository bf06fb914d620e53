//! LDIF (RFC 2849): records of a directory server, with continuation lines and base64; inetOrgPerson, Active Directory, groups.
//!
//! Values that a URL points to are never fetched. Records that change a directory, other than by adding to it, are listed.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::model::{Account, Forward, Found, Kind, MemberRole, Quota};
use super::names::Address;
use super::quota::{self, Unit};

/// One entry: attributes by lower-case name without options.
#[derive(Debug, Default)]
struct Entry {
    line: u32,
    dn: String,
    attributes: HashMap<String, Vec<String>>,
}

impl Entry {
    fn all(&self, name: &str) -> &[String] {
        self.attributes.get(name).map_or(&[], Vec::as_slice)
    }

    fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|n| self.all(n).first()).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    fn is_a(&self, classes: &[&str]) -> bool {
        self.all("objectclass").iter().any(|c| classes.iter().any(|class| c.eq_ignore_ascii_case(class)))
    }

    fn addresses<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = Address> + 'a {
        names.iter().flat_map(|n| self.all(n)).filter_map(|value| Address::parse(value))
    }

    /// The address of the account: mail, the primary proxy address (`SMTP:` in capitals), or a login name that is one.
    fn address(&self) -> Option<Address> {
        let primary = || self.all("proxyaddresses").iter().find_map(|p| p.strip_prefix("SMTP:").and_then(Address::parse));
        self.addresses(&["mail", "zimbramaildeliveryaddress"])
            .next()
            .or_else(primary)
            .or_else(|| self.addresses(&["userprincipalname", "uid", "cn"]).next())
    }
}

const GROUP_CLASSES: [&str; 9] = [
    "groupOfNames",
    "groupOfUniqueNames",
    "group",
    "posixGroup",
    "nisMailAlias",
    "zimbraDistributionList",
    "mailGroup",
    "dynamicGroup",
    "groupOfMembers",
];

/// Why the text is LDIF.
pub(super) fn evidence(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim_end).filter(|l| !l.is_empty() && !l.starts_with('#') && !l.starts_with(' '));
    let first = lines.next()?;
    let versioned = first.split_once(':').is_some_and(|(n, v)| n.eq_ignore_ascii_case("version") && v.trim() == "1");
    let first = if versioned { lines.next()? } else { first };
    let is_dn = first.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("dn:"));
    is_dn.then(|| if versioned { "version line and a dn" } else { "a dn first" }.to_owned())
}

/// Reads the file.
pub(super) fn read(text: &str) -> Found {
    let mut found = Found::default();
    let entries = entries(text, &mut found);
    let by_dn: HashMap<&str, Address> = entries.iter().filter_map(|e| Some((e.dn.as_str(), e.address()?))).collect();
    let by_uid: HashMap<&str, Address> =
        entries.iter().flat_map(|e| e.all("uid").iter().filter_map(|uid| Some((uid.as_str(), e.address()?)))).collect();
    for entry in &entries {
        let is_group = entry.is_a(&GROUP_CLASSES);
        let Some(address) = entry.address() else {
            let people = entry.is_a(&["person", "inetOrgPerson", "user", "posixAccount", "organizationalPerson"]);
            found.pass_over(match (is_group, people) {
                (true, _) => "a group without a mail address",
                (_, true) => "a person without a mail address",
                _ => "not an account",
            });
            continue;
        };
        let mut account = account(entry, &address, &mut found);
        if is_group {
            members(entry, &address, &by_dn, &by_uid, &mut account, &mut found);
        }
        for dn in entry.all("memberof").iter().map(|dn| normal_dn(dn)) {
            match by_dn.get(dn.as_str()) {
                Some(group) => {
                    let members = BTreeMap::from([(address.clone(), MemberRole::Member)]);
                    found.accounts.push((group.clone(), Account { members, ..Account::default() }));
                }
                None => {
                    found.cannot(entry.line, Some(&address), format!("member of {}, which has no mail address here", shown(&dn)))
                }
            }
        }
        found.accounts.push((address, account));
    }
    found
}

fn shown(text: &str) -> String {
    crate::model::printable(text.get(..text.floor_char_boundary(120)).unwrap_or_default())
}

fn account(entry: &Entry, address: &Address, found: &mut Found) -> Account {
    let text = |names: &[&str]| entry.first(names).map(str::to_owned);
    let mut account = Account {
        kind: kind(entry),
        display_name: text(&["displayname", "cn"]).filter(|name| Address::parse(name).is_none()),
        given_name: text(&["givenname"]),
        family_name: text(&["sn"]),
        had_password: !entry.all("userpassword").is_empty() || !entry.all("unicodepwd").is_empty(),
        disabled: disabled(entry),
        quota: quota(entry, address, found),
        ..Account::default()
    };
    let more = [
        "mail",
        "proxyaddresses",
        "mailalternateaddress",
        "gosamailalternateaddress",
        "mailalias",
        "alias",
        "zimbramailalias",
        "maillocaladdress",
        "mailalternativeaddress",
        "othermailbox",
    ];
    account.aliases = entry.addresses(&more).filter(|a| a != address).collect();
    let to: Vec<Address> =
        entry.addresses(&["mailforwardingaddress", "gosamailforwardingaddress", "zimbraprefmailforwardingaddress"]).collect();
    if !to.is_empty() {
        account.forward = Some(Forward { to: to.into_iter().collect(), keep_copy: None });
    }
    for (attribute, field) in [
        ("company", "companyname"),
        ("o", "companyname"),
        ("department", "department"),
        ("title", "jobtitle"),
        ("physicaldeliveryofficename", "officelocation"),
        ("telephonenumber", "businesstelephonenumber"),
        ("mobile", "mobiletelephonenumber"),
        ("homephone", "hometelephonenumber"),
    ] {
        if let Some(value) = entry.first(&[attribute]) {
            account.card.entry(field.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    account
}

fn kind(entry: &Entry) -> Option<Kind> {
    match entry.first(&["msexchrecipienttypedetails"]) {
        Some("1") => return Some(Kind::User),
        Some("4") => return Some(Kind::Shared),
        Some("16") => return Some(Kind::Room),
        Some("32") => return Some(Kind::Equipment),
        _ => {}
    }
    if entry.is_a(&["nisMailAlias", "zimbraDistributionList", "mailGroup"]) {
        return Some(Kind::List);
    }
    if entry.is_a(&GROUP_CLASSES) {
        // Active Directory: the highest bit of groupType is set on groups that rights can be given to.
        let distribution = entry.first(&["grouptype"]).and_then(|t| t.trim().parse::<i64>().ok()).is_some_and(|t| t > 0);
        return Some(if distribution { Kind::List } else { Kind::Group });
    }
    if entry.is_a(&["zimbraCalendarResource"]) {
        let room = entry.first(&["zimbracalrestype"]).is_some_and(|t| t.eq_ignore_ascii_case("location"));
        return Some(if room { Kind::Room } else { Kind::Equipment });
    }
    entry
        .is_a(&["person", "inetOrgPerson", "user", "posixAccount", "organizationalPerson", "zimbraAccount"])
        .then_some(Kind::User)
}

/// Active Directory's second bit of `userAccountControl`, Zimbra's and other servers' words.
fn disabled(entry: &Entry) -> Option<bool> {
    if let Some(flags) = entry.first(&["useraccountcontrol"]).and_then(|v| v.trim().parse::<u64>().ok()) {
        return Some(flags & 2 != 0);
    }
    match entry.first(&["zimbraaccountstatus", "accountstatus", "nsaccountlock"])?.to_ascii_lowercase().as_str() {
        "active" | "false" => Some(false),
        "locked" | "closed" | "disabled" | "nopop" | "noaccess" | "true" => Some(true),
        _ => None,
    }
}

/// Zimbra and qmail count bytes; other servers' numbers need a unit of their own.
fn quota(entry: &Entry, address: &Address, found: &mut Found) -> Option<Quota> {
    for (name, unit) in [
        ("zimbramailquota", Unit::Bytes),
        ("mailquotasize", Unit::Bytes),
        ("mailquota", Unit::Unknown),
        ("quota", Unit::Unknown),
        ("gosamailquota", Unit::Mib),
    ] {
        if let Some(value) = entry.first(&[name]) {
            match quota::parse(value, unit) {
                Ok(quota) => return quota,
                Err(why) => found.cannot(entry.line, Some(address), why),
            }
        }
    }
    None
}

fn members(
    entry: &Entry,
    group: &Address,
    by_dn: &HashMap<&str, Address>,
    by_uid: &HashMap<&str, Address>,
    account: &mut Account,
    found: &mut Found,
) {
    for (names, role) in [
        (["owner", "managedby"].as_slice(), MemberRole::Owner),
        (
            &[
                "member",
                "uniquemember",
                "memberuid",
                "rfc822mailmember",
                "mgrprfc822mailmember",
                "zimbramailforwardingaddress",
                "rfc822member",
            ],
            MemberRole::Member,
        ),
    ] {
        for value in names.iter().flat_map(|name| entry.all(name)) {
            let resolved = by_dn.get(normal_dn(value).as_str()).or_else(|| by_uid.get(value.as_str())).cloned();
            match resolved.or_else(|| Address::parse(value)) {
                Some(address) => {
                    account.members.entry(address).or_insert(role);
                }
                None => found.cannot(entry.line, Some(group), format!("the member {} has no mail address here", shown(value))),
            }
        }
    }
}

/// A distinguished name for comparing: lower case, no spaces around `,` and `=`.
fn normal_dn(dn: &str) -> String {
    let parts: Vec<String> =
        dn.split(',').map(|rdn| rdn.split('=').map(|part| part.trim().to_lowercase()).collect::<Vec<_>>().join("=")).collect();
    parts.join(",")
}

/// Cuts the text into entries; what is no content of one is listed.
fn entries(text: &str, found: &mut Found) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut entry: Option<Entry> = None;
    let mut changes = false;
    for (number, line) in unfolded(text) {
        if line.is_empty() {
            entries.extend(entry.take());
            changes = false;
            continue;
        }
        if changes {
            continue;
        }
        let Some((name, value)) = attribute(&line) else {
            found.cannot(number, None, "a line that is no attribute, or base64 that is none, or a value elsewhere");
            continue;
        };
        match (name.as_str(), &mut entry) {
            ("version", None) => {}
            ("dn", open) => {
                found.records += 1;
                entries.extend(open.replace(Entry { line: number, dn: normal_dn(&value), ..Entry::default() }));
            }
            ("changetype", open) if !value.eq_ignore_ascii_case("add") => {
                found.pass_over("a record that changes an entry");
                *open = None;
                changes = true;
            }
            (_, Some(open)) => open.attributes.entry(name).or_default().push(value),
            (_, None) => found.cannot(number, None, "an attribute before the first dn"),
        }
    }
    entries.extend(entry);
    entries
}

/// Logical lines with the number of their first; comments are gone, empty lines end entries.
fn unfolded(text: &str) -> Vec<(u32, String)> {
    let mut lines: Vec<(u32, String)> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        match (line.strip_prefix(' '), lines.last_mut()) {
            (Some(more), Some((_, last))) if !last.is_empty() => last.push_str(more),
            _ => lines.push((number, line.to_owned())),
        }
    }
    lines.retain(|(_, line)| !line.starts_with('#'));
    lines
}

/// Name (lower case, without options) and value of a line; `None` for what is not one, and for `name:< url`.
fn attribute(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let name = name.split(';').next().unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
        return None;
    }
    let value = match value.as_bytes().first() {
        Some(b'<') => return None,
        Some(b':') => {
            let bytes = STANDARD.decode(value.get(1..)?.trim()).ok()?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => value.trim_start().to_owned(),
    };
    Some((name.to_ascii_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "version: 1\n# people\ndn: uid=anna, ou=People,dc=acme,dc=example\nobjectClass: inetOrgPerson\nuid: anna\n\
        cn:: QW5uYSBNw7xsbGVy\nsn: Mül\n ler\nmail: anna@acme.example\nproxyAddresses: SMTP:anna@acme.example\nproxyAddresses: smtp:am@acme.example\n\
        userPassword:: e1NTSEF9aGFzaA==\njpegPhoto:< file:///etc/passwd\ntelephoneNumber;x-work: +49 30 1\nmemberOf: cn=sales,ou=Groups,dc=acme,dc=example\n\n\
        dn: cn=Sales,ou=groups,dc=acme,dc=example\nobjectClass: groupOfNames\ncn: Sales\nmail: sales@acme.example\nmember: UID=anna,ou=people,dc=acme,dc=example\nmember: uid=gone,dc=acme,dc=example\n\n\
        dn: ou=People,dc=acme,dc=example\nobjectClass: organizationalUnit\n\ndn: cn=old\nchangetype: delete\n";

    #[test]
    fn people_groups_and_their_members_are_read() {
        let found = read(FILE);
        let anna = &found.accounts.iter().find(|(a, c)| a.local_part() == "anna" && c.kind.is_some()).unwrap().1;
        assert_eq!(anna.display_name.as_deref(), Some("Anna Müller"));
        assert_eq!(anna.family_name.as_deref(), Some("Müller"));
        assert_eq!(anna.aliases.len(), 1);
        assert_eq!(anna.card.get("businesstelephonenumber").map(String::as_str), Some("+49 30 1"));
        assert!(anna.had_password && !format!("{found:?}").contains("hash"));
        let sales = &found.accounts.iter().find(|(a, c)| a.local_part() == "sales" && c.kind.is_some()).unwrap().1;
        assert_eq!((sales.kind, sales.members.len()), (Some(Kind::Group), 1));
        // The URL, and the member that nobody is.
        assert_eq!(found.unmapped.len(), 2, "{:?}", found.unmapped);
        assert_eq!(found.records, 4);
        assert_eq!(found.passed_over.values().sum::<u64>(), 2);
    }

    #[test]
    fn active_directory_says_who_is_disabled_and_what_is_a_room() {
        let text = "dn: CN=R\nobjectClass: user\nmail: r@acme.example\nuserAccountControl: 514\nmsExchRecipientTypeDetails: 16\n";
        let (_, room) = &read(text).accounts[0];
        assert_eq!((room.disabled, room.kind), (Some(true), Some(Kind::Room)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(dn: |mail:: |member: |objectClass: group\n|[a-z=,@.:;<]{0,8}|\n|\n |\\PC){0,60}") {
            let _ = (evidence(&text), read(&text));
            let _ = read(&format!("dn: cn=a\n{text}"));
        }
    }
}
