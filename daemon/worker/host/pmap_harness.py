"""The lasting interpreter in which pmapd's Python functions run, a process a slot, as the user who asked.

    python3 pmap_harness.py [--file] --retries N --recycle N SOURCE

SOURCE is an expression of x, the item (a str: UTF-8, other bytes as surrogates, as in sys.argv); b, its bytes;
i, its index in the job, from 0. With --file it is FILE:FUNCTION, a function of one argument, x. The result of an
item is str() of the value; bytes are taken as they are.

It is a host as daemon/worker/host.h describes: chunks come and results go in a shared memory, descriptor 4, what
is to be said of them over a socket, descriptor 3. Modules that take long to import are avoided: starting takes
about as long as a bare python3. Most items are run by pmap_loop.c, or by the same in Python where the interpreter
cannot load that. Nothing here is for users; Python 3.9 or later.
"""

import builtins
import io
import itertools
import mmap
import os
import select
import struct
import sys
import time


def load_loop():
    """
    pmap_loop of this folder; None where there is none, or not for this interpreter. The user's modules may have any
    name. (Interpreters without a lock load an .abi3.so, and crash: https://github.com/python/cpython/issues/120901.)
    """
    if "t" in sys.abiflags:
        return None
    path = sys.path
    sys.path = [os.path.dirname(__file__)]
    try:
        import pmap_loop
    except ImportError:
        return None
    finally:
        sys.path = path
        sys.modules.pop("pmap_loop", None)
    return pmap_loop


LOOP = load_loop()

SOCKET, MEMORY = 3, 4
CHUNK, RESUME, YIELD, DROP = 1, 2, 3, 4
READY, SOME, FULL, END, BAD = 16, 17, 18, 19, 20
NOTE_ERROR, NOTE_STDERR, NOTE_ATTEMPTS = 1, 6, 8
NOTE_TEXT_MAX, BAD_TEXT_MAX = 32 << 10, 2000
MAGIC, PAGE = 0x616D7031, 4096
LOOK_NS, SOME_NS = 100_000, 10_000_000
STACK_MAX = 8 << 10  # bytes of a traceback that are passed on

# struct arena: what the worker writes, and, in words of 8 bytes from 256 on, what the host does.
HEAD = struct.Struct("=17Q")
CURRENT, STARTED, DONE, BYTES_USED, NOTES_USED, CPU, TOGETHER = range(7)
NOTE = struct.Struct("=IHHII")

EXPRESSION = "<expression>"  # the file's name in tracebacks


class Refused(Exception):
    """The function cannot be run at all; the text is for the user."""


class Gone(Exception):
    """The worker has closed the socket, or this is a child that user code has forked."""


class Unwanted(Exception):
    """The chunk is to be given up."""


def describe(error):
    """An exception as one line: the last one of its traceback."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = kind.__module__ + "." + name
    try:
        text = str(error)
    except Exception:  # of the user's class
        text = "<its text cannot be had>"
    text = text.strip().split("\n", 1)[0]
    return name + ": " + text if text else name


def user_frames(tb):
    """The traceback behind the harness's own frames."""
    while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
        tb = tb.tb_next
    return tb


