# A machine that has come up again by itself; nothing has touched the service. The package goes at the end.
load helper

# What helper.bash does before each test would start it.
setup() {
    set +T
    T=$(mktemp -d /tmp/vm.XXXXXX)
    chmod 1777 "$T"
    cd "$T" || return 1
    SINCE=$(uptime -s)
}

teardown() {
    if [ "${BATS_TEST_COMPLETED:-}" != 1 ]; then
        systemctl status --no-pager -l pmapd.service pmapd.socket
        journalctl --no-pager -b -u pmapd.service -u pmapd.socket | tail -n 40
        journalctl --no-pager -b -p warning | tail -n 20
    fi
    cd /
    rm -rf "$T"
}

@test "after a reboot the service is there" {
    until_true 60 test -S /run/pmapd/pmapd.sock
    expect_as alice 0 pmapc --no-autostart map -- echo got ::: 1
    says 'got 1'
    [ "$(systemctl is-active pmapd.service)" = active ]
    [ "$(property NRestarts)" = 0 ]
    figure "after boot: $(systemd-analyze time | head -n 1)"
}

@test "the journal of this boot has no error of the service's" {
    journalctl -q -b -u pmapd.service -p err >err
    [ ! -s err ] || fail 'errors'
}

@test "the package goes without a trace" {
    local names
    names=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' '*pmap*' | awk '$2 == "installed" { print $1 }')
    # shellcheck disable=SC2086 # words
    expect 0 dpkg -P $names
    [ "$(systemctl is-active pmapd.service)" != active ]
    [ ! -e /run/pmapd ]
    [ ! -e /etc/pmapd ]
    [ -z "$(pgrep -x 'pmapd|pmap-launcher')" ]
}
