//! Certificates of a test registry: an authority of its own, a server's and a client's.

use std::fmt;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// A certificate and its key in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

pub(super) struct Tls {
    pub(super) ca: String,
    pub(super) client: Identity,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    pub(super) fn new(client_certificate: bool) -> Tls {
        let ca_key = KeyPair::generate().expect("make a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters of an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("sign an authority");
        let issuer = Issuer::new(params, ca_key);
        let issue = |names: &[&str]| {
            let key = KeyPair::generate().expect("make a key");
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let params = CertificateParams::new(names).expect("parameters of a certificate");
            let certificate = params.signed_by(&key, &issuer).expect("sign a certificate");
            (certificate, key)
        };
        let (server, server_key) = issue(&["127.0.0.1", "localhost"]);
        let (client, client_key) = issue(&["client"]);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("protocol versions");
        let builder = if client_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().clone()).expect("an authority of our own");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier of clients"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(server_key.serialize_der()).expect("a key");
        let config =
            builder.with_single_cert(vec![server.der().clone()], key).expect("a certificate");
        Tls {
            ca: ca.pem(),
            client: Identity { certificate: client.pem(), key: client_key.serialize_pem() },
            config: Arc::new(config),
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}
