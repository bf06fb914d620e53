use std::path::Path;

use super::super::sinks::{read_all, tree_of};
use super::*;
use std::collections::BTreeMap;

const MBOX: &str = "From a@b Mon Jan  1 00:00:00 2024\nSubject: b\n\nx\n";

fn find(path: &Path) -> Discovery {
    discover(&[path.to_owned()], &[], None).unwrap()
}

fn accounts(discovery: &Discovery) -> Vec<&str> {
    discovery.accounts.iter().map(|a| a.account.as_str()).collect()
}

fn leftovers(discovery: &Discovery) -> Vec<(&str, &str)> {
    discovery.leftovers.iter().map(|l| (l.place.path.as_str(), l.reason.as_str())).collect()
}

/// All collections of an account with their kinds, and all places of items.
fn content(account: &AccountSource) -> (Vec<String>, Vec<String>) {
    let (mut names, mut places) = (Vec::new(), Vec::new());
    for reader in &account.readers {
        names.extend(reader.collections().unwrap().iter().map(|h| format!("{} {}", h.kind, h.path)));
        places.extend(read_all(reader.as_ref()).1.places());
    }
    (names, places)
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn refusal(path: &Path) -> Error {
    discover(&[path.to_owned()], &[], None).err().expect("is refused")
}

#[test]
fn a_store_is_an_account_named_by_its_folder() {
    let dir = tree_of(&["anna/cur/1:2,S", "anna/new/", "anna/tmp/", "anna/.Sent/cur/2:2,S", "anna/.Sent/new/"]);
    let found = find(&dir.path().join("anna"));
    assert_eq!(accounts(&found), ["anna"]);
    assert_eq!(
        content(&found.accounts[0]),
        (vec!["mail INBOX".into(), "mail Sent".into()], vec!["cur/1:2,S".into(), ".Sent/cur/2:2,S".into()])
    );
}

#[test]
fn a_folder_called_maildir_is_named_by_the_folder_around_it() {
    let dir = tree_of(&["anna/Maildir/cur/1:2,S", "anna/Maildir/new/", "bob/Maildir/cur/", "bob/Maildir/new/"]);
    let paths = ["anna", "bob"].map(|name| dir.path().join(name).join("Maildir"));
    assert_eq!(accounts(&discover(&paths, &[], None).unwrap()), ["anna", "bob"]);
}

#[test]
fn an_account_of_many_stores_loses_nothing() {
    let dir = tree_of(&[
        "users/anna/Maildir/cur/1:2,S",
        "users/anna/Maildir/new/",
        "users/anna/eml/INBOX/1.eml",
        "users/anna/sieve/main.sieve",
        "users/anna/note.txt",
        "users/bob/Maildir/cur/",
        "users/bob/Maildir/new/",
        "accounts/people.ldif",
        "SUMMARY.json",
    ]);
    write(dir.path(), "users/anna/mbox/Sent.mbox", MBOX);
    let found = find(dir.path());
    assert_eq!(accounts(&found), ["anna", "bob"]);
    assert_eq!(leftovers(&found), [("SUMMARY.json", "belongs to no account"), ("accounts/people.ldif", "belongs to no account")]);
    let (names, places) = content(&found.accounts[0]);
    // Both stores have an inbox, so the second one goes under its store's name.
    assert_eq!(names, ["mail INBOX", "mail eml/INBOX", "mail Sent", "files sieve", "files anna"].map(str::to_owned));
    assert_eq!(
        places,
        ["Maildir/cur/1:2,S", "eml/INBOX/1.eml", "mbox/Sent.mbox", "sieve/main.sieve", "note.txt"].map(str::to_owned)
    );
    let heads = found.accounts[0].readers[1].collections().unwrap();
    assert_eq!(heads[0].source_path, "eml/INBOX");
}

#[test]
fn domain_folders_make_addresses() {
    let dir = tree_of(&[
        "Firma.example/anna/cur/1:2,S",
        "Firma.example/anna/new/",
        "Firma.example/bob@other.example/Maildir/cur/",
        "Firma.example/bob@other.example/Maildir/new/",
        "second.example/anna/Maildir/new/",
        "second.example/anna/Maildir/cur/",
        "second.example/README",
    ]);
    let found = find(dir.path());
    assert_eq!(accounts(&found), ["anna@firma.example", "anna@second.example", "bob@other.example"]);
    assert_eq!(leftovers(&found), [("second.example/README", "belongs to no account")]);
    assert_eq!(accounts(&find(&dir.path().join("second.example"))), ["anna@second.example"]);
}

#[test]
fn maildirs_side_by_side_are_refused_until_it_is_said_what_they_are() {
    let dir = tree_of(&["a/cur/1:2,S", "a/new/", "b/cur/2:2,", "b/new/"]);
    let error = refusal(dir.path());
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("one account with the folders a, b, or the accounts a, b"), "{error}");
    assert!(error.next_step().unwrap().contains("--as maildir-fs"), "{:?}", error.next_step());
    let forced = discover(&[dir.path().to_owned()], &[], Some(Format::MaildirFs)).unwrap();
    assert_eq!(content(&forced.accounts[0]).0, ["mail a", "mail b"]);
    let named = discover(&[], &[("x@y".into(), dir.path().to_owned())], None).unwrap();
    assert_eq!((accounts(&named), content(&named.accounts[0]).0), (vec!["x@y"], vec!["mail a".into(), "mail b".into()]));
    let one = [("anna".to_owned(), dir.path().join("a"))];
    assert_eq!(accounts(&discover(&[dir.path().to_owned()], &one, None).unwrap()), ["anna", "b"]);
}

