# The system's daemon and what a login would have asked and given, with users' lists and PAM services of the tests' own,
# put over the machine's in a mount namespace.
load helper
load users

prepare() {
    prepare_users
    open_namespace
    cp -r /etc/pam.d pam.d
    cp "$PMAP_SOURCE/daemon/launcher/pmapd.pam" pam.d/pmapd
    cp /etc/passwd passwd
    echo "pmapalice:x:$alice:$alice::/:/bin/sh" >>passwd
    cp -p /etc/shadow shadow.before
    install -m 600 /dev/null shadow
    account ''
    local file
    for file in passwd shadow pam.d; do
        "${INSIDE[@]}" mount --bind "$T/$file" "/etc/$file"
    done
    WITHIN=("${INSIDE[@]}")
}

# account DAY: alice's expires on that day since 1970; '': never. bob has none.
account() {
    { cat shadow.before; echo "pmapalice:*:19000:0:99999:7::$1:"; } >shadow
}

alice_maps() {
    expect "$1" "${INSIDE[@]}" as $alice pmapc map -- "${@:2}" ::: x
}

# The daemon looks at accounts, and says once if it cannot as it should.
asks_pam() {
    ! grep 'PAM is not asked' pmapd.log
}

with_pam() {
    ldd "$PMAP_BIN/pmap-launcher" | grep -q libpam || skip "built without PAM"
}

@test "who has an account has processes, and who has none as well" {
    with_pam
    start_system
    asks_pam
    alice_maps 0 true
    expect 0 "${INSIDE[@]}" as $bob pmapc map -- echo ::: x
    says x
}

@test "an account that has expired has no processes, and again when it is renewed" {
    with_pam
    start_system
    account 1
    alice_maps 4 sh -c "touch $T/$alice/touched"
    complains 'PAM refuses your account: .*expired'
    # At once, and the same words, where it is not looked at again.
    alice_maps 4 sh -c "touch $T/$alice/touched"
    complains 'PAM refuses your account: .*expired'
    [ ! -e "$T/$alice/touched" ]
    expect 0 "${INSIDE[@]}" as $bob pmapc map -- echo ::: x
    account ''
    until_true 20 alice_maps 0 sh -c "touch $T/$alice/touched"
    [ -e "$T/$alice/touched" ]
}

@test "while logins are off there are no processes" {
    with_pam
    sed -i "s,pam_nologin.so,pam_nologin.so file=$T/nologin," pam.d/pmapd
    echo 'Back at noon' >nologin
    start_system
    alice_maps 4 true
    complains 'PAM refuses your account: .*Back at noon'
    rm nologin
    until_true 20 alice_maps 0 true
}

@test "who may have no processes has no builtins either, and is told why" {
    with_pam
    start_system
    account 1
    expect 4 "${INSIDE[@]}" as $alice pmapc map square ::: 3
    complains 'PAM refuses your account: .*expired'
    [ ! -s out ]
    expect 4 "${INSIDE[@]}" as $alice pmapc status
    complains 'PAM refuses your account: .*expired'
    # Who is in no list has no account, and root is not asked.
    expect 0 "${INSIDE[@]}" as $bob pmapc map square ::: 3
    says 9
    expect 0 "${INSIDE[@]}" pmapc map square ::: 3
    account ''
    until_true 20 expect 0 "${INSIDE[@]}" as $alice pmapc map square ::: 3
    says 9
}

@test "while logins are off there are no builtins, and root has some" {
    with_pam
    sed -i "s,pam_nologin.so,pam_nologin.so file=$T/nologin," pam.d/pmapd
    echo 'Back at noon' >nologin
    start_system
    expect 4 "${INSIDE[@]}" as $alice pmapc map square ::: 3
    complains 'PAM refuses your account: .*Back at noon'
    expect 0 "${INSIDE[@]}" pmapc map square ::: 3
    says 9
}

@test "without PAM's service an account that has expired has no builtins" {
    rm pam.d/pmapd
    start_system
    account 1
    expect 4 "${INSIDE[@]}" as $alice pmapc map square ::: 3
    complains 'your account has expired'
}

# A service whose account rules write a line each time, and let in.
count_questions() {
    printf '#!/bin/sh\necho "$PAM_USER $PAM_TYPE" >>%s/questions\n' "$T" >count
    chmod 755 count
    : >questions
    printf '%s\n' "account required pam_exec.so quiet $T/count" 'session required pam_permit.so' >pam.d/pmapd
}

asked() {
    [ "$(grep -cx 'pmapalice account' questions)" = "$1" ] && [ "$(wc -l <questions)" = "$1" ]
}

@test "an answer holds for the next clients, however many come at once, until the daemon is told to look again" {
    with_pam
    count_questions
    start_system
    local i clients=()
    for i in {1..12}; do
        "${INSIDE[@]}" as $alice pmapc map square ::: $i >"out.$i" 2>&1 3>&- &
        clients+=($!)
    done
    for i in "${clients[@]}"; do
        ended "$i" 0
    done
    [ "$(cat out.{1..12} | sort -n | tail -1)" = 144 ]
    asked 1
    for i in 1 2 3; do
        expect 0 "${INSIDE[@]}" as $alice pmapc map square ::: 3
    done
    asked 1
    kill -HUP "$DAEMON"
    until_true 20 grep -q 'was read again' pmapd.log
    expect 0 "${INSIDE[@]}" as $alice pmapc map square ::: 3
    asked 2
}

