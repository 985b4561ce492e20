# Results come as soon as they are there, in order; a side that waits, stalls, leaves or never ends harms nobody else.
# What has to be "at once" is shown by fifos that the test holds: nothing more comes in until the result is out.
load helper

prepare() {
    start_daemon
}

# has FILE TEXT: that is all of it.
has() {
    [ "$(cat "$1" 2>/dev/null)" = "$2" ]
}

# first_at_once OPTION...: the first result is out although more input may come, and so is the second.
first_at_once() {
    rm -f in out
    mkfifo in
    background_sh "pmapc map $* <in >out 2>err"
    exec 7>in
    echo 3 >&7
    until_true 20 has out 9
    echo 4 >&7
    until_true 20 has out $'9\n16'
    exec 7>&-
    ended $PID 0
    silent
}

@test "a slow producer gets its first result at once" {
    first_at_once square
    first_at_once -j 1 square
    first_at_once -u square
    first_at_once -c 1 square
}

@test "a chunksize of a million does not wait for a million items" {
    first_at_once -c 1000000 square
}

@test "a slow producer behind a pipe: (echo 1; wait; echo 2)" {
    mkfifo gate
    background bash -c '(echo 1; read -r _ <gate; echo 2) | exec pmapc map echo' >out 2>err
    until_true 20 has out 1
    echo go >gate
    ended $PID 0
    says $'1\n2'
    silent
}

@test "what stands before a line's end is not yet an item" {
    mkfifo in
    background_sh "pmapc map length <in >out 2>err"
    exec 7>in
    printf 'a\nhalf' >&7
    until_true 20 has out 1
    printf ' a line\n' >&7
    until_true 20 has out $'1\n11'
    exec 7>&-
    ended $PID 0
    says $'1\n11'
}

@test "input that never ends ends with its reader, silently" {
    local function
    for function in echo length 'echo -c 1' 'echo -u' 'echo --tag'; do
        expect_sh 0 "env --default-signal=PIPE yes | pmapc map $function | head -n 5; echo \"\${PIPESTATUS[*]}\""
        [[ $(tail -n 1 out) == '141 141 0' ]] || fail "exit statuses with $function"
        silent
        until_true 20 idle
    done
    [ "$(head -n 1 out)" = $'y\ty' ]
    # The same where SIGPIPE came in as ignored, as from some services.
    expect_sh 0 "env --default-signal=PIPE yes | env --ignore-signal=PIPE pmapc map echo | head -n 5
        echo \"\${PIPESTATUS[*]}\""
    says $'y\ny\ny\ny\ny\n141 141 0'
    silent
    until_true 20 idle
    # Bytes instead of lines, and a reader that takes nothing at all.
    expect_sh 0 "env --default-signal=PIPE yes | pmapc map upper | head -c 100000 | wc -c"
    says 100000
    expect_sh 0 "env --default-signal=PIPE yes | pmapc map upper | true; echo \"\${PIPESTATUS[1]}\""
    says 141
    silent
    until_true 20 idle
}

@test "a stdout that is closed, broken or full is told by the exit status" {
    expect_sh 141 "exec 3> >(true); wait \$!; env --default-signal=PIPE pmapc map echo ::: a >&3"
    silent
    expect_sh 1 "pmapc map echo ::: a >&-"
    complains stdout
    expect_sh 1 "pmapc map echo ::: a >/dev/full"
    complains stdout
    expect_sh 1 "yes | head -n 300000 | pmapc map echo >/dev/full"
    complains stdout
    expect_sh 1 "pmapc functions >/dev/full"
    complains stdout
    expect_sh 0 "pmapc map echo :::  >&-"
    until_true 20 idle
}

@test "a closed stdin is unreadable, and no matter where it is not needed" {
    expect_sh 2 "pmapc map echo <&-"
    complains stdin
    says ""
    expect_sh 0 "pmapc map echo ::: a <&-"
    says a
    expect_sh 0 "pmapc map -a /etc/hostname length <&-"
    expect_sh 0 "pmapc map echo ::: a 2>&-"
    says a
    expect_sh 1 "pmapc map square ::: 2 x <&- 2>&-"
    says 4
}

