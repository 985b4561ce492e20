# The system's daemon in a control group that is its own to divide: in a mount namespace where version 2 is mounted, be it
# without controllers. What takes controllers is tried on a whole machine.
load helper
load users

prepare() {
    prepare_users
    open_namespace
    "${INSIDE[@]}" mount -t cgroup2 none /sys/fs/cgroup 2>err || skip "no control groups of version 2: $(cat err)"
    local from
    from=$(sed -n 's/^0:://p' /proc/self/cgroup)
    GROUP=/sys/fs/cgroup${from%/}/${T##*/}
    "${INSIDE[@]}" mkdir "$GROUP"
    "${INSIDE[@]}" test -e "$GROUP/cgroup.kill" || skip "no cgroup.kill in this kernel"
    WITHIN=("${INSIDE[@]}" bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$GROUP")
}

tidy() {
    local folder
    for folder in users supervisor broker .; do
        # Whoever has just been killed may be there for a moment yet.
        [ -z "${GROUP:-}" ] || until_true 10 gone_group "$GROUP/$folder" 2>/dev/null || { echo "left behind: $GROUP/$folder"; return 1; }
    done
}

gone_group() {
    "${INSIDE[@]}" bash -c '[ ! -e "$0" ] || rmdir "$(realpath "$0")"' "$1"
}

# Where an item is below its worker's group.
ITEMS='e[0-9]+'

# As systemd marks what it delegates.
delegate() {
    "${INSIDE[@]}" /usr/bin/python3 -c "import os; os.setxattr('$GROUP', 'user.delegate', b'1')"
}

group_of() {
    sed -n 's/^0:://p' "/proc/$1/cgroup"
}

# Folders of owners or workers: as many as that.
folders() {
    [ "$("${INSIDE[@]}" find "$GROUP/users" -mindepth 1 -type d -name "$1" | wc -l)" = "$2" ]
}

# So many processes are in the groups of alice's items.
tasks() {
    [ "$("${INSIDE[@]}" bash -c 'cat "$0"/w*/e*/cgroup.procs' "$GROUP/users/u$alice" 2>/dev/null | wc -l)" = "$1" ]
}

@test "daemons and workers are in groups of their own, an owner's together" {
    delegate
    start_system
    expect 0 "${INSIDE[@]}" as $alice pmapc map -- grep ^0:: ::: /proc/self/cgroup
    grep -q "control groups in $GROUP:" pmapd.log
    [[ $(group_of "$DAEMON") == */${GROUP##*/}/broker ]]
    [[ $(group_of "$(launcher)") == */${GROUP##*/}/supervisor ]]
    grep -qE "/${GROUP##*/}/users/u$alice/w[0-9]+/$ITEMS\$" out
    expect 0 "${INSIDE[@]}" as $bob pmapc map -- grep ^0:: ::: /proc/self/cgroup
    grep -qE "/${GROUP##*/}/users/u$bob/w[0-9]+/$ITEMS\$" out
    # They can see into it, and change nothing.
    expect 0 "${INSIDE[@]}" as $alice pmapc map -- sh -c "cd $GROUP/users/u$alice && grep -q populated cgroup.events && ! mkdir x" ::: x
    folders "u*" 2
    # A lasting child is where a command is.
    expect 0 "${INSIDE[@]}" as $bob pmapc map --filter -- sh -c 'read x; grep ^0:: /proc/self/cgroup' ::: x
    grep -qE "/${GROUP##*/}/users/u$bob/w[0-9]+/$ITEMS\$" out
    folders worker 2 || folders worker 3
    # Of all the jobs that a worker serves, the items are in the same few groups.
    local i
    for i in 1 2 3 4 5 6 7 8; do
        expect 0 "${INSIDE[@]}" as $alice pmapc map -j1 -- echo ::: $i
    done
    [ "$("${INSIDE[@]}" find "$GROUP/users/u$alice" -name 'e[0-9]*' | wc -l)" -le 6 ]
    stop_daemon
    folders "*" 0
}

@test "whatever came of a worker goes with it, and so does its group" {
    delegate
    start_system
    "${INSIDE[@]}" as $alice pmapc map -q -- sh -c 'setsid sh -c "trap \"\" TERM; sleep 601 & sleep 601" & exec sleep 601' ::: 1 \
        >out.a 2>err.a 3>&- &
    local client=$!
    until_true 20 tasks 4
    folders 'w[0-9]*' 1
    local worker
    worker=$("${INSIDE[@]}" bash -c 'head -n 1 -q "$0"/w*/worker/cgroup.procs' "$GROUP/users/u$alice")
    [ "$(cat "/proc/$worker/comm")" = pmap-worker ]
    kill -KILL "$worker"
    until_true 10 tasks 0
    kill $client
    wait $client || true
    # One that came up as its client went stays for a while, as any that is idle.
    until_true 45 folders 'w[0-9]*' 0
    until_true 20 folders 'u*' 0
}

# Items, and what is left of them when they are killed.
items_go() {
    # It makes daemons of itself all the time, and dies of nothing less than KILL.
    cat >hydra <<'HYDRA'
trap '' TERM HUP
n=$1
setsid sh "$0" $((n + 1)) &
[ $((n % 3)) = 0 ] || exec sleep 604
HYDRA
    expect 1 "${INSIDE[@]}" as $alice pmapc map --timeout 0.3 -- bash -c "ulimit -u 60; exec 2>/dev/null; sh $T/hydra 0; sleep 604" ::: 1
    complains 'timed out'
    tasks 0
    # Its successors, in the same group or another, are not touched by that, nor is the worker.
    expect 1 "${INSIDE[@]}" as $alice pmapc map -j1 --timeout 0.3 -- sh -c 'test $0 = 2 && sleep 600; sleep 605 & echo $0' ::: 1 2 3 4
    says $'1\n3\n4'
    complains 'item 2: timed out'
    folders 'w[0-9]*' 1
}

@test "whatever came of an item goes with it" {
    delegate
    start_system
    items_go
}

# All that is told of groups, by a daemon as it was started.
groups_hold() {
    expect 0 "${INSIDE[@]}" as $alice pmapc map -- grep ^0:: ::: /proc/self/cgroup
    grep -qE "/${GROUP##*/}/users/u$alice/w[0-9]+/$ITEMS\$" out || fail "elsewhere"
    "${INSIDE[@]}" bash -c '[ "$(cat /proc/$(head -n 1 -q "$0"/w*/worker/cgroup.procs)/comm)" = pmap-worker ]' "$GROUP/users/u$alice"
    # One that the kernel does not take: what exec says comes back by whatever way.
    expect 1 "${INSIDE[@]}" as $alice pmapc map -- true < <(head -c 200000 /dev/zero | tr '\0' x)
    complains 'Argument list too long'
    items_go
    # A worker that has just been asked for, too, is its owner's.
    "${INSIDE[@]}" as $bob pmapc map -q --reconnect 0 -- sh -c 'setsid sleep 602 & exec sleep 602' ::: 1 2 >out.b 2>err.b 3>&- &
    local client=$!
    until_true 20 eval '"${INSIDE[@]}" bash -c "[ \$(cat $GROUP/users/u$bob/w*/e*/cgroup.procs | wc -l) = 4 ]" 2>err'
    stop_daemon
    folders "*" 0
    wait $client || true
}

@test "where clone3 and close_range are refused, workers and items are in their groups all the same" {
    delegate
    WITHIN+=("$PMAP_BIN/refuse" 38 clone3 close_range --)
    start_system
    groups_hold
}

@test "so are items where a process cannot be born in borrowed memory" {
    delegate
    mkdir -m 755 bin
    cp "$PMAP_BIN"/pmap{d,-launcher,-worker} bin/
    cp "$PMAP_BIN/pmap-exec-copying" bin/pmap-exec
    PATH=$T/bin:$PATH
    start_system
    groups_hold
}

@test "a killed broker leaves no process and no group of a user's" {
    delegate
    start_system
    "${INSIDE[@]}" as $alice pmapc map -q --reconnect 0 -- sh -c 'setsid sleep 602 & exec sleep 602' ::: 1 2 >out.a 2>err.a 3>&- &
    local client=$!
    until_true 20 tasks 4
    kill -KILL "$DAEMON"
    ended "$DAEMON" 137
    forget_daemon "$DAEMON"
    until_true 10 folders '*' 0
    wait $client || true
}

@test "what a former launcher has left is killed by the next" {
    delegate
    "${INSIDE[@]}" bash -c 'mkdir -p "$0" && echo $$ >"$0/cgroup.procs" && exec sleep 603' \
        "$GROUP/users/u$carol/w9" </dev/null >/dev/null 2>&1 3>&- &
    local stray=$!
    until_true 10 eval '[[ $(group_of $stray) == */w9 ]]'
    start_system
    ended $stray 137
    expect 0 "${INSIDE[@]}" as $alice pmapc map -- echo ::: x
    says x
    stop_daemon
    folders "u$alice" 0
    "${INSIDE[@]}" rmdir "$GROUP/users/u$carol/w9" "$GROUP/users/u$carol" 2>/dev/null || true # it may have died too late
}

@test "what a former launcher has left and cannot be removed keeps nobody's workers from starting" {
    delegate
    # As it is with a process that does not die.
    "${INSIDE[@]}" mkdir -p "$GROUP"/users/u$alice/w{1,2}/a/b
    start_system
    expect 0 "${INSIDE[@]}" as $alice pmapc map -j1 -- grep ^0:: ::: /proc/self/cgroup
    grep -qE "/u$alice/w3/$ITEMS\$" out
    stop_daemon
    "${INSIDE[@]}" rmdir "$GROUP"/users/u$alice/w{1,2}{/a/b,/a,} "$GROUP/users/u$alice"
}

@test "a group that is not pmapd's is left alone, and that is said once" {
    start_system
    [ "$(grep -c 'no control groups: .*Delegate=yes' pmapd.log)" = 1 ]
    [[ $(group_of "$DAEMON") == */${GROUP##*/} ]]
    expect 0 "${INSIDE[@]}" as $alice pmapc map -- grep ^0:: ::: /proc/self/cgroup
    grep -qE "/${GROUP##*/}\$" out
}
