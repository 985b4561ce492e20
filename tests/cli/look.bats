# What only looks: functions, cpus, status, jobs, explain, ping, and cancel beside them; the stats of a job; and the options of map that change what is shown.
load helper

json() {
    /usr/bin/python3 -m json.tool <"$1" >/dev/null || fail "no JSON: $1"
}

@test "functions: a table, and --json" {
    start_daemon
    expect 0 pmapc functions
    local name
    for name in echo square cube upper length sha256 sleep burn; do
        grep -qE "^$name +[^ ]" out || fail "no $name"
    done
    silent
    expect 0 pmapc functions --json
    json out
    json_holds '[f["name"] for f in d] == "echo square cube upper length sha256 sleep burn".split()' <out
    json_holds 'all(set(f) == {"name", "summary"} and f["summary"] for f in d)' <out
}

@test "cpus: with and without a daemon" {
    expect 0 pmapc cpus
    grep -qE '^usable +[1-9]' out
    grep -qE '^slots +no daemon$' out
    expect 0 pmapc cpus --json
    json out
    json_holds 'list(d) == "online affinity quota usable slots".split() and d["slots"] is None' <out
    json_holds "d['online'] >= d['affinity'] == $(nproc) >= d['usable'] >= 1" <out
    expect 0 taskset -c "$(taskset -cp $$ | sed -E 's/.*: ([0-9]+).*/\1/')" pmapc cpus --json
    json_holds 'd["affinity"] == d["usable"] == 1' <out
    [ -z "$(processes)" ] || fail "it started a daemon"
    start_daemon -n 3
    expect 0 pmapc cpus
    grep -qE "^slots +3 " out
    expect 0 pmapc cpus --json
    json_holds 'd["slots"] == 3' <out
}

@test "status: tables, and --json with what PROTOCOL.md names" {
    start_daemon
    expect 0 pmapc map square ::: 1 2 3
    expect 1 pmapc map square ::: 1 x
    expect 0 pmapc status
    grep -qE '^slots +0 of 2 in use$' out
    grep -qE '^done +2 jobs, 5 items \(1 failed\), ' out
    grep -qE "^$(id -un) +1 +0 +[0-9.]+ +0.00 +0 +0 +5$" out
    grep -qE '^  queued bytes +64 MiB$' out
    grep -qE '^  slots +no cap$' out
    expect 0 pmapc status --json
    json out
    json_holds 'set(d) == set("version pid private uptime_s slots busy above guarantee_s guarantee_slots connections cut sessions jobs waiting orphans queued_items held_bytes jobs_done items_done items_failed chunks run_s rates owners limits".split())' <out
    json_holds "d['pid'] == $DAEMON and d['private'] is True and d['slots'] == 2 and d['busy'] == d['above'] == 0" <out
    json_holds 'd["jobs_done"] == 2 and d["items_done"] == 5 and d["items_failed"] == 1 and d["chunks"] >= 2' <out
    json_holds 'd["sessions"] == 1 and d["connections"] == 1 and d["held_bytes"] == 0 and d["cut"] == 0' <out
    json_holds 'set(d["rates"]) == {"window_s", "items_per_s", "chunks_per_s", "busy"} and d["guarantee_s"] == 0.1 and d["guarantee_slots"] == 2' <out
    json_holds "[o['uid'] for o in d['owners']] == [$(id -u)]" <out
    json_holds 'set(d["owners"][0]) == set("uid weight sessions jobs running entitled used queued_items held_bytes jobs_done items_done items_failed run_s cpu_s waits wait_s longest_wait_s".split())' <out
    json_holds 'all(o["items_done"] == 5 and o["items_failed"] == 1 and o["jobs_done"] == o["waits"] == 2 and o["entitled"] == 0 and 0 < o["longest_wait_s"] <= o["wait_s"] < 20 for o in d["owners"])' <out
    json_holds "d['limits'] == {'uid': $(id -u), 'weight': 1, 'slots': 0, 'jobs': 1000, 'connections': 256, 'queued_bytes': 64 << 20, 'spool': 10 << 30, 'memory': 0, 'pids': 0, 'admin': True}" <out
    json_holds '0 < d["uptime_s"] < 60 and 0 < d["run_s"] < d["uptime_s"] * 2' <out
    # While something runs.
    background pmapc map -j 1 sleep ::: 1000 1000 1000 >/dev/null 2>/dev/null
    until_true 20 status_is jobs 1 busy 1
    expect 0 pmapc status --json
    json_holds 'd["owners"][0]["running"] == d["owners"][0]["jobs"] == d["owners"][0]["entitled"] == 1 and d["sessions"] == 2' <out
    # What runs for longer than any window counts as it runs.
    until_true 20 rate_is busy 0.99 1.01
    kill -TERM $PID
    ended $PID 143
}

