//! What commands that speak to a server ask for: where it is, who logs in, and whose certificates are believed.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::imap;
use crate::net::{Address, Scheme, Secret, Trust};
use crate::replay::plan::{Login, Plan};

/// Who logs in, and whom floe believes.
#[derive(Debug, clap::Args)]
pub(super) struct Access {
    /// The administrator (or Dovecot's master user) who logs in for the users
    #[arg(long, value_name = "NAME")]
    admin: Option<String>,
    /// File whose first line is the password; asked for on the terminal without it
    #[arg(long, value_name = "FILE", env = "FLOE_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// PEM file of the certificates to believe in place of the public authorities
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Believe any certificate: whoever sits between can read and change everything
    #[arg(long)]
    danger_accept_any_certificate: bool,
    /// Send passwords without TLS to another machine: whoever sits between can read them
    #[arg(long)]
    danger_allow_plaintext: bool,
}

impl Access {
    /// Whose certificates are believed.
    pub(super) fn trust(&self) -> Result<Trust> {
        let trust = self.ca_file.as_deref().map_or_else(|| Ok(Trust::default()), |file| Trust::default().with_ca_file(file))?;
        Ok(if self.danger_accept_any_certificate { trust.in_anybody() } else { trust })
    }

    /// How to reach the IMAP server.
    pub(super) fn imap(&self, to: Address) -> Result<imap::Settings> {
        let mut settings = imap::Settings::new(to, self.trust()?);
        settings.allow_plaintext = self.danger_allow_plaintext;
        Ok(settings)
    }

    /// How to reach the IMAP server of a plan.
    pub(super) fn imap_of(&self, plan: &Plan) -> Result<imap::Settings> {
        let given = plan.imap.as_deref().map(str::parse).transpose()?;
        self.imap(imap_address(&plan.to.parse()?, given.as_ref()))
    }

    /// The password, from its file or from the person.
    pub(super) fn password(&self) -> Result<Secret> {
        match &self.password_file {
            Some(file) => Secret::from_file(file),
            None => Secret::ask(&format!("Password of {}: ", self.admin.as_deref().unwrap_or("the user"))),
        }
    }

    /// The administrator's name.
    pub(super) fn admin(&self) -> Result<&str> {
        self.admin.as_deref().ok_or_else(|| Error::usage("who logs in is not said").hint("name the administrator with --admin"))
    }

    /// How `user`'s account is entered.
    pub(super) fn login(&self, way: Login, user: &str, password: &Secret) -> Result<imap::Login> {
        let (user, password) = (user.to_owned(), password.clone());
        let admin = || self.admin().map(ToOwned::to_owned);
        Ok(match way {
            Login::Own => imap::Login::User { user, password },
            Login::OnBehalf => imap::Login::OnBehalf { user, admin: admin()?, password },
            Login::Master => imap::Login::Master { user, master: admin()?, separator: '*', password },
        })
    }
}

/// The IMAP address of a target: as given, or on the usual port of the web address's host.
pub(super) fn imap_address(to: &Address, given: Option<&Address>) -> Address {
    match (given, to.scheme) {
        (Some(given), _) => given.clone(),
        (None, Scheme::Imap | Scheme::Imaps) => to.clone(),
        (None, Scheme::Http | Scheme::Https) => to.at(Scheme::Imaps, None, "/"),
    }
}
