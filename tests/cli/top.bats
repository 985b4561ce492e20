# pmapc top: the live view, on a terminal that screen.py emulates and types at, and its plain text.
load helper

prepare() {
    export TERM=xterm-256color LC_ALL=C.UTF-8
    unset NO_COLOR
    ME=$(id -un)
}

# on SIZE STEP... [-- OPTION...]: pmapc top on a terminal of that size; what it shows goes to the file shown. See screen.py.
on() {
    local steps=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        steps+=("$1")
        shift
    done
    timeout -k 5 "$LIMIT" /usr/bin/python3 "$PMAP_SOURCE/tests/cli/screen.py" "${steps[@]}" -- pmapc top "${@:2}" </dev/null >shown 2>err ||
        fail "not as it should be: ${steps[*]}"
}

# busy FUNCTION ITEM COUNT: a job of so many equal items in the background, which has begun.
busy() {
    yes "$2" | head -n "$3" >"items.$1"
    background_sh "pmapc map $1 -a items.$1 >result.$1 2>/dev/null"
    JOBS+=("$PID")
    until_true 20 status_is jobs "${#JOBS[@]}" busy '>=1'
}

# Ends the jobs that are still there.
quiet() {
    local pid
    for pid in "${JOBS[@]}"; do
        gone "$pid" || kill -TERM "$pid"
        wait "$pid" || true
    done
}

@test "users, slots and jobs at 80 by 24" {
    start_daemon
    busy sleep 0.05 20000
    on 80x24 "see=^ $ME +█.*│ +2 +2 " "see=^ +1 $ME .*sleep +.* thread " "see=^ +1 $ME +sleep .* [0-9]+(:[0-9]+)+ +running$" \
        'see=[0-9.]+ items/s .*19.9k items queued +1 job' show type=q end=0
    quiet
    [ "$(wc -l <shown)" = 25 ] || fail "not 24 lines"
    ! grep -E '.{81}' shown || fail "too wide"
    grep -qE '^ Slots +█+ +2 of 2 in use' shown || fail "no slots: $(cat shown)"
    sed -n 24p shown | grep -qE '^ q quit +Tab pane +<> sort +/ filter +c cancel +\? help' || fail "no keys: $(cat shown)"
    [ "$(grep -cE '^ +(USER|SLOT|JOB▲) ' shown)" = 3 ] || fail "no headings: $(cat shown)"
}

@test "rows are sorted and filtered" {
    start_daemon
    busy sleep 0.2 500
    busy burn 50000 5000
    local two="\n +2 $ME +burn .*\n +1 $ME +sleep " one="\n +1 $ME +sleep .*\n +2 $ME +burn "
    on 80x24 "see=JOB▲.*$one" type=r "see=JOB▼.*$two" type=s "see=USER▲.*$one" type=s "see=FUNCTION▲.*$two" type=r "see=FUNCTION▼.*$one" \
        'type=<' 'see=USER▲' \
        type=/ 'see=^ Filter by' type=bXx 'see=none that the filter' 'type=\x7f\x7f' type=URN 'see=: bURN$' "gone= 1 $ME +sleep" 'type=\r' \
        'see=filter: bURN$|filter: bURN ' 'see=q quit' "see=^ $ME " show 'type=\x1b' "see=^ +1 $ME +sleep" 'gone=filter:' \
        type=u 'see=mine only' type=u 'gone=mine only' type=q end=0
    ! grep -qE ' sleep ' shown || fail "not filtered"
    on 80x24 "see=^ +2 $ME +burn" "gone= 1 $ME +sleep" type=q end=0 -- --filter burn
    quiet
}

@test "a job is cancelled when that is confirmed, and explained" {
    start_daemon
    busy sleep 0.2 1000
    on 80x24 "see=^ +1 $ME +sleep" type=e 'see=Explained' 'see=│ Job 1 of .*, sleep' 'see=items? waits? for a slot: all 2 are in use' 'type= ' 'gone=Explained' \
        type=c 'see=^ Cancel job 1\? y/n' type=n 'see=Not cancelled' "see=^ +1 $ME +sleep" 'type=\t' type=c 'see=Choose a job' \
        'type=\t\t' type=c 'see=Cancel job 1' 'type=y' 'see=^ Job 1 is cancelled' 'see=no open jobs' type=c 'see=no job to choose' \
        'type=?' 'see=─ Keys ─' 'type= ' 'gone=Keys' type=q end=0
    ended "${JOBS[0]}" 3
    until_true 10 idle
}

