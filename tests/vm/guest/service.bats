# The service as systemd sees it: it starts, at a client's call too, is watched, reloads, stops, and sleeps when idle.
load helper

DROP=/run/systemd/system/pmapd.service.d

# watched SECONDS: with this watchdog, so that no test waits for half a minute.
watched() {
    mkdir -p $DROP
    printf '[Service]\nWatchdogSec=%s\n' "$1" >$DROP/vm.conf
    CHANGED=1
    systemctl daemon-reload
    systemctl restart pmapd.service
}

unwatched() {
    rm -r $DROP
    systemctl daemon-reload
}

# restarted PID COUNT: another process than that runs, and systemd has restarted it more often than that.
restarted() {
    [ "$(property MainPID)" != "$1" ] && [ "$(property NRestarts)" -gt "$2" ] && answers
}

# ready_ms: from the start of its process to its word that it is ready.
ready_ms() {
    local started active
    started=$(property ExecMainStartTimestampMonotonic)
    active=$(property ActiveEnterTimestampMonotonic)
    echo $(((active - started) / 1000))
}

@test "the installed service is enabled and runs" {
    [ "$(systemctl is-enabled pmapd.service)" = enabled ] || [ "$(systemctl is-enabled pmapd.socket)" = enabled ]
    [ "$(systemctl is-active pmapd.service)" = active ]
    [ "$(property Type)" = notify ]
    expect_as alice 0 pmapc map square ::: 12
    says 144
}

@test "systemd finds no fault with the units" {
    expect 0 systemd-analyze --man=no verify pmapd.service pmapd.socket
    [ ! -s err ]
    expect 0 systemd-analyze security --no-pager pmapd.service
    figure "systemd-analyze security: $(tail -n 1 out)"
}

@test "it is ready soon after its start" {
    local i all=()
    for i in 1 2 3 4 5; do
        systemctl restart pmapd.service
        all+=("$(ready_ms)")
    done
    figure "ready after ${all[*]} ms"
    for i in "${all[@]}"; do
        [ "$i" -lt 2000 ]
    done
}

@test "whoever connects starts it" {
    systemctl stop pmapd.service
    [ "$(systemctl is-active pmapd.service)" != active ]
    [ "$(systemctl is-active pmapd.socket)" = active ]
    expect_as alice 0 pmapc map square ::: 12
    says 144
    [ "$(systemctl is-active pmapd.service)" = active ]
    [ -z "$(pgrep -u alice -x pmapd)" ]
}

@test "a broker that hangs is restarted by the watchdog" {
    [ "$(property WatchdogUSec)" != 0 ]
    [ "$(property WatchdogUSec)" != infinity ]
    watched 4
    local pid before
    pid=$(property MainPID)
    before=$(property NRestarts)
    kill -STOP "$(broker)"
    until_true 30 restarted "$pid" "$before"
    unwatched
    expect_as alice 0 pmapc map square ::: 12
    says 144
}

@test "a launcher that hangs is restarted with it by the watchdog" {
    watched 4
    local pid before
    pid=$(property MainPID)
    before=$(property NRestarts)
    kill -STOP "$(launcher)"
    until_true 40 restarted "$pid" "$before"
    unwatched
    expect_as alice 0 pmapc map -- echo got ::: 1
    says 'got 1'
}

# failed STATUS: it has ended with that, and nobody starts it.
failed() {
    [ "$(property ActiveState) $(property ExecMainStatus)" = "failed $1" ]
}

# vain_starts COUNT: so often it has found the fault in the file.
vain_starts() {
    [ "$(journalctl --no-pager -o cat --since "$SINCE" -u pmapd.service | grep -c 'pmapd.conf:2')" = "$1" ]
}

# For longer than RestartSec=, a tenth of a second.
left_alone() {
    until_true 20 failed 78
    local starts
    starts=$(journalctl --no-pager -o cat --since "$SINCE" -u pmapd.service | grep -c 'pmapd.conf:2')
    figure "vain starts: $starts"
    always 60 eval "failed 78 && vain_starts $starts"
}

@test "a service that cannot start is left alone, also when clients have tried it" {
    configure '[pool]' 'slots = many'
    systemctl restart pmapd.service || true
    left_alone
    timeout 10 pmapc -e ipc:///run/pmapd/pmapd.sock ping -c 1 >out 2>err || true
    left_alone
    [ "$(systemctl is-active pmapd.socket)" = active ]
    cp /root/pmapd.conf $CONF
    until_true 20 answers
    # Another one at its socket, that somebody has started by hand.
    systemctl stop pmapd.service pmapd.socket
    setpriv --pdeathsig KILL pmapd >hand.log 2>&1 3>&- &
    local hand=$!
    until_true 20 answers
    systemctl start pmapd.service || true
    until_true 20 failed 69
    kill -TERM $hand
    wait $hand
    systemctl restart pmapd.socket pmapd.service
    until_true 20 answers
}

