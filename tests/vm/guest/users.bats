# Real users: items run as themselves, with what a login would have given; who may not log in gets nothing.
load helper

teardown_file() {
    rm -f /etc/nologin /run/nologin /etc/security/limits.d/vm.conf
}

# What a process can tell of who and where it is.
WHO='id -un; id -G; pwd; umask; echo $HOME; cat /proc/self/oom_score_adj; ulimit -c
grep -E "^(NoNewPrivs|Seccomp|Cap(Inh|Prm|Eff|Bnd|Amb)|Sig(Blk|Ign)):" /proc/self/status
for n in mnt pid net ipc uts user cgroup; do readlink /proc/self/ns/$n; done'

@test "two users' jobs run as themselves, as from a shell of theirs" {
    local user
    usermod -aG audio bob
    for user in alice bob; do
        # shellcheck disable=SC2024
        as $user sh -c "$WHO" >$user.want
        start_as $user $user "pmapc map -j1 -- sh -c '$WHO' ::: 1"
        ended "$PID" 0 $user
        same $user.want $user.out
    done
}

@test "the broker has no privileges" {
    local status
    status=/proc/$(broker)/status
    [ "$(stat -c %U "/proc/$(broker)")" = pmapd ] || fail "the broker is $(stat -c %U "/proc/$(broker)")'s"
    grep -qE '^NoNewPrivs:\s+1$' "$status"
    grep -qE '^Seccomp:\s+2$' "$status"
    [ -z "$(grep -E '^Cap(Prm|Eff|Inh|Amb):\s+0*[1-9a-f]' "$status")" ] || fail "$(grep Cap "$status")"
}

@test "the audit's login uid of an item is its user's" {
    expect_as alice 0 pmapc map -- cat /proc/self/loginuid ::: /dev/null
    says "$(id -u alice)"
    expect_as bob 0 pmapc map -- cat /proc/self/loginuid ::: /dev/null
    says "$(id -u bob)"
}

@test "limits.conf holds for items, too" {
    printf 'alice hard nofile 333\nalice soft nofile 222\nalice hard nproc 3333\n' >/etc/security/limits.d/vm.conf
    systemctl restart pmapd.service
    expect_as alice 0 pmapc map -- bash -c 'ulimit -Hn; ulimit -Hu; ulimit -Sn' ::: 1
    rm /etc/security/limits.d/vm.conf
    [ "$(sed -n 1,2p out | xargs)" = '333 3333' ] || fail 'not the limits'
    [ "$(sed -n 3p out)" -le 333 ]
}

@test "an expired account gets nothing" {
    chage -E 1 bob
    systemctl restart pmapd.service
    local status=0
    as bob timeout 60 pmapc map -- touch "$T/it-ran" ::: 1 >out 2>err || status=$?
    chage -E -1 bob
    [ $status != 0 ]
    [ ! -e it-ran ]
    complains 'expired'
    expect_as alice 0 pmapc map -- echo got ::: 1
    systemctl restart pmapd.service
    expect_as bob 0 pmapc map -- echo got ::: 1
    says 'got 1'
}

maps_again() {
    as alice timeout 60 pmapc map -- echo got ::: 1 >out 2>err
}

@test "no login, no items" {
    echo 'Closed for the holidays' >/etc/nologin
    systemctl restart pmapd.service
    local status=0
    as alice timeout 60 pmapc map -- touch "$T/it-ran" ::: 1 >out 2>err || status=$?
    rm /etc/nologin
    [ $status != 0 ]
    [ ! -e it-ran ]
    [ -s err ]
    until_true 20 maps_again # a refusal holds for a second
    says 'got 1'
}

@test "a user's own service manager gives her a pool of her own" {
    local run
    run=/run/user/$(id -u alice)
    loginctl enable-linger alice
    until_true 60 test -S "$run/systemd/private"
    expect_as alice 0 env XDG_RUNTIME_DIR="$run" systemctl --user start pmapd.socket
    expect_as alice 0 pmapc -e "ipc://$run/pmapd/pmapd.sock" map -- id -un ::: -r
    says alice
    expect_as alice 0 env XDG_RUNTIME_DIR="$run" systemctl --user is-active pmapd.service
    loginctl disable-linger alice
    expect_as bob 4 pmapc -e "ipc://$run/pmapd/pmapd.sock" map square ::: 2
}
