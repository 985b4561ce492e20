# Two users, one pool: nobody waits behind another's flood or behind another's long items.
load helper
load users

# flood UID COMMAND...: in the background, until the test is over.
flood() {
    background as "$@"
}

@test "who comes behind long items gets a slot above the pool's" {
    start_system
    flood $alice pmapc map -q sleep ::: 600 600 600 600
    until_true 20 status_is busy 2
    local i
    for i in 1 2 3; do
        expect 0 as $bob pmapc map square ::: 12
        says 144
    done
    # A process of his own, too.
    expect 0 as $bob pmapc map -- sh -c 'echo $(($0 * $0))' ::: 12
    says 144
    status_is busy 2
}

@test "the guarantee is one chunk for each user, and no more than guarantee_max in all" {
    printf '[pool]\nguarantee_max = 2\n' >>pmapd.conf
    start_system
    flood $alice pmapc map -q sleep ::: 600 600 600 600
    until_true 20 status_is busy 2
    flood $bob pmapc map -q sleep ::: 600 600
    until_true 20 status_is busy 3
    flood $carol pmapc map -q sleep ::: 600 600
    until_true 20 status_is busy 4
    flood $dora pmapc map -q sleep ::: 600 600
    until_true 20 status_is jobs 4
    always 20 status_is busy 4
}

@test "no guarantee, where the file says so" {
    printf '[pool]\nguarantee = no\n' >>pmapd.conf
    start_system
    flood $alice pmapc map -q sleep ::: 2 2
    until_true 20 status_is busy 2
    expect 0 as $bob pmapc map square ::: 12
    says 144
    status_is busy 0 # alice's had to end first
}
