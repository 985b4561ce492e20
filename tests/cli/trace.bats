# --trace: what ran where and when, in the format of Chrome's trace events. trace.py holds the files against that format:
# each item once, a row a slot, nothing in a row overlaps.
load helper

prepare() {
    start_daemon
}

# traced FILE ITEMS [SLOTS]: it is right; what it says of the rows is in `rows`.
traced() {
    /usr/bin/python3 "$PMAP_SOURCE/tests/cli/trace.py" "$@" >rows 2>wrong || { cat wrong >&2; return 1; }
}

# holds FILE CONDITION: of `e`, the list of its events, and `x`, its items by number.
holds() {
    /usr/bin/python3 -c "
import json, sys
e = json.load(open('$1'))['traceEvents']
x = {v['args']['seq']: v for v in e if v['ph'] != 'M'}
assert $2, e[:40]"
}

@test "--trace: builtins, each item once, a row a slot" {
    expect 1 pmapc map --trace file square ::: 2 x 3
    traced file 3 1,2
    [[ $(tail -n 1 rows) =~ ^pmapd\ job\ [0-9]+:\ square$ ]]
    holds file 'x[2]["args"]["error"] == "'"'x' is not a number"'" and x[2]["cat"] == "failed" and x[3]["args"]["item"] == "3"'
    seq 50000 >numbers
    expect 0 pmapc map -a numbers --trace file square
    traced file 50000 1,2
    expect 0 pmapc map -a numbers -c 1 -u --trace file square
    traced file 50000 1,2
    expect 0 pmapc map -j 1 --trace file sleep ::: 0.05 0.01 0.05
    traced file 3 1,2
    [ "$(grep -c '^slot' rows)" = 1 ] || fail "-j 1 ran in two slots: $(cat rows)"
    holds file 'x[1]["dur"] >= 50000 and x[2]["ts"] >= 50000 and x[3]["ts"] >= x[1]["ts"] + 60000'
}

@test "--trace: large results, in pieces, among small ones" {
    head -c 3000000 /dev/zero | tr '\0' x >large
    { echo a; cat large; echo; echo b; cat large; echo; } >items
    for option in -u '-c 1' --isolate; do
        expect 0 pmapc map $option -a items --trace file echo
        traced file 4 1,2
        holds file 'x[2]["args"]["item"].startswith("xxx") and len(x[2]["args"]["item"]) < 200'
    done
}

@test "--trace: all that runs in processes" {
    seq 40 >numbers
    expect 1 pmapc map -a numbers --trace file -- sh -c 'exit $(($1 == 7))' x
    traced file 40 1,2
    holds file 'x[7]["args"]["error"] == "exited with status 1" and x[8]["args"]["cpu_ms"] > 0'
    # A peak below that of what started it is not known, and with a sanitizer pmap-exec's is large.
    [ "$SCALE" != 1 ] || holds file 'x[8]["args"]["peak_bytes"] > 0'
    expect 0 pmapc map -a numbers --trace file --filter -- cat
    traced file 40 1,2
    expect 0 pmapc map -a numbers --trace file --pipe -c 7 -- cat
    traced file 40 1,2
    expect 0 pmapc map -a numbers --trace file --python 'x * 2'
    traced file 40 1,2
    expect 0 pmapc map -a numbers --trace file --isolate burn
    traced file 40 1,2
    printf '%s\n' 'echo $PMAP_SLOT' 'sleep 0.2; echo $PMAP_SLOT' 'sleep 0.2; echo $PMAP_SLOT' | expect 0 pmapc run --trace file
    traced file 3
    # The rows are the slots that the commands saw.
    holds file '[str(x[i]["tid"]) for i in (1, 2, 3)] == open("out").read().split()'
    expect 0 pmapc map -n 2 --trace file -- echo ::: 'a b' c d
    traced file 2
    holds file 'x[1]["args"]["item"] == "a b c"'
}

