#!/bin/sh
# mmdebstrap runs this on the finished tree ($1): it adds the files beside it and the distribution's cloud kernel without
# its initramfs tools, and switches off what a test guest waits for in vain.
set -eu
tree=$1
here=$(dirname "$0")
cp -R "$here/files/." "$tree/"
mkdir -p "$tree/opt/muster" "$tree/var/lib/muster-agent"
echo muster-guest > "$tree/etc/hostname"
echo "127.0.0.1 localhost muster-guest" > "$tree/etc/hosts"
chroot "$tree" systemd-machine-id-setup

# By tar and not by dpkg-deb -x, which would put a folder in the place of the link /lib.
kernel=$(APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
(cd "$tree/tmp" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -q download "$kernel")
dpkg-deb --fsys-tarfile "$tree/tmp/$kernel"_*.deb | tar -x --keep-directory-symlink -C "$tree"
rm "$tree/tmp/$kernel"_*.deb
chroot "$tree" /sbin/depmod "$(ls "$tree/lib/modules")"

chroot "$tree" systemctl --quiet set-default multi-user.target
chroot "$tree" systemctl --quiet enable guest-network.service guest-shell.service
chroot "$tree" systemctl --quiet mask getty@.service serial-getty@.service getty.target apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service \
    systemd-timesyncd.service systemd-pstore.service systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service systemd-binfmt.service
# The apt settings of this machine, with its proxy, are nobody's business.
rm -f "$tree/etc/apt/apt.conf.d/99mmdebstrap"