# Nothing moves any more: twice the same, with results that wait and nothing that runs.
stalled() {
    local before after
    status_is busy 0 jobs 1 held_bytes '>=65536' || return 1
    before=$(status_of items_done)
    after=$(status_of items_done)
    [ "$before" = "$after" ]
}

# stalls JOB...: a job nobody reads stalls; another is answered; then all of the first comes out, file `all` being it.
stalls() {
    mkfifo stuck
    exec 8<>stuck # a reader and a writer, so that nobody waits in open(2)
    background "$@" <all >stuck 2>stuck.err
    local stuck=$PID
    until_true 30 stalled
    expect 0 pmapc map square ::: 7
    says 49
    expect 0 pmapc map -a /usr/share/dict/american-english echo
    same /usr/share/dict/american-english out
    expect 0 pmapc map -c 1 sleep ::: 0 0.01 0.02
    exec 9<stuck 8>&- # in this order: there is a reader at any time
    timeout -k 5 $LIMIT cat <&9 >read || fail "the stalled job does not go on"
    ended $stuck 0
    same all read
    [ ! -s stuck.err ] || fail "the stalled job complained"
    until_true 20 idle
    rm stuck
}

@test "a reader that stalls stops only its own job" {
    seq 1000000 >all
    stalls pmapc map echo
}

@test "a stalled job that had filled every slot lets go of them" {
    # Large results, in many chunks, so that all slots are at it when the window is full.
    /usr/bin/python3 -c "
for n in range(48):
    print(chr(97 + n % 26) * (1 << 20))" >all
    stalls pmapc map -c 1 echo
    seq 400000 >all
    stalls pmapc map -c 1 echo
}

@test "an unordered job's stalled reader stops only that one as well" {
    mkfifo stuck
    exec 8<>stuck
    background bash -c 'yes | exec pmapc map -u echo >stuck' 2>stuck.err
    until_true 30 stalled
    expect 0 pmapc map cube ::: 3
    says 27
    kill -TERM "$(processes 'map -u echo')"
    ended $PID 143
    until_true 20 idle
}

@test "a head that takes long: all behind it is done meanwhile, and waits" {
    local count=$((4000 / SCALE))
    { echo 1000; yes 0 | head -n $count; } >items
    background pmapc map -c 1 sleep <items >out 2>err
    until_true 40 status_is items_done $count busy 1 jobs 1 queued_items 0
    [ ! -s out ] || fail "something overtook the head"
    kill -INT $PID
    ended $PID 130
    until_true 20 idle
    # To its end, in order.
    { echo 0.5; seq 0 0.00001 0.003; } >items
    expect 0 pmapc map sleep <items
    same items out
    expect 0 pmapc map -c 1 sleep <items
    same items out
}

@test "several long ones among short ones keep their places" {
    for i in 0.2 0 0 0.1 0 0 0 0.15 0 0.05 0 0 0; do echo $i; done >items
    expect 0 pmapc map -c 1 sleep <items
    same items out
    expect 0 pmapc map sleep <items
    same items out
}

@test "-u: the head holds nobody up, and every result comes once" {
    { echo 1000; yes 0 | head -n 50; } >items
    background pmapc map -u -c 1 sleep <items >out 2>err
    until_true 20 has out "$(yes 0 | head -n 50)"
    kill -INT $PID
    ended $PID 130
    seq $((200000 / SCALE)) >all
    expect 0 pmapc map -u echo <all
    sort -n out | same all
    expect 0 pmapc map -u -c 1 echo <all
    sort -n out | same all
    printf '%s\n' 1 x 3 y 5 | expect 1 pmapc map --unordered square
    sort -n out | same - <(printf '1\n9\n25\n')
    complains 'item 2: '
    complains 'item 4: '
}
