//! What goes wrong on a weekend: each time a clear message, nothing lost, and no secret told.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; the seed is told")]
mod support;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::mail::{Maildir, Random, message};
use support::program::{Ran, floe, run};
use support::skipped;
use support::way::Way;
use walkdir::WalkDir;

const ANNA: &str = "anna@acme.example";

/// An account of so many messages, ready to be carried over.
fn ready(messages: u32) -> (Way, Maildir) {
    let way = Way::new("");
    let mut mail = Maildir::new(&way.path("mail"), ANNA);
    let mut random = Random(7);
    for n in 0..messages {
        let bytes = message(&format!("mail {n}"), &random.bytes(20_000));
        mail.put("", &format!("170000{n:04}.M{n}P1.host:2,S"), &bytes);
    }
    way.snapshot(&[(ANNA, &mail.root)]);
    way.prepare();
    (way, mail)
}

#[test]
fn a_message_damaged_in_the_archive_is_named_and_the_rest_arrives() {
    let (way, _mail) = ready(12);
    let packs = WalkDir::new(way.path("a.floe/data")).into_iter().map(|entry| entry.unwrap().into_path());
    let pack = packs.filter(|path| path.is_file()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let good = fs::read(&pack).unwrap();
    let mut bad = good.clone();
    let at = bad.len() / 2;
    bad[at] ^= 0x10;
    fs::write(&pack, &bad).unwrap();
    let ran = way.replay(&[]).expect(1);
    assert!(ran.text().contains("damaged in the archive") && ran.text().contains("floe verify"), "{ran}");
    fs::write(&pack, &good).unwrap();
    way.replay(&[]).expect(0);
    way.validate(&[]).expect(0);
}

#[test]
fn a_server_that_is_not_there_and_a_plan_that_is_bad_are_said_so() {
    let (mut way, _mail) = ready(2);
    let plan = fs::read_to_string(way.path("plan.toml")).unwrap();
    fs::write(way.path("plan.toml"), plan.replace("create = true", "create = maybe")).unwrap();
    let bad = way.replay(&[]).expect(64);
    let line = plan.lines().position(|line| line.starts_with("create =")).unwrap() + 1;
    assert!(bad.text().contains(&format!("line {line}")) || bad.text().contains(&format!("line={line}")), "{bad}");
    fs::write(way.path("plan.toml"), &plan).unwrap();
    way.restart("");
    for gone in [way.validate(&[]), way.replay(&[])] {
        let gone = gone.expect(2);
        assert!(gone.text().contains("cannot connect to the server") && gone.text().contains("firewall"), "{gone}");
        assert!(gone.elapsed < Duration::from_secs(10), "{gone}");
    }
}

/// A certificate for localhost that expired long ago, and its key; none where openssl cannot make one.
fn expired_certificate(folder: &Path) -> Option<()> {
    let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\n\
                  copy_extensions=copy\n[p]\ncommonName=supplied\n";
    for (name, text) in [("ca.cnf", config), ("index.txt", ""), ("serial", "01\n")] {
        fs::write(folder.join(name), text).unwrap();
    }
    let openssl = |arguments: &str| {
        let made = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output();
        made.is_ok_and(|made| made.status.success()).then_some(())
    };
    let name = "-subj /CN=localhost -addext subjectAltName=DNS:localhost";
    openssl(&format!("req -new -newkey rsa:2048 -nodes -keyout key.pem -out request.pem {name}"))?;
    let days = "-startdate 20200101000000Z -enddate 20200201000000Z";
    openssl(&format!("ca -batch -selfsign -notext -config ca.cnf -keyfile key.pem -in request.pem -out cert.pem {days}"))
}

#[test]
fn an_expired_certificate_is_refused_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    if expired_certificate(folder.path()).is_none() {
        return skipped("expired certificates: this openssl makes none");
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .current_dir(folder.path())
        .args(["s_server", "-quiet", "-key", "key.pem", "-cert", "cert.pem", "-accept", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::write(folder.path().join("pw"), "secret\n").unwrap();
    let mut doctor = floe();
    doctor.arg("doctor").args(["--to", &format!("imaps://localhost:{port}"), "--account", "anna@x.example", "--login", "own"]);
    doctor.arg("--password-file").arg(folder.path().join("pw")).arg("--out").arg(folder.path().join("sheet.json"));
    let ran = run(doctor.arg("--ca-file").arg(folder.path().join("cert.pem")));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(ran.code() == 2 && ran.text().to_lowercase().contains("expired"), "{ran}");
    assert!(!ran.text().contains("secret"), "{ran}");
}

/// Files below a folder that hold the text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let files = WalkDir::new(folder).into_iter().map(|entry| entry.unwrap().into_path()).filter(|path| path.is_file());
    let has = |path: &std::path::PathBuf| memchr::memmem::find(&fs::read(path).unwrap_or_default(), text.as_bytes()).is_some();
    files.filter(has).map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn secrets_are_in_no_output_file_or_process_list() {
    let (way, _mail) = ready(40);
    let secret = fs::read_to_string(way.server.password_file()).unwrap().trim().to_owned();
    assert!(secret.len() >= 8);
    let done = std::sync::atomic::AtomicBool::new(false);
    let watched = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                seen.extend(command_lines().into_iter().filter(|line| line.contains(&secret)));
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        let ran: Vec<Ran> =
            vec![way.doctor(), way.provision(), way.replay(&["--json"]), way.validate(&[]), way.validate(&["--json"])];
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        for ran in ran {
            assert!(!ran.text().contains(&secret), "{ran}");
        }
        watch.join().unwrap()
    });
    assert_eq!(watched, [""; 0]);
    let wrong = way.path("wrong");
    fs::write(&wrong, "hunter2-is-wrong\n").unwrap();
    let mut refused = floe();
    refused.args(["validate", "--admin", way.server.admin(), "--password-file"]).arg(&wrong);
    refused.arg("--plan").arg(way.path("plan.toml")).arg("--report").arg(way.path("report"));
    let refused = run(&mut refused).expect(2);
    assert!(!refused.text().contains("hunter2"), "{refused}");
    assert_eq!(holding(way.folder.path(), "hunter2-is-wrong"), ["wrong"]);
    assert_eq!(holding(way.folder.path(), &secret), ["admin.password"]);
}

fn command_lines() -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}
