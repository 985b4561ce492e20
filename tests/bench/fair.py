#!/usr/bin/python3
"""Many users on one pool: what each of them gets, as root, on a daemon of its own.

    tests/bench/fair.py --bin build/release/bin [--only REGEX] [--seconds N] [--slots N] [--json FILE]

"Share" is of slot time, as `pmapc status` has it at both ends of the window, after 2 s of warm-up. Users are uids
without accounts. --seconds makes every window that long, to try it out.
Exit status: 0 if every case that ran is as wanted, 1 if not, 2 for a usage error.
"""

import argparse
import json
import os
import re
import sys
import time

sys.dont_write_bytecode = True

from fairpool import ALICE, BOB, CAROL, DAVE, ITEMS, Pool, jain, percentiles, raise_descriptors, shares  # noqa: E402
from procs import BenchError  # noqa: E402

WARM_S = 2
BURN = ("burn", "1000")  # items of 1 ms


class Row:
    """wanted and got: texts for the table; run(options) returns (got, good or None, figures)."""

    def __init__(self, name, title, wanted, run):
        self.name, self.title, self.wanted, self.run = name, title, wanted, run


def seconds(options, standard):
    return options.seconds or standard


def percent(values):
    return " : ".join(f"{100 * value:.2f}" for value in values)


# Two users


def two_floods(weights, alices=1, bobs=1):
    """alice and bob flood with so many jobs each, for 30 s."""

    def measure(options):
        sections = "".join(f"[user {uid}]\nweight = {w}\n" for uid, w in zip((ALICE, BOB), weights) if w != 1)
        with Pool(options, sections) as pool:
            for uid, jobs in ((ALICE, alices), (BOB, bobs)):
                if jobs == 1:
                    pool.flood(uid, *BURN)
                else:
                    pool.await_ready([pool.crowd(uid, *BURN, 1, jobs, 200)], 60)
            pool.await_running(ALICE)
            pool.await_running(BOB)
            time.sleep(WARM_S)
            got = shares(pool.windows((ALICE, BOB), seconds(options, 30))[0])
        wanted = [weight / sum(weights) for weight in weights]
        good = all(abs(g - w) <= 0.02 for g, w in zip(got, wanted))
        return percent(got) + " %", good, {"shares": got}

    return measure


def round_trips(pool):
    count = 2000
    return pool.figures(BOB, [pool.program("bench_libpmap"), "single", pool.endpoint, str(count)])


def single_jobs(options):
    """bob's round trips on an idle pool, and while alice holds 10 million items of 1 ms."""
    with Pool(options) as pool:
        idle = round_trips(pool)
        pool.flood(ALICE, *BURN)
        pool.await_running(ALICE)
        time.sleep(WARM_S)
        busy = round_trips(pool)
        pool.check()
    more = (busy["p99_us"] - idle["p99_us"]) / 1e3
    got = f"+{more:.2f} ms: p99 {idle['p99_us'] / 1e3:.2f} → {busy['p99_us'] / 1e3:.2f} ms, median "
    got += f"{idle['median_us'] / 1e3:.2f} → {busy['median_us'] / 1e3:.2f}, longest {busy['max_us'] / 1e3:.1f}"
    return got, more <= 15, {"idle": idle, "busy": busy}


def single_processes(options):
    """The same by 200 whole pmapc, one after the other."""
    with Pool(options) as pool:
        argv = pool.pmapc("map", "square", ":::", "7")
        idle = [pool.call(BOB, argv) for _ in range(200)]
        pool.flood(ALICE, *BURN)
        pool.await_running(ALICE)
        time.sleep(WARM_S)
        busy = [pool.call(BOB, argv) for _ in range(200)]
        pool.check()
    before, after = percentiles(idle), percentiles(busy)
    got = f"+{after[1] - before[1]:.1f} ms: p99 {before[1]:.1f} → {after[1]:.1f} ms, "
    got += f"median {before[0]:.1f} → {after[0]:.1f}, longest {after[2]:.1f}"
    return got, None, {"idle_s": idle, "busy_s": busy}


def guarantee(options):
    """alice fills every slot with sleep 600; bob asks for one square after the other."""
    with Pool(options) as pool:
        pool.start(ALICE, pool.pmapc("map", "-c", "1", "sleep", ":::", *["600"] * 2 * pool.slots))
        pool.await_running(ALICE, pool.slots)
        times = []
        for _ in range(10):
            times.append(pool.call(BOB, pool.pmapc("map", "square", ":::", "7")))
            time.sleep(0.3)
        pool.check()
    return f"longest of 10: {1e3 * max(times):.0f} ms", max(times) <= 0.3, {"times_s": times}


