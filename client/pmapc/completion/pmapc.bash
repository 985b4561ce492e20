# Completion of pmapc(1) for bash. Subcommands and options are what --help says, so they are those of the pmapc that is run;
# functions and jobs are those of the daemon that runs, if one does: a press of Tab starts none, and waits for none.

# The words up to the cursor, as they were typed: bash also breaks them at ':' and '=', which stand in endpoints, modules and
# --option=VALUE. Sets `words`, the last one being what is to be completed.
_pmapc_words()
{
    local line=${COMP_LINE:0:COMP_POINT} word before='' i
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 0)) && [[ -n $line && $line != [[:space:]]* && ($word == [:=]* || $before == *[:=]) ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        before=$word
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#"$word"}
    done
}

# pmapc as the line has it, with the endpoint that it names; shortly, and without a word.
_pmapc_ask()
{
    timeout 1 "${program[@]}" "$@" 2>/dev/null </dev/null
}

# What --help of the subcommand (none: of pmapc) says: a line an option, with its names and what its value is called:
# "-a --arg-file FILE", "--stats[=FORM]".
_pmapc_help()
{
    {
        case $1 in
            '') _pmapc_ask --help ;;
            map | run) _pmapc_ask map --help=all ;;
            timeit | scale) _pmapc_ask "$1" --help; _pmapc_ask map --help=all ;;
            *) _pmapc_ask "$1" --help ;;
        esac
        case $1 in
            map | timeit | scale) printf '%s\n' '  --filter' '  --pipe' '  --python EXPR' ;;
        esac
        case $1 in
            '' | [!mrts]* | s[!c]* | to*) ;; # theirs tells of it
            map) echo '  --help=all' ;;
            *) echo '  --help' ;;
        esac
    } | sed -nE '/^[* ] +-/{s/^[* ] +//; s/^((-[^ ,]+, )*-[^ ,]+( [A-Z]+[ ,]?)?).*/\1/; s/,//g; s/=all/[=ALL]/; s/ +$//; p}' |
        case $1 in
            run) grep -vE -- '--(max-args|colsep|recycle|isolate|type)|^-I' ;;
            timeit | scale) grep -vE -- '--(joblog|results|trace|tag|progress|dry-run|stats|halt|resume|reconnect)' ;;
            *) cat ;;
        esac
}

# Sets COMPREPLY to those lines of stdin that begin as what is to be completed does.
_pmapc_of()
{
    local word
    while read -r word; do
        [[ $word != "$cur"* ]] || COMPREPLY+=("$word")
    done
}

_pmapc_files()
{
    mapfile -t COMPREPLY < <(compgen "${1:--f}" -- "$cur")
    compopt -o filenames 2>/dev/null || true # no keys were typed where it fails
}

# The values of an option, which stand behind a '=' or are the next word, by what the help calls them. Fails where there is no
# such option, or none of its values stands there.
_pmapc_value()
{
    local option=$1 joined=$2 names value=''
    while read -r names; do
        if [[ " $names " == *" $option "* ]]; then
            value=${names##* }
        elif [[ $joined = 1 && " $names" == *" $option[="* ]]; then
            value=${names##*=}
        fi
        [[ -z $value ]] || break
    done <<<"$help"
    case $value in
        '' | -*) return 1 ;;
        FILE | EXPR) _pmapc_files ;;
        DIR) _pmapc_files -d ;;
        NAME) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
        FORM]) _pmapc_of < <(printf '%s\n' text json) ;;
        ALL]) _pmapc_of <<<all ;;
        WHEN) _pmapc_of < <(printf '%s\n' never soon now) ;;
        T) _pmapc_of < <(printf '%s\n' {i,u}{8,16,32,64} f32 f64) ;;
        ENDPOINT)
            local own=${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/pmapd}
            _pmapc_of < <(printf 'ipc://%s/pmapd.sock\n' /run/pmapd "${own:-/tmp/pmapd-$UID}")
            ;;
    esac
    return 0
}

# Jobs that may be looked at and given up: one's own, or, for root, all.
_pmapc_jobs()
{
    _pmapc_ask --no-autostart jobs --json | tr -d ' ,"' |
        awk -F: -v me="$UID" '$1 == "job" { job = $2 } $1 == "uid" && (me == 0 || $2 == me) { print job }'
}

# What is no option.
_pmapc_argument()
{
    case $command in
        '') _pmapc_of < <(_pmapc_ask --help | sed -nE '/^Commands/,/^$/s/^  ([a-z]+) .*/\1/p') ;;
        explain | cancel) _pmapc_of < <(_pmapc_jobs) ;;
        map | timeit | scale)
            # A module's function is a file's path, a colon and a name.
            if [[ $cur == */* ]]; then
                _pmapc_files
            else
                _pmapc_of < <(_pmapc_ask --no-autostart functions --json | sed -nE 's/.*"name": "([^"]*)".*/\1/p')
            fi
            ;;
    esac
}

# Behind "--" and ":::" stands what is not pmapc's: a command and its arguments, or items, which often are files. Fails where
# none of these has come yet.
_pmapc_behind()
{
    local i
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        [[ ${words[i]} == ::: || ${words[i]} == -- ]] || continue
        if [[ ${words[i]} == -- ]] && ((i + 2 == ${#words[@]})); then
            mapfile -t COMPREPLY < <(compgen -c -- "$cur")
        else
            _pmapc_files
        fi
        return 0
    done
    return 1
}

_pmapc()
{
    local -a words program
    local cur previous command='' help prefix='' i
    _pmapc_words
    cur=${words[-1]} previous=${words[-2]}
    program=("${words[0]/#\~\//$HOME/}")
    COMPREPLY=()

    # The subcommand is the first word that is no option; -e takes the word behind it.
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
            -e | --endpoint)
                ((i + 2 < ${#words[@]})) || break
                i=$((i + 1))
                program+=(-e "${words[i]}")
                ;;
            --endpoint=*) program+=("${words[i]}") ;;
            -*) ;;
            *) command=${words[i]}; break ;;
        esac
    done

    if ! _pmapc_behind; then
        help=$(_pmapc_help "$command")
        if [[ $cur == --*=* ]]; then
            prefix=${cur%%=*}= cur=${cur#*=}
            _pmapc_value "${prefix%=}" 1
        elif [[ $previous == -* ]] && _pmapc_value "$previous" 0; then
            :
        elif [[ $cur == -* ]]; then
            _pmapc_of < <(sed -E 's/ [A-Z]+$//; s/\[=.*//' <<<"$help" | tr ' ' '\n')
        else
            _pmapc_argument
        fi
    fi

    # bash puts what is found in the place of the last piece of the word, of those that it has broken it into.
    local last=${COMP_WORDS[COMP_CWORD]} begin=''
    [[ $last != [:=]* ]] || last=
    [[ $last == "${words[-1]}" ]] || begin=${words[-1]%"$last"}
    for i in "${!COMPREPLY[@]}"; do
        COMPREPLY[i]=$prefix${COMPREPLY[i]}
        COMPREPLY[i]=${COMPREPLY[i]#"$begin"}
    done
} && complete -F _pmapc pmapc
