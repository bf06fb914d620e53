//! CSV exports: Google Workspace users and members, Exchange and Microsoft 365 mailboxes, lists and members, and plain lists.
//!
//! A column is known by its header, whatever its case, spaces and brackets. A table of an address book is refused: it lists
//! people whom the company knows, not accounts that it has.

use std::collections::BTreeMap;

use super::model::{Account, Forward, Found, Kind, MemberRole, Quota};
use super::names::Address;
use super::quota::{self, Unit};

/// What a column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Address,
    User,
    Domain,
    Kind,
    DisplayName,
    GivenName,
    FamilyName,
    Aliases,
    Quota(Unit),
    Disabled,
    Enabled,
    Password,
    Members,
    MemberAddress,
    MemberRole,
    MemberOf,
    GroupAddress,
    Owners,
    Forward,
    KeepCopy,
    Card(&'static str),
}

/// The meaning of a header, already without case, spaces, punctuation and what stands in square brackets.
fn column(header: &str) -> Option<Column> {
    Some(match header {
        "emailaddress"
        | "email"
        | "mail"
        | "address"
        | "primaryemail"
        | "primarysmtpaddress"
        | "primaryaddress"
        | "account"
        | "mailbox"
        | "emailadresse"
        | "mailadresse"
        | "smtpaddress"
        | "windowsemailaddress"
        | "useremail" => Column::Address,
        "userprincipalname" | "upn" | "username" | "user" | "login" | "loginname" | "benutzername" | "localpart" | "uid"
        | "samaccountname" => Column::User,
        "domain" | "maildomain" => Column::Domain,
        "type" | "accounttype" | "kind" | "recipienttypedetails" | "recipienttype" | "typ" => Column::Kind,
        "displayname" | "name" | "fullname" | "cn" | "anzeigename" | "groupname" => Column::DisplayName,
        "firstname" | "givenname" | "vorname" => Column::GivenName,
        "lastname" | "surname" | "familyname" | "sn" | "nachname" => Column::FamilyName,
        "aliases" | "emailaliases" | "emailaddresses" | "proxyaddresses" | "alternateemails" | "otheraddresses"
        | "aliasaddresses" | "mailaliases" | "emailalias" => Column::Aliases,
        "quota" | "mailboxquota" | "prohibitsendreceivequota" | "storagelimit" | "maxmailboxsize" => Column::Quota(Unit::Unknown),
        "quotabytes" => Column::Quota(Unit::Bytes),
        "quotakb" | "quotakib" => Column::Quota(Unit::Kib),
        "quotamb" | "quotamib" | "mailboxquotamb" => Column::Quota(Unit::Mib),
        "quotagb" | "quotagib" => Column::Quota(Unit::Gib),
        "status" | "disabled" | "suspended" | "blockcredential" | "accountdisabled" | "newstatus" => Column::Disabled,
        "enabled" | "accountenabled" | "active" => Column::Enabled,
        "password" | "passwort" | "passwordhash" | "userpassword" | "hash" => Column::Password,
        "members" | "groupmembers" | "mitglieder" => Column::Members,
        "memberemail" | "memberaddress" | "memberprimarysmtpaddress" | "member" | "memberemailaddress" => Column::MemberAddress,
        "memberrole" | "role" => Column::MemberRole,
        "groups" | "memberof" | "gruppen" => Column::MemberOf,
        "groupemail"
        | "group"
        | "groupaddress"
        | "groupprimarysmtpaddress"
        | "distributiongroup"
        | "list"
        | "listaddress"
        | "distributiongroupemail"
        | "groupemailaddress" => Column::GroupAddress,
        "owners" | "managedby" | "owner" => Column::Owners,
        "forward" | "forwardto" | "forwards" | "forwardingsmtpaddress" | "forwardingaddress" | "weiterleitung" => Column::Forward,
        "delivertomailboxandforward" | "keepcopy" => Column::KeepCopy,
        "company" | "organization" => Column::Card("companyname"),
        "department" => Column::Card("department"),
        "employeetitle" | "title" | "jobtitle" => Column::Card("jobtitle"),
        "office" | "officelocation" => Column::Card("officelocation"),
        "manageremail" | "manager" => Column::Card("managername"),
        "workphone" | "phone" | "phonenumber" | "officephone" => Column::Card("businesstelephonenumber"),
        "mobilephone" | "mobile" => Column::Card("mobiletelephonenumber"),
        "homephone" => Column::Card("hometelephonenumber"),
        _ => return None,
    })
}

