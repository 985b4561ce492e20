# --progress: a bar on a terminal, at most ten times a second, out of everybody's way, and gone at the end. terminal.py is
# the terminal.
load helper

prepare() {
    start_daemon
    export TERM=xterm
}

# terminal COLUMNS [resize=N] [type=TEXT] COMMAND...: what it has shown is in `shown`.
terminal() {
    timeout -k 5 $LIMIT /usr/bin/python3 "$PMAP_SOURCE/tests/cli/terminal.py" "$@" </dev/null >shown
    # Whatever runs: not too often, no line too long, and nothing left on the screen.
    shown 'd["updates"] <= 10 * d["elapsed"] + 1 and not d["wrapped"]'
    shown 'not any("%" in line or "ETA" in line for line in d["screen"])'
}

shown() {
    json_holds "$1" <shown
}

@test "--progress: the count is known" {
    terminal 80 sh -c 'pmapc map --progress sleep ::: $(seq -f 0.01%.0f 100) >out'
    shown 'd["status"] == 0 and d["updates"] >= 3 and d["longest"] == 77'
    shown 'all(__import__("re").match(r"^\[#*>? *\] +\d+% \d+/100 items  ", l) for l in d["lines"])'
    shown 'any(" ETA 0:0" in l and "/s " in l for l in d["lines"])'
    shown 'len(d["screen"]) == 1 and d["screen"][0].startswith("pmapc: 100 items")'
    terminal 80 sh -c 'pmapc map --progress -n 3 -- sleep ::: $(seq -f 0.03%.0f 20) >out'
    shown '"/7 items" in d["lines"][-1]'
    terminal 80 sh -c 'pmapc map --progress -- sh -c "sleep 0.\$1\$2" x ::: 0 1 ::: 4 5 6 7 8 9 >out'
    shown '"/12 items" in d["lines"][-1]'
    # Of a job that goes on, only what is missing counts.
    expect 1 pmapc map --joblog log sleep ::: 0.01 x x x x x x x
    terminal 80 sh -c 'pmapc map -j 1 --joblog log --resume-failed --progress sleep ::: $(seq -f 0.05%.0f 8) >out'
    shown '"/7 items" in d["lines"][-1]'
}

@test "--progress: the size of a file is known, wherever it is read from, and nothing of a pipe" {
    # More than is under way at once, so that it is an estimate for most of the time.
    yes "0.0004$(printf %0990d 0)" | head -n 10000 >items
    terminal 80 sh -c 'pmapc map --progress -c 1 -a items sleep >out'
    shown 'any("/~" in l for l in d["lines"]) and "/10000 items" in d["lines"][-1]'
    # Every line is as long as the others, so the estimate is right, also from the middle on.
    shown 'all(l.split("/~")[1].startswith("10000 ") for l in d["lines"] if "/~" in l)'
    terminal 80 sh -c '{ head -n 3000 >/dev/null; exec pmapc map --progress -c 1 sleep; } <items >out'
    shown "any('/~' in l for l in d['lines']) and '/$(wc -l <out) items' in d['lines'][-1]"
    shown "all(l.split('/~')[1].startswith('$(wc -l <out) ') for l in d['lines'] if '/~' in l)"
    terminal 80 sh -c 'cat items | pmapc map --progress -c 1 sleep >out'
    shown 'any(__import__("re").match(r"^\d+ items  [\d.]+( k)?/s  0:0\d$", l) for l in d["lines"])'
}

