//! A certificate for servers on this machine, made for one test and trusted by nobody who is not told to.

use std::fs;
use std::path::PathBuf;

use holdfast::servers::TempFolder;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Its files, in a folder that goes with it.
pub struct Certificate {
    folder: TempFolder,
}

impl Certificate {
    /// Signed by an authority whose key nobody has.
    pub fn new() -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Under the same name as what it signs, OpenSSL takes that for signed by itself.
        authority.distinguished_name.push(DnType::CommonName, "an authority for a test");
        let authority_key = KeyPair::generate().unwrap();
        let authority_cert = authority.self_signed(&authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let cert = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &Issuer::new(authority, authority_key))
            .unwrap();
        let made = Self { folder: TempFolder::new().unwrap() };
        fs::write(made.path("authority.pem"), authority_cert.pem()).unwrap();
        fs::write(made.path("server.pem"), cert.pem()).unwrap();
        fs::write(made.path("server.key"), key.serialize_pem()).unwrap();
        made
    }

    /// What lets a program trust it: a variable of its environment.
    pub fn trusted(&self) -> (&'static str, String) {
        ("SSL_CERT_FILE", self.path("authority.pem").to_str().unwrap().to_owned())
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
