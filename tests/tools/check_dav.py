#!/usr/bin/env python3
"""Compares what a DAV server holds with the calendar, address book and plain files that a mail store was made with; uses nothing of floe
but the plan's addresses. Prints every difference, and ends with 1 when there is one.

  check_dav.py --base http://127.0.0.1:5232 --plan plan.toml --passwords passwords.csv --store store --calendars /{user}/ --books /{user}/

Every object must be there once, by its UID, with the same properties in the same components: names, parameters and values, whatever
their order, folds and escapes. DTSTAMP, PRODID, REV and LAST-MODIFIED are the server's; a card's version may become 3.0.
"""

import argparse
import base64
import collections
import csv
import hashlib
import quopri
import re
import sys
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--base", required=True)
parser.add_argument("--plan", type=Path, required=True)
parser.add_argument("--passwords", type=Path, required=True)
parser.add_argument("--store", type=Path, required=True, help="folder with users/<account>/{calendars,contacts,files}")
parser.add_argument("--calendars", required=True, help="path of a user's calendars, with {user}")
parser.add_argument("--books", required=True, help="path of a user's address books")
parser.add_argument("--files", help="path of the folder that holds the user's files")
args = parser.parse_args()
passwords = dict(csv.reader(open(args.passwords, encoding="utf-8")))
DAV = "{DAV:}"
IGNORED = {"DTSTAMP", "PRODID", "REV", "LAST-MODIFIED", "VERSION", "METHOD"}
LISTS = {"CATEGORIES", "RDATE", "EXDATE", "NICKNAME", "RESOURCES"}
differences = objects = 0


def differ(*words):
    global differences
    differences += 1
    print(*words)


def request(user, method, path, body=None, depth=None):
    login = base64.b64encode(f"{user}:{passwords[user]}".encode()).decode()
    headers = {"Authorization": "Basic " + login, "Content-Type": "application/xml"}
    if depth is not None:
        headers["Depth"] = str(depth)
    asked = urllib.request.Request(args.base + path, data=body, headers=headers, method=method)
    for patience in (3, 2, 1, 0):
        try:
            return urllib.request.urlopen(asked, timeout=30).read()
        except urllib.error.HTTPError as e:
            if e.code != 503 or not patience:
                raise


def children(user, path):
    """Paths right below, with the names of their resource types."""
    body = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
    try:
        tree = ET.fromstring(request(user, "PROPFIND", path, body, 1))
    except urllib.error.HTTPError:
        return
    for response in tree.iter(DAV + "response"):
        href = urllib.parse.urlsplit(response.find(DAV + "href").text).path
        if urllib.parse.unquote(href).rstrip("/") != urllib.parse.unquote(path).rstrip("/"):
            kind = response.find(f".//{DAV}resourcetype")
            yield href, {t.tag.split("}")[1] for t in (kind if kind is not None else [])}


def lines(text):
    out = []
    for line in re.split(r"\r?\n", text):
        if out and out[-1].endswith("=") and "QUOTED-PRINTABLE" in out[-1].split(":")[0].upper():
            out[-1] = out[-1][:-1] + line
        elif line[:1] in " \t" and line and out:
            out[-1] += line[1:]
        elif line.strip():
            out.append(line)
    return out


def split(text, at):
    return re.split(r"(?<!\\)" + re.escape(at), text)


