#!/bin/bash
# dom0's first process: brings up Xen's toolstack, then hands over to the agent.
#
# The order matters in several places; each says why.

export PATH=/usr/lib/xen-4.17/bin:/usr/sbin:/usr/bin
export LD_LIBRARY_PATH=/usr/lib/xen-4.17/lib/x86_64-linux-gnu
export HOME=/root TERM=linux LC_ALL=C

say() {
    echo "lab: $*" > /dev/console
}

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
# Without /dev/stdin, the hotplug script of block devices spins in its lock for ever.
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mkdir -p /run/lock /run/xen /run/xenstored /run/agent /var/lib/xen /var/lib/xenstored /share

modprobe -aq virtio_pci virtio_console 9pnet_virtio 9p \
    xenfs xen-privcmd xen-evtchn xen-gntdev xen-gntalloc || say "some modules did not load"
mount -t xenfs xenfs /proc/xen
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none host /share ||
    say "the share cannot be mounted"
mkdir -p /share/console /share/xl
# The packages that are not in the image.
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro tools /tools ||
    say "the tools cannot be mounted"

xenstored --pid-file /run/xenstored.pid || say "xenstored did not start"
# What follows can be loaded while xenstored comes up.
modprobe -aq loop bridge xen-netback xen-blkback
while ! xenstore-exists / 2>/dev/null; do
    sleep 0.05
done
# Nothing may be written to /local/domain/0 before this: it would then skip its work.
xen-init-dom0 || say "xen-init-dom0 failed"
xenconsoled --pid-file=/run/xenconsoled.pid --log=guest --log-dir=/share/console

ip link set lo up
ip link add xenbr0 type bridge
ip address add 10.0.0.1/24 dev xenbr0
ip link set xenbr0 up

bash /usr/lib/xenios/agent.sh
say "the agent has ended"
poweroff -f
