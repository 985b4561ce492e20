# The daemon's life: how it starts, whom it refuses to share a place with, how it ends, and what its clients then see.
load helper

# patience SECONDS: a configuration file with this stop_timeout, and its name.
patience() {
    printf '[daemon]\nstop_timeout = %s\n' "$1" >"$T/patience.conf"
    echo "$T/patience.conf"
}

@test "SIGTERM under load ends it within its limit, and the clients are told" {
    start_daemon -c "$(patience 1s)"
    yes 1000 | head -n 50 >items
    background pmapc map --reconnect 0 -j 1 sleep <items >out1 2>err1
    local sleeping=$PID
    background_sh "pmapc map --reconnect 0 burn < <(env --default-signal=PIPE yes 2000) >out2 2>err2"
    local burning=$PID
    mkfifo in
    exec 8<>in
    background pmapc map --reconnect 0 echo <in >out3 2>err3
    local waiting=$PID
    echo one >&8
    until_true 20 [ -s out3 ]
    until_true 20 status_is jobs 3 busy 2
    local before=$EPOCHREALTIME i
    kill -TERM "$DAEMON"
    for i in $sleeping $burning $waiting; do
        ended "$i" 3
    done
    ended "$DAEMON" 0
    ((${EPOCHREALTIME/./} - ${before/./} < 5000000)) || fail "that took long"
    forget_daemon "$DAEMON"
    for i in 1 2 3; do
        cp err$i err
        complains 'stopping'
        [ "$(wc -l <err)" = 1 ] || fail "says more than one thing"
    done
    [ "$(cat out3)" = one ]
    [ ! -e d.sock ] || fail "the socket is left"
    # A second job after that finds nobody.
    expect 3 pmapc map echo ::: a
}

@test "SIGTERM in the midst of a fast stream: what is on its way does not swallow what the client is told" {
    local round
    for round in $(seq 8); do
        start_daemon
        background_sh "pmapc map --reconnect 0 echo < <(env --default-signal=PIPE yes 2) >/dev/null 2>err"
        until_true 20 status_is jobs 1 items_done '>=1000'
        kill -TERM "$DAEMON"
        ended $PID 3
        complains 'stopping'
        ended "$DAEMON" 0
        forget_daemon "$DAEMON"
    done
}

@test "SIGTERM: what runs may end, and its results arrive; nothing else is begun" {
    start_daemon
    mkfifo in
    exec 8<>in
    background pmapc map --reconnect 2 echo <in >out2 2>err2
    local waiting=$PID
    echo one >&8
    until_true 20 [ -s out2 ]
    background pmapc map --reconnect 2 -- sh -c 'touch began.$0; until [ -e go.$0 ]; do sleep 0.02; done; echo $0' ::: 1 2 3 4 >out 2>err
    local job=$PID
    until_true 20 [ -e began.1 -a -e began.2 ]
    kill -TERM "$DAEMON"
    # Who has nothing running is told at once; so is who comes now; the daemon stays for the others.
    ended $waiting 3
    cp err err1
    cp err2 err
    complains 'stopping'
    expect 3 pmapc map --reconnect 2 echo ::: a
    complains 'stopping'
    gone "$DAEMON" && fail "it has not waited"
    touch go.2
    always 10 kill -0 "$DAEMON"
    touch go.1
    ended $job 3
    [ "$(cat out)" = $'1\n2' ] || fail "what was done has not arrived"
    ended "$DAEMON" 0
    forget_daemon "$DAEMON"
    [ ! -e began.3 ] || fail "a further item was begun"
}

@test "SIGTERM: short items keep nobody waiting, nor does a client that does not read" {
    start_daemon -c "$(patience 30s)"
    background_sh "pmapc map --reconnect 0 -- sleep < <(env --default-signal=PIPE yes 0.05) >out 2>err"
    local short=$PID
    mkfifo nobody
    exec 7<>nobody # and nobody reads it
    background_sh "pmapc map --reconnect 0 echo < <(env --default-signal=PIPE yes $(printf %060d 2)) >nobody 2>err2"
    local stuck=$PID
    # The pipe takes 1074 of its results, and until that is full it goes on.
    until_true 20 status_is jobs 2 items_done '>=1000'
    local before=$EPOCHREALTIME
    kill -TERM "$DAEMON"
    ended "$DAEMON" 0
    ((${EPOCHREALTIME/./} - ${before/./} < 3000000 * SCALE)) || fail "that took long"
    forget_daemon "$DAEMON"
    ended $short 3
    kill -KILL $stuck
    ended $stuck 137
}

