//! What all three protocols share: accounts, mail, items, quotas, logins, and the first account.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::dav::Home;
use super::directory::{Account, Directory, Domain, Password, Power, string_value, text_of};
use super::mail::{Incoming, Mailbox};
use super::place::{broken, folder, segment};
use super::{ADMIN, DOMAIN, Difficulties, Tallies, VERSION, locked, random_hex};
use crate::error::{Error, Kind, Result};

/// Longest wait that a wrong login is given.
const TARPIT_MAX: Duration = Duration::from_secs(60);

/// What became of a login.
pub(super) enum Login {
    /// Right, of this address.
    Right(String, Power),
    /// Right, but the account is disabled.
    Disabled,
    /// Wrong; to be told after so long.
    Wrong(Duration),
}

/// An API session.
pub(super) struct ApiSession {
    pub(super) address: String,
    pub(super) power: Power,
    pub(super) requests: u64,
}

pub(super) struct World {
    dir: PathBuf,
    pub(super) difficulties: Difficulties,
    pub(super) tallies: Tallies,
    pub(super) directory: Mutex<Directory>,
    pub(super) sessions: Mutex<HashMap<String, ApiSession>>,
    /// When an address was last created or deleted.
    pub(super) touched: Mutex<HashMap<String, Instant>>,
    mailboxes: Mutex<HashMap<String, Arc<Mutex<Mailbox>>>>,
    homes: Mutex<HashMap<String, Arc<Mutex<Home>>>>,
    wrong_logins: Mutex<u32>,
    http: OnceLock<SocketAddr>,
}

impl World {
    pub(super) fn open(dir: &Path, difficulties: Difficulties) -> Result<Self> {
        for part in ["mail", "webdav", "outbox"] {
            folder(&dir.join(part))?;
        }
        let world = World {
            dir: dir.to_owned(),
            tallies: Tallies::default(),
            directory: Mutex::new(Directory::open(dir)?),
            difficulties,
            sessions: Mutex::default(),
            touched: Mutex::default(),
            mailboxes: Mutex::default(),
            homes: Mutex::default(),
            wrong_logins: Mutex::default(),
            http: OnceLock::new(),
        };
        world.furnish()?;
        Ok(world)
    }

    /// Makes the first domain and the administrator, if they are not there, and sets what the difficulties say.
    fn furnish(&self) -> Result<()> {
        let mut directory = locked(&self.directory);
        for (name, value) in self.server_values() {
            directory.server.properties.insert(name.to_owned(), string_value(value));
        }
        if !self.password_file().exists() {
            let password = format!("Ice-{}", random_hex());
            directory.server.password = Password::new(&password);
            let mut admin = Account { password: directory.server.password.clone(), ..Account::default() };
            let (local, _) = ADMIN.split_once('@').unwrap_or_default();
            for (name, value) in
                [("u_type", "0"), ("u_mailbox", local), ("u_name", "Migration Admin"), ("u_admin", "1"), ("u_accounttype", "1")]
            {
                admin.properties.insert(name.into(), string_value(value));
            }
            let domain = directory.domains.entry(DOMAIN.into()).or_default();
            furnish_domain(domain, 0);
            domain.accounts.insert(local.to_owned(), admin);
            directory.save_domain(DOMAIN)?;
            directory.save_account(ADMIN)?;
            directory.save_account(&format!("public-folders@{DOMAIN}"))?;
            directory.save_server()?;
            return self.keep_password(&password);
        }
        directory.save_server()
    }

