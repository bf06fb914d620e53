#!/usr/bin/env python3
"""floe and its peers on the same store, in one run, on the same disk: time, CPU, memory and size.

  benches/compare.py                          on a store that tests/tools/mailstore.py makes
  benches/compare.py --store /srv/mail        on another one (it is copied; the original is only read)
  benches/compare.py --maker PATH             on a store that PATH makes (it takes --out, --users, --messages-per-user)
  benches/compare.py --only floe,tar-3,borg   some peers; those that are not installed are skipped

Measured for each: a full snapshot, the same again with nothing changed, one after 2 % new mail came, a check of all data, and
taking everything out. Warm cache (all files are read first), best of --runs. CPU and memory are those of the process and
its children, as the kernel counts them. floe syncs its packs to disk; of the tars only tar-3-sync does.

Prints a Markdown table and writes machine, versions, command lines and all single runs to benches/results/.
"""
import argparse
import base64
import datetime
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STEPS = ("full", "unchanged", "grown", "check", "restore")
LEAST_FREE_BYTES = 10 << 30


def peers(floe, floe_sources):
    """name -> (how to ask its version, {step: shell command}, environment). In a command: {a} the archive's folder, {s} the
    store, {o} the folder to restore to, {n} the number of the snapshot. `new` is not measured."""
    sources = floe_sources or "{s}"
    tar = {"full": "tar -C {s} -cf - . | zstd -q %s -T2 -o {a}/{n}.tar.zst", "check": "zstd -tq --long=27 {a}/0.tar.zst",
           "restore": "zstd -dcq --long=27 {a}/0.tar.zst | tar -C {o} -xf -"}
    return {
        "floe": (f"{floe} --version", {
            "full": f"{floe} snapshot {sources} --archive {{a}}/floe", "check": f"{floe} verify {{a}}/floe --full",
            "restore": f"{floe} export {{a}}/floe --out {{o}}/out --format maildir"}, {}),
        "tar-3": ("zstd --version", {**tar, "full": tar["full"] % "-3"}, {}),
        # What it is to have the archive on disk, as floe has.
        "tar-3-sync": ("zstd --version", {"full": tar["full"] % "-3" + " && sync {a}/{n}.tar.zst"}, {}),
        "tar-3-long": ("zstd --version", {**tar, "full": tar["full"] % "-3 --long=27"}, {}),
        "tar-19-long": ("zstd --version", {**tar, "full": tar["full"] % "-19 --long=27"}, {}),
        "restic": ("restic version", {
            "new": "restic -q init --repository-version 2", "full": "restic -q backup {s}",
            "check": "restic -q check --read-data", "restore": "restic -q restore latest --target {o}"},
            {"RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": "{a}/repo", "RESTIC_CACHE_DIR": "{a}/.cache"}),
        "borg": ("borg --version", {
            "new": "borg init -e none {a}/repo", "full": "cd {s} && borg create -C zstd,3 {a}/repo::s{n} .",
            "check": "borg check --verify-data {a}/repo", "restore": "cd {o} && borg extract {a}/repo::s0"},
            {"BORG_BASE_DIR": "{a}/.cache", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}),
        "bup": ("bup --version", {
            "new": "bup init", "full": "bup index {s} && bup save -q -n s {s}", "check": "bup fsck -j2",
            "restore": "bup restore -q -C {o} /s/latest/."}, {"BUP_DIR": "{a}/repo"}),
        "zpaq": ("zpaq", {
            "full": "cd {s} && zpaq add {a}/a.zpaq . -m1 -t2", "check": "zpaq x {a}/a.zpaq -test -t2",
            "restore": "cd {o} && zpaq x {a}/a.zpaq -t2"}, {}),
        "bupstash": ("bupstash --version", {
            "new": "bupstash new-key -o {a}/.key && bupstash init", "full": "bupstash put -q --send-log {a}/.log name=s{n} {s}",
            "check": "bupstash get -q name=s0 > /dev/null", "restore": "bupstash get -q name=s0 | tar -C {o} -xf -"},
            {"BUPSTASH_KEY": "{a}/.key", "BUPSTASH_REPOSITORY": "{a}/repo", "BUPSTASH_QUERY_CACHE": "{a}/.qcache"}),
    }


def measure(command, env):
    """Runs a shell command; wall and CPU seconds, largest resident set of one process in MiB."""
    with open(os.devnull, "r+b") as null:
        begin = time.monotonic()
        child = subprocess.Popen(["bash", "-c", "set -o pipefail; " + command], stdin=null, stdout=null, stderr=subprocess.PIPE, env=env)
        errors = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stderr.close()
    if child.returncode:
        raise RuntimeError(f"{command}: exit {child.returncode}: {errors.decode(errors='replace')[-500:]}")
    return {"wall_s": round(wall, 3), "cpu_s": round(usage.ru_utime + usage.ru_stime, 3), "rss_mib": round(usage.ru_maxrss / 1024, 1)}


