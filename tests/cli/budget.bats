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
