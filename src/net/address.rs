//! Where a server is: scheme, host, port and path of a URL.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::error::{Error, Result};

/// What is spoken, and whether TLS comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP in the clear: loopback and tests.
    Http,
    /// HTTP over TLS.
    Https,
    /// IMAP in the clear, raised to TLS by STARTTLS where the server offers it.
    Imap,
    /// IMAP over TLS from the first byte (RFC 8314).
    Imaps,
}

impl Scheme {
    fn text(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Imap => "imap",
            Scheme::Imaps => "imaps",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
            Scheme::Imap => 143,
            Scheme::Imaps => 993,
        }
    }

    /// Does TLS come before everything else?
    pub fn is_tls(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Imaps)
    }
}

/// Where a server is. A URL with a user or a password in it is refused: command lines are seen by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Scheme.
    pub scheme: Scheme,
    /// Host name or IP address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path, beginning with `/`; percent-encoded. `/` for IMAP.
    pub path: String,
}

impl Address {
    /// The same host with another scheme, port and path.
    #[must_use]
    pub fn at(&self, scheme: Scheme, port: Option<u16>, path: &str) -> Self {
        Address { scheme, host: self.host.clone(), port: port.unwrap_or(scheme.default_port()), path: path.to_owned() }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let url = Url::parse(text).map_err(|e| {
            Error::usage("not a server's URL")
                .because(e)
                .hint("write it like https://mail.example.com or imaps://mail.example.com:993")
        })?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "imap" => Scheme::Imap,
            "imaps" => Scheme::Imaps,
            other => {
                return Err(Error::usage(format!("cannot speak '{}'", crate::model::printable(other)))
                    .hint("floe speaks https, http, imaps and imap"));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::usage("the server's URL holds a user or a password")
                .hint("give the user with --admin and the password in a file: others can see a command line"));
        }
        // A scheme that `url` does not know as special keeps percent signs and case in its host.
        let host =
            url.host_str().map(|h| h.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()).unwrap_or_default();
        if host.is_empty() {
            return Err(Error::usage("the server's URL names no host").with("url", text));
        }
        let path = if url.path().is_empty() { "/" } else { url.path() };
        Ok(Address { scheme, host, port: url.port().unwrap_or(scheme.default_port()), path: path.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.host.contains(':');
        write!(
            f,
            "{}://{}{}{}",
            self.scheme.text(),
            if brackets { "[" } else { "" },
            self.host,
            if brackets { "]" } else { "" }
        )?;
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        if self.path != "/" { f.write_str(&self.path) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_all_schemes_are_read_and_written_back() {
        for text in ["https://mail.example.com", "http://127.0.0.1:8080/webdav/", "imaps://[::1]:9993", "imap://host"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        assert_eq!("imaps://h".parse::<Address>().expect("url").port, 993);
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        let refused = "https://admin:hunter2@mail.example.com".parse::<Address>().expect_err("refused").to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "mail.example.com", "ftp://x", "https://", "imap:///x"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
