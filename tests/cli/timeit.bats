# timeit and scale: what they print, which jobs they take, and how they end. Nothing here depends on how long anything takes.
load helper

# A time as IPython prints it, in a C locale.
TIME='([0-9.]+(e[+-][0-9]+)? (s|ms|us|ns)|([0-9]+(d|h|min|s) ?)+)'

# line RUNS LOOPS: that is all that is on stdout, but for the times.
line() {
    [ "$(wc -l <out)" = 1 ] || fail "not one line"
    grep -qE "^$TIME \+- $TIME per loop \(mean \+- std\. dev\. of $1, $2 each\)$" out || fail "not the line"
}

@test "timeit: the line of IPython's %timeit" {
    start_daemon
    expect 0 pmapc timeit square ::: 1 2 3
    line '7 runs' '(1|10|100|1,000|10,000|100,000) loops?'
    expect 0 pmapc timeit --runs 2 --loops 3 square ::: 1
    line '2 runs' '3 loops'
    seq 5000 | expect 0 pmapc timeit --runs 1 --loops 1 cube
    line '1 run' '1 loop'
    expect 0 env LC_ALL=C.UTF-8 pmapc timeit --runs 2 --loops 1000 -q echo ::: ''
    grep -qE '^[0-9.]+ (s|ms|µs|ns) ± [0-9.]+ (s|ms|µs|ns) per loop \(mean ± std. dev. of 2 runs, 1,000 loops each\)$' out
    silent
    until_true 20 idle
}

@test "timeit: one loop where a loop takes 0.2 s" {
    start_daemon
    expect 0 pmapc timeit --runs 2 sleep ::: 0.2
    line '2 runs' '1 loop'
    json_holds 'd["jobs_done"] == 3' < <(pmapc status --json) # one to choose by, and two runs
}

@test "timeit --json: all runs" {
    start_daemon
    printf '1,2,3' | expect 0 pmapc timeit --json -q --runs 4 --loops 5 -d, -j 1 square
    silent
    json_holds 'list(d) == "function items slots loops runs mean_s std_s min_s max_s all_s".split()' <out
    json_holds 'd["function"] == "square" and d["items"] == 3 and d["slots"] == 1 and d["loops"] == 5' <out
    json_holds 'len(d["all_s"]) == d["runs"] == 4 and min(d["all_s"]) == d["min_s"] > 0' <out
    json_holds 'max(d["all_s"]) == d["max_s"] and abs(sum(d["all_s"]) / 4 / d["mean_s"] - 1) < 1e-6' <out
    # A warm-up, and each loop a job of its own over the same items.
    json_holds 'd["jobs_done"] == 21 and d["items_done"] == 63' < <(pmapc status --json)
}

@test "timeit takes what map takes" {
    start_daemon
    local quick=(timeit --runs 2 --loops 1)
    expect 0 pmapc "${quick[@]}" -- sh -c 'echo {} >>ran' ::: a b
    line '2 runs' '1 loop'
    sort ran | same - <(printf 'a\na\na\nb\nb\nb\n')
    expect 0 pmapc "${quick[@]}" --filter -- cat ::: 1 2
    seq 10 | expect 0 pmapc "${quick[@]}" --pipe -c 5 -- wc -l
    expect 0 pmapc "${quick[@]}" --python 'int(x) ** 2' ::: 1 2
    expect 0 pmapc "${quick[@]}" --json -n 2 -- test '{1}' -lt '{2}' ::: 1 2 3 4
    json_holds 'd["items"] == 2' <out
    expect 0 pmapc "${quick[@]}" --json -- test '{1}' -ne '{2}' ::: 1 2 ::: 3 4
    json_holds 'd["items"] == 4 and d["function"] == "test {1} -ne {2}"' <out
    seq 200000 >numbers
    expect 0 pmapc "${quick[@]}" --json -a numbers -u length
    json_holds 'd["items"] == 200000' <out
    # Results larger than a message, and items larger than what may be under way.
    head -c 20000000 /dev/zero | tr '\0' x >large
    expect 0 pmapc "${quick[@]}" echo <large
    until_true 20 idle
}

