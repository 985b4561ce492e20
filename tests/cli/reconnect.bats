# Jobs go on over a daemon that is killed, stopped or started anew: each item's output comes exactly once.
load helper

# No daemon any more, and its socket as it left it.
crash() {
    kill -KILL "$DAEMON"
    ended "$DAEMON" 137
    forget_daemon "$DAEMON"
}

restart() {
    crash
    start_daemon
}

# Has that file at least so many lines by now?
lines() {
    [ -e "$1" ] && (($(wc -l <"$1") >= $2))
}

# Has it gone on so many times by now? What has come before a loss can go out behind it.
is_back() {
    (($(grep -c 'pmapc: the daemon is back' err) >= $1))
}

# What pmapc says over one loss, and nothing else but what matches REGEX.
says_gap() {
    [ "$(grep -c 'pmapc: lost the daemon at .*: waiting up to 30 s for it to come back' err)" = "$1" ] || fail "not $1 losses told"
    [ "$(grep -c 'pmapc: the daemon is back after .*: going on' err)" = "$1" ] || fail "not $1 returns told"
    ! grep -avE "the daemon (at|is back)${2:+|$2}" err || fail "says something else"
}

# Has the daemon been told to stop?
begins_nothing() {
    ! answers
}

# Items of N microseconds, of about that much on average.
items_of() {
    awk -v n="$1" -v mean="$2" 'BEGIN { srand(7); for (i = 0; i < n; i++) print int(mean / 2 + rand() * mean) }'
}

@test "100,000 items over ten kills and ten restarts in good order: byte-equal, once each" {
    start_daemon
    local count=$((100000 / SCALE)) i
    items_of $count $((60 * SCALE)) >items
    background_sh 'pmapc map burn <items >out 2>err'
    for i in $(seq 10); do
        until_true 20 lines out $((count * (2 * i - 1) / 24))
        restart
        until_true 20 is_back $((2 * i - 1))
        until_true 20 lines out $((count * 2 * i / 24))
        stop_daemon
        start_daemon
        until_true 20 is_back $((2 * i))
    done
    ended $PID 0
    same items out
    says_gap 20
}

@test "the same without order" {
    start_daemon
    local count=$((50000 / SCALE)) i
    items_of $count $((60 * SCALE)) >items
    background_sh 'pmapc map -u --stats=json burn <items >out 2>err'
    for i in $(seq 5); do
        until_true 20 lines out $((count * i / 7))
        restart
        until_true 20 is_back $i
    done
    ended $PID 0
    sort out >sorted
    sort items | same sorted
    tail -n 1 err >stats
    json_holds "d['items'] == $count and d['failed'] == 0 and d['chunks'] > 5 and d['bytes_in'] == d['bytes_out'] and d['run_s'] > 0" <stats
    json_holds "d['bytes_in'] == $(tr -d '\n' <items | wc -c) and d['item_mean_s'] > 20e-6 and 0 < d['efficiency']" <stats
    sed -i '$d' err
    says_gap 5
}

@test "commands, over SIGTERM and kills; the log has each once" {
    start_daemon
    seq 60 >items
    background_sh 'pmapc map --joblog log --results results --retries 1 -- sh -c "sleep 0.05; echo \$0" <items >out 2>err'
    until_true 20 lines out 10
    kill -TERM "$DAEMON"
    ended "$DAEMON" 0
    forget_daemon "$DAEMON"
    start_daemon
    until_true 20 lines out 30
    restart
    ended $PID 0
    same items out
    says_gap 2
    tail -n +2 log | cut -f 1 | same - items
    for i in $(seq 60); do
        [ "$(cat results/$i/stdout)" = "$i" ] || fail "results/$i"
    done
}

@test "Python and filters" {
    start_daemon
    seq $((20000 / SCALE)) >items
    background_sh 'pmapc map --filter -c 50 -a items -- sed -u "s/\$/ x/" >out 2>err'
    local first=$PID
    background_sh 'pmapc map --python "__import__(\"time\").sleep(0.0002) or x" -a items >out2 2>err2'
    until_true 20 lines out2 1000
    restart
    until_true 20 lines out2 $((10000 / SCALE))
    restart
    ended $first 0
    ended $PID 0
    sed 's/$/ x/' items | same out
    same items out2
}

@test "from a pipe that waits: what has not come yet, and what has come and was not done" {
    start_daemon
    mkfifo in
    exec 8<>in
    background pmapc map echo <in >out 2>err
    echo one >&8
    until_true 20 lines out 1
    crash
    until_true 20 grep -q 'lost the daemon' err
    echo two >&8
    start_daemon
    until_true 20 lines out 2
    restart
    echo three >&8
    until_true 20 lines out 3
    kill -INT $PID
    ended $PID 130
    says $'one\ntwo\nthree'
    says_gap 2
}

