# What goes wrong is said clearly, on stderr, with the exit status that pmapc(1) promises: 1 some item failed, 2 usage,
# 3 no daemon, 4 refused. What went right is on stdout all the same.
load helper

@test "items that fail in the middle are named by number, and the others are in place" {
    start_daemon
    printf '%s\n' 1 2 x 4 5 | expect 1 pmapc map square
    says $'1\n4\n16\n25'
    complains 'item 3: .*x'
    [ "$(wc -l <err)" = 1 ]
    printf '%s\n' x 2 '' 4 y | expect 1 pmapc map -c 1 square
    says $'4\n16'
    [ "$(sed -E 's/^pmapc: (item [0-9]+): .*/\1/' err)" = $'item 1\nitem 3\nitem 5' ] || fail "not those items"
    expect 1 pmapc map -0 square ::: 2 x 3
    printf '4\0009\0' | same out
    expect 1 pmapc map square ::: x
    says ""
}

@test "ten failed items are named, of the rest there is a count" {
    start_daemon
    # 10, 11 and 25 of them, among others.
    seq 100 | sed -E 's/^(.*[05])$/x\1/' >all
    head -n 50 all | expect 1 pmapc map square
    [ "$(wc -l <err)" = 10 ] || fail "ten, no more"
    head -n 55 all | expect 1 pmapc map square
    [ "$(tail -n 1 err)" = "pmapc: 1 more item failed" ] || fail "one more"
    expect 1 pmapc map -q square <all
    [ "$(head -n 10 err | sed -E 's/^pmapc: item ([0-9]+): .*/\1/' | xargs)" = "5 10 15 20 25 30 35 40 45 50" ] ||
        fail "not the first ten"
    [ "$(tail -n +11 err)" = "pmapc: 10 more items failed" ] || fail "ten more"
    seq 100 | grep -v '[05]$' | awk '{print $1 * $1}' | same out
    # By the hundred thousand, and every one of them.
    local count=$((100000 / SCALE))
    yes none | head -n $count | expect 1 pmapc map cube
    says ""
    [ "$(tail -n 1 err)" = "pmapc: $((count - 10)) more items failed" ] || fail "the rest"
    until_true 10 idle
}

@test "an unknown function: a near name is suggested" {
    start_daemon
    expect 2 pmapc map sqare ::: 1
    complains "sqare.*square"
    says ""
    expect 2 pmapc map UPPER ::: a
    complains "UPPER.*upper"
    expect 2 pmapc map frobnicate ::: 1
    complains frobnicate
    ! grep -q 'did you mean' err || fail "nothing is near"
    # Also with more input than one message holds, and with input that never ends.
    seq 500000 | expect 2 pmapc map lenght
    complains length
    expect_sh 2 "pmapc map lenght < <(env --default-signal=PIPE yes)"
    complains length
    expect 2 pmapc map "$(printf 'e\033[1mcho')" ::: a
    until_true 10 idle
}

@test "an unknown option or command, or a bad value: usage" {
    # No daemon is needed to be told so, and none is started.
    expect 2 pmapc map --chunksiez 3 square ::: 1
    complains 'chunksiez.*--chunksize'
    expect 2 pmapc map -Z square ::: 1
    complains Z
    expect 2 pmapc map --tag=3 square ::: 1
    complains tag
    expect 2 pmapc --nonsense map
    complains nonsense
    expect 2 pmapc mpa square
    complains "mpa.*map"
    expect 2 pmapc
    complains command
    expect 2 pmapc map
    complains function
    expect 2 pmapc map "" ::: 1
    expect 2 pmapc map square cube ::: 1
    complains cube
    expect 2 pmapc map square 1 2
    complains ':::'
    local option
    for option in '-j 0' '-j -1' '-j x' '-j 1x' '-j 99999999999' -j '-P 0' '-c 0' '-c x' '-c 4294967296' --chunksize= \
        '--priority 1001' '--priority -1001' '--stats=xml' '-d ab' -a; do
        # shellcheck disable=SC2086 # an option and its value
        expect 2 pmapc map $option
        complains .
    done
    for option in 'status --jsno' 'status extra' 'functions extra' 'cpus extra' 'ping -c x' 'ping -c -1' 'ping -i -1' \
        'ping extra'; do
        # shellcheck disable=SC2086
        expect 2 pmapc $option
        complains .
    done
    [ -z "$(processes)" ]
    expect 2 pmapd --nonsense
    grep -q nonsense err || fail "does not name it"
    for option in '-n 0' '-n x' '-n' '-e tcp://x:1' '-e ipc://relative' '--idle-exit x' '--idle-exit -1' extra; do
        # shellcheck disable=SC2086
        expect 2 pmapd $option
        [ -s err ] || fail "says nothing"
    done
}

