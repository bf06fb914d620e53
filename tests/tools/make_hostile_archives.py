#!/usr/bin/env python3
"""Writes archives that mean harm, by docs/format.md and by make_archive.py's own code, one in each folder of OUT:

  make_hostile_archives.py OUT      OUT/<case>/archive, and in OUT/<case>/expected/<sha256> the items that are sound

Every case holds two sound items besides what is wrong with it. Needs the command zstd.
"""
import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import make_archive
from make_archive import Writer, bag, dumps, entry, pack, placement, sha256, varint

MIB = 1 << 20
NAMES = ["../../escape", "/etc/escape", "..", ".", "", "a\0b", "a\nb", "a\r\nb", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b2J", "\u202egnp.exe",
         "\u2066x", "C:\\escape", "..\\..\\escape", "con", "x" * 5000, "a/../../../escape", "~/.ssh/escape", "-rf", "$(touch escape)", "\ufeffx", "\u200f"]


def zstd(data, *options):
    return subprocess.run(["zstd", "-qc", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def raw_pack(archive, frames, sizes=None):
    """A pack of compressed frames as they are; `sizes` are the decompressed sizes that the seek table claims."""
    table = b"".join(struct.pack("<II", len(f), s) for f, s in zip(frames, sizes)) + struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
    data = b"".join(frames) + struct.pack("<II", 0x184D2A5E, len(table)) + table
    (archive / f"data/packs/{sha256(data)}.tar.zst").write_bytes(data)


class Case:
    def __init__(self, out, name):
        self.folder = out / name
        self.archive, self.expected = self.folder / "archive", self.folder / "expected"
        for folder in (self.archive / "data/packs", self.archive / "data/snapshots", self.expected):
            folder.mkdir(parents=True)
        self.writer = Writer(self.archive, self.expected)
        self.sound = [self.writer.item(b"Subject: %d\n\nsound\n" % n) for n in range(2)]
        self.placements = [placement(data, n) for n, data in enumerate(self.sound)]

    def claim(self, data):
        """The placement of an item that is not sound."""
        self.placements.append(placement(data, len(self.placements)))

    def commit(self, accounts=None, collections=()):
        rows = [(["INBOX"], "mail", self.placements, False), *collections]
        accounts = accounts or [self.writer.account("anna", rows)]
        self.writer.commit("2026-11-21T10:00:00Z", accounts, self.archive)


def names(case):
    rows = [([name], "mail", [case.placements[0]], False) for name in NAMES]
    rows += [([name, name], "mail", [case.placements[1]], False) for name in NAMES]
    files = [placement(case.sound[0], n, source={"path": name}, mode=0o6777, keywords=[name], labels=[name], message_id=name, notes=[name])
             for n, name in enumerate(NAMES)]
    rows.append((["files"], "files", files, False))
    accounts = [case.writer.account(name, [(["INBOX"], "mail", case.placements, False)]) for name in NAMES]
    case.commit(accounts + [case.writer.account("anna", [(["INBOX"], "mail", case.placements, False), *rows])])


def recipe_of_2_to_60_bytes(case):
    bad = b"R1\n" + varint(1 << 60) + b"\x00\x01x"
    case.writer.store("recipe", sha256(b"a"), bad)
    case.claim(b"a")
    case.commit()


def recipe_of_2_to_60_references(case):
    for n, steps in enumerate([b"\x01" + varint(1 << 60), b"\x00" + varint(1 << 62) + b"x", b"\x03" + varint((1 << 64) - 1) + b"\x00" + varint(1),
                               b"\x01" + b"\xff" * 11, b"\x02" + varint(0)]):
        data = b"%d" % n
        case.writer.store("recipe", sha256(data), b"R1\n" + varint(1) + steps)
        case.claim(data)
    case.commit()


def recipe_that_gives_more_than_it_says(case):
    blob = bytes(8 * MIB)
    ref = varint(len(blob)) + hashlib.sha256(blob).digest()
    # 3 TB, if somebody went on after the thousand bytes that it says.
    recipe = b"R1\n" + varint(1000) + b"\x01" + varint(400_000) + ref * 400_000
    case.writer.frames += [[("blob/" + sha256(blob), blob)], [("recipe/" + sha256(b"b"), recipe)], []]
    case.claim(b"b")
    case.commit()


def recipe_of_itself(case):
    digest = hashlib.sha256(b"c").digest()
    case.writer.store("recipe", digest.hex(), b"R1\n" + varint(1) + b"\x01" + varint(1) + varint(44) + digest)
    case.claim(b"c")
    case.commit()


def frame_that_grows(case):
    """256 MiB of zeros in a few kilobytes, said to be small, large, and what it is."""
    zeros = zstd(bytes(256 * MIB), "-3", f"--stream-size={256 * MIB}")
    for size in (1000, 16 * MIB, 256 * MIB, 0xFFFFFFFF):
        raw_pack(case.archive, [zeros], [size])
    case.commit()


def frame_with_a_large_window(case):
    data = entry("blob/" + sha256(b"d"), b"d") + make_archive.rng.randbytes(MIB)
    raw_pack(case.archive, [zstd(data, "--ultra", "-22", "--long=31")], [len(data)])
    case.claim(b"d")
    case.commit()


def frames_without_number(case):
    footer = struct.pack("<IBI", 0xFFFFFFFF, 0, 0x8F92EAB1)
    data = struct.pack("<II", 0x184D2A5E, len(footer)) + footer
    (case.archive / f"data/packs/{sha256(data)}.tar.zst").write_bytes(data)
    count = 1_000_000                                                   # a million empty frames in eight megabytes
    raw_pack(case.archive, [b""] * count, [0] * count)
    case.commit()


def tar_headers(case):
    """Entries with sizes and types that a tar program would act on."""
    def header(name, size, kind=b"0", link=b""):
        block = bytearray(entry(name, b"")[:512])
        block[124:124 + len(size)] = size
        block[156:157] = kind
        block[157:157 + len(link)] = link
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)
    name = "blob/" + sha256(b"e")
    blocks = [header(name, b"77777777777\0"), header(name, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), header(name, b"-0000000001\0"),
              header("../../escape", b"%011o\0" % 1) + b"x" * 512, header(name, b"%011o\0" % 0, b"2", b"/etc/passwd"),
              header("././@LongLink", b"%011o\0" % (1 << 30), b"L"), header("pax", b"%011o\0" % 512, b"x") + b"99999999999 size=1\n".ljust(512, b"\0"),
              header(name, b"%011o\0" % 0, b"S") + bytes(512)]
    for block in blocks:
        raw_pack(case.archive, [zstd(block, f"--stream-size={len(block)}")], [len(block)])
    case.claim(b"e")
    case.commit()


def long_line(case):
    """A listing with a line of a gigabyte, out of one blob."""
    blob = b"x" * (8 * MIB)
    ref = varint(len(blob)) + hashlib.sha256(blob).digest()
    # Nobody may read so far that the digest, which is wrong, could be told.
    digest = sha256(b"long line")
    case.writer.store("blob", sha256(blob), blob)
    case.writer.store("recipe", digest, b"R1\n" + varint(128 * len(blob)) + b"\x01" + varint(128) + ref * 128)
    good = case.writer.account("anna", [(["INBOX"], "mail", case.placements, False)])
    ledger = {"found": 1, "captured": 1, "skipped": {}, "failed": {}, "bytes": 1}
    line = {"path": ["long"], "kind": "mail", "format": "maildir", "source_path": "x", "listing": digest, "items": 1, "ledger": ledger}
    case.commit([good, {"account": "boris", "listing": case.writer.listing([line]), "collections": 1, "ledger": ledger},
                 {"account": "carla", "listing": digest, "collections": 1, "ledger": ledger}])


def lines_that_are_no_listing(case):
    ledger = {"found": 1, "captured": 1, "skipped": {}, "failed": {}, "bytes": 1}
    accounts = [case.writer.account("anna", [(["INBOX"], "mail", case.placements, False)])]
    for n, data in enumerate([b"[" * 1_000_000 + b"\n", b'{"a":' * 1_000_000 + b"\n", b"\xff\xfe\n", b"{}\n", b"null\n", b"1e999999999\n", b"\n" * 5000,
                              b'{"path":["x"],"items":-1}\n', b"\0" * 1000, b'"' + b"\\u0000" * 100 + b'"\n']):
        case.writer.store("listing", sha256(data), data)
        accounts.append({"account": f"account {n}", "listing": sha256(data), "collections": 1, "ledger": ledger})
    case.commit(accounts)


def roots(case):
    """Sound, and beside it roots that are none."""
    case.commit()
    for n, data in enumerate([b"[" * 1_000_000, b'{"a":' * 1_000_000, b"", b"null", b'{"format":"floe snapshot","version":99}', b"\xff" * 1000]):
        (case.archive / f"data/snapshots/2026112{n}T100000Z-{sha256(data)[:12]}.json").write_bytes(data)
    bag(case.archive, case.archive)


def manifests(case):
    """Manifests that name files out of the archive, and a million that are not there."""
    case.commit()
    lines = (case.archive / "manifest-sha256.txt").read_text()
    lines += "".join(f"{sha256(b'')}  {name}\n" for name in ("../../../etc/passwd", "/etc/passwd", "/dev/zero", "data/packs/../../../x", "\x1b[2Jx", "\u202ex"))
    lines += "".join(f"{n:064x}  data/packs/{n:064x}.tar.zst\n" for n in range(20_000))
    (case.archive / "manifest-sha256.txt").write_text(lines)


CASES = [names, recipe_of_2_to_60_bytes, recipe_of_2_to_60_references, recipe_that_gives_more_than_it_says, recipe_of_itself, frame_that_grows,
         frame_with_a_large_window, frames_without_number, tar_headers, long_line, lines_that_are_no_listing, roots, manifests]

if __name__ == "__main__":
    for case in CASES:
        case(Case(Path(sys.argv[1]), case.__name__))
    print(json.dumps([case.__name__ for case in CASES]))
