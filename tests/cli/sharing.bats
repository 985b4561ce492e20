# Many at once, on one pool: -j and fairness, interrupted and killed clients, and what they leave: nothing.
load helper

# running COUNT: so many slots are busy, and no more than so many.
running() {
    status_is busy "$1"
}

# interrupt [PID]: Ctrl-C, as the terminal would send it.
interrupt() {
    kill -INT "${1:-$PID}"
}

@test "-j is obeyed: never more slots, though others are free" {
    start_daemon -n 4
    local n
    yes 1000 | head -n 20 >items
    for n in 1 2 3; do
        background pmapc map -j $n -c 1 sleep <items >out 2>err
        until_true 20 running $n
        # Another job gets one that is free, and then there is still none more for the first.
        expect 0 pmapc map square ::: 3
        says 9
        always 20 running $n
        interrupt
        ended $PID 130
        until_true 20 idle
    done
    # Without it, and with more than there are: all.
    for option in '' '-j 100' '-P 4'; do
        # shellcheck disable=SC2086 # an option and its value
        background pmapc map $option -c 1 sleep <items >out 2>err
        until_true 20 running 4
        interrupt
        ended $PID 130
    done
}

@test "-j is obeyed to the end of a job whose chunks end all the time" {
    start_daemon -n 4
    yes 0.002 | head -n $((1000 / SCALE)) >items
    background pmapc map -j 2 --stats=json sleep <items >out 2>err
    while ! gone $PID; do
        status_is busy '<=2' || fail "more than two slots"
    done
    ended $PID 0
    same items out
    json_holds 'd["slots"] == 2 and d["run_s"] <= 2 * d["wall_s"] * 1.01' <err
}

@test "two jobs at once: a long one does not keep a short one waiting" {
    start_daemon
    background_sh "pmapc map burn < <(env --default-signal=PIPE yes 500) >/dev/null 2>err.long"
    until_true 20 status_is jobs 1 items_done '>=10'
    local i
    for i in $(seq 20); do
        expect 0 pmapc map square ::: $i
        says $((i * i))
    done
    seq 1000 | expect 0 pmapc map cube
    seq 1000 | awk '{print $1 * $1 * $1}' | same out
    gone $PID && fail "the long one has ended"
    interrupt
    ended $PID 130
    until_true 20 idle
}

@test "a hundred clients at once" {
    start_daemon
    local i pids=() pid
    mkdir all
    for i in $(seq 100); do
        seq $i $((i + 50)) >all/in$i
        background pmapc map -a all/in$i square >all/out$i 2>all/err$i
        pids+=("$PID")
    done
    for pid in "${pids[@]}"; do
        ended "$pid" 0 || fail "$(cat all/err*)"
    done
    for i in $(seq 100); do
        awk '{print $1 * $1}' all/in$i | same all/out$i
        [ ! -s all/err$i ] || fail "$(cat all/err$i)"
    done
    until_true 20 status_is jobs 0 jobs_done 100 items_done 5100 sessions 1
}

@test "a hundred clients that are all at work at once" {
    start_daemon
    local i pids=() pid count=$((SCALE > 1 ? 40 : 100))
    mkfifo gate
    exec 7<>gate
    for i in $(seq $count); do
        background_sh "pmapc map echo < <(echo $i; read -r _ <gate; echo end) >out$i 2>err$i"
        pids+=("$PID")
    done
    until_true 60 status_is sessions $((count + 1)) jobs $count items_done $count
    for i in $(seq $count); do
        [ "$(cat out$i)" = $i ] || fail "client $i has no result"
    done
    for i in $(seq $count); do
        echo go >&7
    done
    for pid in "${pids[@]}"; do
        ended "$pid" 0 || fail "$(cat err?*)"
    done
    cat out? out?? out??? 2>/dev/null | sort | same - <({ seq $count; yes end | head -n $count; } | sort)
    until_true 20 idle
}

@test "Ctrl-C ends with 130 and leaves nothing running" {
    start_daemon
    # While items run ...
    yes 1000 | head -n 50 >items
    background pmapc map sleep <items >out 2>err
    until_true 20 running 2
    interrupt
    ended $PID 130
    until_true 10 idle
    says ""
    # ... in the midst of a stream ...
    background_sh "pmapc map burn < <(env --default-signal=PIPE yes 1000) >/dev/null 2>err"
    until_true 20 status_is items_done '>=20'
    interrupt
    ended $PID 130
    until_true 10 idle
    # ... while it waits for input ...
    mkfifo in stuck
    exec 8<>in
    background pmapc map echo <in >out 2>err
    echo one >&8
    until_true 20 [ -s out ]
    interrupt
    ended $PID 130
    exec 8>&-
    until_true 10 idle
    # ... and while nobody takes its output.
    exec 8<>stuck
    yes | head -n 500000 >many
    background pmapc map echo <many >stuck 2>err
    until_true 20 status_is jobs 1 busy 0 held_bytes '>=1000000'
    interrupt
    ended $PID 130
    exec 8>&-
    until_true 10 idle
    status_is sessions 1
}

@test "Ctrl-C of a whole pipeline" {
    start_daemon
    # As on a terminal: the signal goes to the whole process group.
    background setsid bash -c 'yes 1000 | pmapc map -c 1 sleep | cat'
    until_true 20 running 2
    kill -INT -- "-$PID"
    until_true 20 gone "$PID"
    until_true 10 idle
    [ -z "$(processes 'map -c 1 sleep')" ]
}

@test "under timeout(1): its status, and nothing is left" {
    start_daemon
    expect 124 timeout 0.3 pmapc map sleep ::: 1000 1000 1000
    silent
    until_true 10 idle
    expect 143 timeout --preserve-status 0.3 pmapc map sleep ::: 1000
    until_true 10 idle
    expect 130 timeout --preserve-status -s INT 0.3 pmapc map sleep ::: 1000
    until_true 10 idle
    expect 0 timeout 30 pmapc map sleep ::: 0.01
    says 0.01
}

two_lines() {
    [ "$(wc -l <out)" = 2 ]
}

@test "SIGINT that was ignored stays ignored, as under nohup" {
    start_daemon
    mkfifo in
    exec 7<>in
    background_sh "env --ignore-signal=INT pmapc map echo <in >out 2>err"
    echo one >&7
    until_true 20 [ -s out ]
    interrupt
    echo two >&7
    until_true 20 two_lines
    exec 7>&-
    ended $PID 0
}

@test "kill -9 of a client in mid job frees its slots" {
    start_daemon
    local i victims=()
    yes 1000 | head -n 100 >items
    for i in 1 2 3; do
        background pmapc map sleep <items >/dev/null 2>&1
        victims+=("$PID")
    done
    until_true 20 status_is jobs 3 busy 2
    for i in "${victims[@]}"; do
        kill -KILL "$i"
        ended "$i" 137
    done
    until_true 10 idle
    status_is sessions 1
    expect 0 pmapc map -c 1 sleep ::: 0.01 0.02
    says $'0.01\n0.02'
    # In the midst of large items both ways, too.
    head -c 30000000 /dev/zero | tr '\0' x >large
    for i in 1 2 3; do
        background_sh "pmapc map echo < <(cat large large large) >/dev/null 2>&1"
        until_true 60 status_is held_bytes '>=1000000'
        kill -KILL $PID
        ended $PID 137
        until_true 10 idle
    done
}