@test "timeit: an item that fails ends it" {
    start_daemon
    expect 1 pmapc timeit square ::: 1 x y
    says ''
    complains "item 2: 'x' is not a number"
    [ "$(wc -l <err)" = 1 ] || fail "told more than once"
    expect 1 pmapc timeit -- sh -c 'echo oh dear >&2; exit 3' ::: 1
    grep -qx 'oh dear' err || fail "its stderr is missing"
    grep -q 'pmapc: item 1: exited with status 3' err || fail "not told"
    expect 2 pmapc timeit sqare ::: 1
    complains "did you mean 'square'"
    expect 2 pmapc timeit -- ./nowhere ::: 1
    complains nowhere
    says ''
    until_true 20 idle
}

@test "timeit: what makes no sense" {
    local bad words
    while IFS='|' read -r words bad; do
        # shellcheck disable=SC2086 # several words
        expect 2 pmapc timeit $bad </dev/null
        complains "$words"
        [ "$(wc -l <err)" = 1 ] || fail "more than one line"
        says ''
    done <<'END'
timeit: which function.*pmapc timeit --help|
timeit: --joblog has no place|--joblog l square
timeit: --results has no place|--results r square
timeit: --tag has no place|--tag square
timeit: --stats has no place|--stats square
timeit: --halt has no place|--halt now square
timeit: --progress has no place|--progress square
timeit: --dry-run has no place|--dry-run square
--loops: 0 is out of range|--loops 0 square
--runs: 'x' is not a whole number|--runs x square
did you mean '--loops'.*pmapc timeit --help|--lops 3 square
timeit: --max-args is for commands only.*pmapc timeit --help|-n 3 square
takes no value|--json=yes square
cannot open nowhere|-a nowhere square
unexpected argument 'cube'|square cube
END
    [ -z "$(processes)" ] || fail "a daemon was started"
    expect 3 pmapc --no-autostart timeit square ::: 1
    start_daemon
    expect 2 pmapc timeit square </dev/null
    complains 'timeit: there are no items'
}

@test "timeit: Ctrl-C ends it, and its job with it" {
    start_daemon
    background_sh "pmapc timeit sleep ::: 60 >out 2>err"
    until_true 20 status_is busy 1
    kill -INT "$PID"
    ended "$PID" 130
    says ''
    silent
    until_true 20 idle
    background_sh "pmapc timeit sleep ::: 60 >out 2>err"
    until_true 20 status_is busy 1
    kill -TERM "$PID"
    ended "$PID" 143
    until_true 20 idle
}

@test "timeit: the daemon is lost" {
    start_daemon
    background_sh "pmapc timeit sleep ::: 60 >out 2>err"
    until_true 20 status_is busy 1
    kill -KILL "$DAEMON"
    ended "$PID" 3
    complains 'the daemon at .* is gone'
    wait "$DAEMON" || true
    forget_daemon "$DAEMON"
}

@test "scale: a table, what fits, a recommendation, and a plot" {
    start_daemon -n 3
    seq 100 | expect 0 pmapc scale -q --runs 2 --loops 2 cube
    silent
    grep -qx 'cube: 100 items, the shortest of 2 runs of 2 jobs each' out
    grep -qx 'slots        time  speed-up  efficiency  serial' out
    local n
    grep -qE '^    1 +[0-9.]+ (s|ms|us)      1\.00        1\.00       -$' out || fail "no first row"
    for n in 2 3; do
        grep -qE "^    $n +[0-9.]+ (s|ms|us) +[0-9]+\.[0-9]{2} +[0-9]+\.[0-9]{2} +-?[0-9]+\.[0-9]{3}$" out || fail "no row $n"
    done
    grep -qE "^serial fraction: -?[0-9]+\.[0-9]{3}, the f of Amdahl's law" out
    grep -qE '^recommended: [123] slots?, the most with an efficiency of at least 0.7$' out
    grep -qx 'speed-up' out
    grep -qE '^        o measured   \. \. \. ideal   \*{5} Amdahl$' out
    ! grep -nE '.{81}' out || fail "too wide"
    ! LC_ALL=C grep -n '[^ -~]' out || fail "not ASCII"
    expect 0 env LC_ALL=C.UTF-8 COLUMNS=60 pmapc scale -q --runs 1 --loops 1 cube ::: 1 2
    grep -q '● measured' out
    ! LC_ALL=C.UTF-8 grep -nE '.{81}' <(grep -A 30 '^speed-up' out) || fail "too wide"
    # Which jobs those were: a first one, and then so many with each number of slots.
    json_holds 'd["jobs_done"] == 1 + 3 * 2 * 2 + 1 + 3' < <(pmapc status --json)
    until_true 20 idle
}

