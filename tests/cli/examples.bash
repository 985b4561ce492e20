# Examples of the manual pages, tried: to be loaded behind helper.
# shellcheck shell=bash

# try_examples PAGE...: of this source folder. Each page's are tried in a folder of its own, one after the other: what
# is shell is run, and prints what the page shows; what is configuration is right; what is C is there as the file
# that the page's next lines compile.
try_examples() {
    local page want example source
    for page; do
        export EXAMPLES=$T/examples/${page##*/}
        mkdir -p "$EXAMPLES" "$T/in/${page##*/}"
        cd "$T/in/${page##*/}"
        expect 0 python3 "$PMAP_SOURCE/tests/cli/manual.py" examples "$PMAP_SOURCE/$page" "$EXAMPLES"
        for example in "$EXAMPLES"/*.c; do
            [ -e "$example" ] || continue
            source=$(grep -ohE '[a-z]+\.c\b' "$EXAMPLES"/*.sh | head -n 1)
            cp "$example" "${source:?what compiles it?}"
        done
        for example in "$EXAMPLES"/*.conf; do
            [ ! -e "$example" ] || expect 0 pmapd --check-config -c "$example"
        done
        for example in "$EXAMPLES"/*.sh; do
            [ ! -e "$example" ] || expect 0 bash "$example" 3>&-
        done
        for want in "$EXAMPLES"/*.want; do
            [ ! -e "$want" ] || diff "$want" "${want%.want}.out" || fail "$page: not what it shows"
        done
        cd "$T"
    done
}
