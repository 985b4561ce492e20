# SIGHUP: the system's daemon is given another configuration, and no job is the worse for it.
load helper
load users

# configure LINE...: the configuration is these lines behind the usual ones.
configure() {
    printf '[daemon]\nuser = daemon\nkill_grace = 200ms\n' >pmapd.conf
    [ $# = 0 ] || printf '%s\n' "$@" >>pmapd.conf
}

# Without -n, which would be stronger than the file.
start_configured() {
    export PMAP_ENDPOINT=ipc://$T/sys/pmapd.sock
    setpriv --pdeathsig KILL pmapd -c "$T/pmapd.conf" -e "$PMAP_ENDPOINT" </dev/null >>"$T/pmapd.log" 2>&1 3>&- &
    DAEMON=$!
    DAEMONS+=("$DAEMON")
    until_true 20 answers
}

# logged COUNT REGEX: so many lines of the log match, or more.
logged() {
    (($(grep -cE "$2" pmapd.log) >= $1))
}

# reload REGEX: and what is said of it, which is one line more than before that fits.
reload() {
    local before
    before=$(grep -cE "$1" pmapd.log || true)
    kill -HUP "$DAEMON"
    until_true 20 logged $((before + 1)) "$1"
}

# weights ALICE BOB: as `pmapc status` shows them.
weights() {
    pmapc status --json | json_holds '{o["uid"]: o["weight"] for o in d["owners"] if o["uid"] != 0} == {'$alice': '$1', '$bob': '$2'}' 2>err.json
}

@test "weights, limits and slots, with jobs of two users running throughout" {
    configure '[pool]' 'slots = 1' "[user $alice]" 'weight = 2'
    start_configured
    local part=$((5000 / SCALE)) i alices bobs
    mkfifo in.a in.b
    exec 7<>in.a 8<>in.b
    background as $alice pmapc map --chunksize 5 square <in.a >out.a 2>err.a
    alices=$PID
    background as $bob pmapc map square <in.b >out.b 2>err.b
    bobs=$PID
    # One that holds what it has for the whole time, in a process.
    background as $alice pmapc map -- sh -c 'echo $0; until [ -e '"$T"'/done ]; do sleep 0.02; done' ::: a >out.long 2>err
    local long=$PID
    until_true 20 status_is slots 1 jobs 3
    until_true 20 weights 2 1
    for i in 3 1 3 1; do
        seq $part >&7
        seq $part >&8
        configure '[pool]' "slots = $i" '[defaults]' 'weight = 4' "[user $bob]" "weight = $((i + 10))" 'jobs = 7'
        reload "was read again; slots: $i"
        status_is slots $i jobs 3
        weights 4 $((i + 10))
        as $bob pmapc status --json | json_holds 'd["limits"]["jobs"] == 7'
        as $alice pmapc status --json | json_holds 'd["limits"]["jobs"] == 1000'
    done
    exec 7>&- 8>&-
    touch done
    ended $long 0
    ended $alices 0
    ended $bobs 0
    [ "$(cat out.long)" = a ]
    for i in 1 2 3 4; do
        seq $part | awk '{ print $1 ^ 2 }'
    done >expected
    same expected out.a
    same expected out.b
    cat err.a err.b >>err
    silent
    until_true 20 idle
    # Nobody has begun anew: what each had is still counted.
    pmapc status --json | json_holds 'sorted(o["items_done"] for o in d["owners"] if o["uid"] != 0) == sorted([4 * '$part' + 1, 4 * '$part'])'
}

@test "more slots are used at once, and with fewer nothing is killed" {
    configure '[pool]' 'slots = 1' 'guarantee = no'
    start_configured
    background as $alice pmapc map -- sh -c 'touch '"$T/reports/began"'.$0; until [ -e '"$T/go"'.$0 ]; do sleep 0.02; done; echo $0' ::: 1 2 3 4 5 >out 2>err
    local job=$PID
    until_true 20 [ -e reports/began.1 ]
    status_is busy 1
    configure '[pool]' 'slots = 3' 'guarantee = no'
    reload 'slots: 3, before: 1'
    until_true 20 [ -e reports/began.2 -a -e reports/began.3 ]
    status_is slots 3 busy 3
    configure '[pool]' 'slots = 1' 'guarantee = no'
    reload 'slots: 1, before: 3'
    status_is slots 1 busy 3 jobs 1
    touch go.1
    until_true 20 status_is busy 2
    always 10 [ ! -e reports/began.4 ]
    touch go.2 go.3
    until_true 20 [ -e reports/began.4 ]
    status_is busy 1
    [ ! -e reports/began.5 ]
    touch go.4 go.5
    ended $job 0
    says $'1\n2\n3\n4\n5'
    silent
}

@test "builtins, too, get threads for more slots" {
    configure '[pool]' 'slots = 1' 'guarantee = no'
    start_configured
    background pmapc map sleep ::: 1000 1000 1000 >out 2>err
    until_true 20 status_is busy 1
    configure '[pool]' 'slots = 3' 'guarantee = no'
    reload 'slots: 3'
    until_true 20 status_is busy 3
    kill -INT $PID
    ended $PID 130
    until_true 20 idle
}

@test "a wrong file is told with its line, and changes nothing with either process" {
    configure '[pool]' 'slots = 2' '[access]' "deny = $bob"
    start_configured
    configure '[pool]' 'slots = 3' '[access]' 'denny = 1'
    reload "pmapd.conf:7: unknown key 'denny' in \[access\]; did you mean 'deny'\? \(the old"
    [ "$(grep -c denny pmapd.log)" = 1 ] || fail "told more than once"
    status_is slots 2
    expect 4 as $bob pmapc map echo ::: a
    expect 0 as $alice pmapc map -- echo ::: a
    configure '[user nobody-of-this-name]' 'weight = 2'
    reload "pmapd.conf:4: .*no user 'nobody-of-this-name'"
    rm pmapd.conf
    reload "pmapd.conf: No such file"
    status_is slots 2
    # Right again, it counts.
    configure '[pool]' 'slots = 3'
    reload 'slots: 3'
    expect 0 as $bob pmapc map -- echo ::: a
    says a
}

@test "who is kept out keeps what he has, and who is let in need not connect anew" {
    configure '[access]' 'min_uid = 2000000'
    start_configured
    mkfifo in
    exec 8<>in
    background as $bob pmapc map echo <in >out.b 2>err.b
    local job=$PID
    echo one >&8
    until_true 20 [ -s out.b ]
    expect 4 as $alice pmapc map -- echo ::: a
    complains 'min_uid'
    configure '[access]' "deny = $bob"
    reload 'was read again'
    expect 0 as $alice pmapc map -- echo ::: a
    says a
    expect 4 as $bob pmapc map echo ::: a
    echo two >&8
    until_true 20 grep -q two out.b
    kill -INT $job
    ended $job 130
}

@test "what holds only after a restart is told" {
    configure
    start_configured
    configure '[pool]' 'slots = 2'
    sed -i 's/^user.*/user = nobody/' pmapd.conf
    reload 'was read again; slots: 2'
    grep -q "another 'user' in \[daemon\] holds only after a restart" pmapd.log
    ! grep -q "'endpoint'" pmapd.log || fail "-e was given"
    # Many at once are answered, the last of them with what is there then.
    local i
    for i in $(seq 50); do
        kill -HUP "$DAEMON"
    done
    configure '[pool]' 'slots = 5'
    reload 'was read again; slots: 5'
    status_is slots 5
}
