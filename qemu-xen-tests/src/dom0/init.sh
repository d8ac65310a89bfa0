#!/usr/bin/busybox sh
# dom0's first process: brings up Xen's toolstack, then becomes the agent.
#
# This is busybox's shell, in which most commands here cost no program start: each start takes about
# 0.1 s in an emulated machine. The order matters in several places; each says why.

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
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
mkdir -p /run/lock /run/xen /run/xenstored /run/agent /var/lib/xen /var/lib/xenstored

# What xenstored needs comes first: it starts while the rest is loaded.
modprobe -a xenfs xen-privcmd xen-evtchn xen-gntdev xen-gntalloc
mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xenstored.pid || say "xenstored did not start"
modprobe -a virtio_pci virtio_console 9pnet_virtio 9p loop bridge xen-netback xen-blkback ||
    say "some modules did not load"
options=trans=virtio,version=9p2000.L,msize=262144
mount -t 9p -o $options,cache=none host /share || say "the share cannot be mounted"
# The packages that are not in the image.
mount -t 9p -o $options,cache=loose,ro tools /tools || say "the tools cannot be mounted"
mkdir -p /share/console /share/xl

while [ ! -S /run/xenstored/socket ]; do
    usleep 10000
done
# Nothing may be written to /local/domain/0 before this: it would then skip its work.
xen-init-dom0 > /dev/null || say "xen-init-dom0 failed"
xenconsoled --pid-file=/run/xenconsoled.pid --log=guest --log-dir=/share/console

/usr/bin/ip -batch - << 'EOF' || say "the bridge is missing"
link set lo up
link add xenbr0 type bridge
address add 10.0.0.1/24 dev xenbr0
link set xenbr0 up
EOF

. /usr/lib/xenios/agent.sh
say "the agent has ended"
poweroff -f