@test "a second SIGTERM ends it at once, and what runs with it" {
    start_daemon -c "$(patience 30s)"
    background pmapc map --reconnect 0 -- sleep ::: 1000 >out 2>err
    until_true 20 status_is busy 1
    kill -TERM "$DAEMON"
    always 10 kill -0 "$DAEMON"
    local before=$EPOCHREALTIME
    kill -INT "$DAEMON"
    ended "$DAEMON" 0
    ((${EPOCHREALTIME/./} - ${before/./} < 2000000 * SCALE)) || fail "that took long"
    forget_daemon "$DAEMON"
    ended $PID 3
    complains 'stopping|gone'
}

@test "SIGINT and SIGHUP end a private daemon as well" {
    local signal
    for signal in INT HUP; do
        start_daemon
        kill -$signal "$DAEMON"
        ended "$DAEMON" 0
        forget_daemon "$DAEMON"
    done
}

@test "kill -9 of the daemon: clients that do not wait for another end with 3, and say so" {
    start_daemon
    yes 1000 | head -n 50 >items
    background pmapc map --reconnect 0 -j 1 sleep <items >out 2>err
    local first=$PID
    mkfifo in
    exec 8<>in
    background pmapc map --reconnect 0 echo <in >out2 2>err2
    echo one >&8
    until_true 20 [ -s out2 ]
    until_true 20 status_is jobs 2 busy 1 items_done 1
    kill -KILL "$DAEMON"
    ended $first 3
    ended $PID 3
    says ""
    complains "the daemon at $PMAP_ENDPOINT is gone"
    cp err2 err
    complains "the daemon at $PMAP_ENDPOINT is gone"
    [ "$(cat out2)" = one ] || fail "what was done is lost"
    ended "$DAEMON" 137
    forget_daemon "$DAEMON"
    # The socket is still there, and nobody behind it: the next daemon takes it over.
    [ -S d.sock ]
    expect 3 pmapc map echo ::: a
    complains "no daemon"
    start_daemon
    expect 0 pmapc map echo ::: a
    says a
}

@test "a restart over a stale socket, again and again" {
    local i
    for i in 1 2 3; do
        start_daemon
        expect 0 pmapc map square ::: $i
        says $((i * i))
        kill -KILL "$DAEMON"
        ended "$DAEMON" 137
        forget_daemon "$DAEMON"
        [ -S d.sock ]
    done
}

@test "a second daemon at the same endpoint is refused" {
    start_daemon
    expect 69 pmapd --private -e "$PMAP_ENDPOINT"
    grep -q "another pmapd serves $PMAP_ENDPOINT" err || fail "does not say why"
    expect 0 pmapc map square ::: 4
    says 16
    # With an idle exit, as pmapc starts them, that is what was wanted.
    expect 0 pmapd --private --idle-exit 60 -e "$PMAP_ENDPOINT"
    expect 0 pmapc map square ::: 5
    says 25
    # Two at the same moment: one.
    local round first status
    for round in 1 2 3 4 5; do
        export PMAP_ENDPOINT=ipc://$T/race$round.sock
        background pmapd --private -n 1 -e "$PMAP_ENDPOINT" >>race.log 2>&1
        first=$PID
        background pmapd --private -n 1 -e "$PMAP_ENDPOINT" >>race.log 2>&1
        until_true 20 answers
        until_true 20 one_gone $first $PID
        gone $first || PID=$first
        kill -TERM $PID
        ended $PID 0
        [ -z "$(processes "$PMAP_ENDPOINT")" ]
    done
    # A file that is no socket is not touched.
    echo precious >file
    expect 78 pmapd --private -e "ipc://$T/file"
    [ "$(cat file)" = precious ]
    # Nor is there a folder made for it.
    expect 78 pmapd --private -e "ipc://$T/nowhere/d.sock"
    grep -q "$T/nowhere/d.lock: No such file" err || fail "does not say why"
}

one_gone() {
    if gone "$1"; then
        gone "$2" && return 1
        return 0
    fi
    gone "$2"
}