/// Headers of address books, which no list of accounts has.
const ADDRESS_BOOK: [&str; 16] = [
    "birthday",
    "spouse",
    "anniversary",
    "hobby",
    "nickname",
    "businessstreet",
    "homestreet",
    "homecity",
    "webpage",
    "homeaddress2",
    "screenname",
    "birthyear",
    "companymainphone",
    "email1value",
    "homephone2",
    "notes",
];

fn normal(header: &str) -> String {
    let plain = header.split('[').next().unwrap_or_default();
    plain.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The table's first row, its columns, and what divides them.
struct Head {
    delimiter: u8,
    /// Rows before the header: `#TYPE ...`, `sep=;`.
    lines_skipped: u64,
    columns: Vec<Option<Column>>,
    because: Vec<String>,
}

impl Head {
    fn has(&self, column: Column) -> bool {
        self.columns.contains(&Some(column))
    }

    /// Is it a table of who belongs to what?
    fn is_membership(&self) -> bool {
        self.has(Column::GroupAddress) && (self.has(Column::MemberAddress) || self.has(Column::Address))
    }
}

fn head(text: &str) -> Option<Head> {
    let mut rest = text;
    let mut lines_skipped = 0;
    let mut delimiter = None;
    // What PowerShell and Excel write before the header.
    loop {
        let line = rest.lines().next()?;
        let named = line.strip_prefix("sep=").and_then(|d| d.bytes().next());
        if named.is_none() && !line.starts_with("#TYPE") && !line.trim().is_empty() {
            break;
        }
        delimiter = delimiter.or(named);
        rest = rest.split_once('\n')?.1;
        lines_skipped += 1;
    }
    let line = rest.lines().next()?;
    let delimiter = delimiter.unwrap_or_else(|| {
        *[b';', b'\t', b','].iter().max_by_key(|&&d| line.bytes().filter(|&b| b == d).count()).unwrap_or(&b',')
    });
    let mut reader =
        ::csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(line.as_bytes());
    let row = reader.records().next()?.ok()?;
    let headers: Vec<String> = row.iter().map(normal).collect();
    let columns: Vec<Option<Column>> = headers.iter().map(|h| column(h)).collect();
    let books = headers.iter().filter(|h| ADDRESS_BOOK.contains(&h.as_str())).count();
    let mut head = Head { delimiter, lines_skipped, columns, because: Vec::new() };
    let google = line.contains("[Required]") || headers.iter().any(|h| h == "orgunitpath");
    let exchange = headers.iter().any(|h| matches!(h.as_str(), "primarysmtpaddress" | "recipienttypedetails" | "proxyaddresses"));
    if books >= 2 && !google && !exchange {
        return None;
    }
    let has_key = head.has(Column::Address) || head.has(Column::User) || head.has(Column::GroupAddress);
    if !has_key || head.columns.iter().flatten().count() < 2 {
        return None;
    }
    let export = match (google, exchange) {
        (true, _) => "headers of a Google Workspace export",
        (_, true) => "headers of an Exchange or Microsoft 365 export",
        _ => "headers of a list of accounts",
    };
    let known: Vec<&str> = row
        .iter()
        .zip(&head.columns)
        .filter(|(_, c)| c.is_some())
        .map(|(h, _)| h.trim_start_matches('\u{feff}'))
        .take(12)
        .collect();
    head.because = vec![format!("{export}: {}", known.join(", "))];
    Some(head)
}

/// Why the text is a table of accounts.
pub(super) fn evidence(text: &str) -> Option<Vec<String>> {
    head(text).map(|head| head.because)
}

/// Reads the table. `group` is the list that a table of members without a column for it belongs to.
pub(super) fn read(text: &str, group: Option<&Address>) -> Found {
    let mut found = Found::default();
    let Some(head) = head(text) else { return found };
    let skipped = usize::try_from(head.lines_skipped).unwrap_or(usize::MAX);
    let start = text.split_inclusive('\n').take(skipped).map(str::len).sum::<usize>();
    let body = text.get(start..).unwrap_or_default();
    let mut reader =
        ::csv::ReaderBuilder::new().delimiter(head.delimiter).has_headers(true).flexible(true).from_reader(body.as_bytes());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(e) => {
                let line = e.position().map_or(0, ::csv::Position::line);
                found.cannot(line_number(line + head.lines_skipped), None, "the row cannot be read");
                continue;
            }
        };
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        found.records += 1;
        let line = line_number(record.position().map_or(0, ::csv::Position::line) + head.lines_skipped);
        let row = Row { cells: cells(&head, &record), line };
        if head.is_membership() { membership(&row, &mut found) } else { account(&row, group, &mut found) }
    }
    found
}

