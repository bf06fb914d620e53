//! Provisioning where no API can be reached: scripts for the server's own command line, and the lists that it and its web console import.
//!
//! Every value is quoted for the shell that reads it, and what a shell cannot hold is listed instead. Passwords are in files of mode 0600
//! that the scripts hand over by name: a command line can be seen by everybody on the machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::parts;
use super::passwords::{Passwords, USUAL};
use crate::directory::{Address, Kind};
use crate::error::{Error, Kind as Failure, Result};
use crate::net::Secret;
use crate::replay::plan::{AccountPlan, Plan, has_mailbox};

/// What the scripts begin with.
const HEAD_SH: &str = include_str!("offline.sh");
const HEAD_CMD: &str = include_str!("offline.cmd");

/// What was written, and what a person has to do by hand.
#[derive(Debug, Default)]
pub struct Offline {
    /// Accounts in the scripts.
    pub accounts: u64,
    /// Account, and what of it is in no script.
    pub by_hand: Vec<(String, String)>,
}

/// Writes the scripts and lists into `out`, a new folder. New passwords are made, and in `passwords` too.
///
/// # Errors
/// `Kind::Usage` when the folder is there already, `Kind::Storage` when it cannot be written.
pub fn offline(plan: &Plan, out: &Path, passwords: &Passwords) -> Result<Offline> {
    let accounts: Vec<&AccountPlan> = plan.accounts.iter().filter(|a| !a.skip).collect();
    make_folder(out)?;
    make_folder(&out.join("secrets"))?;
    let mailboxes: Vec<String> =
        accounts.iter().filter(|a| a.create && has_mailbox(a.details.kind)).map(|a| a.target.to_lowercase()).collect();
    let secrets = passwords.prepare(&mailboxes, &USUAL)?;
    let mut scripts = Scripts {
        out: out.to_owned(),
        sh: HEAD_SH.to_owned(),
        cmd: HEAD_CMD.to_owned(),
        done: Offline::default(),
        finishing: false,
    };
    for domain in &plan.domains {
        scripts.call(domain, "make_domain", &[domain]);
    }
    for (alias, domain) in &plan.domain_aliases {
        scripts.call(alias, "make_domain", &[alias]);
        scripts.call(alias, "want", &["domain", alias, "d_type", "2"]);
        scripts.call(alias, "want", &["domain", alias, "d_domainvalue", domain]);
    }
    for (number, account) in (1..).zip(&accounts) {
        scripts.account(plan, number, account, &secrets)?;
    }
    scripts.finish_begins();
    for account in &accounts {
        scripts.finish(account);
    }
    scripts.lists(&accounts, &secrets)?;
    scripts.end()
}

struct Scripts {
    out: PathBuf,
    sh: String,
    cmd: String,
    done: Offline,
    finishing: bool,
}

impl Scripts {
    /// A call of one of the functions that the scripts begin with, in both of them. Values that a shell or the tool could mistake are
    /// left to a person.
    fn call(&mut self, account: &str, function: &str, values: &[&str]) {
        match values.iter().find_map(|value| unfit(value)) {
            Some(why) => self.by_hand(account, format!("{function} {}: {why}", values.join(" "))),
            None => {
                let words: Vec<String> = values.iter().map(|v| quoted_sh(v)).collect();
                // Writing to a String cannot fail.
                let _ = writeln!(self.sh, "{function} {}", words.join(" "));
                match values.iter().map(|v| quoted_cmd(v)).collect::<Option<Vec<String>>>() {
                    Some(words) => {
                        let _ = write!(self.cmd, "call :{function} {}\r\n", words.join(" "));
                    }
                    None => self.by_hand(account, format!("in provision.cmd only: {} holds a quotation mark", values.join(" "))),
                }
            }
        }
    }

    fn by_hand(&mut self, account: &str, what: impl Into<String>) {
        self.done.by_hand.push((account.to_owned(), what.into()));
    }

