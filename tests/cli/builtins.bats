# Each builtin against another program's idea of it, over real text and over random input.
load helper

words=/usr/share/dict/american-english # Debian's wamerican

prepare() {
    start_daemon
}

# like_python FUNCTION FILE: python agrees, line by line. Its programs are below.
like_python() {
    expect 0 pmapc map "$1" <"$2"
    /usr/bin/python3 -c "
import sys
def number(x, power):
    try:
        return str(int(x) ** power)
    except ValueError:
        x = float(x)
        return repr(x * x if power == 2 else x * x * x)
functions = {
    'square': lambda x: number(x.decode(), 2).encode(),
    'cube': lambda x: number(x.decode(), 3).encode(),
    'upper': lambda x: x.upper(),
    'length': lambda x: str(len(x)).encode(),
}
f = functions['$1']
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(f(line.rstrip(b'\n')) + b'\n')" <"$2" >python
    same python out
    silent
}

@test "echo: a real text comes back as it is" {
    expect 0 pmapc map echo <$words
    same $words out
    expect 0 pmapc map -a $words -c 4 echo
    same $words out
    expect 0 pmapc map -j 1 -a $words echo
    same $words out
}

@test "sha256: as sha256sum says" {
    expect 0 pmapc map -a $words sha256
    /usr/bin/python3 -c "
import hashlib, sys
for line in sys.stdin.buffer:
    print(hashlib.sha256(line.rstrip(b'\n')).hexdigest())" <$words | same out
    # All of the text as one item, and an empty one: by coreutils.
    expect 0 pmapc map -0 sha256 <$words
    [ "$(tr -d '\0' <out)" = "$(sha256sum <$words | cut -d' ' -f1)" ]
    expect 0 pmapc map sha256 ::: ""
    says "$(printf '' | sha256sum | cut -d' ' -f1)"
}

@test "upper and length: as python says" {
    like_python upper $words
    like_python length $words
}

@test "square and cube of integers: exact up to 128 bits" {
    /usr/bin/python3 -c "
import random
r = random.Random(11)
for bits in range(1, 43):
    for _ in range(100):
        print(r.choice(('', '-', '+')) + '0' * r.choice((0, 0, 0, 3)) + str(r.getrandbits(bits)))
print(0, -0, 2**42 - 1, sep='\n')" >integers
    like_python square integers
    like_python cube integers
    # The largest of all, and one more.
    expect 0 pmapc map square ::: 13043817825332782212 -13043817825332782212
    says "$(printf '170141183460469231722567801800623612944\n%.0s' 1 2)"
    expect 1 pmapc map square ::: 13043817825332782213
    says ""
    complains 'item 1: .*128 bits'
    expect 0 pmapc map cube ::: 5541191377756 -5541191377756
    expect 1 pmapc map cube ::: 5541191377757
    complains 'item 1: .*128 bits'
}

@test "square and cube of reals: printed as python's repr" {
    /usr/bin/python3 -c "
import random, struct
r = random.Random(5)
for _ in range(3000):
    print(repr(r.uniform(-1000, 1000)))
    print(repr(r.choice((1, -1)) * 10 ** r.uniform(-30, 30)))
    print('%.*f' % (r.randrange(1, 9), r.uniform(-10, 10)))
    print('%de%d' % (r.randrange(1000), r.randrange(-40, 40)))
print('1e400 -1e400 0.0 -0.0 1e-320 5e-324 1e154 .5 2. 1E3'.replace(' ', '\n'))" >reals
    like_python square reals
    like_python cube reals
}

@test "white space around a number is allowed, and nothing else" {
    printf ' 12\n13 \n\t14\r\n' | expect 0 pmapc map square
    printf '144\n169\n196\n' | same out
    for bad in '' ' ' - + 1x 0x10 '1 2' 1_000 --1 e5 . 1e 1,5; do
        expect 1 pmapc map square ::: "$bad"
        says ""
        complains 'item 1: '
    done
}

@test "sleep and burn answer their item, after the time that it says" {
    local before=$EPOCHREALTIME after
    expect 0 pmapc map -c 1 sleep ::: 0.30 0 0.2
    printf '0.30\n0\n0.2\n' | same out
    after=$EPOCHREALTIME
    ((${after/./} - ${before/./} >= 300000)) || fail "slept for too short"
    expect 0 pmapc map --stats=json burn ::: 30000 30000
    printf '30000\n30000\n' | same out
    json_holds 'd["cpu_s"] >= 0.06 and d["item_min_s"] >= 0.03' <err
    for bad in x '' -1 1e999; do
        expect 1 pmapc map sleep ::: "$bad"
        complains 'item 1: '
        expect 1 pmapc map burn ::: "$bad"
        complains 'item 1: '
    done
}
