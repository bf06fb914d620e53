#!/usr/bin/env python3
"""Makes a company's mail store of any size, all of it made up, with exact ground truth.

  mailstore.py --out /data/store --users 5 --messages 200
  mailstore.py --out /data/m --format mbox --mbox-variant mboxcl2 --eol crlf
  mailstore.py --out /data/m --utf8-names --no-groupware --seed 2

Under OUT: users/<account>/{Maildir,mbox,eml}/..., calendars/*.ics, contacts/*.vcf, files/...; ground-truth.jsonl has a line a
message, ground-truth-pim.jsonl a line a calendar or contact object, ground-truth-files.jsonl a line a plain file.

A line of ground-truth.jsonl: account, email, folder (Unicode, "/" between levels), path (relative to OUT), index (place in the
folder, from 0), uid (Maildir), flags, keywords, sha256 and size (mbox: without From_ line, quoting and the empty line at the
end), sha256_nometa and size_nometa (without Status, X-Status, X-Keywords, Content-Length), internal_date,
internal_date_unix, message_id, kind, shared_group, attachments (name, type, size, sha256 of the decoded bytes).

The same arguments give the same bytes and file times. One message is in memory at a time.
"""
import argparse
import base64
import datetime
import hashlib
import json
import os
import quopri
import random
import time
from pathlib import Path

START, END = 1_640_995_200, 1_735_689_599       # 2022 to 2024
FOLDERS = {"INBOX": 40, "Sent": 20, "Drafts": 2, "Trash": 4, "Archiv/2022": 8, "Archiv/2023": 8, "Kunden/Müller & Söhne": 6,
           "Projekte/Übergabe + Prüfung": 5, "Projekte/日本語 Ω": 3, "Tiefe/Ordner/in/Ordnern": 2, "Mit Leerzeichen am Ende_": 2, "Leer": 0}
NAMES = ["anna.koenig", "boris.novak", "carla.rossi", "dmitri.orlov", "emma.walker", "felix.gruber", "greta.lind", "hana.sato", "ivan.kral", "jana.horak"]
KEYWORDS = ["$Forwarded", "$Label1", "NonJunk", "wichtig", "urgent"]
LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}
TYPES = [("pdf", "application/pdf"), ("jpg", "image/jpeg"), ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
         ("csv", "text/csv"), ("zip", "application/zip")]


def rng_for(*parts):
    """A generator of its own for each thing, so that one thing more changes nothing else."""
    return random.Random("/".join(map(str, parts)))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def iso(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


def rfc5322(seconds):
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(seconds))


# ------------------------------------------------------------------------------------------------------------- text

def vocabulary(rng, extra):
    syllables = [c + v for c in "bdfghklmnprstvz" for v in "aeiou"] + list(extra)
    return ["".join(rng.choices(syllables, k=rng.choice((1, 2, 2, 3, 3, 4)))) for _ in range(2500)]


WORDS = vocabulary(rng_for("words"), ["sch", "ck", "tion"])
UMLAUTS = vocabulary(rng_for("umlauts"), ["ä", "ö", "ü", "ß", "é", "ñ"] * 3)


def sentence(rng, words):
    # Some words are frequent and most are rare, as in a language.
    picked = [words[int(len(words) * rng.random() ** 3)] for _ in range(rng.randint(4, 16))]
    return " ".join(picked).capitalize() + rng.choice(".....?!")


def paragraphs(rng, words, size):
    lines, length = [], 0
    while length < size:
        line = sentence(rng, words)
        lines += [line] if rng.random() < 0.85 else [line, ""]
        length += len(line) + 1
    return "\n".join(lines) + "\n"


