//! The directory from its files over the archive and the plan onto a server, from outside: what is made, what is foreseen to be lost, what
//! a difficult server or a kill changes (nothing), and that no secret is seen anywhere.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; what is skipped is said")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use floe::icewarp::api::{Api, Right};
use floe::icewarp::standin::StandIn;
use floe::net::{Secret, Trust};
use support::mail::Random;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn floe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_floe")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

/// The fixtures' company in an archive, with its directory.
struct Company {
    folder: tempfile::TempDir,
}

impl Company {
    fn new() -> Company {
        let company = Company { folder: tempfile::tempdir().unwrap() };
        let (mail, directory) = (root().join("fixtures/acme"), root().join("fixtures/directory"));
        let arguments = ["snapshot", mail.to_str().unwrap(), "--directory", directory.to_str().unwrap(), "--archive"];
        let said = expect(&floe(&[&arguments[..], &[&company.path("a.floe")]].concat()), 0);
        assert!(said.contains("directory of 6 accounts in 1 domains"), "{said}");
        company
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn plan(&self, to: &str, imap: &str) -> String {
        let arguments = ["plan", &self.path("a.floe"), "--to", to, "--imap", imap, "--out", &self.path("plan.toml")];
        expect(&floe(&arguments), 1);
        self.text("plan.toml")
    }

    /// A stand-in, and a plan for it.
    fn server(&self, difficult: &str) -> Server {
        let standin = StandIn::start(&self.folder.path().join("icewarp"), difficult.parse().unwrap()).unwrap();
        let (http, imap) = (standin.http(), format!("imap://{}", standin.imap()));
        let _ = fs::remove_file(self.folder.path().join("plan.toml"));
        self.plan(&http, &imap);
        Server { standin }
    }

    fn command(&self, name: &str, server: &Server, more: &[&str]) -> Command {
        let password = server.standin.password_file();
        let mut command = Command::new(env!("CARGO_BIN_EXE_floe"));
        command.arg(name).args(["--plan", &self.path("plan.toml"), "--admin", server.standin.admin()]);
        command.arg("--password-file").arg(password).args(more).stdin(Stdio::null());
        command
    }

    fn provision(&self, server: &Server, more: &[&str]) -> Command {
        self.command("provision", server, &[&["--passwords", &self.path("new.csv")], more].concat())
    }

    /// What the stand-in holds of a domain's accounts, as it keeps them.
    fn state(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let folder = self.folder.path().join("icewarp/domains");
        support::archives::files(&folder).into_iter().map(|f| (f.clone(), fs::read(folder.join(f)).unwrap())).collect()
    }

    /// Address and password of the accounts made; the last line of an address stands.
    fn passwords(&self) -> BTreeMap<String, String> {
        let pair = |line: &str| line.split_once(',').map(|(a, p)| (a.to_owned(), p.to_owned())).unwrap();
        self.text("new.csv").lines().map(pair).collect()
    }
}

struct Server {
    standin: StandIn,
}

impl Server {
    fn api(&self) -> Api {
        self.api_of(self.standin.admin(), &self.standin.password().unwrap()).unwrap()
    }

    fn api_of(&self, user: &str, password: &Secret) -> floe::Result<Api> {
        Api::open(&self.standin.http().parse().unwrap(), &Trust::default(), user, password)
    }

