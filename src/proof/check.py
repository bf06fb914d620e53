#!/usr/bin/env python3
"""Checks the evidence in this folder. Needs Python 3.6 or later; where the command ssh-keygen is there, signatures are checked too.

  python3 check.py                        all that can be checked from the folder alone
  python3 check.py --root SHA256          also: the root is the one with this fingerprint (spaces and case do not matter)
  python3 check.py --signed-by KEY.pub    also: the holder of this SSH key has signed the root; may be given again

Exit code: 0 PASS, 1 PASS WITH EXCEPTIONS (nothing is wrong, but something could not be checked), 2 FAIL, 64 wrong usage.

How the proof goes, in steps that anybody can repeat: the SHA-256 of the item stands in the placement's line; the line, a
nonce and some hashes give the root of its folder's tree (RFC 6962); that root stands in the collection's line, which in
the same way gives the root of the tree over all folders; that one stands in the snapshot's root file; the root file is
what people signed. Where that file is encrypted (.age), one line of its header is the hash of a nonce and the statement in
proof.json, and the statement has the root of the tree; nothing is decrypted. The hashes beside the way are of lines with secret nonces, so nothing can be learned from them.
"""
import argparse
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
HEX = re.compile(r"[0-9a-f]{64}\Z")


class Wrong(Exception):
    """Something that does not agree."""


def say(text):
    """To the terminal, with nothing in it that a terminal would obey."""
    text = "".join(c if c.isprintable() else "?" for c in str(text))
    print(text.encode(sys.stdout.encoding or "ascii", "replace").decode(sys.stdout.encoding or "ascii"))


def path_of(*names):
    if not all(NAME.match(name) for name in names):
        raise Wrong("a file name is not one that a bundle has: %r" % (names,))
    return os.path.join(HERE, *names)


def read(*names):
    with open(path_of(*names), "rb") as file:
        return file.read()


def sha256_of_file(name):
    digest, size = hashlib.sha256(), 0
    with open(path_of(name), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def unhex(text):
    if not isinstance(text, str) or not HEX.match(text):
        raise Wrong("not a SHA-256 digest: %r" % (text,))
    return bytes.fromhex(text)


def root_of(proof):
    """The root of the tree that has this leaf, by RFC 9162 section 2.1.3.2."""
    at, last, size = proof["index"], proof["size"] - 1, proof["size"]
    if not (isinstance(at, int) and isinstance(size, int) and 0 <= at < size):
        raise Wrong("the leaf's number is not in its tree")
    line = hashlib.sha256(proof["line"].encode("utf-8")).digest()
    node = hashlib.sha256(b"\0" + unhex(proof["nonce"]) + line).digest()
    for beside in map(unhex, proof["path"]):
        if last == 0:
            raise Wrong("the proof has too many hashes")
        if at & 1 or at == last:
            node = hashlib.sha256(b"\1" + beside + node).digest()
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + beside).digest()
        at, last = at >> 1, last >> 1
    if last != 0:
        raise Wrong("the proof has too few hashes")
    return node.hex()


def check_item(proof):
    """The item, and the way from it to the root file; gives the root and the two lines."""
    if proof.get("format") != "floe evidence" or proof.get("version") != 1:
        raise Wrong("proof.json is of a format that this script does not know")
    placement, collection = json.loads(proof["placement"]["line"]), json.loads(proof["collection"]["line"])
    digest, size = sha256_of_file(proof["item"]["file"])
    if not (digest, size) == (placement["sha256"], placement["size"]) == (proof["item"]["sha256"], proof["item"]["size"]):
        raise Wrong("%s is not the item that was captured: its SHA-256 is %s" % (proof["item"]["file"], digest))
    say("ok    %s has the SHA-256 %s" % (proof["item"]["file"], digest))
    if root_of(proof["placement"]) != collection["merkle"] or proof["placement"]["size"] != collection["items"]:
        raise Wrong("the placement is not in the collection's tree")
    say("ok    it is item %d of %d in its collection's tree" % (proof["placement"]["index"] + 1, collection["items"]))
    raw = read(proof["root"]["file"])
    if hashlib.sha256(raw).hexdigest() != proof["root"]["sha256"]:
        raise Wrong("the root file is not the one of this proof")
    if not proof["root"]["file"].startswith(stem_of(proof) + ".json") or not stem_of(proof).endswith(proof["root"]["sha256"][:12]):
        raise Wrong("the root file is not the one that its name says")
    encrypted = proof["root"]["file"].endswith(".age")
    root = stated(proof, raw) if encrypted else json.loads(raw.decode("utf-8"))
    merkle = root["merkle"]
    format = "floe statement" if encrypted else "floe snapshot"
    if root["format"] != format or root["version"] != 1 or merkle["tree"] != "rfc6962-sha256":
        raise Wrong("the root file is of a format that this script does not know")
    if root_of(proof["collection"]) != merkle["root"] or proof["collection"]["size"] != merkle["size"]:
        raise Wrong("the collection is not in the snapshot's tree")
    if not encrypted and collection["account"] not in [account["account"] for account in root["accounts"]]:
        raise Wrong("the snapshot has no such account")
    say("ok    the collection is in the tree of the snapshot of %s" % root["created"])
    return root, placement, collection


