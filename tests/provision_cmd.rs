//! provision.cmd, run by Wine's cmd with a tool that is a Windows program, makes what provision.sh makes. Wine is not Windows: it reads the
//! script in a code page of its own, so names are ASCII here.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::program::{floe, run};

/// Means something to cmd in almost every character.
const HOSTILE: &str = r"Anna & echo x >pwned | %PATH% %%1 !x! < (b) 'c' \";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A path as a Windows program under Wine sees it.
fn windows(path: &Path) -> String {
    format!("Z:{}", path.to_str().unwrap().replace('/', "\\"))
}

fn output(name: &str) -> Option<Output> {
    Command::new(name).arg("--version").output().ok().filter(|output| output.status.success())
}

/// The scripts for a company, and Windows programs for them.
struct Offline {
    folder: tempfile::TempDir,
}

impl Offline {
    /// None, with a word, where there is no Wine or nothing to make programs for it.
    fn new() -> Option<Offline> {
        const COMPILER: &str = "x86_64-w64-mingw32-gcc";
        if let Some(lacks) = ["wine", COMPILER].into_iter().find(|name| output(name).is_none()) {
            support::skipped(&format!("provision.cmd was not run: there is no {lacks}"));
            return None;
        }
        let offline = Offline { folder: tempfile::tempdir().unwrap() };
        offline.scripts();
        fs::create_dir(offline.path("relay")).unwrap();
        let tool = offline.path("out/tool.exe");
        let mut compile = Command::new(COMPILER);
        run(compile.arg("-o").arg(&tool).arg(root().join("tests/tools/windows_tool.c"))).expect(0);
        fs::copy(&tool, offline.path("out/findstr.exe")).unwrap();
        fs::create_dir(offline.path("out/a (x86) b")).unwrap();
        fs::copy(&tool, offline.path("out/a (x86) b/tool.exe")).unwrap();
        Some(offline)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn scripts(&self) {
        let (mail, directory) = (root().join("fixtures/acme"), root().join("fixtures/directory"));
        run(floe().arg("snapshot").arg(mail).arg("--directory").arg(directory).arg("--archive").arg(self.path("a.floe")))
            .expect(0);
        let to = ["--to", "https://mail.acme.example", "--imap", "imaps://mail.acme.example"];
        run(floe().arg("plan").arg(self.path("a.floe")).args(to).arg("--out").arg(self.path("plan.toml"))).expect(1);
        let plan = fs::read_to_string(self.path("plan.toml")).unwrap();
        let named = plan.replace("Anna Müller", &HOSTILE.replace('\\', r"\\")).replace("Boris Söhne", "Boris Soehne");
        assert!(named.contains("Soehne") && named.contains("pwned"), "{plan}");
        fs::write(self.path("plan.toml"), named).unwrap();
        run(floe().args(["provision", "--plan"]).arg(self.path("plan.toml")).arg("--offline").arg(self.path("out"))).expect(1);
    }

    /// Runs the script as Windows would, with the tool at this place; its exit code and what it said.
    fn cmd(&self, tool: &str, state: &str, argument: Option<&str>, imports: bool) -> (Option<i32>, String) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    self.answer_calls(state, imports);
                    thread::sleep(Duration::from_millis(5));
                }
            });
            let mut wine = Command::new("timeout");
            wine.args(["300", "wine", "cmd", "/c", &windows(&self.path("out/provision.cmd"))]).args(argument);
            wine.env("WINEDEBUG", "-all").env("WINEPREFIX", self.path("wine")).env("RELAY", windows(&self.path("relay")));
            let ended = wine.env("TOOL", tool).current_dir(self.folder.path()).stdin(Stdio::null()).output();
            over.store(true, Ordering::SeqCst);
            let ended = ended.unwrap();
            (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
        })
    }

    /// Does what the tool was called for, as the tool of the shell script does it.
    fn answer_calls(&self, state: &str, imports: bool) {
        for entry in fs::read_dir(self.path("relay")).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.extension().is_none_or(|extension| extension != "call") {
                continue;
            }
            let call = fs::read_to_string(&entry).unwrap();
            fs::remove_file(&entry).unwrap();
            let mut tool = Command::new(root().join("tests/tools/icewarp_tool.py"));
            tool.args(call.lines()).env("STATE", self.path(state)).current_dir(self.path("out"));
            if !imports {
                tool.env("NO_IMPORT", "1");
            }
            let done = tool.output().unwrap();
            let answer = [format!("{}\n", done.status.code().unwrap()).as_bytes(), &done.stdout].concat();
            fs::write(entry.with_extension("held"), answer).unwrap();
            fs::rename(entry.with_extension("held"), entry.with_extension("answer")).unwrap();
        }
    }

    fn sh(&self, state: &str, argument: Option<&str>) {
        let mut script = Command::new("sh");
        script.arg(self.path("out/provision.sh")).args(argument).env("STATE", self.path(state));
        run(script.env("TOOL", root().join("tests/tools/icewarp_tool.py"))).expect(0);
    }

    fn state(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn calls(&self, state: &str, command: &str) -> usize {
        let called = fs::read_to_string(self.path(&format!("{state}.argv"))).unwrap();
        called.lines().filter(|line| line.starts_with(&format!("[\"{command}\""))).count()
    }
}

