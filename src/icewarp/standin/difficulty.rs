//! What the stand-in can be told to do badly, and when.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};

/// The language that default folders are named in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// INBOX, Drafts, Sent, Spam, Trash.
    #[default]
    English,
    /// INBOX, Koncepty, Odeslané, Spam, Koš.
    Czech,
    /// INBOX, Entwürfe, Gesendet, Spam, Papierkorb.
    German,
}

/// At which of the events that are counted something happens: `5` is the fifth, `5+` every fifth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nth {
    /// Once, at this one (the first is 1).
    Once(u64),
    /// At each multiple of it.
    Every(u64),
}

impl Nth {
    fn is(self, count: u64) -> bool {
        match self {
            Nth::Once(n) => count == n,
            Nth::Every(n) => count.is_multiple_of(n),
        }
    }
}

impl FromStr for Nth {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, every) = text.strip_suffix('+').map_or((text, false), |number| (number, true));
        match number.parse() {
            Ok(0) | Err(_) => Err(()),
            Ok(n) => Ok(if every { Nth::Every(n) } else { Nth::Once(n) }),
        }
    }
}

/// Counts events and says at which of them its difficulty happens.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    /// Counts one event; does it happen at this one?
    pub(super) fn strikes(&self, when: Option<Nth>) -> bool {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        when.is_some_and(|when| when.is(count))
    }
}

macro_rules! tallies {
    ($($name:ident),*) => {
        /// How often each thing that a difficulty counts has happened since the start.
        #[derive(Debug, Default)]
        pub(super) struct Tallies { $(pub(super) $name: Tally),* }
    };
}

tallies!(
    cut_command,
    cut_literal,
    cut_reply,
    cut_append,
    cut_put,
    cut_make,
    append_refused,
    http_busy,
    api_zero,
    made_up_etag,
    locked,
    alter_message,
    alter_date,
    lose_flag,
    duplicate,
    drop_message,
    alter_item,
    drop_item
);