@test "--trace: retries, time limits, deaths, and what never ran" {
    expect 1 pmapc map --retries 2 --timeout 0.2 --trace file -- sh -c '[ $1 != 9 ] && { sleep 3 & wait; }; kill -9 $$' x ::: 1 9
    traced file 2
    holds file 'x[1]["args"]["attempts"] == 3 and x[1]["args"]["status"] == "timed out" and x[1]["dur"] >= 200000 and x[2]["args"]["error"].startswith("killed by SIGKILL")'
    seq 200 >numbers
    expect 1 pmapc map -a numbers -c 1 --halt soon --trace file -- sh -c 'exit 1'
    traced file 200
    grep -q '^in no slot: 1[0-9][0-9]$' rows || fail "$(cat rows)"
    holds file 'x[200]["args"]["status"] == "not run" and x[1]["args"]["status"] == "failed"'
}

@test "--trace: items of any bytes, and names" {
    printf 'quote " back \\ slash\0\xff\xfe\0tab\there\ttoo\0\xe2\x82\xac\xe2\x82\0new\nline\0\x7f\x1b[1m\0\0' >items
    expect 0 pmapc map -0 -a items --trace file length
    traced file 7
    holds file 'x[1]["args"]["item"] == "quote \" back \\ slash"'
    holds file 'x[2]["args"]["item"] == "\\xff\\xfe" and x[4]["args"]["item"] == "\u20ac\\xe2\\x82"'
    holds file 'x[5]["args"]["item"] == "new\nline" and x[6]["args"]["item"] == "\x7f\x1b[1m" and x[7]["args"]["item"] == ""'
    ! LC_ALL=C grep -aq $'[\x01-\x09\x0b-\x1f\x7f-\xff]' <(tr -d '\342\202\254' <file) || fail "control characters in the file"
    expect 0 pmapc map --trace file --python $'x + "\\"" + "\xc3\xa4"' ::: a
    traced file 1
}

@test "--trace: the file is whole however pmapc ends" {
    local signal status
    for signal in INT TERM KILL; do
        rm -f file out
        background_sh "pmapc map -c 1 --trace file -- sh -c 'sleep 0.02; echo \$0' ::: {1..2000} >out 2>err"
        until_true 20 test -s out
        until_true 20 grep -q '"item 20"' file
        # So it is at any time.
        /usr/bin/python3 -c 'import json; json.load(open("file"))'
        kill -$signal $PID
        status=130
        [ $signal = INT ] || status=$((128 + $(kill -l $signal)))
        ended $PID $status
        holds file 'len(x) >= 20'
        until_true 20 idle
    done
    # A reader that leaves, and a daemon that goes.
    expect_sh 141 "env --default-signal=PIPE pmapc map --trace file -- sh -c 'echo \$0' ::: {1..2000} | head -n 1; exit \${PIPESTATUS[0]}"
    holds file 'len(x) >= 0'
    expect 0 pmapc map --trace file echo :::
    /usr/bin/python3 -c 'import json; d = json.load(open("file")); assert d["displayTimeUnit"] == "ms", d'
}

@test "--trace: where it cannot be written" {
    expect 2 pmapc map --trace no/such/file square ::: 1
    complains '--trace: cannot write to no/such/file: no such file'
    says ""
    expect 2 pmapc map --trace a --trace b square ::: 1
    complains '--trace.*twice'
    expect 2 pmapc map --trace /dev/full square ::: 1
    complains '--trace: cannot write to /dev/full: no space left'
    expect 0 pmapc map --dry-run --trace file square ::: 1
    [ ! -e file ] || fail "a dry run has written a trace"
    # A pipe cannot be written to at any place: its end comes once.
    expect_sh 0 "pmapc map --trace >(cat >file; echo >through) square ::: 1 2 3"
    until_true 20 test -e through
    traced file 3
    # What was there before is gone.
    seq 1000 >file
    expect 0 pmapc map --trace file square ::: 1
    traced file 1
}

@test "--trace: only what was run, with --resume" {
    expect 1 pmapc map --joblog log --trace file square ::: 1 x 3
    expect 0 pmapc map --joblog log --resume-failed --trace file square ::: 1 2 3
    holds file 'list(x) == [2]'
}
