"""Processes for the benchmarks: timed runs of whole programs, a private pmapd, what /proc says of a process.

Nothing here knows a case. Every wait has a limit, and a process that outlives it is killed with its group.
"""

import os
import select
import signal
import socket
import struct
import time


class BenchError(Exception):
    """A program that could not be run, failed, took too long or printed the wrong thing."""


class Skipped(Exception):
    """A case cannot be measured here: something that it needs is not there."""


class Process:
    """
    A program in a process group of its own; stdin, stdout and stderr are files by name, or descriptors;
    environment: variables that differ from ours.
    """

    def __init__(self, argv, stdin=os.devnull, stdout=os.devnull, stderr=os.devnull, environment=None):
        self.argv = argv
        variables = {k: v for k, v in os.environ.items() if k != "PMAP_ENDPOINT"} | (environment or {})
        actions = []
        for number, file in enumerate((stdin, stdout, stderr)):
            if isinstance(file, int):
                actions.append((os.POSIX_SPAWN_DUP2, file, number))
            else:
                flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                actions.append((os.POSIX_SPAWN_OPEN, number, file, flags, 0o600))
        self.status = None  # exit status, negative for a signal; None while it runs
        self.cpu_s = 0.0  # user and system time, its reaped children's included
        self.start = time.perf_counter()
        self.wall_s = 0.0
        try:
            self.pid = os.posix_spawn(argv[0], argv, variables, file_actions=actions, setpgroup=0)
        except OSError as error:
            raise BenchError(f"{argv[0]}: {error.strerror}") from error
        self.pidfd = os.pidfd_open(self.pid)

    def wait(self, limit_s):
        """True when it has ended, and its status, wall_s and cpu_s are known; False after limit_s."""
        if self.status is None:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            if not poll.poll(limit_s * 1000):
                return False
            _, status, usage = os.wait4(self.pid, 0)
            self.wall_s = time.perf_counter() - self.start
            self.cpu_s = usage.ru_utime + usage.ru_stime
            self.status = os.waitstatus_to_exitcode(status)
            os.close(self.pidfd)
        return True

    def kill(self):
        """Ends it and its group, if it still runs."""
        if self.status is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait(60)


def tail(file, lines=3):
    """The last lines of a file, for a message; empty if there is none."""
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return " | ".join(line.rstrip() for line in stream.readlines()[-lines:])
    except OSError:
        return ""


def run(argv, folder, stdin=os.devnull, stdout=os.devnull, limit_s=300, environment=None):
    """Runs a program to its end and returns its Process; an exit status other than 0 is an error."""
    errors = os.path.join(folder, "stderr")
    process = Process(argv, stdin, stdout, errors, environment)
    try:
        if not process.wait(limit_s):
            raise BenchError(f"{' '.join(argv[:3])}: still running after {limit_s} s")
    finally:
        process.kill()
    if process.status != 0:
        raise BenchError(f"{' '.join(argv[:3])}: status {process.status}: {tail(errors)}")
    return process


def memory_kib(pid):
    """(VmHWM, VmRSS) of a process in KiB; None when it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["VmHWM"].split()[0]), int(fields["VmRSS"].split()[0])
    except (OSError, KeyError):
        return None


def cpu_seconds(pid):
    """User and system time of a running process, to 10 ms."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def has_descendant(ancestor, name):
    """True if a process of that name (its comm) is a child of that pid's, or a child's child's …"""
    parents, named = {}, []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                comm, rest = file.read().split("(", 1)[1].rsplit(")", 1)
        except OSError:  # it has ended meanwhile
            continue
        parents[int(pid)] = int(rest.split()[1])
        if comm == name:
            named.append(int(pid))
    for pid in named:
        while pid in parents and pid != ancestor:
            pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def stop_listener(path):
    """Ends the pmapd that listens at a socket, if there is one: the kernel says which process that is."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return
        size = struct.calcsize("3i")  # struct ucred
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(15000):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            raise BenchError(f"the pmapd at {path} did not stop within 15 s")
    finally:
        os.close(pidfd)


class Daemon:
    """A pmapd (a private one) on a socket of its own; answering when the constructor returns."""

    def __init__(self, binaries, folder, name, slots, prefix=(), options=("--private",)):
        self.endpoint = f"ipc://{folder}/{name}.sock"
        self.log = os.path.join(folder, f"{name}.log")
        argv = [*prefix, f"{binaries}/pmapd", *options, "-e", self.endpoint, "-n", str(slots)]
        self.process = Process(argv, stderr=self.log)
        ping = [f"{binaries}/pmapc", "-e", self.endpoint, "ping"]
        deadline = time.monotonic() + 20
        try:
            while True:
                try:
                    run(ping, folder, limit_s=10)
                    return
                except BenchError as error:
                    if self.process.wait(0.02):
                        message = f"pmapd ended with status {self.process.status}: {tail(self.log)}"
                        raise BenchError(message) from error
                    if time.monotonic() > deadline:
                        raise BenchError(f"pmapd does not answer: {error}: {tail(self.log)}") from error
        except BaseException:
            self.process.kill()
            raise

    def stop(self):
        """Ends it by SIGTERM; an error if it had died before, does not obey, or its status is not 0."""
        if self.process.wait(0):
            raise BenchError(f"pmapd had ended with status {self.process.status}: {tail(self.log)}")
        os.kill(self.process.pid, signal.SIGTERM)
        ended = self.process.wait(15)
        self.process.kill()
        if not ended or self.process.status != 0:
            raise BenchError(f"pmapd did not stop cleanly (status {self.process.status}): {tail(self.log)}")