#[test]
fn maildirs_with_marks_of_an_account_are_accounts() {
    let dir = tree_of(&["a/cur/1:2,S", "a/new/", "a/subscriptions", "b/cur/2:2,", "b/new/"]);
    assert_eq!(accounts(&find(dir.path())), ["a", "b"]);
}

#[test]
fn what_is_unclear_beside_accounts_is_an_account() {
    let dir = tree_of(&["a/inbox/1.", "a/sent/1.", "b/x/2.", "b/y/3."]);
    let found = find(dir.path());
    assert_eq!(accounts(&found), ["a", "b"]);
    assert_eq!(content(&found.accounts[1]), (vec!["mail x".into(), "mail y".into()], vec!["x/2.".into(), "y/3.".into()]));
    assert_eq!(accounts(&find(&dir.path().join("b"))), ["b"]);
}

#[test]
fn folders_of_messages_are_one_account() {
    const MESSAGE: &str = "From: a\nTo: b\nSubject: c\n\nd\n";
    let dir = tree_of(&["2023/1.eml", "2024/2.eml", "2024/notes", "2024/.hidden", "docs/plan.txt", "deep/er/x/3.eml"]);
    write(dir.path(), "2024/letter", MESSAGE);
    write(dir.path(), "2024/Sent.mbox", MBOX);
    write(dir.path(), "raw/aaaa", MESSAGE);
    write(dir.path(), "raw/bbbb", &format!("From a@b Mon Jan  1 00:00:00 2024\n{MESSAGE}"));
    let found = find(dir.path());
    let (names, places) = content(&found.accounts[0]);
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(
        names,
        ["mail 2024/Sent", "mail raw/bbbb", "mail 2023", "mail 2024", "mail deep/er/x", "mail raw", "files docs", "files 2024"]
    );
    assert_eq!(accounts(&found), [name]);
    let want = [
        "2024/Sent.mbox",
        "raw/bbbb",
        "2023/1.eml",
        "2024/2.eml",
        "2024/letter",
        "deep/er/x/3.eml",
        "raw/aaaa",
        "docs/plan.txt",
        "2024/.hidden",
        "2024/notes",
    ];
    assert_eq!(places, want);
    let forced = discover(&[dir.path().to_owned()], &[], Some(Format::Eml)).unwrap();
    assert_eq!(content(&forced.accounts[0]).1.len(), want.len());
}

