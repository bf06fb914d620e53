#!/usr/bin/env python3
"""restore.py ARCHIVE OUT: takes every item out of a floe archive. Needs Python 3 and the zstd command, nothing of floe.

Unpacks all objects to OUT/.objects, rebuilds every item of the newest snapshot as
OUT/<account>/<collection>/<number>-<sha256>, checks each SHA-256, and keeps the listing lines in placements.jsonl.
"""
import base64
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path


def safe(name):
    """A hostile name as one file name."""
    return re.sub(r"[^\w .,@()&+-]", "_", name)[:100].strip(". ") or "_"


def unpack(archive, objects):
    bad = 0
    objects.mkdir(parents=True)
    for pack in sorted((archive / "data/packs").glob("*.tar.zst")):
        with subprocess.Popen(["zstd", "-dcq", str(pack)], stdout=subprocess.PIPE) as zstd:
            try:
                tar = tarfile.open(fileobj=zstd.stdout, mode="r|")
                for entry in tar:
                    match = re.fullmatch(r"(blob|recipe|listing)/([0-9a-f]{64})", entry.name)
                    if match:
                        (objects / (match[2] + (".recipe" if match[1] == "recipe" else ""))).write_bytes(tar.extractfile(entry).read())
            except (tarfile.TarError, EOFError, OSError) as e:
                bad += 1
                print(f"damaged: {pack.name}: {e}", file=sys.stderr)
            zstd.stdout.close()
    return bad


def number(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return n, at


def rebuild(recipe, objects):
    assert recipe[:3] == b"R1\n", "not a recipe of version 1"
    size, at = number(recipe, 3)
    out = []
    while at < len(recipe):
        step = recipe[at]
        at += 1
        if step == 0:
            n, at = number(recipe, at)
            out.append(recipe[at:at + n])
            at += n
            continue
        line = eol = 0
        if step == 3:
            line, at = number(recipe, at)
            eol = recipe[at]
            at += 1
        count, at = number(recipe, at)
        blobs = []
        for _ in range(count):
            _, at = number(recipe, at)
            blobs.append((objects / recipe[at:at + 32].hex()).read_bytes())
            at += 32
        data = b"".join(blobs)
        if step == 2:
            data = data.replace(b"\n", b"\r\n")
        elif step == 3:
            data = base64.b64encode(data)
            if line:
                end = b"\r\n" if eol else b"\n"
                data = end.join(data[i:i + line] for i in range(0, len(data), line))
        out.append(data)
    result = b"".join(out)
    assert len(result) == size, "the recipe gives another size than it says"
    return result


def read(digest, objects):
    plain = objects / digest
    data = plain.read_bytes() if plain.exists() else rebuild((objects / (digest + ".recipe")).read_bytes(), objects)
    assert hashlib.sha256(data).hexdigest() == digest, "the digest is not the one it should be"
    return data


def lines(digest, objects):
    return [json.loads(line) for line in read(digest, objects).splitlines() if line]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    archive, out = Path(sys.argv[1]), Path(sys.argv[2])
    objects = out / ".objects"
    failed = unpack(archive, objects)
    done = 0
    roots = sorted((archive / "data/snapshots").glob("*.json")) + sorted((archive / "pending/data/snapshots").glob("*.json"))
    for account in json.loads(roots[-1].read_text())["accounts"]:
        for collection in lines(account["listing"], objects):
            folder = out / safe(account["account"])
            for segment in collection["path"]:
                folder /= safe(segment)
            folder.mkdir(parents=True, exist_ok=True)
            listing = lines(collection["listing"], objects)
            with open(folder / "placements.jsonl", "a", encoding="utf-8") as record:
                for i, item in enumerate(listing):
                    try:
                        path = folder / f"{i:06d}-{item['sha256']}"
                        path.write_bytes(read(item["sha256"], objects))
                        if "date" in item:
                            when = datetime.datetime.fromisoformat(item["date"]["at"].replace("Z", "+00:00")).timestamp()
                            os.utime(path, (when, when))
                        record.write(json.dumps(item, ensure_ascii=False) + "\n")
                        done += 1
                    except (OSError, AssertionError, IndexError) as e:
                        failed += 1
                        print(f"failed: {account['account']} {collection['path']} {item['source']}: {e}", file=sys.stderr)
    shutil.rmtree(objects)
    print(f"{done} items restored, {failed} failures")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
