"""
The load of soak.py: threads, each of which does one thing after the other for a user until a round is over. Some want
the right output, some are killed or give up, some break the protocol, some ask, some kill workers and reload.
"""

import collections
import json
import os
import random
import select
import shutil
import signal
import sys
import threading
import time

import soakorders
from fairpool import ALICE, BOB, CAROL, DAVE
from procs import BenchError, Process, tail
from soaklook import read

EVE = 20005  # who breaks the protocol; DAVE is whose clients come to no good end
HONEST = (ALICE, BOB, CAROL)
BEREAVED = (CAROL, DAVE)  # whose workers are killed
USERS = (*HONEST, DAVE, EVE)
LIMIT_S = 180  # for any one job
ERRORS_MOST = 20
MAKEFILE = "all: a b c; @echo $(N)\na b c: ; @true\n"
SECTIONS = (
    "",
    "[user 20001]\nweight = 3\n[user 20002]\nslots = 1\n",
    "[defaults]\njobs = 500\nconnections = 100\n",
    "[pool]\nguarantee = no\n",
    "[pool]\nnonsense = 1\n",  # refused, and the one before stays in force
)


def kill_of(pid, uids, number):
    """Sends that signal to a process, if it still is one of these users'; True if it did."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Looked at behind pidfd_open, so that it is this process's.
        uid = read(f"/proc/{pid}/status").partition("\nUid:\t")[2].partition("\t")[0]
        if not uid or int(uid) not in uids:
            return False
        signal.pidfd_send_signal(pidfd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)


class Load:
    """What the actors share. counts: what was done, by its name; errors: what went wrong that should not."""

    def __init__(self, pool, look, options):
        self.pool, self.look, self.options = pool, look, options
        self.counts, self.errors = collections.Counter(), []
        self.lock, self.over, self.number = threading.Lock(), threading.Event(), 0
        self.tmp = os.path.join(pool.folder, "tmp")
        self.files = os.path.join(pool.folder, "files")  # inputs, outputs and what is told on stderr
        os.mkdir(self.tmp)
        os.chmod(self.tmp, 0o1777)
        os.mkdir(self.files)
        module = self.copy(os.path.join(os.path.dirname(options.bin), "examples", "libcube_example.so"))
        make = pool.write("makefile", MAKEFILE) if shutil.which("make") else None
        self.place = soakorders.Place(module, make)
        self.foe = self.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "soakfoe.py"))
        self.environment = {"TMPDIR": self.tmp, "HOME": pool.folder}
        self.actors = [Asker(self, 0), Victim(self, 0), Foe(self, 0), Killer(self, 0)]
        self.actors += [Honest(self, i) for i in range(options.clients)] + [Guest(self, 0)]
        self.lodgers = [Lodger(self, i, uid) for i, uid in enumerate(HONEST)]

    def copy(self, path):
        """Puts a file where all users may read it; the path there."""
        there = os.path.join(self.pool.folder, os.path.basename(path))
        shutil.copyfile(path, there)
        os.chmod(there, 0o755)
        return there

    def note(self, name, times=1):
        with self.lock:
            self.counts[name] += times

    def fail(self, what):
        with self.lock:
            self.errors.append(what)
        if len(self.errors) >= ERRORS_MOST:
            self.over.set()

    def next_number(self):
        with self.lock:
            self.number += 1
            return self.number

    def round(self, seconds):
        """Everybody does what they do for so long, and then ends what they are at."""
        self.over.clear()
        threads = [threading.Thread(target=actor.act) for actor in [*self.actors, *self.lodgers]]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over.wait(0.2):
            if self.pool.daemon.process.wait(0):
                self.fail("the daemon has ended")
                break
        self.over.set()
        for thread in threads:
            thread.join()

    def warm_up(self):
        """As many threads as there may be: all users at once have items that hold a slot."""
        processes = [actor.start(uid, self.pool.pmapc("map", "-c", "1", "sleep"), 4 * self.pool.slots * b"0.5\n")
                     for actor, uid in zip(self.actors, USERS)]  # fmt: skip
        for actor, process in zip(self.actors, processes):
            status, _, errors = actor.finish(process)
            if status != 0:
                raise BenchError(f"warm-up: status {status}: {errors}")

    def end(self):
        for lodger in self.lodgers:
            lodger.end()


class Actor:
    """One thread of the load. do() does one thing."""

    pause_s = 0.0  # the mean, between two things

    def __init__(self, load, number):
        self.load, self.pool = load, load.pool
        self.dice = random.Random(f"{load.options.seed} {type(self).__name__} {number}")

    def act(self):
        while not self.load.over.wait(self.dice.uniform(0, 2 * self.pause_s)):
            try:
                self.do()
            except BenchError as error:
                self.load.fail(f"{type(self).__name__}: {error}")

    def do(self):
        raise NotImplementedError

    def path(self, name):
        return os.path.join(self.load.files, f"{name}{self.load.next_number()}")

    def start(self, uid, argv, data=b"", stdout=None):
        """A program of this user's; its output is in a file, unless stdout is a descriptor."""
        stem = self.path("job")
        with open(stem, "wb") as file:
            file.write(data)
        out = f"{stem}.out" if stdout is None else stdout
        process = Process(self.pool.as_user(uid, argv), stem, out, f"{stem}.err", self.load.environment)
        process.stem = stem
        return process

    def finish(self, process, limit_s=LIMIT_S):
        """(status, stdout's bytes, the last lines of stderr); of one that outlives the limit an error."""
        ended = process.wait(limit_s)
        process.kill()
        out, errors = b"", tail(f"{process.stem}.err")
        if os.path.exists(f"{process.stem}.out"):
            with open(f"{process.stem}.out", "rb") as file:
                out = file.read()
        for suffix in ("", ".out", ".err"):
            if os.path.exists(process.stem + suffix):
                os.unlink(process.stem + suffix)
        if not ended:
            raise BenchError(f"{' '.join(process.argv[-6:])[:200]}: still running after {limit_s} s: {errors}")
        return process.status, out, errors

    def call(self, uid, argv, data=b""):
        return self.finish(self.start(uid, argv, data))