@test "where a module hangs its user is told so, and one who has not waited for that is not missed" {
    with_pam
    printf '%s\n' 'account required pam_exec.so quiet /bin/sleep 600' 'session required pam_permit.so' >pam.d/pmapd
    start_system
    "${INSIDE[@]}" as $alice pmapc map square ::: 3 >out.a 2>err.a 3>&- &
    local first=$!
    "${INSIDE[@]}" as $alice pmapc map square ::: 3 >out.b 2>err.b 3>&- &
    local second=$!
    until_true 20 eval '[ -n "$(cat /proc/$(launcher)/task/*/children)" ]'
    kill "$first"
    wait "$first" || true
    ended "$second" 4
    grep 'cannot be found out whether your account may be used' err.b
    expect 0 "${INSIDE[@]}" as $bob pmapc map square ::: 3
    says 9
    # Who goes on without waiting breaks the protocol, as soon as the refusal that is known does not hold any more.
    until_true 20 expect 0 "${INSIDE[@]}" as $alice "$PMAP_BUILD/bin/hostile" --role hasty "$PMAP_ENDPOINT"
    expect 0 "${INSIDE[@]}" as $bob pmapc map square ::: 3
    # Nothing is left of who asked, nor of what it had started.
    until_true 20 eval '[ -z "$(cat /proc/$(launcher)/task/*/children)" ]'
}

@test "a daemon that stops does not wait for who is asked about" {
    with_pam
    printf '%s\n' 'account required pam_exec.so quiet /bin/sleep 600' 'session required pam_permit.so' >pam.d/pmapd
    start_system
    "${INSIDE[@]}" as $alice timeout 50 pmapc --no-autostart ping >out.a 2>err.a 3>&- &
    local client=$!
    until_true 20 eval '[ -n "$(cat /proc/$(launcher)/task/*/children)" ]'
    kill -TERM "$DAEMON"
    ended "$DAEMON" 0
    ended "$client" 3
    ! grep 'cannot be found out' err.a
}

@test "limits.conf holds, and the submitter's limits hold below it" {
    with_pam
    printf '%s\n' 'pmapalice hard nofile 300' 'pmapalice hard core 0' 'pmapalice hard cpu 7' >limits.conf
    sed -i "s,pam_limits.so,pam_limits.so conf=$T/limits.conf," pam.d/pmapd
    start_system
    expect 0 "${INSIDE[@]}" as $alice sh -c 'ulimit -n 200; pmapc map -- sh -c "ulimit -Hn; ulimit -Sn; ulimit -Hc; ulimit -Ht" ::: x'
    says $'200\n200\n0\n420'
    expect 0 "${INSIDE[@]}" as $alice sh -c 'ulimit -Sn 900; pmapc map -- sh -c "ulimit -Hn; ulimit -Sn" ::: x'
    says $'300\n300'
    # Others have none of it.
    expect 0 "${INSIDE[@]}" as $bob sh -c 'ulimit -n 900; pmapc map -- sh -c "ulimit -Hn" ::: x'
    says 900
}

@test "audit is told whose processes these are" {
    [ -e /proc/self/loginuid ] || skip "the kernel has no audit"
    start_system
    alice_maps 0 sh -c 'cat /proc/self/loginuid'
    says $alice
    expect 0 "${INSIDE[@]}" as $bob pmapc map -- sh -c 'cat /proc/self/loginuid' ::: x
    says $bob
}

@test "without PAM's service that is said once, and accounts expire all the same" {
    rm pam.d/pmapd
    start_system
    [ "$(grep -c 'PAM is not asked' pmapd.log)" = 1 ]
    alice_maps 0 true
    account 1
    # The worker that is there was let in before; another context takes another one.
    expect 4 "${INSIDE[@]}" as $alice nice -n 5 pmapc map -- true ::: x
    complains 'your account has expired'
}

@test "while PAM cannot judge nobody gets in, is told to try again, and may as soon as it can" {
    with_pam
    local open='session required pam_permit.so'
    printf '%s\n' 'account required pam_debug.so acct=authinfo_unavail' "$open" >pam.d/pmapd
    start_system
    expect 4 "${INSIDE[@]}" as $alice pmapc map square ::: 3
    complains 'PAM cannot say whether your account may be used, try again'
    printf '%s\n' 'account required pam_permit.so' "$open" >pam.d/pmapd
    until_true 20 expect 0 "${INSIDE[@]}" as $alice pmapc map square ::: 3
    says 9
}

@test "while PAM can open no sessions there are no processes, and their user is told to try again" {
    with_pam
    printf '%s\n' 'account required pam_permit.so' 'session required pam_debug.so open_session=system_err' >pam.d/pmapd
    start_system
    alice_maps 4 true
    complains 'PAM cannot say whether your account may be used, try again'
    printf '%s\n' 'account required pam_permit.so' 'session required pam_permit.so' >pam.d/pmapd
    until_true 20 alice_maps 0 true
}

@test "a module that hangs keeps nobody else waiting" {
    with_pam
    printf '%s\n' 'account required pam_exec.so quiet /bin/sleep 600' 'session required pam_permit.so' >pam.d/pmapd
    start_system
    "${INSIDE[@]}" as $alice timeout 50 pmapc map -- true ::: x >out.a 2>err.a 3>&- &
    local client=$!
    expect 0 "${INSIDE[@]}" as $bob pmapc map -- echo ::: x
    says x
    kill $client
    wait $client || true
}