/// What the stand-in does badly. All of it is off in [`Difficulties::default`]; set fields, or parse a list:
///
/// ```
/// # use floe::icewarp::standin::Difficulties;
/// let difficult: Difficulties = "no-uidplus, cut-append=3, drop-property=X-NOTE".parse()?;
/// assert!(difficult.no_uidplus);
/// # Ok::<(), floe::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difficulties {
    /// IMAP: no UIDPLUS, so no APPENDUID.
    pub no_uidplus: bool,
    /// IMAP: no MULTIAPPEND.
    pub no_multiappend: bool,
    /// IMAP: no LITERAL+; a client that sends one is cut off.
    pub no_literal_plus: bool,
    /// IMAP: no SPECIAL-USE attributes in LIST.
    pub no_special_use: bool,
    /// IMAP: no XLIST.
    pub no_xlist: bool,
    /// IMAP: no MOVE.
    pub no_move: bool,
    /// IMAP: keywords are dropped without a word; PERMANENTFLAGS has no `\*`.
    pub no_keywords: bool,
    /// IMAP: nobody may log in on behalf of another.
    pub no_admin_login: bool,
    /// IMAP: `PLAIN` and `LOGIN` are switched off.
    pub no_plain: bool,
    /// IMAP: LIST also shows public folders, an account shared with this one, and groupware folders.
    pub foreign_folders: bool,
    /// Names of default folders.
    pub language: Language,
    /// The server's `C_System_Services_IMAP_MaxAppendsPerMinute`: beyond it, APPEND is delayed. 0 is off.
    pub appends_per_minute: u64,
    /// Largest message in bytes; 0 is the stand-in's own limit.
    pub max_message_bytes: u64,
    /// Quota of accounts created without one, in kB; 0 is none.
    pub quota_kb: u64,
    /// Accounts the licence allows; 0 is no limit.
    pub licence_accounts: u64,
    /// Accounts a new domain may have (`D_AccountNumber`); 0 is no limit.
    pub domain_accounts: u64,
    /// Any password will do.
    pub no_password_policy: bool,
    /// Least length of passwords; 0 is 8.
    pub password_length: u64,
    /// Names in a domain's `D_PostMaster` are taken.
    pub postmaster_taken: bool,
    /// For so long after a create or delete of an address, another one answers 1 and does nothing.
    pub lag: Duration,
    /// Delay of the answer to a wrong login, times the wrong logins so far; the real one takes 24 s and more.
    pub tarpit: Duration,
    /// API: a session is forgotten after this many requests; 0 is never.
    pub session_requests: u64,
    /// API: a writing command answers 0 and does nothing.
    pub api_zero: Option<Nth>,
    /// HTTP: a request is answered 503.
    pub http_busy: Option<Nth>,
    /// DAV: a PUT is answered 201 with the ETag `deadbeef`; nothing is stored.
    pub made_up_etag: Option<Nth>,
    /// DAV: a PUT is answered 423.
    pub locked: Option<Nth>,
    /// DAV: no PUT of a body larger than this, in bytes; 0 is the stand-in's own limit.
    pub max_body_bytes: u64,
    /// DAV: properties and components of items that do not survive, in capitals.
    pub drop_properties: Vec<String>,
    /// DAV: collections for notes and journals cannot be made.
    pub no_note_collections: bool,
    /// DAV: invitations are mailed though `Schedule-Reply: F` asks for none.
    pub invites: bool,
    /// IMAP: the connection is lost when a command has been read; it is not carried out.
    pub cut_command: Option<Nth>,
    /// IMAP: the connection is lost in the middle of a message's literal.
    pub cut_literal: Option<Nth>,
    /// IMAP: a command is carried out and the connection lost before the tagged reply.
    pub cut_reply: Option<Nth>,
    /// IMAP: as [`Difficulties::cut_reply`], counting APPEND commands only.
    pub cut_append: Option<Nth>,
    /// DAV: a PUT is carried out and the connection lost before the reply.
    pub cut_put: Option<Nth>,
    /// DAV: a collection is made and the connection lost before the reply.
    pub cut_make: Option<Nth>,
    /// IMAP: an APPEND is answered `NO [LIMIT]`; nothing is stored.
    pub append_refused: Option<Nth>,
    /// Of the messages appended, this one's bytes are changed.
    pub alter_message: Option<Nth>,
    /// Of the messages appended, this one gets another date.
    pub alter_date: Option<Nth>,
    /// Of the messages appended, this one loses its flags.
    pub lose_flag: Option<Nth>,
    /// Of the messages appended, this one is stored twice.
    pub duplicate: Option<Nth>,
    /// Of the messages appended, this one is not stored.
    pub drop_message: Option<Nth>,
    /// Of the items put, this one's summary or name is changed.
    pub alter_item: Option<Nth>,
    /// Of the items put, this one is not stored, though the answer says so.
    pub drop_item: Option<Nth>,
}

impl Difficulties {
    /// Names that [`Difficulties::from_str`] takes, as a person reads them.
    pub const NAMES: &str = "no-uidplus, no-multiappend, no-literal-plus, no-special-use, no-xlist, no-move, no-keywords, no-admin-login, \
        no-plain, foreign-folders, czech, german, no-password-policy, postmaster-taken, no-note-collections, invites; with a number: \
        appends-per-minute, max-message, max-body (bytes), quota (kB), licence, domain-accounts, password-length, session-requests, lag, \
        tarpit (ms); with N for the N-th or N+ for every N-th: cut-command, cut-literal, cut-reply, cut-append, cut-put, cut-make, append-refused, \
        api-zero, http-busy, made-up-etag, locked, alter-message, alter-date, lose-flag, duplicate, drop-message, alter-item, drop-item; \
        with a name, repeatable: drop-property";