def size_of(folder):
    """Bytes of all files, without the caches that a program could do without (names that begin with a dot)."""
    return sum(f.stat().st_size for f in folder.rglob("*")
               if f.is_file() and not f.is_symlink() and not any(p.startswith(".") for p in f.relative_to(folder).parts))


def store_files(store):
    return sorted(f for f in store.rglob("*") if f.is_file() and not f.is_symlink())


def warm(store):
    total = 0
    for file in store_files(store):
        with open(file, "rb") as data:
            while block := data.read(1 << 20):
                total += len(block)
    return total


class Growth:
    """2 % new mail, in the same places and the same shape as what is there; can be taken back."""

    def __init__(self, store, total):
        rng = random.Random(2)
        words = ["".join(rng.choices("abcdefghijklmnoprstuvwz", k=rng.randint(2, 9))) for _ in range(3000)]
        self.new, self.old_sizes = [], {}
        files = store_files(store)
        mboxes = [f for f in files if f.suffix == ".mbox" or open(f, "rb").read(5) == b"From "]
        folders = sorted({f.parent for f in files if f.parent.name == "cur" or f.suffix == ".eml"})
        places = mboxes or folders
        if not places:
            raise SystemExit("no mboxes, Maildirs or .eml files in this store")
        written = n = 0
        while written < total * 0.02:
            n += 1
            text = "\n".join(" ".join(rng.choices(words, k=10)) for _ in range(rng.randint(5, 60)))
            head = f"From: x{n}@acme.example\nTo: y@acme.example\nSubject: new {n}\nMessage-ID: <bench{n}@acme.example>\nDate: Mon, 5 Jan 2026 10:00:00 +0000\n"
            if n % 4 == 0:
                data = base64.encodebytes(rng.randbytes(int(rng.lognormvariate(11.5, 1)))).decode()
                text = (f"--b{n}\nContent-Type: text/plain\n\n{text}\n--b{n}\nContent-Type: application/pdf\n"
                        f"Content-Transfer-Encoding: base64\n\n{data}--b{n}--")
                head += f"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b{n}\n"
            mail = f"{head}\n{text}\n".encode()
            place = rng.choice(places)
            if mboxes:
                self.old_sizes.setdefault(place, place.stat().st_size)
                mail = b"From x@acme.example Mon Jan  5 10:00:00 2026\n" + mail + b"\n"
                with open(place, "ab") as file:
                    file.write(mail)
            else:
                name = f"{1767607200 + n}.M{n}P1.bench:2,S" if place.name == "cur" else f"bench{n}.eml"
                (place / name).write_bytes(mail)
                self.new.append(place / name)
            written += len(mail)
        self.bytes, self.mails = written, n

    def undo(self):
        for file in self.new:
            file.unlink()
        for file, size in self.old_sizes.items():
            os.truncate(file, size)


def run_peer(name, peer, store, scratch, runs, total, note):
    """All steps of one peer. `runs` archives, so that each step can be measured as often."""
    _, commands, variables = peer
    results = {step: [] for step in STEPS}
    used = {}

    def step(what, key, n, number=0, out=""):
        if key not in commands:
            return
        archive = scratch / f"{name}-{n}"
        fields = {"a": archive, "s": store, "o": out, "n": number}
        env = {**os.environ, **{k: v.format(**fields) for k, v in variables.items()}}
        command = commands[key].format(**fields)
        used[what] = commands[key]
        os.sync()       # what an earlier run wrote must not be written while this one is measured
        if key == "full":
            warm(store)  # some kernels give up the cache of files that nobody asked for in a while
        result = measure(command, env)
        if what in results:
            results[what].append(result)

    sizes = {}
    growth = None
    try:
        for n in range(runs):
            (scratch / f"{name}-{n}").mkdir(parents=True)
            step("new", "new", n)
            step("full", "full", n)
        sizes["full"] = size_of(scratch / f"{name}-0")
        if not name.startswith("tar"):
            for n in range(runs):
                step("unchanged", "full", n, 1)
            sizes["unchanged"] = size_of(scratch / f"{name}-0")
            growth = Growth(store, total)
            for n in range(runs):
                step("grown", "full", n, 2)
            sizes["grown"] = size_of(scratch / f"{name}-0")
        for n in range(runs):
            step("check", "check", n)
        for n in range(runs):
            out = scratch / f"{name}-out"
            out.mkdir()
            step("restore", "restore", n, out=out)
            sizes["restored"] = size_of(out)
            shutil.rmtree(out)
    except RuntimeError as why:
        note(f"{name}: {why}")
    finally:
        if growth:
            growth.undo()
        for n in range(runs):
            shutil.rmtree(scratch / f"{name}-{n}", ignore_errors=True)
        shutil.rmtree(scratch / f"{name}-out", ignore_errors=True)
    return {"runs": results, "sizes": sizes, "commands": used}