    fn account(&mut self, plan: &Plan, number: u32, account: &AccountPlan, secrets: &BTreeMap<String, Secret>) -> Result<()> {
        let target = account.target.to_lowercase();
        let (local, domain) = parts(&target);
        self.done.accounts += 1;
        let kind = match account.details.kind {
            Kind::User | Kind::Shared => "0",
            Kind::List => "1",
            Kind::Group => "7",
            Kind::Room | Kind::Equipment => "8",
        };
        if !account.create {
            return Ok(());
        }
        match secrets.get(&target) {
            Some(secret) if unfit(secret.expose()).is_none() && !secret.expose().contains([',', '"']) => {
                let file = format!("secrets/{number:05}.txt");
                write_private(&self.out.join(&file), 0o600, format!("{target},{}\n", secret.expose()).as_bytes())?;
                self.call(&target, "make_mailbox", &[&target, &file]);
            }
            Some(_) => {
                self.by_hand(
                    &target,
                    "its password holds a character that the tool's import may mistake: make the account by hand",
                );
                return Ok(());
            }
            None => self.call(&target, "make_other", &[&target, kind]),
        }
        if let Some(name) = &account.name {
            self.call(&target, "want", &["account", &target, "u_name", name]);
        }
        let mut aliases = vec![local.clone()];
        for alias in &account.aliases {
            let (name, of) = parts(alias);
            if plan.is_own_domain(&target, &of) {
                aliases.push(name);
            } else {
                self.call(alias, "make_other", &[alias, "1"]);
                self.call(alias, "fill", &[alias, "m_listfile_contents", &target]);
            }
        }
        if aliases.len() > 1 {
            self.call(&target, "want", &["account", &target, "u_alias", &aliases.join(";")]);
        }
        self.properties(&target, &domain, account);
        Ok(())
    }

    fn properties(&mut self, target: &str, _domain: &str, account: &AccountPlan) {
        let details = &account.details;
        let owner = details.owners.first().map(Address::as_str);
        match details.kind {
            Kind::User | Kind::Shared => {
                self.call(target, "want", &["account", target, "u_accounttype", "1"]);
                if let Some(bytes) = account.quota {
                    self.call(target, "want", &["account", target, "u_maxbox", "1"]);
                    self.call(target, "want", &["account", target, "u_maxboxsize", &bytes.div_ceil(1024).to_string()]);
                }
            }
            Kind::List => {
                self.call(target, "want", &["account", target, "m_sendalllists", "0"]);
                if let Some(owner) = owner {
                    self.call(target, "want", &["account", target, "m_owneraddress", owner]);
                }
            }
            Kind::Group => {}
            Kind::Room | Kind::Equipment => {
                let kind = if details.kind == Kind::Room { "0" } else { "1" };
                self.call(target, "want", &["account", target, "s_type", kind]);
                if let Some(owner) = owner {
                    self.call(target, "want", &["account", target, "s_manager", owner]);
                }
            }
        }
        let members: Vec<&str> = details.members.iter().map(Address::as_str).collect();
        if !members.is_empty() {
            let variable = if details.kind == Kind::Group { "g_listfile_contents" } else { "m_listfile_contents" };
            // A command line of cmd has no line ends: members are the one thing that only the shell script makes.
            let _ = writeln!(self.sh, "fill {} {variable} {}", quoted_sh(target), quoted_sh(&members.join("\n")));
            self.by_hand(target, format!("in provision.cmd only: its {} members, see members.csv", members.len()));
        }
        for (count, what) in
            [(details.rights.len(), "rights"), (details.rules.len(), "rules"), (details.card.len(), "fields of its card")]
        {
            if count > 0 {
                self.by_hand(target, format!("{count} {what}: the command line cannot set them; provision with the API can"));
            }
        }
        if details.responder.is_some() {
            self.by_hand(target, "its responder: the command line cannot set it; provision with the API can");
        }
    }

    /// What waits until the mail is there runs only as `provision.sh finish`.
    fn finish_begins(&mut self) {
        self.finishing = true;
        self.sh.push_str("if [ \"${1:-}\" != finish ]; then end; fi\n");
        self.cmd.push_str("if /i not \"%~1\"==\"finish\" goto end\r\n");
    }

    fn finish(&mut self, account: &AccountPlan) {
        let target = account.target.to_lowercase();
        if let Some(forward) = account.details.forward.as_ref().filter(|f| !f.to.is_empty()) {
            let to: Vec<&str> = forward.to.iter().map(Address::as_str).collect();
            self.call(&target, "want", &["account", &target, "u_forwardto", &to.join(";")]);
        }
        if account.details.disabled {
            self.call(&target, "want", &["account", &target, "u_accountdisabled", "1"]);
        }
    }