    /// Everything of the directory that does not wait for the mail is there.
    #[track_caller]
    fn has_the_company(&self) {
        let mut api = self.api();
        let accounts = api.accounts("acme.example", "*").unwrap();
        let mut of: Vec<(&str, &str)> = accounts.iter().map(|(a, kind)| (a.as_str(), kind.as_str())).collect();
        of.retain(|(a, _)| !a.starts_with("public-folders@"));
        let users = ["anna", "boris", "carla", "dora"].map(|u| format!("{u}@acme.example"));
        let mut wanted: Vec<(&str, &str)> = users.iter().map(|u| (u.as_str(), "0")).collect();
        wanted.extend([("room1@acme.example", "8"), ("team@acme.example", "1")]);
        assert_eq!(of, wanted);
        assert_eq!(api.accounts("acme.test", "anna").unwrap()["anna@acme.test"], "1");
        assert_eq!(api.members("anna@acme.test").unwrap(), ["anna@acme.example"]);
        assert_eq!(
            api.members("team@acme.example").unwrap(),
            ["anna@acme.example", "boris@acme.example", "partner@elsewhere.example"]
        );
        let anna = api.properties("anna@acme.example", &["U_Name", "U_Alias", "U_MaxBoxSize", "A_VCard"]).unwrap();
        let text = |name: &str| anna[name].value("val").to_owned();
        assert_eq!(text("u_name"), "Anna Müller");
        assert!(text("u_alias").split(';').any(|a| a == "a.mueller"), "{}", text("u_alias"));
        assert_eq!(text("u_maxboxsize"), (2 << 20).to_string());
        assert_eq!((anna["a_vcard"].value("lastname"), anna["a_vcard"].value("department")), ("Müller", "Vertrieb"));
        assert_eq!(
            api.properties("team@acme.example", &["M_OwnerAddress"]).unwrap()["m_owneraddress"].value("val"),
            "anna@acme.example"
        );
    }
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_directory_is_kept_shown_checked_and_what_is_not_taken_is_named_with_its_line() {
    let company = Company::new();
    let archive = company.path("a.floe");
    expect(&floe(&["verify", &archive, "--full"]), 0);
    let told = expect(&floe(&["list", &archive, "--directory", "--json"]), 0);
    let objects = lines(&told);
    let account = |address: &str| objects.iter().find(|o| o["address"] == address).unwrap().clone();
    assert_eq!(account("anna@acme.example")["rules"].as_array().unwrap().len(), 3);
    assert_eq!(account("anna@acme.example")["stores"][0], "anna");
    assert_eq!(account("dora@acme.example")["had_password"], true);
    assert_eq!(account("boris@acme.example")["card"]["businesstelephonenumber"], "+49 30 1");
    assert!(!told.contains("nobodyshash"), "{told}");
    let words = expect(&floe(&["list", &archive, "--directory"]), 0);
    assert!(words.contains("list team@acme.example") && words.contains("owner anna@acme.example"), "{words}");
    let exceptions = expect(&floe(&["list", &archive, "--exceptions"]), 0);
    for place in ["users.csv, line 6", "rules.sieve, line 5", "dovecot-acl, line 3"] {
        assert!(exceptions.contains(place), "{place}: {exceptions}");
    }
    // The directory is gone from the pack: a check says so, and everything else still reads.
    let plain =
        expect(&floe(&["snapshot", root().join("fixtures/acme").to_str().unwrap(), "--archive", &company.path("b.floe")]), 0);
    assert!(!plain.contains("directory of"), "{plain}");
    let refused = expect(&floe(&["list", &company.path("b.floe"), "--directory"]), 64);
    assert!(refused.contains("holds no directory"), "{refused}");
}

#[test]
fn a_directory_whose_object_is_missing_fails_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("a.eml"), "Subject: x\n\nx\n").unwrap();
    fs::write(folder.path().join("users.csv"), "email,name\nanna@acme.example,Anna\n").unwrap();
    let archive = folder.path().join("a.floe");
    let found = floe::source::discover(&[], &[("anna@acme.example".to_owned(), store)], None).unwrap();
    let mut writer = floe::archive::Writer::open(&archive, 3).unwrap();
    let input = floe::directory::Input { path: folder.path().join("users.csv"), owner: None };
    let directory = floe::directory::read(&[input], &[], &["anna@acme.example".to_owned()]).unwrap();
    let options = floe::archive::Options::default();
    let done = floe::snapshot::run(&found, Some(&directory), &mut writer, options.clone(), &floe::monitor::Silent).unwrap();
    let kept = floe::archive::Archive::open(&archive).unwrap();
    assert_eq!(floe::directory::load(&kept, done.snapshot.root.directory.unwrap()).unwrap(), directory);
    let mut root = done.snapshot.root.clone();
    root.directory = Some(floe::model::Digest::of(b"nothing"));
    root.created = root.created.checked_add(jiff::ToSpan::seconds(5)).unwrap();
    root.previous = Some(done.snapshot.digest);
    writer.commit(&root).unwrap();
    drop(writer);
    let said = expect(&floe(&["verify", archive.to_str().unwrap(), "--full"]), 2);
    assert!(said.contains("its directory"), "{said}");
}

