# The broker's sandbox as the kernel shows it, and that nothing of it is a task's. What it keeps the broker from is tried in
# tests/unit/test_sandbox.c.
load helper
load users

# What this build has of it.
has_filter() {
    ldd "$PMAP_BIN/pmapd" | grep -q libseccomp && grep -q '^Seccomp:' /proc/self/status
}

# may NUMBER: has the test's root this capability? That of a container may not.
may() {
    local all
    all=$(sed -n 's/^CapEff:\s*//p' /proc/self/status)
    (((16#$all >> $1) & 1))
}

# line_of NAME FILE: the value of a line of a status file.
line_of() {
    sed -n "s/^$1:\s*//p" "$2"
}

# locked_up STATUS: the thread has what every thread of a broker has.
locked_up() {
    local name
    for name in CapInh CapPrm CapEff CapAmb; do
        [ "$(line_of $name "$1")" = 0000000000000000 ] || fail "$1: $name is $(line_of $name "$1")"
    done
    [ "$(line_of NoNewPrivs "$1")" = 1 ] || fail "$1: NoNewPrivs"
    ! has_filter || [ "$(line_of Seccomp "$1")" = 2 ] || fail "$1: Seccomp is $(line_of Seccomp "$1")"
}

launcher() {
    local pid
    read -r pid _ <"/proc/$DAEMON/task/$DAEMON/children"
    echo "$pid"
}

@test "no thread of the machine's broker has a capability, can have one, or may make any system call" {
    start_system
    expect 0 as $alice pmapc map square ::: 3
    local status names=
    for status in /proc/"$DAEMON"/task/*/status; do
        locked_up "$status"
        ! may 8 || [ "$(line_of CapBnd "$status")" = 0000000000000000 ] || fail "CapBnd is $(line_of CapBnd "$status")"
        names+="$(line_of Name "$status") "
    done
    # ZeroMQ's, the monitor's and the pool's own.
    [[ $names == *monitor* && $names == *pool-0* && $names == *pool-1* && $names == *ZMQ* ]] || fail "$names"
}

@test "the machine's broker sees no file" {
    has_filter && may 21 || skip "this build or this root cannot have that"
    start_system
    [ -z "$(ls -A "/proc/$DAEMON/root/")" ]
    [ "$(readlink "/proc/$DAEMON/cwd")" = / ]
    # The launcher is where everybody is, or nobody would be let in (same_namespace).
    [ "$(readlink "/proc/$(launcher)/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ]
    [ "$(readlink "/proc/$DAEMON/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]
    expect 0 as $alice pmapc map -- cat ::: /etc/passwd
    same /etc/passwd out
}

@test "what the machine's broker has to do without is told" {
    may 21 || skip "this root cannot have that"
    WITHIN=(setpriv --bounding-set=-sys_admin)
    start_system
    expect 0 as $alice pmapc map square ::: 3
    grep -q 'the sandbox has no empty root directory: Operation not' pmapd.log
}

@test "a task has nothing of the sandbox" {
    start_system
    local pattern='^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):'
    as $alice grep -E "$pattern" /proc/self/status >direct
    grep -qE '^NoNewPrivs:\s+0$' direct && grep -qE '^Seccomp:\s+0$' direct || skip "this shell is in a sandbox itself"
    expect 0 as $alice pmapc map -- grep -E "$pattern" ::: /proc/self/status
    same direct out
    expect 0 as $alice pmapc map -- readlink ::: /proc/self/ns/mnt /proc/self/root
    says "$(readlink /proc/self/ns/mnt)"$'\n/'
}

@test "a private pool's broker is in it, its tasks are not, and it leaves no socket behind" {
    mkdir -m 700 own
    chown $alice:$alice own
    as $alice env XDG_RUNTIME_DIR="$T/own" setpriv --pdeathsig KILL pmapd -n 1 --idle-exit 2 </dev/null >>pmapd.log 2>&1 3>&- &
    DAEMON=$!
    DAEMONS+=("$DAEMON")
    export PMAP_ENDPOINT=ipc://$T/own/pmapd/pmapd.sock
    until_true 20 as $alice timeout 10 pmapc ping -c 1 >/dev/null 2>&1
    local status
    for status in /proc/"$DAEMON"/task/*/status; do
        locked_up "$status"
    done
    expect 0 as $alice pmapc map -- grep -E '^(NoNewPrivs|Seccomp|CapBnd):' ::: /proc/self/status
    as $alice grep -E '^(NoNewPrivs|Seccomp|CapBnd):' /proc/self/status | same - out
    ended "$DAEMON" 0
    forget_daemon "$DAEMON"
    [ -z "$(find own -name '*.sock*')" ] || fail "$(find own)"
}
