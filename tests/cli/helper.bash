# What every end-to-end test stands in: a folder, a home, a socket and a time limit of its own, daemons that die with
# the test, and a teardown that fails when something survived, was leaked or was reported by a sanitizer.
#
# PMAP_BIN: the folder of pmapd and pmapc. PMAP_TEST_SCALE: 1; more in builds that are that many times slower, where
# counts are divided by it.
# shellcheck shell=bash
bats_require_minimum_version 1.5.0
load ../checks

: "${PMAP_BIN:?the folder of the programs under test}"
SCALE=${PMAP_TEST_SCALE:-1}
LIMIT=60
PAUSE=0.02

setup() {
    # Or bats looks at every line that a helper runs, which takes half of a test's time.
    set +T
    PATH=$PMAP_BIN:/usr/bin:$PATH # a python3 of the user's own may take its time to start
    T=$(mktemp -d "${TMPDIR:-/tmp}/pmap-cli.XXXXXX")
    cd "$T"
    DAEMON= # pid of the daemon of start_daemon
    DAEMONS=()
    mkdir -m 700 run
    mkdir -m 1777 reports # the sanitizers', of programs of any user
    export T HOME=$T XDG_RUNTIME_DIR=$T/run PMAP_IDLE_EXIT=60 LC_ALL=C
    unset PMAP_ENDPOINT
    # Each process leaves its sanitizers' reports in a file; their exit status is none that a program of ours has.
    export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$T/reports/sanitizer:exitcode=99"
    export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}log_path=$T/reports/sanitizer:exitcode=99:print_stacktrace=1"
    # Suppressions where a program of any user may read them; the later of two options counts.
    local supp
    supp=$(sed -n 's/.*suppressions=\([^:]*\).*/\1/p' <<<"${TSAN_OPTIONS:-}")
    if [ -n "$supp" ]; then
        install -m 644 "$supp" tsan.supp
        TSAN_OPTIONS+=:suppressions=$T/tsan.supp
    fi
    export TSAN_OPTIONS="${TSAN_OPTIONS:+$TSAN_OPTIONS:}log_path=$T/reports/sanitizer:exitcode=99"
    if declare -F prepare >/dev/null; then
        prepare
    fi
}