# rate_is KEY LEAST MOST: of the rates of `pmapc status`, or what the first owner has `used`, which is the same here.
rate_is() {
    pmapc status --json | json_holds "$2 <= d['rates']['$1'] <= $3 and abs(d['owners'][0]['used'] - d['rates']['busy']) < 0.001" 2>/dev/null
}

@test "status --users: what each has had" {
    start_daemon
    expect 0 pmapc map -q square ::: 1 2 3
    expect 1 pmapc map -q burn ::: 20000 x
    expect 0 pmapc status --users
    [ "$(wc -l <out)" = 2 ] || fail "two lines"
    grep -qE "^$(id -un) +2 +5 +1 " out || fail "not counted"
    expect 0 pmapc status --users --json
    json_holds "len(d) == 1 and d[0]['user'] == '$(id -un)' and d[0]['items_done'] == 5 and d[0]['run_s'] >= d[0]['cpu_s'] >= 0.02" <out
    expect 2 pmapc status --usrs
    complains '\-\-users'
    expect 2 pmapc status users
}

# job_is NUMBER CONDITION: of the object `j` that is this job in `pmapc jobs --json`.
job_is() {
    pmapc jobs --json | json_holds "[j for j in d if j['job'] == $1 and ($2)]" 2>/dev/null
}

