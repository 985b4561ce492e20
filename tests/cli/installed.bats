# The installed tree, under another prefix: programs find each other, and the library is found by pkg-config and CMake.
load helper
load examples

# Installs into $T/tree. PMAP_BUILD, PMAP_SOURCE: the build and the source folder.
prepare() {
    cmake --install "$PMAP_BUILD" --prefix "$T/tree" >install.out
    PATH=$T/tree/bin:$T/tree/sbin:$PATH
    lib=$(dirname "$(find "$T/tree" -name libpmap.so)")
    export LD_LIBRARY_PATH=$lib
}

@test "the installed programs start a daemon and map" {
    [ "$(command -v pmapc)" = "$T/tree/bin/pmapc" ]
    run --separate-stderr timeout "$LIMIT" pmapc map square ::: 12
    [ "$status" -eq 0 ]
    [ "$output" = 144 ]
    find "$T/tree" -name pmapd.conf | grep -q .
}

@test "each name of a manual page finds it, and completion is where the shells look for it" {
    local page name
    for page in "$PMAP_SOURCE"/{client/pmapc,client/libpmap,daemon}/man/*; do
        for name in $(sed -n '/^.Sh NAME/,/^.Nd/s/^\.Nm \([^ ]*\).*/\1/p' "$page"); do
            zcat "$T/tree/share/man/man${page##*.}/$name.${page##*.}.gz" | cmp - "$page" || fail "$name of $page"
            echo "$name"
        done
    done >names
    [ "$(wc -l <names)" -ge 45 ] || fail "these cannot be all"
    [ -f "$T/tree/share/bash-completion/completions/pmapc" ]
    [ -n "$(find "$T/tree/share/zsh" -name _pmapc)" ]
}

@test "DESTDIR takes everything, and nothing names the folder that it was installed to for a while" {
    DESTDIR=$T/staged cmake --install "$PMAP_BUILD" --prefix /usr >staged.out
    diff <(cd tree && find . ! -type d | sort) <(cd staged/usr && find . ! -type d | sort) || fail "not the same files"
    [ "$(cd staged && ls)" = usr ] || fail "beside the prefix: $(cd staged && ls)"
    grep -q '^ExecStart=/usr/sbin/pmapd$' "$(find staged -path '*/system/pmapd.service')"
    ! grep -rlF "$T/staged" staged || fail "these name it"
    ! grep -rIlF -e "$T" -e "$PMAP_BUILD" tree/share tree/include "$lib"/pkgconfig "$lib"/cmake || fail "these name a folder of the build"
}

@test "the installed programs run commands, Python and a module that was built against the installed header" {
    expect 0 pmapc map -- echo got ::: 1 2
    says $'got 1\ngot 2'
    expect 0 pmapc map --python 'int(x) + 1' ::: 41
    says 42
    cc -O2 -fPIC -shared -I "$T/tree/include" "$PMAP_SOURCE/client/libpmap/examples/module/cube.c" -o cube.so
    expect 0 pmapc map ./cube.so:cube --type i64 ::: 3
    says 27
}

@test "the installed pmapc finds its live view" {
    pmapc map -q echo ::: 1 # starts a daemon for it
    expect 0 pmapc top --batch -n 1
    grep -qE '^jobs: 0$' out
    [ -x "$T/tree/libexec/pmapd/pmapc-top" ]
}

@test "the examples of pmap(3) and pmap-module(3) build and work" {
    pmapc map -q echo ::: 1
    export PKG_CONFIG_PATH=$lib/pkgconfig CPATH=$T/tree/include
    try_examples client/libpmap/man/pmap.3 client/libpmap/man/pmap-module.3
    [ "$(find examples -name '*.c' | wc -l)" = 2 ]
}

@test "pkg-config builds the example against the installed library" {
    pmapc map -q echo ::: 1 # starts a daemon for it
    export PKG_CONFIG_PATH=$lib/pkgconfig
    # shellcheck disable=SC2046 # words
    cc "$PMAP_SOURCE/client/libpmap/examples/squares.c" $(pkg-config --cflags --libs pmap) -o squares
    run --separate-stderr timeout "$LIMIT" ./squares 5
    [ "$status" -eq 0 ]
    [ "$output" = $'0\n1\n4\n9\n16' ]
}

@test "find_package builds the example against the installed library" {
    pmapc map -q echo ::: 1
    mkdir app
    cp "$PMAP_SOURCE/client/libpmap/examples/squares.c" app/
    cat >app/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(app C)
find_package(pmap REQUIRED)
add_executable(squares squares.c)
target_link_libraries(squares pmap::pmap)
END
    cmake -S app -B app/build -DCMAKE_PREFIX_PATH="$T/tree" >cmake.out
    cmake --build app/build >>cmake.out
    run --separate-stderr timeout "$LIMIT" app/build/squares 3
    [ "$status" -eq 0 ]
    [ "$output" = $'0\n1\n4' ]
}
