#!/usr/bin/env python3
"""Writes a small floe archive by docs/format.md alone: a second implementation, to hold floe's reader and restore.py against.

  make_archive.py OUT             an archive in OUT/archive, and every item's bytes in OUT/expected/<sha256>
  make_archive.py OUT --pending   the same, the last commit interrupted after its rename (section 9)

Two packs, two snapshots, every recipe step, and what a reader may trip over: frames of one entry and of many, an object that
occurs twice, once as a recipe that lies, a listing stored as a recipe, an empty item, empty collections, unknown members,
hostile names, a pack that no manifest lists. Needs the command zstd.
"""
import argparse
import base64
import hashlib
import json
import random
import struct
import subprocess
from pathlib import Path

rng = random.Random("floe format 1")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


# ----------------------------------------------------------------------------------------------------- packs (section 3)

def entry(name, data):
    header = bytearray(512)
    for at, value in ((0, name.encode()), (100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"),
                      (124, b"%011o\0" % len(data)), (136, b"00000000000\0"), (148, b" " * 8), (156, b"0"), (257, b"ustar\00000")):
        header[at:at + len(value)] = value
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512)


def frame(data, level):
    # --stream-size puts the content size into the header; the checksum is on unless switched off.
    return subprocess.run(["zstd", "-qc", f"-{level}", f"--stream-size={len(data)}"], input=data, stdout=subprocess.PIPE, check=True).stdout


def pack(archive, frames, listed=True):
    """Writes frames (lists of (name, data)) as a pack; returns its path in the archive."""
    sizes, out = [], b""
    entries = [e for group in frames for e in group]
    trailer = {"format": "floe pack", "version": 1, "frames": len(frames) + 1, "entries": len(entries), "bytes": sum(len(d) for _, d in entries)}
    raw = [b"".join(entry(*e) for e in group) for group in frames]
    raw.append(entry("pack.json", dumps(trailer)) + bytes(1024))
    for level, data in enumerate(raw, 1):
        packed = frame(data, level % 9 + 1)
        sizes.append((len(packed), len(data)))
        out += packed
    table = b"".join(struct.pack("<II", *s) for s in sizes) + struct.pack("<IBI", len(sizes), 0, 0x8F92EAB1)
    out += struct.pack("<II", 0x184D2A5E, len(table)) + table
    name = f"data/packs/{sha256(out)}.tar.zst"
    (archive / name).write_bytes(out)
    return name if listed else None


# --------------------------------------------------------------------------------------------------- recipes (section 4)

def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


class Recipe:
    """Builds a recipe and, by its own code, the bytes that it stands for."""

    def __init__(self):
        self.steps, self.result, self.blobs = b"", b"", {}

    def refs(self, blobs):
        self.blobs.update((sha256(b), b) for b in blobs)
        return varint(len(blobs)) + b"".join(varint(len(b)) + hashlib.sha256(b).digest() for b in blobs)

    def literal(self, data):
        self.steps += b"\x00" + varint(len(data)) + data
        self.result += data
        return self

    def copy(self, *blobs):
        self.steps += b"\x01" + self.refs(blobs)
        self.result += b"".join(blobs)
        return self

    def lines(self, *blobs):
        self.steps += b"\x02" + self.refs(blobs)
        self.result += b"".join(blobs).replace(b"\n", b"\r\n")
        return self

    def base64(self, line, crlf, *blobs):
        self.steps += b"\x03" + varint(line) + bytes([crlf]) + self.refs(blobs)
        text = base64.b64encode(b"".join(blobs))
        rows = [text[i:i + line] for i in range(0, len(text), line)] if line else [text]
        self.result += (b"\r\n" if crlf else b"\n").join(rows)
        return self

    def data(self):
        return b"R1\n" + varint(len(self.result)) + self.steps


