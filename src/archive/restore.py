#!/usr/bin/env python3
"""Takes everything out of a floe archive without floe. Needs Python 3.8 or later and the command `zstd`, and the command `age`
for an encrypted archive.

  python3 restore.py ARCHIVE OUT                  the newest snapshot into the new folder OUT
  python3 restore.py ARCHIVE OUT --snapshot ID    another one (any part of its file name in data/snapshots/)
  python3 restore.py ARCHIVE OUT --account NAME   one account only
  python3 restore.py ARCHIVE OUT --objects        every object, when data/snapshots/ is lost
  python3 restore.py ARCHIVE --check              writes nothing; reads and checks everything
  ... --identity FILE                             the age key that opens an encrypted archive; may be given again

Items become OUT/ACCOUNT/COLLECTION/NNNNNN-<SHA-256>.eml (.ics, .vcf; a plain file's own name follows); the file time is
the internal date. OUT/ACCOUNT/placements.jsonl tells flags, keywords, dates and the original names. Every SHA-256 is
checked. What is damaged or missing is named on stderr, and the rest goes on.

Exit code: 0 all well, 1 finished but something is damaged or missing, 2 could not be done, 64 wrong usage.

How it works (README.txt describes the format in short, floe's docs/format.md in full): a pack is a tar archive cut into
zstd frames. Pass one walks the frames of all packs and notes where each entry lies. Pass two follows the snapshot: root ->
account listings -> collection listings -> items. An item is an entry blob/<sha256>, or a recipe/<sha256> that builds it
from literal bytes and blobs. index/ is never used. Memory: about 250 bytes an object, and 400 MiB. Encrypted packs are
decrypted into nameless files in the folder for temporary files (TMPDIR), up to 2 GiB at a time.
"""
import argparse
import base64
import collections
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata

MIB = 1 << 20
FRAME_MAX = 32 * MIB        # decompressed; the format allows 16 MiB of entries
BATCH = 64 * MIB            # decompressed bytes that one zstd process gets
CACHE = 192 * MIB           # decompressed frames kept in memory
LINE_MAX = 16 * MIB         # one line of a listing
CLEAR_MAX = 2048 * MIB      # decrypted packs on the disk
ZSTD_MAGIC, SKIP_MAGIC = b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class Damage(Exception):
    """Something that is missing, damaged or not understood."""


def say(text):
    """To stderr, with nothing in it that a terminal would obey: names in an archive are not to be trusted."""
    print("".join(c if c.isprintable() else "?" for c in text), file=sys.stderr)


# ------------------------------------------------------------------------------------------------- frames and packs

