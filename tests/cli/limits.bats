# What users may have, by the file: caps of a user's, a group's and everybody's own, and refusals that say whose they are.
load helper
load users

# The command `as_carol COMMAND...`: in no group but her own.
make_as_carol() {
    printf '#!/bin/bash\nHOME=$T exec setpriv --reuid %s --regid %s --clear-groups --inh-caps=-all "$@"\n' $carol $carol >as_carol
    chmod 755 as_carol
}

# From now on pmapd is one that may open so many files.
allow_files() {
    printf '#!/bin/bash\nulimit -n %s\nexec "$PMAP_BIN/pmapd" "$@"\n' "$1" >pmapd
    chmod 755 pmapd
}

# jobs_of UID COUNT: that user has so many open jobs.
jobs_of() {
    pmapc status --json | json_holds "[o['jobs'] for o in d['owners'] if o['uid'] == $1] == [$2]" 2>/dev/null
}

@test "the cap on jobs is the user's, else the group's, else everybody's, and the refusal says which" {
    printf '%s\n' '[defaults]' 'jobs = 3' '[group 54400]' 'jobs = 2' "[user $alice]" 'jobs = 1' >>pmapd.conf
    start_system
    make_as_carol
    local i
    background as $alice pmapc map -q sleep ::: 600 >/dev/null 2>&1
    for i in 1 2; do
        background as $bob pmapc map -q sleep ::: 600 >/dev/null 2>&1
    done
    for i in 1 2 3; do
        background as_carol pmapc map -q sleep ::: 600 >/dev/null 2>&1
    done
    until_true 20 jobs_of $alice 1
    until_true 20 jobs_of $bob 2
    until_true 20 jobs_of $carol 3
    expect 4 as $alice pmapc map square ::: 3
    complains "uid $alice has 1 open jobs, the most that \[user $alice\] .*\(jobs = 1\): wait until one ends, or cancel one"
    expect 4 as $bob pmapc map square ::: 3
    complains "uid $bob has 2 open jobs, .*\[group 54400\] .*\(jobs = 2\)"
    expect 4 as_carol pmapc map square ::: 3
    complains "uid $carol has 3 open jobs, .*\[defaults\] .*\(jobs = 3\)"
    # What it says helps.
    expect 0 as $alice pmapc cancel "$(as $alice pmapc jobs --json | /usr/bin/python3 -c 'import json, sys; print(*[j["job"] for j in json.load(sys.stdin) if "function" in j])')"
    until_true 20 jobs_of $alice 0
    expect 0 as $alice pmapc map square ::: 3
    says 9
}

@test "the cap on connections says whose it is, and counts for one user only" {
    printf '%s\n' "[user $alice]" 'connections = 2' >>pmapd.conf
    start_system
    local i
    for i in 1 2; do
        background as $alice pmapc map -q sleep ::: 600 >/dev/null 2>&1
    done
    until_true 20 jobs_of $alice 2
    expect 4 as $alice pmapc map square ::: 3
    complains "uid $alice has 2 connections, .*\[user $alice\] .*\(connections = 2\): close some"
    expect 4 as $alice pmapc status
    complains 'connections = 2'
    expect 0 as $bob pmapc map square ::: 3
    says 9
}

@test "the cap on slots holds for a user and for a group" {
    printf '%s\n' '[pool]' 'guarantee = no' '[group 54400]' 'slots = 1' >>pmapd.conf
    start_system
    make_as_carol
    background as $alice pmapc map -q sleep ::: 600 600 600 >/dev/null 2>&1
    background as $alice pmapc map -q sleep ::: 600 600 600 >/dev/null 2>&1
    until_true 20 jobs_of $alice 2
    until_true 20 status_is busy 1
    always 20 status_is busy 1
    # The group's cap is for each of its users: he has the other slot.
    background as $bob pmapc map -q sleep ::: 600 600 600 >/dev/null 2>&1
    until_true 20 status_is busy 2
    expect 0 as $bob pmapc status --json
    json_holds "d['limits']['uid'] == $bob and d['limits']['slots'] == 1" <out
    expect 0 as_carol pmapc status --json
    json_holds "d['limits']['slots'] == 0" <out
}