@test "jobs: how they stand, and explain says why" {
    start_daemon
    background pmapc map -q -j 1 sleep ::: 600 600 600 >/dev/null 2>&1
    until_true 20 job_is 1 'j["waits"] == "job_slots" and j["running"] == j["slots"] == 1 and j["queued_items"] == 2 and j["ended"]'
    job_is 1 "j['kind'] == 0 and j['client'] == $PID and j['priority'] == 0 and j['finished'] == 0 and j['item_s'] == 0"
    expect 0 pmapc explain 1
    grep -q '^Job 1, sleep, of .*: 0 of 3 items done, none failed\.$' out
    grep -q 'uses as many slots as it asked for (-j, --slots), 1\.$' out
    # One whose items have not come, in the other slot.
    mkfifo in
    background_sh "pmapc map --priority 7 -c 1 sleep <in >/dev/null 2>&1"
    local slow=$PID
    exec 7>in
    echo 600 >&7
    until_true 20 job_is 2 'j["waits"] == "items" and j["running"] == 1 and not j["ended"] and j["priority"] == 7'
    expect 0 pmapc explain 2
    grep -q "its client (process $slow) may send more" <(tr '\n' ' ' <out)
    # One that waits for a slot that all others hold, and then one that its client holds.
    background pmapc map -q --python 'int(x)' ::: 1 2 >/dev/null 2>&1
    until_true 20 job_is 3 'j["waits"] == "turn" and j["running"] == 0 and j["queued_items"] == 2 and j["kind"] == 4'
    expect 0 pmapc jobs
    grep -qE '^ +1 +running +0/3 ' out
    grep -qE '^ +2 +running +0/1\+ ' out
    grep -qE '^ +3 +queued +0/2 .* python$' out
    expect 0 pmapc explain 3
    tr '\n' ' ' <out >line
    grep -q 'all 2 are in use' line
    grep -q "$(id -un) holds 2 slots, the longest for " line
    grep -q "$(id -un) is due 2.00 of the pool's 2 slots now" line
    [ "$(awk '{ if (length($0) > most) most = length($0) } END { print most }' out)" -le 79 ] || fail "too wide"
    expect 0 pmapc explain 3 --json
    json_holds 'set(d) == set("job user text holders slots entitled expected_slots remaining_s guarantee_s".split())' <out
    json_holds "d['job']['job'] == 3 and d['holders'][0]['uid'] == $(id -u) and d['holders'][0]['slots'] == 2 and d['remaining_s'] is None" <out
    # One that comes behind it by its priority may expect nothing.
    local third=$PID
    background pmapc map -q --priority -5 sleep ::: 600 600 >/dev/null 2>&1
    until_true 20 job_is 4 'j["waits"] == "turn" and j["priority"] == -5'
    expect 0 pmapc explain 4
    tr '\n' ' ' <out >line
    grep -q "2 items wait for their turn: 1 job of $(id -un)'s has a higher priority\." line || fail "not told"
    grep -q "This job's next one comes when those of a higher priority leave some of that\." line || fail "not told"
    expect 0 pmapc explain 4 --json
    json_holds "d['expected_slots'] == 0 and d['remaining_s'] is None" <out
    expect 0 pmapc explain 3 --json
    json_holds "d['expected_slots'] > 0" <out
    expect 0 pmapc cancel 4
    ended $PID 3
    PID=$third
    # As a stopped one is.
    kill -TSTP $PID
    until_true 20 job_is 3 'j["waits"] == "paused"'
    expect 0 pmapc explain 3
    grep -q 'holds it (Ctrl-Z does that)' out
    kill -CONT $PID
    # The wrong questions.
    expect 1 pmapc explain 99
    complains 'explain: job 99: no such job$'
    expect 2 pmapc explain
    expect 2 pmapc explain x
    expect 2 pmapc explain 1 2
    # And the end of all, by one word.
    expect 0 pmapc cancel --all
    says "3 jobs of $(id -un) cancelled"
    silent
    until_true 20 idle
    exec 7>&-
    expect 0 pmapc cancel --all
    says "0 jobs of $(id -un) cancelled"
    expect 2 pmapc cancel --all 3
    expect 2 pmapc cancel --user
    expect 2 pmapc cancel --user nobody-of-this-name
    complains 'nobody-of-this-name'
}

@test "cancel: several at once, and an error for each that is none" {
    start_daemon
    background pmapc map -q sleep ::: 600 >/dev/null 2>&1
    local one=$PID
    until_true 20 status_is jobs 1
    background pmapc map -q sleep ::: 600 >/dev/null 2>&1
    until_true 20 status_is jobs 2
    expect 2 pmapc cancel 1 two
    expect 1 pmapc cancel 77 1 78 2
    complains 'cancel: job 77: no such job$'
    complains 'cancel: job 78: no such job$'
    ended $one 3
    ended $PID 3
    idle
}

@test "a job whose client does not read waits for its reader" {
    start_daemon
    mkfifo results
    seq 600 >items
    # All items are with the daemon before the first result can be in anybody's way.
    background_sh "pmapc map -q -- sh -c 'head -c 200000 /dev/zero' <items >results 2>/dev/null"
    exec 8<results # and nothing is read from it
    until_true 30 job_is 1 'j["waits"] == "reader"'
    expect 0 pmapc explain 1
    grep -q 'has not taken the results' out
    grep -q '^Nothing of it runs now' out
    kill -TERM $PID
    ended $PID 143
    until_true 20 idle
}