# A command whose output is large, and the same each time.
large='seq -f "$0 %015.0f" 1500000'

@test "in the middle of a large output, in order and without" {
    ! under_tsan || skip "too much output for ThreadSanitizer"
    start_daemon
    local order
    for order in '' -u; do
        mkfifo slow
        background_sh "pmapc map $order -- sh -c '$large' ::: 1 2 3 >slow 2>err"
        exec 9<slow
        head -c 3000000 <&9 >out
        restart
        head -c 9000000 <&9 >>out
        restart
        cat <&9 >>out
        exec 9<&-
        ended $PID 0
        for i in $(awk '!seen[$1]++ { print $1 }' out); do
            sh -c "$large" "$i"
        done | same out
        [ "$(wc -l <out)" = 4500000 ] || fail "too short"
        says_gap 2
        rm slow
    done
}

@test "in the middle of a large item" {
    ! under_tsan || skip "too much output for ThreadSanitizer"
    start_daemon
    (seq 3000000 | tr '\n' ' '; echo; seq 3) >items
    local order
    for order in '' -u; do
        mkfifo slow
        background_sh "pmapc map $order echo -a items >slow 2>err"
        exec 9<slow
        head -c 2000000 <&9 >out
        restart
        cat <&9 >>out
        exec 9<&-
        ended $PID 0
        [ -z "$order" ] || { sort out >sorted; sort items >wanted; same wanted sorted; }
        [ -n "$order" ] || same items out
        rm slow
    done
}

@test "a large output that is another one the second time fails its item, and no other" {
    ! under_tsan || skip "too much output for ThreadSanitizer"
    start_daemon
    mkfifo slow
    background_sh "pmapc map -- sh -c 'mkdir ran\$0 && w=a || w=b; yes \$w\$0 | head -c 20000000' ::: 1 2 >slow 2>err"
    exec 9<slow
    head -c 5000000 <&9 >out
    restart
    cat <&9 >>out
    exec 9<&-
    ended $PID 1
    grep -q '^pmapc: item 1: the daemon was lost amid its output' err || fail "not told"
    ! grep -q b1 out || fail "both runs were printed"
    [ "$(tr -dc 2 <out | wc -c)" = $((20000000 / 3 + 1)) ] || fail "the second one is not whole"
}

@test "--line-buffer: lines that were printed are not printed again" {
    start_daemon
    local order
    for order in '' -u; do
        rm -f go out err
        background_sh "pmapc map --line-buffer $order -- sh -c 'echo begin \$0; until [ -e go ]; do sleep 0.02; done; echo end \$0' ::: 1 2 >out 2>err"
        until_true 20 lines out 1
        restart
        until_true 20 grep -q 'back after' err
        restart
        touch go
        ended $PID 0
        sort out | same - <(printf 'begin 1\nbegin 2\nend 1\nend 2\n')
        says_gap 2
    done
}

@test "two jobs at once, and one whose reader is slow" {
    start_daemon
    items_of $((20000 / SCALE)) $((60 * SCALE)) >items
    mkfifo slow
    seq 300000 >many
    background_sh 'pmapc map echo -a many >slow 2>err3'
    local third=$PID
    exec 9<slow
    head -c 100 <&9 >out3
    background_sh 'pmapc map burn -a items >out 2>err'
    local first=$PID
    background_sh 'pmapc map -u -c 7 burn -a items >out2 2>err2'
    until_true 20 lines out2 $((3000 / SCALE))
    restart
    until_true 20 lines out2 $((8000 / SCALE))
    restart
    ended $first 0
    ended $PID 0
    cat <&9 >>out3
    ended $third 0
    same items out
    sort out2 | same - <(sort items)
    same many out3
}

@test "away for longer than --reconnect: 3, and why" {
    start_daemon
    background pmapc map --reconnect 0.5 sleep ::: 0 60 >out 2>err
    until_true 20 lines out 1
    local before=$EPOCHREALTIME
    crash
    ended $PID 3
    local took=$((${EPOCHREALTIME/./} - ${before/./}))
    ((took >= 500000 && took < 5000000 * SCALE)) || fail "after $took us"
    says 0
    complains "the daemon at $PMAP_ENDPOINT is gone, and was not back within 0.5 s"
    [ "$(wc -l <err)" = 2 ] || fail "more than two lines"
    # 0: at once.
    start_daemon
    background pmapc map --reconnect 0 sleep ::: 60 >out 2>err
    until_true 20 status_is busy 1
    crash
    ended $PID 3
    complains "the daemon at $PMAP_ENDPOINT is gone$"
    [ "$(wc -l <err)" = 1 ] || fail "more than one line"
}

