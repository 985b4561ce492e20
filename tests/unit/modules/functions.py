"""Functions for test_host."""

import os
import sys
import time

calls = 0


def double(x):
    return 2 * int(x)


def deep(x):
    return inner(x)


def inner(x):
    raise KeyError("no " + x)


def act(x):
    global calls
    calls += 1
    if x == "print":
        print("said", "by act", end="")
    elif x == "exit":
        sys.exit("enough")
    elif x == "interrupt":
        raise KeyboardInterrupt
    elif x == "leave":
        os._exit(3)
    elif x == "two lines":
        raise ValueError("one\ntwo")
    elif x == "second time" and calls % 2:
        raise ValueError("the first time")
    elif x == "fork":
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
    elif x == "recurse":
        return act(x)
    elif x == "surrogate":
        return "\ud800"
    elif x == "newlines":
        return "a\nb\n"
    elif x == "bytes":
        return b"\xff\x00"
    elif x == "none":
        return None
    return x


class Lingering:
    """A result whose end takes its time, or is the process's."""

    def __init__(self, x):
        self.x = x

    def __del__(self):
        act(self.x) if self.x == "leave" else time.sleep(float(self.x))


def lingering(x):
    return Lingering(x)


number = 3
