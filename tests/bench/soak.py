#!/usr/bin/python3
"""
Minutes of mixed load on a daemon of its own: do memory, descriptors, threads, processes and files stay as they are?

    tests/bench/soak.py --bin build/release/bin [--minutes N] [--round S] [--seed N] [--json FILE]

Load of all kinds (soakload.py) comes in rounds; between two of them there is a quiet point, at which every job has
ended. What is measured at quiet points must be flat: descriptors, threads and files equal, but for workers that are
still warm; at the end, when these have gone, no process but the daemon's two. The memory that is the broker's and the
launcher's own may grow by no more than --bound of its size over the whole run: the slope of the line through the second
half of the quiet points, less twice its standard error. That is judged from 5 minutes on: it takes two or three until
everything has been as large as it becomes. What grows by less a leak checker finds: with the programs of build/asan
each process that ends says what it has lost, and memory is not judged.
Every job that nobody spoiled must have the right output. The first round is a warm-up, which counts for nothing.
As root the machine's daemon, with several users, who need no accounts; for anybody else a private pool.
Exit status: 0 if all is flat and right, 1 if not, 2 for a usage error.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import soaklook  # noqa: E402
from fairpool import Pool  # noqa: E402
from procs import BenchError  # noqa: E402
from soakload import USERS, Load  # noqa: E402

QUIET_S = 60  # until nothing runs any more
REST_S = 1.5  # from there to a quiet point: after a second the broker gives back what memory it can
COLD_S = 60  # until the last warm worker has gone, which it has after 30 s of rest
JUDGED_MIN = 5  # minutes that a run must have for its memory to be judged
HEAD = ("at", "quiet after", "done", "broker PSS", "own", "launcher PSS", "own", "workers' PSS", "descriptors",
        "threads", "processes", "files", "mapped")  # fmt: skip


def is_quiet(status, lodgers):
    """Nothing but the connections that stay, and the one that asks."""
    nothing = ("busy", "above", "jobs", "waiting", "orphans", "queued_items", "held_bytes")
    return not any(status[key] for key in nothing) and status["connections"] == status["sessions"] == lodgers + 1


def await_quiet(pool, look, lodgers):
    deadline = time.monotonic() + QUIET_S
    while True:
        status, below = pool.status(), look.below_workers()
        if is_quiet(status, lodgers) and not below:
            time.sleep(REST_S)
            return status
        seen = {key: value for key, value in status.items() if isinstance(value, int)}
        names = [soaklook.read(f"/proc/{pid}/cmdline").replace("\0", " ") for pid in below]
        if time.monotonic() > deadline:
            raise BenchError(f"not quiet after {QUIET_S} s: {seen}, {names}")
        time.sleep(0.1)


def await_cold(look):
    """All warm workers have gone."""
    deadline = time.monotonic() + COLD_S
    while look.workers() or look.below_workers():
        if time.monotonic() > deadline:
            raise BenchError(f"after {COLD_S} s of rest there are still {len(look.workers())} workers")
        time.sleep(0.2)


def strays(pool):
    """Processes of the throw-away users' which are not below the daemon any more."""
    if not pool.root:
        return []
    everybody = soaklook.processes()
    ours = set(soaklook.tree(os.getpid(), everybody))
    found = []
    for pid in everybody.keys() - ours:
        uids = soaklook.read(f"/proc/{pid}/status").partition("\nUid:\t")[2].partition("\n")[0].split()
        if uids and int(uids[0]) in USERS:
            found.append(soaklook.read(f"/proc/{pid}/cmdline").replace("\0", " "))
    return found


def row(point, begin, done):
    broker, launcher = point["broker"], point["launcher"]
    return (
        f"{point['at'] - begin:.0f} s", f"{point['quiet_after_s']:.1f} s", done, broker["pss_kib"],
        broker["private_kib"], launcher["pss_kib"], launcher["private_kib"], point["theirs"]["pss_kib"],
        f"{broker['descriptors']} + {launcher['descriptors']}", f"{broker['threads']} + {launcher['threads']}",
        f"2 + {point['workers']} + {point['below']}", point["files"],
        f"{broker['mapped_kib'] >> 10} MiB, {broker['maps']}",
    )  # fmt: skip


