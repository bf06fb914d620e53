#!/usr/bin/env python3
"""Replay and validation beside peers, on the same Dovecot, in one run: the ratios are what counts, not the times.

  benches/replay.py                 5,000 messages that tests/tools/mailstore.py makes; needs Dovecot and mbsync (isync)
  benches/replay.py --messages N --runs N --floe PATH

Each peer fills an account of its own, over one connection without TLS:
  floe            floe replay, of an archive
  mbsync          pushes the same Maildir
  multiappend     a bare script: MULTIAPPEND of 50 with LITERAL+, messages in memory
  pipelined       a bare script: APPEND with LITERAL+, 50 commands ahead
  one-by-one      a bare script: APPEND, answer, APPEND
Then with a server that announces no MULTIAPPEND, then over a line of 40 ms round trip, then floe validate beside a bare pipelined
FETCH. Writes benches/results/ and prints a table.
"""
import argparse
import datetime
import json
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AHEAD = 50
MASTER = "master-secret"


def run(*command, **more):
    ended = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if ended.returncode not in (0, 1):
        sys.exit(f"{command}: {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


class Server:
    def __init__(self, folder, capability=None):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.folder.chmod(0o755)
        more = ["--capability", capability] if capability else []
        said = run(ROOT / "tests/servers/dovecot.sh", "start", "--data", self.folder, "--users", 60, *more)
        self.vars = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        self.port = int(self.vars["IMAP_PORT"])
        self.next = 0

    def user(self):
        self.next += 1
        return f"user{self.next:03}@example.test"

    def stop(self):
        run(ROOT / "tests/servers/dovecot.sh", "stop", "--data", self.folder)


class Line:
    """A TCP line to the server that takes `delay` seconds each way."""

    def __init__(self, port, delay):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.to, self.delay = port, delay
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.to))
            for a, b in ((client, server), (server, client)):
                for s in (a, b):
                    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.carry(a, b)

    def carry(self, source, sink):
        waiting, there = [], threading.Condition()

        def read():
            while True:
                data = source.recv(1 << 16)
                with there:
                    waiting.append((time.monotonic() + self.delay, data))
                    there.notify()
                if not data:
                    return

        def write():
            while True:
                with there:
                    while not waiting:
                        there.wait()
                    due, data = waiting.pop(0)
                time.sleep(max(0, due - time.monotonic()))
                try:
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)
                except OSError:
                    return

        threading.Thread(target=read, daemon=True).start()
        threading.Thread(target=write, daemon=True).start()


class Imap:
    def __init__(self, port, user):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 20)
        self.file.readline()
        self.command(b"a", f'LOGIN "{user}*master" "{MASTER}"'.encode())

    def await_tag(self, tag):
        while True:
            line = self.file.readline()
            if line.startswith(tag + b" "):
                if b" OK" not in line:
                    sys.exit(f"the server says {line}")
                return
            if not line:
                sys.exit("the server is gone")

    def command(self, tag, text):
        self.socket.sendall(tag + b" " + text + b"\r\n")
        self.await_tag(tag)


def part(message):
    return b'(\\Seen) "01-Jan-2024 10:00:00 +0000" {%d+}\r\n' % len(message) + message


def multiappend(port, user, messages):
    imap = Imap(port, user)
    for at in range(0, len(messages), AHEAD):
        batch = messages[at:at + AHEAD]
        imap.socket.sendall(b"m APPEND INBOX " + b" ".join(part(m) for m in batch) + b"\r\n")
        imap.await_tag(b"m")


def pipelined(port, user, messages):
    imap = Imap(port, user)
    for at in range(0, len(messages), AHEAD):
        batch = messages[at:at + AHEAD]
        imap.socket.sendall(b"".join(b"p%d APPEND INBOX " % n + part(m) + b"\r\n" for n, m in enumerate(batch)))
        imap.await_tag(b"p%d" % (len(batch) - 1))


def one_by_one(port, user, messages):
    imap = Imap(port, user)
    for message in messages:
        imap.socket.sendall(b"o APPEND INBOX " + part(message) + b"\r\n")
        imap.await_tag(b"o")


def fetch(port, user, messages):
    imap = Imap(port, user)
    imap.command(b"s", b"EXAMINE INBOX")
    sets = [f"{at + 1}:{min(at + 500, len(messages))}" for at in range(0, len(messages), 500)]
    imap.socket.sendall(b"".join(b"f%d FETCH %s (UID FLAGS INTERNALDATE BODY.PEEK[])\r\n" % (n, s.encode()) for n, s in enumerate(sets)))
    done = 0
    while done < len(sets):
        line = imap.file.readline()
        if line.endswith(b"}\r\n") and b"FETCH" in line:
            imap.file.read(int(line[line.rindex(b"{") + 1:-3]))
        elif line.startswith(b"f%d OK" % done):
            done += 1


