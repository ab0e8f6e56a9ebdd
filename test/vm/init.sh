#!/bin/sh
# The init of the guest: mounts what a system has, with cgroup v2 and nothing of
# v1, runs the tests, says how they ended, since a guest's exit code does not come
# out, and powers off. $folder holds the programs; all else is memory.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs shm /dev/shm
mount -t devpts devpts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
ip link set lo up 2>/dev/null
/bin/busybox insmod "$overlay"
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do
	echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control
done
cp "$folder/agentctl-shim" "$folder/runtime.test" /var/tmp/
cd /var/tmp || exit
AGENTCTL_TEST_SHIM=/var/tmp/agentctl-shim TMPDIR=/var/tmp HOME=/var/tmp ./runtime.test -test.v -test.timeout "$timeout" -test.run "$tests" 2>&1
echo "the tests ended with $?"
echo o >/proc/sysrq-trigger
sleep 10