fn line_number(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// A row's cells by meaning; where several columns mean the same, all of them.
struct Row<'a> {
    cells: BTreeMap<Column, Vec<&'a str>>,
    line: u32,
}

fn cells<'a>(head: &Head, record: &'a ::csv::StringRecord) -> BTreeMap<Column, Vec<&'a str>> {
    let mut cells: BTreeMap<Column, Vec<&str>> = BTreeMap::new();
    for (column, cell) in head.columns.iter().zip(record.iter()) {
        if let (Some(column), false) = (column, cell.trim().is_empty()) {
            cells.entry(*column).or_default().push(cell.trim());
        }
    }
    cells
}

impl<'a> Row<'a> {
    fn all(&self, column: Column) -> &[&'a str] {
        self.cells.get(&column).map_or(&[], Vec::as_slice)
    }

    fn first(&self, column: Column) -> Option<&'a str> {
        self.all(column).first().copied()
    }

    fn owned(&self, column: Column) -> Option<String> {
        self.first(column).map(str::to_owned)
    }

    /// Whose row it is: an address, or a user's name and a domain.
    fn address(&self) -> Option<Address> {
        let whole = self.all(Column::Address).iter().chain(self.all(Column::User)).find_map(|cell| Address::parse(cell));
        whole.or_else(|| {
            let domain = self.first(Column::Domain)?;
            let user = self.first(Column::User).or_else(|| self.first(Column::Address))?;
            Address::parse(&format!("{user}@{domain}"))
        })
    }

    /// A row that says nothing of an account is counted; one whose address makes no sense is listed.
    fn without_address(&self, columns: &[Column], reason: &str, found: &mut Found) {
        match columns.iter().find_map(|column| self.first(*column)) {
            Some(text) => found.cannot(self.line, None, format!("'{}' is no mail address", crate::model::printable(text))),
            None => found.pass_over(reason),
        }
    }

    /// The addresses in cells that hold several; what is none is listed.
    fn addresses(&self, column: Column, of: &Address, found: &mut Found) -> Vec<Address> {
        let mut addresses = Vec::new();
        for part in self.all(column).iter().flat_map(|cell| split(cell)) {
            match Address::parse(part) {
                Some(address) => addresses.push(address),
                // Exchange lists X.400 and SIP addresses beside those of mail, and calls people by their names.
                None if is_other_scheme(part) => {}
                None => found.cannot(self.line, Some(of), format!("'{}' is no mail address", crate::model::printable(part))),
            }
        }
        addresses
    }
}