#[test]
fn the_script_for_windows_makes_what_the_one_for_unix_makes() {
    let Some(offline) = Offline::new() else { return };
    // A folder with parentheses in its name, such as Windows' own for programs of 32 bits.
    let tool = windows(&offline.path("out/a (x86) b/tool.exe"));
    let mut ran = offline.cmd(&tool, "cmd.json", None, true);
    if ran.0 == Some(1) {
        // On a busy machine Wine has been seen to lose a call; what the script says then, it does when it is run again.
        support::skipped(&format!("once more, for it said: {}", ran.1));
        ran = offline.cmd(&tool, "cmd.json", None, true);
    }
    assert!(ran.0 == Some(0) && ran.1.contains("PASS: all is there"), "{ran:?}");
    offline.sh("sh.json", None);
    let mut of_sh = offline.state("sh.json");
    // The members of lists, which have a line each, are made by the other script only.
    assert!(of_sh["account:team@acme.example"].as_object_mut().unwrap().remove("m_listfile_contents").is_some());
    let of_cmd = offline.state("cmd.json");
    assert_eq!(of_cmd, of_sh);
    assert_eq!(of_cmd["account:anna@acme.example"]["u_name"], HOSTILE);
    assert_eq!(of_cmd["account:anna@acme.test"]["m_listfile_contents"], "anna@acme.example");

    let made = |state| ["create", "import"].map(|command| offline.calls(state, command));
    let before = made("cmd.json");
    let (code, text) = offline.cmd(&tool, "cmd.json", Some("finish"), true);
    assert!(code == Some(0) && text.contains("PASS: all is there"), "{code:?} {text}");
    assert_eq!(made("cmd.json"), before, "a second run made something again");
    assert_eq!(offline.state("cmd.json")["account:carla@acme.example"]["u_accountdisabled"], "1");
    for place in [offline.folder.path(), &offline.path("out"), root()] {
        assert!(!place.join("pwned").exists());
    }
}

#[test]
fn the_script_for_windows_says_what_it_could_not_do() {
    let Some(offline) = Offline::new() else { return };
    let (code, text) = offline.cmd(&windows(&offline.path("out/tool.exe")), "cmd.json", None, false);
    assert!(code == Some(1) && text.contains("NOT DONE: account \"anna@acme.example\""), "{code:?} {text}");
    assert!(!text.contains("NOT DONE: account \"team@acme.example\""), "{text}");
    assert!(fs::read_to_string(offline.path("out/provision.log")).unwrap().contains("NOT DONE: account"));
    let (code, text) = offline.cmd(r"C:\Program Files (x86)\none\tool.exe", "none.json", None, true);
    assert!(code == Some(2) && text.contains("name the server's tool"), "{code:?} {text}");
}