class Held:
    """An owner's slot time by how many slots it holds, for items that take longer than the window."""

    def __init__(self, pool, uid):
        self.pool, self.uid, self.slot_s = pool, uid, 0.0
        self.at, self.running = time.monotonic(), pool.owner(uid)["running"]

    def step(self):
        now, running = time.monotonic(), self.pool.owner(self.uid)["running"]
        self.slot_s += (now - self.at) * (running + self.running) / 2
        self.at, self.running = now, running


def long_items(guaranteed):
    """
    alice starts 16 items of 10 s at once, then bob floods: shares from the moment when he came. With the guarantee she
    has one slot at any time, had she more than her share before or not: so what it gives is left out by leaving it out.
    """

    def measure(options):
        with Pool(options, "" if guaranteed else "[pool]\nguarantee = no\n") as pool:
            length = max(40, seconds(options, 60))  # her first items alone take 10 s, and evening that out as long
            pool.items(BURN[1])  # made before the clock runs
            pool.start(ALICE, pool.pmapc("map", "-c", "1", "sleep", ":::", *["10"] * 16))
            pool.await_running(ALICE, min(16, pool.slots))
            alice, before = Held(pool, ALICE), pool.slot_seconds((BOB,))[0]
            pool.flood(BOB, *BURN)
            end = time.monotonic() + length
            while time.monotonic() < end:
                time.sleep(0.1)
                alice.step()
            bob_s = pool.slot_seconds((BOB,))[0] - before
            if pool.owner(ALICE)["jobs"] == 0:
                raise BenchError("alice's items are through before the end: too many slots, or too long a window")
            pool.check()
        got = shares((alice.slot_s, bob_s))
        good = None if guaranteed else abs(got[1] - 0.5) <= 0.05
        return percent(got) + " %", good, {"shares": got, "slot_s": (alice.slot_s, bob_s)}

    return measure


# Many users


