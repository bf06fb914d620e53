//! Dovecot's passwd-file: `user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields`, and the `|`-separated form of container images.
//!
//! The password field is looked at for being empty or not; it goes no further.

use super::model::{Account, Found, Kind, Quota};
use super::names::Address;
use super::quota::{self, Unit};

/// Why the text is a passwd-file. A list of `name:number` is none: most lines must have a hash with its scheme, or all seven fields.
pub(super) fn evidence(text: &str) -> Option<String> {
    let (mut lines_count, mut fitting) = (0_usize, 0_usize);
    for (_, line) in lines(text).take(1000) {
        lines_count += 1;
        let mut fields = line.split(separator(line));
        let user = fields.next().unwrap_or_default();
        let has_scheme = fields.next().is_some_and(|p| p.starts_with('{') && p.contains('}') || p.starts_with("$"));
        let user_is_plain = !user.is_empty() && !user.contains([' ', ',', ';', '"', '=']);
        fitting += usize::from(user_is_plain && (has_scheme || fields.count() >= 5));
    }
    (fitting > 0 && fitting * 10 >= lines_count * 9).then(|| format!("{fitting} lines of user and password hash"))
}

fn lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    text.lines().zip(1..).map(|(line, number)| (number, line.trim())).filter(|(_, l)| !l.is_empty() && !l.starts_with('#'))
}

/// The form of container images has a `|` after the user.
fn separator(line: &str) -> char {
    match line.find([':', '|']).and_then(|at| line.get(at..)) {
        Some(rest) if rest.starts_with('|') => '|',
        _ => ':',
    }
}

/// Reads the file.
pub(super) fn read(text: &str) -> Found {
    let mut found = Found::default();
    for (number, line) in lines(text) {
        found.records += 1;
        let separator = separator(line);
        let fields: Vec<&str> = if separator == '|' { line.splitn(3, '|').collect() } else { line.splitn(8, ':').collect() };
        let user = fields.first().copied().unwrap_or_default();
        let Some(address) = Address::parse(user) else {
            found.pass_over(if user.contains('@') { "the user is no mail address" } else { "the user has no domain" });
            continue;
        };
        let mut account =
            Account { kind: Some(Kind::User), had_password: fields.get(1).is_some_and(|p| !p.is_empty()), ..Account::default() };
        let extra = if separator == '|' { fields.get(2) } else { fields.get(7) };
        if separator == ':' {
            account.display_name = fields.get(4).map(|g| g.split(',').next().unwrap_or_default().trim().to_owned());
            account.display_name = account.display_name.filter(|name| !name.is_empty());
        }
        for field in extra.copied().unwrap_or_default().split_whitespace() {
            if let Err(why) = extra_field(field, &mut account) {
                found.cannot(number, Some(&address), why);
            }
        }
        found.accounts.push((address, account));
    }
    found
}

/// One extra field; those that say where mail lies or how to log in mean nothing to a directory.
fn extra_field(field: &str, account: &mut Account) -> Result<(), String> {
    let (name, value) = field.split_once('=').unwrap_or((field, ""));
    let name = name.strip_prefix("userdb_").unwrap_or(name);
    match name {
        "nologin" => account.disabled = Some(true),
        "quota_storage_size" => account.quota = quota::parse(value, Unit::Bytes)?,
        name if name.starts_with("quota_rule") => match quota_rule(value) {
            Some(quota) => account.quota = Some(quota?),
            None => return Err("a quota rule of a folder or of a number of messages".to_owned()),
        },
        _ => {}
    }
    Ok(())
}

/// `*:storage=1G`, `*:bytes=1073741824`; a bare number of storage is KiB. `None` for other rules.
fn quota_rule(rule: &str) -> Option<Result<Quota, String>> {
    let limits = rule.strip_prefix("*:")?;
    let limit = |name: &str| limits.split(':').find_map(|l| l.strip_prefix(name));
    let (value, unit) = match (limit("storage="), limit("bytes=")) {
        (Some(value), _) => (value, Unit::Kib),
        (None, Some(value)) => (value, Unit::Bytes),
        (None, None) => return None,
    };
    Some(quota::parse(value, unit).map(|q| q.unwrap_or(Quota::Unlimited)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# people\n\
        anna@acme.example:{SHA512-CRYPT}$6$hunter2hash:1000:1000:Anna Müller,,,:/home/anna::userdb_quota_rule=*:storage=2G userdb_mail=maildir:~/M\n\
        boris@acme.example:{PLAIN}geheim::::::userdb_quota_rule=*:bytes=1024 userdb_quota_rule2=Trash:storage=+100M nologin\n\
        root:{PLAIN}toor::::::\n";

    #[test]
    fn users_quotas_and_names_are_read_and_no_password_is_kept() {
        let found = read(FILE);
        let (anna, boris) = (&found.accounts[0].1, &found.accounts[1].1);
        assert_eq!(anna.display_name.as_deref(), Some("Anna Müller"));
        assert_eq!(anna.quota, Some(Quota::Bytes(2 << 30)));
        assert_eq!(boris.quota, Some(Quota::Bytes(1024)));
        assert_eq!(boris.disabled, Some(true));
        assert!(anna.had_password && boris.had_password);
        assert_eq!(found.passed_over.get("the user has no domain"), Some(&1));
        assert_eq!(found.unmapped.len(), 1);
        let shown = format!("{found:?}");
        for secret in ["hunter2hash", "geheim", "toor"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn the_form_of_container_images_is_known_by_its_bars() {
        let text = "user1@localhost.localdomain|{SHA512-CRYPT}$6$abc|userdb_quota_rule=*:storage=5M\n";
        assert!(evidence(text).is_some());
        assert_eq!(read(text).accounts[0].1.quota, Some(Quota::Bytes(5 << 20)));
    }

    #[test]
    fn other_text_is_no_passwd_file() {
        for text in ["", "Subject: a\n\nbody\n", "dn: cn=x\nmail: a@b\n", "name,mail\na,a@b\n", "key: value\n"] {
            assert_eq!(evidence(text), None, "{text}");
        }
    }
}
