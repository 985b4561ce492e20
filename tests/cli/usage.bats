# What is said before anything runs: command lines that make no sense, and --dry-run. No daemon takes part.
load helper

# usage WORDS ARGUMENT...: one line on stderr, with these words, and status 2.
usage() {
    local words=$1
    shift
    expect 2 pmapc "$@" </dev/null
    complains "$words"
    [ "$(wc -l <err)" = 1 ] || fail "more than one line: $*"
    says ""
    [ -z "$(processes)" ] || fail "a daemon was started: $*"
}

# shows EXPECTED ARGUMENT...: what `map --dry-run` prints.
shows() {
    local expected=$1
    shift
    expect 0 pmapc map --dry-run "$@"
    says "$expected"
    silent
}

@test "what is to be run is one thing" {
    usage 'which function' map
    usage "which command.*'--'" map --
    usage "which command" map -- ::: 1
    usage "which command" map -- ''
    usage "'cube'.*items stand behind ':::'" map square cube
    usage "'square' and a command" map square -- ls
    usage "--python and 'square'" map --python x square
    usage "--python and 'ls'" map --python x -- ls
    usage "--filter and --pipe" map --filter --pipe -- cat
    usage "--filter needs a command" map --filter cat
    usage "--filter needs a command" map --filter
    usage "--pipe needs a command" map --pipe square ::: 1
    usage "--filter and --python" map --filter --python x -- cat
    usage "FILE:FUNCTION" map ./lib.so:
    usage "unexpected argument 'ls'" run ls
    usage "only one ':::'" run ::: ls ::: pwd
}

@test "options that are for something else" {
    usage '--max-args' map -n 2 square
    usage '--max-args' map -n 2 --filter -- cat
    usage '--colsep' map -C , --pipe -- cat
    usage "several ':::'" map square ::: 1 ::: 2
    usage '--max-args' map -n 2 -C , -- echo
    usage '--max-args' map -n 2 -- echo ::: 1 ::: 2
    usage '-I' map -I @ square
    usage '--line-buffer' map --line-buffer square
    usage '--line-buffer' map --line-buffer --filter -- cat
    usage '--recycle' map --recycle 5 -- ls
    usage '--type' map --type i64 square
    usage '--isolate' map --isolate -- ls
    usage '--resume needs --joblog' map --resume square
    usage '--resume-failed needs --joblog' run --resume-failed
    usage '--arg-file and' map -a f square ::: 1
}

@test "values out of their range" {
    usage '--timeout' map --timeout 0 square
    usage '--timeout' map --timeout 1h square
    usage '--timeout' map --timeout 5000000 square
    usage '--retries' map --retries -1 square
    usage '--halt.*soon' map --halt maybe square
    usage '--recycle' map --recycle 0 square
    usage '--max-args' map -n 0 -- ls
    usage '--colsep' map -C '[' -- ls
    usage '-I' map -I '' -- ls
    usage '--joblog.*twice' map --joblog a --joblog b square
    usage '--results.*twice' run --results a --results b
    usage 'needs a value' map --python
    usage 'needs an expression' map --python ''
    : >m.py
    usage 'which function' map --python m.py
    usage 'needs a value' map -n
    usage "did you mean '--filter'" map --fliter -- cat
    usage "did you mean '--timeout'" run --timeuot 3
    usage "did you mean 'cancel'" cancle 3
    usage 'which job' cancel
    usage 'whole number' cancel 3x
    usage 'out of range' cancel 0
    usage "unexpected argument 'x'" jobs x
}

@test "--help fits a terminal" {
    local command
    for command in '' map run timeit scale functions cpus status top jobs cancel ping; do
        # shellcheck disable=SC2086 # a word or none
        expect 0 pmapc $command --help
        silent
        [ "$(wc -l <out)" -le 24 ] || fail "too long"
        ! grep -nE '.{81}' out || fail "too wide"
    done
    expect 0 pmapc map --help=all
    ! grep -nE '.{81}' out || fail "too wide"
    for command in filter pipe; do
        expect 0 pmapc map --help
        grep -q -- "--$command" out
    done
    usage "'most' is not 'all'" map --help=most
}

