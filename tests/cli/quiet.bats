# What a daemon costs that nobody uses: no time, no wake-up, little memory. (How soon it is ready: tests/bench/ready.py.)
load helper
load users

prepare() {
    [ "$SCALE" = 1 ] || skip "sanitizers have their own costs"
    [ "$(id -u)" = 0 ] || skip "only root has the machine's daemon"
    chmod 711 "$T"
    make_as
    mkdir -m 755 sys
    printf '[daemon]\nuser = daemon\n' >pmapd.conf
}

# pids: the broker's and the launcher's.
pids() {
    local launcher
    read -r launcher _ <"/proc/$DAEMON/task/$DAEMON/children"
    echo "$DAEMON" "$launcher"
}

# wakeups PID...: how often any of their threads has gone to sleep or lost its CPU, so far.
wakeups() {
    local pid
    for pid in "$@"; do
        cat /proc/"$pid"/task/*/status
    done | awk '/ctxt_switches:/ { sum += $2 } END { print sum }'
}

# times PID...: the CPU time that they have had, in nanoseconds.
times() {
    local pid
    for pid in "$@"; do
        cat /proc/"$pid"/task/*/schedstat
    done | awk '{ sum += $1 } END { print sum }'
}

# Nothing has woken any thread for more than a second, after which the broker gives memory back: what came before is dealt with.
settled() {
    local before
    before=$(wakeups "$@")
    sleep 1.25
    [ "$(wakeups "$@")" = "$before" ]
}

@test "who is idle is not woken, and takes no time" {
    start_system
    expect 0 pmapc map square ::: 3
    local pids before
    read -ra pids <<<"$(pids)"
    [ ${#pids[@]} = 2 ]
    until_true 20 settled "${pids[@]}"
    before="$(wakeups "${pids[@]}") $(times "${pids[@]}")"
    sleep 3
    [ "$(wakeups "${pids[@]}") $(times "${pids[@]}")" = "$before" ] || fail "before: $before, then: $(wakeups "${pids[@]}") $(times "${pids[@]}")"
}

# Broker and launcher together take less than 8 MiB.
small() {
    local pid
    SUM=0
    for pid in $(pids); do
        ((SUM += $(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")))
    done
    ((SUM > 0 && SUM < 8 << 10))
}

@test "broker and launcher together take less than 8 MiB" {
    start_system
    expect 0 pmapc map square ::: 3
    small || fail "$SUM KiB"
}

@test "they do so again soon after a load of large items and of many" {
    start_system
    head -c 45000000 /dev/urandom | base64 -w 2000000 >items
    expect 0 pmapc map -a items echo
    same items out
    seq 1000000 >items
    expect 0 pmapc map -c 1 -a items echo
    same items out
    until_true 10 small || fail "$SUM KiB"
}
