#!/usr/bin/python3
"""How soon pmapd is ready: from its start to READY=1, as a service manager sees it.

    tests/bench/ready.py --bin build/release/bin

As root the machine's daemon, of the user `daemon`; else a private pool.
"""
import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

WANTED_MS = 50


def start(argv, place, path):
    """Seconds until it is ready."""
    begin = time.monotonic()
    daemon = subprocess.Popen(argv, env={**os.environ, "NOTIFY_SOCKET": path}, stderr=subprocess.DEVNULL)
    try:
        while b"READY=1" not in place.recv(4096):
            pass
        passed_s = time.monotonic() - begin
    finally:
        daemon.terminate()
        status = daemon.wait()
    if status != 0:
        raise RuntimeError(f"{' '.join(argv)}: ended with status {status}")
    return passed_s


def drain(place, limit_s):
    """Takes what the last one has said of its end."""
    place.settimeout(0.001)
    try:
        while place.recv(4096):
            pass
    except TimeoutError:
        place.settimeout(limit_s)


def main():
    parser = argparse.ArgumentParser(description="How soon pmapd is ready.")
    parser.add_argument("--bin", required=True, help="the folder of the programs")
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="pmapd-ready-")
    try:
        os.chmod(folder, 0o755)
        path = os.path.join(folder, "notify")
        place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        place.bind(path)
        os.chmod(path, 0o666)
        place.settimeout(30)
        argv = [os.path.join(options.bin, "pmapd"), "-e", f"ipc://{folder}/pool/pmapd.sock"]
        if os.geteuid() == 0:
            config = os.path.join(folder, "pmapd.conf")
            with open(config, "w", encoding="ascii") as file:
                file.write("[daemon]\nuser = daemon\n")
            argv += ["-c", config]
        times = []
        for _ in range(options.times):
            times.append(start(argv, place, path) * 1e3)
            drain(place, 30)
    finally:
        shutil.rmtree(folder)
    print(f"ready after {statistics.median(times):.1f} ms (median of {len(times)}; least {min(times):.1f}, "
          f"most {max(times):.1f}), wanted: under {WANTED_MS}")
    return 0 if statistics.median(times) < WANTED_MS else 1


if __name__ == "__main__":
    sys.exit(main())