def table(results, total):
    def best(name, step, field="wall_s"):
        values = [r[field] for r in results[name]["runs"][step]]
        return min(values) if values else None

    def cell(name, step):
        value, ours = best(name, step), best("floe", step) if "floe" in results else None
        if value is None:
            return "-"
        return f"{value:.2f}" + (f" ({value / ours:.1f}x)" if ours and name != "floe" else "")

    lines = ["| | full s | CPU s | MiB | size | unchanged s | +2 % s | check s | restore s |", "|---|---|---|---|---|---|---|---|---|"]
    for name, result in results.items():
        cpu, rss, size = best(name, "full", "cpu_s"), best(name, "full", "rss_mib"), result["sizes"].get("full")
        lines.append(f"| {name} | {cell(name, 'full')} | {'-' if cpu is None else f'{cpu:.2f}'} | {'-' if rss is None else f'{rss:.0f}'} | "
                     f"{'-' if size is None else f'{size / total:.3f}'} | {cell(name, 'unchanged')} | {cell(name, 'grown')} | "
                     f"{cell(name, 'check')} | {cell(name, 'restore')} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--name", help="of the store, for the results file")
    parser.add_argument("--maker", help="program that makes the store (default: the one of the tests)")
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--messages", type=int, default=500, help="a user, for a store that is made here")
    parser.add_argument("--format", default="maildir", choices=["maildir", "mbox", "eml"])
    parser.add_argument("--floe", default=str(ROOT / "target/release/floe"))
    parser.add_argument("--floe-sources", help="arguments of `floe snapshot` instead of the store; {s} is the store")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="names, comma between")
    parser.add_argument("--slow", action="store_true", help="with tar-19-long, which takes minutes")
    parser.add_argument("--scratch", type=Path, default=ROOT / "target/bench", help="folder on the disk to measure; its contents are removed")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    args = parser.parse_args()

    scratch = (args.scratch / f"compare-{os.getpid()}").resolve()
    scratch.mkdir(parents=True)
    if shutil.disk_usage(scratch).free < LEAST_FREE_BYTES:
        print("note: less than 10 GiB free here", file=sys.stderr)
    notes = []

    def note(text):
        notes.append(text)
        print("note:", text, file=sys.stderr, flush=True)

    try:
        store = scratch / "store"
        if args.store:
            subprocess.run(["cp", "-a", "--", str(args.store), str(store)], check=True)
        else:
            maker = [sys.executable, args.maker or str(ROOT / "tests/tools/mailstore.py"), "--out", str(scratch / "made"), "--users", str(args.users),
                     "--messages-per-user" if args.maker else "--messages", str(args.messages), "--format", args.format]
            subprocess.run(maker, check=True, stdout=subprocess.DEVNULL)
            store = scratch / "made/users"
        total = warm(store)
        load = os.getloadavg()[0]
        if load > 0.7:
            note(f"the machine is not quiet: load {load:.1f}")
        floe = str(Path(args.floe).resolve())
        all_peers = peers(floe, args.floe_sources)
        chosen = args.only.split(",") if args.only else [p for p in all_peers if p != "tar-19-long" or args.slow]
        results, versions = {}, {}
        for name in chosen:
            program = all_peers[name][0].split()[0]
            if not shutil.which(program):
                note(f"{name} is not installed here: skipped")
                continue
            asked = subprocess.run(all_peers[name][0].split(), capture_output=True, text=True, check=False)
            versions[name] = ((asked.stdout + asked.stderr).strip().splitlines() or ["?"])[0]
            print(name, "...", file=sys.stderr, flush=True)
            results[name] = run_peer(name, all_peers[name], store, scratch, args.runs, warm(store), note)
        print(text := table(results, total))
        now = datetime.datetime.now(datetime.timezone.utc)
        label = args.name or (args.store.name if args.store else f"made-{args.format}")
        cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
        document = {"date": now.isoformat(timespec="seconds"), "store": label, "bytes": total, "files": len(store_files(store)), "runs": args.runs,
                    "cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "load_before": load, "versions": versions, "notes": notes,
                    "floe_sources": args.floe_sources, "results": results, "table": text.splitlines()}
        # Paths of this machine mean nothing elsewhere.
        plain = json.dumps(document, indent=1).replace(str(scratch), "SCRATCH").replace(floe, "floe").replace(str(ROOT), ".")
        args.results.mkdir(parents=True, exist_ok=True)
        target = args.results / f"{now:%Y-%m-%d}-{label}.json"
        target.write_text(plain + "\n", encoding="utf-8")
        print(f"raw numbers: {os.path.relpath(target)}", file=sys.stderr)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
