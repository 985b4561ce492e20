"""The cases of the benchmarks: what is measured, beside which peer, and how much is wanted."""

import os
import re
import shutil

import peers
from measure import RATE, SPEED_UP, TIME, Case, Stream
from procs import BenchError, Skipped, has_descendant, run, stop_listener

HERE = os.path.dirname(os.path.abspath(__file__))
SYSTEM_SOCKET = "/run/pmapd/pmapd.sock"
PEERS = os.path.join(HERE, "peers.py")


def find_program(name, package):
    """The path of a peer in PATH; a case whose peer is not there is skipped."""
    path = shutil.which(name)
    if path is None:
        raise Skipped(f"{name} is not installed (Debian package {package})")
    return path


def find_parallel(bench):
    path = find_program("parallel", "parallel")
    run([path, "--version"], bench.folder, stdout=bench.output)
    with open(bench.output, "rb") as file:
        if not file.read().startswith(b"GNU parallel"):
            raise Skipped(f"{path} is not GNU parallel (Debian package parallel)")
    return path


def numbers(count):
    return "".join(f"{i}\n" for i in range(count)).encode()


def function_case(function, count, options, peer):
    """ours: pmapc over 0…count-1 from a file; peer: a Python program that prints the same; both checked."""

    def setup(bench, endpoint):
        stdin = bench.write(f"numbers{count}", numbers(count))
        expected = "".join(f"{function(i)}\n" for i in range(count)).encode()
        ours = [bench.program("pmapc"), "-e", endpoint, "map", *options, function.__name__]
        theirs = [bench.options.python, *peer]
        return lambda: bench.whole(ours, expected, stdin), lambda: bench.whole(theirs, expected)

    return setup


def text_case(options, chunk):
    def setup(bench, endpoint):
        text, expected = bench.text()
        ours = [bench.program("pmapc"), "-e", endpoint, "map", *options, "echo"]
        theirs = [bench.options.python, PEERS, "text", text, str(chunk)]
        return lambda: bench.whole(ours, expected, text), lambda: bench.whole(theirs, expected)

    return setup


def spawn_case(count):
    """Items a second: ours are those of a whole pmapc, the peer's those of its loop."""

    def setup(bench, endpoint):
        stdin = bench.write(f"numbers{count}", numbers(count))

        def ours():
            wall_s, cpu_s = bench.map(endpoint, ["--", "true"], b"", count, stdin)
            return count / wall_s, cpu_s

        return ours, lambda: bench.figure([bench.program("spawn_true"), str(count)], "per_s")

    return setup


def true_case(count, peer):
    """`true` for each of 0…count-1 from a file, which is the stdin of peer(bench), an argv, too."""

    def setup(bench, endpoint):
        stdin = bench.write(f"numbers{count}", numbers(count))
        theirs = peer(bench)
        return (
            lambda: bench.map(endpoint, ["--", "true"], b"", count, stdin),
            lambda: bench.whole(theirs, b"", stdin, bench.peers_environment),
        )

    return setup


def filter_case(peer):
    """sed over the text, every line timed; peer(bench, text): an argv, whose stdin is the text too."""

    def setup(bench, endpoint):
        text, data = bench.text()
        expected = b"\n".join(line.replace(b"a", b"b", 1) for line in data.split(b"\n"))
        options, items = ["--filter", "--", "sed", "s/a/b/"], data.count(b"\n")
        theirs = peer(bench, text)
        return (
            lambda: bench.map(endpoint, options, expected, items, text),
            lambda: bench.whole(theirs, expected, text, bench.peers_environment),
        )

    return setup


