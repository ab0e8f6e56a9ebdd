#!/bin/sh
# The init of a guest whose disks have project quotas, and which runs the tests of them:
# kernels that were built without quotas are common.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
for module in fs/overlayfs/overlay fs/quota/quota_tree fs/quota/quota_v2; do
	/bin/busybox insmod "$modules/$module.ko"
done
cp "$folder/quota.test" /var/tmp/
cd /var/tmp || exit
for disk in $(echo "$disks" | tr , " "); do
	mkdir "/var/tmp/$disk"
	mount -t "${disk%-*}" -o prjquota "/dev/${disk#*-}" "/var/tmp/$disk" || continue
	AGENTCTL_TEST_QUOTA="/var/tmp/$disk" TMPDIR=/var/tmp ./quota.test -test.v -test.timeout "$timeout" 2>&1
	echo "the tests on $disk ended with $?"
done
echo o >/proc/sysrq-trigger
sleep 10
