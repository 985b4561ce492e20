"""A pool for several users, for fair.py and soak.py: root's daemon, who floods it, what its status says meanwhile."""

import json
import os
import resource
import shutil
import signal
import statistics
import tempfile
import time

from procs import BenchError, Daemon, Process, run, tail

ALICE, BOB, CAROL, DAVE = 20001, 20002, 20003, 20004  # uids that need no accounts
ITEMS = 10_000_000
POLL_S = 0.05


def find_setpriv():
    path = shutil.which("setpriv")
    if path is None:
        raise BenchError("setpriv is not installed (Debian package util-linux)")
    return path


def raise_descriptors():
    """As many descriptors as we may have: a crowd needs a lot, and so does the daemon that serves it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Pool:
    """
    Root's daemon with a configuration of its own; for anybody else a private one, where all users are this one. What
    is started here ends with stop(), or with us, however we end: the kernel kills it (--pdeathsig).
    """

    def __init__(self, options, sections="", name="fair"):
        self.options, self.slots = options, options.slots
        self.root = os.geteuid() == 0
        self.setpriv = find_setpriv()
        self.processes, self.inputs = [], []
        self.folder = tempfile.mkdtemp(prefix=f"pmapd-{name}-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        try:
            os.chmod(self.folder, 0o711)
            config = self.write_config(sections)
            prefix = (self.setpriv, "--pdeathsig", "KILL")
            whose = ("-c", config) if self.root else ("--private",)
            self.daemon = Daemon(options.bin, self.folder, "pool", self.slots, prefix, whose)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.endpoint = self.daemon.endpoint

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for stream in self.inputs:
            os.close(stream)
        for process in self.processes:
            process.kill()
        try:
            self.daemon.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def write_config(self, sections):
        text = f"[daemon]\nuser = {self.options.user}\nkill_grace = 200ms\n{sections}"
        return self.write("pmapd.conf", text)

    def configure(self, sections):
        """Has the daemon read another configuration."""
        self.write_config(sections)
        os.kill(self.daemon.process.pid, signal.SIGHUP)

    def program(self, name):
        return os.path.join(self.options.bin, name)

    def pmapc(self, *arguments):
        return [self.program("pmapc"), "-e", self.endpoint, *arguments]

    def as_user(self, uid, argv):
        if not self.root:
            return [self.setpriv, "--pdeathsig", "KILL", *argv]
        who = [self.setpriv, "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--inh-caps=-all"]
        return [*who, "--pdeathsig", "KILL", *argv]

    def start(self, uid, argv, stdin=os.devnull, stdout=os.devnull):
        """A program of this user's, which goes on until the end."""
        errors = os.path.join(self.folder, f"stderr{len(self.processes)}")
        process = Process(self.as_user(uid, argv), stdin, stdout, errors)
        process.errors = errors
        self.processes.append(process)
        return process

    def check(self):
        """Who was to go on for ever has not ended."""
        for process in self.processes:
            if process.wait(0):
                raise BenchError(f"{' '.join(process.argv[9:13])}: ended, {process.status}: {tail(process.errors)}")

    def call(self, uid, argv):
        """Seconds that a program of this user's takes, as a whole."""
        return run(self.as_user(uid, argv), self.folder, limit_s=120).wall_s

    def figures(self, uid, argv):
        """What a program of this user's prints: one JSON object."""
        output = os.path.join(self.folder, "output")
        run(self.as_user(uid, argv), self.folder, stdout=output, limit_s=600)
        with open(output, encoding="utf-8") as file:
            return json.load(file)

    # Floods

    def items(self, item, count=ITEMS):
        """The path of a file of so many equal items."""
        path = os.path.join(self.folder, f"items{item}x{count}")
        if not os.path.exists(path):
            line = f"{item}\n".encode()
            with open(path, "wb") as file:
                for at in range(0, count, 100_000):
                    file.write(line * min(100_000, count - at))
            os.chmod(path, 0o644)
        return path

    def flood(self, uid, function, item):
        """pmapc over 10 million items, read as fast as the daemon takes them."""
        self.start(uid, self.pmapc("map", "-a", self.items(item), function))

    def crowd(self, uid, function, item, connections, jobs, items):
        """crowd.c; returns the file that it writes its line to when all is with the daemon."""
        ready = os.path.join(self.folder, f"ready{len(self.processes)}")
        reader, writer = os.pipe()
        argv = [self.program("crowd"), self.endpoint, function, item, *map(str, (connections, jobs, items))]
        self.start(uid, argv, reader, ready)
        os.close(reader)
        self.inputs.append(writer)  # it ends when this is closed
        return ready

    def await_ready(self, files, limit_s):
        self.until(lambda: all(os.path.getsize(file) > 0 for file in files), limit_s, "the crowd is not there")

    # What the daemon says

    def status(self):
        output = os.path.join(self.folder, "status")
        run(self.pmapc("status", "--json"), self.folder, stdout=output, limit_s=60)
        with open(output, encoding="utf-8") as file:
            return json.load(file)

    def owner(self, uid):
        rows = [row for row in self.status()["owners"] if row["uid"] == uid]
        return rows[0] if rows else {"running": 0, "run_s": 0.0, "jobs": 0, "items_done": 0}

    def until(self, condition, limit_s, what):
        deadline = time.monotonic() + limit_s
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise BenchError(f"{what} after {limit_s} s")
            time.sleep(POLL_S)

    def await_running(self, uid, count=1):
        self.until(lambda: self.owner(uid)["running"] >= count, 60, f"uid {uid} does not run {count} items")

    def slot_seconds(self, uids):
        """Slot time of each of them so far, as far as their items have ended."""
        run_s = {row["uid"]: row["run_s"] for row in self.status()["owners"]}
        return [run_s.get(uid, 0.0) for uid in uids]

    def windows(self, uids, seconds, length=None):
        """Slot time of each of them in consecutive windows of this length (one window) over so many seconds."""
        length = length or seconds
        before, windows = self.slot_seconds(uids), []
        start = time.monotonic()
        while len(windows) * length < seconds - 0.01:
            time.sleep(max(0.0, start + (len(windows) + 1) * length - time.monotonic()))
            now = self.slot_seconds(uids)
            windows.append([b - a for a, b in zip(before, now)])
            before = now
            self.check()
        return windows


def shares(times):
    whole = sum(times)
    if whole <= 0:
        raise BenchError("nobody has used any slot time")
    return [time_s / whole for time_s in times]


def jain(times):
    """Jain's index: 1 where all are equal, 1/n where one has everything (R. Jain et al., DEC-TR-301, 1984)."""
    return sum(times) ** 2 / (len(times) * sum(t * t for t in times)) if any(times) else 0.0


def percentiles(times):
    """(median, p99, longest) in ms of times in s."""
    times = sorted(times)
    return statistics.median(times) * 1e3, times[len(times) * 99 // 100] * 1e3, times[-1] * 1e3