def recipes():
    """One recipe for each thing that a reader can get wrong."""
    head = b"From: anna@acme.example\r\nSubject: x\r\n\r\n"
    text = b"one\ntwo\r\n\nthree\r"
    cut = [rng.randbytes(n) for n in (1, 2, 100, 56, 3000, 0, 5)]       # cuts that are no multiples of 3 nor of a line
    yield Recipe().literal(head)
    yield Recipe().literal(b"").literal(head).literal(b"\0" * 300)
    yield Recipe().copy(text)
    yield Recipe().literal(head).copy(text, b"", text, cut[4])
    yield Recipe().literal(head).lines(text).lines(b"a\n", b"\nb", b"\r", b"\n")
    for line in (0, 4, 60, 64, 72, 76, 76 * 1000):
        for crlf in (0, 1):
            for blobs in ([cut[4]], cut, [cut[0]], [rng.randbytes(57)], [rng.randbytes(114)], [cut[0], cut[0], cut[0]], [b""]):
                yield Recipe().literal(head).base64(line, crlf, *blobs).literal(b"\r\n--end--\r\n")
    yield Recipe().base64(76, 1, *cut).copy(text).lines(text).base64(0, 0, cut[2])
    yield Recipe().copy(*[b"%d" % (i % 10) for i in range(5000)])       # more references than one byte counts


# ------------------------------------------------------------------------------------------- listings and roots (5 and 6)

def placement(data, n, **more):
    line = {"sha256": sha256(data), "size": len(data), "date": {"at": "2024-02-29T12:00:00Z", "rule": "stored"},
            "source": {"path": f"cur/{n}"}, "a member of a later version": {"x": [1]}}
    return {**line, **more}


class Writer:
    def __init__(self, archive, expected):
        self.archive, self.expected = archive, expected
        self.frames = [[]]
        self.previous = None

    def store(self, form, digest, data):
        if len(self.frames[-1]) >= 40 or form == "listing" and len(self.frames[-1]) % 3 == 0:
            self.frames.append([])
        self.frames[-1].append((f"{form}/{digest}", data))

    def item(self, source):
        """Stores an item given as bytes or as a recipe, and its expected bytes."""
        data = source
        if isinstance(source, Recipe):
            data = source.result
            for digest, blob in source.blobs.items():
                self.store("blob", digest, blob)
            self.store("recipe", sha256(data), source.data())
        else:
            self.store("blob", sha256(data), data)
        (self.expected / sha256(data)).write_bytes(data)
        return data

    def listing(self, lines, as_recipe=False):
        data = b"".join(map(dumps, lines))
        if as_recipe:
            half = len(data) // 2
            recipe = Recipe().copy(data[:half], data[half:])
            for digest, blob in recipe.blobs.items():
                self.store("blob", digest, blob)
            self.store("recipe", sha256(data), recipe.data())
        else:
            self.store("listing", sha256(data), data)
        return sha256(data)

    def account(self, name, collections):
        """`collections`: (path, kind, placements, stored as recipe?)."""
        lines = []
        for path, kind, placements, as_recipe in collections:
            ledger = {"found": len(placements), "captured": len(placements), "skipped": {}, "failed": {}, "bytes": sum(p["size"] for p in placements)}
            lines.append({"path": path, "kind": kind, "format": "maildir", "source_path": "/".join(path), "listing": self.listing(placements, as_recipe),
                          "items": len(placements), "ledger": ledger, "member of tomorrow": None})
        total = {"found": 0, "captured": 0, "skipped": {}, "failed": {}, "bytes": 0}
        for line in lines:
            for key in ("found", "captured", "bytes"):
                total[key] += line["ledger"][key]
        return {"account": name, "listing": self.listing(lines), "collections": len(lines), "ledger": total}

    def commit(self, created, accounts, folder):
        """Writes the packs, the root and the bag files; the latter two into `folder`."""
        half = len(self.frames) // 2
        for frames in (self.frames[:half], self.frames[half:]):
            if frames:
                pack(self.archive, frames)
        self.frames = [[]]
        accounts.sort(key=lambda a: a["account"].encode())
        ledger = {"found": 0, "captured": 0, "skipped": {}, "failed": {}, "bytes": 0}
        for account in accounts:
            for key in ("found", "captured", "bytes"):
                ledger[key] += account["ledger"][key]
        root = {"format": "floe snapshot", "version": 1, "created": created, "tool": {"name": "make_archive.py", "version": "1"},
                "previous": self.previous, "tree": sha256("".join(f"{a['listing']} {a['account']}\n" for a in accounts).encode()),
                "options": {"level": 3, "reread": False}, "sources": [{"path": "/srv/mail", "format": None}], "accounts": accounts,
                "leftovers": None, "directory": None, "ledger": ledger, "unknown": True}
        data = json.dumps(root, ensure_ascii=False, indent=2).encode() + b"\n"
        self.previous = sha256(data)
        stamp = created.replace("-", "").replace(":", "")
        (folder / "data/snapshots").mkdir(parents=True, exist_ok=True)
        (folder / f"data/snapshots/{stamp}-{self.previous[:12]}.json").write_bytes(data)
        bag(self.archive, folder)


