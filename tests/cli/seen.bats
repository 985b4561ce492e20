# What users of one pool see of each other: who uses it and how much, and nothing of what they do.
load helper
load users

# sees UID COMMAND...: what the command prints for this user, in `out`.
sees() {
    expect 0 as "$@"
}

prepare_jobs() {
    start_system "$@"
    background as $alice pmapc map -q -j 1 -- sleep ::: 600 601.25
    until_true 20 status_is busy 1
    background as $bob pmapc map -q sleep ::: 600 602 603
    until_true 20 status_is busy 2 jobs 2
}

@test "of others' jobs and slots: whose they are, and how large" {
    prepare_jobs
    sees $bob pmapc jobs --json
    json_holds "len(d) == 2 and d[0] == {'job': 1, 'uid': $alice, 'items': 2}" <out
    json_holds "d[1]['job'] == 2 and d[1]['function'] == 'sleep' and d[1]['waits'] == 'turn'" <out
    sees $bob pmapc jobs
    grep -qE '^ +2 +running +0/3 .* sleep$' out
    grep -qE "^ +1 +$alice +2$" out || fail "alice's job is not there"
    # Nothing that alice has said, by any question.
    local what
    for what in jobs 'explain 2' 'status --users' status 'explain 2 --json'; do
        sees $bob pmapc $what
        ! grep -q '601\.25' out || fail "$what tells"
    done
    # Who holds the slots is everybody's to know.
    sees $bob pmapc explain 2
    grep -q "$alice holds 1 slot" out
    grep -q "$bob is due 1.00 of the pool's 2 slots" <(tr '\n' ' ' <out)
    expect 1 as $bob pmapc explain 1
    complains 'explain: job 1: no such job$'
    expect 1 as $bob pmapc cancel 1
    complains 'cancel: job 1: no such job$'
    # Root sees all, and whose.
    expect 0 pmapc jobs
    grep -qE "^ +1 +$alice +running +0/2 .* sleep$" out
    grep -qE "^ +2 +$bob +running " out
    expect 0 pmapc explain 1
    grep -q "Job 1, sleep, of $alice: 0 of 2 items done" out
}

@test "status: a share for each, one's own limits" {
    printf '[defaults]\nweight = 3\nslots = 1\nmemory = 1G\n' >>pmapd.conf
    start_system
    background as $alice pmapc map -q sleep ::: 600 601
    until_true 20 status_is busy 1 jobs 1
    background as $bob pmapc map -q sleep ::: 600
    until_true 20 status_is busy 2 jobs 2
    sees $bob pmapc status
    grep -qE "^$alice +3 +1 +[0-9.]+ +1.00 +1 +1 +0$" out
    grep -qE "^$bob +3 +1 +[0-9.]+ +1.00 +1 +0 +0$" out
    grep -qE '^and 1 user without work$' out # root has asked
    grep -qE "^limits of $bob$" out
    grep -qE '^  weight +3$' out
    grep -qE '^  slots +1$' out
    grep -qE '^  memory +1 GiB$' out
    sees $alice pmapc explain 1
    grep -q "as many slots in use as the daemon's configuration allows this user, 1\\." <(tr '\n' ' ' <out)
}

@test "cancel --all takes one's own, --user a user's, for root and admins" {
    prepare_jobs
    background as $alice pmapc map -q sleep ::: 604
    until_true 20 status_is jobs 3
    expect 4 as $bob pmapc cancel --user $alice
    complains "only root and admins may give up jobs of another user, $alice"
    sees $bob pmapc cancel --all
    says "1 job of $bob cancelled"
    status_is jobs 2
    expect 0 pmapc cancel --all
    says "0 jobs of root cancelled"
    status_is jobs 2
    expect 0 pmapc cancel --user $alice
    says "2 jobs of $alice cancelled"
    until_true 20 idle
    # An admin is as root is.
    stop_daemon
    prepare_jobs "admin = $bob"
    sees $bob pmapc cancel --all
    says "1 job of $bob cancelled"
    sees $bob pmapc cancel --all --user $alice
    says "1 job of $alice cancelled"
    until_true 20 idle
}
