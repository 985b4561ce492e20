#!/usr/bin/python3
"""A service manager as small as the tests need it: passes listening sockets, writes down what it is told, sees to
the watchdog, starts its service again. Each line of its log: seconds since its start, a blank, and a message's line,
or in brackets what it does itself.

manager.py LOG [--listen PATH]... [--watchdog SECONDS] [--restart] [--when FILE] -- PROGRAM [ARGUMENT]...

--when: the service is started as soon as FILE is there. SIGTERM is passed on, and the service's status is its own.
"""
import os
import select
import signal
import socket
import sys
import time


def arguments(words):
    options = {"log": words.pop(0), "listen": [], "watchdog": 0.0, "restart": False, "when": None}
    while (word := words.pop(0)) != "--":
        name = word.removeprefix("--")
        if name == "restart":
            options[name] = True
        elif name == "listen":
            options[name].append(words.pop(0))
        elif name == "watchdog":
            options[name] = float(words.pop(0))
        else:
            options[name] = words.pop(0)
    return options, words


class Manager:
    def __init__(self, options, command):
        self.options, self.command = options, command
        self.log = open(options["log"], "a", buffering=1)
        self.begin = time.monotonic()
        self.stopping = False
        self.pid = 0
        self.sockets = [self.listen(path) for path in options["listen"]]
        self.notify_path = os.path.abspath(options["log"]) + ".notify"
        self.notify = self.bind(self.notify_path, socket.SOCK_DGRAM)
        self.alive = float("inf")
        signal.signal(signal.SIGTERM, self.stop)

    @staticmethod
    def bind(path, kind):
        """In place of whatever is there, as systemd does."""
        if os.path.exists(path):
            os.unlink(path)
        bound = socket.socket(socket.AF_UNIX, kind)
        bound.bind(path)
        return bound

    @staticmethod
    def listen(path):
        listener = Manager.bind(path, socket.SOCK_STREAM)
        listener.listen(4096)
        return listener

    def say(self, text):
        self.log.write(f"{time.monotonic() - self.begin:.3f} {text}\n")

    def stop(self, *_):
        self.stopping = True
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)

    def start(self):
        self.pid = os.fork()
        if self.pid == 0:
            self.become_service()
        self.say(f"[started {self.pid}]")
        self.alive = float("inf")

    def become_service(self):
        os.environ["NOTIFY_SOCKET"] = self.notify_path
        high = [os.dup(listener.fileno()) for listener in self.sockets]
        for i, fd in enumerate(high):
            os.dup2(os.dup(fd) if fd < 3 + len(high) else fd, 3 + i)
        os.closerange(3 + len(high), 64)
        if high:
            os.environ["LISTEN_FDS"] = str(len(high))
            os.environ["LISTEN_PID"] = str(os.getpid())
        if self.options["watchdog"]:
            os.environ["WATCHDOG_USEC"] = str(int(self.options["watchdog"] * 1e6))
            os.environ["WATCHDOG_PID"] = str(os.getpid())
        os.execvp(self.command[0], self.command)

    def hear(self):
        for line in self.notify.recv(8192).decode().splitlines():
            self.say(line)
            if self.options["watchdog"] and line in ("READY=1", "WATCHDOG=1"):
                self.alive = time.monotonic()

    def watch(self):
        if time.monotonic() - self.alive > self.options["watchdog"]:
            self.say("[watchdog]")
            self.alive = float("inf")
            os.kill(self.pid, signal.SIGKILL)

    def run(self):
        while self.options["when"] and not os.path.exists(self.options["when"]) and not self.stopping:
            time.sleep(0.01)
        if self.stopping:
            return 0
        self.start()
        while True:
            if select.select([self.notify], [], [], 0.01)[0]:
                self.hear()
                continue
            self.watch()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == 0:
                continue
            self.pid = 0
            self.say(f"[ended {os.waitstatus_to_exitcode(status)}]")
            if self.stopping or not self.options["restart"]:
                return os.waitstatus_to_exitcode(status) & 255
            self.start()


if __name__ == "__main__":
    sys.exit(Manager(*arguments(sys.argv[1:])).run())
