#!/usr/bin/python3
"""
The gap that a client sees when the daemon is killed, or stopped, and started again at once: the longest time between two
results around each of these, over one job whose items take 10 ms. Its output is looked at as well.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time

from procs import BenchError, Process, run, tail

ITEM_S = 0.01
PAUSE_S = 0.5  # before and behind each restart
LIMIT_S = 1.0  # what is asked for


class Daemon:
    """A private pmapd that is ended and started again at the same place."""

    def __init__(self, bin_folder, folder, slots):
        self.argv = [f"{bin_folder}/pmapd", "--private", "-n", str(slots), "-e", f"ipc://{folder}/socket"]
        self.process = Process(self.argv)

    def restart(self, number):
        os.kill(self.process.pid, number)
        if not self.process.wait(30):
            raise BenchError("the daemon does not end")
        self.process = Process(self.argv)

    def end(self):
        self.process.kill()


def read_times(descriptor, times):
    """Notes when lines come, until they end."""
    while block := os.read(descriptor, 65536):
        times.append((time.perf_counter(), block.count(b"\n")))


def measure(options, folder):
    """The gaps, one for each restart."""
    daemon = Daemon(options.bin, folder, options.slots)
    environment = {"PMAP_ENDPOINT": f"ipc://{folder}/socket"}
    count = int(options.restarts * 2.5 * PAUSE_S / ITEM_S * options.slots)
    items, errors = f"{folder}/items", f"{folder}/errors"
    with open(items, "w", encoding="ascii") as file:
        file.write(f"{ITEM_S}\n" * count)
    gaps, times = [], []
    try:
        while not os.path.exists(f"{folder}/socket"):
            time.sleep(0.01)
        run([f"{options.bin}/pmapc", "ping", "-c", "1"], folder, environment=environment)
        out, into = os.pipe()
        client = Process([f"{options.bin}/pmapc", "map", "-c", "1", "sleep"], items, into, errors, environment)
        os.close(into)
        reader = threading.Thread(target=read_times, args=(out, times))
        reader.start()
        for _ in range(options.restarts):
            time.sleep(PAUSE_S * random.uniform(0.9, 1.1))
            before = time.perf_counter() - 2 * ITEM_S
            daemon.restart(signal.SIGTERM if options.term else signal.SIGKILL)
            time.sleep(PAUSE_S)
            around = [at for at, _ in times if at >= before]
            if len(around) < 2:
                raise BenchError(f"nothing came within {PAUSE_S} s: {tail(errors)}")
            gaps.append(max(later - at for at, later in zip(around, around[1:])))
        reader.join()
        os.close(out)
        if not client.wait(60) or client.status != 0 or sum(lines for _, lines in times) != count:
            raise BenchError(f"status {client.status}, {sum(lines for _, lines in times)} of {count}: {tail(errors)}")
    finally:
        daemon.end()
    return sorted(gaps)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default="build/release/bin", help="the folder of pmapd and pmapc")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--term", action="store_true", help="stop it by SIGTERM, which lets it end what runs")
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    with tempfile.TemporaryDirectory() as folder:
        try:
            gaps = measure(options, folder)
        except BenchError as error:
            print(f"gap.py: {error}", file=sys.stderr)
            return 1
    print(f"{len(gaps)} restarts, load {os.getloadavg()[0]:.2f}: gap {gaps[0] * 1e3:.0f} to {gaps[-1] * 1e3:.0f} ms,"
          f" median {gaps[len(gaps) // 2] * 1e3:.0f} ms")
    return 0 if gaps[-1] < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
