# The system's daemon and two users: whose processes run, what they may and may not.
load helper
load users

@test "a task is the submitter's in everything" {
    start_system
    cat >show <<'SHOW'
#!/bin/bash
id -u; id -g; id -G; umask; pwd
ulimit -Sa; ulimit -Ha
nice; taskset -p $$ | sed 's/.*: //'
grep -E '^(Sig(Blk|Ign)|Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp|Groups):' /proc/self/status
env | grep -vE '^(_|PMAP_JOB|PMAP_SEQ|PMAP_SLOT|(OMP|OPENBLAS|MKL|NUMEXPR|RAYON)_NUM_THREADS|OLDPWD|SHLVL)=' | sort
SHOW
    chmod 755 show
    cat >state <<'STATE'
umask 027
ulimit -Sn 77; ulimit -Hn 200; ulimit -c 0; ulimit -Su 500
cd "$HOME"
export COLOUR='sea green' EMPTY= 'NEWLINE=a
b'
trap '' USR1
"$@"
STATE
    as $alice nice -n 3 taskset 1 bash state "$T/show" </dev/null >direct 2>err.direct || fail "$(cat err.direct)"
    as $alice nice -n 3 taskset 1 bash state pmapc map -- "$T/show" ::: x </dev/null >out 2>err || fail "failed"
    # The item is its argument, and nothing else differs.
    diff direct out || fail "differs"
    silent
    # It has what it must have, and nothing of the daemon's: 3 is the folder that ls reads.
    expect 0 as $alice pmapc map -- ls ::: /proc/self/fd
    says $'0\n1\n2\n3'
}

@test "two users' tasks are two users, at once and on warm workers" {
    start_system
    local i
    for i in 1 2 3; do
        as $alice pmapc map -q -- sh -c 'echo $(id -u) $0' ::: 1 2 3 4 >out.a 2>err &
        as $bob pmapc map -q -- sh -c 'echo $(id -u) $0' ::: 1 2 3 4 >out.b 2>err.b
        wait $!
        seq 4 | sed "s/^/$alice /" | same - out.a
        seq 4 | sed "s/^/$bob /" | same - out.b
    done
}

@test "a task can signal neither the daemon nor another user's tasks" {
    start_system
    as $bob pmapc map -q -- sleep ::: 600 >out.b 2>err.b &
    local client=$! task
    until_true 20 eval '[ -n "$(pgrep -u $bob -x sleep)" ]'
    task=$(pgrep -u $bob -x sleep)
    expect 1 as $alice pmapc map -q -- sh -c 'kill -9 $0' ::: "$DAEMON" "$(launcher)" "$task" "$(pgrep -u $bob -x pmap-worker | head -n 1)"
    [ "$(grep -c 'not permitted' err)" = 4 ] || fail "not refused"
    kill -0 "$task"
    answers
    kill -TERM $client
    wait $client || true
    until_true 10 eval '[ -z "$(pgrep -u $bob -x sleep)" ]'
}

@test "another user's job cannot be seen, cancelled or spoken for" {
    start_system
    as $bob pmapc map -q -- sleep ::: 600 >out.b 2>err.b &
    local client=$! job
    until_true 20 eval '[ -n "$(pgrep -u $bob -x sleep)" ]'
    expect 0 as $alice pmapc jobs --json
    json_holds 'len(d) == 1 and d[0]["uid"] == '$bob' and set(d[0]) == {"job", "uid", "items"}' <out
    job=$(/usr/bin/python3 -c 'import json; print(json.load(open("out"))[0]["job"])')
    expect 4 as $alice pmapc cancel "$job" || expect 1 as $alice pmapc cancel "$job"
    complains 'no such job'
    kill -0 "$(pgrep -u $bob -x sleep)"
    # His workers' socket is closed to her, and hers to everybody but pmapd's own workers.
    local socket
    socket=$(tr '\0' '\n' <"/proc/$(pgrep -u $bob -x pmap-worker | head -n 1)/cmdline" | sed -n 's,^ipc://,,p')
    [ -S "$socket" ]
    expect_sh 1 "setpriv --reuid $alice --regid $alice --clear-groups /usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"$socket\")'"
    grep -q PermissionError err
    # Root may cancel what it likes.
    expect 0 pmapc cancel "$job"
    until_true 10 eval '[ -z "$(pgrep -u $bob -x sleep)" ]'
    wait $client || true
}

