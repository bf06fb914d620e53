//! Mail addresses as the directory's keys: lower case, one `@`, nothing that could end a line or a field somewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest address (RFC 5321 4.5.3.1).
const MAX_BYTES: usize = 254;

/// A mail address in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

impl Address {
    /// From text: `anna@acme.example`, ` <Anna@ACME.example> `, `smtp:anna@acme.example`, `mailto:...`. `None` if it is not
    /// one address of a local part and a domain.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = match (text.rfind('<'), text.strip_suffix('>')) {
            (Some(open), Some(inner)) => inner.get(open + 1..)?,
            _ => text,
        };
        let text = strip_scheme(text.trim());
        let (local, domain) = text.rsplit_once('@')?;
        let local_is_plain = !local.is_empty() && local.chars().all(is_local);
        (local_is_plain && is_domain(domain) && text.len() <= MAX_BYTES).then(|| Address(text.to_lowercase()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn local_part(&self) -> &str {
        local_part(&self.0)
    }

    /// What stands after the `@`.
    pub fn domain(&self) -> &str {
        domain_of(&self.0)
    }
}

/// What stands before the last `@`.
pub fn local_part(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(local, _)| local)
}

/// What stands after the last `@`.
pub fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

fn strip_scheme(text: &str) -> &str {
    for scheme in ["smtp:", "mailto:"] {
        if text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)) {
            return text.get(scheme.len()..).unwrap_or_default().trim();
        }
    }
    text
}

fn is_local(c: char) -> bool {
    !c.is_whitespace()
        && !c.is_control()
        && crate::model::printable(c.encode_utf8(&mut [0; 4])).chars().count() == 1
        && !matches!(c, '@' | ',' | ';' | '<' | '>' | '"' | '(' | ')' | '[' | ']' | '\\' | ':')
}

/// Is it a domain name: labels of letters, digits and hyphens, also international ones?
pub(super) fn is_domain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Address::parse(&text).ok_or_else(|| format!("'{}' is no mail address", crate::model::printable(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_the_forms_that_exports_use() {
        for text in [
            "anna@acme.example",
            " Anna@ACME.example ",
            "SMTP:anna@acme.example",
            "Anna B <anna@acme.example>",
            "mailto:anna@acme.example",
        ] {
            assert_eq!(Address::parse(text).map(String::from).as_deref(), Some("anna@acme.example"), "{text}");
        }
        assert!(Address::parse("jörg@müller.example").is_some());
    }

    #[test]
    fn what_is_no_single_address_is_refused() {
        for text in [
            "",
            "anna",
            "@acme.example",
            "a@",
            "a@b@c d",
            "a b@c",
            "a;b@c",
            "a@b..c",
            "a@-b",
            "a\n@b",
            "x400:c=US",
            "a\u{202e}@b",
        ] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
    }
}