def four_users(options):
    """1, 10, 100 and 1000 jobs: Jain's index in each 2 s."""
    users = ((ALICE, 1), (BOB, 10), (CAROL, 100), (DAVE, 1000))
    with Pool(options, "[defaults]\njobs = 2000\n") as pool:
        pool.await_ready([pool.crowd(uid, *BURN, 1, jobs, max(20, 2000 // jobs)) for uid, jobs in users], 120)
        time.sleep(WARM_S)
        windows = pool.windows([uid for uid, _ in users], seconds(options, 30), 2)
    indices = [jain(window) for window in windows]
    got = f"least {min(indices):.4f} of {len(indices)} windows"
    return got, min(indices) >= 0.99, {"indices": indices, "windows": windows}


LIMITS = "queued_bytes = 16G\n[defaults]\njobs = 2000\nconnections = 200\nqueued_bytes = 4G\n"


def throughput(pool, length):
    before, start = pool.status()["items_done"], time.monotonic()
    time.sleep(length)
    return (pool.status()["items_done"] - before) / (time.monotonic() - start)


def crowded(options):
    """1,000 clients of 10 uids, 10,000 jobs, 10 million items queued."""
    descriptors = raise_descriptors()
    uids = range(20010, 20020)
    connections, jobs, items = options.crowd
    if descriptors < 20 * connections + 100:
        raise BenchError(f"too few descriptors for {connections} connections in a process: {descriptors}")
    length = seconds(options, 30)
    with Pool(options, LIMITS) as pool:
        pool.flood(ALICE, *BURN)
        pool.await_running(ALICE)
        time.sleep(WARM_S)
        empty = throughput(pool, length)
    with Pool(options, LIMITS) as pool:
        start = time.monotonic()
        pool.await_ready([pool.crowd(uid, *BURN, connections, jobs, items) for uid in uids], 900)
        ready_s = time.monotonic() - start
        time.sleep(WARM_S)
        full = throughput(pool, length)
        times = percentiles([pool.call(ALICE, pool.pmapc("status")) for _ in range(50)])
        status = pool.status()
        pool.check()
        memory = resident(pool.daemon.process.pid)
    rest = {key: status[key] for key in ("connections", "sessions", "jobs", "queued_items", "held_bytes")}
    got = f"status {times[0]:.1f} ms (longest {times[2]:.1f}); {full / empty:.3f} of {empty:.0f}/s; "
    got += f"{status['sessions']} sessions, {status['jobs']} jobs, {status['queued_items']} items, {memory:.0f} MiB"
    figures = {"status_ms": times, "empty_per_s": empty, "full_per_s": full, "ready_s": ready_s, "status": rest}
    enough = status["queued_items"] >= 0.95 * 10 * connections * jobs * items
    return got, times[0] < 50 and full >= 0.9 * empty and enough, figures


def resident(pid):
    """MiB of the daemon, which is a child of setpriv only until that has become it."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


ROWS = [
    Row("equal", "alice and bob flood with `burn 1000`", "50 : 50 ± 2", two_floods((1, 1))),
    Row("weighted", "the same, weight 2 : 1", "67 : 33 ± 2", two_floods((2, 1))),
    Row("jobs", "alice has 1 job, bob 50, all floods", "50 : 50 ± 2", two_floods((1, 1), bobs=50)),
    Row("single", f"alice holds {ITEMS:,} items of 1 ms; bob's 2000 `square`, one after the other, libpmap",
        "p99 at most 15 ms over that on an idle pool", single_jobs),
    Row("pmapc", "the same by 200 pmapc, whole processes", "", single_processes),
    Row("guarantee", "alice fills every slot with `sleep 600`; bob's `square`", "≤ 300 ms", guarantee),
    Row("long", "alice starts 16 items of 10 s, then bob floods with items of 1 ms; `guarantee = no`",
        "50 : 50 ± 5", long_items(False)),
    Row("long-given", "the same with the guarantee", "", long_items(True)),
    Row("jain", "4 users of 1, 10, 100, 1000 jobs: Jain's index over each 2 s", "≥ 0.99", four_users),
    Row("crowd", "1,000 clients of 10 uids, 10,000 jobs, 10 million items queued",
        "status < 50 ms, throughput ≥ 0.9 of an empty pool's", crowded),
]  # fmt: skip


def parse_arguments():
    parser = argparse.ArgumentParser(description="Many users on one pool: what each of them gets.")
    parser.add_argument("--bin", required=True, help="the folder of the programs")
    parser.add_argument("--only", default="", metavar="REGEX", help="only the cases whose name matches")
    parser.add_argument("--list", action="store_true", help="print the cases' names and end")
    parser.add_argument("--seconds", type=float, metavar="N", help="each window's length (30, or 60)")
    parser.add_argument("--slots", type=int, default=len(os.sched_getaffinity(0)), help="(the CPUs)")
    parser.add_argument("--user", default="daemon", help="whom the daemon becomes (daemon)")
    parser.add_argument("--crowd", default="100,10,1000", metavar="C,J,I",
                        help="of each of 10 uids: connections, jobs on each, items of each (100,10,1000)")  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    try:
        options.crowd = tuple(int(number) for number in options.crowd.split(","))
        options.rows = [row for row in ROWS if re.search(options.only, row.name)]
    except (ValueError, re.error) as error:
        parser.error(str(error))
    if len(options.crowd) != 3 or min(options.crowd) < 1 or options.slots < 1:
        parser.error("--crowd takes three numbers, which start at 1, as does --slots")
    if options.seconds is not None and options.seconds < 2:
        parser.error("--seconds starts at 2")
    if not options.rows:
        parser.error(f"no case matches {options.only!r}")
    return options


def main():
    options = parse_arguments()
    if options.list:
        for row in options.rows:
            print(f"{row.name:16}{row.title}")
        return 0
    if os.geteuid() != 0:
        print("fair.py: only root can be several users", file=sys.stderr)
        return 2
    print(f"{options.slots} slots, load {os.getloadavg()[0]:.2f}\n")
    print("| case | wanted | got | verdict |\n|---|---|---|---|", flush=True)
    rows, errors = [], []
    for row in options.rows:
        record = {"name": row.name, "case": row.title, "wanted": row.wanted}
        try:
            got, good, record["figures"] = row.run(options)
            record["verdict"] = "info" if good is None else "ok" if good else "falls short"
        except BenchError as error:
            got, record["verdict"] = "", "error"
            errors.append(f"{row.name}: {error}")
        record["got"] = got
        rows.append(record)
        print(f"| {row.title} | {row.wanted} | {got} | {record['verdict']} |", flush=True)
    for error in errors:
        print(f"fair.py: {error}", file=sys.stderr)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"slots": options.slots, "rows": rows, "errors": errors}, file, indent=1)
            file.write("\n")
    return 0 if all(record["verdict"] in ("ok", "info") for record in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
