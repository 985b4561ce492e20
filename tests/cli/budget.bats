# One CPU budget: how many slots there are, and what a task that starts threads or an inner make is told of it.
load helper

# CPUs that may be used here.
usable() {
    pmapc cpus --json | sed -n 's/.*"usable": \([0-9]*\).*/\1/p'
}

# A CPU that may be used.
a_cpu() {
    taskset -cp $$ | sed -E 's/.*: ([0-9]+).*/\1/'
}

show_threads='env | grep _NUM_THREADS= | sort'

@test "slots come from the CPUs that may be used, not from those in the box" {
    setpriv --pdeathsig KILL taskset -c "$(a_cpu)" pmapd --private -e "ipc://$T/one.sock" \
        </dev/null >>"$T/pmapd.log" 2>&1 3>&- 7>&- 8>&- 9>&- &
    DAEMONS+=($!)
    export PMAP_ENDPOINT=ipc://$T/one.sock
    until_true 20 answers
    [ "$(status_of slots)" = 1 ] || fail "one CPU, and not one slot"
    # All that there is belongs to the one slot.
    expect 0 pmapc map -- sh -c "$show_threads" ::: 1
    [ "$(cat out)" = $'MKL_NUM_THREADS=1\nNUMEXPR_NUM_THREADS=1\nOMP_NUM_THREADS=1\nOPENBLAS_NUM_THREADS=1\nRAYON_NUM_THREADS=1' ] ||
        fail "of one CPU"
}

@test "a task's libraries are told what one slot may use, whatever kind of function it is" {
    start_daemon -n 1
    local all
    all=$(usable)
    unset OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NUMEXPR_NUM_THREADS RAYON_NUM_THREADS
    expect 0 pmapc map -- sh -c 'echo $OMP_NUM_THREADS $RAYON_NUM_THREADS' ::: 1
    says "$all $all"
    expect 0 pmapc map --filter -- sh -c 'while read -r x; do echo "$MKL_NUM_THREADS"; done' ::: 1
    says "$all"
    expect 0 pmapc map --pipe -- sh -c 'echo $NUMEXPR_NUM_THREADS' ::: 1
    says "$all"
    expect 0 pmapc map --python '__import__("os").environ["OPENBLAS_NUM_THREADS"]' ::: 1
    says "$all"
    # Shared out: no more threads than CPUs, and never none.
    stop_daemon
    start_daemon -n 1000
    expect 0 pmapc map -- sh -c 'echo $OMP_NUM_THREADS' ::: 1
    says 1
}

@test "what the submitter has set stays, and a mask of his own bounds the rest" {
    start_daemon -n 1
    unset OPENBLAS_NUM_THREADS MKL_NUM_THREADS NUMEXPR_NUM_THREADS RAYON_NUM_THREADS
    # OpenBLAS, MKL and numexpr look at OpenMP's number themselves, and would not if they had one of their own.
    export OMP_NUM_THREADS=7,3
    expect 0 taskset -c "$(a_cpu)" pmapc map -- sh -c "$show_threads" ::: 1
    says $'OMP_NUM_THREADS=7,3\nRAYON_NUM_THREADS=1'
    unset OMP_NUM_THREADS
    export MKL_NUM_THREADS= RAYON_NUM_THREADS=5
    expect 0 taskset -c "$(a_cpu)" pmapc map -- sh -c "$show_threads" ::: 1
    says $'MKL_NUM_THREADS=\nNUMEXPR_NUM_THREADS=1\nOMP_NUM_THREADS=1\nOPENBLAS_NUM_THREADS=1\nRAYON_NUM_THREADS=5'
}

### --jobserver, with the real make

# A Makefile of 8 targets, each of which notes when it begins and ends, and runs until the file go or go.TARGET is there.
makefile() {
    cat >Makefile <<'MAKE'
targets = 1 2 3 4 5 6 7 8
all: $(targets)
.PHONY: all $(targets)
$(targets):
	@echo "+ $@" >>log; until [ -e go ] || [ -e go.$@ ]; do sleep 0.02; done; echo "- $@" >>log
MAKE
    : >log
}

