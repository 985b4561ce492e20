# pmapd under a service manager: what it tells, the watchdog, sockets that it is given, and how it comes back.
load helper

# manage [OPTION...]: a service manager with a private daemon of 2 slots at $T/d.sock, or SOCKET; see manager.py. DAEMON is
# the manager; its log is $T/told.
manage() {
    export PMAP_ENDPOINT=ipc://${SOCKET:-$T/d.sock}
    setpriv --pdeathsig KILL "$BATS_TEST_DIRNAME/manager.py" told "$@" -- setpriv --pdeathsig KILL \
        pmapd --private -n 2 -e "$PMAP_ENDPOINT" "${DAEMON_OPTIONS[@]}" </dev/null >>pmapd.log 2>&1 3>&- &
    DAEMON=$!
    DAEMONS+=("$DAEMON")
}

told() {
    grep -qE "^[0-9.]+ $1\$" told
}

# How often, as a number.
times_told() {
    grep -cE "^[0-9.]+ $1\$" told || true
}

told_times() {
    (($(times_told "$1") >= $2))
}

# The pid of the daemon that runs now, and of its launcher.
served_by() {
    sed -n 's/.*\[started \([0-9]*\)\]/\1/p' told | tail -n 1
}

launcher_of() {
    local pid
    read -r pid _ <"/proc/$1/task/$1/children"
    echo "$pid"
}

@test "a manager is told: ready, stopping, and what goes on" {
    manage
    until_true 20 told READY=1
    answers || fail "ready, and does not answer"
    told 'STATUS=slots: 2'
    ! told STOPPING=1
    stop_daemon
    told STOPPING=1 || fail "not told"
    told '\[ended 0\]'
}

@test "what is the manager's reaches neither launcher nor tasks" {
    echo secret >inherited
    manage --listen "$T/d.sock" --watchdog 60 70<inherited
    until_true 20 told READY=1
    local pid=$(served_by) names='^(NOTIFY_SOCKET|WATCHDOG_|LISTEN_|INVOCATION_ID)'
    tr '\0' '\n' <"/proc/$pid/environ" | grep -qE "$names" || fail "the test does not test"
    [ -z "$(tr '\0' '\n' <"/proc/$(launcher_of "$pid")/environ" | grep -E "$names")" ] || fail "the launcher has it"
    expect 0 pmapc map -- sh -c 'env; tr "\0" "\n" </proc/$PPID/environ; ls /proc/self/fd' ::: x
    ! grep -E "$names" out || fail "a task has it"
    expect 0 pmapc map -- ls ::: /proc/self/fd
    says $'0\n1\n2\n3'
    # What it was not passed on purpose is not even the daemon's.
    [ -z "$(find "/proc/$pid/fd" -lname "$T/inherited")" ] || fail "inherited"
    # The manager's sockets are not the launcher's either.
    ! ls -l "/proc/$(launcher_of "$pid")/fd" | grep -q "$(stat -Lc %i "/proc/$pid/fd/3")" || fail "the launcher has it"
}

@test "a manager that does not read holds up nothing" {
    manage
    until_true 20 told READY=1
    local pid=$(served_by)
    kill -STOP "$DAEMON"
    /usr/bin/python3 -c '
import socket
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.setblocking(False)
try:
    while True:
        manager.sendto(b"other", "told.notify")
except BlockingIOError:
    pass'
    kill -TERM "$pid"
    until_true 10 gone "$pid" || fail "waits for its manager"
    kill -CONT "$DAEMON"
    ended "$DAEMON" 0
    forget_daemon "$DAEMON"
    told other
    ! told STOPPING=1 || fail "there was room: the test does not test"
}

@test "the watchdog is fed at half its time, by a launcher that answers" {
    manage --watchdog 1
    until_true 20 told READY=1
    until_true 20 told_times WATCHDOG=1 4
    # Four signs of life have taken about two seconds: no more often than it must be.
    local first last
    first=$(grep -m 1 READY=1 told | cut -d ' ' -f 1)
    last=$(grep WATCHDOG=1 told | sed -n 4p | cut -d ' ' -f 1)
    awk "BEGIN { exit !($last - $first > 1.8) }" || fail "too often: $first $last"
    ! told '\[watchdog\]'
    # Also under load, and while a task runs.
    background_sh "pmapc map burn < <(env --default-signal=PIPE yes 200) >/dev/null 2>err"
    until_true 20 told_times WATCHDOG=1 8
    kill -INT $PID
    ended $PID 130
    ! told '\[watchdog\]'
}

