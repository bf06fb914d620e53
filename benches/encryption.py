#!/usr/bin/env python3
"""What encrypting costs: floe snapshot, verify and export with and without a recipient, in turns, on the same store and disk.

  benches/encryption.py                       on a store that tests/tools/mailstore.py makes
  benches/encryption.py --store /srv/mail     on another one (only read)

Warm cache, best of --runs. CPU seconds are those of the process as the kernel counts them. Needs age-keygen (Debian: age).
Prints a Markdown table; with --floe another binary than target/release/floe.
"""
import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from compare import ROOT, measure, size_of, warm


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--floe", type=Path, default=ROOT / "target/release/floe")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        store = args.store or scratch / "store"
        if not args.store:
            subprocess.run(["python3", ROOT / "tests/tools/mailstore.py", "--out", store, "--users", str(args.users),
                            "--messages", str(args.messages)], check=True, stdout=subprocess.DEVNULL)
        key = scratch / "key"
        subprocess.run(["age-keygen", "-o", key], check=True, stderr=subprocess.DEVNULL)
        recipient = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
        total = warm(store)
        commands = {"snapshot": f"{args.floe} snapshot {store} --archive {{a}} {{recipient}}",
                    "verify --full": f"{args.floe} verify {{a}} --full {{key}}",
                    "export": f"{args.floe} export {{a}} --out {{a}}.out {{key}}"}
        best, sizes = {}, {}
        for n in range(args.runs):
            for kind, words in (("clear", ("", "")), ("encrypted", (f"--recipient {recipient}", f"--identity {key}"))):
                archive = scratch / f"{kind}-{n}"
                for step, command in commands.items():
                    os.sync()
                    ran = measure(command.format(a=archive, recipient=words[0], key=words[1]), dict(os.environ))
                    held = best.setdefault((step, kind), ran)
                    best[step, kind] = {what: min(value, held[what]) for what, value in ran.items()}
                sizes[kind] = size_of(archive)
                shutil.rmtree(archive)
                shutil.rmtree(f"{archive}.out")
        print(f"{total / 1e6:.0f} MB of mail; archive {sizes['clear'] / 1e6:.1f} MB, encrypted {sizes['encrypted'] / 1e6:.1f} MB\n")
        print("| step | clear s | encrypted s | more | clear CPU s | encrypted CPU s | more | MiB |")
        print("|---|---|---|---|---|---|---|---|")
        for step in commands:
            clear, encrypted = best[step, "clear"], best[step, "encrypted"]
            more = [f"{100 * (encrypted[what] / clear[what] - 1):+.0f} %" for what in ("wall_s", "cpu_s")]
            print(f"| {step} | {clear['wall_s']:.2f} | {encrypted['wall_s']:.2f} | {more[0]} | {clear['cpu_s']:.2f} | "
                  f"{encrypted['cpu_s']:.2f} | {more[1]} | {clear['rss_mib']:.0f} / {encrypted['rss_mib']:.0f} |")


if __name__ == "__main__":
    main()
