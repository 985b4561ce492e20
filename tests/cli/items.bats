# Items of all shapes go in and come out byte for byte: where items begin and end, what they hold, how large and how
# many they are.
load helper

prepare() {
    start_daemon
}

# echoes FILE [OPTION...]: what `map echo` makes of the file is the file.
echoes() {
    local file=$1
    shift
    timeout -k 5 $LIMIT pmapc map "$@" echo <"$file" >out 2>err || fail "status $?: pmapc map $*"
    same "$file" out
    silent
}

@test "empty input runs nothing and is no failure" {
    expect 0 pmapc map square </dev/null
    says ""
    silent
    : >empty
    expect 0 pmapc map -a empty square
    says ""
    silent
    expect 0 pmapc map square :::
    says ""
    silent
    expect 0 pmapc map -r square </dev/null
    says ""
    status_is jobs 0 items_done 0
}

@test "a single empty line is one empty item" {
    echo >one
    echoes one
    expect 0 pmapc map length <one
    says 0
    expect 0 pmapc map length ::: ""
    says 0
}

@test "empty items by the million" {
    local count=$((1000000 / SCALE))
    yes '' | head -n $count >empty
    echoes empty
    timeout $LIMIT pmapc map length <empty | cmp - <(yes 0 | head -n $count)
    tr '\n' '\0' <empty >empty0
    echoes empty0 -0
    until_true 10 status_is items_done $((3 * count)) items_failed 0
}

@test "no newline at the end: the last item counts, and its result has one" {
    printf '1\n2\n3' | expect 0 pmapc map square
    printf '1\n4\n9\n' | same out
    printf x | expect 0 pmapc map echo
    printf 'x\n' | same out
    printf '\n\nx' | expect 0 pmapc map length
    printf '0\n0\n1\n' | same out
}

@test "a CR belongs to its item" {
    printf 'one\r\n\r\nthree\r\n' >crlf
    echoes crlf
    expect 0 pmapc map length <crlf
    printf '4\n1\n6\n' | same out
    # As white space around a number it does no harm.
    printf '12\r\n-3\r\n' | expect 0 pmapc map square
    printf '144\n9\n' | same out
}

@test "invalid UTF-8 and every other byte" {
    printf '\xff\xfe\n\xc3\x28\n\xed\xa0\x80\nz\xf0\x28\x8c\xbc\n\0a\0\n' >bad
    echoes bad
    /usr/bin/python3 -c "
import random, sys
r = random.Random(7)
for n in range(3000):
    sys.stdout.buffer.write(bytes(r.choice(range(256)) for _ in range(r.randrange(200))).replace(b'\n', b'') + b'\n')" >noise
    echoes noise
    expect 0 pmapc map upper <noise
    /usr/bin/python3 -c "
import sys
sys.stdout.buffer.write(sys.stdin.buffer.read().upper())" <noise | same out
}

@test "an item that fails is told without its control characters" {
    printf '\x1b[31mred\x07\n' | expect 1 pmapc map square
    complains 'item 1: '
    LC_ALL=C grep -qv '[[:cntrl:]]' err || fail "control characters went to the terminal"
}

@test "-0: items and results end in NUL, and newlines belong to items" {
    printf 'one\ntwo\0\0three\0' >null
    echoes null -0
    echoes null --null
    expect 0 pmapc map -0 length <null
    printf '7\0000\0005\0' | same out
    printf '1\0002' | expect 0 pmapc map -0 square
    printf '1\0004\0' | same out
}

@test "-d: items end in any one byte, results in a newline" {
    printf '1,2,,3' >commas
    expect 0 pmapc map -d , echo <commas
    printf '1\n2\n\n3\n' | same out
    printf 'a\tb\t' | expect 0 pmapc map -d '\t' echo
    printf 'a\nb\n' | same out
    printf 'a\xffb\xff' | expect 0 pmapc map --delimiter '\xff' echo
    printf 'a\nb\n' | same out
    printf 'a\0b' | expect 0 pmapc map -d '\0' echo
    printf 'a\nb\n' | same out
    for bad in '' ab '\q' '\x'; do
        expect 2 pmapc map -d "$bad" echo <commas
        complains delimiter
    done
}