@test "a broker or a launcher that hangs is not alive" {
    manage --watchdog 1 --restart
    until_true 20 told READY=1
    local pid=$(served_by) launcher
    launcher=$(launcher_of "$pid")
    kill -STOP "$launcher"
    until_true 20 told '\[watchdog\]'
    kill -CONT "$launcher" # a manager kills the whole service
    until_true 20 told_times READY=1 2
    until_true 10 gone "$launcher"
    pid=$(served_by)
    kill -STOP "$pid"
    until_true 20 told_times '\[watchdog\]' 2
    until_true 20 told_times READY=1 3
    expect 0 pmapc map square ::: 4
    says 16
}

@test "a socket that was passed: who comes early waits, and it is nobody's to remove" {
    manage --listen "$T/d.sock" --when start --restart
    until_true 20 [ -S d.sock ]
    background pmapc map square ::: 3 >early 2>err
    local early=$PID
    always 10 kill -0 $early
    touch start
    ended $early 0
    [ "$(cat early)" = 9 ]
    # Killed, it comes back, and the same holds.
    local round
    for round in 1 2 3; do
        kill -KILL "$(served_by)"
        expect 0 pmapc map square ::: $round
        says $((round * round))
        [ -S d.sock ]
    done
    # Another one does not take it over.
    expect 69 pmapd --private -e "$PMAP_ENDPOINT"
    grep -q "another pmapd serves $PMAP_ENDPOINT" err || fail "does not say why"
    stop_daemon
    [ -S d.sock ] || fail "the socket was removed"
}

# There is a file, and its inode is not that one.
is_another() {
    local inode
    inode=$(stat -c %i "$1" 2>/dev/null) && [ "$inode" != "$2" ]
}

@test "a pool that pmapc has started leaves alone the socket that a manager has put in its place" {
    [ ! -e /run/pmapd/pmapd.sock ] || skip "this machine has a system daemon, which pmapc would use"
    SOCKET=$T/run/pmapd/pmapd.sock
    background_sh 'pmapc map -- sh -c "until [ -e go ]; do sleep 0.02; done; echo done" ::: 1 >early 2>err.early'
    local early=$PID old new
    until_true 20 [ -S "$SOCKET" ]
    expect 0 pmapc ping -c 1
    old=$(processes --idle-exit)
    manage --listen "$SOCKET" --restart
    until_true 20 told READY=1
    new=$(stat -c %i "$SOCKET")
    grep -q "another pmapd has not left" pmapd.log || fail "says nothing of the other one"
    expect 0 pmapc status --json
    json_holds "d['pid'] == $(served_by)" <out
    # Who was there before is served to the end; then, found by nobody, that one leaves at once.
    touch go
    ended $early 0
    [ "$(cat early)" = 'done' ]
    until_true 10 gone "$old"
    grep -q 'stopping: idle, and nobody can find it' run/pmapd/pmapd.log
    [ "$(stat -c %i "$SOCKET")" = "$new" ] || fail "the manager's socket was removed"
    expect 0 pmapc map square ::: 5
    says 25
    # Nor when it is stopped.
    stop_daemon
    unset PMAP_ENDPOINT
    expect 0 pmapc map square ::: 6
    old=$(processes --idle-exit)
    new=$(stat -c %i "$SOCKET")
    manage --listen "$SOCKET" --when start
    until_true 20 is_another "$SOCKET" "$new"
    new=$(stat -c %i "$SOCKET")
    kill -TERM "$old"
    until_true 10 gone "$old"
    [ "$(stat -c %i "$SOCKET")" = "$new" ] || fail "the manager's socket was removed"
}

@test "a pool that pmapc starts does not take the place of a socket at which a manager listens" {
    SOCKET=$T/d.sock
    manage --listen "$SOCKET" --when start
    until_true 20 [ -S "$SOCKET" ]
    local inode=$(stat -c %i "$SOCKET")
    # No daemon has ever been there, so nobody holds a lock.
    expect 0 pmapd --private --idle-exit 60 -e "$PMAP_ENDPOINT"
    expect 69 pmapd --private -e "$PMAP_ENDPOINT"
    grep -q "another pmapd serves $PMAP_ENDPOINT" err || fail "does not say why"
    [ "$(stat -c %i "$SOCKET")" = "$inode" ] || fail "it was removed"
    touch start
    expect 0 pmapc map square ::: 3
    says 9
}

