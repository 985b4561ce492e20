# Control groups: an owner's processes share the machine by weight, and his limits are his alone.
load helper

usage_us() {
    awk '$1 == "usage_usec" { print $2 }' "$1/cpu.stat"
}

burning() {
    [ "$(pgrep -c -u "$1" -x burner)" = 4 ]
}

@test "there are groups for the broker and for each owner" {
    expect_as alice 0 pmapc map -- cat /proc/self/cgroup ::: /dev/null
    grep -q "pmapd.service/.*u$(id -u alice)" out || fail 'not in a group of hers'
    [ "$(cat "/proc/$(broker)/cgroup")" != "$(cat "/proc/$(launcher)/cgroup")" ]
    local own
    own=/sys/fs/cgroup$(cut -d : -f 3 "/proc/$(broker)/cgroup")
    [ "$(cat "$own/memory.max")" != max ]
    [ "$(cat "$own/cpu.weight")" -gt 100 ]
}

@test "two users that burn in many processes have the CPU by their weights" {
    configure '[pool]' 'slots = 2' '[user alice]' 'weight = 1' '[user bob]' 'weight = 2'
    systemctl restart pmapd.service
    cp /bin/dash burner
    local user line='for i in 1 2 3 4; do ./burner -c "while :; do :; done" & done; wait'
    for user in alice bob; do
        start_as $user $user "cd $T; pmapc map -j1 -- sh -c '$line' ::: 1"
    done
    until_true 30 burning alice
    until_true 30 burning bob
    local a b
    a=$(usage_us "$(group_of alice)")
    b=$(usage_us "$(group_of bob)")
    sleep 20
    a=$(($(usage_us "$(group_of alice)") - a))
    b=$(($(usage_us "$(group_of bob)") - b))
    figure "weights 1 and 2: $((a / 1000)) and $((b / 1000)) ms of CPU in 20 s, 1 to $((b * 100 / a)) hundredths"
    # While they burn, a third's job is served.
    expect 0 timeout 20 pmapc -e ipc:///run/pmapd/pmapd.sock ping -c 5
    [ $((b * 100 / a)) -ge 160 ]
    [ $((b * 100 / a)) -le 250 ]
}

@test "who needs more memory than he may have loses the item, by name, and nobody else does" {
    configure '[user alice]' 'memory = 64M'
    systemctl restart pmapd.service
    start_as bob b "seq 30 | pmapc map -- sh -c 'sleep 0.2; echo {}'"
    local job=$PID
    until_true 20 has_size b.out 4
    expect_as alice 1 pmapc map -- sh -c 'test {} != 3 || exec tail /dev/zero; echo {}' ::: 1 2 3 4 5
    says $'1\n2\n4\n5'
    complains 'item 3: .*memory'
    ended "$job" 0 b
    seq 30 | same - b.out
}

@test "a limit of memory that is made lower is in force at once, and holds up nobody while memory is taken back" {
    configure '[user alice]' 'memory = 400M'
    systemctl restart pmapd.service
    start_as alice a "pmapc map -- python3 -c 'x = bytearray(150 << 20); open(\"$T/full\", \"w\"); import time; time.sleep(600)' ::: 1"
    local job=$PID
    until_true 60 test -e full
    configure '[user alice]' 'memory = 64M'
    systemctl reload pmapd.service
    until_true 30 eval '[ "$(cat "$(group_of alice)/memory.max")" = 67108864 ]'
    expect_as bob 0 timeout 20 pmapc map -- echo ::: served
    ended "$job" 1 a
    grep -qi 'item 1: .*memory' a.err
    # Who comes with other groups takes nothing from the others.
    configure '[user alice]' 'memory = 64M' '[group adm]' 'pids = 50' '[defaults]' 'pids = 90'
    systemctl restart pmapd.service
    start_as alice a "pmapc map -- sleep ::: 600"
    until_true 20 eval '[ -n "$(group_of alice)" ]'
    until_true 10 eval '[ "$(cat "$(group_of alice)/pids.max")" = 90 ]'
    expect 0 env -C /home/alice setpriv --reuid alice --regid alice --groups "$(id -g alice),$(getent group adm | cut -d : -f 3)" \
        --reset-env pmapc map -- cat "$(group_of alice)/pids.max" ::: -u
    says 90
}

@test "who starts more processes than he may have is held, and nobody else is" {
    configure '[user alice]' 'pids = 40'
    systemctl restart pmapd.service
    start_as bob b "seq 30 | pmapc map -- sh -c 'sleep 0.2; echo {}'"
    local job=$PID
    until_true 20 has_size b.out 4
    local bomb='if [ {} = 2 ]; then for i in $(seq 100); do sleep 60 & done; fi; echo {}'
    expect_as alice 1 pmapc map -- sh -c "$bomb" ::: 1 2 3
    says $'1\n3'
    complains 'fork'
    local events
    events=$(group_of alice)/pids.events
    [ ! -e "$events" ] || [ "$(awk '{ print $2 }' "$events")" -gt 0 ]
    ended "$job" 0 b
    seq 30 | same - b.out
    until_true 10 no_sleep
}

no_sleep() {
    ! pgrep -u alice -x sleep >/dev/null
}

@test "what an item has started ends with it, however it hides" {
    local item='(setsid setsid sleep 2221 &) & setsid sh -c "setsid sleep 2222 &"; echo {}'
    expect_as alice 0 pmapc map -- sh -c "$item" ::: 1 2 3
    says $'1\n2\n3'
    until_true 20 no_sleep
}
