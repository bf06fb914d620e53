//! Reports: what they say agrees with itself and with the exit code, and nothing in mail can drive what shows them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use floe::archive::Archive;
use floe::model::{CollectionKind, CollectionPath, Digest, Ledger, Outcome as Kept, Place, Placement};
use floe::report::{Builder, Change, Class, Example, Finding, Forecast, Job, Outcome, Report, header};
use serde_json::Value;
use support::mail::Maildir;
use support::program::{floe, on, run, snapshot};
use support::skipped;

/// What a hostile sender would like to see carried into a report.
const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"' onmouseover='alert(2)",
    "a\u{202e}gpj.exe\u{2066}",
    "\u{1b}]0;owned\u{7}\u{1b}[2J",
    "=cmd|'/c calc'!A1",
    "</style></title><img src=http://evil.example/x>",
];

fn placement(n: u64) -> Placement {
    let json = serde_json::json!({"sha256": Digest::of(&n.to_le_bytes()), "size": n, "source": {"path": format!("cur/{n}")}});
    serde_json::from_value(json).unwrap()
}

fn builder(folder: &Path, job: Job) -> Builder {
    Builder::create(folder, header(job, None, BTreeMap::new())).unwrap()
}

fn ledger(captured: u64) -> Ledger {
    Ledger { found: captured, captured, bytes: captured, ..Ledger::default() }
}

fn example(text: &str) -> Example {
    Example { account: text.to_owned(), folder: text.to_owned(), place: text.to_owned(), detail: text.to_owned() }
}

fn change(what: &str, detail: &str) -> Change {
    Change { what: what.to_owned(), detail: detail.to_owned() }
}

/// A comparison with every finding, all of whose names are hostile.
fn hostile(folder: &Path) -> Report {
    let mut report = builder(folder, Job::Validate);
    report.compare_method("the SHA-256 of what the target gives back");
    let findings = [
        Finding::Identical,
        Finding::Equivalent(HOSTILE[0].to_owned()),
        Finding::Changed(vec![change("flag \\Seen", ""), change(HOSTILE[1], HOSTILE[2])]),
        Finding::Altered(vec![change(HOSTILE[2], HOSTILE[0])]),
        Finding::Missing(None),
        Finding::Extra,
        Finding::Duplicate,
        Finding::Refused(HOSTILE[5].to_owned()),
    ];
    for text in HOSTILE {
        let id = report.folder(&format!("{text}@{text}"), &CollectionPath::new([text]), CollectionKind::Mail, &ledger(5));
        for (n, finding) in findings.iter().enumerate() {
            let mut item = placement(n as u64);
            item.keywords = vec![text.to_owned()];
            item.message_id = Some(text.to_owned());
            item.source = Place::file(text);
            report.compared(id, Some(&item), text, finding).unwrap();
        }
        report.exception(Class::Failed, text, example(text)).unwrap();
        report.forecast(Forecast { what: text.to_owned(), expected: 1, happened: 2 }).unwrap();
        report.scope.out_of_scope.push(text.to_owned());
    }
    report.finish().unwrap()
}

fn json(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap()
}

