# What every test in the guest stands in: two users as if just logged in, the packaged configuration, the service
# running, a folder that both may write to; and a teardown that ends what is theirs, and after a failure tells what the
# journal has. The guest is ours alone, so here processes may be ended by their user or name.
# shellcheck shell=bash
bats_require_minimum_version 1.5.0
load checks # of tests/, which lies beside these files in the guest

LIMIT=120
PAUSE=0.05
CONF=/etc/pmapd/pmapd.conf
LATER=/opt/pmap-vm/later # the packages' later versions

setup() {
    set +T # or bats looks at every line that a helper runs
    T=$(mktemp -d /tmp/vm.XXXXXX)
    chmod 1777 "$T"
    cd "$T" || return 1
    local user
    for user in alice bob; do
        id -u $user >/dev/null 2>&1 || useradd -m -s /bin/bash $user
    done
    SINCE=$(date '+%F %T')
    [ -e /root/pmapd.conf ] || cp $CONF /root/pmapd.conf
    systemctl reset-failed pmapd.service pmapd.socket
    systemctl start pmapd.socket pmapd.service
    until_true 20 answers
}

teardown() {
    if [ "${BATS_TEST_COMPLETED:-}" != 1 ]; then
        echo "the state:"
        systemctl show pmapd.service -p ActiveState,SubState,Result,NRestarts,MainPID
        systemd-cgls --no-pager -l -u pmapd.service 2>&1 | tail -n 30
        echo "the journal:"
        journalctl --no-pager -o short-precise --since "$SINCE" -u pmapd.service -u pmapd.socket | tail -n 40
        journalctl --no-pager -k --since "$SINCE" -p warning | tail -n 10
        tail -n 5 ./*.err 2>/dev/null
    fi
    kill_users
    [ -z "${CHANGED:-}" ] || restore
    systemctl start pmapd.socket pmapd.service
    cd /
    rm -rf "$T"
}

# Tells a figure that was measured.
figure() {
    echo "# figure: $*" >&3
}

complains() {
    grep -aqiE "$1" "$T/err" || fail "expected on stderr: $1"
}

### Users

# The program `as USER COMMAND...`: in the user's home and groups, with the environment of a login.
as() {
    local user=$1
    shift
    env -C "/home/$user" setpriv --reuid "$user" --regid "$user" --init-groups --reset-env "$@"
}

# expect_as USER STATUS COMMAND...
expect_as() {
    local user=$1 want=$2
    shift 2
    expect "$want" env -C "/home/$user" setpriv --reuid "$user" --regid "$user" --init-groups --reset-env "$@"
}

# start_as USER NAME SHELL-LINE: runs it in the background; its output goes to NAME.out and NAME.err, its pid is PID.
start_as() {
    as "$1" timeout -k 5 280 bash -c "$3" >"$T/$2.out" 2>"$T/$2.err" </dev/null 3>&- &
    PID=$!
}

# ended PID STATUS NAME: the process of start_as ends with that status.
ended() {
    local got=0
    wait "$1" || got=$?
    [ "$got" = "$2" ] || { cat "$T/$3.err"; fail "$3: status $got, expected $2"; }
}

kill_users() {
    local user
    for user in alice bob; do
        pkill -KILL -u $user || true
    done
    until_true 20 no_process_of alice
    until_true 20 no_process_of bob
}

no_process_of() {
    ! pgrep -u "$1" >/dev/null
}

# has_size FILE BYTES: at least so many.
has_size() {
    [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -ge "$2" ]
}

### The service

answers() {
    timeout 10 pmapc -e ipc:///run/pmapd/pmapd.sock ping -c 1 >/dev/null 2>&1
}

# configure LINE...: the configuration is this, from now on.
configure() {
    CHANGED=1
    printf '%s\n' "$@" >$CONF
}

restore() {
    cp /root/pmapd.conf $CONF
    systemctl restart pmapd.service
}

# property NAME: one of the service's, without its name.
property() {
    systemctl show pmapd.service --value -p "$1"
}

broker() {
    pgrep -o -x pmapd
}

launcher() {
    pgrep -o -x pmap-launcher
}

# logged REGEX: the journal has it, of this test.
logged() {
    journalctl --no-pager -o cat --since "$SINCE" -u pmapd.service | grep -qE "$1"
}

# The folder of the service's control group.
group() {
    echo "/sys/fs/cgroup$(property ControlGroup)"
}

# group_of USER: the folder of that owner's group.
group_of() {
    find "$(group)" -type d -name "u$(id -u "$1")" | head -n 1
}

# of_status USER PYTHON: an expression about `d`, that user's `pmapc status`.
of_status() {
    as "$1" timeout 20 pmapc status --json | python3 -c "import json, sys; d = json.load(sys.stdin); print($2)"
}