@test "a job that begins while the daemon is away waits for it, as one would that has begun" {
    start_daemon
    crash
    background pmapc map square ::: 3 >out 2>err
    background pmapc map -q square ::: 4 >out2 2>err2
    until_true 20 grep -q "^pmapc: the daemon at $PMAP_ENDPOINT is gone: waiting up to 30 s for it to come back$" err
    start_daemon
    ended $PID 0
    [ "$(cat out2)" = 16 ] && [ ! -s err2 ] || fail "with -q: $(cat out2 err2)"
    until_true 20 lines out 1
    says 9
    grep -q '^pmapc: the daemon is back after .*: going on$' err
    [ "$(wc -l <err)" = 2 ] || fail "more than two lines"
}

@test "one that begins as the daemon stops, or does not get the CPU" {
    start_daemon
    background pmapc map -q -- sh -c 'touch runs; until [ -e go ]; do sleep 0.02; done' ::: 1
    local first=$PID
    until_true 20 test -e runs
    kill -TERM "$DAEMON"
    until_true 20 begins_nothing
    background pmapc map square ::: 3 >out 2>err
    # It says so right away, or right behind its welcome, when it is one that was lost.
    until_true 20 grep -Eq "^pmapc: (the daemon at $PMAP_ENDPOINT is stopping|lost the daemon at $PMAP_ENDPOINT): waiting up to 30 s" err
    touch go
    ended "$DAEMON" 0
    forget_daemon "$DAEMON"
    start_daemon
    ended $first 0
    ended $PID 0
    says 9
    kill -STOP "$DAEMON"
    background pmapc map square ::: 5 >out 2>err
    until_true 20 grep -q "^pmapc: the daemon at $PMAP_ENDPOINT does not answer: waiting up to 30 s" err
    kill -CONT "$DAEMON"
    ended $PID 0
    says 25
}

@test "for no longer than --reconnect, and not at all where no socket is" {
    start_daemon
    crash
    local before=$EPOCHREALTIME took
    expect 3 pmapc map --reconnect 0.7 square ::: 3
    took=$((${EPOCHREALTIME/./} - ${before/./}))
    ((took >= 700000)) || fail "after $took us"
    complains "no daemon at $PMAP_ENDPOINT: connection refused"
    expect 3 pmapc map --reconnect 0 square ::: 3
    [ "$(wc -l <err)" = 1 ] || fail "more than one line"
    rm d.sock
    before=$EPOCHREALTIME
    expect 3 pmapc map square ::: 3
    took=$((${EPOCHREALTIME/./} - ${before/./}))
    ((took < 5000000 * SCALE)) || fail "after $took us"
    complains "no daemon at $PMAP_ENDPOINT: no such file"
    [ "$(wc -l <err)" = 1 ] || fail "more than one line"
}

@test "Ctrl-C while the daemon is away ends it at once; -q says nothing of it" {
    start_daemon
    background pmapc map -q sleep ::: 0 60 >out 2>err
    until_true 20 lines out 1
    background pmapc map sleep ::: 0 60 >out2 2>err2
    until_true 20 lines out2 1
    crash
    until_true 20 grep -q 'lost the daemon' err2
    kill -INT $PID
    ended $PID 130
    [ "$(cat err2)" = "pmapc: lost the daemon at $PMAP_ENDPOINT: waiting up to 30 s for it to come back" ]
    start_daemon
    until_true 20 status_is busy 1
    kill -INT "$(processes 'map -q')"
    until_true 20 eval '[ -z "$(processes "map -q")" ]'
    silent
}

@test "--at-most-once: what was sent and has no result fails, and nothing runs twice" {
    start_daemon
    mkfifo in
    exec 8<>in
    background_sh 'pmapc map --at-most-once --joblog log -j 1 -- sh -c "echo \$0 >>ran; [ \$0 != 2 ] || sleep 60; echo \$0" <in >out 2>err'
    printf '1\n2\n3\n' >&8
    until_true 20 lines ran 2
    restart
    printf '4\n5\n' >&8
    until_true 20 lines out 3
    exec 8>&-
    ended $PID 1
    says $'1\n4\n5'
    [ "$(sort ran | uniq -d)" = '' ] || fail "ran twice: $(cat ran)"
    grep -q '^pmapc: item 2: the daemon was lost while it ran$' err || fail "item 2 is not named"
    grep -q '^pmapc: item 3: the daemon was lost while it ran$' err || fail "item 3 is not named"
    [ "$(tail -n +2 log | cut -f 1,7)" = "$(printf '1\t0\n2\t1\n3\t1\n4\t0\n5\t0')" ] || fail "log: $(cat log)"
}

