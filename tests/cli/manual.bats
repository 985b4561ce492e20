# The manual pages: each option of --help and of the programs' tables has its entry and the reverse, each key of the
# configuration with its default, what is shown as an example works, and the pages are well formed.
load helper
load examples

MANUALS=(client/pmapc/man/*.1 daemon/man/*.[58] client/libpmap/man/*.3)

prepare() {
    local page
    PAGES=()
    for page in "${MANUALS[@]}"; do
        for page in "$PMAP_SOURCE"/$page; do
            PAGES+=("${page#"$PMAP_SOURCE"/}")
        done
    done
}

manual() {
    python3 "$PMAP_SOURCE/tests/cli/manual.py" "$@"
}

# page_of SUBCOMMAND: the page that has its name under NAME.
page_of() {
    grep -lE "^\.Nm pmapc-$1( ,)?$" "$PMAP_SOURCE"/client/pmapc/man/*.1
}

# helps PROGRAM [SUBCOMMAND]...: the options that their --help tells of, and --help itself.
helps() {
    local program=$1 command
    shift
    for command in "${@:-}"; do
        if [ "$command" = map ]; then
            pmapc map --help=all
            pmapc map --help | grep Usage -A 3
        elif [ "$command" != run ]; then
            # What is said of other commands' options is theirs.
            # shellcheck disable=SC2086 # a word or none
            $program $command --help | sed '/^Other options/,$d; s/--python EXPR|//'
        fi
    done >help
    echo '      --help' >>help
    manual help <help
}

# same_options PAGE PROGRAM [SUBCOMMAND]...: the page's are the help's, and the program knows each.
same_options() {
    local page=$1 option command
    shift
    helps "$@" >in_help
    manual options "$page" | grep -vxF -e --no-run-if-empty >in_page
    diff in_help in_page || fail "$page: < only in the help, > only in the page"
}

@test "pmapd(8) has the options of --help" {
    same_options "$PMAP_SOURCE/daemon/man/pmapd.8" pmapd
}

@test "pmapc(1) has the options of --help, and its subcommands, each with a page" {
    same_options "$PMAP_SOURCE/client/pmapc/man/pmapc.1" pmapc
    sed -nE 's/^  ([a-z]+) .*/\1/p' <(pmapc --help) | grep -vx -e seq -e pmapc >in_help
    sed -nE 's/^\.It Cm ([a-z]+)$/\1/p' "$PMAP_SOURCE/client/pmapc/man/pmapc.1" >in_page
    diff in_help in_page
    [ "$(wc -l <in_help)" -ge 12 ] || fail "these cannot be all"
    local command
    while read -r command; do
        page_of "$command" || fail "no page has the name of $command"
    done <in_help
}