@test "a file that cannot be read" {
    start_daemon
    expect 2 pmapc map -a nowhere square
    complains 'nowhere: no such file'
    says ""
    expect 2 pmapc map -a . square
    complains 'directory'
    expect_sh 2 "pmapc map square <."
    complains 'directory'
    # One that opens, and whose first read(2) fails.
    expect 2 pmapc map -a /proc/self/mem square
    complains '/proc/self/mem'
    echo 5 >secret
    chmod 0 secret
    if [ "$(id -u)" = 0 ]; then
        chmod 711 .
        expect 2 setpriv --reuid 65534 --regid 65534 --clear-groups pmapc map -a "$T/secret" square
    else
        expect 2 pmapc map -a secret square
    fi
    complains 'secret: permission denied'
    until_true 10 idle
}

@test "no daemon: status 3, whoever asks" {
    local command
    for command in 'map square ::: 1' functions status ping; do
        # shellcheck disable=SC2086 # words
        expect 3 pmapc -e "ipc://$T/none.sock" $command
        complains "no daemon at ipc://$T/none.sock"
        says ""
        # shellcheck disable=SC2086
        PMAP_ENDPOINT=ipc://$T/none.sock expect 3 pmapc $command
        complains "none.sock"
    done
    # A folder that is none, and a socket that nobody listens at.
    expect 3 pmapc -e "ipc://$T/no/such/folder.sock" status
    complains "no daemon"
    echo >file
    expect 3 pmapc -e "ipc://$T/file/x.sock" status
    complains "no daemon"
    /usr/bin/python3 -c "
import socket
socket.socket(socket.AF_UNIX).bind('$T/stale.sock')"
    expect 3 pmapc -e "ipc://$T/stale.sock" map square ::: 1
    complains "no daemon.*refused"
    [ -z "$(processes)" ] || fail "one was started all the same"
}

@test "an endpoint that is none: usage" {
    local endpoint
    for endpoint in tcp://localhost:1 ipc:// ipc://relative /tmp/x "ipc:///$(printf 'x%.0s' {1..200})"; do
        expect 2 pmapc -e "$endpoint" status
        complains endpoint
        PMAP_ENDPOINT=$endpoint expect 2 pmapc cpus
        complains PMAP_ENDPOINT
    done
}

# A peer at $T/old.sock that is no daemon of ours; see oldd.c.
start_oldd() {
    rm -f old.sock
    background oldd "ipc://$T/old.sock" "$1" 2>oldd.err
    until_true 10 [ -S old.sock ]
}

@test "a daemon of another protocol version: both versions are told" {
    local command
    for command in 'map square' functions status ping; do
        start_oldd version
        # shellcheck disable=SC2086 # words
        seq 10 | expect 3 pmapc -e "ipc://$T/old.sock" $command
        complains "version.* 7"
        says ""
        ended $PID 0
    done
    start_oldd version
    expect 0 pmapc -e "ipc://$T/old.sock" cpus --json
    json_holds 'd["slots"] is None' <out
    ended $PID 0
}