@test "ping: round trips, and --json" {
    start_daemon
    expect 0 pmapc ping -c 3 -i 0.01
    [ "$(grep -cE '^seq=[123] time=[0-9.]+ ms$' out)" = 3 ] || fail "not three"
    grep -q "^PING $PMAP_ENDPOINT" out
    silent
    expect 0 pmapc ping -c 100 -i 0 --json
    json out
    json_holds "list(d) == 'endpoint count min_s mean_s max_s std_s'.split() and d['endpoint'] == '$PMAP_ENDPOINT'" <out
    json_holds 'd["count"] == 100 and 0 < d["min_s"] <= d["mean_s"] <= d["max_s"] < 5 and d["std_s"] >= 0' <out
    background pmapc ping -c 0 -i 0.01 >out 2>err
    until_true 20 grep -q seq=3 out
    kill -INT $PID
    ended $PID 130
    grep -q 'round trips: min' out || fail "no summary"
    expect_sh 141 'env --default-signal=PIPE pmapc ping -c 0 -i 0.001 2>err2 | head -n 2 >/dev/null; exit ${PIPESTATUS[0]}'
}

@test "--stats=json: the keys of pmapc(1) in their order, and what they hold is plausible" {
    start_daemon
    seq 1000 | expect 0 pmapc map --stats=json square
    seq 1000 | awk '{print $1 * $1}' | same out
    [ "$(wc -l <err)" = 1 ] || fail "one line"
    json err
    json_holds 'list(d) == "job function items failed retried chunks slots wall_s queue_s first_result_s run_s cpu_s item_mean_s item_std_s item_min_s item_max_s items_per_s efficiency bytes_in bytes_out".split()' <err
    json_holds 'd["job"] >= 1 and d["function"] == "square" and d["items"] == 1000 and d["failed"] == d["retried"] == 0' <err
    json_holds '1 <= d["chunks"] <= 1000 and d["slots"] == 2' <err
    json_holds '0 < d["queue_s"] <= d["first_result_s"] <= d["wall_s"] < 60' <err
    json_holds '0 < d["run_s"] and 0 < d["cpu_s"] and 0 <= d["item_min_s"] <= d["item_mean_s"] <= d["item_max_s"]' <err
    json_holds 'abs(d["items_per_s"] - 1000 / d["wall_s"]) < 1e-6 * d["items_per_s"]' <err
    json_holds 'abs(d["efficiency"] - d["run_s"] / (d["wall_s"] * 2)) < 1e-9' <err
    json_holds "d['bytes_in'] == $(seq 1000 | tr -d '\n' | wc -c) and d['bytes_out'] == $(tr -d '\n' <out | wc -c)" <err
    # It is the last line, behind the failures, and counts them.
    seq 40 | sed 's/.*7$/x/' | expect 1 pmapc map -c 1 -j 1 --stats=json square
    tail -n 1 err >last
    json_holds 'd["items"] == 40 and d["failed"] == 4 and d["chunks"] == 40 and d["slots"] == 1' <last
    # What takes known time.
    expect 0 pmapc map -c 1 --stats=json sleep ::: 0.1 0.1 0.1 0.1
    json_holds '0.2 <= d["wall_s"] and 0.4 <= d["run_s"] and 0.1 <= d["item_min_s"] <= d["item_mean_s"] and d["cpu_s"] < 0.1' <err
    json_holds 'd["first_result_s"] >= 0.1 and d["efficiency"] <= 1.001' <err
    expect 0 pmapc map -c 1 -j 1 --stats=json sleep ::: 0.01 0.03
    # The standard deviation is the sample's: of two it is their distance over the root of two.
    json_holds 'abs(d["item_std_s"] - (d["item_max_s"] - d["item_min_s"]) / 2 ** 0.5) < 1e-6' <err
    # Nothing at all, and one item.
    expect 0 pmapc map --stats=json square </dev/null
    json_holds 'd["items"] == d["chunks"] == d["bytes_in"] == d["item_max_s"] == d["run_s"] == 0' <err
    expect 0 pmapc map --stats=json square ::: 5
    json_holds 'd["items"] == 1 and d["item_std_s"] == 0 and d["item_min_s"] == d["item_max_s"]' <err
}

