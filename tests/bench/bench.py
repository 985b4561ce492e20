#!/usr/bin/python3
"""The benchmarks: pmapd beside its peers in the same run, on the same machine, in turn; a table and JSON.

    tests/bench/bench.py --bin build/release/bin [--only REGEX] [--runs N] [--json FILE]

Times are medians of whole processes unless a case says otherwise; a wrong output is an error, not a time.
Exit status: 0 if every case that ran is good enough, 1 if not, 2 for a usage error.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile

sys.dont_write_bytecode = True

import peers  # noqa: E402
from procs import BenchError, Daemon, Process, cpu_seconds, memory_kib, run, tail  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLE_S = 0.2
MIB = 1024  # in KiB

# How the two figures make the ratio, whether more of it is better, and how the table says so.
SPEED_UP = ("speed-up", lambda ours, peer: peer / ours, True, "{:.1f} ×")  # both are times
TIME = ("time", lambda ours, peer: ours / peer, False, "{:.2f} × its time")  # both are times
RATE = ("rate", lambda ours, peer: ours / peer, True, "{:.2f} of its rate")  # both are rates


def format_figure(value, unit):
    if unit == "s":
        return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"
    return f"{value:.0f} µs" if unit == "us" else f"{value / 1e3:.0f} k/s"


class Bench:
    """What the cases share: the folder with the inputs, the daemons, and how a program is run and checked."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.output = os.path.join(folder, "output")
        self.daemons = {}

    def program(self, name):
        return os.path.join(self.options.bin, name)

    def daemon(self, slots):
        if slots not in self.daemons:
            self.daemons[slots] = Daemon(self.options.bin, self.folder, f"slots{slots}", slots)
        return self.daemons[slots]

    def stop(self):
        errors = []
        for daemon in self.daemons.values():
            try:
                daemon.stop()
            except BenchError as error:
                errors.append(str(error))
        return errors

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def whole(self, argv, expected, stdin=os.devnull):
        """Seconds of a whole process whose stdout must be exactly the expected bytes, and its CPU seconds."""
        process = run(argv, self.folder, stdin, self.output)
        with open(self.output, "rb") as file:
            if file.read() != expected:
                raise BenchError(f"{' '.join(argv[:6])}: wrong output (kept in {self.keep_output()})")
        return process.wall_s, process.cpu_s

    def keep_output(self):
        handle, name = tempfile.mkstemp(prefix="pmapd-bench-wrong-")
        os.close(handle)
        shutil.copyfile(self.output, name)
        return name

    def figure(self, argv, field):
        """The number that a program prints as a field of one JSON object, and its CPU seconds."""
        process = run(argv, self.folder, stdout=self.output)
        with open(self.output, encoding="utf-8") as file:
            text = file.read()
        try:
            return float(json.loads(text)[field]), process.cpu_s
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{' '.join(argv[:3])}: no {field} in {text[:200]!r}") from error


class Case:
    """Two figures taken in turn; setup(bench, endpoint) makes two functions that return (figure, cpu_s)."""

    def __init__(self, name, title, peer_title, kind, wanted, unit, setup, slots=2):
        self.name, self.title, self.peer_title = name, title, peer_title
        self.kind, self.wanted, self.unit = kind, wanted, unit
        self.setup, self.slots = setup, slots

    def run(self, bench):
        row = {"name": self.name, "case": self.title, "peer": self.peer_title, "unit": self.unit}
        row |= {"kind": self.kind[0], "wanted": self.wanted}
        sides = {}
        daemon = bench.daemon(self.slots)
        ours, peer = self.setup(bench, daemon.endpoint)
        for i in range(1 + bench.options.runs):
            for side, take in (("ours", ours), ("peer", peer)):
                before = cpu_seconds(daemon.process.pid)
                figure, cpu_s = take()
                daemon_cpu_s = cpu_seconds(daemon.process.pid) - before
                if i > 0:  # the first round warms up
                    sides.setdefault(side, []).append(figure)
                    sides.setdefault(side + "_cpu_s", []).append(cpu_s)
                    if side == "ours":
                        sides.setdefault("daemon_cpu_s", []).append(daemon_cpu_s)
        _, ratio, more_is_better, _ = self.kind
        row["runs"] = {side: sides[side] for side in ("ours", "peer")}
        row["ours"], row["peer_figure"] = statistics.median(sides["ours"]), statistics.median(sides["peer"])
        row["ours_cpu_s"] = statistics.median(sides["ours_cpu_s"])
        row["peer_cpu_s"] = statistics.median(sides["peer_cpu_s"])
        row["daemon_cpu_s"] = statistics.mean(sides["daemon_cpu_s"])
        row["ratio"] = ratio(row["ours"], row["peer_figure"])
        good = row["ratio"] >= self.wanted if more_is_better else row["ratio"] <= self.wanted
        row["verdict"] = "ok" if good else "falls short"
        return row

    def cells(self, row):
        form = self.kind[3]
        return [
            format_figure(row["peer_figure"], self.unit),
            format_figure(row["ours"], self.unit),
            form.format(row["ratio"]),
            self.wanted_cell(),
        ]

    def wanted_cell(self):
        return ("≥ " if self.kind[2] else "≤ ") + self.kind[3].format(self.wanted)


