# Completion: subcommands, options and their values, files, and the functions and jobs of the daemon that runs, in bash
# as its functions are called, and once as keys are typed.
load helper

COMPLETION=$PMAP_SOURCE/client/pmapc/completion

prepare() {
    # shellcheck source=client/pmapc/completion/pmapc.bash
    source "$COMPLETION/pmapc.bash"
}

# completes LINE: what is found for its end, sorted into the file out, a line each. The words are broken as bash does.
completes() {
    local rest=$1
    COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=()
    while [[ $rest =~ ^[[:space:]]*([:=]+|[^[:space:]:=]+)(.*)$ ]]; do
        COMP_WORDS+=("${BASH_REMATCH[1]}")
        rest=${BASH_REMATCH[2]}
    done
    [[ $1 != *[[:space:]] ]] || COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=(unset)
    _pmapc
    printf '%s\n' "${COMPREPLY[@]}" | sort >out
}

# finds LINE WORD...: just these.
finds() {
    completes "$1"
    shift
    printf '%s\n' "$@" | sort | diff out - || fail "< found, > expected"
}

@test "subcommands, as --help lists them" {
    pmapc --help | sed -nE '/^Commands/,/^$/s/^  ([a-z]+) .*/\1/p' | sort >all
    completes 'pmapc '
    diff all out
    [ "$(wc -l <all)" -ge 12 ]
    finds 'pmapc c' cancel cpus
    finds 'pmapc --no-autostart sc' scale
    finds 'pmapc -e ipc:///nowhere ti' timeit
    finds 'pmapc --endpoint=ipc:///nowhere ti' timeit
    finds 'pmapc nonsense ' ''
}

@test "options: all that a page has, but short ones and other names" {
    local command page
    for command in map run timeit scale functions cpus status top jobs explain cancel ping; do
        completes "pmapc $command --"
        sed -nE 's/^(--[a-z-]+)$/\1/p' out >found
        diff out found || fail "$command: these are no options"
        grep -qx -- --help out || fail "$command: no --help"
        # Each is known to the program.
        while read -r option; do
            ! grep -q "unknown option '$option'" < <(pmapc -e ipc:///nowhere "$command" "$option" --no-such 2>&1 </dev/null) ||
                fail "$command: $option is unknown"
        done <found
    done
    page=$PMAP_SOURCE/client/pmapc/man/pmapc-map.1
    completes 'pmapc map -'
    diff <(python3 "$PMAP_SOURCE/tests/cli/manual.py" options "$page" | grep -vx -e --no-run-if-empty | sort) out
    finds 'pmapc --' --endpoint --help --no-autostart --version
    finds 'pmapc run --re' --reconnect --results --resume --resume-failed --retries
    finds 'pmapc timeit --r' --recycle --retries --runs
    finds 'pmapc scale --s' --slots --svg
    finds 'pmapc top -' --batch --count --delay --filter --help --mine -b -d -f -n -u
}

@test "values of options" {
    touch 'a file' items.txt
    mkdir folder
    finds 'pmapc map --halt ' never soon now
    finds 'pmapc map --halt=n' never now
    finds 'pmapc map --stats=' text json
    finds 'pmapc map --stats=j' json
    finds 'pmapc map --help=' all
    finds 'pmapc map --type i' i8 i16 i32 i64
    finds 'pmapc map -a it' items.txt
    finds 'pmapc map --arg-file=it' items.txt
    finds 'pmapc map --results fo' folder
    finds 'pmapc scale --svg it' items.txt
    finds 'pmapc map -j ' ''
    finds 'pmapc map --timeout ' ''
    finds 'pmapc -e ipc:///run/' ///run/pmapd/pmapd.sock
    completes 'pmapc cancel --user roo'
    grep -qx root out
}

@test "files behind ':::', commands behind '--', modules and Python" {
    touch items.txt lib.so words.py
    finds 'pmapc map length ::: it' items.txt
    finds 'pmapc run ::: it' items.txt
    finds 'pmapc map -- cat it' items.txt
    completes 'pmapc map -- base6'
    grep -qx base64 out
    finds 'pmapc map ./l' ./lib.so
    finds 'pmapc map --python wo' words.py
}

@test "functions of the daemon that runs" {
    start_daemon
    finds 'pmapc map s' square sha256 sleep
    finds 'pmapc timeit cu' cube
    finds 'pmapc scale --max 2 bu' burn
    local endpoint=$PMAP_ENDPOINT
    unset PMAP_ENDPOINT
    finds 'pmapc map s' ''
    finds "pmapc -e $endpoint map up" upper
}

@test "jobs of the daemon that runs" {
    start_daemon
    finds 'pmapc cancel ' ''
    background pmapc map sleep ::: 60 60 2>/dev/null
    local one=$PID job
    until_true 20 status_is jobs 1
    job=$(pmapc jobs --json | sed -nE 's/.*"job": ([0-9]+).*/\1/p')
    finds 'pmapc cancel ' "$job"
    finds 'pmapc explain ' "$job"
    finds 'pmapc explain --json ' "$job"
    expect 0 pmapc cancel "$job"
    until_true 20 gone "$one"
    wait "$one" || true
    finds 'pmapc cancel ' ''
}

@test "where no daemon runs none is started, nothing is said, and one that does not answer is not waited for" {
    completes 'pmapc map s' 2>err
    [ "$(cat out)" = '' ]
    completes 'pmapc cancel ' 2>>err
    silent
    [ -z "$(processes)" ] || fail "a daemon was started"
    [ ! -e run/pmapd ]
    start_daemon
    kill -STOP "$DAEMON"
    local before=$EPOCHREALTIME
    completes 'pmapc map s' 2>>err
    ((${EPOCHREALTIME/./} - ${before/./} < 4000000)) || fail "it waited"
    kill -CONT "$DAEMON"
    [ "$(cat out)" = '' ]
    silent
}

# types SHELL KEYS WANT: see completion.py.
types() {
    local file=$COMPLETION/pmapc.bash
    [ "$1" = bash ] || file=$COMPLETION/_pmapc
    expect 0 python3 "$PMAP_SOURCE/tests/cli/completion.py" "$1" "$file" "$2" "$3"
}

@test "as keys are typed in bash" {
    start_daemon
    types bash 'pmapc map leng\t::: abcde\n' '[\r\n]5\r'
    types bash 'pmapc map --stats=js\t length ::: abcdef\n' '"items":1,'
    types bash "pmapc -e ipc://$T/d.sock map leng\\t::: abcde\\n" '[\r\n]5\r'
}

@test "as keys are typed in zsh" {
    command -v zsh >/dev/null || skip "there is no zsh here"
    expect 0 zsh -n "$COMPLETION/_pmapc"
    silent
    start_daemon
    types zsh 'pmapc map leng\t::: abcde\n' '[\r\n]5\r'
    types zsh 'pmapc fun\t | wc -l\n' '[\r\n]8\r'
    types zsh 'pmapc map --stats=js\t length ::: abcdef\n' '"items":1,'
    types zsh 'pmapc map --hal\tnev\tlength ::: abc\n' '[\r\n]3\r'
    types zsh "pmapc -e ipc://$T/d.sock map leng\\t::: abcde\\n" '[\r\n]5\r'
    background pmapc map sleep ::: 60 2>/dev/null
    until_true 20 status_is jobs 1
    types zsh "pmapc cancel \\t && echo do''ne\\n" '[\r\n]done'
    until_true 20 status_is jobs 0
    wait "$PID" || true
}