@test "several endpoints, one pool" {
    start_daemon -e "ipc://$T/second.sock"
    expect 0 pmapc -e "ipc://$T/second.sock" map square ::: 4
    says 16
    expect 0 pmapc map square ::: 4
    says 16
    status_is jobs_done 2
    stop_daemon
    [ ! -e second.sock ] && [ ! -e d.sock ] || fail "a socket is left"
}

@test "a socket is for its owner alone" {
    start_daemon
    [ "$(stat -c %a d.sock)" = 600 ]
}

@test "--idle-exit: it leaves when nobody has been there for so long, and not before" {
    start_daemon --idle-exit 2
    # A client that is there and does nothing keeps it.
    mkfifo in
    exec 8<>in
    background pmapc map square <in >out 2>err
    echo 3 >&8
    local before=$EPOCHREALTIME
    until_true 20 [ -s out ]
    while ((${EPOCHREALTIME/./} - ${before/./} < 3000000)); do
        gone "$DAEMON" && fail "left a client alone"
        sleep 0.02
    done
    echo 4 >&8
    until_true 20 grep -q 16 out
    interrupt_and_wait
    ended "$DAEMON" 0
    forget_daemon "$DAEMON"
    [ ! -e d.sock ] || fail "the socket is left"
}

interrupt_and_wait() {
    kill -INT "$PID"
    ended "$PID" 130
}

@test "--check-config: good and bad, with the line" {
    expect 0 pmapd --check-config -c "$BATS_TEST_DIRNAME/../../daemon/pmapd.conf"
    grep -q 'pmapd.conf: ok' out
    silent
    printf '[pool]\nslots = 3\n\n[defaults]\nweight = 2\n' >good.conf
    expect 0 pmapd --check-config --config good.conf
    local text line
    while IFS='|' read -r line text; do
        printf "$text" >bad.conf
        expect 1 pmapd --check-config -c bad.conf
        grep -q "bad.conf:$line: " err || fail "not line $line: $text"
        [ ! -s out ] || fail "and all the same ok"
        # Nor does a daemon start with it.
        expect 78 pmapd --private -e "ipc://$T/bad.sock" -c "$T/bad.conf"
        grep -q "bad.conf:$line: " err || fail "not line $line: $text"
    done <<'END'
2|[pool]\nslot = 3\n
3|[pool]\nslots = 3\n[nonsense]\n
2|[pool]\nslots = -1\n
4|# a comment\n\n[pool]\nslots = many\n
2|[pool]\nchunk_target = 10\n
3|[defaults]\nweight = 1\nqueued_bytes = 1Q\n
2|[daemon]\nendpoint = tcp://*:1\n
2|[pool]\nslots\n
3|[pool]\nslots = 1\nslots = 2\n
END
    expect 1 pmapd --check-config -c nowhere.conf
    grep -q nowhere.conf err
    # Where the administrator has written none, the defaults are right.
    [ -e /etc/pmapd/pmapd.conf ] || expect 0 pmapd --check-config
}

@test "--version and --help, with no daemon" {
    local program command
    for program in pmapd pmapc; do
        expect 0 $program --version
        grep -qE "^$program [0-9]+\.[0-9]+\.[0-9]+$" out || fail "no version"
        [ "$(wc -l <out)" = 1 ]
        silent
        expect 0 $program --help
        grep -qi "^usage: $program" out || fail "no usage"
        [ "$(wc -l <out)" -le 40 ] || fail "more than a screen"
        silent
    done
    for command in map functions cpus status ping; do
        expect 0 pmapc $command --help
        grep -qi "^usage: pmapc $command" out || fail "no usage"
        [ "$(wc -l <out)" -le 40 ] || fail "more than a screen"
        grep -q "^  pmapc $command\|| pmapc $command" out || fail "no example"
        silent
        pmapc --help | grep -q "^  $command " || fail "not in --help"
    done
    [ -z "$(processes)" ]
}

@test "who connects while the daemon does not get the CPU is let in when it does" {
    start_daemon
    local i pids=()
    kill -STOP "$DAEMON"
    for i in $(seq 40); do
        pmapc map square ::: "$i" >"out.$i" 2>>err.all &
        pids+=($!)
        # Some have just come, and some have tried again.
        [ $((i % 8)) != 0 ] || sleep 0.1
    done
    kill -CONT "$DAEMON"
    for i in $(seq 40); do
        ended "${pids[i - 1]}" 0
        [ "$(cat "out.$i")" = $((i * i)) ] || fail "item $i"
    done
    [ ! -s err.all ] || fail "$(cat err.all)"
}