@test "what a user may have queued is the user's, and weights are" {
    printf '%s\n' "[user $alice]" 'queued_bytes = 64K' 'weight = 3' >>pmapd.conf
    start_system
    background as $alice bash -c 'yes 600 | head -n 1000000 | exec pmapc map -q sleep' >/dev/null 2>&1
    background as $bob bash -c 'yes 600 | head -n 1000000 | exec pmapc map -q sleep' >/dev/null 2>&1
    held_is() {
        pmapc status --json | json_holds "{o['uid']: o['held_bytes'] for o in d['owners']}[$1] $2" 2>/dev/null
    }
    until_true 20 held_is $bob '> 2000000'
    until_true 20 held_is $alice '> 1000'
    # A message over it may always be under way.
    always 20 held_is $alice '<= 65536 + 1048576'
    pmapc status --json | json_holds "{o['uid']: o['weight'] for o in d['owners']}[$alice] == 3 and {o['uid']: o['weight'] for o in d['owners']}[$bob] == 1"
}

@test "a look by somebody without the user's groups takes nothing from the user's jobs" {
    printf '%s\n' '[group 54400]' 'weight = 4' >>pmapd.conf
    start_system
    background as $alice pmapc map -q sleep ::: 600 >/dev/null 2>&1
    until_true 20 jobs_of $alice 1
    weight_is() {
        pmapc status --json | json_holds "{o['uid']: o['weight'] for o in d['owners']}[$alice] == $1" 2>/dev/null
    }
    weight_is 4
    expect 0 env HOME="$T" setpriv --reuid $alice --regid $alice --clear-groups --inh-caps=-all pmapc status --json
    json_holds "d['limits']['weight'] == 1" <out
    weight_is 4
    # Another file holds for who is there, and the most of what the user's sessions have.
    sed -i 's/weight = 4/weight = 7/' pmapd.conf
    kill -HUP "$DAEMON"
    until_true 20 weight_is 7
}

@test "who is kept out is told by what" {
    make_as_carol
    start_system 'allow = root, @54400' "deny = $bob"
    expect 0 as $alice pmapc map square ::: 3
    says 9
    expect 4 as $bob pmapc map square ::: 3
    complains "uid $bob may not use this pool: 'deny' of \[access\]"
    expect 4 as_carol pmapc map square ::: 3
    complains "uid $carol may not use this pool: 'allow' of \[access\]"
}

# flood_sockets UID: that user has as many bare connections as it can get, and tries to get more.
flood_sockets() {
    cat >flood.py <<'PY'
import socket, sys, time
held = []
while True:
    for _ in range(50):
        held.append(socket.socket(socket.AF_UNIX))
        held[-1].setblocking(False)
        try:
            held[-1].connect(sys.argv[1])
        except BlockingIOError:  # so many wait to be accepted
            held.pop()
            break
    time.sleep(0.01)
    still = []
    for one in held:
        try:
            if one.recv(4096):
                still.append(one)
        except BlockingIOError:
            still.append(one)
        except OSError:
            pass
    held = still
PY
    background as "$1" /usr/bin/python3 "$T/flood.py" "${PMAP_ENDPOINT#ipc://}" >/dev/null 2>"flood.$1"
}

# A machine that is slow and flooded may take more than one try.
serves_bob() {
    local i
    for i in 1 2 3 4 5; do
        until_true $((SCALE > 1 ? 20 : 3)) expect 0 as $bob pmapc map square ::: $i
        says $((i * i))
    done
}

@test "a flood of connections where 256 files may be open: others are served, and who floods is told" {
    allow_files 256
    start_system
    flood_sockets $alice
    until_true 30 status_is cut '>=1000' connections '>=90'
    status_is connections '<=120'
    serves_bob
    until_true 3 expect 0 as $bob pmapc map -- echo ::: yes
    says yes
    # Told by the daemon, or, where even for that there are too many, by pmapc, which was cut or not answered.
    local status=0
    timeout $LIMIT as $alice pmapc map square ::: 3 >out 2>err || status=$?
    ((status == 3 || status == 4)) || fail "status $status"
    complains "have you too many open|uid $alice has [0-9]+ connections, the most for one user|no answer from the daemon"
    # A second one, and a third: there is still room.
    flood_sockets $carol
    flood_sockets $dora
    until_true 30 status_is connections '>=150'
    serves_bob
    status_is connections '<=208'
}

@test "a flood of sessions where 256 files may be open is told how many there may be" {
    allow_files 256
    start_system
    background as $alice crowd "$PMAP_ENDPOINT" sleep 600 100 1 1 </dev/zero >crowd.out 2>crowd.err
    ended $PID 1
    grep -qE "uid $alice has 52 connections, the most for one user by the descriptors that pmapd may open \(52\)" crowd.err || fail "$(cat crowd.err)"
    expect 0 as $bob pmapc map square ::: 12
    says 144
}
