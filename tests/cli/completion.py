"""
A shell at a terminal, to which keys are typed: completion.py SHELL FILE KEYS WANT. SHELL is bash, which sources FILE, or zsh, which
finds it in its folder. WANT, a regular expression, must come within the time limit, 20 s.
"""
import os
import pty
import re
import select
import sys
import time

shell, source, keys, want = sys.argv[1:]
START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], f"bind 'set bell-style none'; PS1='$ '; source {source}"),
    "zsh": (["zsh", "-f", "-i"], f"PS1='$ '; fpath=({os.path.dirname(source)} $fpath); autoload -Uz compinit; compinit -u -D"),
}
command, first = START[shell]
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "dumb" if shell == "bash" else "xterm"
    os.execvp(command[0], command)
os.write(terminal, f"{first} && echo rea''dy\n".encode())
seen = b""
ready = False
end = time.monotonic() + 20
while time.monotonic() < end:
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            break
    if not ready and re.search(rb"[\r\n]ready", seen):
        ready = True
        os.write(terminal, keys.encode().decode("unicode_escape").encode())
    if ready and re.search(want.encode(), seen):
        sys.exit(0)
sys.exit(f"not seen: {want}; but:\n{seen.decode(errors='replace')}")