@test "a reload applies weights and slots, and running jobs go on" {
    local pid
    pid=$(property MainPID)
    start_as alice a "seq 200 | pmapc map -- sh -c 'sleep 0.1; echo {}'"
    local job=$PID
    until_true 20 has_size a.out 10
    configure '[pool]' 'slots = 3' '[user alice]' 'weight = 7'
    systemctl reload pmapd.service
    until_true 10 reloaded 7 3
    [ "$(property MainPID)" = "$pid" ]
    until_true 10 eval '[ "$(cat "$(group_of alice)/cpu.weight")" = 700 ]'
    ended "$job" 0 a
    seq 200 | same - a.out
}

# reloaded WEIGHT SLOTS: alice's weight, and the pool's slots.
reloaded() {
    [ "$(of_status alice "d['limits']['weight'], d['slots']")" = "$1 $2" ]
}

@test "a reload refuses a bad file with its line, and the old one stays in force" {
    configure '[user alice]' 'weight = 7'
    systemctl reload pmapd.service
    until_true 10 reloaded 7 "$(nproc)"
    start_as alice a "seq 100 | pmapc map -- sh -c 'sleep 0.05; echo {}'"
    local job=$PID
    until_true 20 has_size a.out 10
    configure '[user alice]' 'weight = 8' '[pool]' 'slots = many'
    systemctl reload pmapd.service || true
    until_true 10 logged 'line 4|pmapd.conf:4'
    reloaded 7 "$(nproc)"
    [ "$(systemctl is-active pmapd.service)" = active ]
    ended "$job" 0 a
    seq 100 | same - a.out
}

@test "a stop leaves no process, whatever users have started" {
    start_as alice a "pmapc map -- sh -c 'setsid sleep 1111 & nohup setsid sleep 1112 & sleep 1113' ::: 1"
    start_as bob b "(echo 1; sleep 1115) | pmapc map --filter -- sh -c 'setsid sleep 1114 & exec cat'"
    local number
    for number in 1111 1112 1113 1114; do
        until_true 20 pgrep -fx "sleep $number"
    done
    until_true 20 has_size b.out 2
    systemctl stop pmapd.socket pmapd.service
    # Of what users have, only what they started themselves, to whom it may come back.
    local left
    left=$(pgrep -a -x 'pmapd|pmap-.*'; pgrep -a -u bob -x cat; pgrep -fax 'sleep 111[1-4]') || true
    [ -z "$left" ] || fail "left: $left"
    [ ! -e /sys/fs/cgroup/system.slice/pmapd.service ]
}

# The sum of all threads' context switches.
switches() {
    cat /proc/"$1"/task/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'
}

# What all its threads have been given of the CPU.
cpu_us() {
    cat /proc/"$1"/task/*/schedstat | awk '{ n += $1 } END { print int(n / 1000) }'
}

# memory_of PID KEY
memory_of() {
    awk -v key="$2:" '$1 == key { print $2 }' "/proc/$1/smaps_rollup"
}

@test "an idle service sleeps, and is small" {
    systemctl restart pmapd.service
    expect_as alice 0 pmapc map -- echo got ::: 1
    sleep 5 # what is kept ready for alice's next job may still settle
    local b l sb sl tb tl
    b=$(broker)
    l=$(launcher)
    sb=$(switches "$b")
    sl=$(switches "$l")
    tb=$(cpu_us "$b")
    tl=$(cpu_us "$l")
    sleep 60
    sb=$(($(switches "$b") - sb))
    sl=$(($(switches "$l") - sl))
    tb=$(($(cpu_us "$b") - tb))
    tl=$(($(cpu_us "$l") - tl))
    figure "idle for 60 s, watchdog $(property WatchdogUSec): switches pmapd $sb, pmap-launcher $sl; CPU $tb us, $tl us"
    local pss=$(($(memory_of "$b" Pss) + $(memory_of "$l" Pss))) huge
    huge=$(memory_of "$b" AnonHugePages)
    figure "PSS: pmapd $(memory_of "$b" Pss) KiB, pmap-launcher $(memory_of "$l" Pss) KiB; in no file" \
        "$(memory_of "$b" Pss_Anon) KiB, $(memory_of "$l" Pss_Anon) KiB; huge pages $huge KiB"
    awk '/^[0-9a-f]+-/ { name = $6 } /^Pss:/ { n[name] += $2 } END { for (i in n) print n[i], i }' "/proc/$b/smaps" |
        sort -rn | head -n 12 | sed 's/^/# KiB of pmapd: /' >&3
    [ "$((sb + sl))" -lt 60 ]
    [ "$((tb + tl))" -lt 60000 ] # a thousandth, where the CPU is emulated
    [ "$pss" -lt 8192 ]
}