    fn keep_password(&self, password: &str) -> Result<()> {
        let path = self.password_file();
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, format!("{password}\n").as_bytes()))
            .map_err(|e| broken(&path, e))
    }

    fn server_values(&self) -> Vec<(&'static str, String)> {
        let d = &self.difficulties;
        let policy = if d.no_password_policy { "0" } else { "1" };
        let length = if d.password_length == 0 { 8 } else { d.password_length };
        let mut values = vec![
            ("c_version", VERSION.to_owned()),
            ("c_license_type", "1".into()),
            ("c_accounts_policies_login_loginsettings", "1".into()),
            ("c_accounts_policies_auth_disableplain", u8::from(d.no_plain).to_string()),
            ("c_accounts_policies_pass_minlength", length.to_string()),
            ("c_system_services_imap_maxappendsperminute", d.appends_per_minute.to_string()),
            ("c_system_services_imap_allowbinaryappend", "0".into()),
            ("c_av_action_mailimapenabled", "0".into()),
            ("c_gw_sharedaccountprefix", "~".into()),
            ("c_as_spamfoldername", "Spam".into()),
            ("c_webdav_active", "1".into()),
            ("c_mail_smtp_delivery_limitmsgsize", u8::from(d.max_message_bytes > 0).to_string()),
            ("c_mail_smtp_delivery_maxmsgsize", d.max_message_bytes.to_string()),
        ];
        for name in ["enable", "digits", "nonalphanum", "alpha", "upperalpha", "useralias"] {
            let name = match name {
                "enable" => "c_accounts_policies_pass_enable",
                "digits" => "c_accounts_policies_pass_digits",
                "nonalphanum" => "c_accounts_policies_pass_nonalphanum",
                "alpha" => "c_accounts_policies_pass_alpha",
                "upperalpha" => "c_accounts_policies_pass_upperalpha",
                _ => "c_accounts_policies_pass_useralias",
            };
            values.push((name, policy.to_owned()));
        }
        values
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.dir.join("admin.password")
    }

    pub(super) fn outbox(&self) -> PathBuf {
        self.dir.join("outbox")
    }

    pub(super) fn set_http(&self, address: SocketAddr) {
        let _ = self.http.set(address);
    }

    pub(super) fn http(&self) -> String {
        self.http.get().map(|address| format!("http://{address}")).unwrap_or_default()
    }

    /// Checks a password. Wrong ones wait longer each time.
    pub(super) fn login(&self, name: &str, password: &str) -> Login {
        let directory = locked(&self.directory);
        let name = name.to_lowercase();
        if name == "globaladmin" && directory.server.password.is(password) {
            return Login::Right(name, Power::Server);
        }
        match directory.account(&name) {
            Some(account) if account.password.is(password) && account.disabled() => Login::Disabled,
            Some(account) if account.password.is(password) => Login::Right(name, account.power()),
            _ => {
                let mut wrong = locked(&self.wrong_logins);
                *wrong = wrong.saturating_add(1);
                Login::Wrong(self.difficulties.tarpit.saturating_mul(*wrong).min(TARPIT_MAX))
            }
        }
    }

    /// May this account open the mailboxes of others over IMAP? Server administrators that are ordinary accounts may.
    pub(super) fn may_act_for_all(&self, address: &str) -> bool {
        let directory = locked(&self.directory);
        !self.difficulties.no_admin_login && directory.account(address).is_some_and(|account| account.power() == Power::Server)
    }

    /// Is it a user's account that is enabled and not for POP3 only?
    pub(super) fn has_imap(&self, address: &str) -> bool {
        let directory = locked(&self.directory);
        let account = directory.account(&address.to_lowercase());
        account.is_some_and(|account| account.kind() == "0" && !account.disabled() && account.text("u_accounttype") != "0")
    }

    pub(super) fn server_text(&self, name: &str) -> String {
        text_of(&locked(&self.directory).server.properties, name).to_owned()
    }

    /// Largest message the account takes, if it has a limit of its own.
    pub(super) fn message_bytes_max(&self, address: &str) -> Option<u64> {
        let directory = locked(&self.directory);
        let kb: u64 = directory.account(address)?.text("u_maxmessagesize").parse().ok()?;
        (kb > 0).then(|| kb.saturating_mul(1024))
    }

    /// Bytes used, and the quota if there is one.
    pub(super) fn quota(&self, address: &str) -> (u64, Option<u64>) {
        let limit = locked(&self.directory).account(address).and_then(Account::quota_bytes);
        let mail = self.mailbox(address).map_or(0, |mailbox| locked(&mailbox).bytes);
        let items = self.home(address).map_or(0, |home| locked(&home).bytes);
        (mail + items, limit)
    }

    pub(super) fn over_quota(&self, address: &str, more_bytes: u64) -> bool {
        let limited = locked(&self.directory).account(address).is_some_and(|account| account.quota_bytes().is_some());
        limited && matches!(self.quota(address), (used, Some(limit)) if used + more_bytes > limit)
    }

    /// As [`World::over_quota`], for who holds the home already.
    pub(super) fn over_quota_with(&self, address: &str, home_bytes: u64, more_bytes: u64) -> bool {
        let limit = locked(&self.directory).account(address).and_then(Account::quota_bytes);
        let Some(limit) = limit else { return false };
        let mail = self.mailbox(address).map_or(0, |mailbox| locked(&mailbox).bytes);
        mail + home_bytes + more_bytes > limit
    }

    pub(super) fn mailbox(&self, address: &str) -> Result<Arc<Mutex<Mailbox>>> {
        let mut open = locked(&self.mailboxes);
        if let Some(mailbox) = open.get(address) {
            return Ok(Arc::clone(mailbox));
        }
        let mailbox = Arc::new(Mutex::new(Mailbox::open(&self.dir_of("mail", address)?, self.difficulties.language)?));
        open.insert(address.to_owned(), Arc::clone(&mailbox));
        Ok(mailbox)
    }

    pub(super) fn home(&self, address: &str) -> Result<Arc<Mutex<Home>>> {
        let mut open = locked(&self.homes);
        if let Some(home) = open.get(address) {
            return Ok(Arc::clone(home));
        }
        let home = Arc::new(Mutex::new(Home::open(&self.dir_of("webdav", address)?, self.difficulties.language)?));
        open.insert(address.to_owned(), Arc::clone(&home));
        Ok(home)
    }

    fn dir_of(&self, part: &str, address: &str) -> Result<PathBuf> {
        let name = segment(address).ok_or_else(|| Error::new(Kind::Refused, "an address too long for a folder"))?;
        Ok(self.dir.join(part).join(name))
    }

    /// Bytes used by an account, as far as its mail and items are open; what nobody has opened has not grown.
    pub(super) fn used_bytes_of_open(&self, address: &str) -> u64 {
        let mailbox = locked(&self.mailboxes).get(address).map_or(0, |mailbox| locked(mailbox).bytes);
        mailbox + locked(&self.homes).get(address).map_or(0, |home| locked(home).bytes)
    }

    /// Writes down what a real server would have mailed.
    pub(super) fn mailed(&self, what: &str, to: &str) -> Result<()> {
        let path = self.outbox().join(format!("{}-{what}.txt", random_hex()));
        std::fs::write(&path, format!("{to}\n")).map_err(|e| broken(&path, e))
    }

    /// Delivers an invitation to those attendees that have a mailbox here.
    pub(super) fn invite(&self, organizer: &str, attendees: &[String]) -> Result<()> {
        for attendee in attendees {
            let address = attendee.get(7..).filter(|_| attendee.to_lowercase().starts_with("mailto:")).unwrap_or(attendee);
            if locked(&self.directory).account(address).is_none() {
                continue;
            }
            let mailbox = self.mailbox(address)?;
            let mut mailbox = locked(&mailbox);
            let file = mailbox.incoming_file();
            let text = format!("From: {organizer}\r\nTo: {address}\r\nSubject: Invitation\r\n\r\nYou are invited.\r\n");
            std::fs::write(&file, &text).map_err(|e| broken(&file, e))?;
            let (date, size) = (jiff::Timestamp::now().as_second(), text.len() as u64);
            let message = Incoming { file, flags: Vec::new(), date, zone: 0, size };
            if let Some(inbox) = mailbox.folders.get_mut("INBOX") {
                inbox.add(&[message])?;
                mailbox.bytes += size;
            }
        }
        Ok(())
    }

    /// Forgets the mail and the items of a deleted account.
    pub(super) fn remove_data(&self, address: &str) -> Result<()> {
        locked(&self.mailboxes).remove(address);
        locked(&self.homes).remove(address);
        for part in ["mail", "webdav"] {
            let dir = self.dir_of(part, address)?;
            match std::fs::remove_dir_all(&dir) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(broken(&dir, e)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What every domain has: its defaults, and the group of public folders.
pub(super) fn furnish_domain(domain: &mut Domain, accounts_max: u64) {
    for (name, value) in [
        ("d_type", "0"),
        ("d_postmaster", "postmaster;admin;administrator;supervisor;hostmaster;webmaster;abuse"),
        ("d_unknownuserstype", "0"),
    ] {
        domain.properties.entry(name.into()).or_insert_with(|| string_value(value));
    }
    domain.properties.entry("d_accountnumber".into()).or_insert_with(|| string_value(accounts_max.to_string()));
    let mut group = Account::default();
    for (name, value) in
        [("u_type", "7"), ("u_mailbox", "public-folders"), ("u_name", "Public Folders"), ("g_name", "Public Folders")]
    {
        group.properties.insert(name.into(), string_value(value));
    }
    domain.accounts.insert("public-folders".into(), group);
}