def document(seed, name, limit):
    """A file of (extension, type, bytes): mostly incompressible, sometimes a table."""
    rng = rng_for(seed, "document", name)
    extension, kind = rng.choice(TYPES)
    size = min(int(rng.lognormvariate(11, 1.2)) + 300, limit)
    if extension == "csv":
        rows = ["datum;kunde;betrag"] + [f"2024-{rng.randint(1, 12):02}-01;{rng.choice(WORDS)};{rng.randint(1, 99999)}" for _ in range(size // 30)]
        return extension, kind, ("\r\n".join(rows) + "\r\n").encode()
    return extension, kind, {"pdf": b"%PDF-1.5\n", "jpg": b"\xff\xd8\xff\xe0"}.get(extension, b"PK\x03\x04") + rng.randbytes(size)


# ---------------------------------------------------------------------------------------------------------- messages

def encoded_word(text):
    return text if text.isascii() else "=?utf-8?B?" + base64.b64encode(text.encode()).decode() + "?="


def text_part(rng, text):
    """Headers and body of a text part, in one of the usual encodings; lines end in LF."""
    ways = ["8bit", "quoted-printable", "base64", "latin1"] if not text.isascii() else ["7bit", "7bit", "quoted-printable"]
    way = rng.choice(ways)
    charset = {"7bit": "us-ascii", "latin1": "iso-8859-1"}.get(way, "utf-8")
    data = text.encode(charset, "replace")
    if way == "quoted-printable":
        data = quopri.encodestring(data)
    elif way == "base64":
        data = base64.encodebytes(data)
    name = "8bit" if way == "latin1" else way
    return f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {name}\n".encode(), data


def attachment_part(rng, file, name, kind, data):
    width = rng.choice((76, 76, 76, 76, 72, 60))
    text = base64.b64encode(data).decode()
    rows = "\n".join(text[i:i + width] for i in range(0, len(text), width))
    header = f"Content-Type: {kind}; name=\"{encoded_word(name)}\"\nContent-Transfer-Encoding: base64\n"
    return (header + f"Content-Disposition: attachment; filename=\"{encoded_word(name)}\"\n\n{rows}\n").encode()


def compose(args, what, sender, recipients, when):
    """The part of a message that all its copies share: (bytes, Message-ID, attachments). Lines end in LF."""
    rng = rng_for(args.seed, "message", what)
    words = UMLAUTS if rng.random() < 0.4 else WORDS
    message_id = f"<{rng.getrandbits(64):016x}@{args.domain}>"
    head = f"From: {sender}@{args.domain}\nTo: {', '.join(f'{r}@{args.domain}' for r in recipients)}\n"
    head += f"Subject: {encoded_word(sentence(rng, words))}\nDate: {rfc5322(when)}\nMessage-ID: {message_id}\nMIME-Version: 1.0\n"
    text = paragraphs(rng, words, min(int(rng.lognormvariate(7.5, 1.1)), 200_000))
    if rng.random() < 0.15:
        text += "From here on nothing is quoted.\n"
        # mboxo and mboxcl cannot tell these from quoted lines, so that no reader could be right.
        text += ">From a mail before\n>>From the one before that\n" if args.mbox_variant in ("mboxrd", "mboxcl2") else ""
    fields, body = text_part(rng, text)
    attachments, parts = [], []
    if rng.random() < args.attachments:
        for n in range(rng.choice((1, 1, 1, 2, 3))):
            name = f"shared/{rng.randrange(args.documents)}" if rng.random() < 0.4 else f"{what}/{n}"
            extension, kind, data = document(args.seed, name, args.max_attachment)
            title = f"{rng.choice(words)} {rng.randint(1, 99)}.{extension}"
            attachments.append({"name": title, "type": kind, "size": len(data), "sha256": sha256(data), "doc": name})
            parts.append(attachment_part(rng, name, title, kind, data))
    if not parts and rng.random() < 0.7:
        return head.encode() + fields + b"\n" + body, message_id, attachments
    if not parts:
        html = "<html><body>" + text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>\n") + "</body></html>\n"
        parts = [b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + html.encode()]
    cut = f"=_{rng.getrandbits(80):x}".encode()
    kind = b"mixed" if attachments else b"alternative"
    out = head.encode() + b"Content-Type: multipart/" + kind + b"; boundary=\"" + cut + b"\"\n\nThis is a message of several parts.\n"
    for part in [fields + b"\n" + body] + parts:
        out += b"--" + cut + b"\n" + part + (b"" if part.endswith(b"\n") else b"\n")
    return out + b"--" + cut + b"--\n", message_id, attachments


def plan(args, accounts, user):
    """What a user gets, as (time, name of the message, kind, group, sender, recipients), without the bytes."""
    rng = rng_for(args.seed, "plan", user)
    shared = int(args.messages * args.shared)
    items = []
    # A group is one message to several users; every user looks at all groups and takes those that it is in.
    for group in range(shared * len(accounts) // 4 if len(accounts) > 1 else 0):
        g = rng_for(args.seed, "group", group)
        recipients = g.sample(accounts, min(len(accounts), g.randint(2, 6)))
        if user in recipients:
            items.append((g.randint(START, END), f"group/{group}", "shared", group, g.choice(accounts), recipients))
    items = items[:args.messages]
    for n in range(args.messages - len(items)):
        items.append((rng.randint(START, END), f"{user}/{n}", "composed", None, rng.choice(accounts), [user]))
    return sorted(items)


def state_of(rng, folder):
    flags = {"\\Seen"} if rng.random() < 0.85 else set()
    for flag, chance in (("\\Answered", 0.2), ("\\Flagged", 0.05), ("\\Deleted", 0.02), ("\\Draft", 1 if folder == "Drafts" else 0)):
        if rng.random() < chance:
            flags.add(flag)
    return sorted(flags), [k for k in KEYWORDS if rng.random() < 0.05]


# ------------------------------------------------------------------------------------------------------------ stores

def mutf7(name):
    """Modified UTF-7 (RFC 3501 5.1.3)."""
    out, run = "", ""
    for c in name + "\0":
        if " " <= c <= "~" or c == "\0":
            if run:
                out += "&" + base64.b64encode(run.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
                run = ""
            out += "&-" if c == "&" else c.replace("\0", "")
        else:
            run += c
    return out


class Maildir:
    """Maildir++ as Dovecot writes it."""

    def __init__(self, args, home, user):
        self.args, self.root, self.user, self.made = args, home / "Maildir", user, {}
        for folder in FOLDERS:
            path = self.path(folder)
            for sub in ("cur", "new", "tmp"):
                (path / sub).mkdir(parents=True)
            if folder != "INBOX":
                (path / "maildirfolder").touch()
            self.made[folder] = []

    def path(self, folder):
        name = folder.replace("/", ".")
        return self.root if folder == "INBOX" else self.root / ("." + (name if self.args.utf8_names else mutf7(name)))

    def add(self, folder, data, when, flags, keywords):
        uid = len(self.made[folder]) + 1
        crlf = len(data) + data.count(b"\n") - data.count(b"\r\n")
        base = f"{when}.M{uid:06}P{len(folder)}.store,S={len(data)},W={crlf}"
        letters = "".join(sorted(LETTERS[f] for f in flags)) + "".join(sorted(chr(97 + KEYWORDS.index(k)) for k in keywords))
        recent = not letters and uid % 2
        file = self.path(folder) / ("new" if recent else "cur") / (base if recent else f"{base}:2,{letters}")
        file.write_bytes(data)
        os.utime(file, (when, when))
        self.made[folder].append(base)
        return {"path": file, "index": uid - 1, "uid": uid, "data": data, "plain": data, "flags": flags, "keywords": keywords}

    def close(self):
        for n, (folder, names) in enumerate(self.made.items()):
            guid = sha256(f"{self.user}/{folder}".encode())[:32]
            lines = [f"3 V{1_700_000_000 + n} N{len(names) + 1} G{guid}"] + [f"{uid} :{name}" for uid, name in enumerate(names, 1)]
            (self.path(folder) / "dovecot-uidlist").write_text("\n".join(lines) + "\n")
            (self.path(folder) / "dovecot-keywords").write_text("".join(f"{i} {k}\n" for i, k in enumerate(KEYWORDS)))
        names = [f if self.args.utf8_names else mutf7(f) for f in FOLDERS if f not in ("INBOX", "Trash")]
        (self.root / "subscriptions").write_text("V\t2\n\n" + "".join(name.replace("/", "\t") + "\n" for name in names))


class Mbox:
    """A file a folder."""

    def __init__(self, args, home, user):
        self.args, self.root, self.counts = args, home / "mbox", {}
        for folder in FOLDERS:
            path = self.root / f"{folder}.mbox"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self.counts[folder] = 0

    def add(self, folder, data, when, flags, keywords):
        variant, eol = self.args.mbox_variant, b"\r\n" if self.args.eol == "crlf" else b"\n"
        head, _, body = data.partition(eol + eol)
        status = "R" * ("\\Seen" in flags) + "O"
        x_status = "".join(c for f, c in (("\\Answered", "A"), ("\\Deleted", "D"), ("\\Flagged", "F"), ("\\Draft", "T")) if f in flags)

        def quote(line):
            bare = line.lstrip(b">") if variant == "mboxrd" else line
            return b">" + line if variant != "mboxcl2" and bare.startswith(b"From ") else line
        stored = b"".join(map(quote, body.splitlines(True)))
        meta = [f"Status: {status}"] + [f"X-Status: {x_status}"] * bool(x_status) + [f"X-Keywords: {' '.join(keywords)}"] * bool(keywords)
        if variant in ("mboxcl", "mboxcl2"):
            meta.append(f"Content-Length: {len(stored)}")
        head += b"".join(eol + line.encode() for line in meta) + eol + eol
        path = self.root / f"{folder}.mbox"
        with open(path, "ab") as file:
            file.write(f"From sender@{self.args.domain} {time.asctime(time.gmtime(when))}".encode() + eol + head + stored + eol)
        self.counts[folder] += 1
        return {"path": path, "index": self.counts[folder] - 1, "data": head + body, "plain": data, "flags": flags, "keywords": keywords}

    def close(self):
        for folder in FOLDERS:
            os.utime(self.root / f"{folder}.mbox", (END, END))


class Eml:
    """A file a message; holds no flags."""

    def __init__(self, args, home, user):
        self.root, self.counts = home / "eml", dict.fromkeys(FOLDERS, 0)
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def add(self, folder, data, when, flags, keywords):
        index = self.counts[folder]
        self.counts[folder] += 1
        path = self.root / folder / f"{index:06}.eml"
        path.write_bytes(data)
        os.utime(path, (when, when))
        return {"path": path, "index": index, "data": data, "plain": data, "flags": [], "keywords": []}

    def close(self):
        pass


# --------------------------------------------------------------------------------------------------------- groupware

ZONE = """BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:DAYLIGHT
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
BEGIN:STANDARD
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
"""


def folded(line):
    """A content line cut after 75 bytes, never inside a character (RFC 5545 3.1)."""
    out, room = "", 75
    for c in line:
        if room < len(c.encode()):
            out, room = out + "\r\n ", 74
        out, room = out + c, room - len(c.encode())
    return out + "\r\n"


def write_lines(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(map(folded, text.splitlines())).encode())
    os.utime(path, (END, END))


def groupware(args, home, user):
    """Calendars, contacts and files of a user; yields ("pim" or "files", line of ground truth)."""
    rng = rng_for(args.seed, "groupware", user)
    for name, kinds in (("Kalender", ("VEVENT", "VEVENT", "VEVENT", "VTODO")), ("Team Übersicht", ("VEVENT", "VJOURNAL"))):
        text = f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//acme//mailstore//EN\nX-WR-CALNAME:{name}\n" + ZONE
        for _ in range(args.events):
            kind, uid = rng.choice(kinds), f"{rng.getrandbits(64):x}@{args.domain}"
            summary, day = sentence(rng, UMLAUTS).rstrip(".?!"), time.strftime("%Y%m%d", time.gmtime(rng.randint(START, END)))
            repeats, all_day = kind == "VEVENT" and rng.random() < 0.3, rng.random() < 0.2
            start = f"DTSTART;VALUE=DATE:{day}" if all_day else f"DTSTART;TZID=Europe/Berlin:{day}T090000"
            rule = "FREQ=WEEKLY;COUNT=10" if repeats else ""
            overrides = int(repeats and not all_day and rng.random() < 0.5)
            body = f"UID:{uid}\nDTSTAMP:20240101T000000Z\n" + ("DURATION:PT1H\n" if kind == "VEVENT" and not all_day else "")
            text += f"BEGIN:{kind}\n{body}{start}\nSUMMARY:{summary}\n" + (f"RRULE:{rule}\n" if rule else "") + f"END:{kind}\n"
            if overrides:
                text += f"BEGIN:{kind}\n{body}RECURRENCE-ID;TZID=Europe/Berlin:{day}T090000\nDTSTART;TZID=Europe/Berlin:{day}T140000\nSUMMARY:{summary} (!)\nEND:{kind}\n"
            yield "pim", {"collection": f"calendars/{name}", "path": home / f"calendars/{name}.ics", "type": kind, "uid": uid, "summary": summary,
                          "rrule": rule, "overrides": overrides, "all_day": all_day, "attachment_sha256": None}
        write_lines(home / f"calendars/{name}.ics", text + "END:VCALENDAR\n")
    text = ""
    for n in range(args.contacts):
        version, uid = rng.choice(("2.1", "3.0", "3.0", "4.0")), f"{rng.getrandbits(64):x}"
        first, last = rng.choice(UMLAUTS).capitalize(), rng.choice(UMLAUTS).capitalize()
        photo = rng.randbytes(600) if n % 5 == 0 and version == "3.0" else None
        charset = ";CHARSET=UTF-8" if version == "2.1" else ""
        text += f"BEGIN:VCARD\nVERSION:{version}\nUID:{uid}\nN{charset}:{last};{first};;;\nFN{charset}:{first} {last}\nEMAIL:{n}@{args.domain}\n"
        text += f"PHOTO;ENCODING=b;TYPE=JPEG:{base64.b64encode(photo).decode()}\n" if photo else ""
        text += "END:VCARD\n"
        yield "pim", {"collection": "contacts/Kontakte", "path": home / "contacts/Kontakte.vcf", "type": "VCARD", "uid": uid, "fn": f"{first} {last}",
                      "version": version, "photo_sha256": photo and sha256(photo)}
    write_lines(home / "contacts/Kontakte.vcf", text)
    for n in range(args.files):
        extension, _, data = document(args.seed, f"shared/{rng.randrange(args.documents)}", args.max_attachment)
        path = home / "files" / rng.choice(("", "Verträge 2024", "a/b/c")) / f"{rng.choice(UMLAUTS)} {n}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o640 if n % 2 else 0o755)
        when = rng.randint(START, END)
        os.utime(path, (when, when))
        yield "files", {"path": path, "size": len(data), "sha256": sha256(data), "mode": path.stat().st_mode & 0o777, "mtime": when}


# -------------------------------------------------------------------------------------------------------------- main

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder")
    parser.add_argument("--users", type=int, default=5)
    parser.add_argument("--messages", type=int, default=200, help="a user")
    parser.add_argument("--format", choices=["maildir", "mbox", "eml"], default="maildir")
    parser.add_argument("--mbox-variant", choices=["mboxo", "mboxrd", "mboxcl", "mboxcl2"], default="mboxrd")
    parser.add_argument("--eol", choices=["lf", "crlf"], help="default: lf, for eml crlf")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--utf8-names", action="store_true", help="Maildir folders in UTF-8 instead of modified UTF-7")
    parser.add_argument("--no-groupware", action="store_true", help="no calendars, contacts and files")
    parser.add_argument("--attachments", type=float, default=0.2, help="share of the messages that have some")
    parser.add_argument("--max-attachment", type=int, default=5 << 20, help="bytes")
    parser.add_argument("--shared", type=float, default=0.15, help="share of the messages that went to several users")
    parser.add_argument("--documents", type=int, default=20, help="documents that are attached again and again")
    parser.add_argument("--events", type=int, default=40, help="a calendar")
    parser.add_argument("--contacts", type=int, default=30)
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--domain", default="acme.example")
    args = parser.parse_args()
    args.eol = args.eol or ("crlf" if args.format == "eml" else "lf")
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"{args.out} is not empty")
    accounts = [NAMES[n % len(NAMES)] + (str(n // len(NAMES)) if n >= len(NAMES) else "") for n in range(args.users)]
    args.out.mkdir(parents=True, exist_ok=True)
    truths = {name: open(args.out / file, "w", encoding="utf-8") for name, file in
              (("mail", "ground-truth.jsonl"), ("pim", "ground-truth-pim.jsonl"), ("files", "ground-truth-files.jsonl"))}

    def tell(name, line):
        line["path"] = line["path"].relative_to(args.out).as_posix()
        truths[name].write(json.dumps(line, ensure_ascii=False) + "\n")

    for user in accounts:
        home = args.out / "users" / user
        store = {"maildir": Maildir, "mbox": Mbox, "eml": Eml}[args.format](args, home, user)
        rng = rng_for(args.seed, "state", user)
        for when, what, kind, group, sender, recipients in plan(args, accounts, user):
            folder = rng.choices(list(FOLDERS), list(FOLDERS.values()))[0]
            flags, keywords = state_of(rng, folder)
            data, message_id, attachments = compose(args, what, sender, recipients, when)
            trace = f"Return-Path: <{sender}@{args.domain}>\nDelivered-To: {user}@{args.domain}\nReceived: from mx by store; {rfc5322(when)}\n"
            data = (trace.encode() + data).replace(b"\r\n", b"\n")
            made = store.add(folder, data.replace(b"\n", b"\r\n") if args.eol == "crlf" else data, when, flags, keywords)
            line = {"account": user, "email": f"{user}@{args.domain}", "folder": folder, "path": made["path"], "index": made["index"]}
            if "uid" in made:
                line["uid"] = made["uid"]
            line.update(flags=made["flags"], keywords=made["keywords"], sha256=sha256(made["data"]), size=len(made["data"]),
                        sha256_nometa=sha256(made["plain"]), size_nometa=len(made["plain"]), internal_date=iso(when), internal_date_unix=when,
                        message_id=message_id, kind=kind, shared_group=group, attachments=attachments)
            tell("mail", line)
        store.close()
        for name, line in [] if args.no_groupware else groupware(args, home, user):
            tell(name, {"account": user, **line})
    for file in truths.values():
        file.close()


if __name__ == "__main__":
    main()
