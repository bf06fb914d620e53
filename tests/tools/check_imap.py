#!/usr/bin/env python3
"""Compares what an IMAP server holds with what the maker of a mail store knows of it; uses nothing of floe but its plan's folder names.

Prints every difference, and ends with 1 when there is one. Folders are found by the plan, messages by their bytes with CRLF line ends.
"""

import argparse
import base64
import calendar
import collections
import hashlib
import imaplib
import json
import re
import ssl
import sys
import time
import tomllib
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--ca-file", help="certificate of the server; STARTTLS is used when it is given")
parser.add_argument("--store", type=Path, required=True, help="folder with ground-truth.jsonl")
parser.add_argument("--plan", type=Path, required=True)
args = parser.parse_args()


def wire(path):
    """A folder's name as it goes over the wire: modified UTF-7 (RFC 3501 5.1.3)."""
    out = ""
    for part in re.split(r"([^\x20-\x7e]+)", path):
        if part and not ("\x20" <= part[0] <= "\x7e"):
            out += "&" + base64.b64encode(part.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
        else:
            out += part.replace("&", "&-")
    return out


def crlf(data):
    return re.sub(rb"(?<!\r)\n", b"\r\n", data)


def wanted():
    found = collections.defaultdict(collections.Counter)
    for line in open(args.store / "ground-truth.jsonl", encoding="utf-8"):
        fact = json.loads(line)
        data = crlf((args.store / fact["path"]).read_bytes())
        flags = frozenset(f.lower() for f in fact["flags"] + fact["keywords"])
        found[fact["account"], fact["folder"]][hashlib.sha256(data).hexdigest(), flags, fact["internal_date_unix"]] += 1
    return found


def held(connection, mailbox):
    found = collections.Counter()
    status, count = connection.select('"' + mailbox.replace("\\", "\\\\").replace('"', '\\"') + '"', readonly=True)
    if status != "OK" or count == [b"0"]:
        return found
    status, answers = connection.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
    for answer in answers:
        if not isinstance(answer, tuple):
            continue
        head, data = answer
        after = answers[answers.index(answer) + 1]
        head += after if isinstance(after, bytes) else b""
        flags = imaplib.ParseFlags(head)
        flags = frozenset(f.decode().lower() for f in flags) - {"\\recent"}
        day = re.search(rb'INTERNALDATE "([^"]*)"', head).group(1).decode()
        moment, zone = day.rsplit(" ", 1)
        seconds = calendar.timegm(time.strptime(moment.strip(), "%d-%b-%Y %H:%M:%S"))
        seconds -= (int(zone[1:3]) * 3600 + int(zone[3:]) * 60) * (1 if zone[0] == "+" else -1)
        found[hashlib.sha256(data).hexdigest(), flags, seconds] += 1
    return found


want = wanted()
plan = tomllib.loads(args.plan.read_text(encoding="utf-8"))
different = checked = 0
for account in plan["account"]:
    number = re.search(r"user(\d+)", account["target"]).group(1)
    connection = imaplib.IMAP4("127.0.0.1", args.port)
    if args.ca_file:
        context = ssl.create_default_context(cafile=args.ca_file)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection.starttls(context)
    connection.login(account["target"], f"pw-user{number}")
    for folder in account.get("folder", []):
        if folder["part"] != "mail":
            continue
        wants = want.pop((account["source"], folder["from"]), collections.Counter())
        holds = held(connection, wire(folder["to"]))
        checked += sum(holds.values())
        for kind, items in (("missing", wants - holds), ("extra", holds - wants)):
            for item, count in items.items():
                different += count
                print(f"{kind} {count}: {account['source']} {folder['from']} {item}")
    connection.logout()
for place, items in want.items():
    if items:
        different += sum(items.values())
        print(f"no such folder in the plan: {place}")
print(f"{checked} messages looked at, {different} differ")
sys.exit(1 if different else 0)