class Stream:
    """Memory of a fresh daemon and of pmapc while a long stream goes through: generated, not stored."""

    daemon_mib, client_mib, growth = 96, 64, 0.05

    def __init__(self, size):
        self.name, self.peer_title, self.size = "stream", "", size
        self.title = f"{size / 1e9:g} GB of lines through `echo` (generated)"

    def run(self, bench):
        daemon = Daemon(bench.options.bin, bench.folder, "stream", 2)
        bench.daemons["stream"] = daemon
        samples = {"daemon": [], "client": []}
        peaks = {"daemon": 0, "client": 0}
        errors = os.path.join(bench.folder, "stream.stderr")
        made = os.path.join(bench.folder, "lines.stderr")
        reader, writer = os.pipe()
        command = [bench.program("pmapc"), "-e", daemon.endpoint, "map", "--stats=json", "echo"]
        processes = []
        try:
            processes.append(Process([bench.program("lines"), str(self.size)], stdout=writer, stderr=made))
            client = Process(command, stdin=reader, stderr=errors)
            processes.append(client)
            os.close(reader)
            os.close(writer)
            reader = writer = -1
            limit_s = 60 + self.size / 20e6
            while not client.wait(SAMPLE_S):
                for side, pid in (("daemon", daemon.process.pid), ("client", client.pid)):
                    memory = memory_kib(pid)
                    if memory:
                        peaks[side] = max(peaks[side], memory[0])
                        samples[side].append(memory[1])
                if len(samples["daemon"]) * SAMPLE_S > limit_s:
                    raise BenchError(f"the stream is not through after {limit_s:.0f} s")
            processes[0].wait(10)
        finally:
            for end in (reader, writer):
                if end >= 0:
                    os.close(end)
            for process in processes:
                process.kill()
        if client.status != 0 or processes[0].status != 0:
            message = f"pmapc: status {client.status}, lines: {processes[0].status}: {tail(errors)}"
            raise BenchError(message)
        self.check_counts(made, errors)
        row = {"name": self.name, "case": self.title, "bytes": self.size, "wall_s": client.wall_s}
        row |= {"client_cpu_s": client.cpu_s, "daemon_cpu_s": cpu_seconds(daemon.process.pid)}
        row |= {"rss_kib": samples, "peak_kib": peaks}
        row["growth"] = {side: self.growth_of(rss) for side, rss in samples.items()}
        growths = row["growth"].values()
        # None: it cannot be told
        row["flat"] = None if None in growths else all(g <= self.growth for g in growths)
        small = peaks["daemon"] < self.daemon_mib * MIB and peaks["client"] < self.client_mib * MIB
        row["verdict"] = "ok" if small and row["flat"] else "falls short"
        return row

    @staticmethod
    def growth_of(rss):
        """The mean of the last third over that of the middle third, less 1; None: too few samples to tell."""
        third = len(rss) // 3
        if third < 3:
            return None
        return statistics.mean(rss[-third:]) / statistics.mean(rss[third : 2 * third]) - 1

    @staticmethod
    def check_counts(made, errors):
        """Every line must have come out: pmapc's own statistics against the generator's count."""
        with open(made, encoding="ascii") as file:
            sent = json.load(file)
        try:
            with open(errors, encoding="utf-8") as file:
                stats = json.loads(file.readlines()[-1])
        except (ValueError, IndexError) as error:
            raise BenchError(f"no statistics from pmapc: {tail(errors)}") from error
        content = sent["bytes"] - sent["lines"]  # a line's newline is not part of its item
        if (stats["items"], stats["failed"]) != (sent["lines"], 0):
            raise BenchError(f"{sent['lines']} lines went in, the statistics say {stats}")
        if (stats["bytes_in"], stats["bytes_out"]) != (content, content):
            raise BenchError(f"{content} bytes of items went in, the statistics say {stats}")

    def cells(self, row):
        growth = "/".join("?" if g is None else f"{g:+.1%}" for g in row["growth"].values())
        peak = row["peak_kib"]
        flat = {None: "too short to tell", True: "flat", False: "not flat"}[row["flat"]]
        ours = f"{peak['daemon'] / MIB:.1f} MiB, {peak['client'] / MIB:.1f} MiB, {flat}"
        rate = f"{row['wall_s']:.1f} s, {self.size / row['wall_s'] / 1e6:.0f} MB/s, growth {growth}"
        return ["", ours, rate, self.wanted_cell()]

    def wanted_cell(self):
        return f"peak of daemon < {self.daemon_mib} MiB, of client < {self.client_mib} MiB, flat"


