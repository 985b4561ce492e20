"""How the benchmarks measure: two figures in turn and their ratio, or a stream and its memory. No case is known here."""

import json
import os
import shutil
import statistics
import tempfile

from procs import BenchError, Daemon, Process, cpu_seconds, memory_kib, run, tail

SAMPLE_S = 0.2
MIB = 1024  # in KiB

# How the two figures make the ratio, whether more of it is better, and how the table says so.
SPEED_UP = ("speed-up", lambda ours, peer: peer / ours, True, "{:.1f} ×")  # both are times
TIME = ("time", lambda ours, peer: ours / peer, False, "{:.2f} × its time")  # both are times
RATE = ("rate", lambda ours, peer: ours / peer, True, "{:.2f} of its rate")  # both are rates


def format_figure(value, unit):
    if unit == "s":
        return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"
    if unit == "us":
        return f"{value:.0f} µs"
    for size, prefix in ((1e6, "M"), (1e3, "k")):
        if value >= 10 * size:
            return f"{value / size:.0f} {prefix}/s"
    return f"{value:.0f}/s"


class Bench:
    """What the cases share: the folder with the inputs, the daemons, and how a program is run and checked."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.output = os.path.join(folder, "output")
        self.daemons = {}
        self.peers_environment = {"PARALLEL_HOME": folder}  # what it writes there is gone with the folder
        self.printed = None  # the whole object of the last figure()

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

    def whole(self, argv, expected, stdin=os.devnull, environment=None):
        """Seconds of a whole process whose stdout must be exactly the expected bytes, and its CPU seconds."""
        process = run(argv, self.folder, stdin, self.output, environment=environment)
        with open(self.output, "rb") as file:
            if file.read() != expected:
                raise BenchError(f"{' '.join(argv[:6])}: wrong output (kept in {self.keep_output()})")
        return process.wall_s, process.cpu_s

    def map(self, endpoint, options, expected, items, stdin=os.devnull, environment=None):
        """The same of a `pmapc map`, which must also say that it mapped and timed that many items."""
        argv = [self.program("pmapc"), "-e", endpoint, "map", "--stats=json", *options]
        times = self.whole(argv, expected, stdin, environment)
        stats = statistics_in(os.path.join(self.folder, "stderr"))
        if (stats["items"], stats["failed"]) != (items, 0) or not stats["item_mean_s"] > 0:
            raise BenchError(f"{' '.join(argv[:6])}: {items} items went in, the statistics say {stats}")
        return times

    def text(self):
        """The path of the text, and its bytes."""
        try:
            with open(self.options.text, "rb") as file:
                return self.options.text, file.read()
        except OSError as error:
            raise BenchError(f"{self.options.text}: {error.strerror}: use --text") from error

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
            self.printed = json.loads(text)
            return float(self.printed[field]), process.cpu_s
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{' '.join(argv[:3])}: no {field} in {text[:200]!r}") from error


class Case:
    """
    Two figures taken in turn; setup(bench, endpoint) makes two functions that return (figure, cpu_s).
    wanted is the bound of the ratio, None where there is none.
    """

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
                bench.printed = None
                figure, cpu_s = take()
                daemon_cpu_s = cpu_seconds(daemon.process.pid) - before
                if bench.printed is not None:
                    row[side + "_printed"] = bench.printed  # the last run's
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
        if self.wanted is None:
            row["verdict"] = "info"
        else:
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
        if self.wanted is None:
            return ""
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
        stats = statistics_in(errors)
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


def statistics_in(errors):
    """What pmapc --stats=json has written to its stderr, which is kept in a file."""
    try:
        with open(errors, encoding="utf-8") as file:
            return json.loads(file.readlines()[-1])
    except (ValueError, IndexError) as error:
        raise BenchError(f"no statistics from pmapc: {tail(errors)}") from error
