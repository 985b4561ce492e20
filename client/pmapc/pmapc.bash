# Completion of pmapc(1) for bash: commands, options, and the names of the functions that a running daemon has.

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

    local options
    case $command in
        '') options='-e --endpoint --no-autostart --version --help' ;;
        map) options='-j --slots -P -c --chunksize -a --arg-file -0 --null -d --delimiter -u --unordered --priority
                      --stats --stats=text --stats=json -q --quiet --tag --dry-run -r --no-run-if-empty --help' ;;
        ping) options='-c --count -i --interval --json --help' ;;
        *) options='--json --help' ;;
    esac

    case $prev in
        -a | --arg-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
            ;;
        -e | --endpoint)
            [[ -z $command ]] && mapfile -t COMPREPLY < <(compgen -W 'ipc:///run/pmapd/pmapd.sock' -- "$cur")
            return
            ;;
        -j | --slots | -P | -c | --chunksize | --count | -d | --delimiter | --priority | -i | --interval)
            return
            ;;
    esac

    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'map functions cpus status ping' -- "$cur")
    elif [[ $command == map ]]; then
        # A press of Tab starts no daemon.
        mapfile -t COMPREPLY < <(compgen -W \
            "$("${COMP_WORDS[0]}" "${before[@]}" --no-autostart functions 2>/dev/null | cut -d ' ' -f 1)" -- "$cur")
    fi
} && complete -F _pmapc pmapc
