# What tests say of a command, here and in the guest: how it ends, what it prints, what is so in the end. Its output lies
# in the files out and err of the folder $T; LIMIT: seconds for any one command; PAUSE: seconds between two looks.
# shellcheck shell=bash

# Says why, with what the last command has said, and fails.
fail() {
    echo "$*"
    [ ! -s "$T/out" ] || { echo "its stdout, $(stat -c %s "$T/out") bytes:"; head -c 1000 "$T/out"; }
    [ ! -s "$T/err" ] || { echo "its stderr:"; head -c 2000 "$T/err"; }
    return 1
} >&2

# until_true SECONDS COMMAND...: polls until the command succeeds.
until_true() {
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        ((SECONDS < end)) || { fail "not within its time: $*"; return 1; }
        sleep "$PAUSE"
    done
}

# always COUNT COMMAND...: polls, and the command succeeds each time.
always() {
    local i count=$1
    shift
    for ((i = 0; i < count; i++)); do
        "$@" || { fail "not always: $*"; return 1; }
        sleep "$PAUSE"
    done
}

# expect STATUS COMMAND...: runs a program under the time limit. What it leaves running does not hold bats's descriptor 3.
expect() {
    local want=$1 got=0
    shift
    timeout -k 5 "$LIMIT" "$@" >"$T/out" 2>"$T/err" 3>&- || got=$?
    [ "$got" = "$want" ] || fail "status $got, expected $want: $*"
}

# same FILE [FILE]: the files, byte for byte; one alone is compared with stdin.
same() {
    cmp "$1" "${2:--}" || fail "differs: $1 ${2:-}"
}

# says TEXT: that is all that is on stdout.
says() {
    [ "$(cat "$T/out")" = "$1" ] || fail "expected on stdout: $1"
}
