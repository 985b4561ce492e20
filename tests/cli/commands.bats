# Commands, filters, Python, pipes and lines for a shell, through the real daemon: what runs, as what, and what comes out.
load helper

prepare() {
    start_daemon
}

# python CODE: a file f.py.
python() {
    printf '%s\n' "$1" >f.py
}

### Commands

@test "a command an item: its arguments, whatever they hold" {
    printf 'a b\0"q"\0\0-n\0it'"'"'s\0new\nline\0*\0$HOME\0{}\0' >names
    expect 0 pmapc map -0 -a names -- printf '%s|'
    printf 'a b|"q"||-n|it'"'"'s|new\nline|*|$HOME|{}|' | same out
    silent
    expect 0 pmapc map -- printf '%s,' {} x{}y {.} {/} {//} {#} ::: d/a.c
    says 'd/a.c,xd/a.cy,d/a,a.c,d,1,'
    expect 0 pmapc map -n 2 -- echo {2}-{1} ::: a b c
    printf 'b-a\n-c\n' | same out
    expect 0 pmapc map -- echo ::: a b ::: 1 2
    printf 'a 1\na 2\nb 1\nb 2\n' | same out
    expect 0 pmapc map -C , -I @ -- echo {2} {1} @ {} ::: a,b
    says 'b a a b {}'
}

@test "stdout and stderr verbatim and in order, whether or not an item failed" {
    seq 200 >numbers
    expect 1 pmapc map -a numbers -- sh -c 'printf "o%s " $0; printf "e%s " $0 >&2; exit $(($0 % 3))'
    [ "$(cat out)" = "$(printf 'o%s ' $(seq 200))" ]
    [ "$(cat err)" = "$(printf 'e%s ' $(seq 200))" ] # none of them named
    expect 0 pmapc map -- sh -c 'exit 0' ::: 1
    says ""
    silent
}

@test "cwd, umask, environment, limits and stdin are the submitter's" {
    mkdir "a folder"
    cd "a folder"
    export PMAP_TEST_VALUE='x y'
    (
        umask 027
        ulimit -n 77
        expect 0 pmapc map -- sh -c 'pwd; umask; ulimit -n; echo "$PMAP_TEST_VALUE"; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l' ::: 1
    )
    printf '%s/a folder\n0027\n77\nx y\n/dev/null\n4\n' "$T" | same "$T/out" # 4: with ls's own
    expect 0 pmapc map -c 1 -- sh -c 'echo $PMAP_SEQ $PMAP_SLOT $PMAP_JOB' ::: a b
    grep -qE '^1 [12] [0-9]+$' "$T/out" && grep -qE '^2 [12] [0-9]+$' "$T/out"
    expect 0 pmapc map -- sh -c 'env | grep -cE "^(NOTIFY_SOCKET|LISTEN_FDS|PMAP_WORKER)"' ::: 1 || true
}

@test "a command that cannot be run is told once, with status 2" {
    local command
    echo 'not a program' >text
    for command in no-such-command ./no/such ./text .; do
        expect 2 pmapc map -- "$command" < <(seq 1000)
        complains "cannot run '$command'"
        [ "$(wc -l <err)" = 1 ] || fail "a flood"
        says ""
    done
    mkdir gone
    cd gone
    rmdir ../gone
    expect 2 pmapc map -- true ::: 1
    complains 'directory is gone'
    cd ..
    until_true 10 idle
}

@test "what kills an item is named, and the first ten only" {
    expect 1 pmapc map -- sh -c 'kill -SEGV $$' ::: 1
    complains 'item 1: killed by SIGSEGV'
    expect 1 pmapc map -c 5 -- sh -c 'kill -KILL $$' < <(seq 25)
    [ "$(grep -c 'killed by SIGKILL' err)" = 10 ]
    complains '15 more items failed'
    expect 1 pmapc map -- sh -c '[ $0 != 3 ] || kill -ABRT $$; echo $0' < <(seq 5)
    printf '1\n2\n4\n5\n' | same out
    complains 'item 3: killed by SIGABRT'
}

@test "an argument that is too long, or has a NUL, fails alone" {
    { echo a; head -c 200000 /dev/zero | tr '\0' x; echo; echo b; } >long
    expect 1 pmapc map -a long -- echo
    printf 'a\nb\n' | same out
    complains 'item 2: .*argument list too long'
    printf 'a\nb\0c\nd\n' | expect 1 pmapc map -- echo
    printf 'a\nd\n' | same out
    complains 'item 2: .*NUL'
}

@test "--timeout: the whole tree is killed, also one that ignores TERM, also one that has stopped" {
    expect 1 pmapc map --timeout 0.3 -- sh -c 'sleep 97.31 & sleep 97.31' ::: 1
    complains 'item 1: timed out after 0.3 s'
    until_true 10 none_runs 'sleep 97.31'
    expect 1 pmapc map --timeout 0.2 -- sh -c 'trap "" TERM; while :; do sleep 97.32; done' ::: 1
    complains 'timed out'
    until_true 10 none_runs 'sleep 97.32'
    expect 1 pmapc map --timeout 0.2 -- sh -c 'kill -STOP $$' ::: 1
    complains 'timed out'
    # What was written before counts.
    expect 1 pmapc map --timeout 0.5 -- sh -c 'echo early; sleep 50' ::: 1
    says early
    expect 0 pmapc map --timeout 20 -- echo ::: 1
    says 1
}

# Is there no process of this test with exactly this command line?
none_runs() {
    local folder words
    for folder in /proc/[0-9]*; do
        { mapfile -d '' -t words <"$folder/cmdline"; } 2>/dev/null || continue
        [ "${words[*]}" != "$1" ] || ! ours "$folder" || return 1
    done
}

@test "nothing of an item's process tree outlives it" {
    # A daemoniser: its parent ends, and it has a session of its own.
    expect 0 pmapc map -- sh -c 'setsid sh -c "sleep 97.41" >/dev/null 2>&1 & echo started' ::: 1 2
    printf 'started\nstarted\n' | same out
    until_true 10 none_runs 'sleep 97.41'
    # One that has closed its output and lives on is waited for.
    local before=$EPOCHREALTIME
    expect 0 pmapc map -- sh -c 'exec >&- 2>&-; sleep 0.5' ::: 1
    ((${EPOCHREALTIME/./} - ${before/./} >= 500000)) || fail "not waited for"
}

@test "--retries: attempts are counted, and only the last one's output is seen" {
    : >tries
    expect 0 pmapc map --retries 5 --stats=json -- sh -c 'echo x >>tries; echo out$(wc -l <tries); [ $(wc -l <tries) = 3 ]' ::: 1
    says out3
    json_holds 'd["failed"] == 0 and d["retried"] == 2' <err
    expect 1 pmapc map --retries 2 -- sh -c 'kill -KILL $$' ::: 1
    complains 'item 1: killed by SIGKILL \(3 attempts\)'
}

@test "--halt: soon begins no more, now gives up what runs, never goes on" {
    expect 1 pmapc map -j 1 -c 1 --halt soon -- sh -c 'echo $0; [ $0 != 2 ]' < <(seq 100)
    printf '1\n2\n' | same out
    complains '98 items were not run \(--halt soon\)'
    [ "$(wc -l <err)" = 1 ]
    local before=$EPOCHREALTIME
    expect 1 pmapc map -j 2 -c 1 --halt now -- sh -c '[ $0 != 2 ] && exec sleep 97.51' ::: 1 2 3
    ((${EPOCHREALTIME/./} - ${before/./} < 20000000)) || fail "it went on"
    until_true 10 none_runs 'sleep 97.51'
    complains 'not run \(--halt now\)'
    expect 1 pmapc map -- sh -c 'echo $0; [ $0 != 2 ]' ::: 1 2 3
    printf '1\n2\n3\n' | same out
    silent
}

@test "--joblog, --resume after a kill, --resume-failed" {
    expect 1 pmapc map --joblog log -- sh -c 'echo $0; exit $0' ::: 0 3
    cut -f 1,2,5- log | tail -n +2 >lines
    printf "1\t:\t0\t2\t0\t0\tsh -c 'echo \$0; exit \$0' 0\n2\t:\t0\t2\t3\t0\tsh -c 'echo \$0; exit \$0' 3\n" | same lines
    awk -F '\t' 'NR > 1 && !($3 ~ /^[0-9]+\.[0-9][0-9][0-9]$/ && $4 ~ /^ *[0-9]+\.[0-9][0-9][0-9]$/) {exit 1}' log
    expect 0 pmapc map --joblog log --resume-failed -- sh -c 'echo again $0' ::: 0 3
    says 'again 3'
    # Killed in the midst: what is in the log was delivered, and everything is run in the end.
    seq 60 >numbers
    background_sh 'pmapc map -c 1 -a numbers --joblog cut -- sh -c "sleep 0.02; echo \$0" >first 2>err'
    until_true 20 lines_in cut 10
    kill -KILL $PID
    ended $PID 137
    tail -n +2 cut | cut -f 1 | sort -n >logged
    [ -z "$(comm -23 <(sort logged) <(sort first))" ] || fail "an item is in the log that was not delivered"
    expect 0 pmapc map -c 1 -a numbers --joblog cut --resume -- sh -c 'echo $0'
    sort -n logged out | same numbers
}

lines_in() {
    [ -e "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]
}

@test "--results: a folder an item" {
    expect 1 pmapc map --results res -- sh -c 'echo out $0; echo err $0 >&2; exit $0' ::: 0 1
    [ "$(cat res/1/stdout res/2/stdout)" = "$(printf 'out 0\nout 1')" ]
    [ "$(cat res/1/stderr res/2/stderr)" = "$(printf 'err 0\nerr 1')" ]
    printf 'out 0\nout 1\n' | same out
}

@test "--tag, -u and --line-buffer" {
    expect 0 pmapc map --tag -- seq ::: 2 3
    printf '2\t1\n2\t2\n3\t1\n3\t2\n3\t3\n' | same out
    expect 0 pmapc map -u -j 2 -c 1 -- sh -c 'sleep $0; echo $0' ::: 1 0
    printf '0\n1\n' | same out
    # A line is there before its command has ended.
    background_sh 'pmapc map --line-buffer -- sh -c "echo first; sleep 30" >out 2>err ::: 1'
    until_true 20 grep -q first out
    kill -INT $PID
    ended $PID 130
}

@test "output of any size, in bounded memory, with items behind a slow head" {
    ! under_tsan || skip "too much for ThreadSanitizer"
    local size=$((300000000 / SCALE)) peak
    timeout $LIMIT pmapc map -- head -c $size ::: /dev/zero 2>err | cmp - <(head -c $size /dev/zero)
    timeout $LIMIT pmapc map -c 1 -j 2 -- sh -c "sleep \$0; head -c $((size / 10)) /dev/zero" ::: 1 0 0 0 0 2>err |
        cmp - <(head -c $((size / 10 * 5)) /dev/zero)
    if [ "$SCALE" = 1 ]; then
        peak=$(awk '$1 == "VmHWM:" {print $2}' "/proc/$DAEMON/status")
        [ "$peak" -lt $((160 * 1024)) ] || fail "the daemon took $peak kB"
    fi
}

### Lines for a shell

@test "output that fills what the worker and its host share to the last byte" {
    ! under_tsan || skip "too much output for ThreadSanitizer"
    local i lines=()
    for i in 1 2 3 4 5 6; do
        lines+=("yes $i | head -c 1048576; exit 3" "echo next")
    done
    expect 1 pmapc run -j 1 --joblog log ::: "${lines[@]}"
    for i in 1 2 3 4 5 6; do
        yes $i | head -c 1048576
        echo next
    done | same out
    [ "$(awk '$7 == 3' log | wc -l)" = 6 ] || fail "statuses are lost"
}

@test "run: different things at once, results in order, each with its pid" {
    printf 'echo $$; sleep 0.2\necho $$\n\necho "a;b" | tr ; + \nfalse\n' >commands
    sed -i 's/tr ;/tr ";"/' commands
    expect 1 pmapc run -a commands --stats=json
    sed -n 3p out | grep -qx 'a+b'
    [ "$(sed -n 1p out)" != "$(sed -n 2p out)" ]
    json_holds 'd["items"] == 5 and d["failed"] == 1' <err
    expect 0 pmapc run ::: 'echo $PMAP_SEQ' 'echo $PMAP_SEQ'
    printf '1\n2\n' | same out
}

### Filters

@test "--filter: a line in, a line out, in order, with programs that buffer" {
    local words=/usr/share/dict/american-english
    expect 0 pmapc map --filter -a $words -- sed s/a/b/
    sed s/a/b/ $words | same out
    silent
    printf 'b\na' | expect 0 pmapc map --filter -- awk '{print $1, length}'
    printf 'b 1\na 1\n' | same out
    expect 0 pmapc map --filter -- /usr/bin/python3 -c 'import sys
for line in sys.stdin: print(line.upper(), end="")' ::: x y
    printf 'X\nY\n' | same out
}

@test "--filter: too few lines, too many, and one that dies are told with their item" {
    expect 1 pmapc map --filter -j 1 -- sed -u '/3/d' < <(seq 5)
    complains 'item [0-9]+: '
    expect 1 pmapc map --filter -j 1 -- sed -u 'p' < <(seq 5)
    complains 'item [0-9]+: the filter answered more lines'
    expect 1 pmapc map --filter -j 1 -- grep 3 < <(seq 5)
    complains 'item [0-9]+: the filter answered fewer lines'
    expect 1 pmapc map --filter -j 1 -- awk '{ if ($1 == 3) exit 7; print; fflush() }' < <(seq 5)
    complains 'item 3: '
    printf '1\n2\n4\n5\n' | same out
    printf 'a\nb\0' | tr '\n' ' ' >newline
    printf 'a\nb\0c\0' | expect 1 pmapc map -0 --filter -- cat
    complains 'item 1: .*newline'
    expect 2 pmapc map --filter -- no-such-command < <(seq 1000)
    complains "cannot run 'no-such-command'"
    [ "$(wc -l <err)" = 1 ]
}

### Python

@test "--python: expressions and functions; exceptions are that item's, with the traceback" {
    expect 0 pmapc map --python 'int(x)**2' < <(seq 1000)
    seq 1000 | awk '{printf "%.0f\n", $1 * $1}' | same out
    expect 1 pmapc map --python 'int(x)**2' ::: 1 x 3
    printf '1\n9\n' | same out
    grep -q "item 2: ValueError" err
    python 'def twice(x):
    print("seen", x)
    return x + "\n" + x'
    expect 0 pmapc map --python f.py:twice ::: a
    printf 'a\na\n' | same out
    grep -q 'seen a' err
    expect 2 pmapc map --python f.py:none < <(seq 1000)
    complains none
    [ "$(wc -l <err)" = 1 ]
    python 'this is no Python'
    expect 2 pmapc map --python f.py:twice ::: a
    complains 'SyntaxError'
    expect 2 pmapc map --python '1 +' ::: a
    complains 'SyntaxError'
}

@test "--python: an item that ends its interpreter is blamed alone, and so is one that takes too long" {
    expect 1 pmapc map --python '__import__("os")._exit(3) if x == "3" else x' < <(seq 5)
    printf '1\n2\n4\n5\n' | same out
    complains 'item 3: .*status 3'
    expect 1 pmapc map --python '__import__("os").kill(__import__("os").getpid(), 11) if x == "3" else x' < <(seq 5)
    complains 'item 3: killed by SIGSEGV'
    expect 1 pmapc map --timeout 0.5 --python '__import__("time").sleep(50) if x == "2" else x' ::: 1 2 3
    printf '1\n3\n' | same out
    complains 'item 2: timed out'
    expect 0 pmapc map -j 1 --recycle 2 --python '__import__("os").getpid()' < <(seq 6)
    [ "$(sort -u out | wc -l)" = 3 ]
}

### Pipes

@test "--pipe: a process a chunk, with exactly its items" {
    expect 0 pmapc map --pipe -c 3 -- wc -l < <(seq 10)
    printf '3\n3\n3\n1\n' | same out
    expect 0 pmapc map --pipe -c 4 -- gzip -c < <(seq 10)
    zcat <out >plain
    seq 10 | same plain
    expect 1 pmapc map --pipe -c 3 -- sh -c 'cat >/dev/null; kill -KILL $$' < <(seq 3)
    complains 'killed by SIGKILL'
}

@test "--pipe: output that goes out in pieces, with all of a chunk's items behind it" {
    ! under_tsan || skip "too much for ThreadSanitizer"
    expect 0 pmapc map --pipe -c 300000 -- cat < <(seq 1000000)
    seq 1000000 | same out
    expect 0 pmapc map --pipe -c 10 --line-buffer -- cat < <(seq 100)
    seq 100 | same out
}

# The daemon anew, with a disk of its own at $T/small that holds 8 MB.
start_with_small_disk() {
    ! under_tsan || skip "too much output for ThreadSanitizer"
    [ "$(id -u)" = 0 ] || skip "only root can mount a small disk"
    unshare -m true || skip "no mount may be made here"
    mkdir small bin
    printf '#!/bin/sh\nexec unshare -m sh -c %s "$0" "$@"\n' \
        "'mount -t tmpfs -o size=8m,mode=1777 none $T/small && exec $PMAP_BIN/pmapd \"\$@\"'" >bin/pmapd
    chmod 755 bin/pmapd
    stop_daemon
    PATH=$T/bin:$PATH start_daemon
}

disk_is_full() {
    [ "$(nsenter -t "$DAEMON" -m df --output=avail "$T/small" | tail -n 1)" -lt 300 ]
}

@test "a full disk: what waits behind the head and cannot be kept fails, and says where" {
    start_with_small_disk
    cat >lines <<'LINES'
until [ -e go ]; do sleep 0.02; done; yes head | head -c 30000000
yes behind | head -c 30000000
echo third
LINES
    TMPDIR=$T/small background_sh 'pmapc run -a lines >out 2>err'
    until_true 40 status_is busy 1 held_bytes '>=1000000' # the second one is over
    touch go
    ended $PID 1
    yes head | head -c 30000000 | cmp - <(head -c 30000000 out)
    [ "$(tail -c 6 out)" = third ]
    complains "item 2: its output of over [0-9]+ bytes could not be kept in $T/small: no space left"
    [ "$(wc -l <err)" = 1 ]
}

@test "a full disk: the head waits for a slow client, and nothing is lost" {
    start_with_small_disk
    mkfifo pipe
    TMPDIR=$T/small background_sh 'pmapc run ::: "yes head | head -c 60000000; echo" "echo next" >pipe 2>err'
    exec 7<pipe
    # It is full for a moment before, too, as long as the daemon has room for what it holds.
    until_true 60 always 20 disk_is_full
    cat <&7 >all
    ended $PID 0
    { yes head | head -c 60000000; echo; echo next; } | same all
    silent
}

@test "output that has to wait goes to /tmp where TMPDIR is no folder" {
    ! under_tsan || skip "too much for ThreadSanitizer"
    local folder
    for folder in "$T/none" /dev/null; do
        TMPDIR=$folder expect 0 pmapc map -- head -c 20000000 ::: /dev/zero
        [ "$(wc -c <out)" -eq 20000000 ]
    done
}

### Modules, isolated builtins

@test "--isolate: a builtin in a process; what takes too long is killed" {
    expect 0 pmapc map --isolate square < <(seq 1000)
    seq 1000 | awk '{printf "%.0f\n", $1 * $1}' | same out
    expect 1 pmapc map --timeout 0.3 sleep ::: 0 50 0
    printf '0\n0\n' | same out
    complains 'item 2: timed out'
    expect 2 pmapc map --isolate no-such-builtin ::: 1
    expect 1 pmapc map --isolate square ::: 2 x 3
    printf '4\n9\n' | same out
    complains 'item 2: '
    background_sh 'pmapc map --isolate -j 1 sleep ::: 0 97.5 >out 2>err'
    until_true 20 grep -q 0 out
    kill -TERM $PID
    ended $PID 143
    until_true 20 idle
    head -c 700000 /dev/zero | tr '\0' a >item
    expect 0 pmapc map --isolate upper -a item
    tr a A <item | cmp - <(tr -d '\n' <out)
    expect_sh 1 'ulimit -t 1; pmapc map --isolate burn ::: 5 60000000 6'
    printf '5\n6\n' | same out
    complains 'item 2: killed by SIGKILL'
}

@test "modules: what is wrong with one is told once" {
    expect 2 pmapc map ./none.so:f < <(seq 1000)
    complains 'none.so'
    [ "$(wc -l <err)" = 1 ]
    echo text >text.so
    expect 2 pmapc map ./text.so:f ::: 1
    complains 'text.so'
}

### Ends

@test "cancel answers at once, and nothing is left of the job" {
    background pmapc map -- sleep ::: 97.61 97.61 >out 2>err
    until_true 20 runs 'sleep 97.61'
    local job before
    job=$(pmapc jobs --json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["job"])')
    before=$EPOCHREALTIME
    pmapc cancel "$job"
    ended $PID 3
    ((${EPOCHREALTIME/./} - ${before/./} < 2000000 * SCALE)) || fail "that took long"
    until_true 10 none_runs 'sleep 97.61'
    until_true 10 idle
}

runs() {
    ! none_runs "$1"
}

@test "the client's death ends its job and its processes" {
    background pmapc map -- sleep ::: 97.71 97.71 >out 2>err
    until_true 20 runs 'sleep 97.71'
    kill -KILL $PID
    ended $PID 137
    until_true 10 none_runs 'sleep 97.71'
    until_true 10 idle
    # Ctrl-C as well, and a closed stdout.
    background pmapc map -- sleep ::: 97.72 >out 2>err
    until_true 20 runs 'sleep 97.72'
    kill -INT $PID
    ended $PID 130
    until_true 10 none_runs 'sleep 97.72'
    expect_sh 141 'seq 100000 | pmapc map -- echo | head -n 1; exit ${PIPESTATUS[1]}'
    says 1
    until_true 20 idle
}

@test "^Z lets what runs finish and begins no more until fg" {
    # Each item runs until its file is there, so nothing here depends on how long anything takes.
    background_sh 'pmapc map -j 1 -c 1 -- sh -c "echo \$0 >>begun; until [ -e go.\$0 ]; do sleep 0.02; done" >out 2>err < <(seq 6)'
    until_true 20 test -s begun
    kill -TSTP $PID
    until_true 20 stopped $PID
    touch go.{1..6}
    until_true 20 status_is busy 0
    always 30 lines_are begun 1
    kill -CONT $PID
    ended $PID 0
    [ "$(wc -l <begun)" = 6 ]
}

stopped() {
    local state
    read -r state <"/proc/$1/stat"
    [[ ${state##*) } == T* ]]
}

lines_are() {
    [ "$(wc -l <"$1")" = "$2" ]
}