@test "--at-most-once over daemons that stop in good order: all is run, and once" {
    start_daemon
    local count=3000 order i # so many, however slow our programs are, that enough is left at each stop
    seq $count >items
    for order in '' -u; do
        rm -f ran out err
        background_sh "pmapc map --at-most-once $order -c 20 --filter -a items -- sh -c 'while read -r x; do echo \$x >>ran; echo \$x; sleep 0.001; done' >out 2>err"
        for i in 1 2 3; do
            until_true 20 lines out $((count * i / 4))
            stop_daemon
            start_daemon
            until_true 20 is_back $i
        done
        ended $PID 0
        [ -n "$order" ] || same items out
        sort -n out | same items -
        sort -n ran | same items -
        says_gap 3
    done
}

@test "--at-most-once over a daemon that is stopped at once: what ran fails, what waited is run" {
    start_daemon
    local order
    for order in '' -u; do
        rm -f ran out err
        background_sh "pmapc map --at-most-once $order -c 1 -j 1 -- sh -c 'echo \$0 >>ran; [ \$0 != 2 ] || sleep 60; echo \$0' ::: 1 2 3 4 5 >out 2>err"
        until_true 20 lines ran 2
        until_true 20 status_is queued_items 3
        kill -TERM "$DAEMON"
        until_true 20 begins_nothing
        stop_daemon
        start_daemon
        ended $PID 1
        says $'1\n3\n4\n5'
        sort ran | same - <(seq 5)
        grep -q '^pmapc: item 2: the daemon was lost while it ran$' err || fail "item 2 is not named"
    done
}

@test "--at-most-once over a daemon that stops while nobody reads: what came is written, what waited is run" {
    start_daemon
    local count=$((2000 / SCALE))
    seq $count >items
    mkfifo slow
    background_sh "pmapc map --at-most-once -c 10 --filter -a items -- sh -c 'while read -r x; do echo \$x >>ran; printf \"%s %01000d\\n\" \$x 0; sleep 0.001; done' >slow 2>err"
    exec 9<slow
    head -c 1000 <&9 >out
    until_true 30 lines ran $((count / 2))
    stop_daemon
    start_daemon
    cat <&9 >>out
    exec 9<&-
    ended $PID 0
    cut -d ' ' -f 1 out | same items -
    sort -n ran | same items -
}

@test "--halt soon: once an item has failed, nothing is begun by the next daemon either" {
    start_daemon
    mkfifo in
    exec 8<>in
    background_sh 'pmapc map --halt soon -j 1 -- sh -c "echo \$0 >>ran; exit \$0" <in >out 2>err'
    printf '0\n1\n' >&8
    until_true 20 lines ran 2
    until_true 20 status_is items_done '>=2'
    restart
    until_true 20 grep -q 'back after' err
    printf '0\n0\n' >&8
    exec 8>&-
    ended $PID 1
    [ "$(cat ran)" = "$(printf '0\n1')" ] || fail "ran: $(cat ran)"
    complains '2 items were not run \(--halt soon\)'
}

@test "--trace and --progress go on" {
    start_daemon
    seq 40 >items
    background_sh 'pmapc map --trace file --tag --progress -- sh -c "sleep 0.03; echo \$0" <items >out 2>err'
    until_true 20 lines out 10
    restart
    ended $PID 0
    sed 's/.*/&\t&/' items | same out
    json_holds 'sorted(e["args"]["seq"] for e in d["traceEvents"] if e["ph"] == "X") == list(range(1, 41))' <file
}

@test "a private daemon of one's own is started again" {
    expect 0 pmapc map square ::: 3
    local pid
    background pmapc map sleep ::: 0 0.5 0.5 0.5 0.5 >out 2>err
    until_true 20 lines out 1
    pid=$(processes --idle-exit)
    kill -KILL "$pid"
    ended $PID 0
    says $'0\n0.5\n0.5\n0.5\n0.5'
    says_gap 1
    [ "$(processes --idle-exit)" != "$pid" ]
    # Not where it must not start one.
    background pmapc --no-autostart map --reconnect 2 sleep ::: 0 60 >out 2>err
    until_true 20 lines out 1
    kill -KILL "$(processes --idle-exit)"
    ended $PID 3
    complains 'was not back within 2 s'
}