def show(cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def is_sanitized(pid):
    maps = soaklook.read(f"/proc/{pid}/maps")
    return "libasan" in maps or "libtsan" in maps


class Run:
    """One whole run. points: at quiet points; the last one is cold."""

    def __init__(self, pool, options):
        self.pool, self.options = pool, options
        pid = pool.daemon.process.pid
        self.load = None
        self.look = soaklook.Look(pid, [pool.folder])
        self.load = Load(pool, self.look, options)
        self.sampler = soaklook.Sampler(self.look, options.every)
        self.sanitized = is_sanitized(pid)
        self.points, self.begin = [], 0.0

    def quiet(self, cold=False):
        if self.pool.root:
            self.pool.configure("")
        asked = time.monotonic()
        try:
            status = await_quiet(self.pool, self.look, len(self.load.lodgers))
        except BenchError as error:
            raise BenchError("\n".join([*self.load.errors, str(error)])) from error
        if cold:
            await_cold(self.look)
        point = self.look.sample()
        point["quiet_after_s"] = point["at"] - asked
        point["jobs_done"], point["items_done"] = status["jobs_done"], status["items_done"]
        self.points.append(point)
        show(row(point, self.begin, sum(self.load.counts.values())))

    def go(self):
        options = self.options
        self.load.warm_up()
        self.load.round(options.round)
        self.begin = time.monotonic()
        show(HEAD)
        show(["---"] * len(HEAD))
        self.quiet()
        self.sampler.start()
        while not self.load.errors and time.monotonic() - self.begin < 60 * options.minutes:
            self.load.round(options.round)
            self.quiet()
        self.sampler.end()
        if not self.load.errors:
            self.quiet(cold=True)
        self.load.end()

    def judge(self):
        judge_memory = not self.sanitized and self.options.minutes >= JUDGED_MIN
        verdict = soaklook.Verdict(self.points, self.options.bound, judge_memory)
        wrong = verdict.wrong + self.load.errors
        if self.points[-1]["workers"] or self.points[-1]["below"]:
            wrong.append("workers are left")
        wrong += [f"left behind: {stray}" for stray in strays(self.pool)]
        return verdict, wrong


def reports(folder):
    """What sanitizers have said. A process that is killed while its leaks are looked for has none."""
    found = []
    for name in sorted(os.listdir(folder)):
        text = soaklook.read(os.path.join(folder, name))
        if text and not all("Unable to get registers from thread" in line for line in text.splitlines()):
            found.append(f"{name}:\n{text[:4000]}")
    return found


def tell(run, verdict, wrong):
    print("\ndone: " + ", ".join(f"{n} {name}" for name, n in sorted(run.load.counts.items(), key=lambda x: -x[1])))
    most = run.sampler.most
    print(f"\nmost in {len(run.sampler.samples)} samples under load: broker {most('broker', 'pss_kib') / 1024:.1f} MiB"
          f" PSS, {most('broker', 'descriptors')} descriptors; launcher {most('launcher', 'pss_kib') / 1024:.1f} MiB;"
          f" workers and what they run {most('theirs', 'pss_kib') / 1024:.0f} MiB,"
          f" {most('theirs', 'descriptors')} descriptors")  # fmt: skip
    for name, growth in verdict.growth.items():
        share, error = 100 * growth["share"], 100 * growth["error"]
        print(f"{name.removesuffix('_kib').replace('_', ', ')}: {growth['mean_kib']:.0f} KiB, grows by {share:+.1f}"
              f" ± {error:.1f} % over the run ({growth['points']} points)")  # fmt: skip
    for what in wrong:
        print(f"wrong: {what}")
    print("flat and right" if not wrong else "falls short")


def parse_arguments():
    parser = argparse.ArgumentParser(description="Minutes of mixed load: is everything as before at the end?")
    parser.add_argument("--bin", required=True, help="the folder of the programs")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--round", type=float, default=25, metavar="S", help="seconds of load at a time (25)")
    parser.add_argument("--every", type=float, default=1, metavar="S", help="seconds between samples under load (1)")
    parser.add_argument("--clients", type=int, default=4, metavar="N", help="that start honest jobs (4)")
    parser.add_argument("--slots", type=int, default=len(os.sched_getaffinity(0)), help="(the CPUs)")
    parser.add_argument("--bound", type=float, default=0.01, help="of memory's growth over the run, as a share (0.01)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is chosen by chance (1)")
    parser.add_argument("--user", default="daemon", help="whom root's daemon becomes (daemon)")
    parser.add_argument("--json", metavar="FILE", help="write all samples there")
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    if options.minutes <= 0 or options.round <= 0 or options.every <= 0:
        parser.error("times are above 0")
    if options.clients < 1 or options.slots < 1:
        parser.error("--clients and --slots start at 1")
    return options


def watch_for_reports():
    """A folder in which any user's program leaves what its sanitizer has to say."""
    folder = tempfile.mkdtemp(prefix="pmapd-soak-reports-")
    os.chmod(folder, 0o1777)
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
        given = os.environ.get(name)
        os.environ[name] = f"{given + ':' if given else ''}log_path={folder}/report:exitcode=99"
    return folder


def soak(options):
    with Pool(options, "", "soak") as pool:
        run = Run(pool, options)
        if options.json:
            options.json = os.path.abspath(options.json)
        print(f"{options.slots} slots, load {os.getloadavg()[0]:.2f}, seed {options.seed}\n")
        run.go()
        verdict, wrong = run.judge()
    return run, verdict, wrong


def main():
    options = parse_arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that clients have it, where we are in the background
    folder = watch_for_reports()
    try:
        run, verdict, wrong = soak(options)
        wrong += reports(folder)
    except BenchError as error:
        print(f"soak.py: {error}", file=sys.stderr)
        for report in reports(folder):
            print(report, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder)
    tell(run, verdict, wrong)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"points": run.points, "samples": run.sampler.samples, "counts": run.load.counts,
                       "growth": verdict.growth, "wrong": wrong}, file, indent=1)  # fmt: skip
            file.write("\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
