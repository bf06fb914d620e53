//! Keys for encrypted archives.

use std::path::Path;

use age::secrecy::ExposeSecret as _;

/// Makes an age key in this file; the recipient that it opens for.
pub fn identity(file: &Path) -> String {
    let key = age::x25519::Identity::generate();
    std::fs::write(file, format!("{}\n", key.to_string().expose_secret())).unwrap();
    key.to_public().to_string()
}

/// What an age file holds, for the key in a file.
pub fn opened(file: &Path, identity: &Path) -> Vec<u8> {
    let key: age::x25519::Identity = std::fs::read_to_string(identity).unwrap().trim().parse().unwrap();
    age::decrypt(&key, &std::fs::read(file).unwrap()).unwrap()
}
