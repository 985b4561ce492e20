#!/usr/bin/python3
"""Python's multiprocessing.Pool for each case of the benchmarks: what a user would write instead of pmapc.

peers.py cube50000 SLOTS | square1m | strings FILE | text FILE CHUNK | warm CALLS   (CHUNK 0: the pool's choice)
square1000 is a program for `python3 -c`, in SQUARE_1000. Results are written fast, one a line.
"""

import json
import sys
import time
from multiprocessing import Pool

SQUARE_1000 = r"""
from multiprocessing import Pool
def square(x): return x * x
with Pool(2) as pool: print(*pool.map(square, range(1000)), sep="\n")
"""


def square(x):
    return x * x


def cube(x):
    return x * x * x


def readLine(line):
    return line


def write_numbers(numbers):
    sys.stdout.write("\n".join(map(str, numbers)))
    sys.stdout.write("\n")


def cube50000(slots):
    with Pool(int(slots)) as pool:
        write_numbers(pool.map(cube, range(50000)))


def square1m():
    with Pool(2) as pool:
        write_numbers(pool.map(square, range(1000000)))


def square_text(x):
    return int(x) ** 2


def strings(name):
    """Squares of the numbers that are a file's lines."""
    with open(name, encoding="ascii") as file:
        lines = file.read().splitlines()
    with Pool(2) as pool:
        write_numbers(pool.map(square_text, lines))


def text(name, chunk):
    """Maps over the open file itself, as the tutorial does."""
    with open(name, encoding="utf-8") as file, Pool(2) as pool:
        sys.stdout.writelines(pool.map(readLine, file, int(chunk) or None))


def warm(calls):
    """One call of map over 1000 numbers on a pool that runs already; the first tenth is not counted."""
    calls = int(calls)
    numbers = range(1000)
    expected = [x * x for x in numbers]
    times = []
    with Pool(2) as pool:
        for _ in range(calls // 10 + 1):
            pool.map(square, numbers)
        for _ in range(calls):
            start = time.perf_counter_ns()
            squares = pool.map(square, numbers)
            times.append(time.perf_counter_ns() - start)
            if squares != expected:
                sys.exit("warm: wrong results")
    times.sort()
    median, p99 = times[calls // 2] / 1e3, times[calls * 99 // 100] / 1e3
    print(json.dumps({"mode": "warm", "calls": calls, "median_us": median, "p99_us": p99}))


def square1000():
    exec(SQUARE_1000, globals())  # the same program from this file, to try it by hand


CASES = {f.__name__: f for f in (square1000, cube50000, square1m, strings, text, warm)}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in CASES:
        sys.exit(__doc__)
    CASES[sys.argv[1]](*sys.argv[2:])
