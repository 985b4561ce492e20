#!/usr/bin/env python3
"""Runs a program with a full screen on a terminal of its own, and does what a user would.

screen.py COLUMNSxLINES STEP... -- COMMAND...: the steps, one after the other:
see=REGEX: waits until the screen shows that · gone=REGEX: until it does not · type=TEXT: with Python's escapes · resize=COLUMNSxLINES
· run=COMMAND: a shell's, with the program's number in $PROGRAM; must succeed · show: prints the screen, and a line of dashes
· end=STATUS: waits for the program's end, with that status as a shell has it, and for a terminal that is given back.
A step that takes longer than SECONDS fails: the screen is printed on stderr, the program killed, and the exit status is 1.
A regular expression is looked for in the screen's lines, joined by newlines, without blanks at their ends.
"""
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

SECONDS = 30


class Screen:
    """As much of an xterm as ncurses uses, and no more: anything else is an error."""

    SEQUENCE = re.compile(r"\x1b(?:\[([?>!]?)([0-9;]*)([@-~])|([()][A-Z0-9])|([78=>MDEc])|\][0-9;]*(?:\x07|\x1b\\|R))")

    def __init__(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.cells, self.styles = [], []
        self.line = self.column = 0
        self.last, self.style = " ", ""
        self.region = (0, lines)
        self.modes = set()
        self.rest = ""
        self.resize(columns, lines)

    def resize(self, columns, lines):
        """What a terminal makes of the old picture is its affair: here, nothing that could be taken for the new one."""
        self.columns, self.lines, self.region = columns, lines, (0, lines)
        for rows, blank in ((self.cells, "?"), (self.styles, "")):
            rows[:] = [[blank] * columns for _ in range(lines)]
        self.line, self.column = min(self.line, lines - 1), min(self.column, columns - 1)

    def shown(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)

    def scroll(self, top, bottom, count):
        """Up by count, down where that is negative."""
        for rows, blank in ((self.cells, " "), (self.styles, "")):
            for _ in range(abs(count)):
                if count > 0:
                    rows.insert(bottom, [blank] * self.columns)
                    del rows[top]
                else:
                    del rows[bottom - 1]
                    rows.insert(top, [blank] * self.columns)

    def put(self, character):
        if self.column >= self.columns:
            self.column = 0
            self.feed_line()
        self.cells[self.line][self.column] = character
        self.styles[self.line][self.column] = self.style
        self.column += 1
        self.last = character

    def feed_line(self):
        if self.line + 1 == self.region[1]:
            self.scroll(*self.region, 1)
        else:
            self.line = min(self.line + 1, self.lines - 1)

    def erase(self, line, first, end):
        self.cells[line][first:end] = [" "] * len(self.cells[line][first:end])
        self.styles[line][first:end] = [self.style] * len(self.styles[line][first:end])

    def control(self, private, numbers, final):
        n = [int(number or 0) for number in numbers.split(";")]
        count = max(n[0], 1)
        row, column = self.line, min(self.column, self.columns - 1)
        if private:
            if final == "c":  # the form of the Linux console's cursor
                return
            if final not in "hl":
                raise ValueError(f"an escape sequence: {private}{numbers}{final}")
            for mode in n:
                self.modes.add(mode) if final == "h" else self.modes.discard(mode)
                if mode == 1049:  # a second screen, behind which the first one stays as it was
                    self.resize(self.columns, self.lines)
        elif final in "Hf":
            self.line, self.column = min(count, self.lines) - 1, min(max(n[1] if len(n) > 1 else 1, 1), self.columns) - 1
        elif final == "A":
            self.line = max(row - count, 0)
        elif final == "B":
            self.line = min(row + count, self.lines - 1)
        elif final == "C":
            self.column = min(column + count, self.columns - 1)
        elif final == "D":
            self.column = max(column - count, 0)
        elif final in "G`":
            self.column = min(count, self.columns) - 1
        elif final == "d":
            self.line = min(count, self.lines) - 1
        elif final == "K":
            self.erase(row, *((column, self.columns), (0, column + 1), (0, self.columns))[n[0]])
        elif final == "J":
            self.erase(row, *((column, self.columns), (0, column + 1), (0, self.columns))[n[0]])
            for other in (range(row + 1, self.lines), range(row), range(self.lines))[n[0]]:
                self.erase(other, 0, self.columns)
        elif final == "X":
            self.erase(row, column, column + count)
        elif final == "b":
            for _ in range(count):
                self.put(self.last)
        elif final == "P":
            for rows, blank in ((self.cells, " "), (self.styles, "")):
                rows[row] = (rows[row][:column] + rows[row][column + count:] + [blank] * self.columns)[:self.columns]
        elif final == "@":
            for rows, blank in ((self.cells, " "), (self.styles, "")):
                rows[row] = (rows[row][:column] + [blank] * count + rows[row][column:])[:self.columns]
        elif final == "L":
            self.scroll(row, self.region[1], -count)
        elif final == "M":
            self.scroll(row, self.region[1], count)
        elif final in "ST":
            self.scroll(*self.region, count if final == "S" else -count)
        elif final == "r":
            self.region = (count - 1, n[1] if len(n) > 1 and n[1] else self.lines)
            self.line = self.column = 0
        elif final == "m":
            self.style = "" if numbers in ("", "0") else (self.style + ";" + numbers).removeprefix(";")
        elif final not in "hlt":
            raise ValueError(f"an escape sequence: {numbers}{final}")

    def feed(self, text):
        text = self.rest + text
        at = 0
        while at < len(text):
            c = text[at]
            if c == "\x1b":
                found = self.SEQUENCE.match(text, at)
                if not found:
                    if len(text) - at > 30:
                        raise ValueError(f"an escape sequence: {text[at:at + 20]!r}")
                    break
                at = found.end()
                if found[3]:
                    self.control(found[1], found[2], found[3])
                elif found[5] == "M":
                    if self.line == self.region[0]:
                        self.scroll(*self.region, -1)
                    else:
                        self.line = max(self.line - 1, 0)
                elif found[5] and found[5] not in "=>78":
                    raise ValueError(f"an escape sequence: {found[0]!r}")
                continue
            if c == "\r":
                self.column = 0
            elif c == "\n":
                self.feed_line()
            elif c == "\b":
                self.column = max(min(self.column, self.columns - 1) - 1, 0)
            elif c >= " ":
                self.put(c)
            elif c not in "\a\x0f":
                raise ValueError(f"a control character: {c!r}")
            at += 1
        self.rest = text[at:]


class Terminal:
    def __init__(self, columns, lines, command):
        gate, opened = os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.close(opened)
            os.read(gate, 1)
            os.execvp(command[0], command)
        self.before = termios.tcgetattr(self.fd)
        self.screen, self.decoder, self.status = Screen(columns, lines), codecs.getincrementaldecoder("utf-8")(), None
        self.resize(columns, lines)
        os.close(gate)
        os.close(opened)

    def resize(self, columns, lines):
        self.screen.resize(columns, lines)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds):
        """Takes what there is. Returns False when the program has closed the terminal."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.screen.feed(self.decoder.decode(data))
        return bool(data)

    def wait(self, true, what):
        end = time.monotonic() + SECONDS
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(what)
            if not self.read(0.05) and not true():
                raise EOFError(what)

    def ended(self):
        if self.status is None:
            done, how = os.waitpid(self.pid, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(how)
                self.status = code if code >= 0 else 128 - code
        return self.status is not None

    def end(self, status):
        deadline = time.monotonic() + SECONDS
        # The settings are read while the program's last words are still to come: the master end knows them until the end.
        while not self.ended() and time.monotonic() < deadline:
            if not self.read(0.02):
                time.sleep(0.02)
        while select.select([self.fd], [], [], 0)[0] and self.read(0):
            pass
        if self.status != status:
            raise ValueError(f"status {self.status}, not {status}")
        if self.screen.modes & {1, 1049, 1000, 2004} or self.screen.style or termios.tcgetattr(self.fd) != self.before:
            raise ValueError(f"the terminal is not as it was: {self.screen.modes} {self.screen.style!r}")


def size(text):
    return [int(number) for number in text.split("x")]


def take(terminal, step):
    name, _, value = step.partition("=")
    if name == "see":
        terminal.wait(lambda: re.search(value, terminal.screen.shown(), re.M), step)
    elif name == "gone":
        terminal.wait(lambda: not re.search(value, terminal.screen.shown(), re.M), step)
    elif name == "type":
        os.write(terminal.fd, value.encode().decode("unicode_escape").encode("latin-1"))
    elif name == "resize":
        terminal.resize(*size(value))
    elif name == "run":
        subprocess.run(value, shell=True, check=True, env=dict(os.environ, PROGRAM=str(terminal.pid)), timeout=SECONDS)
    elif name == "show":
        while select.select([terminal.fd], [], [], 0.1)[0] and terminal.read(0):
            pass
        print(terminal.screen.shown())
        print("-" * terminal.screen.columns, flush=True)
    elif name == "end":
        terminal.end(int(value))
    else:
        raise ValueError(f"no such step: {step}")


def main():
    split = sys.argv.index("--")
    terminal = Terminal(*size(sys.argv[1]), sys.argv[split + 1:])
    try:
        for step in sys.argv[2:split]:
            try:
                take(terminal, step)
            except (ValueError, OSError, EOFError, subprocess.SubprocessError) as error:
                print(f"{step}: {error!r}\n{terminal.screen.shown()}", file=sys.stderr)
                return 1
    finally:
        if not terminal.ended():
            os.kill(terminal.pid, signal.SIGKILL)
            os.waitpid(terminal.pid, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