#[test]
fn a_file_given_by_itself_is_read_by_one_reader_only() {
    let dir = tree_of(&[]);
    write(dir.path(), "from.eml", MBOX);
    write(dir.path(), "letter.txt", "From: a\nTo: b\n\nx\n");
    write(dir.path(), "one.mbox", "From: a\nTo: b\n\nx\n");
    write(dir.path(), "mail", MBOX);
    for (name, format) in
        [("from.eml", Format::Eml), ("letter.txt", Format::Eml), ("one.mbox", Format::Mbox), ("mail", Format::Mbox)]
    {
        let found = find(&dir.path().join(name));
        let formats: Vec<Format> = found.accounts[0].readers.iter().map(|r| r.format()).collect();
        assert_eq!((formats, content(&found.accounts[0]).1), (vec![format], vec![name.to_owned()]));
    }
}

#[test]
fn a_store_that_cannot_be_entered_stops_no_other() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tree_of(&["users/anna/Maildir/cur/1:2,S", "users/anna/Maildir/new/", "users/anna/mbox/closed/x"]);
    write(dir.path(), "users/anna/mbox/INBOX.mbox", MBOX);
    let closed = dir.path().join("users/anna/mbox/closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let root_may_all = fs::read_dir(&closed).is_ok();
    let found = find(&dir.path().join("users"));
    let (_, places) = content(&found.accounts[0]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    let last = if root_may_all { vec!["mbox/closed/x"] } else { vec![] };
    assert_eq!(places, [vec!["Maildir/cur/1:2,S", "mbox/INBOX.mbox"], last].concat());
}

#[test]
fn a_folder_called_users_holds_accounts() {
    let dir = tree_of(&["users/anna/1.eml", "users/bob/2.eml", "2023/anna/1.eml", "2023/bob/2.eml"]);
    assert_eq!(accounts(&find(&dir.path().join("users"))), ["anna", "bob"]);
    assert_eq!(accounts(&find(&dir.path().join("2023"))), ["2023"]);
    let dir = tree_of(&["home/a/cur/1:2,S", "home/a/new/", "home/b/cur/2:2,", "home/b/new/"]);
    assert_eq!(accounts(&find(dir.path())), ["a", "b"]);
}

#[test]
fn a_single_store_below_is_no_riddle() {
    let dir = tree_of(&["list/archive/readme"]);
    write(dir.path(), "list/archive/1992.txt", &format!("{MBOX}\n{MBOX}"));
    let found = find(&dir.path().join("list"));
    assert_eq!(
        (accounts(&found), content(&found.accounts[0]).0),
        (vec!["list"], vec!["mail archive/1992.txt".into(), "files archive".into()])
    );
    // A Maildir is called after its owner.
    let dir = tree_of(&["users/anna/cur/1:2,S", "users/anna/new/"]);
    assert_eq!(accounts(&find(dir.path())), ["anna"]);
}

#[test]
fn a_named_account_may_hold_files_alone() {
    let dir = tree_of(&["a/b.txt", "c"]);
    let named = discover(&[], &[("x@y".into(), dir.path().to_owned())], None).unwrap();
    assert_eq!(content(&named.accounts[0]).1, ["a/b.txt", "c"]);
    let file = discover(&[], &[("x@y".into(), dir.path().join("c"))], None).unwrap();
    assert_eq!(content(&file.accounts[0]).1, ["c"]);
    assert!(discover(&[], &[("x@y".into(), tree_of(&["a/"]).path().to_owned())], None).is_err());
}

#[test]
fn strays_in_a_maildir_are_kept_as_files() {
    let dir = tree_of(&[
        "a/cur/1:2,S",
        "a/new/",
        "a/.Sent/cur/2:2,S",
        "a/.Sent/maildirfolder",
        "a/.Sent/dovecot-uidlist",
        "a/.Sent/note to self.txt",
        "a/.Sent/cur/dovecot.index.log",
        "a/Old/cur/3:2,S",
        "a/Old/new/",
        "a/Old/stray",
        "a/.trash-1/x",
        "a/courierimapkeywords/:list",
    ]);
    let found = find(&dir.path().join("a"));
    let (names, places) = content(&found.accounts[0]);
    assert_eq!(names, ["mail INBOX", "mail Old", "mail Sent", "files .trash-1", "files a"]);
    assert_eq!(places, ["cur/1:2,S", "Old/cur/3:2,S", ".Sent/cur/2:2,S", ".trash-1/x", ".Sent/note to self.txt", "Old/stray"]);
    assert!(found.leftovers.is_empty());
}

#[test]
fn a_takeout_is_one_account_named_by_the_folder_around_it() {
    let gmail = MBOX.replace("Subject", "X-Gmail-Labels: Inbox\nSubject");
    let dir = tree_of(&["anna/Takeout/archive_browser.html", "anna/Takeout/Drive/a/b.txt"]);
    write(dir.path(), "anna/Takeout/E-Mail/Alle Nachrichten.mbox", &gmail);
    write(dir.path(), "anna/Takeout/E-Mail/Gesendet.mbox", MBOX);
    for path in ["anna", "anna/Takeout"] {
        let found = find(&dir.path().join(path));
        assert_eq!(accounts(&found), ["anna"], "{path}");
        let formats: Vec<Format> = found.accounts[0].readers.iter().map(|r| r.format()).collect();
        assert_eq!(formats, [Format::Takeout, Format::Files, Format::Files]);
        let (names, places) = content(&found.accounts[0]);
        assert_eq!(names, ["mail Alle Nachrichten", "mail Gesendet", "files Drive", "files Takeout"]);
        assert_eq!(places.len(), 4);
    }
}

#[test]
fn a_thunderbird_profile_has_an_account_a_server() {
    let dir = tree_of(&["p/prefs.js", "p/cookies.sqlite", "p/ImapMail/x.msf"]);
    write(dir.path(), "p/Mail/Local Folders/Inbox", MBOX);
    write(dir.path(), "p/Mail/Local Folders/Inbox.msf", "");
    write(dir.path(), "p/ImapMail/imap.firma.example/INBOX", MBOX);
    let found = find(&dir.path().join("p"));
    assert_eq!(accounts(&found), ["Local Folders", "imap.firma.example"]);
    assert_eq!(content(&found.accounts[0]).1, ["Inbox"]);
    let left: Vec<&str> = found.leftovers.iter().map(|l| l.place.path.as_str()).collect();
    assert_eq!(left, ["ImapMail/x.msf", "cookies.sqlite", "prefs.js"]);
}

#[test]
fn a_maildir_leaves_what_is_no_mail_to_the_files() {
    let dir = tree_of(&[
        "a/cur/1:2,S",
        "a/new/",
        "a/.Sent/cur/",
        "a/dovecot.index",
        "a/subscriptions",
        "a/sieve/x.sieve",
        "a/courierimapkeywords/:list",
        "a/notes.txt",
    ]);
    std::os::unix::fs::symlink("sieve/x.sieve", dir.path().join("a/.dovecot.sieve")).unwrap();
    let found = find(&dir.path().join("a"));
    let (names, places) = content(&found.accounts[0]);
    assert_eq!(names, ["mail INBOX", "mail Sent", "files sieve", "files a"]);
    assert_eq!(places, ["cur/1:2,S", "sieve/x.sieve", "notes.txt"]);
}

#[test]
fn links_and_loops_and_hidden_folders_are_left_and_end() {
    let dir = tree_of(&[
        "users/a/Maildir/cur/1:2,S",
        "users/a/Maildir/new/",
        "users/.snapshot/a/Maildir/cur/",
        "users/.snapshot/a/Maildir/new/",
    ]);
    std::os::unix::fs::symlink("..", dir.path().join("users/up")).unwrap();
    std::os::unix::fs::symlink("/", dir.path().join("users/a/root")).unwrap();
    let found = find(&dir.path().join("users"));
    assert_eq!(accounts(&found), ["a"]);
    assert_eq!(
        leftovers(&found),
        [(".snapshot", "hidden folder"), ("a/root", "link, not followed"), ("up", "link, not followed")].map(|x| x)
    );
}

#[test]
fn two_accounts_never_share_a_name() {
    let dir = tree_of(&["x/a/Maildir/cur/", "x/a/Maildir/new/", "y/a/Maildir/cur/", "y/a/Maildir/new/"]);
    let error = refusal(dir.path());
    assert!(error.to_string().contains("two accounts would be called a"), "{error}");
    let named = [("b".to_owned(), dir.path().join("y/a"))];
    assert_eq!(accounts(&discover(&[dir.path().to_owned()], &named, None).unwrap()), ["a", "b"]);
}

#[test]
fn nothing_known_and_nothing_there_are_errors() {
    let dir = tree_of(&["a/b.txt"]);
    assert_eq!(refusal(dir.path()).kind(), Kind::Source);
    assert_eq!(refusal(&dir.path().join("missing")).kind(), Kind::Source);
    assert!(discover(&[dir.path().to_owned()], &[], Some(Format::MaildirFs)).is_err());
    let files = discover(&[dir.path().to_owned()], &[], Some(Format::Files)).unwrap();
    assert_eq!(content(&files.accounts[0]).1, ["a/b.txt"]);
}

#[test]
fn a_single_mbox_is_an_account() {
    let dir = tree_of(&[]);
    write(dir.path(), "anna.mbox", MBOX);
    let found = find(&dir.path().join("anna.mbox"));
    assert_eq!(accounts(&found), ["anna"]);
    assert_eq!((content(&found.accounts[0]).1, found.accounts[0].root.as_path()), (vec!["anna.mbox".to_owned()], dir.path()));
}

/// For stores with a `ground-truth.jsonl` beside their accounts: `FLOE_GROUND_TRUTH` names their folders, parted by `:`.
#[test]
#[ignore = "reads stores that are not part of the repository"]
fn given_stores_are_read_as_their_ground_truth_says() {
    let stores = std::env::var("FLOE_GROUND_TRUTH").expect("FLOE_GROUND_TRUTH names stores");
    for store in stores.split(':').map(Path::new) {
        let started = std::time::Instant::now();
        let found = find(store);
        let mut got = BTreeMap::new();
        let mut empty = 0;
        for account in &found.accounts {
            for reader in &account.readers {
                for head in reader.collections().unwrap().iter().filter(|h| h.kind == crate::model::CollectionKind::Mail) {
                    let mut kept = super::super::sinks::Kept::default();
                    reader.read(head, None, &mut kept).unwrap();
                    assert_eq!(reader.count(head).unwrap(), (kept.items.len() + kept.exceptions.len()) as u64, "{}", head.path);
                    assert!(kept.exceptions.is_empty(), "{:?}", kept.exceptions.first());
                    empty += usize::from(kept.items.is_empty());
                    for item in kept.items {
                        assert!(item.state.notes.is_empty(), "{:?}", item.state.notes);
                        let path = account.root.join(&item.place.path);
                        let path = path.strip_prefix(store).unwrap().to_string_lossy().into_owned();
                        let key = (account.account.clone(), path, item.place.offset);
                        got.insert(key, (head.path.clone(), item.place.uid, item.state));
                    }
                }
            }
        }
        let elapsed = started.elapsed();
        let (mut seen, mut wrong) = (0usize, Vec::new());
        for line in fs::read_to_string(store.join("ground-truth.jsonl")).unwrap().lines() {
            let want: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| want[name].as_str().unwrap().to_owned();
            let words = |name: &str| {
                let mut words: Vec<String> =
                    want[name].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
                words.sort();
                words
            };
            seen += 1;
            let Some((folder, uid, state)) = got.remove(&(text("account"), text("path"), None)) else {
                wrong.push(format!("missing: {}", text("path")));
                continue;
            };
            let mut flags: Vec<String> =
                state.flags.iter().map(|f| serde_json::to_value(f).unwrap().as_str().unwrap().into()).collect();
            flags.sort();
            let mut keywords = state.keywords;
            keywords.sort();
            let right = folder.0.join("/") == text("folder")
                && uid.map(u64::from) == want["uid"].as_u64()
                && state.date.map(|d| d.at.as_second()) == want["internal_date_unix"].as_i64()
                && flags == words("flags")
                && keywords == words("keywords");
            if !right {
                wrong.push(format!("{folder} {uid:?} {flags:?} {keywords:?} instead of {line}"));
            }
        }
        assert_eq!((wrong.first(), wrong.len(), got.len()), (None, 0, 0), "{}", store.display());
        println!(
            "{}: {} accounts, {seen} messages as said, {empty} empty folders, {elapsed:?}",
            store.display(),
            found.accounts.len()
        );
    }
}
