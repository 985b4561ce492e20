# --joblog: the format is GNU parallel's, so what its users do with awk, sort and cut works here as well.
load helper

prepare() {
    start_daemon
}

@test "--joblog: the columns, their separators, digits and padding are GNU parallel's" {
    expect 1 pmapc map --joblog log -- sh -c 'sleep 0.$1; echo $1; exit $(($1 == 2))' x ::: 1 2 3
    head -n 1 log | cmp - <(printf 'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n')
    # As parallel prints them: "%d\t%s\t%.3f\t%10.3f\t%d\t%d\t%d\t%d\t%s".
    [ "$(tail -n +2 log | grep -cE $'^[0-9]+\t:\t[0-9]{10}\\.[0-9]{3}\t {5}0\\.[0-9]{3}\t0\t2\t[01]\t0\tsh -c .*$')" = 3 ] || fail "$(cat -A log)"
    # What is quoted is what a shell would run.
    printf 'a b\0"q"\0$x\0c\nd\0' | expect 0 pmapc map -0 --joblog log -- echo {} end
    tail -n +2 log | cut -f 9 | cmp - <(printf '%s\n' "echo 'a b' end" "echo '\"q\"' end" "echo '\$x' end"; printf "echo 'c\0d' end\n")
}

@test "--joblog: a parallel user's lines of awk and sort" {
    expect 1 pmapc map -j 2 --joblog log -- sh -c 'sleep 0.$1; exit $(($1 == 2 ? 7 : 0))' x ::: 9 2 1
    # Which have failed, which took longest, how long all of them took, and the commands to run again.
    [ "$(awk '$7 != 0' log | tail -n +2 | cut -f 1,7)" = $'2\t7' ] || fail "$(cat log)"
    tail -n +2 log | sort -nk4 | cut -f 4 | /usr/bin/python3 -c 'import sys; t = [float(l) for l in sys.stdin]; assert len(t) == 3 and t == sorted(t)'
    [ "$(tail -n +2 log | sort -t $'\t' -k 4,4nr | head -n 1 | cut -f 1)" = 1 ] || fail "$(cat log)"
    awk '{s += $4} END {exit !(s >= 1.2 && s < 20)}' log
    awk -F '\t' 'NR > 1 && $4 + 0 < 0.1 {exit 1}' log
    [ "$(awk -F '\t' 'NR > 1 && $7 {print $9}' log | sed 's/ 2$//')" = "sh -c 'sleep 0.\$1; exit \$((\$1 == 2 ? 7 : 0))' x" ]
    ! under_tsan || return 0 # which keeps what has ended from being told for too long
    # When it was over, from beginning and time: no more than two at once, and one began when another had ended.
    awk -F '\t' 'NR > 1 {b[$1] = $3; e[$1] = $3 + $4}
        END {first = e[1] < e[2] ? e[1] : e[2]; exit !(b[3] >= first - 0.05 && b[1] < e[2] && b[2] < e[1])}' log
}

@test "--joblog: signals, time limits, errors of functions" {
    expect 1 pmapc map --timeout 0.3 --joblog log -- sh -c 'eval "$1"' x ::: true 'kill -9 $$' 'exec sleep 60'
    [ "$(tail -n +2 log | cut -f 7,8 | xargs)" = '0 0 0 9 -1 15' ] || fail "$(cat log)"
    [ "$(awk '$7 != 0 || $8 != 0' log | tail -n +2 | cut -f 1 | xargs)" = '2 3' ]
    expect 1 pmapc map --joblog log square ::: 2 x
    [ "$(tail -n +2 log | cut -f 5-8 | xargs)" = '0 1 0 0 0 0 1 0' ] || fail "$(cat log)"
    expect 0 pmapc map --joblog log --filter -- cat ::: abc d ''
    [ "$(tail -n +2 log | cut -f 5,6 | xargs)" = '4 3 2 1 1 0' ] || fail "$(cat log)"
    expect 0 pmapc map --joblog log --pipe -- cat ::: abc d
    [ "$(awk '{s += $5; r += $6} END {print s, r}' log)" = '6 6' ] || fail "$(cat log)"
}

@test "--joblog: when builtins and what lasts began, although their results had to wait" {
    # Between the two there must be time for a slow build to start what the second runs in.
    local how long=$((SCALE > 1 ? 4 : 1))
    for how in sleep '--isolate sleep' "--python '__import__(\"time\").sleep(float(x))'" '--filter -- sh -c "while read -r x; do sleep \$x; echo; done"'; do
        # The second is done long before the first, and is printed behind it.
        eval "expect 0 pmapc map -j 2 -c 1 --joblog log $how" <<<$long$'\n0.01'
        awk -F '\t' 'NR == 2 {b = $3; t = $4} NR == 3 {exit !(t >= long && $3 < b + t - 0.1 && $3 > b - 5)}' long=$long log ||
            fail "$how: $(cat log)"
    done
}

@test "--joblog: a log of GNU parallel's goes on here" {
    # Written by parallel 20221122: out of order, one that failed, one that was killed, one that timed out, one with a newline.
    printf 'Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n' >log
    printf '2\t:\t1795590908.521\t     0.231\t0\t6\t1\t0\techo 2; false\n' >>log
    printf '1\t:\t1795590908.483\t     0.108\t0\t6\t0\t0\techo 1\n' >>log
    printf '5\t:\t1795590910.056\t     0.000\t0\t0\t0\t9\tkill -9 $$\n' >>log
    printf '3\t:\t1795590910.626\t     0.402\t0\t0\t-1\t15\tsleep 5\n' >>log
    printf "4\t:\t1795590912.988\t     0.018\t0\t4\t0\t0\techo 'a\0b'\n" >>log
    cp log before
    expect 0 pmapc map --joblog log --resume -- echo ::: a b c d e f
    says f
    cp before log
    expect 0 pmapc map --joblog log --resume-failed -- echo ::: a b c d e f
    says $'b\nc\ne\nf'
    [ "$(awk 'NR > 1 {last[$1] = $7 + $8} END {for (i in last) s += last[i] != 0; print s + 0, length(last)}' log)" = '0 6' ] || fail "$(cat log)"
}
