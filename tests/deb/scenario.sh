#!/bin/bash
# Inside a booted container, as root: the life of the packages, step by step. See check_deb.py.
#
# Prints one line "ok: WHAT" for each step that went as it should; the first that did not ends it with exit status 1.
set -u
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

PACKAGES=(sluiced sluicectl libsluice0 libsluice-dev python3-sluice)
SOCKETS=(sluice.socket sluice-http.socket sluice-http-unix.socket)

ok() { echo "ok: $*"; }
fail() {
    journalctl --no-pager --unit 'sluice*' --lines 20
    echo "FAILED: $*"
    exit 1
}

install_debs() {
    local debs=()
    for package in "${PACKAGES[@]}"; do
        debs+=("/test/$1/${package}"_[0-9]*.deb)
    done
    apt-get -q -y install --no-install-recommends --allow-downgrades "${debs[@]}" || fail "the $1 version does not install"
}

# The container has no way out: apt finds what it would fetch.
cp /test/archives/*.deb /var/cache/apt/archives/

# every unit, user, file and process of sluice that is left
remains() {
    find /etc /run /usr /lib/systemd /var -xdev \( -name '*sluice*' -o -path '*/sluice/*' \) \
        -not -path '/var/cache/*' -not -path '/var/log/*' -not -path '/run/log/*' -not -path '/var/lib/apt/*' -print
    systemctl list-unit-files --no-legend 'sluice*'
    systemctl list-units --all --no-legend 'sluice*'
    pgrep -a sluiced
}

# ---------------------------------------------------------------- install
before=$(remains)
[ -z "$before" ] || fail "there is sluice already: $before"
install_debs first
ok "installs"
getent group sluice >/dev/null || fail "there is no group sluice"
id -u sluice >/dev/null || fail "there is no user sluice"
[ "$(stat -c '%a %U %G' /run/sluice/rpc.sock)" = "660 root sluice" ] || fail "rpc.sock: $(stat -c '%a %U %G' /run/sluice/rpc.sock)"
[ "$(stat -c '%a %U %G' /run/sluice/http.sock)" = "660 root sluice" ] || fail "http.sock: $(stat -c '%a %U %G' /run/sluice/http.sock)"
pgrep -a sluiced && fail "the daemon runs before anybody asked"
[ -z "$(dpkg --verify "${PACKAGES[@]}")" ] || fail "$(dpkg --verify "${PACKAGES[@]}")"
journalctl --list-catalog | grep -i sluice >/dev/null || fail "journalctl -x has nothing to say about sluice"
ok "sockets are there for the group sluice, the daemon sleeps"

# ---------------------------------------------------------------- use
/test/debian-tests/activation || fail "debian/tests/activation"
ok "the first connection on each socket starts it; a call leaves its record"
/test/debian-tests/compile || fail "debian/tests/compile"
ok "programs compile by pkg-config and by CMake"
/test/debian-tests/python || fail "debian/tests/python"
python3 -c 'import sluice; print(sluice.Client().chat.completions.create(
    model="echo", messages=[{"role": "user", "content": "hello"}]).choices[0].message.content)' |
    grep "said by the packaged daemon" || fail "no answer in Python"
ok "Python finds the library and the daemon"
useradd --no-create-home guest && useradd --no-create-home --groups sluice member || fail "useradd"
runuser -u guest -- sluicectl models && fail "a user outside of the group sluice may use it"
runuser -u member -- sluicectl models | grep -w echo || fail "a member of the group sluice may not use it"
ok "members of the group sluice may use it, others not"
for package in "${PACKAGES[@]}"; do
    find $(dpkg -L "$package") -maxdepth 0 -type f -path '*/man/man*.gz' | while read -r page; do
        man --warnings -l "$page" >/dev/null 2>/tmp/man.log || fail "$page"
        [ ! -s /tmp/man.log ] || fail "$page: $(cat /tmp/man.log)"
    done || exit 1
done
man -w sluice_connect | grep libsluice || fail "man sluice_connect leads to $(man -w sluice_connect)"
ok "manual pages are read without a warning"