teardown() {
    local bad=0 pid
    exec 7>&- 8>&- 9>&-
    for pid in "${DAEMONS[@]}"; do
        stop_daemon "$pid" || bad=1
    done
    for pid in $(processes); do
        # One that was started by pmapc is nobody's to wait for; every other one was forgotten by its test.
        if [[ $(tr '\0' ' ' <"/proc/$pid/cmdline") == *--idle-exit* ]]; then
            kill -TERM "$pid" || continue
            until_true 15 gone "$pid" && continue
        fi
        # A client whose daemon has just been stopped is on its way out, or waits for it to come back.
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) == pmapd ]] || kill -TERM "$pid" 2>/dev/null || true
        ! until_true 5 gone "$pid" || continue
        echo "left behind: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
        kill -KILL "$pid" || true
        bad=1
    done
    ! declare -F tidy >/dev/null || tidy || bad=1
    local log
    for log in "$T"/reports/*; do
        # What is killed while its leaks are looked for is none of them.
        grep -qv 'Unable to get registers from thread' "$log" 2>/dev/null || continue
        echo "$log:"
        head -n 60 "$log"
        bad=1
    done
    if grep -aE 'Sanitizer|runtime error|Assertion' "$T"/*.log "$T"/run*/pmapd/*.log 2>/dev/null; then
        bad=1
    fi
    if [ "${BATS_TEST_COMPLETED:-}" != 1 ]; then
        for log in "$T"/*.log "$T"/run*/pmapd/*.log; do
            [ ! -s "$log" ] || { echo "$log:"; tail -n 20 "$log"; }
        done
    fi
    cd /
    rm -rf "$T"
    return $bad
}

# expect for a line of shell.
expect_sh() {
    expect "$1" bash -c "$2"
}

silent() {
    [ ! -s "$T/err" ] || fail "expected nothing on stderr"
}

# complains REGEX: each line of stderr is pmapc's, and one matches, whatever its case.
complains() {
    ! grep -avE '^pmapc: ' "$T/err" || { fail "not pmapc's own words"; return 1; }
    grep -aqiE "^pmapc: .*($1)" "$T/err" || fail "expected on stderr: $1"
}

# Do the programs run under ThreadSanitizer, which takes seconds for a megabyte that goes through shared memory?
under_tsan() {
    grep -q tsan < <(ldd "$PMAP_BIN/pmapc")
}

### Processes

# ours FOLDER: is the process of that folder of /proc of this test? Its home tells.
ours() {
    local all
    { mapfile -d '' -t all <"$1/environ"; } 2>/dev/null && [[ " ${all[*]} " == *" HOME=$T "* ]]
}

# The pids of this test's pmapd, pmapc and pmapc-top; with an argument: those which have it in their command line.
processes() {
    local folder name argument all
    for folder in /proc/[0-9]*; do
        { read -r name <"$folder/comm"; } 2>/dev/null || continue
        [[ $name == pmapd || $name == pmapc || $name == pmapc-top ]] || continue
        ours "$folder" || continue
        { mapfile -d '' -t all <"$folder/cmdline"; } 2>/dev/null || continue
        argument=" ${all[*]} "
        [[ $argument != *"${1:-}"* ]] || echo "${folder#/proc/}"
    done
}

# Has that process ended? Also where nobody has waited for it yet.
gone() {
    local state
    { read -r state <"/proc/$1/stat"; } 2>/dev/null || return 0
    [[ ${state##*) } == Z* ]]
}

# ended PID STATUS: a child of ours ends within the time limit with that status.
ended() {
    local got=0
    until_true $LIMIT gone "$1" || { kill -KILL "$1"; return 1; }
    wait "$1" || got=$?
    [ "$got" = "$2" ] || fail "process $1: status $got, expected $2"
}

# background COMMAND...: starts it with the default signals, which a shell's background jobs do not have; its pid is
# PID. Redirect its output, or it holds the test's.
background() {
    # "<&0": a shell gives its background jobs another stdin unless it is told so.
    env --default-signal=INT,QUIT,PIPE setpriv --pdeathsig KILL "$@" <&0 3>&- 7>&- 8>&- 9>&- &
    PID=$!
}

# The same for a command with redirections that may have to wait, which those of a call of `background` must not.
background_sh() {
    background bash -c "exec $1"
}

### Daemons

# start_daemon [OPTION...]: a private one at $T/d.sock, which PMAP_ENDPOINT names, with 2 slots if no option says other.
start_daemon() {
    local slots=(-n 2)
    [[ " $* " != *" -n "* ]] || slots=()
    export PMAP_ENDPOINT=ipc://$T/d.sock
    setpriv --pdeathsig KILL pmapd --private -e "$PMAP_ENDPOINT" "${slots[@]}" "$@" \
        </dev/null >>"$T/pmapd.log" 2>&1 3>&- 7>&- 8>&- 9>&- &
    DAEMON=$!
    DAEMONS+=("$DAEMON")
    until_true 20 answers
}

answers() {
    timeout 10 pmapc ping -c 1 >/dev/null 2>&1
}

# stop_daemon [PID]: by SIGTERM, which it obeys within its limit, and ends with 0. One that has been waited for is
# no matter.
stop_daemon() {
    local pid=${1:-$DAEMON} status=0
    gone "$pid" || kill -TERM "$pid"
    until_true 15 gone "$pid" || { kill -KILL "$pid"; return 1; }
    wait "$pid" 2>/dev/null || status=$?
    forget_daemon "$pid"
    [ "$status" = 0 ] || [ "$status" = 127 ] || fail "the daemon ended with status $status"
}

# The test itself has seen to the end of this daemon.
forget_daemon() {
    local pid rest=()
    for pid in "${DAEMONS[@]}"; do
        [ "$pid" = "$1" ] || rest+=("$pid")
    done
    DAEMONS=("${rest[@]}")
}

# status_of KEY: a number of `pmapc status`. Own keys come before those of owners, so the first is the pool's.
status_of() {
    local json
    json=$(timeout 10 pmapc status --json 2>/dev/null)
    [[ $json =~ \"$1\":\ *([0-9.]+) ]] || { echo "no $1 in: $json" >&2; return 1; }
    echo "${BASH_REMATCH[1]}"
}

# status_is KEY VALUE [KEY VALUE]...: all of one and the same answer. VALUE: a number, or one behind <, <= or >=.
status_is() {
    local json value
    json=$(timeout 10 pmapc status --json 2>/dev/null) || return 1
    while [ $# -gt 0 ]; do
        [[ $json =~ \"$1\":\ *([0-9]+) ]] || return 1
        value=${BASH_REMATCH[1]}
        case $2 in
            '>='*) ((value >= ${2#>=})) || return 1 ;;
            '<='*) ((value <= ${2#<=})) || return 1 ;;
            *) ((value == $2)) || return 1 ;;
        esac
        shift 2
    done
}

# Nothing is left of any job.
idle() {
    status_is jobs 0 busy 0 orphans 0 queued_items 0 held_bytes 0
}

# Calls python with a program of one line over stdin, in which `d` is the JSON that stdin holds.
json_holds() {
    /usr/bin/python3 -c "
import collections, json, sys
d = json.load(sys.stdin, object_pairs_hook=collections.OrderedDict)
assert $1, d"
}
