#!/usr/bin/env python3
"""Writes the seeds that fuzzing begins with: a few small inputs for each target, in fuzz/seeds/<target>."""
import base64
import gzip
import hashlib
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/tools"))
from make_archive import Recipe, dumps, entry, frame, recipes, sha256   # noqa: E402

FROM = b"From a@b.example Mon Jan  1 00:00:00 2024\n"
PLAIN = b"From: a@b\nSubject: x\nMessage-ID: <1@b>\nDate: Mon, 1 Jan 2024 10:00:00 +0100\n\nbody\n"
NOISE = hashlib.shake_256(b"floe").digest(3000)
MULTIPART = (b"From: a@b\nContent-Type: multipart/mixed; boundary=\"b c\"\n\npre\n--b c\nContent-Type: text/plain\n\none\n--b c\n"
             b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(NOISE) + b"--b c\nContent-Type: message/rfc822\n\n" + PLAIN + b"--b c--\npost\n")
SIZE, DIGEST = 3, sha256(b"one")
PLACEMENT = {"sha256": DIGEST, "size": SIZE, "crlf": {"sha256": DIGEST, "size": SIZE}, "date": {"at": "2024-02-29T12:00:00Z", "rule": "date-header"},
             "flags": ["\\Seen"], "keywords": ["$Forwarded"], "message_id": "<a@b>", "mode": 420, "source": {"path": "a\u001b", "path_bytes": "/w==", "offset": 1, "length": 2, "uid": 3},
             "notes": ["odd"]}
LEDGER = {"found": 1, "captured": 1, "skipped": {"a reason": 1}, "failed": {}, "bytes": 3}
COLLECTION = {"path": ["A", "B"], "kind": "mail", "format": "maildir++", "source_path": "x", "uid_validity": 1, "special_use": "\\Sent", "listing": DIGEST, "items": 1,
              "ledger": LEDGER, "originals": [{"path": "a.ics", "sha256": DIGEST, "size": 3}]}
EXCEPTION = {"account": "a", "collection": "b", "source": {"path": "c"}, "outcome": "skipped", "reason": "r", "detail": "d"}
ROOT = {"format": "floe snapshot", "version": 1, "created": "2026-11-22T21:05:00Z", "tool": {"name": "floe", "version": "0"}, "previous": None, "tree": DIGEST,
        "options": {"level": 3, "reread": False}, "sources": [{"path": "/x", "format": None}],
        "accounts": [{"account": "anna", "listing": DIGEST, "collections": 1, "ledger": LEDGER}], "leftovers": None, "directory": None, "ledger": LEDGER}


def pack():
    frames = [frame(entry("blob/" + DIGEST, b"one") + entry("listing/" + sha256(b"{}\n"), b"{}\n"), 3), frame(entry("pack.json", b"{}") + bytes(1024), 3)]
    table = b"".join(struct.pack("<II", len(f), n) for f, n in zip(frames, (2048, 2048))) + struct.pack("<IBI", 2, 0, 0x8F92EAB1)
    return b"".join(frames) + struct.pack("<II", 0x184D2A5E, len(table)) + table


