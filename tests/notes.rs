//! Notes from phones and from Google Keep: kept byte for byte, carried over as vNotes, and compared.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::program::{floe, run};
use support::way::Way;

const ANNA: &str = "anna@acme.example";
const PHONE: &str =
    "BEGIN:VNOTE\r\nVERSION:1.1\r\nBODY;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:K=C3=A4se=0D=0ABrot\r\nEND:VNOTE\r\n";
const KEEP: &str = r#"{"color":"BLUE","isTrashed":false,"textContent":"eins: zwei\ndrei","title":"Übersicht","attachments":[{"filePath":"1.png"}],
    "userEditedTimestampUsec":1690866236591000,"createdTimestampUsec":1690514572858000}"#;
const LIST: &str = r#"{"color":"DEFAULT","title":"Einkauf","listContent":[{"text":"Milch","isChecked":true},{"text":"Tee","isChecked":false}],
    "userEditedTimestampUsec":1690866236591000}"#;

/// A Takeout with notes of Google Keep as they lie in it, and notes of a phone beside it.
fn store(root: &Path) {
    for (name, text) in [
        ("Takeout/archive_browser.html", "<p>"),
        ("Takeout/Keep/Übersicht.json", KEEP),
        ("Takeout/Keep/Einkauf.json", LIST),
        ("Takeout/Keep/Übersicht.html", "<p>eins"),
        ("Takeout/Keep/1.png", "png"),
        ("Takeout/Keep/Labels.txt", "home"),
        ("notes/phone.vnt", PHONE),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Files below a folder with that ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(|entry| entry.unwrap().into_path());
    all.filter(|path| path.is_file() && path.to_str().unwrap().ends_with(ending)).collect()
}

#[test]
fn notes_are_kept_as_they_lie_and_what_lies_beside_them_as_files() {
    let way = Way::new("");
    store(&way.path("anna"));
    let identified = run(floe().arg("identify").arg(way.path("anna")));
    assert!(
        identified.text().contains("notes of Google Keep (.json): 2") && identified.text().contains("vNotes (.vnt): 1"),
        "{identified}"
    );
    way.snapshot(&[(ANNA, &way.path("anna"))]);
    run(floe().arg("verify").arg(way.path("a.floe")).arg("--full")).expect(0);
    let out = way.path("out");
    run(floe().arg("export").arg(way.path("a.floe")).arg("--out").arg(&out)).expect(0);
    let mut notes: Vec<String> = files(&out, "").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for text in [KEEP, LIST, PHONE, "<p>eins", "png", "home"] {
        let at = notes.iter().position(|note| note == text).unwrap_or_else(|| panic!("missing: {text}"));
        notes.remove(at);
    }
    assert_eq!(files(&out, ".json").len(), 2, "their names stay");
}

#[test]
fn notes_arrive_as_vnotes_and_what_those_cannot_say_is_foreseen_and_named() {
    let way = Way::new("");
    store(&way.path("anna"));
    way.snapshot(&[(ANNA, &way.path("anna"))]);
    way.prepare();
    let passwords = way.path("passwords.csv").to_str().unwrap().to_owned();
    let forecast = fs::read_to_string(way.path("plan.forecast.jsonl")).unwrap();
    let lost: Vec<Value> = forecast.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    let lost: Vec<&str> =
        lost.iter().filter(|line| line["cause"] == "property-lost").map(|line| line["detail"].as_str().unwrap()).collect();
    assert_eq!(lost, ["attachments color"], "{forecast}");
    way.replay(&["--passwords", &passwords]);
    let validated = way.validate(&["--passwords", &passwords]);
    assert!(validated.code() <= 1, "{validated}");
    let there: Vec<String> = files(&way.path("icewarp"), ".vnt")
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .filter(|t| t.contains("VNOTE"))
        .collect();
    assert_eq!(there.len(), 3, "{}", fs::read_to_string(way.path("plan.toml")).unwrap());
    let has = |what: &str| there.iter().filter(|note| note.contains(what)).count();
    assert_eq!((has("[x] Milch=0D=0A[ ] Tee\r\n"), has("SUMMARY:Einkauf\r\n")), (1, 1), "{there:?}");
    assert_eq!((has("eins=3A zwei=0D=0Adrei\r\n"), has("DCREATED:20230728T032252Z\r\n")), (1, 1), "{there:?}");
    let again = way.replay(&["--passwords", &passwords]);
    assert!(again.code() <= 1 && files(&way.path("icewarp"), ".vnt").len() == 3, "{again}");
    // An edit on the server is not excused by what was foreseen.
    let path =
        files(&way.path("icewarp"), ".vnt").into_iter().find(|path| fs::read_to_string(path).unwrap().contains("Milch")).unwrap();
    let edited = fs::read_to_string(&path).unwrap().replace("Milch", "Bier");
    fs::write(&path, edited).unwrap();
    let found = way.validate(&["--passwords", &passwords]);
    assert_eq!(found.code(), 2, "{found}");
    assert!(fs::read_to_string(way.path("report/items.jsonl")).unwrap().contains("VNOTE/BODY"), "the edit is named");
}