#[test]
fn hostile_names_stay_text_in_every_file() {
    let folder = tempfile::tempdir().unwrap();
    hostile(folder.path());
    for name in ["report.html", "report.json", "items.jsonl", "items.csv", "exceptions.csv", "duplicates.csv", "totals.csv"] {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        let odd = text.chars().find(|c| *c != '\n' && (c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}')));
        assert_eq!(odd, None, "{name}");
    }
    let html = fs::read_to_string(folder.path().join("report.html")).unwrap();
    for bad in ["<script", "<img", "' onmouseover", "\" onmouseover", "</style></title>"] {
        assert!(!html.contains(bad), "{bad}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && html.contains("a\\u{202e}gpj.exe"));
    for name in ["items.csv", "exceptions.csv", "totals.csv"] {
        let mut rows = csv::Reader::from_path(folder.path().join(name)).unwrap();
        for cell in rows.records().flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()) {
            assert!(!cell.starts_with(['=', '+', '-', '@']), "{name}: {cell}");
        }
    }
}

#[test]
fn json_csv_and_page_say_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let report = hostile(folder.path());
    let json = json(folder.path());
    let each = HOSTILE.len() as u64;
    for member in ["identical", "equivalent", "changed", "altered", "missing", "extra", "duplicate", "refused"] {
        assert_eq!(json["compare"]["all"][member], each, "{member}");
        let folders = json["totals"]["folders"].as_array().unwrap();
        assert_eq!(folders.iter().map(|f| f["compare"][member].as_u64().unwrap()).sum::<u64>(), each);
        let mut rows = csv::Reader::from_path(folder.path().join("items.csv")).unwrap();
        assert_eq!(rows.records().filter(|row| &row.as_ref().unwrap()[4] == member).count() as u64, each, "{member}");
    }
    let listed = csv::Reader::from_path(folder.path().join("exceptions.csv")).unwrap().records().count() as u64;
    assert_eq!(report.exceptions.iter().map(|cause| cause.count).sum::<u64>(), listed);
    let html = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(html.contains("<b>30</b><span>captured</span>") && html.contains("6 missing"), "{html}");
    for file in &report.files {
        assert_eq!(Digest::of(&fs::read(folder.path().join(&file.name)).unwrap()), file.sha256, "{}", file.name);
    }
}

#[test]
fn every_class_gives_its_verdict_and_a_ledger_that_does_not_balance_is_a_fail() {
    let one = |add: &dyn Fn(&mut Builder)| {
        let folder = tempfile::tempdir().unwrap();
        let mut report = builder(folder.path(), Job::Snapshot);
        add(&mut report);
        let report = report.finish().unwrap();
        assert_eq!(json(folder.path())["verdict"]["result"], report.verdict.result.words());
        assert_eq!(report.verdict.exit_code, report.verdict.result.code());
        report.verdict.result
    };
    let path = CollectionPath::new(["INBOX"]);
    let with = |class| one(&|report: &mut Builder| report.exception(class, "cause", example("x")).unwrap());
    assert_eq!(with(Class::Skipped), Outcome::Pass);
    assert_eq!(with(Class::Failed), Outcome::PassWithExceptions);
    assert_eq!(with(Class::Missing), Outcome::Fail);
    let mut lost = Ledger { found: 3, captured: 1, ..Ledger::default() };
    lost.note(Kept::Skipped, "expunged");
    let surplus = Ledger { found: 1, captured: 2, ..Ledger::default() };
    let unbalanced = one(&|report| {
        // Together the two would balance.
        report.folder("a@x", &path, CollectionKind::Mail, &lost);
        report.folder("b@x", &path, CollectionKind::Mail, &surplus);
    });
    assert_eq!(unbalanced, Outcome::Fail);
}

#[test]
fn the_commands_exit_code_is_the_verdict_of_their_report() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut mail = Maildir::new(&at("mail"), "anna@acme.example");
    mail.put("", "1700000000.M1P1.host:2,S", b"Subject: one\n\nx\n");
    std::os::unix::fs::symlink("/etc/passwd", at("mail").join("cur/1700000001.M1P1.host:2,S")).unwrap();
    let archive = at("a.floe");
    let made = run(snapshot(&[("anna@acme.example", &at("mail"))], &archive).arg("--report").arg(at("made")));
    assert_eq!(json(&at("made"))["verdict"]["exit_code"], made.code());
    assert_eq!(json(&at("made"))["totals"]["server"]["all"]["captured"], 1);
    let checked = |name: &str| {
        let ran = run(on(&archive, "verify", &["--full"]).arg("--report").arg(at(name)));
        assert_eq!(json(&at(name))["verdict"]["exit_code"], ran.code(), "{ran}");
        ran.code()
    };
    assert_eq!(checked("good"), 0);
    let pack = Archive::open(&archive).unwrap().index().packs()[0].name.clone();
    let mut bytes = fs::read(archive.join(&pack)).unwrap();
    bytes[100] ^= 1;
    fs::write(archive.join(&pack), bytes).unwrap();
    assert_eq!(checked("bad"), 2);
}

/// What stands in the place of capitals in the steps.
fn filled_in(command: &str, archive: &Path, allowed: &Path) -> String {
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    command.replace("ARCHIVE", &path(archive)).replace("ALLOWED", &path(allowed)).replace("WHO", "operator@acme.example")
}

