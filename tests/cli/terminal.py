#!/usr/bin/env python3
"""Runs a program on a terminal of its own and tells what that has shown.

terminal.py COLUMNS [resize=N] [type=TEXT] COMMAND...: a terminal of that width; once two lines of progress have been seen it
becomes N columns wide, or TEXT (with Python's escapes) is typed. A program that stops is continued. Prints a JSON object:
screen: what stands on it at the end, a string a line, without empty ones at its end · updates: lines of progress drawn
· longest: columns of the longest · lines: the last hundred of them · elapsed: seconds · stopped: the screen when it stopped
· wrapped: a line of progress did not fit · status: as a shell has it.
"""
import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

# How a line of progress looks: a percentage, or a count and a rate.
PROGRESS = re.compile(r"^(\[.*\])? *(\d+%|\d+( items?)?  )")


class Screen:
    """As much of a terminal as pmapc uses, and no more: anything else is an error."""

    def __init__(self, columns):
        self.columns = columns
        self.lines = [""]
        self.at = 0
        self.drawn = []
        self.wrapped = False

    def put(self, character):
        if self.at >= self.columns:
            self.wrapped = self.wrapped or PROGRESS.match(self.lines[-1]) is not None
            self.lines.append("")
            self.at = 0
        line = self.lines[-1].ljust(self.at)
        self.lines[-1] = line[:self.at] + character + line[self.at + 1:]
        self.at += 1

    def feed(self, text):
        while text:
            if text.startswith("\x1b"):
                if len(text) < 3:
                    return text
                if not text.startswith("\x1b[K"):
                    raise ValueError(f"an escape sequence: {text[:8]!r}")
                self.lines[-1] = self.lines[-1][:self.at]
                if PROGRESS.match(self.lines[-1]):
                    self.drawn.append(self.lines[-1])
                text = text[3:]
                continue
            if text[0] == "\r":
                self.at = 0
            elif text[0] == "\n":
                self.lines.append("")
            elif text[0] >= " ":
                self.put(text[0])
            else:
                raise ValueError(f"a control character: {text[:8]!r}")
            text = text[1:]
        return ""

    def shown(self):
        lines = [line.rstrip() for line in self.lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines


def set_width(fd, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def start(columns, command):
    """The program waits until its terminal has its width."""
    gate, opened = os.pipe()
    pid, fd = pty.fork()
    if pid == 0:
        os.close(opened)
        os.read(gate, 1)
        os.execvp(command[0], command)
    set_width(fd, columns)
    os.close(gate)
    os.close(opened)
    return pid, fd


def main():
    columns, command, resize, typed = int(sys.argv[1]), sys.argv[2:], None, None
    while "=" in command[0]:
        key, value = command.pop(0).split("=", 1)
        if key == "resize":
            resize = int(value)
        else:
            typed = value.encode().decode("unicode_escape").encode()
    began = time.monotonic()
    pid, fd = start(columns, command)
    screen, decoder, rest, stopped, status = Screen(columns), codecs.getincrementaldecoder("utf-8")(), "", None, None
    while True:
        if select.select([fd], [], [], 0.05)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            if not data:
                break
            rest = screen.feed(rest + decoder.decode(data))
        elif status is None:
            done, how = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if done and os.WIFSTOPPED(how):
                stopped = screen.shown()
                os.kill(pid, signal.SIGCONT)
            elif done:
                status = how
        if len(screen.drawn) >= 2 and resize:
            set_width(fd, resize)
            screen.columns, resize = resize, None
        if len(screen.drawn) >= 2 and typed:
            os.write(fd, typed)
            typed = None
    if status is None:
        status = os.waitpid(pid, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"screen": screen.shown(), "updates": len(screen.drawn), "longest": max(map(len, screen.drawn), default=0),
                      "lines": screen.drawn[-100:], "elapsed": time.monotonic() - began, "stopped": stopped,
                      "wrapped": screen.wrapped, "status": code if code >= 0 else 128 - code}))


main()