@test "-a: items from a file, or from stdin by its name -" {
    seq 1000 >numbers
    seq 1000 | awk '{printf "%d\n", $1 * $1}' >squares
    expect 0 pmapc map -a numbers square </dev/null
    same squares out
    expect 0 pmapc map --arg-file=numbers square </dev/null
    same squares out
    expect 0 pmapc map -a - square <numbers
    same squares out
    printf '5' >"-strange name"
    expect 0 pmapc map -a "-strange name" square
    says 25
}

@test "::: items are arguments, whatever they look like" {
    expect 0 pmapc map cube ::: 1 2 -3 12345678901
    printf '1\n8\n-27\n1881676372246402223439821666701\n' | same out
    silent
    expect 0 pmapc map echo ::: --help -j "two words" "" "a
b"
    printf -- '--help\n-j\ntwo words\n\na\nb\n' | same out
    expect 0 pmapc map -0 echo ::: a b
    printf 'a\0b\0' | same out
    # A thousand of them, in order.
    # shellcheck disable=SC2046 # one word an item
    expect 0 pmapc map echo ::: $(seq 5000)
    seq 5000 | same out
}

@test "an item of 64 MiB, alone and among small ones" {
    local size=$((64 * 1024 * 1024)) # whatever the build: it is the size that is tested
    head -c $size /dev/zero | tr '\0' 'x' >large
    expect 0 pmapc map length <large
    says $size
    expect 0 pmapc map sha256 <large
    says "$(sha256sum <large | cut -d' ' -f1)"
    { echo first; cat large; echo; echo; echo last; } >mixed
    echoes mixed
    echoes mixed -c 1
    expect 0 pmapc map upper <mixed
    tr '[:lower:]' '[:upper:]' <mixed | same out
    until_true 10 idle
}

@test "items of all sizes around the limits of messages" {
    /usr/bin/python3 -c "
import sys
near = [p + d for p in (2**10, 2**12, 2**13, 2**16, 2**18, 2**20, 2**20 + 2**18, 2**22, 3 * 2**20) for d in (-33, -32, -1, 0, 1, 32)]
for n, size in enumerate(near):
    sys.stdout.buffer.write(bytes([97 + n % 26]) * size + b'\n' + b'-' * (n % 3) + b'\n')" >sizes
    echoes sizes
    echoes sizes -c 1
    echoes sizes -c 7
    expect 0 pmapc map length <sizes
    awk '{print length}' sizes | same out
}

@test "ten million tiny items, in bounded memory" {
    local count=$((10000000 / SCALE)) peak
    timeout $LIMIT pmapc map echo < <(seq $count) 2>err | cmp - <(seq $count)
    silent
    until_true 10 status_is items_done $count
    yes 1 | head -n $count | timeout $LIMIT pmapc map square | cmp - <(yes 1 | head -n $count)
    if [ "$SCALE" = 1 ]; then # a sanitizer's own memory is another matter
        peak=$(awk '$1 == "VmHWM:" {print $2}' "/proc/$DAEMON/status")
        [ "$peak" -lt $((96 * 1024)) ] || fail "the daemon took $peak kB"
    fi
}

@test "a chunksize of 1 and of a million agree byte for byte" {
    local words=/usr/share/dict/american-english
    head -n $((60000 / SCALE)) $words >some
    echoes some -c 1
    echoes some -c 1000000
    echoes some --chunksize=4
    echoes some
    # With failures among them as well.
    seq $((20000 / SCALE)) | sed 's/.*7$/no number/' >holes
    expect 1 pmapc map -c 1 square <holes
    mv out one && mv err one.err
    expect 1 pmapc map -c 1000000 square <holes
    same one out
    same one.err err
    expect 1 pmapc map -j 1 square <holes
    same one out
    same one.err err
}