@test "it fits other sizes, and follows the terminal's" {
    start_daemon
    busy sleep 0.2 1000
    on 80x24 "see=^ +1 $ME +sleep" resize=60x15 "see=^ +1 $ME +sleep" 'see=^ q quit .*\Z' 'gone=\?\?' show \
        resize=132x50 "see=CLIENT +ETA STATE" 'see=^ q quit .*e explain\Z' 'gone=\?\?' show \
        resize=40x8 'see=^ +JOB▲' 'gone=SLOT|\?\?' 'type=\t' 'see=^ USER' 'gone=JOB▲' resize=10x2 'see=^too small' resize=1x1 resize=80x24 \
        "see=^ +1 $ME +sleep" 'see=SLOT' type=q end=0
    quiet
    [ "$(head -n 15 shown | grep -cE '^ +(USER|SLOT|JOB▲) ')" = 3 ] || fail "no headings: $(cat shown)"
    ! head -n 15 shown | grep -E '.{61}' || fail "too wide"
    ! grep -E '.{133}' shown || fail "too wide"
}

@test "it says that the daemon is gone, and goes on with the next one" {
    start_daemon
    busy sleep 0.2 1000
    kill -TERM "${JOBS[0]}" # or it tells its user that the daemon has gone
    wait "${JOBS[0]}" || true
    export DAEMON
    on 80x24 'see=^ pmapd .* up ' 'run=kill -TERM $DAEMON' 'see=^ NO DAEMON since .*: .*trying again' 'see=SLOT' type=c type=y 'run=touch lost' \
        'see=^ pmapd .* up ' 'gone=NO DAEMON' 'see=no open jobs' type=q end=0 &
    local driver=$! status=0
    until_true 20 test -e lost
    stop_daemon
    start_daemon
    wait $driver || status=$?
    [ $status = 0 ] || fail "status $status"
}

@test "it ends although the daemon does not answer" {
    start_daemon
    export DAEMON
    on 80x24 'see=^ pmapd .* up ' 'run=kill -STOP $DAEMON' 'see=^ NO DAEMON since .*: it does not answer; trying again' type=q end=0 ||
        { kill -CONT "$DAEMON"; return 1; }
    kill -CONT "$DAEMON"
}

@test "whatever ends it gives the terminal back" {
    start_daemon
    on 80x24 see=JOB type=q end=0
    on 80x24 see=JOB 'type=\x03' end=130
    on 80x24 see=JOB 'run=kill -TERM $PROGRAM' end=143
    on 80x24 see=JOB 'run=kill -HUP $PROGRAM' end=129
    on 80x24 see=JOB end=0 -- -n 2 -d 0.1
    # Ctrl-Z stops it, and it draws itself anew.
    on 80x24 see=JOB 'type=\x1a' 'run=until grep -q "^State:.T" /proc/$PROGRAM/status; do sleep 0.02; done' 'gone=JOB' \
        'run=kill -CONT $PROGRAM' see=JOB type=q end=0
}

@test "any terminal, in ASCII and without colours where it must be" {
    start_daemon
    busy sleep 0.2 1000
    LC_ALL=C on 80x24 "see=^ $ME +\[#+\|\]" 'see=JOB\^' show type=q end=0
    ! LC_ALL=C grep -P '[^\x00-\x7f]' shown || fail "not ASCII"
    NO_COLOR=1 TERM=vt100 on 80x24 "see=^ +1 $ME +sleep" type=q end=0
    TERM=linux on 80x24 "see=^ +1 $ME +sleep" type=q end=0
    quiet
    # What cannot place a cursor.
    TERM=dumb on 80x24 'see=pmapc: top: .*dumb' end=2
    TERM=no-such-terminal on 80x24 'see=pmapc: top: .*no-such-terminal' end=2
}

@test "plain text: --batch" {
    start_daemon
    expect 0 pmapc top --batch -n 1
    silent
    grep -qE '^pmapd [0-9.]+, up ' out
    grep -qE '^slots 0 of 2 in use' out
    grep -qE '^jobs: 0$' out
    busy sleep 0.2 1000
    expect 0 pmapc top -b -n 2 -d 0.1
    [ "$(grep -c '^jobs: 1$' out)" = 2 ] || fail "not two looks"
    grep -qE "^ *1  $ME +sleep .* (running|queued)" out || fail "no job"
    grep -qE '^SLOT ' out || fail "no slots"
    expect 0 pmapc top -b -n 1 -f nothing
    grep -qE '^jobs: 0$' out
    # A reader that goes away ends it.
    expect_sh 0 'pmapc top -b -d 0.1 | head -n 1'
    quiet
}

@test "what cannot be shown is told" {
    expect 3 pmapc top -b
    complains 'no daemon'
    start_daemon
    expect 2 pmapc top </dev/null
    complains 'stdin is not a terminal'
    expect 2 pmapc top -d 0.01
    complains '--delay: at least 0.1'
    expect 2 pmapc top -n 0
    complains '--count'
    expect 2 pmapc top --nothing
    complains 'nothing'
    expect 2 pmapc top x
    complains "unexpected argument 'x'"
    expect 2 pmapc top -f "$(printf '%0100d' 0)"
    complains '--filter: longer'
    on 80x24 'see=pmapc: no daemon at ipc:///nowhere' end=3 -- -e ipc:///nowhere
}