def python_case(count):
    """Both sides read the same file, and run the same interpreter: pmapd's workers take the one in PATH."""

    def setup(bench, endpoint):
        python = bench.options.python
        path = f"{os.path.dirname(python)}:{os.environ.get('PATH', os.defpath)}"
        stdin = bench.write(f"numbers{count}", numbers(count))
        expected = "".join(f"{i * i}\n" for i in range(count)).encode()
        options = ["--python", "int(x)**2"]
        return (
            lambda: bench.map(endpoint, options, expected, count, stdin, {"PATH": path}),
            lambda: bench.whole([python, PEERS, "strings", stdin], expected),
        )

    return setup


def typed_case(bench, endpoint):
    program = bench.program("bench_typed")
    module = os.path.join(bench.options.bin, "../examples/libcube_example.so")
    if not os.path.exists(module):
        raise Skipped(f"{os.path.normpath(module)}, the example module, is not built")
    ours = [program, "pool", endpoint, os.path.realpath(module)]
    return lambda: bench.figure(ours, "per_s"), lambda: bench.figure([program, "plain"], "per_s")


def isolate_case(peer):
    """As library_case; a daemon that ran it in a thread of its own has measured something else."""

    def setup(bench, endpoint):
        take, theirs = library_case("isolate", "median_us", peer)(bench, endpoint)
        daemon = bench.daemon(2)  # that of the endpoint

        def ours():
            figure = take()
            if not has_descendant(daemon.process.pid, "pmap-worker"):
                raise BenchError("pmapd has no pmap-worker, so it has isolated nothing")
            return figure

        return ours, theirs

    return setup


def command_case(bench, endpoint):
    theirs = [find_program("sh", "dash"), "-c", "true"]
    return lambda: bench.map(endpoint, ["--", "true", ":::", "x"], b"", 1), lambda: bench.whole(theirs, b"")


def autostart_case(bench, endpoint):
    """The daemon that pmapc starts is the one at a place of our own, and is stopped after each run."""
    if os.path.exists(SYSTEM_SOCKET):
        raise Skipped(f"there is a pool at {SYSTEM_SOCKET}, so pmapc starts none")
    runtime = os.path.join(bench.folder, "runtime")
    os.mkdir(runtime, 0o700)
    environment = {"XDG_RUNTIME_DIR": runtime, "PMAP_IDLE_EXIT": "60"}
    arguments = ["map", "echo", ":::", "x"]

    def ours():
        try:
            return bench.whole([bench.program("pmapc"), *arguments], b"x\n", environment=environment)
        finally:
            stop_listener(os.path.join(runtime, "pmapd/pmapd.sock"))

    warm = [bench.program("pmapc"), "-e", endpoint, *arguments]
    return ours, lambda: bench.whole(warm, b"x\n")


def library_case(mode, field, peer):
    """ours: bench_libpmap on an open connection; peer(bench): the argv that prints the same field."""

    def setup(bench, endpoint):
        ours = [bench.program("bench_libpmap"), mode, endpoint]
        return lambda: bench.figure(ours, field), lambda: bench.figure(peer(bench), field)

    return setup


