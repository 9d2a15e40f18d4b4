#!/bin/sh
# start-task.sh: the start task of the demo's pool. It makes sure that this
# machine has the two programs the demo's tasks run: povray and ffmpeg.
#
# A start task runs on every boot of every node, and the demo's three nodes
# share one machine. So this script
#   * does nothing where both programs exist already (then it needs no root);
#   * lets one node install while the others wait on a file lock, and looks
#     again once the lock is held, so that the work is done once per machine;
#   * waits for a foreign apt or dpkg instead of failing beside it;
#   * can be killed at any moment and started again: an interrupted install is
#     finished, and the kernel drops the lock with its last holder.
#
# It needs nothing from its environment but PATH, and not even that one to hold
# the sbin folders that dpkg insists on. Exit codes: 0 both programs are there,
# 1 they are not and stderr says why.
set -eu
# Packages' scripts write files that every user must be able to read.
umask 022

# /run belongs to root and is emptied by a reboot: nobody else can plant a link
# there, and a lock never outlives the machine's uptime.
LOCK_FILE=/run/muster-demo-install.lock
# A slow mirror needs two or three minutes for these packages; ten minutes also
# cover a neighbour that installs them twice over.
LOCK_WAIT_SECONDS=600
# How long apt itself waits for another apt or dpkg (unattended upgrades, say).
APT_WAIT_SECONDS=300

PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEBIAN_FRONTEND=noninteractive
LC_ALL=C
HOME="${HOME:-/root}"
export PATH DEBIAN_FRONTEND LC_ALL HOME

say() { printf 'start task: %s\n' "$*"; }
fail() {
    printf 'start task: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
have_both() { have povray && have ffmpeg; }

# What is missing, as package names: Debian and Ubuntu name both packages after
# their program.
missing() {
    have povray || printf 'povray '
    have ffmpeg || printf 'ffmpeg '
}

# Descriptor 9 is the lock. It is closed for apt, so that a daemon started by
# some package's install script cannot carry the lock away.
apt_get() {
    apt-get -q -y -o "DPkg::Lock::Timeout=$APT_WAIT_SECONDS" -o Acquire::Retries=3 "$@" \
        </dev/null 9>&-
}

# Recommended packages are left out: the scene includes none of POV-Ray's own
# library, and no display or sound is needed.
install_missing() {
    # shellcheck disable=SC2046 # one word per package is what is wanted here
    apt_get --no-install-recommends -o Dpkg::Options::=--force-confold install $(missing)
}

# The lock on the package lists has no timeout option as dpkg's has, so that a
# foreign `apt-get update` is waited for by trying again a few times.
update_lists() {
    tries=0
    until apt_get update; do
        tries=$((tries + 1))
        [ "$tries" -lt 5 ] || return 1
        say "apt-get update failed (try $tries of 5), trying again in $((tries * 3)) s"
        sleep $((tries * 3))
    done
}

if have_both; then
    say "povray and ffmpeg are installed, nothing to do"
    exit 0
fi

have apt-get || fail "$(missing)missing and this machine has no apt-get: install them by hand, then restart the node"
have flock || fail "flock is missing: install the package util-linux"
[ "$(id -u)" -eq 0 ] || fail "$(missing)missing and only root can install packages: run the start task elevated, or install them by hand"

exec 9>"$LOCK_FILE" || fail "cannot open the lock file $LOCK_FILE"
if ! flock --nonblock 9; then
    say "another node of this machine is installing, waiting for it (at most $LOCK_WAIT_SECONDS s)"
    flock --wait "$LOCK_WAIT_SECONDS" 9 ||
        fail "gave up after $LOCK_WAIT_SECONDS s: another process still holds $LOCK_FILE"
fi

if have_both; then
    say "povray and ffmpeg have been installed by another node of this machine"
    exit 0
fi

say "installing $(missing)"
# The first try fails where an earlier install was killed half way (dpkg must
# then finish it) or where the package lists are absent or old. Only then is
# either repaired: most machines have neither trouble, and fetching lists is slow.
if ! install_missing; then
    say "the first try failed: finishing interrupted installs, fetching new package lists"
    dpkg --configure -a </dev/null 9>&- || say "dpkg --configure -a failed, going on"
    update_lists || fail "apt-get update failed: check this machine's network and /etc/apt/sources.list"
    install_missing || fail "apt-get could not install $(missing): see the messages above"
fi

have_both || fail "apt-get succeeded but $(missing)cannot be found on PATH=$PATH"
say "povray and ffmpeg are installed"
