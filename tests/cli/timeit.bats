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
    printf '1,2,3' | expect 0 pmapc timeit --json --runs 4 --loops 5 -d, -j 1 square
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
    expect 0 pmapc "${quick[@]}" --json -n 2 -- test {1} -lt {2} ::: 1 2 3 4
    json_holds 'd["items"] == 2' <out
    expect 0 pmapc "${quick[@]}" --json -- test {1} -ne {2} ::: 1 2 ::: 3 4
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
    kill -INT $PID
    ended $PID 130
    says ''
    silent
    until_true 20 idle
    background_sh "pmapc timeit sleep ::: 60 >out 2>err"
    until_true 20 status_is busy 1
    kill -TERM $PID
    ended $PID 143
    until_true 20 idle
}

@test "timeit: the daemon is lost" {
    start_daemon
    background_sh "pmapc timeit sleep ::: 60 >out 2>err"
    until_true 20 status_is busy 1
    kill -KILL "$DAEMON"
    ended $PID 3
    complains 'the daemon at .* is gone'
    wait "$DAEMON" || true
    forget_daemon "$DAEMON"
}

@test "timeit and scale start a daemon where there is none, and their output may be closed" {
    expect 0 pmapc timeit --runs 2 --loops 1 square ::: 1
    line '2 runs' '1 loop'
    [ -n "$(processes)" ] || fail "no daemon was started"
    expect 1 sh -c 'pmapc timeit --runs 2 --loops 1 square ::: 1 >/dev/full'
    complains 'cannot write to stdout'
}