#[test]
fn files_that_servers_keep_beside_the_mail_are_found_and_links_out_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let anna = folder.path().join("anna");
    for sub in
        ["Maildir/cur", "Maildir/new", "Maildir/tmp", "Maildir/.Team.M&APw-ller/cur", "Maildir/.Team.M&APw-ller/new", "sieve"]
    {
        fs::create_dir_all(anna.join(sub)).unwrap();
    }
    fs::write(anna.join("Maildir/new/1"), "Subject: x\n\nx\n").unwrap();
    fs::write(anna.join("Maildir/.Team.M&APw-ller/dovecot-acl"), "user=boris@acme.example lr\nnonsense\n").unwrap();
    fs::write(anna.join("sieve/main.sieve"), "if header :is \"subject\" \"x\" { stop; }\n").unwrap();
    std::os::unix::fs::symlink("sieve/main.sieve", anna.join(".dovecot.sieve")).unwrap();
    let boris = folder.path().join("boris");
    fs::create_dir_all(boris.join("cur")).unwrap();
    fs::create_dir_all(boris.join("new")).unwrap();
    fs::write(boris.join("new/1"), "Subject: x\n\nx\n").unwrap();
    fs::write(folder.path().join("secret.sieve"), "discard;\n").unwrap();
    std::os::unix::fs::symlink("../secret.sieve", boris.join(".dovecot.sieve")).unwrap();
    let archive = folder.path().join("a.floe");
    let mut snapshot = Command::new(env!("CARGO_BIN_EXE_floe"));
    snapshot.args(["snapshot", "--archive"]).arg(&archive);
    for (name, path) in [("anna@acme.example", &anna), ("boris@acme.example", &boris)] {
        snapshot.arg("--account").arg(format!("{name}={}", path.display()));
    }
    expect(&snapshot.output().unwrap(), 0);
    let words = expect(&floe(&["list", archive.to_str().unwrap(), "--directory"]), 0);
    assert!(words.contains("right lr of boris@acme.example in Team/Müller") && words.contains("rule x (line 1)"), "{words}");
    assert_eq!(words.matches("rule ").count(), 1, "{words}");
    assert!(words.contains("dovecot-acl, line 2: not a line"), "{words}");
}

#[test]
fn a_file_that_could_be_two_things_is_refused_with_what_between() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accounts");
    fs::write(&file, format!("email,name\n{}", "a@b.example:{PLAIN}x,Anna\n".repeat(12))).unwrap();
    let mail = root().join("fixtures/acme/boris/mail");
    let archive = folder.path().join("a.floe");
    let arguments = ["snapshot", mail.to_str().unwrap(), "--archive", archive.to_str().unwrap(), "--directory"];
    let said = expect(&floe(&[&arguments[..], &[file.to_str().unwrap()]].concat()), 64);
    assert!(said.contains("passwd-file or csv"), "{said}");
    assert!(!archive.exists(), "nothing is begun");
}

#[test]
fn a_plan_says_what_will_be_made_and_the_forecast_what_will_be_lost() {
    let company = Company::new();
    let plan = company.plan("https://mail.acme.example", "imaps://mail.acme.example");
    for words in [
        "target = \"anna@acme.example\"",
        "name = \"Anna Müller\"",
        "aliases = [\"a.mueller@acme.example\", \"anna@acme.test\"]",
        "quota = 2147483648",
        "domains = [\"acme.example\", \"acme.test\"]",
        "type = \"list\"",
        "type = \"room\"",
        "disabled = true",
        "letters = \"lrsw\"",
        "folder = \"Kunden/Müller & Söhne\"",
        "actions = [{ move = [\"Kunden\", \"Müller & Söhne\"] }, \"stop\"]",
        "Ich bin bis Montag nicht da.",
    ] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    assert!(!plan.contains("onmicrosoft"), "{plan}");
    let forecast = lines(&company.text("plan.forecast.jsonl"));
    let count = |cause: &str| forecast.iter().filter(|f| f["cause"] == cause).count();
    // X-Spam, the size, and a test that has no counterpart; the negative right; everybody with an account; the alias elsewhere; Microsoft's domain; the row without an address.
    assert_eq!((count("rule-lost"), count("right-lost"), count("right-changed")), (3, 1, 1), "{forecast:?}");
    assert_eq!((count("alias-as-list"), count("address-lost"), count("entry-lost")), (1, 1, 1), "{forecast:?}");
    assert!(count("password-new") >= 1);
    let edited = plan.replacen("letters = \"lrsw\"", "letters = \"LR!\"", 1);
    fs::write(company.path("plan.toml"), edited).unwrap();
    let refused = expect(&floe(&["provision", "--plan", &company.path("plan.toml"), "--passwords", &company.path("x")]), 64);
    assert!(refused.contains("letters") && refused.contains("line "), "{refused}");
}

