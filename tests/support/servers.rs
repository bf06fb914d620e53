//! Throw-away IMAP servers, started by the scripts of tests/servers, each in a folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use floe::imap::{Connection, Login, Settings};
use floe::net::{Secret, Trust};

/// A server that runs until it is dropped.
pub struct Server {
    script: PathBuf,
    folder: tempfile::TempDir,
    vars: BTreeMap<String, String>,
}

impl Server {
    /// Starts a server; `None`, with a word, where it cannot be installed. In CI it must be there.
    pub fn start(name: &str, options: &[&str]) -> Option<Server> {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/servers/{name}.sh"));
        let base = ["/dev/shm", "/tmp"].into_iter().find(|path| Path::new(path).is_dir())?;
        let folder = tempfile::Builder::new().prefix("floe-server-").tempdir_in(base).unwrap();
        let log = std::fs::File::create(folder.path().join("start.out")).unwrap();
        let started = Command::new(&script)
            .arg("start")
            .arg("--data")
            .arg(folder.path())
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status()
            .is_ok_and(|status| status.success());
        let said = std::fs::read_to_string(folder.path().join("start.out")).unwrap_or_default();
        if !started {
            assert!(std::env::var_os("CI").is_none(), "{name} does not start: {said}");
            super::skipped(&format!("{name} cannot be installed or started here: {}", said.lines().last().unwrap_or_default()));
            return None;
        }
        let vars = std::fs::read_to_string(folder.path().join("server.env")).unwrap();
        let vars = vars.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Some(Server { script, folder, vars })
    }

    /// A value that the script printed.
    pub fn var(&self, name: &str) -> &str {
        self.vars.get(name).map_or("", String::as_str)
    }

    pub fn port(&self) -> u16 {
        self.var("IMAP_PORT").parse().unwrap()
    }

    /// Settings for a port of this machine; deflated where the server can.
    pub fn settings_at(port: u16) -> Settings {
        let mut settings = Settings::new(format!("imap://127.0.0.1:{port}").parse().unwrap(), Trust::default());
        settings.allow_plaintext = true;
        settings.compress = true;
        settings.idle_timeout = Duration::from_secs(30);
        settings
    }

    pub fn settings(&self) -> Settings {
        Server::settings_at(self.port())
    }

    /// The login of the n-th user.
    pub fn user(&self, n: u32) -> Login {
        user(n)
    }

    /// Kills the processes in which Dovecot or Cyrus serve IMAP clients; how many there were.
    pub fn kill_sessions(&self) -> usize {
        let master = std::fs::read_to_string(self.folder.path().join("run/master.pid")).unwrap();
        let killed = Command::new("pkill").args(["-KILL", "-c", "-x", "imap|imapd", "-P", master.trim()]).output().unwrap();
        if self.script.ends_with("cyrus.sh") {
            // After a few dead processes, once it has counted them, Cyrus serves nobody until this comes.
            std::thread::sleep(Duration::from_millis(300));
            assert!(Command::new("kill").args(["-HUP", master.trim()]).status().unwrap().success());
        }
        String::from_utf8_lossy(&killed.stdout).trim().parse().unwrap()
    }

    pub fn connect(&self, n: u32) -> Connection {
        Connection::open(&self.settings(), &self.user(n)).unwrap()
    }
}

/// The login of the n-th user of every server.
pub fn user(n: u32) -> Login {
    Login::User { user: format!("user{n:03}@example.test"), password: Secret::new(format!("pw-user{n:03}")) }
}

/// Names the server's users from that one on as the targets of a plan's accounts, and how they are logged in.
pub fn give_to_users(plan: &Path, login: &str, first: usize) {
    let text = std::fs::read_to_string(plan).unwrap();
    let mut user = first - 1;
    let lines = text.lines().map(|line| match line {
        line if line.starts_with("target = ") => {
            user += 1;
            format!("target = \"user{user:03}@example.test\"")
        }
        line if line.starts_with("login = ") => format!("login = \"{login}\""),
        line => line.to_owned(),
    });
    let edited: Vec<String> = lines.collect();
    std::fs::write(plan, edited.join("\n")).unwrap();
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = Command::new(&self.script).arg("stop").arg("--data").arg(self.folder.path()).output();
        if !stopped.is_ok_and(|out| out.status.success()) {
            super::skipped("a server did not stop");
        }
    }
}