# ---------------------------------------------------------------- upgrade, with clients that never stop asking
ask() {
    local asked=0 refused=0
    while [ -e /tmp/asking ]; do
        curl --silent --fail --max-time 60 "${@}" >/dev/null || refused=$((refused + 1))
        asked=$((asked + 1))
    done
    echo "$asked $refused"
}
# the version before it had no user of its own (DynamicUser=), only the group
systemctl stop sluice.service
[ "$(stat -c %U /usr/share/polkit-1/rules.d/50-sluice.rules)" = root ] || fail "no rule of polkit"
userdel sluice
getent group sluice >/dev/null || fail "the group, which has a member, went with the user"
sed -i 's/^User=sluice$/DynamicUser=yes\nUser=sluiced/' "$(systemctl show -P FragmentPath sluice.service)"
systemctl daemon-reload
curl --silent --fail http://127.0.0.1:4000/v1/models | grep -w echo || fail "no answer under DynamicUser="
[ "$(ps -o uid= -p "$(systemctl show -P MainPID sluice.service)")" -ge 61184 ] || fail "not under a user that systemd made up"
[ -L /var/lib/sluice ] && [ -d /var/lib/private/sluice ] || fail "the state is not where DynamicUser= has it: $(ls -ld /var/lib/sluice)"
touch /var/lib/private/sluice/learned && chown --reference=/var/lib/private/sluice /var/lib/private/sluice/learned
keeps_state() {
    [ ! -L /var/lib/sluice ] && [ -d /var/lib/sluice ] && [ ! -e /var/lib/private/sluice ] &&
        [ "$(stat -c %U /var/lib/sluice /var/lib/sluice/learned | uniq)" = sluice ] || fail "the state after $1: $(ls -lad /var/lib/sluice/* /var/lib/private/*)"
}
touch /tmp/asking
ask http://127.0.0.1:4000/v1/models >/tmp/tcp &
ask --unix-socket /run/sluice/http.sock http://localhost/v1/models >/tmp/unix &
old=$(systemctl show -P MainPID sluice.service)
install_debs second
new=$(systemctl show -P MainPID sluice.service)
curl --silent --fail http://127.0.0.1:4000/v1/models | grep -w echo || fail "no answer after the upgrade"
rm /tmp/asking
wait
[ "$old" != "$new" ] || fail "the upgrade did not restart the daemon"
[ "$(ps -o user= -p "$new")" = sluice ] || fail "the upgraded daemon runs as $(ps -o user= -p "$new")"
runuser -u member -- sluicectl models | grep -w echo || fail "a member of the group is none any more"
keeps_state "the upgrade"
grep -q "said by the packaged daemon" /etc/sluice/sluice.yaml || fail "the upgrade has overwritten an edited configuration"
read -r asked_tcp refused_tcp </tmp/tcp
read -r asked_unix refused_unix </tmp/unix
[ "$asked_tcp" -gt 0 ] && [ "$asked_unix" -gt 0 ] || fail "nobody asked during the upgrade"
[ "$refused_tcp" -eq 0 ] && [ "$refused_unix" -eq 0 ] || fail "refused during the upgrade: $refused_tcp of $asked_tcp by TCP, $refused_unix of $asked_unix by Unix socket"
ok "upgrades and restarts; of $asked_tcp requests by TCP and $asked_unix by Unix socket meanwhile none failed"

# what an administrator switched off stays off
systemctl disable --now sluice-http.socket || fail "disable"
install_debs first # a downgrade runs the same scripts
[ "$(systemctl is-enabled sluice-http.socket)" = disabled ] || fail "an upgrade has enabled a disabled socket"
[ "$(systemctl is-active sluice-http.socket)" = inactive ] || fail "an upgrade has started a disabled socket"
curl --silent --fail --unix-socket /run/sluice/http.sock http://localhost/v1/models | grep -w echo || fail "no answer after the downgrade"
keeps_state "the downgrade"
ok "a socket that was disabled stays so, and so does the state"

# ---------------------------------------------------------------- remove, purge
apt-get -q -y remove "${PACKAGES[@]}" || fail "does not go"
pgrep -a sluiced && fail "the daemon outlives its package"
[ ! -e /run/sluice ] || fail "left: $(find /run/sluice)"
[ -e /etc/sluice/sluice.yaml ] || fail "remove has taken the configuration with it"
keeps_state "the removal"
curl --silent --max-time 10 http://127.0.0.1:4000/v1/models && fail "who answers?"
[ "$(dpkg-query -W -f '${db:Status-Abbrev}\n' "${PACKAGES[@]}" 2>/dev/null | grep -vc "^un")" = 1 ] || fail "other packages than sluiced left something: $(dpkg -l "*sluice*")"
ok "removes, and keeps the configuration"
dpkg --purge sluiced || fail "does not purge"
after=$(remains)
[ -z "$after" ] || fail "left after purge: $after"
journalctl --list-catalog | grep -i sluice && fail "the journal's catalogue still has it"
{ getent group sluice && getent passwd sluice; } >/dev/null || fail "user or group went with the package: files may belong to them"
[ "$(systemctl is-system-running)" = running ] || [ "$(systemctl --failed --no-legend | grep -c sluice)" = 0 ] || fail "failed units"
ok "purges without a trace (but for user and group)"