#[test]
fn everything_is_made_once_and_a_second_run_changes_nothing() {
    let company = Company::new();
    let server = company.server("");
    let said = expect(&company.provision(&server, &[]).output().unwrap(), 0);
    assert!(said.contains("waiting for --finish"), "{said}");
    server.has_the_company();
    assert_eq!(fs::metadata(company.path("new.csv")).unwrap().permissions().mode() & 0o777, 0o600);
    for (user, password) in company.passwords() {
        server.api_of(&user, &Secret::new(password)).unwrap();
    }
    let before = (company.state(), company.text("new.csv"));
    let again = expect(&company.provision(&server, &[]).output().unwrap(), 0);
    assert!(again.contains(" 0 of them made now; 0 things written"), "{again}");
    assert!(before == (company.state(), company.text("new.csv")));
}

#[test]
fn rights_rules_and_responders_come_when_the_mail_is_there_and_nobody_elses_are_taken_away() {
    let company = Company::new();
    let server = company.server("");
    expect(&company.provision(&server, &[]).output().unwrap(), 0);
    // Without its mail there is no folder to give rights to; the rest is done. (Who is disabled gets no mail.)
    let plan = company.text("plan.toml");
    fs::write(company.path("plan.toml"), plan.replace("disabled = true", "disabled = false")).unwrap();
    let early = expect(&company.provision(&server, &["--finish"]).output().unwrap(), 1);
    assert!(early.contains("the folder is not there"), "{early}");
    let passwords = company.path("new.csv");
    expect(&company.command("replay", &server, &["--passwords", &passwords]).output().unwrap(), 1);
    fs::write(company.path("plan.toml"), plan).unwrap();
    let mut api = server.api();
    let folders = api.folders("anna@acme.example").unwrap();
    let folder = folders.iter().find(|f| f.letter == "M" && f.path == ["Kunden", "Müller & Söhne"]).unwrap();
    let others = Right { account: "carla@acme.example".to_owned(), letters: "lr".to_owned() };
    assert!(api.set_rights("anna@acme.example", &folder.id, std::slice::from_ref(&others)).unwrap());
    let rules_before = api.rules("anna@acme.example").unwrap();
    let by_replay = expect(&company.command("replay", &server, &["--only", "rights"]).output().unwrap(), 0);
    assert!(by_replay.contains("wrote anna@acme.example: rights of"), "{by_replay}");
    assert_eq!(api.rules("anna@acme.example").unwrap(), rules_before, "only the rights were to be written");
    expect(&company.command("replay", &server, &["--only", "rights", "--only", "mail"]).output().unwrap(), 64);
    // Two rules that the server has no counterpart of are named each time.
    let finished = expect(&company.provision(&server, &["--finish"]).output().unwrap(), 1);
    assert_eq!(finished.matches("the server has no such rules").count(), 2, "{finished}");
    let rights = api.rights("anna@acme.example", &folder.id).unwrap();
    let letters = |who: &str| rights.iter().find(|r| r.account == who).map(|r| r.letters.as_str());
    assert_eq!((letters("boris@acme.example"), letters("[acme.example]")), (Some("lrsw"), Some("lr")));
    assert!(rights.contains(&others));
    let rules = api.rules("anna@acme.example").unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].child("actions").unwrap().children[0].value("folder"), "Kunden/Müller & Söhne");
    let responder = &api.properties("anna@acme.example", &["A_Responder"]).unwrap()["a_responder"];
    assert_eq!(responder.child("respondermessage").unwrap().value("text"), "Ich bin bis Montag nicht da.");
    assert_eq!(api.properties("carla@acme.example", &["U_AccountDisabled"]).unwrap()["u_accountdisabled"].value("val"), "1");
    let before = company.state();
    let again = expect(&company.provision(&server, &["--finish"]).output().unwrap(), 1);
    assert!(!again.contains("wrote ") && again.contains("2 things of the plan are not on the server"), "{again}");
    assert!(before == company.state());
}

