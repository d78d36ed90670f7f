//! A certificate for servers on this machine, made for one test and trusted by nobody who is not told to.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast::servers::TempFolder;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::unique;

/// Its files, in a folder that goes with it.
pub struct Certificate {
    folder: TempFolder,
}

impl Certificate {
    /// Signed by an authority whose key nobody has.
    pub fn new() -> Self {
        Self::of(&["localhost", "127.0.0.1"], |_| {})
    }

    /// Of these names, and otherwise as `change` says.
    pub fn of(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Under the same name as what it signs, OpenSSL takes that for signed by itself.
        authority.distinguished_name.push(DnType::CommonName, unique("an authority for a test"));
        let authority_key = KeyPair::generate().unwrap();
        let authority_cert = authority.self_signed(&authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let cert = params.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
        let made = Self { folder: TempFolder::new().unwrap() };
        fs::write(made.path("authority.pem"), authority_cert.pem()).unwrap();
        fs::write(made.path("server.pem"), cert.pem()).unwrap();
        fs::write(made.path("server.key"), key.serialize_pem()).unwrap();
        made
    }

    /// What lets a program trust it: a variable of its environment.
    pub fn trusted(&self) -> (&'static str, String) {
        ("SSL_CERT_FILE", self.authority())
    }

    /// The file of whom it is signed by.
    pub fn authority(&self) -> String {
        self.path("authority.pem").to_str().unwrap().to_owned()
    }

    /// What a server of the test's own shows.
    pub fn acceptor(&self) -> TlsAcceptor {
        let cert = CertificateDer::from_pem_file(self.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// The settings with which a Redis of any kind shows it on `port`, to its clients and to its like.
    pub fn settings(&self, port: u16) -> Vec<(&'static str, String)> {
        let file = |name| self.path(name).to_str().unwrap().to_owned();
        vec![
            ("tls-port", port.to_string()),
            ("tls-cert-file", file("server.pem")),
            ("tls-key-file", file("server.key")),
            ("tls-ca-cert-file", file("authority.pem")),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
