# The Debian packages, made of the build under test: what is in them, and what their maintainer scripts do to a tree of its own.
# That they install, upgrade and serve on a machine that runs systemd is for tests/vm to show.
load helper

# packs FOLDER [OPTION...]
packs() {
    cpack --config "$PMAP_BUILD/CPackConfig.cmake" -B "$BATS_FILE_TMPDIR/$1" "${@:2}" >"$BATS_FILE_TMPDIR/cpack.out" 2>&1 ||
        { cat "$BATS_FILE_TMPDIR/cpack.out"; return 1; }
}

setup_file() {
    command -v dpkg-shlibdeps >/dev/null || return 0
    packs 1
    packs 2 -D CPACK_DEBIAN_PACKAGE_RELEASE=2 -D CPACK_COMPONENTS_ALL=pmapd # to upgrade to
}

prepare() {
    command -v dpkg-shlibdeps >/dev/null || skip "this is no Debian"
    PATH=$PATH:/usr/sbin:/sbin # where dpkg looks for programs of its own
    PACKAGES=$BATS_FILE_TMPDIR/1
}

package() {
    local found=("$PACKAGES/$1"_*.deb)
    [ ${#found[@]} = 1 ] && [ -e "${found[0]}" ] || fail "no package $1, or several: ${found[*]}"
    echo "${found[0]}"
}

# The files and links of a package, without a leading dot.
contents() {
    dpkg-deb --fsys-tarfile "$(package "$1")" | tar -t | sed 's/^\.//' | grep -v '/$' | sort
}

field() {
    dpkg-deb -f "$(package "$1")" "$2"
}

@test "there are three, of the version of the changelog" {
    local name version
    version=$(sed -nE '1s/^pmapd \((.*)\) .*/\1/p' "$PMAP_SOURCE/systemd/debian/changelog")
    [ "$(find "$PACKAGES" -maxdepth 1 -name '*.deb' | wc -l)" = 3 ]
    for name in pmapd libpmap0 libpmap-dev; do
        [ "$(field $name Version)" = "$version" ]
        [ "$(field $name Package)" = $name ]
        [ "$(field $name Source)" = pmapd ]
        contents $name >all
        grep -qx "/usr/share/doc/$name/copyright" all
        grep -qx "/usr/share/doc/$name/changelog.Debian.gz" all
    done
    for name in systemd-sysusers libpam-runtime libc6 libzmq5; do
        [[ $(field pmapd Depends) == *"$name"* ]] || fail "$name is not in: $(field pmapd Depends)"
    done
    [[ $(field libpmap0 Depends) == *libc6*libzmq5* ]] || fail "$(field libpmap0 Depends)"
    [[ $(field libpmap-dev Depends) == *"libpmap0 (= $version)"* ]] || fail "$(field libpmap-dev Depends)"
    [[ $(field pmapd Provides) == "pmapc (= $version)" ]] || fail "$(field pmapd Provides)"
}

@test "each file that is installed is in one of them, and what a package alone has is what Debian wants" {
    DESTDIR=$T/staged cmake --install "$PMAP_BUILD" --prefix /usr >install.out
    (cd staged && find . ! -type d | sed 's/^\.//' | sort) >installed
    local name
    for name in pmapd libpmap0 libpmap-dev; do
        contents $name
    done | sort >packaged
    uniq -d packaged >twice
    [ ! -s twice ] || fail "in two packages: $(cat twice)"
    comm -23 installed packaged >missing
    [ ! -s missing ] || fail "in no package: $(cat missing)"
    comm -13 installed packaged | grep -vE '^/usr/share/(doc/[^/]+/(copyright|changelog(.Debian)?.gz)|lintian/overrides/[^/]+)$' >only
    [ "$(cat only)" = "$(printf '/etc/pam.d/pmapd\n/etc/pmapd/pmapd.conf')" ] || fail "only in packages: $(cat only)"
    contents libpmap0 | grep -E '/usr/lib' >library
    [ "$(wc -l <library)" = 2 ] || fail "$(cat library)"
}

@test "what is in /etc is the administrator's" {
    dpkg-deb -I "$(package pmapd)" conffiles | sort >conffiles
    contents pmapd | grep '^/etc/' | diff conffiles -
}

@test "the symbols that the package tells of are those of the library" {
    dpkg-deb -x "$(package libpmap0)" tree
    dpkg-deb -I "$(package libpmap0)" symbols | sed -nE 's/^ ([a-z_]+)@Base .*/\1/p' >told
    nm -D --defined-only "$(find tree -name 'libpmap.so.0.*')" | awk '$2 == "T" { print $3 }' | sort | diff told -
    [ "$(wc -l <told)" -ge 20 ]
    [[ $(dpkg-deb -I "$(package libpmap0)" shlibs) == "libpmap 0 libpmap0 "* ]]
}

# installs PACKAGE...: with dpkg, into the tree ./root, of which the scripts are told by $DPKG_ROOT.
installs() {
    expect 0 dpkg --root="$T/root" --force-depends --force-script-chrootless --force-confold "$@"
}

# What of the units is enabled in the tree.
enabled() {
    (cd root/etc/systemd/system && find . -type l | sort)
}

@test "install, upgrade, remove, reinstall, purge" {
    [ "$(id -u)" = 0 ] || skip "only root installs packages"
    command -v deb-systemd-helper >/dev/null && command -v systemd-sysusers >/dev/null || skip "there is no systemd-sysusers here"
    mkdir -p root/var/lib/dpkg/{info,updates} root/usr/bin root/run
    : >root/var/lib/dpkg/status
    # Of the tree's own: postrm looks for it there.
    cp /usr/bin/deb-systemd-helper root/usr/bin/
    local unit=./sockets.target.wants/pmapd.socket service=./multi-user.target.wants/pmapd.service

    installs -i "$(package pmapd)"
    grep -q '^pmapd:' root/etc/passwd || fail "no user"
    [ "$(stat -c '%a %U' root/run/pmapd)" = '755 root' ]
    [ "$(enabled)" = "$service"$'\n'"$unit" ] || fail "enabled: $(enabled)"
    root/usr/sbin/pmapd --check-config -c "$T/root/etc/pmapd/pmapd.conf"

    # An administrator's file and decisions survive an upgrade, and a reinstallation behind a removal.
    printf '[pool]\nslots = 3\n' >root/etc/pmapd/pmapd.conf
    rm "root/etc/systemd/system/$service"
    PACKAGES=$BATS_FILE_TMPDIR/2 installs -i "$(PACKAGES=$BATS_FILE_TMPDIR/2 package pmapd)"
    grep -q '^Version: .*-2$' root/var/lib/dpkg/status
    grep -qx 'slots = 3' root/etc/pmapd/pmapd.conf
    [ "$(enabled)" = "$unit" ] || fail "enabled: $(enabled)"
    installs -r pmapd
    grep -qx 'slots = 3' root/etc/pmapd/pmapd.conf
    [ ! -e root/usr/sbin/pmapd ]
    installs -i "$(package pmapd)"
    grep -qx 'slots = 3' root/etc/pmapd/pmapd.conf
    [ "$(enabled)" = "$unit" ] || fail "enabled: $(enabled)"

    installs -P pmapd
    find root -name '*pmap*' >left
    [ ! -s left ] || fail "left: $(cat left)"
    [ -z "$(find root/var/lib/systemd -name '*pmap*' 2>/dev/null)" ]
    grep -q '^pmapd:' root/etc/passwd # see postrm
}

# calls SCRIPT ARGUMENT...: what a script of pmapd's calls where systemd runs, a line each, in the file `called`.
calls() {
    : >called
    expect 0 unshare --mount sh -c 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec "$@"' sh \
        env PATH="$T/stubs:$PATH" "$PMAP_SOURCE/systemd/debian/pmapd/$1" "${@:2}"
}

@test "where systemd runs the daemon is started, restarted on an upgrade with its socket left open, and stopped" {
    [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null || skip "there is no /run of one's own to be had"
    mkdir stubs
    local name
    for name in systemctl deb-systemd-helper deb-systemd-invoke systemd-sysusers systemd-tmpfiles; do
        printf '#!/bin/sh\necho "%s $*" >>%s\n' $name "$T/called" >stubs/$name
        chmod 755 stubs/$name
    done
    calls postinst configure ''
    head -n 1 called | same <(echo 'systemd-sysusers pmapd.conf')
    grep -E '^(systemctl|deb-systemd-invoke)' called |
        diff - <(printf '%s\n' 'systemctl --system daemon-reload' 'deb-systemd-invoke start pmapd.socket pmapd.service')
    calls prerm upgrade 0.1.0-2
    [ ! -s called ] || fail "the old daemon is to serve until the new one is there: $(cat called)"
    calls postrm upgrade 0.1.0-2
    [ ! -s called ] || fail "$(cat called)"
    calls postinst configure 0.1.0-1
    grep -E '^(systemctl|deb-systemd-invoke)' called |
        diff - <(printf '%s\n' 'systemctl --system daemon-reload' 'deb-systemd-invoke restart pmapd.service')
    calls prerm remove
    diff called <(echo 'deb-systemd-invoke stop pmapd.service pmapd.socket')
    calls postrm remove
    diff called <(echo 'systemctl --system daemon-reload')
}

@test "maintainer scripts are well formed" {
    local script
    for script in "$PMAP_SOURCE"/systemd/debian/pmapd/p*; do
        expect 0 sh -n "$script"
        [ -x "$script" ] || fail "not executable: $script"
    done
}