@test "the subcommands' pages have the options of --help" {
    local page commands
    for page in "$PMAP_SOURCE"/client/pmapc/man/pmapc-*.1; do
        mapfile -t commands < <(sed -n '/^.Sh NAME/,/^.Nd/s/^\.Nm pmapc-\([a-z]*\).*/\1/p' "$page")
        [ ${#commands[@]} -gt 0 ] || fail "$page: no names"
        same_options "$page" pmapc "${commands[@]}"
    done
}

# knows PAGE OPTION: does one of the page's subcommands know it?
knows() {
    local command
    for command in $(sed -n '/^.Sh NAME/,/^.Nd/s/^\.Nm pmapc-\([a-z]*\).*/\1/p' "$1"); do
        pmapc "$command" "$2" --no-such-option </dev/null >out 2>&1 || true
        grep -q "unknown option '$2'" out || return 0
    done
    return 1
}

@test "the programs know the options that the pages have, and the pages those that the programs know" {
    local page option known=0
    cat "$PMAP_SOURCE"/client/pmapc/*.[ch] "$PMAP_SOURCE"/client/pmapc/top/*.c "$PMAP_SOURCE"/daemon/options.c |
        grep -oE '\{"[a-z-]+", (no|required|optional)_argument' | sed 's/{"/--/; s/".*//' | sort -u >in_tables
    for page in "${PAGES[@]}"; do
        [[ $page == *.1 || $page == *.8 ]] || continue
        manual options "$PMAP_SOURCE/$page" | grep '^--'
    done | sort -u >in_pages
    diff in_tables in_pages || fail "< only in the programs, > only in the pages"
    [ "$(wc -l <in_tables)" -ge 50 ] || fail "these cannot be all"
    # Short ones are not in tables: the programs themselves are asked. None finds a daemon, and none reads anything.
    export PMAP_ENDPOINT=ipc://$T/nobody.sock
    for page in "$PMAP_SOURCE"/client/pmapc/man/pmapc-*.1; do
        for option in $(manual options "$page" | grep -E '^-.$'); do
            knows "$page" "$option" || fail "$page: $option is unknown"
            known=$((known + 1))
        done
    done
    [ "$known" -ge 15 ] || fail "these cannot be all"
}

@test "pmapd.conf(5) and the commented file have the same keys with the same defaults" {
    manual keys "$PMAP_SOURCE/daemon/man/pmapd.conf.5" >in_page
    manual keys "$PMAP_SOURCE/daemon/pmapd.conf" >in_file
    diff in_page in_file || fail "< only in the page, > only in the file"
}

@test "pmap(3) and pmap-module(3) have each function of their headers, with its arguments" {
    local page header name arguments
    while read -r page header name; do
        arguments=$(tr '\n' ' ' <"$PMAP_SOURCE/$header" | grep -oE "(PMAP_API|inline)[^;{}(]*[ *]$name\([^)]*\)" | head -n 1)
        arguments=${arguments#*"("}
        arguments=$(sed 's/  */ /g; s/ *)$//; s/, /\n/g' <<<"$arguments")
        grep "^\.Fn $name " "$PMAP_SOURCE/$page" | head -n 1 | sed -E 's/^\.Fn [a-z_]+ //; s/" "/\n/g; s/"//g' >in_page
        diff <(echo "$arguments") in_page || fail "$page: $name is another in $header"
        echo "$name"
    done < <(sed -nE 's/^PMAP_API [^(]*[ *](pmap_[a-z_]+)\(.*/client\/libpmap\/man\/pmap.3 client\/libpmap\/pmap.h \1/p' \
        "$PMAP_SOURCE/client/libpmap/pmap.h"
        sed -nE 's/^(static inline .*[ *])?(pmap_[a-z]+)\(struct pmap_context.*/client\/libpmap\/man\/pmap-module.3 common\/pmap_module.h \2/p' \
            "$PMAP_SOURCE/common/pmap_module.h") >checked
    [ "$(wc -l <checked)" -ge 29 ] || fail "these cannot be all: $(cat checked)"
}

@test "pmap(3) and pmap-module(3) have each member of the structures that are their readers' to fill or to read" {
    local page header
    while read -r page header; do
        manual members "$PMAP_SOURCE/$header" >members
        while read -r member; do
            grep -qE "^\.(Va|It Va|Fa|Fn) (.*[^a-z_])?$member( |$)" "$PMAP_SOURCE/$page" || fail "$page has no $member"
        done <members
    done <<'END'
client/libpmap/man/pmap.3 client/libpmap/pmap.h
client/libpmap/man/pmap-module.3 common/pmap_module.h
END
}

@test "examples of pmapc's and pmapd's pages" {
    start_daemon
    local page
    for page in "${PAGES[@]}"; do
        case $page in
            *.3) ;; # installed.bats has them: they need the library where it is installed
            *) try_examples "$page" ;;
        esac
    done
    [ "$(find examples -name '*.sh' | wc -l)" -ge 15 ] || fail "these cannot be all"
}

@test "each page is well formed" {
    local tried=0 page
    for page in "${PAGES[@]}"; do
        if command -v mandoc >/dev/null; then
            mandoc -T lint -W warning "$PMAP_SOURCE/$page" >lint 2>&1 || fail "$(cat lint)"
            tried=1
        fi
        if command -v groff >/dev/null; then
            groff -ww -z -mandoc -Tutf8 "$PMAP_SOURCE/$page" 2>&1 >/dev/null | tee lint
            [ ! -s lint ] || fail "$page"
            tried=1
        fi
    done
    [ "$tried" = 1 ] || skip "neither mandoc nor groff is here"
}

@test "each page that another one names is there" {
    local name section
    while read -r name section; do
        case $name in parallel | xargs | make | printf | install | nologin | limits.conf) continue ;; esac
        find "$PMAP_SOURCE"/{client,daemon} -name "*.$section" -exec grep -lE "^\.Nm $name( ,)?$" {} + | grep -q . ||
            fail "$name($section) is nowhere"
    done < <(cd "$PMAP_SOURCE" && cat "${PAGES[@]}" | sed -nE 's/^\.(Pq see )?Xr ([^ ]+) ([0-9]).*/\2 \3/p; s/^\.Pq see Xr ([^ ]+) ([0-9]).*/\1 \2/p' | sort -u)
}