def frame_at(file, start):
    """(end, content size) of the zstd or skippable frame at `start`, by its block headers (RFC 8878 3.1)."""
    file.seek(start)
    head = file.read(18)
    if len(head) >= 8 and head[1:4] == SKIP_MAGIC and head[0] & 0xF0 == 0x50:
        return start + 8 + int.from_bytes(head[4:8], "little"), None
    if head[:4] != ZSTD_MAGIC or len(head) < 9:
        raise Damage("no frame here")
    flags = head[4]
    single_segment, has_checksum = flags >> 5 & 1, flags >> 2 & 1
    at = 5 + (not single_segment) + (0, 1, 2, 4)[flags & 3]
    size_bytes = (single_segment, 2, 4, 8)[flags >> 6]
    content = int.from_bytes(head[at:at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
    if not size_bytes or content > FRAME_MAX:
        raise Damage("a frame without its size, or too large")
    at += start + size_bytes
    last = 0
    while not last:
        file.seek(at)
        block = file.read(3)
        if len(block) < 3:
            raise Damage("the frame is cut")
        block = int.from_bytes(block, "little")
        last, kind = block & 1, block >> 1 & 3
        if kind == 3:
            raise Damage("a broken block header")
        at += 3 + (1 if kind == 1 else block >> 3)
    return at + 4 * has_checksum, content


def next_frame(file, start, end):
    """Where a frame begins at or after `start`; `end` if nowhere."""
    while start < end:
        file.seek(start)
        data = file.read(4 * MIB)
        found = data.find(ZSTD_MAGIC)
        if found >= 0:
            return start + found
        start += max(len(data) - 3, 1)
    return end


def frames_of(file, complain):
    """Yields (start, end, content size) of the frames with data; finds its way again after a damaged one."""
    end = file.seek(0, os.SEEK_END)
    start = 0
    while start < end:
        try:
            stop, content = frame_at(file, start)
            file.seek(min(stop, end))
            mark = file.read(4)
            if stop > end or stop < end and mark != ZSTD_MAGIC and mark[1:] != SKIP_MAGIC:
                raise Damage("no frame follows")        # so a length in this frame is wrong: do not jump by it
        except Damage as why:
            complain(f"at byte {start}: {why}")
            start = next_frame(file, start + 4, end)
            continue
        if content is not None:
            yield start, stop, content
        start = stop


def unzstd(data, expected):
    """The decompressed bytes, or None when that fails. zstd checks the frame checksums."""
    run = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return run.stdout if run.returncode == 0 and len(run.stdout) == expected else None


def entries_of(data, at=0):
    """Yields (offset of the header, name, offset of the data, size) of the tar entries in a decompressed frame."""
    while at < len(data):
        header = data[at:at + 512]
        if not any(header):
            return
        try:
            right = int(header[148:156].strip(b"\0 "), 8) == sum(header) - sum(header[148:156]) + 8 * 32
            size = int(header[124:136].strip(b"\0 "), 8)
        except ValueError:
            right, size = False, 0
        if not right or size < 0 or at + 512 + size > len(data):
            raise Damage("a broken tar header")
        yield at, header[:100].rstrip(b"\0").decode("ascii", "replace"), at + 512, size
        at += 512 + (size + 511) // 512 * 512


class Archive:
    """All packs of an archive: where each object lies, and its bytes."""

    def __init__(self, folder, identities=()):
        self.folder, self.problems, self.gone = folder, 0, 0
        self.keys = [word for file in identities for word in ("-i", file)]
        self.clear = collections.OrderedDict()          # path of an encrypted pack -> its content in a nameless file
        self.frames = []                # (path of the pack, start, end, content size)
        self.where = {}                 # digest -> number of the frame * 65536 + number of the header's block in it
        self.spare = collections.defaultdict(list)      # digest -> further places of the same object
        self.cache, self.cached_bytes = collections.OrderedDict(), 0
        packs = os.path.join(folder, "data", "packs")
        listed = self.manifest("manifest-sha256.txt")
        for name in sorted(os.listdir(packs)) if os.path.isdir(packs) else []:
            if name.endswith((".tar.zst", ".tar.zst.age")):
                # A pack that the manifest does not list is left over from an interrupted run. What is good in it does
                # no harm (the name of an object is its digest), and what is bad in it is no loss.
                try:
                    self.scan(os.path.join(packs, name), not listed or f"data/packs/{name}" in listed)
                except OSError as why:
                    self.problem(f"pack {name}: {why}")
        self.removed = self.tombstones(listed)

    def problem(self, text):
        self.problems += 1
        say("damaged: " + text)

    def missing(self, digest, text):
        """An object cannot be had: damage, or what a tombstone says (docs/format.md section 12)."""
        if not isinstance(digest, str) or digest not in self.removed:
            return self.problem(text)
        self.gone += 1
        return say(f"removed for good, says {self.removed[digest]}: {text}")

    def tombstones(self, listed):
        """{digest of an object that was removed for good: the file that says so}. That it is signed is for ssh-keygen to check."""
        removed = {}
        for name in listed:
            if name.startswith("data/tombstones/") and name.endswith((".json", ".json.age")):
                try:
                    with open(self.path(name), "rb") as file:
                        said = json.loads(self.decrypted(file.read(), name))
                    removed.update((digest, name) for digest in said["objects"])
                except (Damage, ValueError, OSError, LookupError, TypeError, AttributeError, RecursionError) as why:
                    self.problem(f"{name}: {why}")
        return removed

    def decrypted(self, data, name):
        """What a small file holds."""
        if not name.endswith(".age"):
            return data
        run = subprocess.run(["age", "-d", *self.keys], input=data, capture_output=True, check=False)
        if run.returncode:
            raise Damage((run.stderr.decode(errors="replace").strip().splitlines() or ["age fails"])[0])
        return run.stdout

    def opened(self, path, complain=None):
        """A pack to read from. age gives what comes before a damage, and that is used; the last packs are kept."""
        if not path.endswith(".age"):
            return open(path, "rb")
        if path in self.clear:
            self.clear.move_to_end(path)
        else:
            file = tempfile.TemporaryFile()
            run = subprocess.run(["age", "-d", *self.keys, path], stdout=file, stderr=subprocess.PIPE, check=False)
            if run.returncode and complain:
                complain(run.stderr.decode(errors="replace").strip().splitlines()[0] if run.stderr else "age fails")
            self.clear[path] = file
            while len(self.clear) > 1 and sum(os.fstat(f.fileno()).st_size for f in self.clear.values()) > CLEAR_MAX:
                self.clear.popitem(last=False)[1].close()
        return open(os.dup(self.clear[path].fileno()), "rb")

    def path(self, name):
        """A file's place: when a commit was interrupted, the files in pending/ count (docs/format.md section 9)."""
        pending = os.path.join(self.folder, "pending", name)
        return pending if os.path.exists(pending) else os.path.join(self.folder, name)

    def manifest(self, name):
        """{path: SHA-256} of a BagIt manifest."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as lines:
                pairs = [line.rstrip("\r\n").split(None, 1) for line in lines]
            return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}
        except FileNotFoundError:
            return {}

    def scan(self, path, counts):
        """Pass one over one pack."""
        def complain(text):
            if counts:
                self.problem(f"pack {os.path.basename(path)}: {text}")
        found, trailer, entries, number = [], None, 0, len(self.frames)
        with self.opened(path, complain) as file:
            self.frames.extend((path,) + frame for frame in frames_of(file, complain))
            while number < len(self.frames):
                batch, size = [], 0
                while number + len(batch) < len(self.frames) and size < BATCH:
                    _, start, end, content = self.frames[number + len(batch)]
                    file.seek(start)
                    batch.append((file.read(end - start), content))
                    size += content
                data, at = unzstd(b"".join(packed for packed, _ in batch), size), 0
                for packed, content in batch:
                    # When a batch fails, its frames are tried one by one, so that only the bad ones are lost.
                    frame = data[at:at + content] if data is not None else unzstd(packed, content)
                    at += content
                    try:
                        if frame is None:
                            raise Damage("does not decompress")
                        for header, name, start, length in entries_of(frame):
                            if name == "pack.json":
                                trailer = json.loads(frame[start:start + length])
                                continue
                            entries += 1
                            form, _, digest = name.partition("/")
                            if form in ("blob", "recipe", "listing") and DIGEST.match(digest):
                                found.append((bytes.fromhex(digest), number << 16 | header >> 9))
                    except (Damage, ValueError, RecursionError) as why:
                        complain(f"frame at byte {self.frames[number][1]}: {why}")
                    number += 1
        if not isinstance(trailer, dict):
            complain("its end is missing")
        elif trailer.get("version") != 1:
            self.problem(f"pack {os.path.basename(path)}: version {trailer.get('version')} is not known to this program")
            return
        elif trailer.get("entries") != entries:
            complain(f"{entries} of its {trailer.get('entries')} entries can be read")
        for digest, place in found:
            if self.where.setdefault(digest, place) != place:
                self.spare[digest].append(place)

    def frame(self, number):
        if number in self.cache:
            self.cache.move_to_end(number)
            return self.cache[number]
        path, start, end, content = self.frames[number]
        with self.opened(path) as file:
            file.seek(start)
            data = unzstd(file.read(end - start), content)
        if data is None:
            raise Damage("its frame does not decompress")
        self.cache[number] = data
        self.cached_bytes += len(data)
        while self.cached_bytes > CACHE and len(self.cache) > 1:
            self.cached_bytes -= len(self.cache.popitem(last=False)[1])
        return data

    def entries(self, digest):
        """Yields (form, bytes) of each entry of an object."""
        places = ([self.where[digest]] if digest in self.where else []) + self.spare.get(digest, [])
        for place in places:
            try:
                data = self.frame(place >> 16)
            except (Damage, OSError):
                continue
            for _, name, start, size in entries_of(data, (place & 0xFFFF) << 9):
                yield name.partition("/")[0], data[start:start + size]
                break

    def blob(self, digest, size):
        """A blob's bytes, checked."""
        for form, data in self.entries(digest):
            if form != "recipe" and len(data) == size and hashlib.sha256(data).digest() == digest:
                return data
        raise Damage(f"blob {digest.hex()} is missing or damaged")

    def write(self, digest, out):
        """Writes an object's bytes to the file `out`, checked; returns how many. Tries each of its entries."""
        why, beginning = Damage("no entry of it can be read"), out.tell()
        for form, data in self.entries(digest):
            try:
                out.seek(beginning)
                out.truncate()
                sha256, size = hashlib.sha256(), 0
                for piece in self.rebuild(data) if form == "recipe" else [data]:
                    sha256.update(piece)
                    size += out.write(piece)
                if sha256.digest() == digest:
                    return size
                raise Damage("its SHA-256 is wrong")
            except Damage as problem:
                why = problem
        raise why

    # ------------------------------------------------------------------------------------------------------ recipes

    def rebuild(self, recipe):
        """Yields the bytes that a recipe builds (docs/format.md section 4), piece by piece."""
        if recipe[:3] != b"R1\n":
            raise Damage("a recipe of an unknown version")
        at = 3

        def take(count):
            nonlocal at
            at += count
            if at > len(recipe):
                raise Damage("the recipe is cut")
            return recipe[at - count:at]

        def varint():
            number = 0
            for shift in range(0, 70, 7):
                byte = take(1)[0]
                number |= (byte & 0x7F) << shift
                if byte < 0x80:
                    return number
            raise Damage("a broken number in the recipe")

        left = varint()
        while at < len(recipe):
            op = take(1)[0]
            if op == 0:
                pieces = [take(varint())]
            elif op in (1, 2, 3):
                line, eol = (varint(), take(1)[0]) if op == 3 else (0, 0)
                blobs = (self.blob(digest, size) for size, digest in [(varint(), take(32)) for _ in range(varint())])
                if op == 1:
                    pieces = blobs
                elif op == 2:
                    pieces = (blob.replace(b"\n", b"\r\n") for blob in blobs)
                else:
                    pieces = encode(blobs, line, b"\r\n" if eol & 1 else b"\n")
            else:
                raise Damage(f"step {op} of the recipe is not known to this program")
            for piece in pieces:
                left -= len(piece)
                if left < 0:
                    break
                yield piece
        if left:
            raise Damage("the recipe gives another size than it says")

    # ----------------------------------------------------------------------------------------------------- listings

    def lines(self, digest, what):
        """The lines of a listing; none, and a complaint, if it is not whole."""
        with tempfile.SpooledTemporaryFile(32 * MIB) as file:
            try:
                if not isinstance(digest, str) or not DIGEST.match(digest):
                    raise Damage("it has no digest")
                self.write(bytes.fromhex(digest), file)
            except Damage as why:
                self.missing(digest, f"{what}: {why}")
                return
            file.seek(0)
            for line in iter(lambda: file.readline(LINE_MAX), b""):
                try:
                    line = json.loads(line)
                    if not isinstance(line, dict):
                        raise ValueError("not an object")
                    yield line
                except (ValueError, RecursionError) as why:
                    self.problem(f"{what}: a line is malformed: {why}")

    def snapshots(self):
        """{name: root}, oldest first."""
        roots = {}
        for folder in (self.folder, os.path.join(self.folder, "pending")):
            folder = os.path.join(folder, "data", "snapshots")
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                try:
                    with open(os.path.join(folder, name), "rb") as file:
                        data = file.read()
                    base, end, encrypted = name.partition(".json")
                    if not end or encrypted not in ("", ".age"):
                        raise Damage("not a snapshot that this program can read")
                    if hashlib.sha256(data).hexdigest()[:12] != base.rpartition("-")[2]:
                        raise Damage("its SHA-256 is not the one in its name")
                    root = json.loads(self.decrypted(data, name))
                    if root.get("version") != 1 or not all(isinstance(a, dict) for a in root["accounts"]):
                        raise Damage("its version is not known to this program")
                    roots[base] = root
                except (Damage, ValueError, OSError, LookupError, TypeError, AttributeError, RecursionError) as why:
                    self.problem(f"snapshot {name}: {why}")
        return dict(sorted(roots.items()))


def originals_of(collection):
    """Files of several items (a calendar of many events) that were kept whole as well."""
    listed = collection.get("originals")
    return [form for form in listed if isinstance(form, dict)] if isinstance(listed, list) else []


def encode(blobs, line, end):
    """base64 in lines of `line` characters (0: one line), which `end` parts; the last one has no end."""
    rest, column = b"", 0
    for blob in blobs:
        rest += blob
        whole = len(rest) // 3 * 3
        text, rest = base64.b64encode(rest[:whole]), rest[whole:]
        yield fold(text, line, column, end)
        column += len(text)
    yield fold(base64.b64encode(rest), line, column, end)


def fold(text, line, column, end):
    """`text` in lines, when `column` characters came before it. A line end comes before a character, so never last."""
    if not line or not text:
        return text
    room = -column % line       # what still fits into the line begun
    folded = end.join([text[:room]] + [text[i:i + line] for i in range(room, len(text), line)])
    return folded if column else folded[len(end):]


# ----------------------------------------------------------------------------------------------------------- restore

def safe(name):
    """One file name out of any text; never empty, `.`, `..`, a device of Windows, or a name like those of the items."""
    name = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in str(name))
    name = name.encode()[:80].decode(errors="ignore").strip(" .") or "_"
    reserved = re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|\Z)|\d{6,}-|original-", name, re.I)
    return "_" + name if reserved else name


