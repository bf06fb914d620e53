//! Showing who asks: Basic (RFC 7617) over TLS or on this machine, Digest (RFC 7616) where a server offers nothing else.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use crate::net::Secret;

/// Whose data it is. Over DAV everybody enters as themselves.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name that the server knows.
    pub user: String,
    /// Password of that user.
    pub password: Secret,
}

impl Login {
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password.expose())))
    }
}

/// Digest's hash functions, the better one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Sha256,
    Md5,
}

impl Hash {
    fn hex(self, text: &str) -> String {
        let bytes: Vec<u8> = match self {
            Hash::Md5 => Md5::digest(text).to_vec(),
            Hash::Sha256 => Sha256::digest(text).to_vec(),
        };
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// What a server's `WWW-Authenticate` asks for.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    hash: Hash,
    algorithm: Option<String>,
    session: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    auth: bool,
    pub stale: bool,
    uses: u32,
}

/// What the `WWW-Authenticate` headers of an answer offer: Basic or not, and the best Digest.
pub(super) fn offers<'a>(headers: impl Iterator<Item = &'a str>) -> (bool, Option<Challenge>) {
    let (mut basic, mut digests) = (false, Vec::new());
    for header in headers {
        for (scheme, params) in challenges(header) {
            basic |= scheme.eq_ignore_ascii_case("basic");
            if scheme.eq_ignore_ascii_case("digest") {
                digests.extend(Challenge::of(&params));
            }
        }
    }
    digests.sort_by_key(|c| c.hash);
    (basic, digests.into_iter().next())
}

type Params = Vec<(String, String)>;

/// The challenges of one header: `Basic realm="x", Digest realm="y", nonce="z"`.
fn challenges(header: &str) -> Vec<(String, Params)> {
    let mut all: Vec<(String, Params)> = Vec::new();
    let mut quoted = false;
    let parts = header.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    for part in parts {
        let part = part.trim();
        let (scheme, param) = match part.split_once(' ') {
            Some((scheme, param)) if !scheme.contains('=') => (Some(scheme), param.trim()),
            None if !part.contains('=') => (Some(part), ""),
            _ => (None, part),
        };
        if let Some(scheme) = scheme.filter(|s| !s.is_empty()) {
            all.push((scheme.to_owned(), Vec::new()));
        }
        if let (Some((name, value)), Some((_, params))) = (param.split_once('='), all.last_mut()) {
            params.push((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()));
        }
    }
    all
}

impl Challenge {
    fn of(params: &Params) -> Option<Self> {
        let get = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let algorithm = get("algorithm").unwrap_or("MD5").to_ascii_uppercase();
        let (plain, session) = algorithm.strip_suffix("-SESS").map_or((algorithm.as_str(), false), |plain| (plain, true));
        let hash = match plain {
            "MD5" => Hash::Md5,
            "SHA-256" => Hash::Sha256,
            _ => return None,
        };
        let qop = get("qop");
        let auth = qop.is_some_and(|q| q.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")));
        if qop.is_some() && !auth {
            return None;
        }
        Some(Challenge {
            hash,
            algorithm: get("algorithm").map(str::to_owned),
            session,
            realm: get("realm").unwrap_or_default().to_owned(),
            nonce: get("nonce")?.to_owned(),
            opaque: get("opaque").map(str::to_owned),
            auth,
            stale: get("stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
            uses: 0,
        })
    }

    /// The `Authorization` header of one request.
    pub fn answer(&mut self, login: &Login, method: &str, path: &str, cnonce: &str) -> String {
        self.uses = self.uses.saturating_add(1);
        let hash = |text: String| self.hash.hex(&text);
        let mut ha1 = hash(format!("{}:{}:{}", login.user, self.realm, login.password.expose()));
        if self.session {
            ha1 = hash(format!("{ha1}:{}:{cnonce}", self.nonce));
        }
        let ha2 = hash(format!("{method}:{path}"));
        let count = format!("{:08x}", self.uses);
        let response = if self.auth {
            hash(format!("{ha1}:{}:{count}:{cnonce}:auth:{ha2}", self.nonce))
        } else {
            hash(format!("{ha1}:{}:{ha2}", self.nonce))
        };
        let user = login.user.replace('\\', "\\\\").replace('"', "\\\"");
        let mut out = format!(
            "Digest username=\"{user}\", realm=\"{}\", nonce=\"{}\", uri=\"{path}\", response=\"{response}\"",
            self.realm, self.nonce
        );
        if let Some(algorithm) = &self.algorithm {
            let _ = write!(out, ", algorithm={algorithm}");
        }
        if self.auth || self.session {
            let _ = write!(out, ", cnonce=\"{cnonce}\"");
        }
        if self.auth {
            let _ = write!(out, ", qop=auth, nc={count}");
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(out, ", opaque=\"{opaque}\"");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616 3.9.1.
    #[test]
    fn digest_answers_as_the_rfc_does() {
        let header = r#"Basic realm="x, y", Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
        let md5 = r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5,
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
        let login = Login { user: "Mufasa".into(), password: Secret::new("Circle of Life") };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (headers, want) in [
            (vec![md5, header], "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
            (vec![md5], "8ca523f5e9506fed4657c9700eebdbec"),
        ] {
            let (basic, digest) = offers(headers.iter().copied());
            assert_eq!(basic, headers.len() == 2);
            let text = digest.expect("digest").answer(&login, "GET", "/dir/index.html", cnonce);
            assert!(text.contains(&format!("response=\"{want}\"")) && text.contains("nc=00000001"), "{text}");
        }
    }
}
