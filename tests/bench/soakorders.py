"""
The jobs of soak.py that must have the right output: what pmapc is asked for, and what must come of it. Nothing here
starts anything. Each kind is a function of (dice, place) to an Order, dice being a random.Random.
"""

import codecs
import collections
import hashlib

# input: stdin's bytes. output: stdout's, or a function of them that says whether they are right.
Order = collections.namedtuple("Order", "arguments input output status", defaults=(b"", b"", 0))
# module: the path of a shared object that has rot13; make: that of a makefile, or None without make.
Place = collections.namedtuple("Place", "module make")

MIB = 1 << 20


def lines(items):
    return "".join(f"{item}\n" for item in items).encode()


def numbers(dice, most):
    return [dice.randrange(1 << 31) for _ in range(dice.randrange(1, most))]


def words(dice, most):
    return ["".join(dice.choices("abcxyz ", k=dice.randrange(12))) for _ in range(dice.randrange(1, most))]


BUILTINS = {
    "echo": str,
    "square": lambda x: int(x) ** 2,
    "cube": lambda x: int(x) ** 3,
    "length": lambda x: len(str(x)),
    "sha256": lambda x: hashlib.sha256(str(x).encode()).hexdigest(),
}


def builtin(dice, _):
    name, items = dice.choice(list(BUILTINS)), numbers(dice, 5000)
    options = dice.choice(([], ["-c", "1"], ["-c", "50"], ["-j", "1"], ["--stats", "-q"]))
    return Order(["map", *options, name], lines(items), lines(map(BUILTINS[name], items)))


def isolated(dice, _):
    name, items = dice.choice(list(BUILTINS)), numbers(dice, 2000)
    return Order(["map", "--isolate", name], lines(items), lines(map(BUILTINS[name], items)))


def unordered(dice, _):
    items = numbers(dice, 2000)
    wanted = sorted(str(x**2) for x in items)
    return Order(["map", "-u", "square"], lines(items), lambda out: sorted(out.decode().split()) == wanted)


def command(dice, _):
    items = words(dice, 40)
    options = dice.choice(([], ["--line-buffer"], ["--retries", "2"], ["--timeout", "60"]))
    return Order(["map", *options, "--", "printf", "%s.\\n", "{}"], lines(items), lines(x + "." for x in items))


def run(dice, _):
    items = numbers(dice, 20)
    return Order(["run"], lines(f"x=$(echo {x}); echo $x; echo $x >&2" for x in items), lines(items))


def lasting_filter(dice, _):
    items = words(dice, 2000)
    argv = ["map", "--filter", "--", "sed", "-u", "s/a/A/g"]
    return Order(argv, lines(items), lines(x.replace("a", "A") for x in items))


def pipe(dice, _):
    items = words(dice, 3000)
    size = str(dice.randrange(20, 500))
    return Order(["map", "--pipe", "-c", size, "--", "tr", "a-z", "A-Z"], lines(items), lines(x.upper() for x in items))


def python(dice, _):
    items = numbers(dice, 1000)
    return Order(["map", "--python", "int(x) ** 2 + 1"], lines(items), lines(x**2 + 1 for x in items))


def module(dice, place):
    items = words(dice, 3000)
    return Order(["map", f"{place.module}:rot13"], lines(items), lines(codecs.encode(x, "rot13") for x in items))


def jobserver(dice, place):
    items = numbers(dice, 5)
    if place.make is None:
        return command(dice, place)
    return Order(["map", "--jobserver", "--", "make", "-s", "-f", place.make, "N={}"], lines(items), lines(items))


# Large ones


def large_input(dice, _):
    items = [dice.randbytes(dice.randrange(1, 4 * MIB)).hex() for _ in range(3)]
    return Order(["map", *dice.choice(([], ["--isolate"])), "length"], lines(items), lines(map(len, items)))


