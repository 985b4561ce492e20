# What happens to the processes behind a job when some of them are killed, or the daemon ends: every job comes to its right
# end, and nothing is left.
load helper

prepare() {
    start_daemon
}

# family: the pids of all processes below the daemon, whatever they are.
family() {
    local todo=("$DAEMON") at=0 file children
    while [ $at -lt ${#todo[@]} ]; do
        for file in "/proc/${todo[at]}/task/"*/children; do
            { read -r -a children <"$file"; } 2>/dev/null
            todo+=("${children[@]}")
            children=()
        done
        at=$((at + 1))
    done
    [ $at = 1 ] || printf '%s\n' "${todo[@]:1}"
}

# named NAME: those of the family that are this program.
named() {
    local pid name
    for pid in $(family); do
        { read -r name <"/proc/$pid/comm"; } 2>/dev/null || continue
        [ "$name" != "$1" ] || echo "$pid"
    done
}

some_are() {
    [ -n "$(named "$1")" ]
}

# all_gone PID...
all_gone() {
    local pid
    for pid in "$@"; do
        gone "$pid" || return 1
    done
}

# kill_often NAME COUNT: kills one of the family by that name, COUNT times, while the job PID runs.
kill_often() {
    local i pids killed=0
    for ((i = 0; i < $2; i++)); do
        gone "$PID" && break
        until_true 20 some_are_or_over "$1"
        mapfile -t pids < <(named "$1")
        [ ${#pids[@]} = 0 ] || ! kill -KILL "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null || killed=1
        sleep 0.1 # so that it gets somewhere between two
    done
    [ $killed = 1 ] || fail "there was no $1 to kill"
}

some_are_or_over() {
    gone "$PID" || some_are "$1"
}

@test "workers that are killed: their items are run again, and none twice in the output" {
    seq 400 >numbers
    background_sh 'pmapc map -a numbers -- sh -c "sleep 0.02; echo \$0" >out 2>err'
    kill_often pmap-worker 3
    ended $PID 0
    same numbers out
    silent
    expect 0 pmapc map -a numbers -- echo
    same numbers out
    seq 2000 2999 >numbers
    background_sh 'pmapc map --isolate -c 1 -a numbers burn >out 2>err'
    kill_often pmap-worker 3
    ended $PID 0
    same numbers out
    until_true 20 idle
}

@test "--at-most-once: what a killed worker had fails instead" {
    seq 60 >numbers
    background_sh 'pmapc map --at-most-once -c 2 -a numbers -- sh -c "echo \$0 >>ran; until [ -e go ]; do sleep 0.02; done; echo \$0" >out 2>err'
    until_true 20 eval '[ -e ran ] && [ "$(wc -l <ran)" = 2 ]' # whichever is killed, it is on one
    kill_often pmap-worker 1
    touch go
    ended $PID 1
    [ -z "$(sort ran | uniq -d)" ] || fail "some ran twice"
    complains 'item [0-9]+: '
}

@test "hosts of modules, builtins and commands that are killed" {
    seq 3000 >numbers
    background_sh 'pmapc map --timeout 60 -c 1 -a numbers burn >out 2>err'
    kill_often pmap-host 3
    ended_either $PID
    # The one item that each was on has failed, at most.
    [ "$(wc -l <out)" -ge 2990 ] || fail "too much is lost"
    [ "$(($(wc -l <out) + $(grep -c 'killed by SIGKILL' err || true)))" = 3000 ] || fail "items are missing"
    head -n 300 numbers >some
    background_sh 'pmapc map -a some -- sh -c "sleep 0.02; echo \$0" >out 2>err'
    kill_often pmap-exec 3
    ended $PID 0
    same some out
}

# ended_either PID: with 0 or 1.
ended_either() {
    local got=0
    until_true $LIMIT gone "$1" || { kill -KILL "$1"; return 1; }
    wait "$1" || got=$?
    [ "$got" -le 1 ] || fail "process $1: status $got"
}

@test "workers that are ready before the launcher has said that they started" {
    stop_daemon
    mkdir bin
    cp "$PMAP_BIN"/pmap{d,-worker,-exec} bin/
    cp "$PMAP_BIN/pmap-launcher" bin/pmap-launcher.real
    cp "$PMAP_BIN/late" bin/pmap-launcher
    PATH=$T/bin:$PATH start_daemon
    # One that is not heard then is waited for for half a minute.
    expect 0 timeout 20 pmapc map -j1 -- echo ::: 1 2
    says $'1\n2'
    grep -q '^late: worker 1 rested$' pmapd.log || fail "it was not early: the test does not test"
}

# Which processes that came of the daemon have this file open.
holders_of() {
    local pid
    for pid in "$DAEMON" $(family); do
        ! find "/proc/$pid/fd" -lname "$1" 2>/dev/null | grep -q . || echo "$pid $(cat "/proc/$pid/comm")"
    done
}

@test "descriptors that the daemon was started with are nobody's" {
    stop_daemon
    echo secret >inherited
    # A low one, where its own would be, and some that its own are among.
    start_daemon 5<inherited 20<inherited 133<>inherited
    background pmapc map -- sleep ::: 97.84 97.84 >out 2>err
    until_true 20 some_are sleep
    some_are pmap-exec
    [ -z "$(holders_of "$T/inherited")" ] || fail "held by: $(holders_of "$T/inherited")"
    kill -INT $PID
    ended $PID 130
}

@test "the daemon stopped under load leaves no process behind" {
    local pids
    background pmapc map --reconnect 0 -- sh -c 'trap "" TERM; sleep 97.81 & sleep 97.81' ::: 1 2 3 >out 2>err
    until_true 20 some_are sleep
    mapfile -t pids < <(family)
    kill -TERM "$DAEMON"
    ended "$DAEMON" 0
    forget_daemon "$DAEMON"
    ended $PID 3
    until_true 10 all_gone "${pids[@]}"
}

@test "the daemon killed under load leaves no process behind" {
    local pids
    background pmapc map --reconnect 0 -- sh -c 'trap "" TERM; sleep 97.82 & sleep 97.82' ::: 1 2 3 >out 2>err
    until_true 20 some_are sleep
    mapfile -t pids < <(family)
    kill -KILL "$DAEMON"
    ended "$DAEMON" 137
    forget_daemon "$DAEMON"
    ended $PID 3
    until_true 15 all_gone "${pids[@]}"
}

@test "without its launcher the daemon ends, and nothing is left" {
    local pids launcher
    background pmapc map --reconnect 0 -- sleep ::: 97.83 97.83 >out 2>err
    until_true 20 some_are sleep
    mapfile -t pids < <(family)
    launcher=$(named pmap-launcher)
    [ -n "$launcher" ]
    # shellcheck disable=SC2086 # one, but it may be of two processes
    kill -KILL $launcher
    until_true 20 gone "$DAEMON"
    wait "$DAEMON" || true
    forget_daemon "$DAEMON"
    ended $PID 3
    until_true 15 all_gone "${pids[@]}"
}

@test "an item that forks and floods harms nobody else's" {
    background pmapc map -- sh -c 'i=0; while [ $i -lt 500 ]; do sleep 97.84 & i=$((i + 1)); done; yes' ::: 1 >/dev/null 2>err
    until_true 20 some_are yes
    expect 0 pmapc map square ::: 7
    says 49
    expect 0 pmapc map -- echo ::: fine
    says fine
    kill -INT $PID
    ended $PID 130
    until_true 20 none_sleeps
    until_true 20 idle
}

none_sleeps() {
    ! some_are sleep
}

@test "who connects to the workers' socket and is no worker is cut" {
    type -P python3 >/dev/null || skip "needs python3"
    run -0 pmapc map -- true ::: 1 # a worker is there now, and so is its socket
    local socket
    socket=$(tr '\0' '\n' <"/proc/$(named pmap-worker)/cmdline" | sed -n 's/^ipc:\/\///p')
    run -0 timeout 30 python3 - "$socket" <<'PY'
import socket, sys
def come():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.settimeout(10)
    return s
for s in [come() for _ in range(200)]:
    try:
        while s.recv(4096):
            pass
    except ConnectionError:
        pass
PY
    run -0 pmapc map -- echo ::: still here
}

@test "a stopped worker does not keep its slot when its client has gone" {
    pmapc map -j1 -- sleep 1000 ::: 1 3>&- &
    local client=$! worker
    until_true 20 some_are sleep
    worker=$(named pmap-worker)
    kill -STOP "$worker"
    kill -KILL "$client"
    until_true 30 gone "$worker"
    run -0 timeout 20 pmapc map square ::: 3 4
    [ "$output" = $'9\n16' ]
}