class Honest(Actor):
    """Jobs whose output is looked at, byte by byte; some by a client that sleeps meanwhile."""

    def do(self):
        uid = self.dice.choice(HONEST)
        name, order = soakorders.choose(self.dice, self.load.place, self.pool.root and uid not in BEREAVED)
        argv = self.pool.pmapc(*order.arguments)
        manner = self.dice.random()
        if manner < 0.05:
            status, out, errors = self.stopped(uid, argv, order)
        elif manner < 0.10:
            status, out, errors = self.read_late(uid, argv, order)
        else:
            status, out, errors = self.call(uid, argv, order.input)
        right = order.output(out) if callable(order.output) else out == order.output
        if status != order.status or not right:
            what = f"{len(out)} bytes" + ("" if right else ", which are not the right ones")
            raise BenchError(f"uid {uid}, {name}: status {status}, {what}: {' '.join(argv[3:])[:200]}: {errors}")
        self.load.note(name)

    def stopped(self, uid, argv, order):
        """By ^Z, as it were: for some time it takes nothing."""
        process = self.start(uid, argv, order.input)
        self.load.over.wait(self.dice.uniform(0, 0.2))
        os.kill(process.pid, signal.SIGSTOP)
        self.load.over.wait(self.dice.uniform(0.2, 3))
        os.kill(process.pid, signal.SIGCONT)
        self.load.note("clients that were stopped for a while")
        return self.finish(process)

    def read_late(self, uid, argv, order):
        reader, writer = os.pipe()
        process = self.start(uid, argv, order.input, writer)
        os.close(writer)
        self.load.over.wait(self.dice.uniform(0.2, 3))
        out = bytearray()
        with open(reader, "rb", buffering=0) as file:
            while block := file.read(1 << 20):
                out += block
        self.load.note("clients whose output was read late")
        status, _, errors = self.finish(process)
        return status, bytes(out), errors