def index(packs, objects):
    """An index file (docs/format.md section 8) of so many packs of two frames each."""
    named = [hashlib.sha256(b"pack %d" % n).digest() for n in range(packs)]
    head = b"floeidx1" + struct.pack("<IIQ", packs, 2 * packs, objects)
    tables = b"".join(name + struct.pack("<Q", 900) for name in named)
    tables += b"".join(struct.pack("<IIQII", n // 2, 300, 300 * (n % 2), 5000, 0) for n in range(2 * packs))
    digests = sorted(hashlib.sha256(b"%d" % n).digest() for n in range(objects))
    records = b"".join(d + struct.pack("<IIIB3x", n % max(2 * packs, 1), 512, n, n % 3) for n, d in enumerate(digests))
    body = head + tables + records
    return body + hashlib.sha256(body).digest()


def calendar(*components):
    return b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//floe//EN\r\n" + b"".join(components) + b"END:VCALENDAR\r\n"


def event(uid, more=b"", name=b"VEVENT"):
    return b"BEGIN:" + name + b"\r\nUID:" + uid + b"\r\nSUMMARY:a long text that is\r\n  folded\r\n" + more + b"END:" + name + b"\r\n"


ZONE = b"BEGIN:VTIMEZONE\r\nTZID:Here\r\nBEGIN:STANDARD\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
STARTS = b"DTSTART;TZID=Here:20240101T100000\r\n"
CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A B\r\nUID:1\r\nPHOTO;ENCODING=b:QUJD\r\n REVG\r\nEND:VCARD\r\n"


SEEDS = {
    "coding": [b"A: b\n\n>From x\n>>From y\r\nFrom z\n", gzip.compress(PLAIN, mtime=0), frame(PLAIN, 3), frame(PLAIN, 3) * 2],
    "date": [b"Mon, 1 Jan 2024 10:00:00 +0100 (CET)", b"29 Feb 2024 23:59:60 GMT", b"Mon Jan  1 00:00:00 2024", b"2024-01-01T00:00:00.5Z", PLAIN,
             b"Received: from a by b; 1 Jan 2024 00:00:00 -0000\nDATE :\n Mon,\n 1 Jan 24 1:2 EST\n\n"],
    "dissect": [PLAIN, MULTIPART, MULTIPART.replace(b"\n", b"\r\n"), b"Content-Type: message/rfc822\n\n" * 60, b"A: b\n\n" + b"line\r\n" * 500],
    "ics": [calendar(event(b"1", STARTS), ZONE), calendar(ZONE, event(b"1", STARTS), event(b"2"), event(b"1", b"RECURRENCE-ID:20240102T100000\r\n"), event(b"3", b"", b"VTODO")),
            calendar(event(b"1", b"BEGIN:VALARM\r\nACTION:DISPLAY\r\nEND:VALARM\r\n")) + calendar(event(b"1")), b"\xef\xbb\xbf" + calendar(event(b"1"), b"END:VEVENT\r\n", event(b"2")[:-12]),
            calendar(event(b"1"), event(b"2")).replace(b"\r\n", b"\r"), event(b"1") + b"no calendar\n"],
    "index": [index(1, 3), index(3, 100), index(0, 0), index(1, 40)[:-48] + bytes(48), pack()],
    "listing": [dumps(PLACEMENT), dumps(COLLECTION), dumps(EXCEPTION), dumps(ROOT), dumps(PLACEMENT) + dumps(COLLECTION)],
    "maildir": [b"1700.M1P2.host,S=10,W=11:2,FSab\x001700.M1P2.host:2,S\x00x;2,R", b"a!2,DFPRSTZ\x00:2,\x00,S=18446744073709551616", b"caf\xe9:2,S\x00\x1b[2J"],
    "mbox": [FROM + PLAIN, FROM + PLAIN + b"\n" + FROM + b"Status: RO\nX-Keywords: a b\n\n>From x\n\n", FROM + b"Content-Length: 5\n\nbody\n\n" + FROM + b"\n",
             b"\x01\x01\x01\x01\n" + PLAIN + b"\x01\x01\x01\x01\n\x01\x01\x01\x01\n" + PLAIN + b"\x01\x01\x01\x01\n", b"\xef\xbb\xbf\n" + (FROM + PLAIN).replace(b"\n", b"\r\n"),
             b"From - Mon Jan  1 00:00:00 2024\nX-Mozilla-Status: 0009\nX-Mozilla-Status2: 00000000\n\nx\n", b"junk\n\n" + FROM + PLAIN],
    "mutf7": ["INBOX".encode(), "Müller & Söhne".encode(), b"&U,BTFw-/&ZeVnLIqe-", b"&2D3eAAAJ-", b"R&D"],
    "pack": [entry("blob/" + DIGEST, b"one"), entry("recipe/" + DIGEST, b"R1\n\x03\x00\x03one") + bytes(1024), frame(bytes(1000), 3), pack()],
    "recipe": [b"R1\n\x03\x00\x03one", *[r.data() for _, r in zip(range(8), recipes())], Recipe().base64(76, 1, b"\n" * 100, b"\n" * 7).lines(b"\n" * 5).data()],
    "vcf": [CARD, CARD * 2, CARD.replace(b"\r\n", b"\n") + b"\n" + CARD[:-11] + CARD, b"\xef\xbb\xbfjunk\n" + CARD.replace(b"3.0", b"2.1") + b"junk",
            b"begin:vcard\nversion:2.1\nAGENT:\nBEGIN:VCARD\nN:x\nEND:VCARD\nitem1.uid:7\nKIND:group\nend:vcard\n" + CARD],
    "text": [b"../../x", b"con.txt", b"\x1b[31mred", "\u202egnp.exe".encode(), b"a" * 300, b" .", b"100%"],
}

for target, seeds in SEEDS.items():
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"{number:02}").write_bytes(seed)
