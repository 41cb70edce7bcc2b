#!/bin/busybox sh
# The first program of the guest. What follows it is made for the run: one `job` an executable.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TMPDIR=/tmp LAMINA_VM=1 LD_LIBRARY_PATH=/usr/lib
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mapper
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t cgroup2 none /sys/fs/cgroup
ln -sf /proc/mounts /etc/mtab
hostname guest
for module in loop overlay erofs btrfs xfs dm-mod dm-thin-pool dm-flakey dm-log-writes; do modprobe $module; done
if ls /lib/modules/*/extra/zfs.ko >/dev/null 2>&1; then modprobe zfs; fi
ifconfig lo up
stty -F /dev/ttyS1 raw -echo
exec >/dev/ttyS1 2>&1 </dev/null
ulimit -n 65536
# job INDEX EXECUTABLE TEST...
job() {
    index=$1 program=$2
    shift 2
    echo "@@ begin $index"
    # What a test calls by a path relative to its crate is not here.
    "$program" --show-output --test-threads=2 --exact "$@"
    echo "@@ end $index $?"
}
