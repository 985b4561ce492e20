# Two users on the system's daemon, for the tests of both: to be loaded behind helper. Only root can be two users, and makes
# none: uids that nobody has do as well.

# Other ones in each test: who looks for what a user has left may not find what is another test's.
alice=$((100000 + $$ % 100000 * 8))
bob=$((alice + 1))
carol=$((alice + 2))
dora=$((alice + 3))

# The command `as UID COMMAND...`: with the uid's own group, and one more that both have.
make_as() {
    cat >as <<'AS'
#!/bin/bash
uid=$1
shift
HOME=$T/$uid exec setpriv --reuid "$uid" --regid "$uid" --groups "$uid,54400" --inh-caps=-all "$@"
AS
    chmod 755 as
    PATH=$T:$PATH
}

prepare() {
    prepare_users
}

prepare_users() {
    [ "$(id -u)" = 0 ] || skip "only root can be two users"
    chmod 711 "$T"
    make_as
    as $alice test -x "$PMAP_BIN/pmapd" || skip "others cannot run $PMAP_BIN"
    mkdir -m 755 sys
    local uid
    for uid in $alice $bob; do
        mkdir -m 700 $uid
        chown $uid:$uid $uid
    done
    chmod 1777 reports
    printf '[daemon]\nuser = daemon\nkill_grace = 200ms\nstop_timeout = 1s\n' >pmapd.conf
}

# A mount namespace in which files can be put over the machine's: for commands behind "${INSIDE[@]}", which begin in /.
open_namespace() {
    unshare --mount --propagation private true 2>err || skip "no mount namespace: $(cat err)"
    setpriv --pdeathsig KILL unshare --mount --propagation private sleep infinity </dev/null >/dev/null 2>&1 3>&- &
    HOLDER=$!
    INSIDE=(nsenter "--mount=/proc/$HOLDER/ns/mnt" --)
    until_true 10 eval '[ "$(readlink /proc/$HOLDER/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]'
}

# Behind these words start_system starts its daemon.
WITHIN=()

# start_system [LINE...]: root's daemon with 2 slots, and these lines in [access].
start_system() {
    [ $# = 0 ] || printf '%s\n' '[access]' "$@" >>pmapd.conf
    export PMAP_ENDPOINT=ipc://$T/sys/pmapd.sock
    setpriv --pdeathsig KILL "${WITHIN[@]}" pmapd -c "$T/pmapd.conf" -e "$PMAP_ENDPOINT" -n 2 </dev/null >>"$T/pmapd.log" 2>&1 3>&- &
    DAEMON=$!
    DAEMONS+=("$DAEMON")
    until_true 20 answers
}

# The pid of the daemon's pmap-launcher.
launcher() {
    local pid
    read -r pid _ <"/proc/$DAEMON/task/$DAEMON/children"
    echo "$pid"
}

# pids_of UID: processes of that user's.
pids_of() {
    local folder
    for folder in /proc/[0-9]*; do
        [ "$(stat -c %u "$folder" 2>/dev/null)" != "$1" ] || echo "${folder#/proc/}"
    done
}

nobody_left() {
    [ -z "$(pids_of $alice)$(pids_of $bob)" ]
}
