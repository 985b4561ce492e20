# Without a daemon pmapc starts a private one: exactly one, which lets go of its caller and leaves when it is idle,
# and in whose leaving nobody's job is lost.
load helper

prepare() {
    [ ! -e /run/pmapd/pmapd.sock ] || skip "this machine has a system daemon, which pmapc would use"
}

# one_daemon FOLDER: one pmapd serves in that folder.
one_daemon() {
    local pids
    mapfile -t pids < <(processes "ipc://$1/pmapd/pmapd.sock")
    [ ${#pids[@]} = 1 ]
}

@test "a first job starts a daemon, a second uses it" {
    expect 0 pmapc map square ::: 1 2 3
    says $'1\n4\n9'
    silent
    one_daemon "$T/run"
    local pid
    pid=$(processes)
    expect 0 pmapc map square ::: 4
    [ "$(processes)" = "$pid" ] || fail "another one"
    expect 0 pmapc status --json
    json_holds "d['pid'] == $pid and d['private'] and d['jobs_done'] == 2" <out
    # It has nothing of its caller's.
    [ "$(readlink "/proc/$pid/cwd")" = / ]
    [ "$(readlink "/proc/$pid/fd/0")" = /dev/null ]
    [ "$(readlink "/proc/$pid/fd/1")" = /dev/null ]
    [ "$(readlink "/proc/$pid/fd/2")" = "$T/run/pmapd/pmapd.log" ]
    # Its session is its own: /proc/PID/stat has it behind name, state, parent and group.
    local stat
    read -r stat <"/proc/$pid/stat"
    stat=${stat##*) }
    [ "$(cut -d' ' -f4 <<<"$stat")" = "$pid" ]
    [ "$(stat -c %a run/pmapd)" = 700 ]
}

@test "without XDG_RUNTIME_DIR, and where there is none to start" {
    # A runtime folder that is not there is no place for a socket, and that is told.
    XDG_RUNTIME_DIR=$T/missing expect 3 pmapc map square ::: 1
    complains "$T/missing"
    # What must not be started is not.
    expect 3 pmapc --no-autostart map square ::: 1
    complains 'no daemon'
    expect 3 pmapc status
    expect 3 pmapc ping
    expect 0 pmapc cpus
    expect 2 pmapc map square -a nowhere
    expect 0 pmapc map --dry-run square ::: 1
    [ -z "$(processes)" ] || fail "one was started"
    [ ! -e run/pmapd ] || fail "a folder was made"
    # What may start one:
    expect 0 pmapc functions
    one_daemon "$T/run"
}

@test "x=\$(pmapc map ...) returns although a daemon was started" {
    # The daemon must not hold the pipe of the substitution: else this lasts until its idle exit, of a minute.
    expect_sh 0 'x=$(pmapc map square ::: 12 2>&1); echo "[$x]"'
    says '[144]'
    one_daemon "$T/run"
    # Nor other descriptors: a lock, the writing end of a pipe.
    kill -TERM "$(processes)"
    until_true 20 [ ! -e run/pmapd/pmapd.sock ]
    expect_sh 0 'exec 5>lock; flock 5; pmapc map square ::: 3; exec 5>&-; flock -n lock echo free'
    says $'9\nfree'
    expect_sh 0 '{ pmapc map square ::: 3 6>&1 >/dev/null; } | cat'
    [ -n "$(processes)" ]
}

@test "two that start at the same moment start exactly one" {
    local rounds=$((SCALE > 1 ? 6 : 25)) clients=2 round i pids pid
    for round in $(seq "$rounds"); do
        # Now and then more than two, and now and then where a dead one has left its socket.
        clients=$((round % 3 == 0 ? 6 : 2))
        export XDG_RUNTIME_DIR=$T/run$round
        mkdir -m 700 "$XDG_RUNTIME_DIR"
        if ((round % 5 == 0)); then
            expect 0 pmapc map echo ::: first
            pid=$(processes "ipc://$XDG_RUNTIME_DIR/")
            kill -KILL "$pid"
            until_true 10 gone "$pid"
        fi
        pids=()
        for i in $(seq "$clients"); do
            background pmapc map square ::: "$i" >out"$i" 2>err"$i"
            pids+=("$PID")
        done
        for i in $(seq "$clients"); do
            ended "${pids[i - 1]}" 0 || fail "round $round: $(cat err"$i" "$XDG_RUNTIME_DIR"/pmapd/pmapd.log)"
            [ "$(cat out"$i")" = $((i * i)) ] || fail "round $round: no result: $(cat err"$i")"
            [ ! -s err"$i" ] || fail "round $round: $(cat err"$i")"
        done
        # Those that found another one at it leave by themselves.
        until_true 10 one_daemon "$XDG_RUNTIME_DIR"
        pid=$(processes "ipc://$XDG_RUNTIME_DIR/")
        expect 0 pmapc status --json
        json_holds "d['pid'] == $pid and d['jobs_done'] == $clients" <out
        kill -TERM "$pid"
        until_true 10 gone "$pid"
    done
}

# A client every so often, about as often as the daemon loses its patience. Each must be served.
around_idle_exit() {
    local rounds=$1 name=$2 i patience=200
    ((SCALE == 1)) || patience=600 # ms; a slow client needs its time from the look whether somebody listens to the connection
    mkdir -m 700 "run.$name"
    export XDG_RUNTIME_DIR=$T/run.$name PMAP_IDLE_EXIT=0.$patience
    for i in $(seq "$rounds"); do
        timeout -k 5 30 pmapc map square ::: "$i" >"out.$name" 2>"err.$name" ||
            { echo "round $i: status $?: $(cat "err.$name")"; return 1; }
        [ "$(cat "out.$name")" = $((i * i)) ] || { echo "round $i: $(cat "out.$name")"; return 1; }
        [ ! -s "err.$name" ] || { echo "round $i: $(cat "err.$name")"; return 1; }
        # Not to wait for anything: the pause is what is tried. From 50 ms less to 150 ms more, in no order.
        sleep "0.$((patience - 50 + (i * 73 + $3) % 200))"
    done
}

@test "a client that connects as the daemon idles out is served" {
    local rounds=$((SCALE > 1 ? 15 : 30)) pids=() pid name
    for name in a b c; do
        around_idle_exit "$rounds" $name $((${#pids[@]} * 37)) >"loop.$name" 2>&1 3>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || fail "$(cat loop.*)"
    done
    # It did idle out meanwhile, and more than once, or nothing was tried.
    local starts
    starts=$(cat run.*/pmapd/pmapd.log | grep -c 'idle')
    [ "$starts" -ge 3 ] || fail "only $starts times"
    until_true 20 nobody
}

nobody() {
    [ -z "$(processes)" ]
}

@test "many clients at once as the daemon idles out" {
    local round i pids patience=200
    ((SCALE == 1)) || patience=600 # as above
    export PMAP_IDLE_EXIT=0.$patience
    for round in $(seq $((SCALE > 1 ? 5 : 12))); do
        pids=()
        for i in 1 2 3 4 5; do
            background pmapc map square ::: "$i" >out"$i" 2>err"$i"
            pids+=("$PID")
        done
        for i in 1 2 3 4 5; do
            ended "${pids[i - 1]}" 0 || fail "round $round: $(cat err"$i")"
            [ "$(cat out"$i")" = $((i * i)) ] || fail "round $round: $(cat err"$i")"
        done
        sleep "0.$((patience - 20 + round * 11))" # the pause is what is tried
    done
    until_true 20 nobody
    [ ! -e run/pmapd/pmapd.sock ] || fail "the socket is left"
}

@test "a daemon that cannot start is told, with its reason" {
    mkdir -m 700 run/pmapd
    mkdir run/pmapd/pmapd.sock
    expect 3 pmapc map square ::: 1
    complains 'pmapd'
    says ""
    rmdir run/pmapd/pmapd.sock
    # A folder that others may write to is no place for a socket.
    chmod 777 run/pmapd
    local status=0
    timeout 30 pmapc map square ::: 1 >out 2>err || status=$?
    [ $status = 3 ] || [ $status = 4 ] || fail "status $status"
    complains 'folder'
    [ -z "$(processes)" ]
}

@test "the system's daemon that has left its socket is waited for, and then one of one's own is used" {
    [ "$(id -u)" = 0 ] || skip "only root can mount"
    unshare --mount true 2>/dev/null || skip "no mount namespace"
    cat >on_run <<'RUN'
mount -t tmpfs tmpfs /run && mkdir /run/pmapd || exit 99
/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/run/pmapd/pmapd.sock")' || exit 99
exec "$@"
RUN
    expect 0 unshare --mount --propagation private sh on_run pmapc map --reconnect 0.7 square ::: 3
    says 9
    complains "ipc:///run/pmapd/pmapd.sock is gone: waiting up to 0.7 s"
    complains "it is not back after .*: going on with the one at ipc://$T/run/pmapd/pmapd.sock"
    # Who does not wait uses that one at once.
    expect 0 unshare --mount --propagation private sh on_run pmapc map --reconnect 0 square ::: 4
    says 16
    silent
}
