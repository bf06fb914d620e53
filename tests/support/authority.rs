//! A time-stamping authority made with openssl, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::{Ran, run};

const SETTINGS: &str = "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\ncrypto_device = builtin\nsigner_cert = tsa.pem\n\
    certs = ca.pem\nsigner_key = tsa.key\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\n\
    clock_precision_digits = 3\nordering = yes\ntsa_name = yes\n[ext]\nextendedKeyUsage = critical,timeStamping\n";

pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes a root certificate and one for time stamps in the folder.
    pub fn new(folder: &Path) -> Self {
        let authority = Authority { folder: folder.to_owned() };
        fs::write(folder.join("tsa.cnf"), SETTINGS).unwrap();
        fs::write(folder.join("serial"), "01\n").unwrap();
        authority.openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Authority -days 10").expect(0);
        authority.openssl("req -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.csr -subj /CN=Stamps").expect(0);
        let sign = "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tsa.pem -days 10 -extfile tsa.cnf -extensions ext";
        authority.openssl(sign).expect(0);
        authority
    }

    /// The certificate of its root.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Its answer to a question.
    pub fn answer(&self, question: &Path, name: &str) -> PathBuf {
        self.openssl(&format!("ts -reply -config tsa.cnf -queryfile {} -out {name}", question.display())).expect(0);
        self.folder.join(name)
    }

    /// openssl in the folder.
    pub fn openssl(&self, args: &str) -> Ran {
        run(Command::new("openssl").args(args.split(' ')).current_dir(&self.folder))
    }
}