def large_both(dice, _):
    """Megabytes there and back; with a filter, or a process for each piece, also through a process."""
    data = b"".join(b"%d %d\n" % (i, dice.randrange(1 << 60)) for i in range(100_000))
    how = dice.choice((["echo"], ["--isolate", "echo"], ["--pipe", "-c", "20000", "--", "cat"]))
    return Order(["map", *how], data, data)


def large_output(dice, _):
    size = dice.randrange(1, 3 * MIB)
    script = f'head -c {size} /dev/zero; echo "$1"'
    wanted = b"".join(bytes(size) + b"%d\n" % i for i in range(4))
    return Order(["map", "--", "sh", "-c", script, "sh"], lines(range(4)), wanted)


def spilled(dice, _):
    """The head sleeps; what the others write waits for it on disk."""
    size, count = dice.randrange(MIB // 2, 2 * MIB), dice.randrange(4, 10)
    script = f'[ "$1" != 0 ] || sleep 0.7; head -c {size} /dev/zero; echo "$1"'
    wanted = b"".join(bytes(size) + b"%d\n" % i for i in range(count))
    return Order(["map", "-c", "1", "--", "sh", "-c", script, "sh"], lines(range(count)), wanted)


# Items that fail


def crash(dice, _):
    count = dice.randrange(3, 12)
    bad = dice.randrange(count)
    script = f'echo "$1"; [ "$1" != {bad} ] || kill -{dice.choice(("SEGV", "KILL", "TERM"))} $$'
    return Order(["map", "--", "sh", "-c", script, "sh"], lines(range(count)), lines(range(count)), 1)


def python_fails(dice, _):
    items = [dice.randrange(5) for _ in range(dice.randrange(5, 50))] + [0]
    return Order(["map", "--python", "10 // int(x)"], lines(items), lines(10 // x for x in items if x), 1)


def python_dies(dice, _):
    count = dice.randrange(3, 30)
    bad = dice.randrange(count)
    code = f"x if int(x) != {bad} else __import__('os').abort()"
    return Order(["map", "--python", code], lines(range(count)), lines(x for x in range(count) if x != bad), 1)


def too_slow(dice, _):
    items = ["0", "0.01", "20", "0"]
    dice.shuffle(items)
    script = 'sleep "$1"; echo "$1"'
    return Order(["map", "--timeout", "0.5", "--", "sh", "-c", script, "sh"], lines(items),
                 lines(x for x in items if x != "20"), 1)  # fmt: skip


def leaves_children(dice, _):
    """Each item leaves a process behind, which is killed."""
    count = dice.randrange(1, 6)
    script = 'sleep 1000 & setsid sleep 1000 >/dev/null 2>&1 & echo "$1"'
    return Order(["map", "--", "sh", "-c", script, "sh"], lines(range(count)), lines(range(count)))


def no_such_program(*_):
    return Order(["map", "--", "/nonexistent/program"], b"1\n2\n", b"", 2)


def no_such_function(*_):
    return Order(["map", "nothing"], b"1\n", b"", 2)


# How often each is chosen, relative to the others.
KINDS = {
    builtin: 30, isolated: 12, unordered: 6, command: 12, run: 8, lasting_filter: 8, pipe: 8, python: 6, module: 8,
    jobserver: 3, large_input: 3, large_both: 4, large_output: 4, spilled: 4, crash: 4, python_fails: 2, python_dies: 2,
    too_slow: 2, leaves_children: 3, no_such_program: 1, no_such_function: 1,
}  # fmt: skip

# An item that is being printed when its worker dies fails, so these are nothing for those whose workers are killed.
LARGE = {large_both, large_output, spilled}


def choose(dice, place, large):
    """(the kind's name, an order of it)"""
    kinds = {kind: weight for kind, weight in KINDS.items() if large or kind not in LARGE}
    kind = dice.choices(list(kinds), kinds.values())[0]
    return kind.__name__, kind(dice, place)