    /// Takes one setting of a list.
    fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        match value {
            None => self.switch(name),
            Some(value) => self.assign(name, value),
        }
    }

    fn switch(&mut self, name: &str) -> Result<()> {
        let switch = match name {
            "no-uidplus" => &mut self.no_uidplus,
            "no-multiappend" => &mut self.no_multiappend,
            "no-literal-plus" => &mut self.no_literal_plus,
            "no-special-use" => &mut self.no_special_use,
            "no-xlist" => &mut self.no_xlist,
            "no-move" => &mut self.no_move,
            "no-keywords" => &mut self.no_keywords,
            "no-admin-login" => &mut self.no_admin_login,
            "no-plain" => &mut self.no_plain,
            "foreign-folders" => &mut self.foreign_folders,
            "no-password-policy" => &mut self.no_password_policy,
            "postmaster-taken" => &mut self.postmaster_taken,
            "no-note-collections" => &mut self.no_note_collections,
            "invites" => &mut self.invites,
            "czech" | "german" => {
                self.language = if name == "czech" { Language::Czech } else { Language::German };
                return Ok(());
            }
            _ => return Err(unknown(name)),
        };
        *switch = true;
        Ok(())
    }

    fn assign(&mut self, name: &str, value: &str) -> Result<()> {
        if let Some(place) = self.moment(name) {
            *place = Some(value.parse().map_err(|()| senseless(name, value))?);
            return Ok(());
        }
        if name == "drop-property" {
            self.drop_properties.push(value.to_ascii_uppercase());
            return Ok(());
        }
        let number: u64 = value.parse().map_err(|_| senseless(name, value))?;
        let place = match name {
            "appends-per-minute" => &mut self.appends_per_minute,
            "max-message" => &mut self.max_message_bytes,
            "max-body" => &mut self.max_body_bytes,
            "quota" => &mut self.quota_kb,
            "licence" => &mut self.licence_accounts,
            "domain-accounts" => &mut self.domain_accounts,
            "password-length" => &mut self.password_length,
            "session-requests" => &mut self.session_requests,
            "lag" | "tarpit" => {
                let place = if name == "lag" { &mut self.lag } else { &mut self.tarpit };
                *place = Duration::from_millis(number);
                return Ok(());
            }
            _ => return Err(unknown(name)),
        };
        *place = number;
        Ok(())
    }

    fn moment(&mut self, name: &str) -> Option<&mut Option<Nth>> {
        Some(match name {
            "cut-command" => &mut self.cut_command,
            "cut-literal" => &mut self.cut_literal,
            "cut-reply" => &mut self.cut_reply,
            "cut-append" => &mut self.cut_append,
            "cut-put" => &mut self.cut_put,
            "cut-make" => &mut self.cut_make,
            "append-refused" => &mut self.append_refused,
            "api-zero" => &mut self.api_zero,
            "http-busy" => &mut self.http_busy,
            "made-up-etag" => &mut self.made_up_etag,
            "locked" => &mut self.locked,
            "alter-message" => &mut self.alter_message,
            "alter-date" => &mut self.alter_date,
            "lose-flag" => &mut self.lose_flag,
            "duplicate" => &mut self.duplicate,
            "drop-message" => &mut self.drop_message,
            "alter-item" => &mut self.alter_item,
            "drop-item" => &mut self.drop_item,
            _ => return None,
        })
    }
}

impl FromStr for Difficulties {
    type Err = Error;

    /// From a list such as `no-uidplus,cut-append=3,tarpit=50`.
    fn from_str(list: &str) -> Result<Self> {
        let mut difficulties = Difficulties::default();
        for setting in list.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some((name, value)) => difficulties.set(name.trim(), Some(value.trim()))?,
                None => difficulties.set(setting, None)?,
            }
        }
        Ok(difficulties)
    }
}

fn unknown(name: impl Display) -> Error {
    Error::usage("no such difficulty, or one that is named with (or without) a value")
        .with("name", name)
        .hint(Difficulties::NAMES)
}

fn senseless(name: &str, value: &str) -> Error {
    Error::usage("a difficulty's value makes no sense").with("name", name).with("value", value).hint(Difficulties::NAMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_help_is_taken() {
        for (list, value) in Difficulties::NAMES.split(';').zip(["", "=7", "=7+", "=X"]) {
            for name in list.rsplit(':').next().expect("names").split(',') {
                let name = name.split('(').next().expect("name").trim();
                let setting = format!("{name}{value}");
                assert_ne!(setting.parse::<Difficulties>().expect(&setting), Difficulties::default(), "{setting}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["no-such", "no-uidplus=1", "cut-append", "cut-append=0", "tarpit=soon", "=", "quota"] {
            assert!(bad.parse::<Difficulties>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nth_comes_once_and_every_nth_again() {
        let tally = |when| {
            let tally = Tally::default();
            (1..=6).filter(|_| tally.strikes(Some(when))).count()
        };
        assert_eq!((tally(Nth::Once(2)), tally(Nth::Every(2))), (1, 3));
    }
}