def numbers(count):
    return "".join(f"{i}\n" for i in range(count)).encode()


def function_case(function, count, options, peer):
    """ours: pmapc over 0…count-1 from a file; peer: a Python program that prints the same; both checked."""

    def setup(bench, endpoint):
        stdin = bench.write(f"numbers{count}", numbers(count))
        expected = "".join(f"{function(i)}\n" for i in range(count)).encode()
        ours = [bench.program("pmapc"), "-e", endpoint, "map", *options, function.__name__]
        theirs = [bench.options.python, *peer]
        return lambda: bench.whole(ours, expected, stdin), lambda: bench.whole(theirs, expected)

    return setup


def text_case(options, chunk):
    def setup(bench, endpoint):
        text = bench.options.text
        try:
            with open(text, "rb") as file:
                expected = file.read()
        except OSError as error:
            raise BenchError(f"{text}: {error.strerror}: use --text") from error
        ours = [bench.program("pmapc"), "-e", endpoint, "map", *options, "echo"]
        theirs = [bench.options.python, PEERS, "text", text, str(chunk)]
        return lambda: bench.whole(ours, expected, text), lambda: bench.whole(theirs, expected)

    return setup


def library_case(mode, field, peer):
    """ours: bench_libpmap on an open connection; peer(bench): the argv that prints the same field."""

    def setup(bench, endpoint):
        ours = [bench.program("bench_libpmap"), mode, endpoint]
        return lambda: bench.figure(ours, field), lambda: bench.figure(peer(bench), field)

    return setup


PEERS = os.path.join(HERE, "peers.py")


def all_cases(options):
    square, cube = peers.square, peers.cube

    def warm(bench):
        return [bench.options.python, PEERS, "warm", "1000"]

    def skeleton(mode):
        return lambda bench: [bench.program("skeleton"), mode]

    cases = [
        Case("square1000", "1000 numbers through `square`, whole processes", "`python3 -c`, Pool(2).map",
             SPEED_UP, 5, "s", function_case(square, 1000, [], ["-c", peers.SQUARE_1000])),
        Case("map1000", "1000 numbers through `square`, libpmap, connection open", "a warm Pool(2).map",
             SPEED_UP, 3, "us", library_case("map1000", "median_us", warm)),
        Case("cube1", "0…49999 through `cube`, 1 slot, whole processes", "Pool(1).map, results printed",
             SPEED_UP, 4, "s", function_case(cube, 50000, [], [PEERS, "cube50000", "1"]), slots=1),
        Case("cube1j", "0…49999 through `cube`, `-j 1` of 2 slots, whole processes",
             "Pool(1).map, results printed",
             SPEED_UP, 4, "s", function_case(cube, 50000, ["-j", "1"], [PEERS, "cube50000", "1"])),
        Case("cube2", "0…49999 through `cube`, 2 slots, whole processes", "Pool(2).map, results printed",
             SPEED_UP, 4, "s", function_case(cube, 50000, [], [PEERS, "cube50000", "2"])),
        Case("square1m", "1,000,000 numbers through `square`, whole processes",
             "Pool(2).map, numbers printed",
             SPEED_UP, 4, "s", function_case(square, 1000000, [], [PEERS, "square1m"])),
        Case("text4", "every line of the text through `echo`, chunk size 4", "Pool(2).map(readLine, file, 4)",
             SPEED_UP, 6, "s", text_case(["-c", "4"], 4)),
        Case("text", "every line of the text through `echo`, chunk size left alone",
             "Pool(2).map(readLine, file)",
             SPEED_UP, 5, "s", text_case([], 0)),
        Case("one", "one item, warm connection, libpmap (round trip)", "skeleton through a pool thread",
             TIME, 1.4, "us", library_case("one", "median_us", skeleton("latency"))),
        Case("rate", "16-byte items, chunk size 1, pipelined", "skeleton, pipelined",
             RATE, 0.5, "/s", library_case("rate", "per_s", skeleton("rate"))),
    ]  # fmt: skip
    if not options.skip_stream:
        cases.append(Stream(int(options.stream_bytes)))
    return [case for case in cases if re.search(options.only, case.name)]


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
            print(f"{case.name:12}{case.title}")
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
    return 0 if not errors and all(row["verdict"] == "ok" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