#[test]
fn every_step_of_a_report_can_be_repeated_as_it_stands_and_fails_on_a_damaged_archive() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut mail = Maildir::new(&at("mail"), "anna@acme.example");
    mail.fill(&mut support::mail::Random(1), "", 5, 3000);
    let archive = at("a.floe");
    run(&mut snapshot(&[("anna@acme.example", &at("mail"))], &archive)).expect(0);
    run(floe().args(["key", "new", "--out"]).arg(at("key"))).expect(0);
    run(on(&archive, "sign", &["--role", "operator", "--key"]).arg(at("key"))).expect(0);
    let public = fs::read_to_string(at("key.pub")).unwrap();
    fs::write(at("allowed"), format!("operator@acme.example {public}")).unwrap();
    run(on(&archive, "verify", &["--full", "--report"]).arg(at("report"))).expect(0);
    let steps = json(&at("report"))["repeat"].as_array().unwrap().clone();
    let binary = Path::new(env!("CARGO_BIN_EXE_floe")).parent().unwrap().to_owned();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let repeat = |step: &Value| {
        let command = filled_in(step["command"].as_str().unwrap(), &archive, &at("allowed"));
        run(Command::new("sh").args(["-c", &command]).env("PATH", &path).current_dir(at("report")))
    };
    assert!(steps.len() > 8, "{steps:?}");
    for step in &steps {
        let (ran, expect) = (repeat(step).expect(0), filled_in(step["expect"].as_str().unwrap(), &archive, &at("allowed")));
        let is_said = expect.len() == 64 || expect.starts_with("Good ");
        assert!(!is_said || ran.text().contains(&expect), "{step}: {ran}");
    }
    assert!(steps.iter().any(|step| step["expect"].as_str().unwrap().starts_with("Good \"floe-root-operator\"")));
    // An event taken out, and a signature moved: the steps tell.
    let events = fs::read_to_string(archive.join("events.jsonl")).unwrap();
    let less: String = events.lines().enumerate().filter(|(n, _)| *n != 1).map(|(_, line)| format!("{line}\n")).collect();
    fs::write(archive.join("events.jsonl"), less).unwrap();
    let signature = fs::read_dir(archive.join("signatures")).unwrap().next().unwrap().unwrap().path();
    run(floe().args(["key", "new", "--out"]).arg(at("other"))).expect(0);
    fs::write(at("allowed"), format!("operator@acme.example {}", fs::read_to_string(at("other.pub")).unwrap())).unwrap();
    let failed = |word: &str| {
        let step = steps.iter().find(|step| step["command"].as_str().unwrap().contains(word)).unwrap();
        assert_ne!(repeat(step).code(), 0, "{step}");
    };
    ["tagmanifest-sha256.txt", "events.jsonl", "ssh-keygen"].into_iter().for_each(failed);
    assert!(signature.exists());
}

#[test]
fn each_job_tells_of_seals_custody_options_and_the_time_of_the_capture() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut mail = Maildir::new(&at("mail"), "anna@acme.example");
    let archive = at("a.floe");
    run(floe().args(["key", "new", "--out"]).arg(at("key"))).expect(0);
    for round in 0..2 {
        mail.fill(&mut support::mail::Random(round), "", 2, 3000);
        let report = at(&format!("made{round}"));
        run(snapshot(&[("anna@acme.example", &at("mail"))], &archive).args(["--level", "5", "--report"]).arg(report)).expect(0);
        run(on(&archive, "sign", &["--role", "operator", "--key"]).arg(at("key"))).expect(0);
    }
    run(on(&archive, "verify", &["--report"]).arg(at("checked")).env("FLOE_OPERATOR", "N. N.")).expect(0);
    let (made, checked) = (json(&at("made1")), json(&at("checked")));
    assert_eq!((made["seals"].as_array().unwrap().len(), checked["seals"].as_array().unwrap().len()), (1, 2));
    assert_eq!((&made["header"]["options"]["level"], &made["header"]["options"]["reread"]), (&"5".into(), &"false".into()));
    let named = format!("anna@acme.example={}", at("mail").display());
    assert_eq!(made["header"]["options"]["account"], named);
    assert_eq!((&checked["header"]["options"]["level"], &checked["header"]["operator"]), (&"quick".into(), &"N. N.".into()));
    for report in [&made, &checked] {
        let scope = &report["scope"];
        assert!(scope["captured_from"].as_str().unwrap() <= scope["captured_to"].as_str().unwrap(), "{scope}");
        assert!(report["header"]["tool"]["sha256"].is_string() && report["header"]["host"]["fingerprint"].is_string());
    }
    let told: Vec<&str> = checked["custody"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    let captured = ["capture", "message digest calculation", "digital signature generation"];
    assert_eq!(told, [captured.as_slice(), &captured, &["fixity check"]].concat());
    let outcome = checked["custody"][2]["outcome"].as_str().unwrap();
    assert!(outcome.starts_with("success: ") && outcome.contains("role operator"), "{outcome}");
    // A signature that was broken is a FAIL of the next snapshot's report, and of its exit code.
    let signature = fs::read_dir(archive.join("signatures")).unwrap().next().unwrap().unwrap().path();
    fs::write(signature, "x").unwrap();
    let ran = run(snapshot(&[("anna@acme.example", &at("mail"))], &archive).arg("--report").arg(at("made2"))).expect(2);
    assert!(ran.text().contains("the report names it"), "{ran}");
    assert_eq!(json(&at("made2"))["verdict"]["exit_code"], 2);
}

