//! Whose certificates are believed, and the TLS settings and HTTP agent that follow from it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Kind, Result};

/// Whose certificates are believed: the public authorities; or those of `--ca-file` and no others; or, by a flag with an ugly
/// name, anybody's.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    authorities: Vec<CertificateDer<'static>>,
    anybody: bool,
}

impl Trust {
    /// Believes what the certificates of a PEM file vouch for, in place of the public authorities.
    ///
    /// # Errors
    /// `Kind::Usage` when the file cannot be read or holds no certificate.
    pub fn with_ca_file(mut self, path: &Path) -> Result<Self> {
        let pem = std::fs::read(path).map_err(|e| Error::io(Kind::Usage, "cannot read the certificate file", path, e))?;
        let before = self.authorities.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            self.authorities.push(
                certificate
                    .map_err(|e| Error::usage("the certificate file is not PEM").with("path", path.display()).because(e))?,
            );
        }
        if self.authorities.len() == before {
            return Err(Error::usage("the certificate file holds no certificate").with("path", path.display()));
        }
        Ok(self)
    }

    /// Believes anybody: whoever sits between can read and change everything.
    #[must_use]
    pub fn in_anybody(mut self) -> Self {
        self.anybody = true;
        self
    }

    /// Settings of rustls.
    ///
    /// # Errors
    /// `Kind::Usage` when a certificate of `--ca-file` cannot serve as an authority.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let internal = |e: &dyn std::fmt::Display| Error::new(Kind::Internal, "TLS cannot be set up").because(e.to_string());
        let rules = if self.anybody {
            None
        } else {
            let roots = Arc::new(self.roots()?);
            let usual = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            Some((usual.map_err(|e| internal(&e))?, self.authorities.clone()))
        };
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| internal(&e))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { provider, rules }))
            .with_no_client_auth();
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if self.authorities.is_empty() {
            roots.roots.extend_from_slice(webpki_roots::TLS_SERVER_ROOTS);
        }
        for certificate in &self.authorities {
            roots
                .add(certificate.clone())
                .map_err(|e| Error::usage("a certificate of the certificate file cannot be used as an authority").because(e))?;
        }
        Ok(roots)
    }

    /// An HTTP agent: any method, statuses as answers, no redirects followed by itself (a PUT must not become a GET),
    /// `timeout` for the whole of a request.
    pub fn http_agent(&self, timeout: Duration) -> ureq::Agent {
        let roots: Vec<_> = self.authorities.iter().map(|c| ureq::tls::Certificate::from_der(c).to_owned()).collect();
        let tls = ureq::tls::TlsConfig::builder().disable_verification(self.anybody);
        let tls = if roots.is_empty() {
            tls.root_certs(ureq::tls::RootCerts::WebPki)
        } else {
            tls.root_certs(ureq::tls::RootCerts::from(roots))
        };
        ureq::Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(timeout))
            .user_agent(concat!("floe/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }
}

/// Whose certificate is believed. That the peer holds its key is checked in every case.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// The usual rules, and the certificates that were named; none when anybody is believed.
    rules: Option<(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>)>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some((usual, named)) = &self.rules else { return Ok(ServerCertVerified::assertion()) };
        match usual.verify_server_cert(shown, chain, server, ocsp, now) {
            // A server that shows the very certificate that was named is its own authority, which the usual rules do not allow. Only
            // this one rule is lifted: an expired certificate, or one for another name, stays refused.
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(_))) if named.contains(shown) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
