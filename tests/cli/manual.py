"""
Reads manual pages (mdoc), for manual.bats.

    manual.py options PAGE        the options that have an entry, "-j" or "--slots", one a line
    manual.py help                the same of a --help on stdin: those at the beginning of lines, and in the usage
    manual.py keys PAGE           pmapd.conf(5): "[section] key = default", one a line
    manual.py keys FILE           pmapd.conf: the same of "#key = default"
    manual.py members HEADER      the members of its structures, but for those of what the library makes for itself
    manual.py examples PAGE DIR   writes each literal block that is one to be tried into DIR: NUMBER.sh, of its "$ " lines, which
                                  puts what line N prints into $EXAMPLES/NUMBER.N.out, beside NUMBER.N.want where the page
                                  shows that; NUMBER.c; NUMBER.conf. Prints how many there are.

What cannot be read is an error: a test must not pass because it found nothing.
"""
import pathlib
import re
import sys

MACROS = {"Ar", "Ns", "Op", "Fl", "Cm", "No", "Li", "Oo", "Oc", "Pq", "Xr"}
# As they are typed; "'" and "-" alone would be printed as other characters on some devices.
ESCAPES = {r"\e": "\\", r"\-": "-", r"\(aq": "'", r"\(ga": "`", r"\(ti": "~", r"\(ha": "^", r"\&": ""}


def plain(text):
    return re.sub(r"\\(\(..|.)", lambda m: ESCAPES[m.group(0)], text)


def flags(words):
    """The options of one .It line behind its Fl macros."""
    reading = False
    for word in words:
        if word == "Fl":
            reading = True
        elif word in MACROS:
            reading = False
        elif reading and word not in (",", "|", r"\-"):
            yield "-" + plain(word)


def options(page):
    for line in page.splitlines():
        if line.startswith(".It Fl "):
            yield from flags(line.split()[1:])


def help_options(text):
    for line in text.splitlines():
        found = re.match(r"[* ] +(-{1,2}[\w-]+(?:, -{1,2}[\w-]+)*)", line)
        if found:
            yield from found.group(1).split(", ")
        if "pmapc " in line and "[" in line:
            yield from re.findall(r"(?<![\w-])--\w[\w-]*", line)


def page_keys(page):
    section = None
    for line in page.splitlines():
        if line.startswith(".Ss ["):
            section = line[4:]
        elif line.startswith(".It Ic ") and section:
            yield f"{section} {line[7:].strip()}"


def file_keys(text):
    section = None
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif re.match(r"#[a-z_]+ =", line):
            yield f"{section} {line[1:].strip()}"


def members(header):
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    for name, body in re.findall(r"^struct (\w+) \{\n(.*?)^\};", header, flags=re.S | re.M):
        if name in ("pmap_calls", "pmap_module", "pmap_range", "pmap_item"):
            continue
        for declaration in body.split(";"):
            for part in declaration.split(","):  # "const char *name", "int x, y"
                found = re.search(r"(\w+)\s*$", part)
                if found and found.group(1) != "calls":
                    yield found.group(1)


def literal_blocks(page):
    block = None
    for line in page.splitlines():
        if line.startswith(".Bd -literal"):
            block = []
        elif line == ".Ed":
            yield block
            block = None
        elif block is not None:
            bare = re.search(r"['`^~]", re.sub(r"\\\(..", "", line))
            # In C an apostrophe is no word's beginning, and nobody pastes it into a shell.
            if bare and line.startswith("$ ") and bare.group(0) in "'`":
                sys.exit(f"manual.py: '{bare.group(0)}' in an example is printed as another character: {line}")
            block.append(plain(line))


def write_script(block, stem):
    """Each command's stdout goes into a file of its own, to be compared where the page shows what it prints."""
    with open(stem + ".sh", "w") as script:
        for number, line in enumerate(block):
            if line.startswith("$ "):
                last = number
                script.write(f'exec >"$EXAMPLES/{pathlib.Path(stem).name}.{number}.out"\n{line[2:]}\n')
                script.write(f"[ $? = 0 ] || {{ echo 'failed: line {number + 1} of its block' >&2; exit 1; }}\n")
            else:
                with open(f"{stem}.{last}.want", "a") as want:
                    want.write(line + "\n")


def write_example(block, stem):
    """Returns whether it is one."""
    if block[0].startswith("$ "):
        write_script(block, stem)
        return True
    for kind, is_one in (".c", block[0].startswith("#include")), (".conf", any(re.match(r"\[", l) for l in block)):
        if is_one:
            with open(stem + kind, "w") as out:
                out.write("\n".join(block) + "\n")
            return True
    return False


def examples(page, folder):
    written = 0
    for number, block in enumerate(literal_blocks(page)):
        written += write_example(block, f"{folder}/{number:02}")
    return written


def main():
    what = sys.argv[1]
    text = sys.stdin.read() if what == "help" else open(sys.argv[2], encoding="utf-8").read()
    if what == "examples":
        found = examples(text, sys.argv[3])
        print(found)
    else:
        if what == "keys":
            lines = page_keys(text) if text.startswith('.\\"') else file_keys(text)
        else:
            lines = {"options": options, "help": help_options, "members": members}[what](text)
        found = sorted(set(lines))
        print("\n".join(found))
    if not found:
        sys.exit(f"manual.py: nothing found by: {sys.argv[1:]}")


main()
