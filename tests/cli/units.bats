# The systemd units, as they are installed: systemd's own tools look at them. Nothing of it is started.
load helper

# Installs into $T/tree, which the units then name as where the programs are.
prepare() {
    [ -n "$(command -v systemd-analyze)" ] || skip "there is no systemd-analyze"
    cmake --install "$PMAP_BUILD" --prefix "$T/tree" >install.out
    units=$T/tree/lib/systemd
    export XDG_RUNTIME_DIR=$T # for --user, which wants to know of one
}

@test "the units are what systemd takes without a word" {
    # Manual pages it would look for where the machine has its own.
    expect 0 systemd-analyze verify --man=no "$units/system/pmapd.socket" "$units/system/pmapd.service"
    [ ! -s err ] || fail "it has something to say"
    expect 0 systemd-analyze --user verify --man=no "$units/user/pmapd.socket" "$units/user/pmapd.service"
    [ ! -s err ] || fail "it has something to say"
}

@test "the units start the program that was installed with them" {
    local program
    for program in $(sed -n 's/^Exec[A-Za-z]*=\([^ ]*pmapd\).*/\1/p' "$units"/*/pmapd.service); do
        [ "$program" = "$T/tree/sbin/pmapd" ] || fail "$program is named"
        [ -x "$program" ]
    done
    [ "$(grep -c '^ExecStart=' "$units"/*/pmapd.service | grep -c ':1$')" = 2 ]
    # A package is put together elsewhere than it will be.
    DESTDIR=$T/package cmake --install "$PMAP_BUILD" --prefix /usr >>install.out
    grep -qx 'ExecStart=/usr/sbin/pmapd' package/usr/lib/systemd/system/pmapd.service
}

@test "who stops the daemon waits longer than it takes" {
    local stop
    stop=$(sed -n 's/^TimeoutStopSec=\([0-9]*\)s$/\1/p' "$units/system/pmapd.service")
    # stop_timeout and kill_grace by default, the farewell, the launcher's last patience.
    ((stop > 10 + 2 + 1 + 10))
}

@test "the README explains each line that systemd-analyze security leaves open" {
    systemd-analyze security --offline=true --json=short "$units/system/pmapd.service" >security.json
    /usr/bin/python3 - "$PMAP_SOURCE/systemd/README.md" <<'PY'
import json, re, sys
readme = open(sys.argv[1]).read()
lines = [line["name"] for line in json.load(open("security.json")) if line["set"] is False]
assert len(lines) > 50, lines
settings = {name for line in lines for name in re.findall(r"(\w+)=", line)}
missing = sorted(name for name in settings if f"`{name}=`" not in readme)
assert not missing, missing
PY
}

@test "the user and the folders are what systemd-sysusers and systemd-tmpfiles take" {
    [ -n "$(command -v systemd-sysusers)" ] && [ -n "$(command -v systemd-tmpfiles)" ] || skip "they are not there"
    mkdir root
    expect 0 systemd-sysusers --root="$T/root" --dry-run "$T/tree/lib/sysusers.d/pmapd.conf"
    grep -q "Creating user 'pmapd'" err
    [ "$(id -u)" = 0 ] || skip "only root can make root's folders"
    expect 0 systemd-tmpfiles --root="$T/root" --create "$T/tree/lib/tmpfiles.d/pmapd.conf"
    [ ! -s err ] || fail "it has something to say"
    [ "$(stat -c '%a %u' root/run/pmapd)" = '755 0' ]
}

@test "the units leave alone what somebody has to put right first, by the statuses of the manual" {
    local unit statuses
    statuses=$(sed -n 's/^After \([0-9]*\), \([0-9]*\) and \([0-9]*\) somebody .*/\1 \2 \3/p' "$PMAP_SOURCE/daemon/man/pmapd.8")
    for unit in "$units"/*/pmapd.service; do
        grep -qx "RestartPreventExitStatus=$statuses" "$unit" || fail "$unit has others than $statuses"
    done
    echo 'user = nobody.of.this.name' | sed '1i[daemon]' >no-user.conf
    [ "$(id -u)" != 0 ] || expect 78 pmapd -c no-user.conf -e "ipc://$T/sys/d.sock"
    expect 2 pmapd --nonsense
}