    /// The lists that the tool and the web console import, and the members of all lists and groups.
    fn lists(&self, accounts: &[&AccountPlan], secrets: &BTreeMap<String, Secret>) -> Result<()> {
        let mut import = String::new();
        let mut console = csv::Writer::from_writer(Vec::new());
        let mut members = csv::Writer::from_writer(Vec::new());
        let broken = |e: csv::Error| Error::new(Failure::Internal, "cannot write a list").because(e);
        members.write_record(["list", "member"]).map_err(broken)?;
        for account in accounts {
            let (target, name) = (account.target.to_lowercase(), account.name.as_deref().unwrap_or_default());
            if let Some(secret) = secrets.get(&target) {
                // How the tool quotes is not known: only what needs no quotes is in its list.
                if ![secret.expose(), name].iter().any(|v| v.contains([',', '"']) || unfit(v).is_some()) {
                    let _ = writeln!(import, "{target},{},{name}", secret.expose());
                }
                let details = &account.details;
                let (given, family) = match (details.given_name.as_deref(), details.family_name.as_deref()) {
                    (None, None) => name.rsplit_once(' ').unwrap_or(("", name)),
                    (given, family) => (given.unwrap_or_default(), family.unwrap_or_default()),
                };
                console.write_record([&target, given, family, secret.expose()]).map_err(broken)?;
            }
            for member in &account.details.members {
                members.write_record([&target, member.as_str()]).map_err(broken)?;
            }
        }
        let bytes = |w: csv::Writer<Vec<u8>>| w.into_inner().map_err(|_| Error::new(Failure::Internal, "cannot write a list"));
        write_private(&self.out.join("accounts.csv"), 0o600, import.as_bytes())?;
        write_private(&self.out.join("webadmin-users.csv"), 0o600, &bytes(console)?)?;
        write_private(&self.out.join("members.csv"), 0o600, &bytes(members)?)
    }

    fn end(mut self) -> Result<Offline> {
        self.sh.push_str("end\n");
        self.cmd.push_str("goto end\r\n");
        write_private(&self.out.join("provision.sh"), 0o700, self.sh.as_bytes())?;
        write_private(&self.out.join("provision.cmd"), 0o600, self.cmd.as_bytes())?;
        let lines = self
            .done
            .by_hand
            .iter()
            .map(|(account, what)| format!("{}: {}\n", crate::model::printable(account), crate::model::printable(what)));
        write_private(&self.out.join("by-hand.txt"), 0o600, lines.collect::<String>().as_bytes())?;
        Ok(self.done)
    }
}

fn make_folder(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path).map_err(|e| {
        let refused = Error::io(Failure::Usage, "cannot make the folder", path, e);
        if path.exists() { refused.hint("name a new folder: scripts and passwords belong together") } else { refused }
    })
}

fn write_private(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|e| Error::io(Failure::Storage, "cannot write", path, e))
}

/// Why a value can be on no command line.
fn unfit(value: &str) -> Option<&'static str> {
    if value.chars().any(char::is_control) {
        return Some("a control character");
    }
    value.starts_with('-').then_some("it would be taken for an option")
}

/// A word for sh: in single quotes nothing has a meaning.
fn quoted_sh(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// A word for cmd, and then for the program that it starts; none where there is no safe way.
fn quoted_cmd(value: &str) -> Option<String> {
    if value.contains('"') {
        return None;
    }
    // A call reads its line twice, and each time a doubled percent sign becomes one. Backslashes at the end would take the quotation mark's
    // meaning away.
    let backslashes = value.len() - value.trim_end_matches('\\').len();
    Some(format!("\"{}{}\"", value.replace('%', "%%%%"), "\\".repeat(backslashes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        assert_eq!(quoted_sh("a'; rm -rf / #$(x)`y`"), r"'a'\''; rm -rf / #$(x)`y`'");
        assert_eq!(quoted_cmd("a & del %PATH% ^ | >x\\").as_deref(), Some("\"a & del %%%%PATH%%%% ^ | >x\\\\\""));
        assert_eq!(quoted_cmd("a\" & del"), None);
        assert!(unfit("-r=x").is_some() && unfit("a\nb").is_some() && unfit("Müller, \"X\"").is_none());
    }
}