@test "--dry-run: placeholders as in parallel, quoted for a shell" {
    shows "echo 'a b/c d.x'\\''y' 'a b/c d' 'c d.x'\\''y' 'a b' 'c d' 1" -- echo {} {.} {/} {//} {/.} {#} ::: "a b/c d.x'y"
    shows "$(printf 'echo x 1\necho x 2')" -- echo x ::: 1 2
    shows 'mv a.c a.o' -- mv {} {.}.o ::: a.c
    shows "mv a.c '{}'" -I @ -- mv @ {} ::: a.c
    shows "echo '' -n" -- echo {} -n ::: ''
    printf 'a\nb' | expect 0 pmapc map --dry-run -- echo
    printf 'echo a\necho b\n' | same out
    # What it prints is what a shell makes the same arguments of.
    printf 'a b\0c\nd\0"e\0-f\0' >names
    expect 0 pmapc map --dry-run -0 -a names -- printf '%s|'
    tr '\0' '\n' <out >script
    sh script >printed
    printf 'a b|c\nd|"e|-f|' | same printed
}

@test "--dry-run: several arguments an item" {
    shows "$(printf 'echo 1 2\necho 3')" -n 2 -- echo ::: 1 2 3
    shows "$(printf "echo 1+2\necho 3+")" -n 2 -- echo {1}+{2} ::: 1 2 3
    shows "$(printf 'echo a 1\necho a 2\necho b 1\necho b 2')" -- echo ::: a b ::: 1 2
    shows "$(printf 'x-1\nx-2')" -- {2}-{3} ::: a ::: x ::: 1 2
    printf 'a\t b c\n,d\te\n' >table
    shows "$(printf "echo 'b c' a\necho e ,d")" -C '\t' -a table -- echo {2} {1}
    shows "$(printf "echo a b\necho c d")" -C '[,;]+' -- echo ::: a,b 'c;,d'
}

@test "--dry-run: functions, filters, and lines for a shell" {
    shows "$(printf 'square 1\nsquare 2')" square ::: 1 2
    shows 'sed s/a/b/ x y' --filter -- sed s/a/b/ ::: 'x y'
    shows './lib.so:cube 3' ./lib.so:cube ::: 3
    shows 'int(x)**2 3' --python 'int(x)**2' ::: 3
    printf 'echo $HOME; ls\ntrue\n' >commands
    expect 0 pmapc run --dry-run -a commands
    same commands out
}

@test "--dry-run leaves out what the job log says is done, and the log as it is" {
    printf 'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n' >log
    printf '2\t:\t1.000\t     1.000\t0\t0\t0\t0\tx\n3\t:\t1.000\t     1.000\t0\t0\t1\t0\tx\n' >>log
    cp log before
    shows "$(printf 'echo a 1\necho d 4')" --joblog log --resume -- echo {} {#} ::: a b c d
    shows "$(printf 'echo a 1\necho c 3\necho d 4')" --joblog log --resume-failed -- echo {} {#} ::: a b c d
    shows 'echo a' --joblog none --resume -- echo ::: a
    shows 'echo a' --joblog log -- echo ::: a
    same log before
    [ ! -e none ]
}

@test "--dry-run with a closed stdout ends by SIGPIPE" {
    expect_sh 141 'yes | pmapc map --dry-run -- echo | head -n 1; exit ${PIPESTATUS[1]}'
    says 'echo y'
}

@test "a job log that is none is left alone" {
    start_daemon
    echo "my letter" >letter
    expect 2 pmapc map --joblog letter --resume square ::: 1
    complains 'letter, line 1'
    [ "$(cat letter)" = "my letter" ]
    expect 2 pmapc map --joblog no/such/log square ::: 1
    complains 'joblog'
    expect 2 pmapc map --results letter square ::: 1
    complains 'results'
    says ""
}

@test "--joblog and --results of builtins; --resume and --resume-failed" {
    start_daemon
    expect 1 pmapc map --joblog log --results res square ::: 1 x 3
    printf '1\n9\n' | same out
    [ "$(head -n 1 log)" = "$(printf 'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand')" ]
    cut -f 1,2,5-9 log | tail -n +2 >lines
    printf '1\t:\t0\t1\t0\t0\tsquare 1\n2\t:\t0\t0\t1\t0\tsquare x\n3\t:\t0\t1\t0\t0\tsquare 3\n' | same lines
    [ "$(cat res/1/result res/3/result)" = 19 ]
    # All has been done; then one failed.
    cp log before
    expect 0 pmapc map --joblog log --resume square ::: 1 x 3
    says ""
    same log before
    expect 0 pmapc map --joblog log --resume square ::: 1 x 3 4
    says 16
    expect 1 pmapc map --joblog log --resume-failed square ::: 1 x 3 4
    says ""
    complains 'item 2: '
    expect 0 pmapc map --joblog log --resume-failed square ::: 1 5 3 4
    says 25
    # An input that has become shorter.
    sed -i '/^1\t/d' log
    expect 0 pmapc map --joblog log --resume square ::: 7
    says 49
    seq 100000 >numbers
    expect 0 pmapc map -a numbers --joblog all square
    (head -n 500 all; printf '501\t:\t1') >part
    expect 0 pmapc map -a numbers --joblog part --resume square
    awk 'NR >= 500 {printf "%.0f\n", $1 * $1}' numbers | same out
    [ "$(tail -n +2 part | cut -f 1 | sort -n | uniq | wc -l)" = 100000 ]
}

@test "^Z holds a job and stops pmapc, fg goes on" {
    start_daemon
    background_sh 'pmapc map -c 1 sleep >out 2>err < <(for ((i = 0; i < 40; i++)); do echo 0.5; done)'
    until_true 20 status_is jobs 1 busy '>=1'
    kill -TSTP $PID
    until_true 20 stopped $PID
    until_true 20 status_is jobs 1 busy 0
    always 20 status_is jobs 1 busy 0
    kill -CONT $PID
    until_true 20 status_is jobs 1 busy '>=1'
    kill -INT $PID
    ended $PID 130
}

stopped() {
    local state
    read -r state <"/proc/$1/stat"
    [[ ${state##*) } == T* ]]
}

@test "jobs lists one's own, cancel gives them up" {
    start_daemon
    expect 0 pmapc jobs
    says ""
    background pmapc map sleep ::: 1000 >sleep.out 2>sleep.err
    until_true 20 status_is jobs 1 busy 1
    expect 0 pmapc jobs --json
    json_holds 'len(d) == 1 and d[0]["function"] == "sleep" and d[0]["items"] == 1' <out
    local job
    job=$(/usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["job"])' <out)
    expect 0 pmapc jobs
    grep -qE "^ *$job .* sleep$" out
    expect 0 pmapc cancel "$job"
    says ""
    silent
    ended $PID 3
    grep -q 'cancelled' sleep.err
    expect 1 pmapc cancel "$job"
    complains 'no such job'
    expect 1 pmapc cancel 12345678
    complains 'no such job'
}