@test "scale --json: all figures, which follow from the times" {
    start_daemon -n 3
    expect 0 pmapc scale --json --runs 3 --loops 1 -c 1 sleep ::: 0.01 0.01 0.01 0.01 0.01 0.01
    silent
    json_holds 'list(d) == "function items loops runs slots others points serial_fraction recommended".split()' <out
    json_holds '(d["function"], d["items"], d["loops"], d["runs"], d["slots"]) == ("sleep", 6, 1, 3, 3)' <out
    json_holds '[p["slots"] for p in d["points"]] == [1, 2, 3] and d["recommended"] in (1, 2, 3)' <out
    json_holds 'all(list(p) == "slots time_s speedup efficiency serial all_s".split() for p in d["points"])' <out
    json_holds 'all(len(p["all_s"]) == 3 and min(p["all_s"]) == p["time_s"] for p in d["points"])' <out
    json_holds 'all(abs(p["speedup"] * p["time_s"] / d["points"][0]["time_s"] - 1) < 1e-9 for p in d["points"])' <out
    json_holds 'all(abs(p["efficiency"] * p["slots"] / p["speedup"] - 1) < 1e-9 for p in d["points"])' <out
    json_holds 'd["points"][0]["serial"] is None and isinstance(d["serial_fraction"], float)' <out
    expect 0 pmapc scale --json --runs 1 --max 2 --python 'int(x) + 1' ::: 1 2
    json_holds '[p["slots"] for p in d["points"]] == [1, 2]' <out
}

@test "scale: which numbers of slots" {
    start_daemon -n 10
    local one=(scale --json -q --runs 1 --loops 1 square)
    expect 0 pmapc "${one[@]}" ::: 1
    json_holds '[p["slots"] for p in d["points"]] == [1, 2, 3, 4, 6, 8, 10]' <out
    expect 0 pmapc "${one[@]}" --all ::: 1
    json_holds '[p["slots"] for p in d["points"]] == list(range(1, 11))' <out
    expect 0 pmapc "${one[@]}" --max 5 ::: 1
    json_holds '[p["slots"] for p in d["points"]] == [1, 2, 3, 4, 5]' <out
    expect 0 pmapc "${one[@]}" --max 11 ::: 1
    json_holds 'd["points"][-1]["slots"] == 10' <out
    complains 'scale: --max 11: there are 10 slots for you, no more'
    expect 0 pmapc scale --runs 1 --max 1 square ::: 1
    complains 'nothing to compare'
    ! grep -q recommended out || fail "recommended what was not tried"
}

@test "scale: a pool of one slot" {
    start_daemon -n 1
    expect 0 pmapc scale --runs 1 --svg one.svg square ::: 1 2 3
    complains 'the pool has one slot only'
    [ "$(grep -cE '^ +[0-9]+ +[0-9.]+ (s|ms|us) ' out)" = 1 ] || fail "not one row"
    xml one.svg
    expect 0 pmapc scale --json --runs 1 square ::: 1
    json_holds 'd["serial_fraction"] is None and d["recommended"] == 1 and len(d["points"]) == 1' <out
}

# xml FILE: well-formed, of SVG's namespace, with a size and a title.
xml() {
    /usr/bin/python3 - "$1" <<'END'
import sys, xml.etree.ElementTree as tree
svg = tree.parse(sys.argv[1]).getroot()
space = "{http://www.w3.org/2000/svg}"
assert svg.tag == space + "svg" and svg.get("version") == "1.1" and svg.get("viewBox") == "0 0 1600 900"
assert svg.find(space + "title").text
for text in svg.iter(space + "text"):
    assert 0 <= float(text.get("x")) < 1600 and 0 <= float(text.get("y")) < 900
for circle in svg.iter(space + "circle"):
    assert 0 <= float(circle.get("cx")) < 1600 and 0 <= float(circle.get("cy")) < 900
END
}