@test "something that answers nonsense, or nothing within 5 s, is no daemon" {
    start_oldd garbage
    expect 3 pmapc -e "ipc://$T/old.sock" map square ::: 1
    complains .
    ended $PID 0
    local before=$EPOCHREALTIME
    start_oldd silent
    expect 3 pmapc -e "ipc://$T/old.sock" map --reconnect 0 square ::: 1
    complains "no answer"
    ((${EPOCHREALTIME/./} - ${before/./} < 10000000)) || fail "that took long"
    ended $PID 0
    [ ! -s oldd.err ] || fail "$(cat oldd.err)"
}

# as UID COMMAND...: by another user, who can read the programs.
as() {
    local uid=$1
    shift
    expect "$want" setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
}

# Other users can come here and run the programs; else the test is left out.
need_users() {
    [ "$(id -u)" = 0 ] || skip "only root can be two users"
    setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$PMAP_BIN/pmapd" || skip "others cannot run $PMAP_BIN"
    chmod 711 .
}

# start_daemon_of UID: another user's private pool, at $PMAP_ENDPOINT.
start_daemon_of() {
    setpriv --reuid "$1" --regid "$1" --clear-groups --pdeathsig KILL pmapd -n 2 -e "$PMAP_ENDPOINT" \
        </dev/null >>pmapd.log 2>&1 3>&- &
    DAEMONS+=($!)
    want=0
    until_true 20 as "$1" pmapc ping -c 1
}

@test "a private pool serves its user and refuses all others" {
    need_users
    mkdir -m 755 theirs
    chown 65534:65534 theirs
    export PMAP_ENDPOINT=ipc://$T/theirs/d.sock
    start_daemon_of 65534
    want=0 as 65534 pmapc map square ::: 12
    says 144
    # Another user does not get as far as the daemon ...
    want=4 as 60001 pmapc map square ::: 12
    complains 'permission denied'
    says ""
    # ... and where the socket lets him, or nothing stops him as it does root, the daemon does.
    local command
    chmod 666 theirs/d.sock
    for command in 'map square' functions status ping; do
        # shellcheck disable=SC2086 # words
        seq 10 | want=4 as 60001 pmapc $command
        complains .
        says ""
        # shellcheck disable=SC2086
        seq 10 | expect 4 pmapc $command
        complains .
        says ""
    done
    want=0 as 60001 pmapc cpus --json
    json_holds 'd["slots"] is None' <out
    # It has gone on.
    want=0 as 65534 pmapc map square ::: 13
    says 169
}

@test "a daemon that is not to be trusted gets nothing" {
    need_users
    # Somebody listens in a folder that is open to all, as /tmp is.
    mkdir -m 1777 open
    chmod 1777 open
    export PMAP_ENDPOINT=ipc://$T/open/d.sock
    start_daemon_of 65534
    chmod 666 open/d.sock
    expect 4 pmapc map echo ::: secret
    complains trust
    want=4 as 60001 pmapc map echo ::: secret
    complains trust
    want=0 as 65534 pmapc status --json
    json_holds 'd["sessions"] == 1 and d["jobs_done"] == 0' <out
    # The same in the folder where one's own daemon would be: nothing in it is trusted, and none is started there.
    unset PMAP_ENDPOINT
    mkdir -m 755 run/pmapd
    chown 65534:65534 run/pmapd
    expect 4 pmapc map echo ::: secret
    complains 'not yours'
}

@test "a limit is told, with status 4" {
    printf '[defaults]\nconnections = 3\njobs = 2\n' >limits.conf
    start_daemon -c "$T/limits.conf"
    local i
    for i in 1 2; do
        background pmapc map sleep ::: 1000 >/dev/null 2>/dev/null
        until_true 20 status_is jobs $i sessions $((i + 1))
    done
    expect 4 pmapc map square ::: 1
    complains 'uid .* 2 open jobs'
    seq 500000 | expect 4 pmapc map square
    complains 'uid .* 2 open jobs'
    # The third connection, held by one that only waits.
    background pmapc ping -c 0 -i 0.05 >pings 2>&1
    until_true 20 grep -q seq=1 pings
    expect 4 pmapc map square ::: 1
    complains connections
    expect 4 pmapc status
    complains connections
    kill -TERM $PID
    ended $PID 143
    until_true 20 status_is sessions 3
}