@test "wall_s covers the input as well: a slow producer's time is in it" {
    start_daemon
    mkfifo in
    background_sh "pmapc map --stats=json square <in >out 2>err"
    exec 7>in
    echo 1 >&7
    until_true 20 [ -s out ]
    local before=$EPOCHREALTIME between
    while between=$((${EPOCHREALTIME/./} - ${before/./})) && ((between < 300000)); do
        sleep 0.02
    done
    echo 2 >&7
    exec 7>&-
    ended $PID 0
    json_holds 'd["wall_s"] >= 0.3 and d["first_result_s"] < d["wall_s"] - 0.25 and d["items"] == 2' <err
}

@test "--stats: text; without it nothing is said where stderr is no terminal; -q" {
    start_daemon
    expect 0 pmapc map --stats square ::: 1 2 3
    complains '3 items.*slots'
    expect 0 pmapc map --stats=text square ::: 1 2 3
    complains '3 items'
    expect 0 pmapc map square ::: 1 2 3
    silent
    expect 0 pmapc map -q square ::: 1 2 3
    silent
    says $'1\n4\n9'
    expect 1 pmapc map -q square ::: 1 x 3
    complains 'item 2'
    expect 1 pmapc map --quiet square ::: 1 x 3
    complains 'item 2'
}

@test "one line of summary on a terminal, and none with -q" {
    start_daemon
    command -v script >/dev/null || skip "no script(1)"
    expect 0 script -qec 'pmapc map square ::: 1 2 3 >result' typescript </dev/null
    [ "$(cat result)" = $'1\n4\n9' ]
    grep -aq 'pmapc: 3 items' typescript || fail "$(cat typescript)"
    expect 0 script -qec 'pmapc map -q square ::: 1 2 3 >result' typescript </dev/null
    ! grep -aq 'pmapc:' typescript || fail "$(cat typescript)"
}

@test "--tag: the item and a tab before each line of its result" {
    start_daemon
    expect 0 pmapc map --tag length ::: ab '' 'c d'
    printf 'ab\t2\n\t0\nc d\t3\n' | same out
    printf 'one\ntwo\0x\0' | expect 0 pmapc map -0 --tag length
    printf 'one\ntwo\t7\0x\t1\0' | same out
    expect 0 pmapc map --tag echo ::: $'a\nb'
    printf 'a\nb\ta\na\nb\tb\n' | same out
    expect 1 pmapc map --tag square ::: 2 x 3
    printf '2\t4\n3\t9\n' | same out
    seq 30000 | expect 0 pmapc map --tag -u square
    sort -n out | same - <(seq 30000 | awk '{printf "%d\t%d\n", $1, $1 * $1}')
    head -c 3000000 /dev/zero | tr '\0' x >large
    expect 0 pmapc map --tag echo <large
    { cat large; printf '\t'; cat large; echo; } | same out
}

@test "--dry-run: what would be run, and nothing is" {
    expect 0 pmapc map --dry-run square ::: 1 2
    says $'square 1\nsquare 2'
    printf 'a b\nc' | expect 0 pmapc map --dry-run -j 2 -c 3 echo
    says $'echo a b\necho c'
    printf 'a\0b\0' | expect 0 pmapc map --dry-run -0 echo
    printf 'echo a\0echo b\0' | same out
    [ -z "$(processes)" ] || fail "it started a daemon"
    expect 2 pmapc map --dry-run -a nowhere square
}

@test "options together and in their long forms" {
    start_daemon
    printf '3,1,2' | expect 0 pmapc map --slots 1 --chunksize 2 --delimiter , --priority -5 --quiet \
        --no-run-if-empty --arg-file - square
    says $'9\n1\n4'
    printf '3,1,2' | expect 0 pmapc map -qrj1 -c1 -d, -uP2 square
    sort -n out | same - <(printf '1\n4\n9\n')
    # Options may stand behind the function, too, and `=` joins a value to its option.
    expect 0 pmapc map square -j 1 --stats=json ::: 3
    json_holds 'd["slots"] == 1' <err
    expect 0 pmapc -e "$PMAP_ENDPOINT" --no-autostart map square ::: 3
    says 9
}