def stack(error):
    """The traceback as text, where it tells more than the item's error does: there is more than an expression."""
    tb = user_frames(error.__traceback__)
    if tb is None or (tb.tb_next is None and tb.tb_frame.f_code.co_filename == EXPRESSION):
        return ""
    import traceback

    text = "".join(traceback.format_exception(type(error), error, tb))
    if len(text) > STACK_MAX:  # both ends tell most
        text = text[: STACK_MAX // 2] + "\n  ...\n" + text[-STACK_MAX // 2 :]
    return text


def encode(result):
    """The bytes of a result. Surrogates are what the bytes of an item that are not UTF-8 have become."""
    if type(result) is bytes:
        return result
    return str(result).encode("utf-8", "surrogateescape")


# Functions


def where(error, path):
    """"FILE:LINE: error": the innermost place in the file at which it happened."""
    line = 0
    if isinstance(error, SyntaxError) and error.filename:
        path, line = error.filename, error.lineno
    else:
        tb = error.__traceback__
        while tb is not None:
            if tb.tb_frame.f_code.co_filename == path:
                line = tb.tb_lineno
            tb = tb.tb_next
    return "%s:%d: %s" % (path, line, describe_syntax(error)) if line else "%s: %s" % (path, describe(error))


def describe_syntax(error):
    if not isinstance(error, SyntaxError):
        return describe(error)
    text = (error.text or "").strip()
    return "%s: %s%s" % (type(error).__name__, error.msg, ": " + text if text else "")


def names(source):
    """The names that the code of a lambda refers to: (its arguments, those from outside it)."""
    import symtable

    arguments, free = set(), set()
    top = symtable.symtable(source, EXPRESSION, "eval").get_children()[0]
    tables = [top]
    while tables:  # further lambdas and comprehensions have their own
        table = tables.pop()
        tables.extend(table.get_children())
        for symbol in table.get_symbols():
            if symbol.is_referenced() and symbol.is_global():
                free.add(symbol.get_name())
            elif symbol.is_referenced() and (symbol.is_free() or (table is top and symbol.is_parameter())):
                arguments.add(symbol.get_name())
    return arguments, free


def compiles(text):
    try:
        return bool(compile(text, EXPRESSION, "eval"))
    except (SyntaxError, ValueError):
        return False


def load_expression(text, index):
    """Makes a function of x of an expression; modules that it names are imported. index: gives i."""
    text = text.strip()
    try:
        compile(text, EXPRESSION, "eval")
    except (SyntaxError, ValueError) as error:  # ValueError: a NUL byte
        if "\n" not in text or not compiles("(" + text + "\n)"):  # within parentheses lines may go on
            raise Refused(where(error, EXPRESSION)) from None
    source = "lambda x, b, i: (" + text + "\n)"
    arguments, free = names(source)
    space = {"__builtins__": builtins, "__name__": "__pmap__"}
    for name in sorted(free):
        if not hasattr(builtins, name):
            space[name] = import_by_name(name)
    if arguments & {"b", "i"}:
        function = eval(compile(source, EXPRESSION, "eval"), space)
        return lambda x: function(x, x.encode("utf-8", "surrogateescape"), index())
    return eval(compile("lambda x: (" + text + "\n)", EXPRESSION, "eval"), space)


def import_by_name(name):
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise Refused("import %s: %s" % (name, describe(error))) from None
    except BaseException as error:
        raise Refused("import %s: %s" % (name, describe(error))) from None
    raise Refused("%s: name '%s' is not defined, and there is no module of that name" % (EXPRESSION, name))


def load_function(text):
    """The function that FILE:FUNCTION names."""
    path, _, name = text.rpartition(":")
    if not path or not name:
        raise Refused("'%s' is not FILE:FUNCTION" % text)
    try:
        with open(path, "rb") as file:
            code = file.read()
    except OSError as error:
        raise Refused("%s: %s" % (path, error.strerror)) from None
    stem = os.path.splitext(os.path.basename(path))[0]
    if stem in sys.modules:  # a file that is called as a module that is in use does not take its place
        stem = "pmap_user_" + stem
    module = type(sys)(stem)
    module.__file__ = path
    sys.modules[stem] = module
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.abspath(path))
    try:
        exec(compile(code, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # sys.exit() too
        raise Refused(where(error, path)) from None
    if not hasattr(module, name):
        raise Refused(no_function(path, name, module))
    function = getattr(module, name)
    if not callable(function):
        raise Refused("%s: '%s' is not a function" % (path, name))
    return function


def no_function(path, name, module):
    import difflib

    there = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
    near = difflib.get_close_matches(name, there, 1)
    return "%s has no function '%s'%s" % (path, name, "; did you mean '%s'?" % near[0] if near else "")


# The worker


class Channel:
    """The host's end of the arena protocol."""

    def __init__(self):
        self.map = mmap.mmap(MEMORY, PAGE)
        self.views = []
        self.head = None
        self.gone = self.yielded = self.dropped = False
        self.count = self.first = self.attempts = 0
        self.poll = select.poll()
        self.poll.register(SOCKET, select.POLLIN)
        # Children must neither hold the socket open nor, having been forked, go on in our place.
        os.set_inheritable(SOCKET, False)
        os.set_inheritable(MEMORY, False)
        os.register_at_fork(after_in_child=self.leave_to_parent)

    def leave_to_parent(self):
        self.gone = True  # in the child
        if LOOP:
            LOOP.leave()
        for view in self.views:
            view.release()
        os.close(SOCKET)
        os.close(MEMORY)

    def send(self, kind, text=b""):
        if self.gone:
            raise Gone
        try:
            os.write(SOCKET, struct.pack("=II", kind, 0) + text)
        except OSError:
            raise Gone from None

    def receive(self):
        """Waits for a message and takes it; its type."""
        if self.gone:
            raise Gone
        try:
            packet = os.read(SOCKET, 64)
        except OSError:
            packet = b""
        if len(packet) < 8:
            raise Gone
        kind = int.from_bytes(packet[:4], sys.byteorder)
        if kind == YIELD:
            self.yielded = True
        elif kind == DROP:
            self.dropped = True
        return kind

    def look(self):
        while self.poll.poll(0):
            self.receive()

    def view(self, at, size, form):
        view = memoryview(self.map)[at : at + size].cast(form)
        self.views.append(view)
        return view

    def next(self):
        """Waits for a chunk, and maps it."""
        while self.receive() != CHUNK:
            pass
        for view in self.views:
            view.release()
        self.views.clear()
        magic, size = struct.unpack_from("=2Q", self.map, 0)
        if magic != MAGIC:
            raise Gone
        if size != len(self.map):
            self.map.close()
            self.map = mmap.mmap(MEMORY, size)
        (_, _, _, self.first, self.count, lengths, items, items_size, out_lengths, out_times, at, room, notes,
         notes_room, _, self.attempts, _) = HEAD.unpack_from(self.map, 0)  # fmt: skip
        self.head = self.view(256, 56, "Q")
        for word in (CURRENT, DONE, BYTES_USED, NOTES_USED, CPU, TOGETHER):
            self.head[word] = 0
        self.lengths = self.view(lengths, self.count * 4, "I")
        self.items = self.view(items, items_size, "B")
        self.out_lengths = self.view(out_lengths, self.count * 4, "I")
        self.out_times = self.view(out_times, self.count * 8, "Q")
        self.bytes = self.view(at, room, "B")
        self.notes = self.view(notes, notes_room, "B")
        self.yielded = self.dropped = False
        self.used = self.notes_used = self.done = self.told_done = self.piece = 0
        self.cpu_base = time.process_time_ns()

    def tell(self, kind):
        self.head[CPU] = time.process_time_ns() - self.cpu_base
        self.send(kind)
        self.told_done = self.done

    def make_room(self):
        """Has the worker take what is there."""
        self.out_lengths[self.done] = self.piece
        self.head[BYTES_USED] = self.used
        self.head[NOTES_USED] = self.notes_used
        self.tell(FULL)
        while self.receive() != RESUME:
            if self.dropped:
                raise Unwanted
        self.used = self.notes_used = self.piece = 0
        self.head[BYTES_USED] = 0
        self.head[NOTES_USED] = 0

    def put(self, data):
        """Appends to the present item's result what may not fit."""
        with memoryview(data) as rest:
            at = 0
            while True:
                part = min(len(rest) - at, len(self.bytes) - self.used)
                self.bytes[self.used : self.used + part] = rest[at : at + part]
                self.used += part
                self.piece += part
                at += part
                if at == len(rest):
                    return
                self.make_room()

    def note(self, kind, code, text):
        text = text[:NOTE_TEXT_MAX]
        size = NOTE.size + len(text) + 7 & ~7
        if size > len(self.notes) - self.notes_used:
            self.make_room()
        at = self.notes_used
        NOTE.pack_into(self.notes, at, self.done, kind, code, len(text), 0)
        self.notes[at + NOTE.size : at + size] = text.ljust(size - NOTE.size, b"\0")
        self.notes_used = at + size

    def finish(self, took):
        """The present item is complete."""
        self.out_lengths[self.done] = self.piece
        self.out_times[self.done] = took
        self.piece = 0
        self.head[BYTES_USED] = self.used
        self.head[NOTES_USED] = self.notes_used
        self.done += 1
        self.head[DONE] = self.done


class Plain:
    """What pmap_loop.c does, in Python."""

    def __init__(self, channel):
        self.channel = channel
        self.text, self.sizes, self.at = "", iter(()), 0

    def begin(self, limit):
        """The items as one string, and the length of each in it: slices of a string are what costs least."""
        data, sizes = bytes(self.channel.items), self.channel.lengths[:limit].tolist()
        if data.isascii():
            self.text = data.decode("ascii")
        else:
            ends = itertools.accumulate(sizes)
            items = [data[end - size : end].decode("utf-8", "surrogateescape") for end, size in zip(ends, sizes)]
            self.text, sizes = "".join(items), [len(item) for item in items]
        self.sizes, self.at = iter(sizes), 0
        return True

    def take(self):
        at = self.at
        self.at += next(self.sizes)
        return self.text[at : self.at]

    def run(self, function, done, used, start, look):
        """
        It is written for speed: all names in the loop are local, the clock is read once an item, and six
        assignments publish an item as it is done.
        """
        channel, clock = self.channel, time.monotonic_ns
        head, lengths, times, out = channel.head, channel.out_lengths, channel.out_times, channel.bytes
        room, text, at = len(out), self.text, self.at
        result = b""
        for size in self.sizes:
            stop = at + size
            x = text[at:stop]
            at = stop
            head[CURRENT] = done + 1
            try:
                result = function(x)
                if type(result) is not bytes:
                    result = str(result).encode()
            except BaseException as error:
                # A result of this item's that is still there is of another type; those before it are bytes.
                self.at = at
                failure, result = mend(result, error)
                return done, used, start, x, result, failure
            now = clock()
            size = len(result)
            end = used + size
            if end > room:
                self.at = at
                return done, used, start, x, result, None
            out[used:end] = result
            lengths[done] = size
            times[done] = now - start
            head[BYTES_USED] = used = end
            done += 1
            head[DONE] = done
            start = now
            if now >= look:
                break
        self.at = at
        return done, used, start, None, None, None


class Harness:
    """Applies the function to the items of chunk after chunk."""

    def __init__(self, channel, retries, recycle):
        self.channel = channel
        self.retries = retries
        self.recycle = recycle
        self.served = 0
        self.function = None  # of x
        self.plain = Plain(channel)

    def index(self):
        """The index in the job of the item under way."""
        channel = self.channel
        return channel.first + channel.head[CURRENT] - 1

    def item(self, x, result, failure, start):
        """
        An item of which more is to be said, or done, than the loop does, to its end. result, failure: what its
        first attempt, begun at start, has come to; both None: it has not been tried.
        """
        channel, clock = self.channel, time.monotonic_ns
        took = clock() - start
        tries = channel.attempts if channel.done == 0 else 0
        tries += failure is not None or result is not None
        while result is None and (failure is None or tries <= self.retries) and not channel.gone:
            channel.look()
            if channel.dropped:
                raise Unwanted
            tries += 1
            start = clock()
            channel.head[STARTED] = start
            channel.head[CURRENT] = channel.done + 1
            try:
                result = encode(self.function(x))
            except BaseException as error:  # SystemExit and KeyboardInterrupt are the item's, too
                failure = error
            took = clock() - start
        if channel.gone:
            raise Gone
        if result is not None:
            channel.put(result)
        else:
            channel.note(NOTE_ERROR, 0, describe(failure).encode("utf-8", "backslashreplace"))
            text = stack(failure)
            if text:
                channel.note(NOTE_STDERR, 0, text.encode("utf-8", "backslashreplace"))
        if tries > 1:
            channel.note(NOTE_ATTEMPTS, min(tries, 65535), b"")
        channel.finish(took)
        failure = None  # its traceback may have this frame, which has it

    def look(self, now):
        """Takes what the worker has said, and tells it what is done where that is due."""
        channel = self.channel
        channel.look()
        if channel.done > channel.told_done and now - channel.told >= SOME_NS:
            channel.told = now
            channel.tell(SOME)

    def chunk(self):
        """
        A chunk's items, most of them in one of the two loops; whatever is rare is item()'s. STARTED is written every
        LOOK_NS only, so that much too early at most.
        """
        channel, clock = self.channel, time.monotonic_ns
        limit = channel.count
        if self.recycle:
            limit = min(limit, self.recycle - self.served)
        loop = LOOP if LOOP and LOOP.begin(limit) else self.plain
        if loop is self.plain:
            loop.begin(limit)
        start = channel.told = clock()
        x = result = failure = None
        if channel.attempts and limit:
            x = loop.take()
        while True:
            if x is not None:
                self.item(x, result, failure, start)
                x = result = failure = None
                start = clock()
            done, used = channel.done, channel.used
            if done == limit:
                return
            self.look(start)
            if channel.dropped or (channel.yielded and done > 0):
                return
            channel.head[STARTED] = start
            done, used, start, x, result, failure = loop.run(self.function, done, used, start, start + LOOK_NS)
            channel.done, channel.used = done, used

    def serve(self):
        """Chunk after chunk, until the worker goes or the process has served its items."""
        channel = self.channel
        channel.send(READY)
        while True:
            channel.next()
            try:
                self.chunk()
            except Unwanted:
                pass
            channel.head[CURRENT] = 0
            channel.tell(END)
            self.served += channel.done
            if self.recycle and self.served >= self.recycle:
                return


def mend(result, error):
    """
    What an attempt has come to that ended in this exception: the exception and None, or None and the bytes of a
    result that only could not be encoded in the usual way.
    """
    if type(error) is UnicodeEncodeError and type(result) is not bytes:
        try:
            return None, encode(result)
        except BaseException as again:
            error = again
    return error, None


# The program


def options(arguments):
    """The command line: (file, retries, recycle, source)."""
    file, numbers = False, {"--retries": 0, "--recycle": 0}
    rest = list(arguments)
    while rest and rest[0].startswith("--") and len(rest) > 1:
        name = rest.pop(0)
        if name == "--":
            break
        if name == "--file":
            file = True
        elif name in numbers and rest[0].isdigit():
            numbers[name] = int(rest.pop(0))
        else:
            rest.clear()
    if len(rest) != 1:
        sys.exit("usage: pmap_harness.py [--file] --retries N --recycle N SOURCE\n"
                 "Started by pmap-worker; of no use by itself.")  # fmt: skip
    return file, numbers["--retries"], numbers["--recycle"], rest[0]


def speak_at_once():
    """What the function prints goes to the worker's pipe as it is printed, so that it is told with its item."""
    raw = io.FileIO(1, "w", closefd=False)
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(
        raw, encoding=sys.stdout.encoding, errors="surrogateescape", write_through=True
    )


def main():
    file, retries, recycle, source = options(sys.argv[1:])
    sys.argv[1:] = []
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = ""  # instead of the harness's own folder: as for python3 -c
    speak_at_once()
    channel = Channel()
    harness = Harness(channel, retries, recycle)
    try:
        try:
            harness.function = load_function(source) if file else load_expression(source, harness.index)
        except Refused as refused:
            text = str(refused).replace("\0", "\\0").encode("utf-8", "backslashreplace")
            channel.send(BAD, text[:BAD_TEXT_MAX])
            sys.exit(1)
        harness.serve()
    except Gone:
        pass
    except BaseException:
        if not channel.gone:
            raise
    if channel.gone:
        os._exit(0)  # also in a child that user code has forked, where nothing of ours is to be cleaned up


if __name__ == "__main__":
    main()
