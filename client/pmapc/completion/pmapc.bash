# Completion of pmapc(1) for bash: commands, options, and the functions and open jobs that a running daemon has.

_pmapc()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' word i
    local -a before=()
    COMPREPLY=()

    # The command is the first word that is no option; -e takes the word behind it.
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            -e | --endpoint) before+=("$word" "${COMP_WORDS[i + 1]}"); ((i++)) ;;
            -*) ;;
            *) command=$word; break ;;
        esac
    done

    local options common='-j --slots -P -c --chunksize -a --arg-file -0 --null -d --delimiter -u --unordered --line-buffer
                          --timeout --retries --halt --priority --at-most-once --jobserver --results --joblog --resume
                          --resume-failed --stats --stats=text --stats=json --progress --trace -q --quiet --tag --dry-run -r
                          --no-run-if-empty
                          --help'
    # Those of map that are not about results.
    local timed='-j --slots -P -c --chunksize -a --arg-file -0 --null -d --delimiter -u --unordered --line-buffer --timeout
                 --retries --priority --at-most-once --jobserver -q --quiet --filter --pipe --python -n --max-args -C --colsep
                 -I --type --isolate --recycle'
    case $command in
        '') options='-e --endpoint --no-autostart --version --help' ;;
        map) options="$common --filter --pipe --python -n --max-args -C --colsep -I --type --isolate --recycle --help=all" ;;
        run) options=$common ;;
        timeit) options="$timed --loops --runs --json --help" ;;
        scale) options="$timed --loops --runs --max --all --svg --json --help" ;;
        cancel) options='--all --user --help' ;;
        status) options='--users --json --help' ;;
        top) options='-d --delay -u --mine -f --filter -n --count -b --batch --help' ;;
        ping) options='-c --count -i --interval --json --help' ;;
        *) options='--json --help' ;;
    esac

    case $prev in
        -a | --arg-file | --joblog | --trace | --svg)
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
            ;;
        --results)
            mapfile -t COMPREPLY < <(compgen -d -- "$cur")
            return
            ;;
        --halt)
            mapfile -t COMPREPLY < <(compgen -W 'never soon now' -- "$cur")
            return
            ;;
        --type)
            mapfile -t COMPREPLY < <(compgen -W 'i8 i16 i32 i64 u8 u16 u32 u64 f32 f64' -- "$cur")
            return
            ;;
        --user)
            mapfile -t COMPREPLY < <(compgen -u -- "$cur")
            return
            ;;
        -e | --endpoint)
            [[ -z $command ]] && mapfile -t COMPREPLY < <(compgen -W 'ipc:///run/pmapd/pmapd.sock' -- "$cur")
            return
            ;;
        -j | --slots | -P | -c | --chunksize | --count | --delay | -d | --delimiter | --priority | -i | --interval | -n | --max-args | \
            -C | --colsep | -I | --timeout | --retries | --recycle | --python | --loops | --runs | --max)
            return
            ;;
    esac

    # Behind "--" stands a command of the user's, and behind it its arguments.
    for ((; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            if ((i + 1 == COMP_CWORD)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            fi
            return
        fi
    done

    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'map run timeit scale functions cpus status top jobs explain cancel ping' -- "$cur")
    elif [[ $command == explain || $command == cancel ]]; then
        mapfile -t COMPREPLY < <(compgen -W \
            "$("${COMP_WORDS[0]}" "${before[@]}" jobs 2>/dev/null | grep -oE '^ *[0-9]+')" -- "$cur")
    elif [[ $command == map || $command == timeit || $command == scale ]]; then
        # A press of Tab starts no daemon.
        mapfile -t COMPREPLY < <(compgen -W \
            "$("${COMP_WORDS[0]}" "${before[@]}" --no-autostart functions 2>/dev/null | cut -d ' ' -f 1)" -- "$cur")
    fi
} && complete -F _pmapc pmapc