#[test]
fn which_items_are_alike_is_listed_apart_from_losses() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = builder(folder.path(), Job::Snapshot);
    let inbox = report.folder("a@x", &CollectionPath::new(["INBOX"]), CollectionKind::Mail, &ledger(7));
    for (n, (content, message_id)) in
        [(1, "one"), (1, "one"), (2, "one"), (3, ""), (4, ""), (4, ""), (5, "five")].iter().enumerate()
    {
        let mut item = placement(*content);
        item.source = Place::file(format!("cur/{n}"));
        item.message_id = (!message_id.is_empty()).then(|| (*message_id).to_owned());
        if n == 6 {
            item.labels = vec!["Work".to_owned(), "Home".to_owned()];
        }
        report.item(inbox, &item).unwrap();
    }
    let report = report.finish().unwrap();
    let rows = |name: &str| {
        let mut reader = csv::Reader::from_path(folder.path().join(name)).unwrap();
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let places: BTreeMap<String, String> = rows("items.csv").into_iter().map(|row| (row[0].clone(), row[14].clone())).collect();
    let mut groups: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for row in rows("duplicates.csv") {
        groups.entry((row[0].clone(), row[1].clone())).or_default().push(&places[&row[3]]);
    }
    let mut groups: Vec<(&str, Vec<&str>)> = groups.iter().map(|((by, _), places)| (by.as_str(), places.clone())).collect();
    groups.iter_mut().for_each(|(_, places)| places.sort_unstable());
    groups.sort();
    let wanted = [
        ("bytes", vec!["cur/0", "cur/1"]),
        ("bytes", vec!["cur/4", "cur/5"]),
        ("labels", vec!["cur/6"]),
        ("message-id", vec!["cur/0", "cur/1", "cur/2"]),
    ];
    assert_eq!(groups, wanted);
    let found = &report.duplicates;
    assert_eq!((found.by_bytes.groups, found.by_bytes.copies, found.by_message_id.copies, found.by_label), (2, 2, 2, 1));
    assert_eq!(report.verdict.result, Outcome::Pass);
}

#[test]
fn a_million_items_need_no_more_memory_than_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    };
    let mut report = builder(folder.path(), Job::Snapshot);
    let items = 1_000_000;
    let id = report.folder("a@x", &CollectionPath::new(["INBOX"]), CollectionKind::Mail, &ledger(items));
    let before = resident();
    let mut item = placement(1);
    for n in 0..items {
        item.sha256 = Digest::of(&n.to_le_bytes());
        report.item(id, &item).unwrap();
        if n % 10 == 0 {
            report.exception(Class::Skipped, "expunged", example("x")).unwrap();
        }
    }
    let report = report.finish().unwrap();
    assert!(resident() < before + 100, "{before} to {} MiB", resident());
    assert_eq!(report.files[0].rows, items);
    assert_eq!((report.exceptions[0].count, report.exceptions[0].examples.len()), (items / 10, 20));
    assert!(fs::metadata(folder.path().join("report.json")).unwrap().len() < 100_000);
}

#[test]
fn reports_follow_the_published_schema() {
    let folder = tempfile::tempdir().unwrap();
    hostile(folder.path());
    let check = "import json, sys, jsonschema; s = json.load(open(sys.argv[1])); \
                 jsonschema.Draft202012Validator.check_schema(s); jsonschema.Draft202012Validator(s).validate(json.load(open(sys.argv[2])))";
    if !Command::new("python3").args(["-c", "import jsonschema"]).output().is_ok_and(|o| o.status.success()) {
        return skipped("the schema of reports: there is no Python with jsonschema");
    }
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/report.schema.json");
    let report = folder.path().join("report.json");
    run(Command::new("python3").args(["-c", check, schema]).arg(&report)).expect(0);
    let mut wrong = json(folder.path());
    wrong["verdict"]["exit_code"] = 0.into();
    fs::write(&report, wrong.to_string()).unwrap();
    run(Command::new("python3").args(["-c", check, schema]).arg(&report)).expect(1);
}

#[test]
fn the_page_is_seen_in_a_browser_in_light_dark_narrow_and_print() {
    let programs = ["chromium", "chromium-browser", "google-chrome"];
    let Some(program) = programs.iter().find(|p| Command::new(p).arg("--version").output().is_ok()) else {
        return skipped("the page of reports: there is no Chromium");
    };
    let folder = tempfile::tempdir().unwrap();
    hostile(folder.path());
    let see = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/see_report.py");
    let out = folder.path().join("seen");
    run(Command::new("python3").args([see, program]).arg(folder.path().join("report.html")).arg(out)).expect(0);
}