class Nowhere:
    """A file for what is only to be checked."""
    write = staticmethod(len)
    tell = seek = truncate = staticmethod(lambda *_: 0)


class Restore:
    """Writes a snapshot into a folder."""

    def __init__(self, archive, out):
        self.archive, self.out, self.done, self.failed = archive, out, 0, 0
        self.folders, self.taken, self.numbers = {}, set(), collections.Counter()

    def folder(self, parent, name):
        """A folder for a hostile name; different names get different folders, on Windows and macOS too."""
        if (parent, name) not in self.folders:
            path, n = os.path.join(parent, safe(name)), 1
            while unicodedata.normalize("NFC", path).casefold() in self.taken:
                n += 1
                path = os.path.join(parent, f"{safe(name)}~{n}")
            self.taken.add(unicodedata.normalize("NFC", path).casefold())
            os.makedirs(path)
            self.folders[parent, name] = path
        return self.folders[parent, name]

    def file(self, path, form, what):
        """Writes one object to a file. True if all is well."""
        try:
            digest, size = form.get("sha256"), form.get("size")
            if not isinstance(digest, str) or not DIGEST.match(digest):
                raise Damage("it has no digest")
            try:
                with open(path, "xb") as file:
                    if self.archive.write(bytes.fromhex(digest), file) != size:
                        raise Damage("its size is not the one in the listing")
            except Damage:
                os.remove(path)
                raise
            self.done += 1
            return True
        except Damage as why:
            self.failed += 1
            say(f"failed: {what}: {why}")
            return False

    def account(self, entry):
        name = str(entry.get("account"))
        home = self.folder(self.out, name)
        self.taken.update(os.path.join(home, f).casefold() for f in ("placements.jsonl", "exceptions.jsonl"))
        with open(os.path.join(home, "placements.jsonl"), "w", encoding="utf-8") as record:
            for collection in self.archive.lines(entry.get("listing"), f"collections of {name}"):
                path = collection.get("path") if isinstance(collection.get("path"), list) else []
                what, folder = f"{name}: {'/'.join(map(str, path))}", home
                for part in path[:20]:
                    folder = self.folder(folder, str(part))
                for line in self.archive.lines(collection.get("listing"), what):
                    file = self.item(folder, collection.get("kind"), line, what)
                    line.update(collection=path, file=file and os.path.relpath(file, self.out))
                    record.write(json.dumps(line) + "\n")
                for original in originals_of(collection):
                    base = safe(os.path.basename(str(original.get("path"))))
                    file = os.path.join(folder, f"original-{str(original.get('sha256'))[:8]}-{base}")
                    if not os.path.exists(file):
                        self.file(file, original, f"{what}: {original.get('path')}")
                self.exceptions(collection.get("exceptions"), home, what)

    def item(self, folder, kind, line, what):
        """One placement; returns the file, or None."""
        self.numbers[folder] += 1
        source = line.get("source") if isinstance(line.get("source"), dict) else {}
        if kind == "mail":
            end = ".eml"
        elif line.get("component"):
            end = ".vcf" if line["component"] == "VCARD" else ".ics"
        else:
            end = "-" + safe(os.path.basename(str(source.get("path"))))
        file = os.path.join(folder, f"{self.numbers[folder]:06}-{line.get('sha256')}{end}")
        if not self.file(file, line, f"{what}: {json.dumps(source, ensure_ascii=False)}"):
            return None
        try:
            time = datetime.datetime.fromisoformat(line["date"]["at"].replace("Z", "+00:00")).timestamp()
            os.utime(file, (time, time))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
            pass        # an item without a date
        return file

    def exceptions(self, digest, folder, what):
        """What was not captured, kept as the archive tells it."""
        if digest:
            with open(os.path.join(folder, "exceptions.jsonl"), "a", encoding="utf-8") as record:
                record.writelines(json.dumps(line) + "\n" for line in self.archive.lines(digest, f"exceptions of {what}"))