#[test]
fn difficult_servers_end_up_with_the_same() {
    for difficult in
        ["api-zero=2+", "session-requests=3", "http-busy=4+", "password-length=40", "lag=500", "api-zero=3+,http-busy=5+"]
    {
        println!("{difficult}");
        let company = Company::new();
        let server = company.server(difficult);
        expect(&company.provision(&server, &[]).output().unwrap(), 0);
        server.has_the_company();
        let before = company.state();
        let again = expect(&company.provision(&server, &[]).output().unwrap(), 0);
        assert!(again.contains("; 0 things written") && before == company.state(), "{difficult}: {again}");
    }
}

#[test]
fn what_a_server_refuses_is_named_and_the_rest_is_made() {
    let company = Company::new();
    let server = company.server("licence=3");
    let said = expect(&company.provision(&server, &[]).output().unwrap(), 1);
    // The administrator takes one of three.
    assert_eq!(said.matches("did not make it: the licence may be used up").count(), 2, "{said}");
    assert!(server.api().accounts("acme.example", "*").unwrap().contains_key("team@acme.example"));
    let before = company.state();
    expect(&company.provision(&server, &[]).output().unwrap(), 1);
    assert!(before == company.state());
    // Somebody has an alias already: it is named, the other one is made.
    let company = Company::new();
    let server = company.server("postmaster-taken");
    let plan = company
        .text("plan.toml")
        .replace("\"a.mueller@acme.example\"", "\"a.mueller@acme.example\", \"boris.alias@acme.example\"");
    let plan =
        plan.replacen("target = \"boris@acme.example\"", "target = \"boris@acme.example\"\naliases = [\"b.2@acme.example\"]", 1);
    fs::write(company.path("plan.toml"), &plan).unwrap();
    expect(&company.provision(&server, &[]).output().unwrap(), 0);
    fs::write(
        company.path("plan.toml"),
        plan.replace("[\"b.2@acme.example\"]", "[\"b.3@acme.example\", \"team@acme.test\", \"webmaster@acme.example\"]"),
    )
    .unwrap();
    let wanted = company.text("plan.toml").replace("boris.alias@", "b.2@");
    fs::write(company.path("plan.toml"), wanted).unwrap();
    let said = expect(&company.provision(&server, &[]).output().unwrap(), 1);
    assert!(said.contains("somebody may have them: b.2") && said.contains("somebody may have them: webmaster"), "{said}");
    let boris = server.api().properties("boris@acme.example", &["U_Alias"]).unwrap()["u_alias"].value("val").to_owned();
    assert!(["b.2", "b.3"].iter().all(|alias| boris.split(';').any(|a| a == *alias)), "{boris}");
    assert!(server.api().members("team@acme.test").unwrap() == ["boris@acme.example"]);
}

#[test]
fn a_wrong_password_is_sent_once() {
    let company = Company::new();
    let server = company.server("tarpit=1500");
    fs::write(company.path("wrong"), "Wr0ng-password!\n").unwrap();
    let begun = Instant::now();
    let arguments =
        ["--plan", &company.path("plan.toml"), "--passwords", &company.path("new.csv"), "--admin", server.standin.admin()];
    let said = expect(&floe(&[&["provision"], &arguments[..], &["--password-file", &company.path("wrong")]].concat()), 2);
    assert!(said.contains("refused the administrator's login") && !said.contains("Wr0ng"), "{said}");
    // A second one would be held up for twice as long.
    assert!((1500..4400).contains(&u64::try_from(begun.elapsed().as_millis()).unwrap()), "{:?}", begun.elapsed());
    assert!(!Path::new(&company.path("new.csv")).exists());
}

#[test]
fn killed_at_any_moment_and_run_again_it_makes_everything_once() {
    let company = Company::new();
    let server = company.server("");
    let mut random = Random::fresh("kills of provision");
    for _ in 0..12 {
        let mut child = company.provision(&server, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.below(250)));
        let _ = child.kill();
        child.wait().unwrap();
    }
    expect(&company.provision(&server, &[]).output().unwrap(), 0);
    server.has_the_company();
    let passwords = company.passwords();
    assert_eq!(passwords.len(), 4);
    for (user, password) in passwords {
        server.api_of(&user, &Secret::new(password)).unwrap();
    }
}