@test "a socket that was passed and fits no endpoint is named" {
    manage --listen "$T/other.sock"
    ended "$DAEMON" 78
    forget_daemon "$DAEMON"
    grep -q "the socket $T/other.sock was passed, and no endpoint of the configuration has this path" pmapd.log
    # One that nobody listens at, or of another kind.
    expect_sh 78 'exec 3</dev/null; LISTEN_FDS=1 LISTEN_PID=$BASHPID exec pmapd --private -e ipc://'"$T"'/d.sock'
    grep -q 'descriptor 3, which was passed' err || fail "not named"
}

@test "a daemon that cannot start drops who waits at its socket, or it would be started for ever" {
    printf '[pool]\nslots = many\n' >bad.conf
    expect 0 /usr/bin/python3 - "$T/d.sock" <<'PY'
import os, select, socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[1])
listener.listen(9)
for options in ["-c", "bad.conf"], ["-e", "ipc:///elsewhere.sock"], ["--nonsense"]:
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
    for client in clients:
        client.connect(sys.argv[1])
    clients.pop().close()  # it has left already
    pid = os.fork()
    if pid == 0:
        os.dup2(os.dup(listener.fileno()), 3)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execvp("pmapd", ["pmapd", "--private", *options])
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(status, select.select([listener], [], [], 0)[0], [client.recv(1) for client in clients])
PY
    says $'78 [] [b\'\', b\'\']\n78 [] [b\'\', b\'\']\n2 [] [b\'\', b\'\']'
}

@test "passed and bound endpoints go together" {
    DAEMON_OPTIONS=(-e "ipc://$T/second.sock")
    manage --listen "$T/second.sock"
    until_true 20 answers
    local i
    for i in d second; do
        expect 0 pmapc -e "ipc://$T/$i.sock" map square ::: 5
        says 25
    done
    stop_daemon
    [ ! -e d.sock ] && [ -S second.sock ] || fail "the wrong one is left"
}

@test "an idle exit leaves a passed socket to the next daemon" {
    DAEMON_OPTIONS=(--idle-exit 0.3)
    manage --listen "$T/d.sock" --restart
    until_true 20 told_times '\[ended 0\]' 3
    local i
    for i in 1 2 3 4 5 6 7 8; do
        expect 0 pmapc map square ::: $i
        says $((i * i))
    done
}

@test "a client that a manager has started does not give its daemon away for itself" {
    /usr/bin/python3 -c 'import socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("notify"); time.sleep(60)' 3>&- &
    local listener=$! pid
    until_true 20 [ -S notify ]
    expect 0 env NOTIFY_SOCKET="$T/notify" WATCHDOG_USEC=1000000 pmapc map square ::: 4
    says 16
    pid=$(processes --idle-exit)
    ! tr '\0' '\n' <"/proc/$pid/environ" | grep -E '^(NOTIFY_SOCKET|WATCHDOG_)' || fail "the daemon has it"
    kill $listener
    wait $listener || true
}

@test "a job goes on over restarts and crashes of a daemon whose socket stays" {
    manage --listen "$T/d.sock" --restart
    until_true 20 told READY=1
    seq 400 >items
    background_sh 'pmapc map -- sh -c "sleep 0.02; echo \$0" <items >out 2>err'
    local round signal count=1
    for round in 1 2 3 4 5 6; do
        until_true 20 eval '(($(wc -l <out) >= round * 50))'
        signal=KILL
        ((round % 2)) || signal=TERM
        kill -$signal "$(served_by)"
        until_true 20 told_times READY=1 $((++count))
    done
    ended $PID 0
    same items out
}

# task_gone: the sleeping task has gone.
task_gone() {
    [ -z "$(pgrep -f "sleep 98765.$$")" ]
}

@test "a crash of broker or launcher kills what runs, and the next one is there within a second" {
    manage --listen "$T/d.sock" --restart
    until_true 20 told READY=1
    local which pid before count=1
    for which in broker launcher; do
        background pmapc map --reconnect 0 -- sleep ::: "98765.$$" >out 2>err
        until_true 20 eval '! task_gone'
        pid=$(served_by)
        [ $which = broker ] || pid=$(launcher_of "$pid")
        before=$EPOCHREALTIME
        kill -KILL "$pid"
        until_true 10 told_times READY=1 $((++count))
        ((${EPOCHREALTIME/./} - ${before/./} < 1000000 * SCALE)) || fail "that took long"
        until_true 10 task_gone
        gone $PID || kill -KILL $PID
        wait $PID || true
    done
}
