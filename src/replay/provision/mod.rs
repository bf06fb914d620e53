//! Makes what a plan says of domains, accounts, members, rights and rules, and the server does not have yet: looks first, writes, looks
//! again. What somebody else made is added to and never taken away.

mod accounts;
mod finish;
mod offline;
mod passwords;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

pub use offline::offline;
pub use passwords::Passwords;

use super::plan::{AccountPlan, Plan};
use crate::directory::{Kind, domain_of, local_part};
use crate::error::{Error, Kind as Failure, Result};
use crate::icewarp::api::{Api, Element};

/// How long to wait for something written to show before it is written again.
const WAITS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
    Duration::from_secs(18),
];
/// A 0 means "not applied"; a server that says it so often means it.
const ZEROS: u32 = 3;

/// What was there and what was made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// Domains made now.
    pub domains: Vec<String>,
    /// Accounts made now.
    pub made: Vec<String>,
    /// Accounts that were there.
    pub there: Vec<String>,
    /// What was written to accounts: the account, and what of it.
    pub written: Vec<(String, String)>,
    /// What was as the plan says already.
    pub as_planned: u64,
    /// What waits until the mail is there, in words, with how often.
    pub waiting: BTreeMap<&'static str, u64>,
    /// Accounts, or something of them, that the server would not take, and why.
    pub refused: Vec<(String, String)>,
}

impl Provisioned {
    fn refuse(&mut self, account: &str, why: impl Into<String>) {
        self.refused.push((account.to_owned(), why.into()));
    }

    /// Notes how something of an account ended.
    fn note(&mut self, account: &str, what: &str, ended: Ended) {
        match ended {
            Ended::There => self.as_planned += 1,
            Ended::Written => self.written.push((account.to_owned(), what.to_owned())),
            Ended::Refused => self.refuse(account, format!("{what}: the server took it and does not keep it")),
        }
    }
}

/// How one thing that was to be on the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// It was there.
    There,
    /// It was written, and is there now.
    Written,
    /// It was written, and is not there.
    Refused,
}

/// Writes something until a look shows it. A server may answer that it was not done, be done and not show yet, or say "done" of what it
/// did not do.
fn insist(
    api: &mut Api,
    look: &mut dyn FnMut(&mut Api) -> Result<bool>,
    write: &mut dyn FnMut(&mut Api) -> Result<bool>,
) -> Result<Ended> {
    if look(api)? {
        return Ok(Ended::There);
    }
    let mut zeros = 0;
    for wait in WAITS {
        sleep(wait);
        if !wait.is_zero() && look(api)? {
            return Ok(Ended::Written);
        }
        zeros += u32::from(!write(api)?);
        if look(api)? {
            return Ok(Ended::Written);
        }
        if zeros >= ZEROS {
            break;
        }
    }
    Ok(Ended::Refused)
}

/// Makes what is missing of the plan: domains, accounts, their properties and members; with `finish` also what would act on mail or lock
/// somebody out, and rights, whose folders have to be there. Passwords of new accounts are in their file before the accounts are made.
///
/// # Errors
/// When the server cannot be reached or refuses the session, or the password file cannot be written.
pub fn provision(plan: &Plan, api: &mut Api, passwords: &Passwords, finish: bool) -> Result<Provisioned> {
    let mut done = Provisioned::default();
    domains(plan, api, &mut done)?;
    let there = accounts::there(plan, api)?;
    let new = accounts::missing(plan, &there);
    let policy = passwords::policy(api)?;
    let secrets = passwords.prepare(&new, &policy)?;
    // Users first: they are members, owners and managers of the others.
    let order = |a: &&AccountPlan| match a.details.kind {
        Kind::User | Kind::Shared => 0,
        Kind::Room | Kind::Equipment => 1,
        Kind::Group => 2,
        Kind::List => 3,
    };
    let mut wanted: Vec<&AccountPlan> = plan.accounts.iter().filter(|a| !a.skip).collect();
    wanted.sort_by_key(order);
    let mut ready = Vec::new();
    for account in wanted {
        let made = accounts::make(account, &there, &secrets, api, &mut done);
        if settle(account, made, &mut done)? == Some(true) {
            ready.push(account);
        }
    }
    for account in &ready {
        let told = accounts::describe(plan, account, api, &mut done);
        settle(account, told.map(|()| true), &mut done)?;
    }
    for account in &ready {
        if finish {
            let finished = finish::finish(account, api, &mut done);
            settle(account, finished.map(|()| true), &mut done)?;
        } else {
            finish::count(account, &mut done.waiting);
        }
    }
    Ok(done)
}

/// Writes the rights in the folders of those accounts, and nothing else; their mail is there.
///
/// # Errors
/// When the server cannot be reached or refuses the session.
pub fn rights(accounts: &[&AccountPlan], api: &mut Api) -> Result<Provisioned> {
    let mut done = Provisioned::default();
    for account in accounts {
        let written = finish::rights(account, api, &mut done);
        settle(account, written.map(|()| true), &mut done)?;
    }
    Ok(done)
}

/// What was refused of one account is listed, and the others go on; a server that is gone ends it.
fn settle(account: &AccountPlan, result: Result<bool>, done: &mut Provisioned) -> Result<Option<bool>> {
    match result {
        Ok(ready) => Ok(Some(ready)),
        Err(e) if e.kind() == Failure::Refused => {
            done.refuse(&account.target, e.to_string());
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn domains(plan: &Plan, api: &mut Api, done: &mut Provisioned) -> Result<()> {
    let plain = plan.domains.iter().map(|domain| (domain.to_lowercase(), Vec::new()));
    // Type 2 is an alias of another domain.
    let aliases = plan.domain_aliases.iter().map(|(alias, domain)| {
        let properties = vec![("D_Type", Element::string("2")), ("D_DomainValue", Element::string(&**domain))];
        (alias.to_lowercase(), properties)
    });
    for (domain, properties) in plain.chain(aliases) {
        let ended =
            insist(api, &mut |api| Ok(api.domains()?.contains(&domain)), &mut |api| api.create_domain(&domain, &properties))?;
        match ended {
            Ended::There => {}
            Ended::Written => done.domains.push(domain),
            Ended::Refused => {
                return Err(Error::new(Failure::Refused, "the server would not make a domain")
                    .with("domain", &domain)
                    .hint("make it by hand, or look at the licence, and run the same command again"));
            }
        }
    }
    Ok(())
}

/// The local part in small letters, and the domain.
fn parts(address: &str) -> (String, String) {
    (local_part(address).to_lowercase(), domain_of(address).to_lowercase())
}