@test "who may have processes: not the sandboxed, not system users, not root" {
    start_system
    expect 0 as $alice pmapc map -- echo ::: yes
    says yes
    expect 4 as $alice setpriv --no-new-privs pmapc map -- echo ::: no
    complains 'no.?new.?privileges|NoNewPrivs|no_new_privs'
    expect 4 pmapc map -- echo ::: no
    complains 'root'
    expect 4 as 54 pmapc map -- echo ::: no
    complains 'min_uid|1000'
    expect 0 as $alice setpriv --no-new-privs pmapc map square ::: 3
    says 9
    if as $alice unshare --user true 2>/dev/null; then
        expect 4 as $alice unshare --user pmapc map -- echo ::: no
    fi
    if unshare --mount true 2>/dev/null; then
        expect 4 unshare --mount setpriv --reuid $alice --regid $alice --clear-groups pmapc map -- echo ::: no
        complains 'namespace'
    fi
}

@test "root's own tasks where they are allowed" {
    start_system 'allow_root = yes' 'min_uid = 50'
    expect 0 pmapc map -- id -u ::: -r
    says 0
    expect 0 as 54 pmapc map -- id -u ::: -r
    says 54
}

@test "the broker keeps no privilege and the launcher does not speak ZeroMQ" {
    start_system
    expect 0 as $alice pmapc map -- echo ::: x
    grep -qE '^Uid:\s+1\s+1\s+1\s+1$' "/proc/$DAEMON/status"
    grep -qE '^CapEff:\s+0+$' "/proc/$DAEMON/status"
    [[ $(cat "/proc/$(launcher)/comm") == pmap-launcher ]]
    ! grep -q libzmq "/proc/$(launcher)/maps"
}

@test "the daemon stopped under load leaves nobody's process behind" {
    start_system
    local uid pids=()
    for uid in $alice $bob; do
        as $uid pmapc map -q --reconnect 0 -- sh -c 'setsid sleep 600 & sleep 600' <<<$'1\n2\n3\n4' >/dev/null 2>&1 &
        pids+=($!)
    done
    until_true 20 eval '[ "$(pgrep -u $alice,$bob -x sleep | wc -l)" -ge 4 ]'
    stop_daemon
    until_true 5 eval '[ -z "$(pgrep -u $alice,$bob -x "sleep|pmap-worker|pmap-exec")" ]'
    wait "${pids[@]}" || true
    until_true 10 nobody_left # whoever inherits them may take a while to bury them
}

@test "a killed launcher ends the daemon and all that it had started" {
    start_system
    as $alice pmapc map -q --reconnect 0 -- sleep ::: 600 600 >/dev/null 2>err.a &
    local client=$!
    until_true 20 eval '[ "$(pgrep -u $alice -x sleep | wc -l)" = 2 ]'
    kill -KILL "$(launcher)"
    ended "$DAEMON" 1
    forget_daemon "$DAEMON"
    until_true 10 eval '[ -z "$(pgrep -u $alice -x "sleep|pmap-worker|pmap-exec")" ]'
    wait $client || true
}

@test "a killed broker takes all that was started with it" {
    start_system
    as $alice pmapc map -q --reconnect 0 -- sh -c 'setsid sleep 600 & exec sleep 600' ::: 1 2 >/dev/null 2>err.a &
    local client=$!
    until_true 20 eval '[ "$(pgrep -u $alice -x sleep | wc -l)" = 4 ]'
    kill -KILL "$DAEMON"
    ended "$DAEMON" 137
    forget_daemon "$DAEMON"
    until_true 10 nobody_left
    wait $client || true
}

@test "jobs of two users go on over a restart in good order, and over a kill" {
    start_system
    seq 80 >items
    has() {
        [ -e "$1" ] && (($(wc -l <"$1") >= $2))
    }
    local once=--at-most-once first
    for once in --at-most-once --retries=0; do
        rm -f out.alice out.bob
        background as $alice pmapc map $once -a items -- sh -c 'sleep 0.03; id -u >&2; echo $0' >out.alice 2>err.alice
        first=$PID
        background as $bob pmapc map $once -u -a items -- sh -c 'sleep 0.03; id -u >&2; echo $0' >out.bob 2>err.bob
        until_true 20 has out.alice 10
        until_true 20 has out.bob 10
        if [ $once = --at-most-once ]; then
            stop_daemon
        else
            kill -KILL "$DAEMON"
            ended "$DAEMON" 137
            forget_daemon "$DAEMON"
        fi
        start_system
        ended $first 0
        ended $PID 0
        same items out.alice
        sort -n out.bob | same items -
        [ "$(grep -v pmapc err.alice | sort -u)" = $alice ] && [ "$(grep -v pmapc err.bob | sort -u)" = $bob ] || fail "run as others: $(sort -u err.alice err.bob)"
    done
    stop_daemon
    until_true 10 nobody_left
}
