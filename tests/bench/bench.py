#!/usr/bin/python3
"""The benchmarks: pmapd beside its peers in the same run, on the same machine, in turn; a table and JSON.

    tests/bench/bench.py --bin build/release/bin [--only REGEX] [--runs N] [--json FILE]

Times are medians of whole processes unless a case says otherwise; a wrong output is an error, not a time. A case
whose verdict is "info" has no bound; one whose peer is not installed is skipped.
Exit status: 0 if every case that ran is good enough, 1 if not, 2 for a usage error.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True

from cases import all_cases  # noqa: E402
from measure import Bench  # noqa: E402
from procs import BenchError, Skipped  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def machine():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        model = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "load": os.getloadavg()[0],
    }


def print_head(facts, options):
    system = f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, Python {facts['python']}"
    print(f"{system}, {facts['date'][:10]}; medians of {options.runs} runs in turn, load {facts['load']:.2f}")
    print("\n| case | peer in the same run | peer | ours | ratio | wanted | verdict |")
    print("|---|---|---|---|---|---|---|", flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description="pmapd beside its peers: a table and JSON.")
    parser.add_argument("--bin", required=True, help="the folder of the programs")
    parser.add_argument("--runs", type=int, default=7, help="runs of each side after one to warm up (7)")
    parser.add_argument("--only", default="", metavar="REGEX", help="only the cases whose name matches")
    parser.add_argument("--list", action="store_true", help="print the cases' names and end")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--text", default=os.path.join(HERE, "../../../shared/data/shakespeare.txt"))
    parser.add_argument("--python", default="/usr/bin/python3", help="the peers' interpreter")
    parser.add_argument("--stream-bytes", type=float, default=10e9, metavar="N", help="(10e9)")
    parser.add_argument("--skip-stream", action="store_true")
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    options.text = os.path.abspath(options.text)
    if options.runs < 1 or options.stream_bytes < 1:
        parser.error("--runs and --stream-bytes start at 1")
    try:
        options.cases = all_cases(options)
    except re.error as error:
        parser.error(f"--only: {error}")
    if not options.cases:
        parser.error(f"no case matches {options.only!r}")
    return options


def main():
    options = parse_arguments()
    if options.list:
        for case in options.cases:
            print(f"{case.name:16}{case.title}")
        return 0
    facts = machine()
    rows = []
    print_head(facts, options)
    folder = tempfile.mkdtemp(prefix="pmapd-bench-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    bench = Bench(options, folder)
    errors = []
    try:
        for case in options.cases:
            try:
                row = case.run(bench)
                cells = case.cells(row)
            except Skipped as reason:
                row = {"name": case.name, "case": case.title, "verdict": "skipped", "reason": str(reason)}
                cells = [str(reason), "", "", case.wanted_cell()]
            except BenchError as error:
                row = {"name": case.name, "case": case.title, "verdict": "error", "error": str(error)}
                cells = ["", "", "", case.wanted_cell()]
                errors.append(f"{case.name}: {error}")
            rows.append(row)
            print("| " + " | ".join([case.title, case.peer_title, *cells, row["verdict"]]) + " |", flush=True)
    finally:
        errors += bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for error in errors:
        print(f"bench.py: {error}", file=sys.stderr)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            report = {"machine": facts, "runs": options.runs, "cases": rows, "errors": errors}
            json.dump(report, file, indent=1)
            file.write("\n")
    return 0 if not errors and all(row["verdict"] in ("ok", "info", "skipped") for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