/// Cells hold lists divided by `;`, `,`, `|`, `+` (Microsoft 365), line ends or spaces.
fn split(cell: &str) -> impl Iterator<Item = &str> {
    let inner = cell.strip_prefix('{').and_then(|c| c.strip_suffix('}')).unwrap_or(cell);
    let plus = inner.contains("+smtp:") || inner.contains("+SMTP:");
    inner
        .split(move |c: char| matches!(c, ';' | ',' | '|' | '\n' | '\r' | ' ' | '\t') || (plus && c == '+'))
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn is_other_scheme(part: &str) -> bool {
    part.split_once(':')
        .is_some_and(|(scheme, _)| !scheme.eq_ignore_ascii_case("smtp") && scheme.chars().all(char::is_alphanumeric))
}

fn membership(row: &Row<'_>, found: &mut Found) {
    let Some(group) = row.first(Column::GroupAddress).and_then(Address::parse) else {
        return row.without_address(&[Column::GroupAddress], "the group has no address", found);
    };
    let member = row.first(Column::MemberAddress).or_else(|| row.first(Column::Address));
    let Some(member) = member.and_then(Address::parse) else {
        return row.without_address(&[Column::MemberAddress, Column::Address], "the member has no address", found);
    };
    let role = row.first(Column::MemberRole).map_or(MemberRole::Member, role);
    let members = BTreeMap::from([(member, role)]);
    found.accounts.push((group, Account { members, ..Account::default() }));
}

fn role(text: &str) -> MemberRole {
    match text.to_ascii_lowercase().as_str() {
        "owner" => MemberRole::Owner,
        "manager" => MemberRole::Manager,
        _ => MemberRole::Member,
    }
}

fn account(row: &Row<'_>, group: Option<&Address>, found: &mut Found) {
    let Some(address) = row.address().or_else(|| row.first(Column::GroupAddress).and_then(Address::parse)) else {
        return row.without_address(&[Column::Address, Column::GroupAddress], "the row has no mail address", found);
    };
    if let Some(group) = group.filter(|g| **g != address) {
        let members = BTreeMap::from([(address, MemberRole::Member)]);
        return found.accounts.push((group.clone(), Account { members, ..Account::default() }));
    }
    let mut account = Account {
        kind: kind(row, &address, found),
        display_name: row.owned(Column::DisplayName),
        given_name: row.owned(Column::GivenName),
        family_name: row.owned(Column::FamilyName),
        had_password: row.first(Column::Password).is_some(),
        disabled: disabled(row),
        quota: quota(row, &address, found),
        ..Account::default()
    };
    account.aliases = row.addresses(Column::Aliases, &address, found).into_iter().filter(|a| *a != address).collect();
    for owner in row.addresses(Column::Owners, &address, found) {
        account.members.insert(owner, MemberRole::Owner);
    }
    for member in row.addresses(Column::Members, &address, found) {
        account.members.entry(member).or_default();
    }
    let to = row.addresses(Column::Forward, &address, found);
    if !to.is_empty() {
        let keep_copy = row.first(Column::KeepCopy).and_then(truth);
        account.forward = Some(Forward { to: to.into_iter().collect(), keep_copy });
    }
    for (column, cells) in &row.cells {
        if let (Column::Card(name), Some(cell)) = (column, cells.first()) {
            account.card.insert((*name).to_owned(), (*cell).to_owned());
        }
    }
    for group in row.addresses(Column::MemberOf, &address, found) {
        let members = BTreeMap::from([(address.clone(), MemberRole::Member)]);
        found.accounts.push((group, Account { members, ..Account::default() }));
    }
    found.accounts.push((address, account));
}

fn quota(row: &Row<'_>, address: &Address, found: &mut Found) -> Option<Quota> {
    let (column, cells) = row.cells.iter().find(|(column, _)| matches!(column, Column::Quota(_)))?;
    let Column::Quota(unit) = column else { return None };
    match quota::parse(cells.first()?, *unit) {
        Ok(quota) => quota,
        Err(why) => {
            found.cannot(row.line, Some(address), why);
            None
        }
    }
}

fn kind(row: &Row<'_>, address: &Address, found: &mut Found) -> Option<Kind> {
    let text = row.first(Column::Kind)?;
    let word = normal(text);
    let kind = match word.as_str() {
        "user" | "usermailbox" | "person" | "account" | "mailbox" | "member" | "benutzer" => Kind::User,
        "shared" | "sharedmailbox" | "teammailbox" => Kind::Shared,
        "room" | "roommailbox" => Kind::Room,
        "equipment" | "equipmentmailbox" | "resource" | "car" => Kind::Equipment,
        "list" | "mailinglist" | "distributionlist" | "mailuniversaldistributiongroup" | "verteiler" => Kind::List,
        "group" | "groupmailbox" | "mailuniversalsecuritygroup" | "roomlist" | "gruppe" => Kind::Group,
        _ => {
            found.cannot(row.line, Some(address), format!("the type '{}' is not known", crate::model::printable(text)));
            return None;
        }
    };
    Some(kind)
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "ja" | "enabled" | "active" => Some(true),
        "false" | "no" | "0" | "nein" | "disabled" => Some(false),
        _ => None,
    }
}

