#!/usr/bin/env python3
"""Stands in for the command line of an IceWarp server: keeps its objects in $STATE, and what it was called with in $STATE.argv."""
import json
import os
import sys

state = os.environ["STATE"]
arguments = sys.argv[1:]
with open(state + ".argv", "a") as log:
    log.write(json.dumps(arguments) + "\n")
objects = json.load(open(state)) if os.path.exists(state) else {}


def pairs(words):
    return dict(zip(words[::2], words[1::2]))


def create(kind, name, values):
    if kind == "account" and f"domain:{name.rsplit('@', 1)[1]}" not in objects:
        sys.exit("no such domain")
    first = {"d_type": "0"} if kind == "domain" else {"u_type": "0", "u_mailbox": name.rsplit("@", 1)[0]}
    objects.setdefault(f"{kind}:{name}", {**first, **values})


command, kind, name, *rest = arguments
key = f"{kind}:{name}"
if command == "get":
    if key not in objects:
        sys.exit(1)
    for variable in rest:
        print(f"{variable}: {objects[key].get(variable, '')}")
elif command == "create":
    create(kind, name, pairs(rest))
elif command == "import":
    if os.environ.get("NO_IMPORT"):
        sys.exit(1)
    for line in open(name):
        address, *values = line.rstrip("\n").split(",")
        create("account", address, dict(zip(rest, values)))
elif command == "set" and key in objects:
    objects[key].update(pairs(rest))
else:
    sys.exit(1)
with open(state, "w") as file:
    json.dump(objects, file, indent=1, sort_keys=True)