class Floe:
    def __init__(self, floe, work, maildir):
        self.floe, self.work = floe, work
        (work / "pw").write_text(MASTER + "\n")
        run(floe, "snapshot", "--account", f"bench={maildir}", "--archive", work / "a.floe")

    def plan(self, port, user):
        plan = self.work / f"{port}-{user}.toml"
        run(self.floe, "plan", self.work / "a.floe", "--to", f"imap://127.0.0.1:{port}", "--domain", "example.test", "--out", plan)
        text = plan.read_text().replace('target = "bench@example.test"', f'target = "{user}"').replace("on-behalf", "master", 1)
        plan.write_text(text)
        return plan

    def access(self, plan):
        return ["--plan", plan, "--admin", "master", "--password-file", self.work / "pw", "--danger-allow-plaintext", "--connections", 1]

    def replay(self, plan):
        run(self.floe, "replay", *self.access(plan))

    def validate(self, plan):
        run(self.floe, "validate", *self.access(plan), "--report", self.work / "report")


def mbsync(work, maildir, port, user):
    copy = work / f"mbsync-{user}"
    shutil.copytree(maildir, copy)
    (work / f"{user}.rc").write_text(f"""IMAPAccount a
Host 127.0.0.1
Port {port}
User {user}*master
Pass {MASTER}
SSLType None
AuthMechs LOGIN
PipelineDepth 50

IMAPStore far
Account a

MaildirStore near
Inbox {copy}
Path {copy}/

Channel c
Far :far:
Near :near:
Patterns INBOX
Sync PushNew
SyncState {work}/state-{user}-
""")
    return lambda: push(["mbsync", "-q", "-c", work / f"{user}.rc", "c"], port, user, maildir)


def push(command, port, user, maildir):
    """Runs mbsync, and does not believe it before the server holds the messages."""
    ended = subprocess.run(command, capture_output=True, text=True)
    imap = Imap(port, user)
    imap.socket.sendall(b"s STATUS INBOX (MESSAGES)\r\n")
    there = int(imap.file.readline().rsplit(b" ", 1)[1].rstrip(b")\r\n"))
    if there != len(list((maildir / "cur").iterdir())):
        sys.exit(f"mbsync left {there} messages on the server: {ended.stdout}{ended.stderr}")


def timed(action):
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--messages", type=int, default=5000)
    args.add_argument("--runs", type=int, default=3)
    args.add_argument("--floe", default=ROOT / "target/release/floe")
    args = args.parse_args()
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    work = Path(tempfile.mkdtemp(dir=memory))
    # Dovecot keeps mail as a user of its own.
    work.chmod(0o755)
    servers = []
    try:
        maildir = make_store(work, args.messages)
        messages = [bytes(m).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for m in bodies(maildir)]
        floe = Floe(args.floe, work, maildir)
        few = messages[:300]
        full, plain = Server(work), Server(work, "IMAP4rev1 LITERAL+ UIDPLUS")
        servers = [full, plain]
        results = {"multiappend": {}, "no multiappend": {}, "40 ms": {}, "read back": {}}
        for _ in range(args.runs):
            for line, server in (("multiappend", full), ("no multiappend", plain)):
                user = server.user()
                plan = floe.plan(server.port, user)
                add(results[line], "floe", timed(lambda: floe.replay(plan)), len(messages))
                if line == "multiappend":
                    user = server.user()
                    add(results[line], "bare multiappend", timed(lambda: multiappend(server.port, user, messages)), len(messages))
                    if shutil.which("mbsync"):
                        add(results[line], "mbsync", timed(mbsync(work, maildir, server.port, server.user())), len(messages))
                    add(results["read back"], "floe", timed(lambda: floe.validate(plan)), len(messages))
                    add(results["read back"], "bare fetch", timed(lambda: fetch(server.port, user, messages)), len(messages))
                else:
                    add(results[line], "bare pipelined", timed(lambda: pipelined(server.port, server.user(), messages)), len(messages))
        slow = Line(full.port, 0.02)
        plan = floe.plan(slow.port, full.user())
        add(results["40 ms"], "floe", timed(lambda: floe.replay(plan)), len(messages))
        add(results["40 ms"], "one-by-one", timed(lambda: one_by_one(slow.port, full.user(), few)), len(few))
        show(results, args, sum(map(len, messages)))
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(work, ignore_errors=True)


def make_store(work, count):
    store = work / "store"
    run("python3", ROOT / "tests/tools/mailstore.py", "--out", store, "--users", 1, "--no-groupware", "--messages", count,
        "--max-attachment", 60000)
    everything = work / "maildir"
    for sub in ("cur", "new", "tmp"):
        (everything / sub).mkdir(parents=True)
    for n, path in enumerate(sorted(p for p in store.rglob("cur/*") if p.is_file())):
        shutil.copy2(path, everything / "cur" / f"{1700000000 + n}.M{n}P1.bench:2,S")
    return everything


def bodies(maildir):
    return [path.read_bytes() for path in sorted((maildir / "cur").iterdir())]


def add(results, name, seconds, messages):
    rate = messages / seconds
    results[name] = max(results.get(name, 0), rate)


def show(results, args, size):
    print(f"{args.messages} messages, {size / 1e6:.0f} MB; best of {args.runs}; messages a second\n")
    print("| | floe | peer | | ratio |\n|---|---|---|---|---|")
    for line, rates in results.items():
        for name, rate in rates.items():
            if name != "floe":
                print(f"| {line} | {rates['floe']:.0f} | {name} | {rate:.0f} | {rates['floe'] / rate:.2f} |")
    today = datetime.date.today().isoformat()
    out = ROOT / "benches/results" / f"{today}-replay.json"
    out.write_text(json.dumps({"machine": platform.platform(), "messages": args.messages, "bytes": size, "rates": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