#[test]
fn secrets_are_in_their_files_and_nowhere_else() {
    let company = Company::new();
    let server = company.server("");
    fs::write(company.path("given"), "boris@acme.example,G1ven-by-hand!\n").unwrap();
    fs::set_permissions(company.path("given"), fs::Permissions::from_mode(0o644)).unwrap();
    let given = ["--given-passwords", &company.path("given")];
    let refused = expect(&company.provision(&server, &given).output().unwrap(), 64);
    assert!(refused.contains("chmod 600"), "{refused}");
    fs::set_permissions(company.path("given"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut child = company.provision(&server, &given).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut seen = Vec::new();
    while child.try_wait().unwrap().is_none() {
        for file in ["cmdline", "environ"] {
            seen.extend(fs::read(format!("/proc/{}/{file}", child.id())).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    expect(&output, 0);
    seen.extend(output.stdout.iter().chain(&output.stderr));
    let more = [
        company.provision(&server, &["--finish", "--json"]).output().unwrap(),
        company.command("replay", &server, &["--json"]).output().unwrap(),
        company.command("validate", &server, &["--report", &company.path("report")]).output().unwrap(),
    ];
    more.iter().for_each(|o| seen.extend(o.stdout.iter().chain(&o.stderr)));
    let mut secrets: Vec<String> = company.passwords().into_values().collect();
    assert_eq!(secrets.len(), 3, "one was given");
    secrets.extend([
        "G1ven-by-hand!".to_owned(),
        server.standin.password().unwrap().expose().to_owned(),
        "nobodyshash".to_owned(),
    ]);
    server.api_of("boris@acme.example", &Secret::new("G1ven-by-hand!")).unwrap();
    let own = ["new.csv", "given", "icewarp/admin.password"];
    for file in support::archives::files(company.folder.path()) {
        if !own.iter().any(|o| file == Path::new(o)) {
            seen.extend(fs::read(company.folder.path().join(file)).unwrap());
        }
    }
    for secret in &secrets {
        assert!(memchr::memmem::find(&seen, secret.as_bytes()).is_none(), "{} bytes: {secret} is seen", seen.len());
    }
}

#[test]
fn sealed_passwords_open_for_their_recipient_and_let_their_owners_in() {
    let company = Company::new();
    let server = company.server("");
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let sealed = company.path("sealed.age");
    let command = || company.command("provision", &server, &["--passwords", &sealed, "--password-recipient", &recipient]);
    expect(&command().output().unwrap(), 0);
    let opened = String::from_utf8(age::decrypt(&identity, &fs::read(&sealed).unwrap()).unwrap()).unwrap();
    assert_eq!(opened.lines().count(), 4);
    for line in opened.lines() {
        let (user, password) = line.split_once(',').unwrap();
        server.api_of(user, &Secret::new(password)).unwrap();
    }
    expect(&command().output().unwrap(), 0);
    assert!(!Path::new(&company.path("sealed.age.2")).exists(), "nothing was made, so nothing is delivered");
}

/// Runs the script with the fake tool; its exit code and what it said.
fn script(folder: &Path, state: &Path, more: &[&str], import: bool) -> (i32, String) {
    let mut command = Command::new("sh");
    command.arg(folder.join("provision.sh")).args(more).env("STATE", state);
    command.env("TOOL", root().join("tests/tools/icewarp_tool.py"));
    if !import {
        command.env("NO_IMPORT", "1");
    }
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

#[test]
fn offline_scripts_make_the_same_can_be_run_again_and_hold_every_name() {
    let company = Company::new();
    let plan = company.plan("https://mail.acme.example", "imaps://mail.acme.example");
    let hostile = r#"Anna'; touch pwned; $(touch pwned) `touch pwned` \"%PATH%\" & | > < ^ ! \\"#;
    let plan = plan.replace("name = \"Anna Müller\"", &format!("name = \"{hostile}\""));
    fs::write(company.path("plan.toml"), plan).unwrap();
    let out = company.folder.path().join("offline");
    let said = expect(&floe(&["provision", "--plan", &company.path("plan.toml"), "--offline", out.to_str().unwrap()]), 1);
    assert!(said.contains("by hand: anna@acme.example"), "{said}");
    for file in support::archives::files(&out) {
        let mode = fs::metadata(out.join(&file)).unwrap().permissions().mode() & 0o777;
        assert!(mode == 0o600 || mode == 0o700 && file.ends_with("provision.sh"), "{} {mode:o}", file.display());
    }
    let state = company.folder.path().join("tool.json");
    let (code, text) = script(&out, &state, &[], true);
    assert_eq!(code, 0, "{text}");
    let objects: serde_json::Value = serde_json::from_str(&fs::read_to_string(&state).unwrap()).unwrap();
    let anna = &objects["account:anna@acme.example"];
    assert_eq!(anna["u_name"], hostile.replace("\\\"", "\"").replace("\\\\", "\\"));
    assert_eq!(anna["u_alias"], "anna;a.mueller");
    assert_eq!(objects["account:team@acme.example"]["u_type"], "1");
    assert_eq!(
        objects["account:team@acme.example"]["m_listfile_contents"],
        "anna@acme.example\nboris@acme.example\npartner@elsewhere.example"
    );
    let passwords = fs::read_to_string(company.folder.path().join("offline.passwords.csv")).unwrap();
    assert_eq!(passwords.lines().count(), 4);
    let called = fs::read_to_string(company.folder.path().join("tool.json.argv")).unwrap();
    let log = fs::read_to_string(out.join("provision.log")).unwrap();
    for line in passwords.lines() {
        let (user, password) = line.split_once(',').unwrap();
        assert_eq!(objects[format!("account:{user}")]["u_password"], password);
        assert!(!called.contains(password) && !log.contains(password) && !said.contains(password) && !text.contains(password));
    }
    // Nothing is disabled before the mail is there; a second run writes nothing.
    assert_eq!(objects["account:carla@acme.example"]["u_accountdisabled"], serde_json::Value::Null);
    let before = fs::read(&state).unwrap();
    let (code, text) = script(&out, &state, &[], true);
    assert_eq!((code, text.lines().count()), (0, 1), "{text}");
    assert!(before == fs::read(&state).unwrap());
    let (code, text) = script(&out, &state, &["finish"], true);
    assert_eq!(code, 0, "{text}");
    assert!(fs::read_to_string(&state).unwrap().contains("\"u_accountdisabled\": \"1\""));
    for place in [company.folder.path(), &out, root()] {
        assert!(!place.join("pwned").exists());
    }
    // A tool that imports nothing: said, and not worked around behind anybody's back.
    let (code, text) = script(&out, &company.folder.path().join("other.json"), &[], false);
    assert!(code == 1 && text.contains("NOT DONE: account anna@acme.example"), "{text}");
    assert!(
        floe(&["provision", "--plan", &company.path("plan.toml"), "--offline", out.to_str().unwrap()]).status.code() == Some(64)
    );
}

#[test]
fn other_peoples_files_are_read_or_refused_and_nothing_breaks() {
    let beside = root().join("../shared/corpus");
    let corpus = std::env::var_os("FLOE_CORPUS").map_or(beside, PathBuf::from).join("h-accounts-rules");
    if !corpus.is_dir() {
        support::skipped(&format!("no corpus at {}", corpus.display()));
        return;
    }
    for (name, accounts) in [("ldif", 1000), ("passwd", 1), ("sieve", 1), ("contacts-csv", 0)] {
        let folder = tempfile::tempdir().unwrap();
        let bytes = fs::read(corpus.join(format!("{name}.tar.zst"))).unwrap();
        tar::Archive::new(zstd::Decoder::new(&bytes[..]).unwrap()).unpack(folder.path()).unwrap();
        let (mut read, mut refused, mut found, mut odd) = (0, 0, 0, 0);
        for file in support::archives::files(folder.path()) {
            let owner = (name == "sieve").then(|| floe::directory::Address::parse("anna@acme.example").unwrap());
            let input = floe::directory::Input { path: folder.path().join(file), owner };
            match floe::directory::read(&[input], &[], &[]) {
                Ok(directory) => {
                    (read, found, odd) = (read + 1, found + directory.accounts.len(), odd + directory.unmapped.len());
                }
                Err(e) => {
                    assert_eq!(e.kind(), floe::Kind::Usage, "{e}");
                    refused += 1;
                }
            }
        }
        println!("{name}: {read} read, {refused} refused, {found} accounts, {odd} entries not taken");
        assert!(found >= accounts && read + refused > 0, "{name}: {found}");
    }
}