def all_cases(options):
    square, cube = peers.square, peers.cube

    def warm(bench):
        return [bench.options.python, PEERS, "warm", "1000"]

    def skeleton(mode):
        return lambda bench: [bench.program("skeleton"), mode]

    def xargs(bench):
        return [find_program("xargs", "findutils"), "-P2", "-n1", "true"]

    def parallel(bench):
        return [find_parallel(bench), "-k", "-j2", "true"]

    def bare_sed(bench, text):
        pipeline = 'cat "$1" | stdbuf -oL sed s/a/b/ | cat'
        return [find_program("sh", "dash"), "-c", pipeline, "sh", text]

    def parallel_sed(bench, text):
        return [find_parallel(bench), "-k", "--pipe", "sed", "s/a/b/"]

    cases = [
        Case("square1000", "1000 numbers through `square`, whole processes", "`python3 -c`, Pool(2).map",
             SPEED_UP, 5, "s", function_case(square, 1000, [], ["-c", peers.SQUARE_1000])),
        Case("map1000", "1000 numbers through `square`, libpmap, connection open", "a warm Pool(2).map",
             SPEED_UP, 3, "us", library_case("map1000", "median_us", warm)),
        Case("cube1", "0…49999 through `cube`, 1 slot, whole processes", "Pool(1).map, results printed",
             SPEED_UP, 4, "s", function_case(cube, 50000, [], [PEERS, "cube50000", "1"]), slots=1),
        Case("cube1j", "0…49999 through `cube`, `-j 1` of 2 slots, whole processes",
             "Pool(1).map, results printed",
             SPEED_UP, 4, "s", function_case(cube, 50000, ["-j", "1"], [PEERS, "cube50000", "1"])),
        Case("cube2", "0…49999 through `cube`, 2 slots, whole processes", "Pool(2).map, results printed",
             SPEED_UP, 4, "s", function_case(cube, 50000, [], [PEERS, "cube50000", "2"])),
        Case("square1m", "1,000,000 numbers through `square`, whole processes",
             "Pool(2).map, numbers printed",
             SPEED_UP, 4, "s", function_case(square, 1000000, [], [PEERS, "square1m"])),
        Case("text4", "every line of the text through `echo`, chunk size 4", "Pool(2).map(readLine, file, 4)",
             SPEED_UP, 6, "s", text_case(["-c", "4"], 4)),
        Case("text", "every line of the text through `echo`, chunk size left alone",
             "Pool(2).map(readLine, file)",
             SPEED_UP, 5, "s", text_case([], 0)),
        Case("one", "one item, warm connection, libpmap (round trip)", "skeleton through a pool thread",
             TIME, 1.4, "us", library_case("one", "median_us", skeleton("latency"))),
        Case("rate", "16-byte items, chunk size 1, pipelined", "skeleton, pipelined",
             RATE, 0.5, "/s", library_case("rate", "per_s", skeleton("rate"))),
        Case("true-spawn", "4000 × `true`, whole process", "two threads of bare `posix_spawn` and `waitpid`",
             RATE, 0.85, "/s", spawn_case(4000)),
        Case("true-xargs", "4000 × `true`, whole processes", "`xargs -P2 -n1 true`",
             SPEED_UP, 1.5, "s", true_case(4000, xargs)),
        Case("true-parallel", "300 × `true`, whole processes", "`parallel -k -j2 true`",
             SPEED_UP, 10, "s", true_case(300, parallel)),
        Case("isolate", "one builtin item with `isolate`, warm connection, libpmap (round trip)",
             "skeleton through a worker process",
             TIME, 1.6, "us", isolate_case(skeleton("latency-process"))),
        Case("filter", "every line of the text through `--filter -- sed s/a/b/`, each timed",
             "`cat text \\| stdbuf -oL sed s/a/b/ \\| cat`",
             SPEED_UP, 1, "s", filter_case(bare_sed)),
        Case("filter-parallel", "the same", "`parallel -k --pipe sed s/a/b/`, which times no line",
             SPEED_UP, None, "s", filter_case(parallel_sed)),
        Case("python1m", "1,000,000 numbers through `--python 'int(x)**2'`, whole processes",
             "Pool(2).map over the same strings, numbers printed",
             SPEED_UP, 4, "s", python_case(1000000)),
        Case("typed", "10 million i64 cubed by a module's typed function: values a second, libpmap, connection "
             "open, raw items of 8192 values, results copied out",
             "a loop over the same array in one thread of plain C",
             RATE, None, "/s", typed_case),
        Case("command", "one command, `pmapc map -- true ::: x`, whole process", "`sh -c true`",
             TIME, None, "s", command_case),
        Case("autostart", "`pmapc map echo ::: x` where no daemon runs, whole process",
             "the same with a warm daemon",
             TIME, None, "s", autostart_case),
    ]  # fmt: skip
    if not options.skip_stream:
        cases.append(Stream(int(options.stream_bytes)))
    return [case for case in cases if re.search(options.only, case.name)]