@test "scale --svg: a picture" {
    start_daemon
    expect 0 pmapc scale --runs 1 --loops 1 --svg p.svg -- true '<&>"' ::: 1 2
    xml p.svg
    grep -q '<title>true &lt;&amp;&gt;" with 1 to 2 slots</title>' p.svg || fail "no title"
    # One that is there is written over, also where it was longer; and what cannot be written is told before any work.
    head -c 100000 /dev/zero | tr '\0' x >p.svg
    expect 0 pmapc scale --runs 1 --loops 1 --svg p.svg square ::: 1 2
    xml p.svg
    expect_sh 0 'pmapc scale --runs 1 --loops 1 --svg /dev/stderr -q square ::: 1 2 2>&1 >/dev/null | cat >piped.svg'
    xml piped.svg
    expect 2 pmapc scale --svg nowhere/p.svg sleep ::: 60
    complains '--svg: cannot open nowhere/p.svg'
    expect 2 pmapc scale --svg . sleep ::: 60
    complains '--svg: cannot open \.'
    expect 1 pmapc scale --runs 1 --svg /dev/full square ::: 1
    complains '--svg: cannot write /dev/full'
    # No file is left where there is no picture.
    expect 1 pmapc scale --svg none.svg square ::: x
    [ ! -e none.svg ] || fail "an empty file was left"
    cp p.svg kept.svg
    expect 1 pmapc scale --svg p.svg square ::: x
    same p.svg kept.svg
}

@test "scale: what makes no sense" {
    local bad words
    while IFS='|' read -r words bad; do
        # shellcheck disable=SC2086 # several words
        expect 2 pmapc scale $bad </dev/null
        complains "$words"
        [ "$(wc -l <err)" = 1 ] || fail "more than one line"
        says ''
    done <<'END'
scale: which function.*pmapc scale --help|
scale: --slots has no place|-j 2 square
scale: --joblog has no place|--joblog l square
--max: 0 is out of range|--max 0 square
'--svg' needs a value|square --svg
did you mean '--all'|--al1 square
END
    [ -z "$(processes)" ] || fail "a daemon was started"
    start_daemon
    expect 2 pmapc scale square </dev/null
    complains 'scale: there are no items'
    expect 1 pmapc scale square ::: 1 x
    complains "item 2: 'x' is not a number"
    says ''
}

@test "scale: others in the pool are told of" {
    start_daemon
    background_sh "pmapc map -j 1 sleep ::: 60 >/dev/null"
    local other=$PID
    until_true 20 status_is busy 1
    expect 0 pmapc scale --runs 2 --loops 1 square ::: 1 2 3
    complains "others used [0-9.]+ of the pool's 2 slots"
    expect 0 pmapc scale --json --runs 2 --loops 1 square ::: 1 2 3
    json_holds 'd["others"] >= 1' <out
    expect 0 pmapc scale -q --runs 2 --loops 1 square ::: 1 2 3
    silent
    kill -INT "$other"
    ended "$other" 130
}

@test "scale: Ctrl-C ends it" {
    start_daemon
    background_sh "pmapc scale --svg p.svg sleep ::: 60 >out 2>err"
    until_true 20 status_is busy 1
    kill -INT "$PID"
    ended "$PID" 130
    says ''
    silent
    [ ! -e p.svg ] || fail "an empty file was left"
    until_true 20 idle
}

@test "timeit and scale start a daemon where there is none, and their output may be closed" {
    expect 0 pmapc timeit --runs 2 --loops 1 square ::: 1
    line '2 runs' '1 loop'
    [ -n "$(processes)" ] || fail "no daemon was started"
    expect 1 sh -c 'pmapc timeit --runs 2 --loops 1 square ::: 1 >/dev/full'
    complains 'cannot write to stdout'
    expect 0 pmapc scale --runs 1 square ::: 1
    expect 1 sh -c 'pmapc scale --json --runs 1 square ::: 1 >/dev/full'
    complains 'cannot write to stdout'
}