class Guest(Actor):
    """Programs with libpmap, which come and go, and compare each result themselves."""

    pause_s = 0.3
    MODES = (("single", 200), ("one", 500), ("map1000", 50), ("isolate", 100), ("rate", 50_000))

    def do(self):
        mode, count = self.dice.choice(self.MODES)
        argv = [self.pool.program("bench_libpmap"), mode, self.pool.endpoint, str(count)]
        status, _, errors = self.call(self.dice.choice(HONEST), argv)
        if status != 0:
            raise BenchError(f"bench_libpmap {mode}: status {status}: {errors}")
        self.load.note("programs with libpmap")


class Lodger(Actor):
    """lodger.c: a connection that stays for the whole run, idle ones at quiet points."""

    pause_s = 1.0

    def __init__(self, load, number, uid):
        super().__init__(load, number)
        stdin, self.into = os.pipe()
        self.answers, stdout = os.pipe()
        argv = [self.pool.program("lodger"), self.pool.endpoint]
        self.errors = self.path("lodger")
        self.process = Process(self.pool.as_user(uid, argv), stdin, stdout, self.errors)
        os.close(stdin)
        os.close(stdout)

    def do(self):
        line = b"%d\n" % self.dice.randrange(1, 20_000)
        poll = select.poll()
        poll.register(self.answers, select.POLLIN)
        os.write(self.into, line)
        if not poll.poll(LIMIT_S * 1000) or os.read(self.answers, 64) != line:
            self.load.over.set()
            raise BenchError(tail(self.errors) or "no answer")
        self.load.note("jobs on lasting connections")

    def end(self):
        os.close(self.into)
        os.close(self.answers)
        if not self.process.wait(20) or self.process.status != 0:
            self.load.fail(f"lodger: status {self.process.status}: {tail(self.errors)}")
        self.process.kill()


class Victim(Actor):
    """Long jobs that come to no good end: their clients are killed, interrupted, or their jobs cancelled."""

    WORK = (
        ["map", "-c", "1", "sleep"],
        ["map", "-c", "1", "--isolate", "sleep"],
        ["map", "--", "sleep"],
        ["map", "--", "sh", "-c", "sleep 100 & sleep $1; head -c 1000000 /dev/zero; sleep $1", "sh"],
        ["map", "-u", "--python", "__import__('time').sleep(float(x)) or x * 100000"],
        ["map", "--filter", "--", "cat"],
        ["map", "--pipe", "-c", "2", "--", "sh", "-c", "cat; sleep 0.2"],
    )

    def do(self):
        items = soakorders.lines(f"{self.dice.uniform(0, 0.5):.3f}" for _ in range(2000))
        process = self.start(DAVE, self.pool.pmapc(*self.dice.choice(self.WORK)), items)
        self.load.over.wait(self.dice.uniform(0, 1.5))
        ends = [self.kill, self.interrupt, self.terminate]
        if self.pool.root:  # else they would be everybody's jobs, and hosts
            ends += [self.cancel, self.cancel_all, self.kill_hosts]
        self.dice.choice(ends)(process)
        process.kill()
        self.finish(process)

    def kill(self, process):
        os.kill(process.pid, signal.SIGKILL)
        self.load.note("clients killed")

    def interrupt(self, process):
        os.killpg(process.pid, signal.SIGINT)
        # It may not have come so far yet as to have a way of its own to end by it.
        if process.wait(20) and process.status not in (0, 130, -signal.SIGINT):
            raise BenchError(f"interrupted: status {process.status}: {tail(process.stem + '.err')}")
        self.load.note("clients interrupted")

    def terminate(self, process):
        os.kill(process.pid, signal.SIGTERM)
        process.wait(20)
        self.load.note("clients terminated")

    def cancel(self, _):
        status, out, errors = self.call(DAVE, self.pool.pmapc("jobs", "--json"))
        if status != 0:
            raise BenchError(f"jobs: status {status}: {errors}")
        for job in json.loads(out):
            if "function" in job:  # it is one's own
                self.call(DAVE, self.pool.pmapc("cancel", str(job["job"])))
                self.load.note("jobs cancelled")

    def cancel_all(self, process):
        status, _, errors = self.call(DAVE, self.pool.pmapc("cancel", "--all"))
        if status != 0:
            raise BenchError(f"cancel --all: status {status}: {errors}")
        process.wait(0.5)
        self.load.note("jobs cancelled")

    def kill_hosts(self, process):
        """What runs in this user's processes, of which the worker is to make the best."""
        for pid in self.load.look.below_workers():
            if self.dice.random() < 0.5 and kill_of(pid, (DAVE,), signal.SIGKILL):
                self.load.note("hosts and items killed")
        process.wait(0.3)