def stated(proof, raw):
    """What an encrypted root file says of its trees: the statement that the one line for it in the file's header commits to."""
    header, end, _ = raw.partition(b"\n--- ")
    lines = [line.split(b" ") for line in header.split(b"\n") if line.startswith(b"-> floe-statement ")]
    if not header.startswith(b"age-encryption.org/v1\n") or not end or len(lines) != 1 or len(lines[0]) != 3:
        raise Wrong("the root file states nothing in its header")
    line, nonce = proof["statement"]["line"], unhex(proof["statement"]["nonce"])
    leaf = hashlib.sha256(b"\0" + nonce + hashlib.sha256(line.encode("utf-8")).digest()).hexdigest()
    if lines[0][2] != leaf.encode("ascii"):
        raise Wrong("the statement is not the one that the root file commits to")
    say("ok    the encrypted root file commits to the statement in proof.json")
    return json.loads(line)


def stem_of(proof):
    return re.sub(r"\.json(\.age)?\Z", "", proof["root"]["file"])


def key_of(signature):
    """The public key in an SSHSIG (OpenSSH, PROTOCOL.sshsig), which must be written as ssh-keygen writes it, to the last bit."""
    text = re.search(rb"-----BEGIN SSH SIGNATURE-----(.*?)-----END SSH SIGNATURE-----", signature, re.S)
    blob = base64.b64decode(text.group(1)) if text else b""
    code = base64.b64encode(blob)
    lines = b"".join(code[at:at + 70] + b"\n" for at in range(0, len(code), 70))
    if signature != b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"-----END SSH SIGNATURE-----\n":
        raise Wrong("a file in signatures/ is no SSH signature, or not as it was written")
    length = int.from_bytes(blob[10:14], "big")
    if blob[:10] != b"SSHSIG\0\0\0\1" or len(blob) < 14 + length:
        raise Wrong("a file in signatures/ is no SSH signature of version 1")
    return blob[14:14 + length]


def check_signatures(proof):
    """Checks all signatures; gives the keys of those that hold, and how many could not be checked."""
    folder, held, unchecked = os.path.join(HERE, "signatures"), [], 0
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        signature = read("signatures", name)
        parts = re.match(re.escape(stem_of(proof)) + r"\.([a-z]+)\.([0-9a-f]{16})\.sig\Z", name)
        if not parts:
            raise Wrong("signatures/%s is not of this root" % name)
        key = key_of(signature)
        if hashlib.sha256(key).hexdigest()[:16] != parts.group(2):
            raise Wrong("signatures/%s is by another key than its name says" % name)
        shown = "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
        if not shutil.which("ssh-keygen"):
            say("?     signatures/%s, key %s: not checked, ssh-keygen is not here" % (name, shown))
            unchecked += 1
            continue
        command = ["ssh-keygen", "-Y", "check-novalidate", "-n", "floe-root-" + parts.group(1), "-s", path_of("signatures", name)]
        with open(path_of(proof["root"]["file"]), "rb") as root:
            ran = subprocess.run(command, stdin=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if ran.returncode != 0:
            raise Wrong("signatures/%s does not hold for this root" % name)
        say("ok    signed by the %s with the key %s" % (parts.group(1), shown))
        held.append(key)
    return held, unchecked


def check_timestamps(proof):
    folder = os.path.join(HERE, "timestamps")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.endswith(".tsr"):
            continue
        if not name.startswith(stem_of(proof) + ".") or unhex(proof["root"]["sha256"]) not in read("timestamps", name):
            raise Wrong("timestamps/%s is not of this root" % name)
        say("?     timestamps/%s speaks of this root; who gave it is checked with its authority's certificate:" % name)
        say("      openssl ts -verify -data %s -in timestamps/%s -CAfile CA.pem" % (proof["root"]["file"], name))


def check(args):
    proof = json.loads(read("proof.json").decode("utf-8"))
    root, placement, collection = check_item(proof)
    held, unchecked = check_signatures(proof)
    for file in args.signed_by:
        with open(file, "rb") as public:
            wanted = base64.b64decode((public.read().split() + [b"", b""])[1])
        if wanted not in held:
            raise Wrong("no signature here that was checked is by the key in %s" % file)
        say("ok    the key in %s is one of those" % file)
    if args.root:
        if re.sub(r"[^0-9a-f]", "", args.root.lower()) != proof["root"]["sha256"]:
            raise Wrong("the root has another fingerprint: %s" % proof["root"]["sha256"])
        say("ok    the root has the fingerprint that was given")
    check_timestamps(proof)
    say("")
    say("item          %s, %d bytes" % (proof["item"]["file"], placement["size"]))
    say("account       %s" % collection["account"])
    say("collection    %s" % " / ".join(collection["path"]))
    if "date" in placement:
        say("date          %s (from: %s)" % (placement["date"]["at"], placement["date"]["rule"]))
    say("captured      %s by %s %s" % (root["created"], root["tool"]["name"], root["tool"]["version"]))
    digest = proof["root"]["sha256"]
    say("root          %s" % " ".join(digest[i:i + 4] for i in range(0, 64, 4)))
    if held or args.root:
        if unchecked:
            say("PASS WITH EXCEPTIONS: the item is in this root, but %d signatures were not checked" % unchecked)
            return 1
        say("PASS: the item is in this root%s" % (", which %d signatures hold for" % len(held) if held else ""))
        return 0
    say("PASS WITH EXCEPTIONS: the item is in this root, but %s; compare the root's fingerprint with one that you trust (--root)"
        % ("no signature was checked" if unchecked else "nobody has signed the root"))
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", metavar="SHA256")
    parser.add_argument("--signed-by", metavar="KEY.pub", action="append", default=[])
    try:
        args = parser.parse_args()
    except SystemExit as e:
        return 64 if e.code else 0
    try:
        return check(args)
    except Wrong as e:
        say("FAIL: %s" % e)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        say("FAIL: the bundle is not whole: %s: %s" % (type(e).__name__, e))
    return 2


if __name__ == "__main__":
    sys.exit(main())
