#!/usr/bin/env python3
"""floe protect beside the command par2 on the same packs, in one run: time, processor time and throughput, and the ratio.

  cargo build --release && benches/parity.py                 an archive of 512 MiB that does not compress
  benches/parity.py --megabytes 1024 --percent 10 --runs 5

Both make the same number of recovery slices of the same size, on two cores, from a warm cache; best of --runs. floe also checks
the SHA-256 of each pack and syncs what it writes; par2 does neither. Prints one line of JSON a program, and the ratio.
"""
import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLICES = 480
UNIT = 4096


def run(command, cwd=None):
    """Seconds, and seconds of processor time."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - begun, spent


def make_archive(folder, floe, megabytes):
    source = folder / "source"
    source.mkdir()
    for n in range(megabytes // 4):
        (source / f"{n:05}.bin").write_bytes(os.urandom(4 << 20))
    archive = folder / "a.floe"
    subprocess.run([floe, "snapshot", "--as", "files", "--account", f"a={source}", "--archive", archive], check=True,
                   stdout=subprocess.DEVNULL)
    shutil.rmtree(source)
    return archive


def with_floe(floe, archive, percent):
    shutil.rmtree(archive / "parity", ignore_errors=True)
    return run([floe, "protect", archive, "--percent", str(percent)])


def with_par2(archive, percent, folder):
    elapsed = spent = 0
    for pack in (archive / "data/packs").iterdir():
        size = pack.stat().st_size
        slice_bytes = (-(-size // SLICES) + UNIT - 1) // UNIT * UNIT
        count = -(-(-(-size // slice_bytes)) * percent // 100)
        out = folder / "stock"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        one = run(["par2", "create", "-q", "-t2", f"-s{slice_bytes}", f"-c{count}", "-n1", "-B", pack.parent, out / "x.par2", pack])
        elapsed, spent = elapsed + one[0], spent + one[1]
    return elapsed, spent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--floe", type=Path, default=ROOT / "target/release/floe")
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--percent", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    if not shutil.which("par2") or not args.floe.exists():
        sys.exit("needs the command par2 and a release build of floe")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        archive = make_archive(folder, args.floe, args.megabytes)
        total = sum(pack.stat().st_size for pack in (archive / "data/packs").iterdir()) / 1e6
        best = {}
        for _ in range(args.runs):
            for name, took in (("floe", with_floe(args.floe, archive, args.percent)), ("par2", with_par2(archive, args.percent, folder))):
                best[name] = min(best.get(name, took), took)
    for name, (elapsed, spent) in best.items():
        print(json.dumps({"program": name, "megabytes": round(total), "percent": args.percent, "seconds": round(elapsed, 2),
                          "processor_seconds": round(spent, 2), "megabytes_per_second": round(total / elapsed)}))
    print(f"floe takes {best['floe'][0] / best['par2'][0]:.2f} of the time of par2, {best['floe'][1] / best['par2'][1]:.2f} of its processor time")


if __name__ == "__main__":
    main()