def bag(archive, folder):
    """The bag files (section 2), for the payload as it is when `folder` is moved to its place."""
    payload = {p.relative_to(base).as_posix(): p.read_bytes() for base in (archive, folder) for p in (base / "data").rglob("*") if p.is_file()}
    files = {
        "bagit.txt": "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": f"Bag-Software-Agent: make_archive.py\nBagging-Date: 2026-11-22\nFloe-Archive-Version: 1\n"
                        f"Payload-Oxum: {sum(map(len, payload.values()))}.{len(payload)}\n",
        "manifest-sha256.txt": "".join(f"{sha256(data)}  {name}\n" for name, data in sorted(payload.items())),
        "README.txt": "An archive made by tests/tools/make_archive.py.\n",
        "restore.py": "# see src/archive/restore.py\n",
    }
    files["tagmanifest-sha256.txt"] = "".join(f"{sha256(text.encode())}  {name}\n" for name, text in sorted(files.items()))
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pending", action="store_true", help="leave the last commit in pending/")
    args = parser.parse_args()
    archive, expected = args.out / "archive", args.out / "expected"
    for folder in (archive / "data/packs", archive / "data/snapshots", expected):
        folder.mkdir(parents=True)
    writer = Writer(archive, expected)

    built = [writer.item(recipe) for recipe in recipes()]
    plain = [writer.item(data) for data in (b"", b"Subject: plain\n\nbody\n", b"no header", rng.randbytes(70_000), b"x" * (8 << 20))]
    # The same object again: as a recipe that names a blob of the wrong size (must not be used) and, good, in another frame.
    liar = b"R1\n" + varint(len(plain[1])) + b"\x01" + varint(1) + varint(5) + hashlib.sha256(plain[1]).digest()
    writer.store("recipe", sha256(plain[3]), liar)
    writer.frames.append([(f"blob/{sha256(plain[1])}", plain[1])])
    anna = [
        (["INBOX"], "mail", [placement(d, n, flags=["\\Seen"], keywords=["$Forwarded", "später"]) for n, d in enumerate(built)], False),
        (["Archiv", "Müller & Söhne"], "mail", [placement(d, n) for n, d in enumerate(plain + built)], True),
        (["Leer"], "mail", [], False),
    ]
    names = ["..", "../../escape", "/etc", "a/b", "a\\b", "con.txt", "", " ", ".", "INBOX", "inbox", "x" * 300, "\x1b[31mred", "e\u0301", "é", "\u202egnp"]
    boris = [([name], "mail", [placement(plain[1], 0)], False) for name in names]
    boris.append((["files"], "files", [placement(plain[3], n, source={"path": name}, mode=0o640) for n, name in enumerate(["../../x", "a b.bin", "ü" * 200])], False))
    writer.commit("2026-11-21T10:00:00Z", [writer.account("anna@acme.example", anna[:1]), writer.account("boris", boris)], archive)

    anna[2][2].append(placement(writer.item(b"Subject: new\n\nsecond snapshot\n"), 1))
    last = args.out / "last"
    writer.commit("2026-11-22T10:00:00Z", [writer.account("anna@acme.example", anna), writer.account("../carla", [])], last)
    pack(archive, [[("blob/" + sha256(b"left"), b"left")]], listed=False)      # of an interrupted run: in no manifest
    if args.pending:
        last.rename(archive / "pending")
    else:
        for path in sorted(p for p in last.rglob("*") if p.is_file()):
            path.rename(archive / path.relative_to(last))
    items = len(list(expected.iterdir()))
    print(f"{items} items, {sum(len(c[2]) for c in anna)} placements in the last snapshot")


if __name__ == "__main__":
    main()
