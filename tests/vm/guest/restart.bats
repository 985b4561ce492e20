# Jobs go on over what happens to the service: two users' output is what it would have been.
load helper

COUNT=100000
RATE=3000

# start_jobs TIMES [OPTION...]: alice's, of a builtin, and bob's, of a filter, both from a pipe. Between two
# of the times that something is to happen to them, one part of their items comes.
start_jobs() {
    local pace="/opt/pmap-vm/pace $COUNT $RATE $(($1 + 1)) $T"
    shift
    start_as alice a "$pace | pmapc map -q $* cube"
    A=$PID
    start_as bob b "$pace | pmapc map -q $* --filter -- sed 's/^/bob /'"
    B=$PID
}

# storm TIMES COMMAND...: each time in the midst of a part, when both outputs have grown.
storm() {
    local i a=0 b=0 times=$1
    shift
    for ((i = 1; i <= times; i++)); do
        until_true 60 has_size a.out $((a + 1))
        until_true 60 has_size b.out $((b + 1))
        "$@"
        a=$(stat -c %s a.out)
        b=$(stat -c %s b.out)
        touch $i
    done
}

# Both have ended well, and all is there.
jobs_are_whole() {
    ended "$A" 0 a
    ended "$B" 0 b
    seq 0 $((COUNT - 1)) | python3 -c 'import sys
for line in sys.stdin: print(int(line) ** 3)' >a.want
    seq 0 $((COUNT - 1)) | sed 's/^/bob /' >b.want
    if [ "${1:-}" = unordered ]; then
        sort -n a.out -o a.out
        sort -k 2 -n b.out -o b.out
    fi
    same a.want a.out
    same b.want b.out
    [ ! -s a.err ] && [ ! -s b.err ] || figure "stderr: $(sort a.err b.err | uniq -c | head -n 3 | xargs)"
}

kill_broker() {
    kill -KILL "$(broker)"
    until_true 30 answers
}

kill_launcher() {
    kill -KILL "$(launcher)"
    until_true 30 answers
}

restart() {
    systemctl restart pmapd.service
}

@test "two users' jobs of 100,000 items go on over ten restarts" {
    start_jobs 10
    storm 10 restart
    jobs_are_whole
}

@test "two users' jobs of 100,000 items go on over ten kills of the broker" {
    start_jobs 10
    storm 10 kill_broker
    jobs_are_whole
}

@test "unordered jobs go on over five kills of the launcher" {
    start_jobs 5 -u
    storm 5 kill_launcher
    jobs_are_whole unordered
}

@test "a large output goes on in its midst" {
    local reader="head -c 9000000; touch $T/midst; while [ ! -e $T/go ]; do sleep 0.1; done; cat"
    start_as alice a "pmapc map -q -- sh -c 'seq {} 3000000' ::: 1 2 | ($reader)"
    local job=$PID
    until_true 60 test -e midst
    restart
    kill_broker
    touch go
    ended "$job" 0 a
    { seq 1 3000000; seq 2 3000000; } | same - a.out
}

@test "a client with short items sees no long pause" {
    expect 0 /opt/pmap-vm/gap 20
    figure "pauses over restarts and kills in turn, ms: $(head -n 1 out)"
    [ "$(tail -n 1 out)" -lt 5000 ] # a second, where the CPU is real and idle
}

version() {
    dpkg-query -W -f '${Version}' pmapd
}

upgrade() {
    DEBIAN_FRONTEND=noninteractive dpkg -i "$LATER"/*.deb >"$T/dpkg.out" 2>&1 </dev/null 3>&- ||
        { cat "$T/dpkg.out"; return 1; }
}

@test "two users' jobs go on over an upgrade of the packages" {
    local before pid
    before=$(version)
    pid=$(property MainPID)
    start_jobs 1
    storm 1 upgrade
    jobs_are_whole
    [ "$(version)" = "$before+later" ]
    [ "$(property MainPID)" != "$pid" ] || fail 'the old one still runs'
    [ "$(systemctl is-active pmapd.service)" = active ]
}
