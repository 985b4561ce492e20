#!/bin/sh
# Instructions of the scheduler and the chunker, which do not depend on how busy the machine is. Needs valgrind.
#
#   tests/bench/callgrind.sh part [ITEMS]     their part of the broker's in the benchmark of chunk size 1, one user
#   tests/bench/callgrind.sh curve [TIMES]    those of one decision, against the number of users
#
# Builds what it needs in build/callgrind: as released, but without link-time optimisation, so that each function is still
# there, and with the names of lines. Scheduler and chunker are order.c and heap.c (whose turn it is), share.c (virtual
# time), guarantee.c and chunker.c: what is counted is each line of these files, inlined or not, and nothing that they call
# elsewhere, as they call nothing. Giving the chunk to a worker (chunks.c), cutting it (cut.c) and keeping the pool's
# state (workers.c) is shown beside it. The broker is the daemon's main thread, libzmq's work in it included.
set -eu
cd "$(dirname "$0")/../.."
build=build/callgrind
work=$(mktemp -d "${TMPDIR:-/tmp}/pmapd-callgrind.XXXXXX")
daemon=
# shellcheck disable=SC2154 # it is set when the trap runs
trap 'status=$?; [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true; rm -rf "$work"; exit $status' EXIT
trap 'exit 130' INT TERM

command -v valgrind >"$work/which" || { echo "callgrind.sh: valgrind is not installed (Debian package valgrind)" >&2; exit 2; }
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$work/log"
cmake --build "$build" --target pmapd pmap-launcher bench_libpmap bench_core >>"$work/log" || { cat "$work/log" >&2; exit 1; }

# lines FILE: "instructions source file" for each function of a profile.
lines() {
    callgrind_annotate --threshold=100 --auto=no --show=Ir "$1" 2>"$work/annotate" |
        sed -nE 's/^ *([0-9,]+) \(.*\)  ([^ ]+):.*/\1 \2/p' | tr -d ,
}

part() {
    items=${1:-50000}
    endpoint=ipc://$work/sock
    valgrind --tool=callgrind --separate-threads=yes --dump-line=yes --callgrind-out-file="$work/out" \
        "$build/bin/pmapd" --private -e "$endpoint" -n 2 2>"$work/pmapd.log" &
    daemon=$!
    tries=0
    until [ -S "$work/sock" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { cat "$work/pmapd.log" >&2; exit 1; }
        sleep 0.1
    done
    "$build/bin/bench_libpmap" rate "$endpoint" "$items" >"$work/bench"
    kill -TERM "$daemon"
    wait "$daemon" || { cat "$work/pmapd.log" >&2; exit 1; }
    daemon=
    lines "$work/out-01" | awk -v items="$items" '
        { all += $1 }
        $2 ~ /daemon\/core\// { file = $2; sub(/.*\//, "", file); of[file] += $1; core += $1 }
        END {
            ours = of["order.c"] + of["share.c"] + of["guarantee.c"] + of["chunker.c"] + of["heap.c"] + of["internal.h"]
            printf "the broker: %d instructions an item; its core: %.1f %%\n", all / items, 100 * core / all
            for (file in of)
                printf "  %-12s %6.2f %%  %6d an item\n", file, 100 * of[file] / all, of[file] / items | "sort -k2 -rn"
            close("sort -k2 -rn")
            printf "scheduler and chunker (order, heap, share, guarantee, chunker): %.2f %%, wanted: at most 2\n", 100 * ours / all
            exit ours > 0.02 * all
        }'
}

curve() {
    times=${1:-200}
    echo " users   instructions of a decision"
    for users in 10 100 1000 10000; do
        valgrind --tool=callgrind --toggle-collect=chunks_dispatch --callgrind-out-file="$work/out$users" \
            "$build/bin/bench_core" --json --users $users --slots 100 --times "$times" shares >"$work/json" 2>"$work/err" || true
        # What is collected is the whole run's: the chunks before the measurement are 20 times and one each slot.
        collected=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$work/err")
        decisions=$(sed -n 's/.*"decisions": \([0-9]*\).*/\1/p' "$work/json")
        printf '%6d %6d\n' $users $((collected / (decisions + 20 * 100 + 100)))
    done
}

case ${1:-} in
    part) shift && part "$@" ;;
    curve) shift && curve "$@" ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