def properties(line):
    """What a content line says, one for each value of a list."""
    head, value = re.match(r'((?:[^":]|"[^"]*")*):(.*)', line, re.S).groups()
    name, *params = re.findall(r'(?:[^";]|"[^"]*")+', head)
    name = name.upper()
    kept, encoding, charset = set(), "", "utf-8"
    for param in params:
        key, _, given = param.partition("=")
        key, given = (key.upper(), given.replace('"', "")) if given else ("TYPE", key)
        if key == "ENCODING" or given.upper() in ("QUOTED-PRINTABLE", "BASE64"):
            encoding = given.upper()
        elif key == "CHARSET":
            charset = given
        elif key == "VALUE" and given.upper() not in ("DATE", "PERIOD"):
            pass
        else:
            kept.update((key, one.upper() if key in ("TYPE", "ROLE", "PARTSTAT", "RSVP", "CUTYPE") else one) for one in given.split(","))
    if encoding == "QUOTED-PRINTABLE":
        value = quopri.decodestring(value.encode()).decode(charset)
    if encoding in ("B", "BASE64"):
        value = hashlib.sha256(base64.b64decode(re.sub(r"\s", "", value))).hexdigest()
    bare = name.split(".")[-1]
    if bare == "RRULE":
        value = ";".join(sorted(value.upper().split(";")))
    if bare == "GEO":
        value = ";".join(str(float(n)) for n in value.split(";"))
    if bare in ("N", "ADR", "ORG"):
        value = value.rstrip(";")
    for one in split(value, ",") if bare in LISTS else [value]:
        plain = re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nN" else m[1], one)
        if plain:
            yield name, frozenset(kept), plain


def components(text):
    """Properties of every component, by UID and RECURRENCE-ID; a component inside belongs to the one around it."""
    found, stack = [], []
    for line in lines(text):
        key, _, value = line.partition(":")
        if key.upper() == "BEGIN":
            stack.append(value.strip().upper())
            if stack[-1] in ("VEVENT", "VTODO", "VJOURNAL", "VCARD"):
                found.append((stack[-1], collections.Counter()))
        elif key.upper() == "END":
            stack.pop()
        elif stack and "VTIMEZONE" not in stack and found and found[-1][0] in stack:
            for name, params, plain in properties(line):
                if name not in IGNORED:
                    found[-1][1]["/".join(stack[stack.index(found[-1][0]):]), name, params, plain] += 1
    for kind, said in found:
        value = lambda wanted: next((plain for _, name, _, plain in said if name == wanted), "")
        yield (kind, value("UID"), value("RECURRENCE-ID")), said


def archived(home):
    wanted = collections.defaultdict(list)
    for path in sorted(home.glob("calendars/*.ics")) + sorted(home.glob("contacts/*.vcf")):
        for key, said in components(path.read_text(encoding="utf-8")):
            wanted[key].append(said)
    return wanted


def held(user):
    found = collections.defaultdict(list)
    homes = {args.calendars.format(user=urllib.parse.quote(user)), args.books.format(user=urllib.parse.quote(user))}
    for home in homes:
        for collection, types in children(user, home):
            if types & {"calendar", "addressbook"}:
                for href, inner in children(user, collection):
                    if not inner:
                        text = request(user, "GET", href).decode()
                        for key, said in components(text):
                            found[key].append(said)
    return found


def files(user, folder):
    found = {}
    for href, types in children(user, folder):
        if "collection" in types:
            found.update(files(user, href))
        else:
            found[urllib.parse.unquote(href)] = hashlib.sha256(request(user, "GET", href)).hexdigest()
    return found


for account in tomllib.loads(args.plan.read_text(encoding="utf-8"))["account"]:
    home, user = args.store / "users" / account["source"], account["target"]
    wanted, found = archived(home), held(user)
    for key in sorted(set(wanted) | set(found)):
        objects += 1
        a, b = wanted.get(key, []), found.get(key, [])
        if len(a) != len(b):
            differ(account["source"], key, f"{len(a)} archived, {len(b)} found")
        for said, came in zip(a, b):
            for what in sorted(map(str, said - came)):
                differ(account["source"], key, "lost", what)
            for what in sorted(map(str, came - said)):
                differ(account["source"], key, "new", what)
    if args.files:
        folder = args.files.format(user=urllib.parse.quote(user))
        top = urllib.parse.unquote(folder).rstrip("/")
        wanted = {f"{top}/{p.relative_to(home / 'files')}": hashlib.sha256(p.read_bytes()).hexdigest() for p in (home / "files").rglob("*") if p.is_file()}
        found = files(user, folder)
        objects += len(wanted)
        for path in sorted(set(wanted) | set(found)):
            if wanted.get(path) != found.get(path):
                differ(account["source"], path, "archived" if path in wanted else "not archived", "found" if path in found else "not found")
print(f"{objects} objects, {differences} differ")
sys.exit(differences > 0)