# How many targets have begun and not ended.
running() {
    awk '{ n += $1 == "+" ? 1 : -1 } END { print n + 0 }' log
}

run_are() {
    [ "$(running)" = "$1" ]
}

# The most that ever ran at once.
peak() {
    awk '{ n += $1 == "+" ? 1 : -1; if (n > most) most = n } END { print most + 0 }' log
}

# One that runs ends, and then another is done with.
end_one() {
    local target
    target=$(awk '$1 == "+" { n[$2] = 1 } $1 == "-" { delete n[$2] } END { for (t in n) { print t; exit } }' log)
    touch "go.$target"
    until_true 20 grep -q -- "- $target" log
}

@test "--jobserver: an inner make runs on all free slots, and on no more" {
    start_daemon -n 4
    makefile
    background pmapc map --jobserver -- make -f {} ::: Makefile >out 2>err
    local pid=$PID
    until_true 20 run_are 4
    status_is busy 4 running 4 || fail "what is lent is not in use"
    always 20 run_are 4
    touch go
    ended "$pid" 0
    silent
    [ "$(grep -c '^-' log)" = 8 ] || fail "not all were made"
    [ "$(peak)" -le 4 ] || fail "$(peak) ran at once"
    until_true 20 idle
}

@test "--jobserver: -j bounds the item and what it starts; without the option make runs one" {
    start_daemon -n 4
    makefile
    touch go
    expect 0 pmapc map -j 2 --jobserver -- make -f {} ::: Makefile
    [ "$(grep -c '^-' log)" = 8 ] && [ "$(peak)" -le 2 ] || fail "$(peak) ran at once"
    : >log
    expect 0 pmapc map -- make -f {} ::: Makefile
    [ "$(grep -c '^-' log)" = 8 ] && [ "$(peak)" = 1 ] || fail "$(peak) ran at once"
    # An explicit number makes make a jobserver of its own, and it says so.
    expect 0 pmapc map --jobserver -- make -j 3 -f {} ::: Makefile
    grep -q 'resetting jobserver mode' err || fail "not said"
    until_true 20 idle
}

@test "--jobserver: slots go back when another job's items come, and come again when these are gone" {
    start_daemon -n 4
    makefile
    background pmapc map --jobserver -- make -f {} ::: Makefile >out 2>err
    local pid=$PID other
    until_true 20 run_are 4
    # Two items wait; what the targets run on is theirs as soon as these end, and goes to no other target.
    background pmapc map -- sh -c 'echo >began.$0; until [ -e over ]; do sleep 0.02; done' ::: 1 2 >out2 2>err2
    other=$PID
    until_true 20 status_is jobs 2
    always 10 run_are 4
    end_one
    until_true 20 test -e began.1
    run_are 3 || fail "$(running) run beside the other job's first item"
    end_one
    until_true 20 test -e began.2
    always 10 run_are 2
    end_one # its slot is the make's own, or lent to it, and there is a next target for it
    until_true 20 run_are 2
    always 10 run_are 2
    touch over
    ended "$other" 0
    until_true 20 run_are 4
    touch go
    ended "$pid" 0
    silent
    [ "$(grep -c '^-' log)" = 8 ] && [ "$(peak)" -le 4 ] || fail "$(peak) ran at once"
    until_true 20 idle
}

@test "--jobserver: the items of one job go before what they start, and share it evenly" {
    start_daemon -n 4
    local i
    for i in a b; do
        mkdir $i
        (cd $i && makefile)
    done
    background pmapc map --jobserver -- make -C {} ::: a b >out 2>err
    local pid=$PID
    cat >both.sh <<'SH'
for i in a b; do awk '{ n += $1 == "+" ? 1 : -1 } END { printf "%d ", n }' $i/log; done
SH
    until_true 20 eval '[[ $(sh both.sh) =~ ^(1 3|2 2|3 1)\ $ ]]'
    # If one has begun before the other and has taken all, it gives some up when one of its targets ends; by then it may
    # not have heard that it is to, but by the next one it has.
    local try
    for try in 1 2 3; do
        case $(sh both.sh) in
            3*) (cd a && end_one) ;;
            1*) (cd b && end_one) ;;
        esac
        until_true 5 eval '[ "$(sh both.sh)" = "2 2 " ]' && break
    done
    [ "$(sh both.sh)" = "2 2 " ] || fail "$(sh both.sh)"
    touch a/go b/go
    ended "$pid" 0
    until_true 20 idle
}