class Foe(Actor):
    """Peers that break the protocol, or read nothing, or leave in the midst of it."""

    pause_s = 0.5

    def do(self):
        hostile = self.pool.program("hostile")
        if self.dice.random() < 0.5 and os.path.exists(hostile):
            self.role(hostile)
        else:
            self.raw()

    def raw(self):
        path, count = self.pool.endpoint.removeprefix("ipc://"), self.dice.randrange(1, 15)
        argv = ["/usr/bin/python3", self.load.foe, path, str(self.dice.randrange(1 << 30)), str(count)]
        status, _, errors = self.call(EVE, argv)
        if status != 0:
            raise BenchError(f"soakfoe.py: status {status}: {errors}")
        self.load.note("raw peers that break the protocol", count)

    def role(self, hostile):
        """The test suite's: one that leaves a long job, one that reads nothing of what it has asked for."""
        reader, writer = os.pipe()
        role = self.dice.choice(("sleeper", "glutton"))
        process = self.start(EVE, [hostile, "--role", role, self.pool.endpoint], b"", writer)
        os.close(writer)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        there = poll.poll(60_000) and os.read(reader, 1) == b"r"
        os.close(reader)
        if there:
            self.load.over.wait(self.dice.uniform(0, 1))
        process.kill()
        _, _, errors = self.finish(process)
        if not there:
            raise BenchError(f"hostile --role {role}: {errors}")
        self.load.note("peers that only give" if role == "glutton" else "peers that leave their jobs")


class Asker(Actor):
    """Questions; each must be answered at once, whatever goes on."""

    pause_s = 0.15
    QUESTIONS = (["status"], ["status", "--json"], ["status", "--users"], ["jobs"], ["functions", "--json"], ["cpus"],
                 ["ping", "-c", "3"], ["top", "-b", "-n", "1"])  # fmt: skip

    def do(self):
        uid = self.dice.choice(USERS)
        if self.dice.random() < 0.2:
            self.explain(uid)
            return
        question = self.dice.choice(self.QUESTIONS)
        status, out, errors = self.call(uid, self.pool.pmapc(*question))
        if status != 0 or not (out or question == ["jobs"]):
            raise BenchError(f"{' '.join(question)}: status {status}: {errors}")
        self.load.note("questions")

    def explain(self, uid):
        status, out, errors = self.call(uid, self.pool.pmapc("jobs", "--json"))
        if status != 0:
            raise BenchError(f"jobs: status {status}: {errors}")
        jobs = [job["job"] for job in json.loads(out) if "function" in job]
        if jobs:
            status, _, errors = self.call(uid, self.pool.pmapc("explain", str(self.dice.choice(jobs))))
            if status not in (0, 1):  # it has ended meanwhile
                raise BenchError(f"explain: status {status}: {errors}")
        self.load.note("questions")


class Killer(Actor):
    """Kills workers, and has the daemon read its configuration again."""

    pause_s = 1.5

    def do(self):
        if self.pool.root and self.dice.random() < 0.4:
            self.reload()
            return
        workers = self.load.look.workers()
        number = self.dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        if workers and kill_of(self.dice.choice(workers), BEREAVED if self.pool.root else (os.getuid(),), number):
            self.load.note("workers killed")

    def reload(self):
        self.pool.configure(self.dice.choice(SECTIONS))
        self.load.note("reloads")


if __name__ == "__main__":
    sys.exit("soakload.py is a part of soak.py")
