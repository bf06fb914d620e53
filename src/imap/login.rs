//! Whose account it is and who logs in: the user, an administrator on the user's behalf, or a Dovecot master user.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::connection::{Connection, Piece};
use super::response::{Condition, Response, Status};
use crate::error::{Error, Kind, Result};
use crate::net::Secret;

/// Who logs in, and to whose account.
#[derive(Clone, Debug)]
pub enum Login {
    /// The user.
    User {
        /// User name.
        user: String,
        /// The user's password.
        password: Secret,
    },
    /// An administrator on behalf of the user: SASL PLAIN with an authorization identity (RFC 4616).
    OnBehalf {
        /// The user whose account it is.
        user: String,
        /// The administrator.
        admin: String,
        /// The administrator's password.
        password: Secret,
    },
    /// A Dovecot master user: the login name is `user*master`.
    Master {
        /// The user whose account it is.
        user: String,
        /// The master user.
        master: String,
        /// What stands between the two names, usually `*`.
        separator: char,
        /// The master user's password.
        password: Secret,
    },
}

impl Login {
    /// The user whose account it is.
    pub fn user(&self) -> &str {
        match self {
            Login::User { user, .. } | Login::OnBehalf { user, .. } | Login::Master { user, .. } => user,
        }
    }
}

fn refused(status: &Status) -> Error {
    let transient = matches!(status.error("").kind(), Kind::Busy | Kind::Unreachable);
    if transient {
        return status.error("login");
    }
    Error::new(Kind::Login, "the server refused the login")
        .because(status.reason())
        .hint("check the name and the password; floe does not try again by itself, since servers punish guessing")
}

impl Connection {
    /// Logs in, with one attempt.
    ///
    /// # Errors
    /// `Kind::Login` when the server refuses, or offers no way that floe knows.
    pub(super) fn login(&mut self, login: &Login) -> Result<()> {
        match login {
            Login::User { user, password } => self.login_as("", user, password),
            Login::OnBehalf { user, admin, password } => self.login_as(user, admin, password),
            Login::Master { user, master, separator, password } => {
                self.login_as("", &format!("{user}{separator}{master}"), password)
            }
        }
    }

    fn login_as(&mut self, behalf: &str, name: &str, password: &Secret) -> Result<()> {
        if self.has("AUTH=PLAIN") || !behalf.is_empty() {
            return self.authenticate_plain(behalf, name, password);
        }
        if self.has("LOGINDISABLED") {
            return Err(Error::new(Kind::Login, "the server takes no password over this connection")
                .hint("use imaps://, or imap:// where the server offers STARTTLS"));
        }
        let pieces = [Piece::Word("LOGIN"), Piece::Text(name), Piece::Text(password.expose())];
        let status = self.run_pieces(&pieces, &mut |_| Ok(()))?;
        self.logged_in(&status)
    }

    fn authenticate_plain(&mut self, behalf: &str, name: &str, password: &Secret) -> Result<()> {
        let secret = Secret::new(STANDARD.encode(format!("{behalf}\0{name}\0{}", password.expose())));
        if self.has("SASL-IR") {
            let pieces = [Piece::Word("AUTHENTICATE PLAIN"), Piece::Word(secret.expose())];
            let status = self.run_pieces(&pieces, &mut |_| Ok(()))?;
            return self.logged_in(&status);
        }
        let tag = self.begin(&[Piece::Word("AUTHENTICATE PLAIN")])?;
        let mut answered = false;
        loop {
            match self.next_response(None)? {
                Response::Continue(_) if !answered => {
                    answered = true;
                    self.send_line(secret.expose().as_bytes())?;
                }
                // A second challenge: an error that the server wants acknowledged.
                Response::Continue(_) => self.send_line(b"*")?,
                Response::Tagged(t, status) if t == tag => return self.logged_in(&status),
                _ => {}
            }
        }
    }

    fn logged_in(&mut self, status: &Status) -> Result<()> {
        if status.condition == Condition::Ok { self.take_capabilities(status) } else { Err(refused(status)) }
    }
}