/// `Status: Suspended` and `Disabled: yes` say no; `Status: Active` and `Enabled: true` say yes.
fn disabled(row: &Row<'_>) -> Option<bool> {
    let barred = row.first(Column::Disabled).and_then(|text| match text.to_ascii_lowercase().as_str() {
        "suspended" | "disabled" | "blocked" | "archived" | "inactive" | "true" | "yes" | "1" => Some(true),
        "active" | "enabled" | "false" | "no" | "0" => Some(false),
        _ => None,
    });
    barred.or_else(|| row.first(Column::Enabled).and_then(truth).map(|enabled| !enabled))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of<'a>(found: &'a Found, address: &str) -> &'a Account {
        let address = Address::parse(address).unwrap();
        &found.accounts.iter().rev().find(|(a, _)| *a == address).expect("an account").1
    }

    #[test]
    fn google_users_are_read_by_their_headers() {
        let text = "First Name [Required],Last Name [Required],Email Address [Required],Password [Required],Org Unit Path [Required],Status [READ ONLY],Storage limit [READ ONLY],Employee Title,Home Phone,Birthday,Notes\n\
            Anna,Müller,anna@acme.example,geheim,/,Suspended,30.0GB,Buyer,,,\n";
        let found = read(text, None);
        let anna = of(&found, "anna@acme.example");
        assert_eq!((anna.given_name.as_deref(), anna.family_name.as_deref()), (Some("Anna"), Some("Müller")));
        assert_eq!(anna.quota, Some(Quota::Bytes(30 << 30)));
        assert_eq!(anna.disabled, Some(true));
        assert!(anna.had_password);
        assert!(!format!("{found:?}").contains("geheim"));
    }

    #[test]
    fn google_members_fill_their_groups() {
        let text = "Group Email [Required],Member Email,Member Role\nteam@acme.example,anna@acme.example,OWNER\nteam@acme.example,boris@acme.example,MEMBER\n,x@acme.example,MEMBER\n";
        let found = read(text, None);
        assert_eq!(found.accounts.len(), 2);
        assert_eq!(found.accounts[0].1.members.values().next(), Some(&MemberRole::Owner));
        assert_eq!(found.passed_over.get("the group has no address"), Some(&1));
    }

    #[test]
    fn exchange_mailboxes_are_read_with_their_proxy_addresses() {
        let text = "#TYPE Selected.Microsoft.Exchange\n\"DisplayName\";\"PrimarySmtpAddress\";\"EmailAddresses\";\"RecipientTypeDetails\";\"ProhibitSendReceiveQuota\";\"ForwardingSmtpAddress\";\"DeliverToMailboxAndForward\"\n\
            \"Raum 1\";\"room1@acme.example\";\"SMTP:room1@acme.example;smtp:raum@acme.example;X400:c=US;a= ;p=Acme;SIP:room1@acme.example\";\"RoomMailbox\";\"50 GB (53,687,091,200 bytes)\";\"smtp:boris@acme.example\";\"True\"\n";
        let found = read(text, None);
        let room = of(&found, "room1@acme.example");
        assert_eq!(room.kind, Some(Kind::Room));
        assert_eq!(room.aliases.iter().map(Address::as_str).collect::<Vec<_>>(), ["raum@acme.example"]);
        assert_eq!(room.quota, Some(Quota::Bytes(53_687_091_200)));
        assert_eq!(room.forward.as_ref().and_then(|f| f.keep_copy), Some(true));
    }

    #[test]
    fn members_without_a_column_for_the_list_belong_to_the_named_one() {
        let list = Address::parse("sales@acme.example").unwrap();
        let found = read("Name,PrimarySmtpAddress,RecipientType\nAnna,anna@acme.example,UserMailbox\n", Some(&list));
        assert_eq!(found.accounts[0].0, list);
        assert!(found.accounts[0].1.members.contains_key(&Address::parse("anna@acme.example").unwrap()));
    }

    #[test]
    fn a_user_and_a_domain_make_an_address() {
        let found =
            read("username;domain;quota MB;aliases\nanna;acme.example;2048;a@acme.example, am@acme.example broken\n", None);
        let anna = of(&found, "anna@acme.example");
        assert_eq!((anna.aliases.len(), anna.quota), (2, Some(Quota::Bytes(2 << 30))));
        assert_eq!(found.unmapped.len(), 1);
    }

    #[test]
    fn an_address_book_and_other_tables_are_refused() {
        for text in [
            "First Name,Last Name,E-mail Address,Business Street,Birthday,Spouse\nA,B,a@b.example,,,\n",
            "Name,Nickname,E-mail 1 - Value,Birthday,Notes\n",
            "a,b,c\n1,2,3\n",
            "",
            "email\na@b.example\n",
        ] {
            assert_eq!(evidence(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic(text in "(email|quota|name|members|[,;\"\n\r\t ]|[a-z@.]{0,6}|\\PC){0,60}") {
            let table = format!("email,name,quota,members,aliases\n{text}");
            let _ = (evidence(&text), read(&text, None), read(&table, None));
        }
    }
}
