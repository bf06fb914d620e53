//! The whole way to a stand-in for IceWarp, step by step, as a person would go it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use floe::icewarp::standin::StandIn;
use serde_json::Value;

use super::program::{Ran, floe, run};

/// An archive, a stand-in, and the plan between them.
pub struct Way {
    pub folder: tempfile::TempDir,
    pub server: StandIn,
}

impl Way {
    /// A stand-in with these difficulties.
    pub fn new(difficult: &str) -> Way {
        let folder = tempfile::tempdir().unwrap();
        let server = StandIn::start(&folder.path().join("icewarp"), difficult.parse().unwrap()).unwrap();
        Way { folder, server }
    }

    /// Ends the stand-in and starts it again on the same folder, with other difficulties and at other addresses.
    pub fn restart(&mut self, difficult: &str) {
        self.server = StandIn::start(&self.path("icewarp"), difficult.parse().unwrap()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Captures accounts into the archive.
    #[track_caller]
    pub fn snapshot(&self, accounts: &[(&str, &Path)]) {
        let ran = run(&mut super::program::snapshot(accounts, &self.path("a.floe")));
        assert!(ran.code() <= 1, "{ran}");
    }

    fn command(&self, name: &str, more: &[&str]) -> Ran {
        let mut command = floe();
        command.arg(name).args(["--admin", self.server.admin(), "--password-file"]).arg(self.server.password_file()).args(more);
        run(&mut command)
    }

    /// Looks at the server.
    pub fn doctor(&self) -> Ran {
        let (http, imap) = (self.server.http(), format!("imap://{}", self.server.imap()));
        let sheet = self.text("sheet.json");
        self.command("doctor", &["--to", &http, "--imap", &imap, "--account", self.server.admin(), "--out", &sheet])
    }

    /// Drafts the plan from the sheet, or brings it up to date.
    pub fn plan(&self, more: &[&str]) -> Ran {
        let imap = format!("imap://{}", self.server.imap());
        let mut command = floe();
        command.arg("plan").arg(self.path("a.floe")).args(["--to", &self.server.http(), "--imap", &imap]);
        command.arg("--sheet").arg(self.path("sheet.json")).arg("--out").arg(self.path("plan.toml")).args(more);
        run(&mut command)
    }

    pub fn provision(&self) -> Ran {
        self.command("provision", &["--plan", &self.text("plan.toml"), "--passwords", &self.text("passwords.csv")])
    }

    pub fn replay(&self, more: &[&str]) -> Ran {
        let (plan, sheet) = (self.text("plan.toml"), self.text("sheet.json"));
        self.command("replay", &[&["--plan", &plan, "--sheet", &sheet], more].concat())
    }

    /// Replays by a copy of the plan that lies elsewhere, with a journal of its own.
    pub fn replay_of(&self, plan: &Path) -> Ran {
        self.command("replay", &["--plan", plan.to_str().unwrap(), "--sheet", &self.text("sheet.json")])
    }

    pub fn validate(&self, more: &[&str]) -> Ran {
        let (plan, report) = (self.text("plan.toml"), self.text("report"));
        self.command("validate", &[&["--plan", &plan, "--report", &report], more].concat())
    }

    /// Everything up to the plan and the accounts.
    #[track_caller]
    pub fn prepare(&self) {
        for ran in [self.doctor(), self.plan(&[]), self.provision()] {
            assert!(ran.code() <= 1, "{ran}");
        }
    }

    /// The report of the last validation.
    pub fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("report/report.json")).unwrap()).unwrap()
    }

    /// How many items have which state in it.
    pub fn states(&self) -> BTreeMap<String, u64> {
        let text = fs::read_to_string(self.path("report/items.jsonl")).unwrap();
        let mut states = BTreeMap::new();
        for line in text.lines() {
            let item: Value = serde_json::from_str(line).unwrap();
            *states.entry(item["state"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        states
    }
}