@test "--jobserver: whatever becomes of the item, nothing is lost of what was lent" {
    start_daemon -n 4
    # It has taken all there is, and is killed; what came of it has the pipes still; it writes what it never had.
    expect 1 pmapc map --jobserver -- bash -c 'head -c 3 <&20 >/dev/null; kill -KILL $$' ::: 1
    complains 'killed by SIGKILL'
    until_true 20 idle
    expect 0 pmapc map --jobserver -- bash -c 'head -c 3 <&20 | wc -c; (sleep 100 &)' ::: 1
    says 3
    until_true 20 idle
    expect 1 pmapc map --timeout 1 --jobserver -- bash -c 'head -c 3 <&20 | wc -c; head -c 1 <&20; echo never' ::: 1
    says 3
    complains 'timed out'
    expect 0 pmapc map --jobserver -- bash -c 'exec 20<&- 21>&-; echo closed' ::: 1
    says closed
    expect 0 pmapc map --jobserver -- bash -c 'head -c 3000000 /dev/zero >&21; echo flooded' ::: 1
    says flooded
    until_true 20 idle
    # And no item has those of another one.
    makefile
    printf '+%.0s' {1..50} >plus
    background pmapc map --jobserver -- bash -c 'cat plus >&21; make -f "$0"' ::: Makefile >out 2>err
    local pid=$PID
    until_true 20 run_are 4
    always 10 run_are 4
    touch go
    ended "$pid" 0
    [ "$(peak)" -le 4 ] || fail "$(peak) ran at once"
    until_true 20 idle
    expect 0 pmapc map --jobserver -c 5 -- bash -c 'head -c 3 <&20 | wc -c' ::: 1
    says 3
}

@test "--jobserver: a client that goes, and a cancelled job, free all of it" {
    start_daemon -n 4
    makefile
    background pmapc map --jobserver -- make -f {} ::: Makefile >out 2>err
    until_true 20 run_are 4
    kill -KILL "$PID"
    ended "$PID" 137
    until_true 20 idle
    makefile
    background pmapc map --jobserver -- make -f {} ::: Makefile >out 2>err
    until_true 20 run_are 4
    kill -INT "$PID"
    ended "$PID" 130
    until_true 20 idle
}

@test "--jobserver: MAKEFLAGS keeps what is not of jobs; what is no command is refused" {
    start_daemon
    show() {
        expect 0 env MAKEFLAGS="$1" CARGO_MAKEFLAGS=other pmapc run --jobserver ::: 'printf "%s" "$MAKEFLAGS"'
        says "$2"
    }
    local ours='-j --jobserver-auth=20,21'
    show '' " $ours"
    show ' -j8 --jobserver-auth=3,4' " $ours"
    show 'ks -j --jobserver-fds=3,4 -l 2 --jobserver-style=pipe -O' "ks -l 2 -O $ours"
    show 'k -- CC=a\ b D=-j3' "k $ours -- CC=a\\ b D=-j3"
    show 'k -j 4 -j 5x j 6 --jobs 7 --jobs=8' "k 5x $ours"
    expect 0 env CARGO_MAKEFLAGS=other pmapc run --jobserver ::: 'echo "$CARGO_MAKEFLAGS"'
    says '-j --jobserver-fds=20,21 --jobserver-auth=20,21'
    local what
    for what in echo ./lib.so:name "--python x" "--filter -- cat" "--pipe -- cat"; do
        expect 2 pmapc map --jobserver $what ::: 1
        complains '--jobserver is for commands only'
    done
}
