"""What soak.py looks at: memory, descriptors, threads, processes and files of a daemon and all that it has started."""

import os
import re
import threading
import time

from procs import BenchError

WORKERS = ("pmap-worker",)
WARM = "pmap-host\0builtin\0"  # of no job's: it stays with its worker for the next one


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # it has ended meanwhile
        return ""


def processes():
    """pid: (parent, name, state) of all of the machine's."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        text = read(f"/proc/{pid}/stat")
        if text:
            name, rest = text.split("(", 1)[1].rsplit(")", 1)
            state, parent = rest.split()[:2]
            found[int(pid)] = (int(parent), name, state)
    return found


def tree(root, everybody):
    """The pids of all that came of a process, those that it still has."""
    children, pids = {}, []
    for pid, (parent, _, _) in everybody.items():
        children.setdefault(parent, []).append(pid)
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        pids.append(pid)
        waiting += children.get(pid, [])
    return pids


def count(folder):
    try:
        return len(os.listdir(folder))
    except OSError:
        return 0


def open_folders(pid):
    """The launcher keeps the one of the workers' sockets open."""
    links = [os.path.join(f"/proc/{pid}/fd", name) for name in os.listdir(f"/proc/{pid}/fd")]
    return [os.readlink(link) for link in links if os.path.isdir(link)]


def memory(pid):
    """
    KiB of one process: its part of what is in memory (PSS), and what nobody else has: anonymous pages, those that were
    swapped out among them. This one grows with the heap alone; that one also with who shares libraries.
    """
    fields = dict(re.findall(r"^(\w+): +(\d+) kB", read(f"/proc/{pid}/smaps_rollup"), re.MULTILINE))
    if not fields:
        raise BenchError(f"process {pid} is not there, or lets nobody look")
    return int(fields["Pss"]), int(fields["Anonymous"]) + int(fields["Swap"])


def one(pid):
    pss, private = memory(pid)
    status = dict(re.findall(r"^(\w+):\s+(\d+)", read(f"/proc/{pid}/status"), re.MULTILINE))
    return {
        "pss_kib": pss,
        "private_kib": private,
        "mapped_kib": int(status["VmSize"]),
        "maps": read(f"/proc/{pid}/maps").count("\n"),
        "descriptors": count(f"/proc/{pid}/fd"),
        "threads": int(status["Threads"]),
    }


class Look:
    """Who and what belongs to the daemon with this pid; folders: whose files are counted, besides the launcher's."""

    def __init__(self, pid, folders):
        self.pid = pid
        self.launcher = next((p for p, (up, _, _) in processes().items() if up == pid), None)
        if self.launcher is None:
            raise BenchError("the daemon has no launcher")
        self.folders = [*folders, *open_folders(self.launcher)]

    def workers(self):
        everybody = processes()
        return [pid for pid in tree(self.pid, everybody) if everybody[pid][1] in WORKERS]

    def below_workers(self):
        """What runs for somebody: hosts that are a job's, and what they have started."""
        everybody = processes()
        pids = set(tree(self.launcher, everybody)) - {self.launcher}
        rest = [pid for pid in pids if everybody[pid][1] not in WORKERS and everybody[pid][2] != "Z"]
        return [pid for pid in rest if not read(f"/proc/{pid}/cmdline").startswith(WARM)]

    def files(self):
        return sum(len(names) + len(below) for folder in self.folders for _, below, names in os.walk(folder))

    def sample(self):
        everybody = processes()
        pids = tree(self.pid, everybody)
        workers = [pid for pid in pids if everybody[pid][1] in WORKERS]
        rest = set(pids) - {self.pid, self.launcher, *workers}
        sums = {"pss_kib": 0, "private_kib": 0, "descriptors": 0}
        for pid in [*workers, *rest]:
            try:
                got = one(pid)
            except (BenchError, KeyError):
                continue
            sums = {key: value + got[key] for key, value in sums.items()}
        return {
            "at": time.monotonic(),
            "broker": one(self.pid),
            "launcher": one(self.launcher),
            "workers": len(workers),
            "below": len(rest),  # of the workers: hosts, commands, and what has ended and was not waited for
            "dead": sum(everybody[pid][2] == "Z" for pid in pids),
            "theirs": sums,  # of workers, and of what is below them
            "files": self.files(),
        }


class Sampler(threading.Thread):
    """A sample each `every` seconds, whatever goes on."""

    def __init__(self, look, every):
        super().__init__(daemon=True)
        self.look, self.every, self.samples, self.error = look, every, [], None
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(self.every):
            try:
                self.samples.append(self.look.sample())
            except BenchError as error:
                self.error = self.error or error
                return

    def end(self):
        self.over.set()
        self.join()

    def most(self, who, what):
        return max((sample[who][what] for sample in self.samples), default=0)


# Judgement


def slope(times, values):
    """Of the line that fits best, by least squares: what comes on in a second, and its standard error."""
    mean_t, mean_v = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - mean_t) ** 2 for t in times)
    rise = sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values)) / spread
    rest = sum((v - mean_v - rise * (t - mean_t)) ** 2 for t, v in zip(times, values))
    return rise, (rest / (len(times) - 2) / spread) ** 0.5


class Verdict:
    """What quiet points say, the first of which is behind the warm-up and what the others are held against."""

    def __init__(self, points, bound, judge_memory=True):
        self.points, self.wrong, self.growth = points, [], {}
        first = points[0]
        for name, value in self.constants(first).items():
            seen = [self.constants(point)[name] for point in points]
            if any(other != value for other in seen):
                self.wrong.append(f"{name}: {', '.join(map(str, seen))}")
        half = points[len(points) // 2 :] if len(points) > 5 else points
        for who in ("broker", "launcher"):
            for what in ("private_kib", "pss_kib"):
                self.fit(who, what, half, bound, judge_memory and what == "private_kib")

    @staticmethod
    def constants(point):
        """What must be the same at each quiet point; a worker that is still warm has one descriptor at the broker."""
        return {
            "broker's descriptors besides those of warm workers": point["broker"]["descriptors"] - point["workers"],
            "launcher's descriptors": point["launcher"]["descriptors"],
            "broker's threads": point["broker"]["threads"],
            "launcher's threads": point["launcher"]["threads"],
            "processes that have ended and stay": point["dead"],
            "files": point["files"],
        }

    def fit(self, who, what, half, bound, judged):
        if len(half) < 3:
            return
        times, sizes = [p["at"] for p in half], [p[who][what] for p in half]
        whole_s = self.points[-1]["at"] - self.points[0]["at"]
        mean = sum(sizes) / len(sizes)
        share, error = (value * whole_s / mean for value in slope(times, sizes))
        self.growth[f"{who}_{what}"] = {"mean_kib": mean, "share": share, "error": error, "points": len(half)}
        # What the points scatter by is no growth.
        if judged and share - 2 * error > bound:
            self.wrong.append(f"{who}'s own memory grows by {100 * share:.1f} ± {100 * error:.1f} % over the run")
