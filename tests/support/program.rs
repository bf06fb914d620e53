//! Running floe and other programs: with a time limit, never waiting for a terminal, and with all output kept.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No run of these tests may take longer; what does is taken to hang.
const LIMIT: Duration = Duration::from_secs(100);

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub elapsed: Duration,
    /// Processor time of all its threads, which other programs on the machine hardly change.
    pub processor: Duration,
    what: String,
}

impl Ran {
    /// Everything that it said.
    pub fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), String::from_utf8_lossy(&self.stderr))
    }

    /// The exit code; death by a signal fails the test, and so does a panic.
    #[track_caller]
    pub fn code(&self) -> i32 {
        assert_eq!(self.status.signal(), None, "{self}");
        assert!(!self.text().contains("panicked at"), "{self}");
        self.status.code().unwrap()
    }

    /// Demands an exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code(), code, "{self}");
        self
    }

    /// The bytes are fit for a console: no control characters but line ends, no direction overrides.
    #[track_caller]
    pub fn expect_harmless(self) -> Ran {
        for c in self.text().chars() {
            let overrides = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            assert!(c == '\n' || !c.is_control() && !overrides, "{c:?} in {self}");
        }
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self.text().chars().take(4000).collect();
        write!(
            f,
            "{} gave {} after {:?}:\n{}",
            self.what,
            self.status,
            self.elapsed,
            text.escape_debug().to_string().replace("\\n", "\n")
        )
    }
}

/// The binary under test.
pub fn floe() -> Command {
    Command::new(env!("CARGO_BIN_EXE_floe"))
}

/// `floe snapshot` of named accounts.
pub fn snapshot(accounts: &[(&str, &Path)], archive: &Path) -> Command {
    let mut command = floe();
    command.arg("snapshot").arg("--archive").arg(archive);
    for (name, path) in accounts {
        let mut named = std::ffi::OsString::from(format!("{name}="));
        named.push(path);
        command.arg("--account").arg(named);
    }
    command
}

/// `floe COMMAND ARCHIVE`.
pub fn on(archive: &Path, command: &str, more: &[&str]) -> Command {
    let mut floe = floe();
    floe.arg(command).arg(archive).args(more);
    floe
}

/// Starts a program; its output goes nowhere.
pub fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Runs a program to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut pause = Duration::from_micros(500);
    // Asked when it has ended and not been waited for yet: then the time is all of it.
    let processor = loop {
        let (state, time) = state_and_time(child.id());
        if state == "Z" {
            break time;
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} takes longer than {LIMIT:?}: {:?}", String::from_utf8_lossy(&content(&mut stderr)));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    let status = child.wait().unwrap();
    let elapsed = begun.elapsed();
    let what = format!("{command:?}").chars().take(300).collect();
    Ran { status, stdout: content(&mut stdout), stderr: content(&mut stderr), elapsed, processor, what }
}

/// The state of a process and its processor time so far (proc_pid_stat(5): fields 3, 14 and 15, in hundredths of a second).
fn state_and_time(process: u32) -> (String, Duration) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    (fields[0].to_owned(), Duration::from_millis(10 * (ticks(11) + ticks(12))))
}

fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The command with limits that the shell's `ulimit` sets, such as `-f 100`.
pub fn limited(limits: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("ulimit {limits} && exec \"$@\"")).arg("sh").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or(OsStr::new("")));
    }
    shell
}

/// Can a process be traced here? In CI, strace has to be there at least.
pub fn traces(what: &str) -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    assert!(tried.is_ok() || std::env::var_os("CI").is_none(), "{what}: there is no strace");
    let works = tried.is_ok_and(|o| o.status.success());
    if !works {
        super::skipped(&format!("{what}: there is no strace here, or it may not trace"));
    }
    works
}

/// Is the test run by root?
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout == b"0\n")
}