@test "--progress: narrow, wide, resized, and in blocks" {
    local columns
    for columns in 79 60 50 40 30 20 10 5; do
        terminal $columns sh -c 'pmapc map --progress -- sh -c "sleep 0.04; exit \$1" x ::: 0 0 0 1 0 0 0 0 0 0 0 0 >out'
        shown "d['longest'] < $columns - 2"
        [ $columns -lt 10 ] || shown 'd["updates"] >= 1 and all("%" in l for l in d["lines"])'
        [ $columns -lt 50 ] || shown '", 1 failed" in d["lines"][-1] and "ETA" in d["lines"][-1]'
    done
    terminal 200 sh -c 'pmapc map --progress sleep ::: 0.3 >out'
    shown 'd["longest"] == 77'
    terminal 80 resize=30 sh -c 'pmapc map --progress sleep ::: $(seq -f 0.05%.0f 20) >out'
    shown 'len(d["lines"][0]) == 77 and len(d["lines"][-1]) < 30'
    LC_ALL=C.UTF-8 terminal 60 sh -c 'pmapc map --progress sleep ::: $(seq -f 0.05%.0f 12) >out'
    shown '"\u2588" in d["lines"][-1] and "#" not in d["lines"][-1]'
}

@test "--progress: out of the way of results, messages, and what commands write" {
    # All to the same terminal; what it shows but for the summary.
    local results='[l for l in d["screen"] if not l.startswith("pmapc: ")]'
    terminal 80 pmapc map --progress -- sh -c 'sleep 0.15; echo out $1; echo err $1 >&2' x ::: 1 2 3 4 5 6
    shown "$results"' == [f"{w} {n}" for n in range(1, 7) for w in ("out", "err")] and d["updates"] >= 2'
    # A line that has no end yet stays, and no bar comes behind it; one may tell of the first item before that is written.
    terminal 80 pmapc map -j 1 --progress -- sh -c 'sleep 0.15; printf %s "$1"' x ::: a b c
    shown 'd["screen"][0].startswith("abcpmapc: 3 items") and d["lines"] and not any("2/3" in l for l in d["lines"])'
    terminal 80 pmapc map --progress --line-buffer -- sh -c 'printf a; sleep 0.3; echo b; sleep 0.3' x ::: 1
    shown "$results"' == ["ab"] and d["updates"] >= 1'
    terminal 80 pmapc map -j 1 --progress sleep ::: 0.25 x 0.25 y
    shown 'len([l for l in d["screen"] if l.startswith("pmapc: item ")]) == 2 and d["screen"].count("0.25") == 2'
    # More than one buffer's worth.
    seq 100000 >numbers
    terminal 80 pmapc map --progress -a numbers echo
    shown "$results"' == [str(n) for n in range(1, 100001)]'
}

@test "--progress: gone after Ctrl-C, Ctrl-Z, a reader that leaves, and a daemon that does" {
    terminal 80 type='\x03' sh -c 'exec pmapc map --progress sleep ::: 60 60 >out'
    shown 'd["status"] == 130 and d["screen"] == []'
    terminal 80 type='\x1a' sh -c 'exec pmapc map --progress sleep ::: $(seq -f 0.1%.0f 16) >out'
    shown 'd["stopped"] == [] and d["status"] == 0 and len(d["screen"]) == 1 and d["updates"] >= 4'
    terminal 80 bash -c 'pmapc map --progress sleep ::: $(seq -f 0.1%.0f 16) | { read -r _; read -r _; read -r _; }; exit ${PIPESTATUS[0]}'
    shown 'd["status"] == 141 and d["screen"] == []'
    terminal 80 sh -c "(sleep 0.5; kill -KILL $DAEMON) & pmapc map --reconnect 0 --progress sleep ::: 60 >out"
    forget_daemon "$DAEMON"
    shown 'd["status"] == 3 and len(d["screen"]) >= 1 and all(l.startswith("pmapc: ") for l in d["screen"])'
}

@test "--progress: none where it would harm" {
    expect 0 pmapc map --progress sleep ::: 0.3
    silent
    terminal 80 sh -c 'pmapc map -q --progress sleep ::: 0.3 >out'
    shown 'd["updates"] == 0'
    TERM=dumb terminal 80 sh -c 'pmapc map --progress sleep ::: 0.3 >out'
    shown 'd["updates"] == 0'
    # Another program has the terminal.
    terminal 80 bash -c 'set -m; pmapc map --progress sleep ::: 0.3 >out & wait'
    shown 'd["updates"] == 0'
}