def objects(archive, out):
    """Every object as a file named by its digest."""
    restore = Restore(archive, out)
    for digest, place in sorted(archive.where.items(), key=lambda pair: pair[1]):
        folder = os.path.join(out, digest.hex()[:2])
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, digest.hex()), "wb") as file:
            try:
                archive.write(digest, file)
                restore.done += 1
                continue
            except Damage as why:
                restore.failed += 1
                say(f"failed: object {digest.hex()}: {why}")
        os.remove(file.name)
    return restore


def check(archive, roots):
    """Reads everything and writes nothing; returns how many objects are good."""
    for manifest in ("tagmanifest-sha256.txt", "manifest-sha256.txt"):
        for name, digest in archive.manifest(manifest).items() or [(manifest, "")]:
            sha256 = hashlib.sha256()
            try:
                with open(archive.path(name), "rb") as file:
                    for data in iter(lambda: file.read(MIB), b""):
                        sha256.update(data)
                if sha256.hexdigest() != digest:
                    archive.problem(f"{name}: its SHA-256 is not the one in {manifest}")
            except OSError as why:
                archive.problem(f"{name}: {why}")
    good = set()
    for digest, place in sorted(archive.where.items(), key=lambda pair: pair[1]):
        try:
            archive.write(digest, Nowhere)
            good.add(digest.hex())
        except Damage as why:
            archive.problem(f"object {digest.hex()}: {why}")
    known = {name.rpartition("-")[2] for name in roots}
    for name, root in roots.items():
        tree = "".join(f"{a.get('listing')} {a.get('account')}\n" for a in root["accounts"])
        if hashlib.sha256(tree.encode("utf-8", "surrogatepass")).hexdigest() != root.get("tree"):
            archive.problem(f"snapshot {name}: its tree does not match its accounts")
        if root.get("previous") and str(root["previous"])[:12] not in known:
            archive.problem(f"snapshot {name}: the one before it is missing")
        for account in root["accounts"]:
            for collection in archive.lines(account.get("listing"), f"collections of {account.get('account')}"):
                what = f"snapshot {name}: {account.get('account')}: {collection.get('path')}"
                lines = archive.lines(collection.get("listing"), what)
                missing = [line for line in [*lines, *originals_of(collection)] if str(line.get("sha256")) not in good]
                for line in missing:
                    archive.missing(line.get("sha256"), f"{what}: item {line.get('sha256')} is missing or damaged")
    return len(good)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        say(message)
        self.print_usage(sys.stderr)
        sys.exit(64)


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", metavar="ARCHIVE")
    parser.add_argument("out", metavar="OUT", nargs="?")
    parser.add_argument("--snapshot", metavar="ID")
    parser.add_argument("--account", metavar="NAME")
    parser.add_argument("--identity", metavar="FILE", action="append", default=[], help="age key of an encrypted archive")
    parser.add_argument("--objects", action="store_true", help="every object, named by its SHA-256")
    parser.add_argument("--check", action="store_true", help="read and check everything, write nothing")
    args = parser.parse_args()
    if bool(args.out) == args.check:
        parser.error("give OUT, or --check and no OUT")
    if not os.path.isdir(os.path.join(args.archive, "data")):
        parser.error(f"{args.archive} is no floe archive: it has no folder data")
    if not shutil.which("zstd"):
        say("the command zstd is missing; install it (Debian: apt-get install zstd)")
        return 2
    if any(name.endswith(".age") for _, _, names in os.walk(os.path.join(args.archive, "data")) for name in names):
        if not shutil.which("age"):
            say("the archive is encrypted, and the command age is missing; install it (Debian: apt-get install age)")
            return 2
        if not args.identity:
            say("the archive is encrypted: give --identity FILE with the age key of one of its recipients; where it has a "
                "passphrase, get that key with: age -d ARCHIVE/keys/archive.key.age > FILE")
            return 2
    if args.out and os.path.lexists(args.out) and (not os.path.isdir(args.out) or os.listdir(args.out)):
        parser.error(f"{args.out} is there already and not an empty folder")
    archive = Archive(args.archive, args.identity)
    roots = archive.snapshots()
    if args.check:
        good = check(archive, roots)
        gone = f", {archive.gone} removed for good" if archive.gone else ""
        print(f"{good} objects and {len(roots)} snapshots are good, {archive.problems} problems{gone}")
        return 1 if archive.problems or archive.gone or not roots else 0
    if args.objects:
        restore = objects(archive, args.out)
    else:
        before = {str(root.get("previous"))[:12] for root in roots.values()}
        newest = [name for name in roots if name.rpartition("-")[2] not in before][-1:]
        named = [name for name in roots if args.snapshot in name] if args.snapshot else newest
        if len(named) != 1:
            say(f"{len(named)} snapshots match; there are: {', '.join(roots) or 'none (--objects takes out all there is)'}")
            return 2
        accounts = [a for a in roots[named[0]]["accounts"] if args.account in (None, a.get("account"))]
        if args.account and not accounts:
            say(f"no account {args.account} in snapshot {named[0]}")
            return 2
        restore = Restore(archive, args.out)
        os.makedirs(args.out, exist_ok=True)
        for account in accounts:
            restore.account(account)
        restore.exceptions(roots[named[0]].get("leftovers"), args.out, "no account")
    print(f"{restore.done} {'objects' if args.objects else 'items'} restored, {restore.failed} failed, "
          f"{archive.problems} other problems")
    if archive.problems and not args.objects:
        say("--objects takes out all that can still be read, whether a listing names it or not")
    return 1 if restore.failed or archive.problems or archive.gone else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        say(f"stopped: {error}")
        sys.exit(2)
