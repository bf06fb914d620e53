//! Makes the domains and accounts of a plan that the server does not have yet: looks first, writes, looks again.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::plan::{AccountPlan, Plan};
use crate::error::{Error, Kind, Result};
use crate::icewarp::api::Api;
use crate::net::Secret;

/// How long a new account may take to show.
const LAG: Duration = Duration::from_secs(30);
/// Letters and digits that nobody mixes up when typing.
const LETTERS: [&[u8]; 4] = [b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnpqrstuvwxyz", b"23456789", b"-+=.!?#"];
/// Characters of a new password.
const PASSWORD_LENGTH: usize = 18;

/// What was there and what was made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// Domains made now.
    pub domains: Vec<String>,
    /// Accounts made now.
    pub made: Vec<String>,
    /// Accounts that were there.
    pub there: Vec<String>,
    /// Accounts that the server would not make, and why.
    pub refused: Vec<(String, String)>,
}

/// Makes what is missing. Passwords of new accounts are in `passwords`, a file of mode 0600, before their accounts are made.
///
/// # Errors
/// When the server cannot be reached or refuses the session, or the password file cannot be written.
pub fn provision(plan: &Plan, api: &mut Api, passwords: &Path) -> Result<Provisioned> {
    let mut done = Provisioned::default();
    let domains: BTreeSet<String> = api.domains()?.into_iter().collect();
    for domain in plan.domains.iter().map(|d| d.to_lowercase()).filter(|d| !domains.contains(d)) {
        api.create_domain(&domain)?;
        if !api.domains()?.contains(&domain) {
            return Err(Error::new(Kind::Refused, "the server would not make a domain")
                .with("domain", &domain)
                .hint("make it by hand, or look at the licence, and run the same command again"));
        }
        done.domains.push(domain);
    }
    let mut there = BTreeSet::new();
    for domain in plan.accounts.iter().filter(|a| !a.skip).filter_map(|a| domain_of(&a.target)).collect::<BTreeSet<_>>() {
        there.extend(api.accounts(&domain, "*")?);
    }
    for account in plan.accounts.iter().filter(|a| !a.skip) {
        if there.contains(&account.target.to_lowercase()) {
            done.there.push(account.target.clone());
        } else if account.create {
            match make(account, api, passwords) {
                Ok(()) => done.made.push(account.target.clone()),
                Err(e) if e.kind() == Kind::Refused => done.refused.push((account.target.clone(), e.to_string())),
                Err(e) => return Err(e),
            }
        } else {
            done.refused.push((account.target.clone(), "it is missing, and the plan says not to make it".to_owned()));
        }
    }
    Ok(done)
}

fn domain_of(address: &str) -> Option<String> {
    address.rsplit_once('@').map(|(_, domain)| domain.to_lowercase())
}

fn make(account: &AccountPlan, api: &mut Api, passwords: &Path) -> Result<()> {
    let (local, domain) = account.target.rsplit_once('@').unwrap_or((&account.target, ""));
    let password = new_password(local)?;
    keep(passwords, &account.target, &password)?;
    let alias =
        std::iter::once(local).chain(account.aliases.iter().filter_map(|a| a.split('@').next())).collect::<Vec<_>>().join(";");
    let quota = account.quota.map(|bytes| bytes.div_ceil(1024).to_string());
    let name = account.name.as_deref().unwrap_or(local);
    // An account that may only use POP3 has no calendars: 1 is IMAP and POP3.
    let mut properties =
        vec![("U_Type", "0"), ("U_Mailbox", local), ("U_Alias", &alias), ("U_Name", name), ("U_AccountType", "1")];
    properties.push(("U_Password", password.expose()));
    match &quota {
        Some(kilobytes) => properties.extend([("U_MaxBox", "1"), ("U_MaxBoxSize", kilobytes.as_str())]),
        None => properties.push(("U_MaxBox", "0")),
    }
    api.create_account(domain, &properties)?;
    let since = Instant::now();
    while !api.accounts(domain, local)?.contains(&account.target.to_lowercase()) {
        if since.elapsed() > LAG {
            return Err(Error::new(Kind::Refused, "the server took the account's data and did not make it").hint(
                "the licence may be used up, one of its addresses may be taken, or a policy forbids it: look in the server's console",
            ));
        }
        sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Adds a line to the password file, and is sure that it lasts.
fn keep(passwords: &Path, address: &str, password: &Secret) -> Result<()> {
    let failed = |e| Error::io(Kind::Storage, "cannot write the password file", passwords, e);
    let mut file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(passwords).map_err(failed)?;
    let mut row = csv::Writer::from_writer(Vec::new());
    row.write_record([address, password.expose()]).map_err(|e| failed(std::io::Error::other(e)))?;
    let row = row.into_inner().map_err(|e| failed(std::io::Error::other(e.to_string())))?;
    file.write_all(&row).and_then(|()| file.sync_data()).map_err(failed)
}

/// A password with capitals, small letters, digits and signs, that does not hold the account's name.
fn new_password(local: &str) -> Result<Secret> {
    loop {
        let mut random = [0_u8; PASSWORD_LENGTH * 2];
        rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut random)
            .map_err(|_| Error::new(Kind::Internal, "the system gives no random numbers"))?;
        let text: String = random
            .chunks_exact(2)
            .enumerate()
            .map(|(at, two)| {
                let set = LETTERS[at % LETTERS.len()];
                char::from(set[usize::from(u16::from_le_bytes([two[0], two[1]])) % set.len()])
            })
            .collect();
        if !text.to_lowercase().contains(&local.to_lowercase()) {
            return Ok(Secret::new(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_every_kind_of_character_and_not_the_name() {
        for _ in 0..200 {
            let password = new_password("a").expect("password");
            let has = |test: fn(&char) -> bool| password.expose().chars().any(|c| test(&c));
            assert!(has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit));
            assert!(has(char::is_ascii_punctuation) && !password.expose().to_lowercase().contains('a'));
        }
    }
}
