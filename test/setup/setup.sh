#!/usr/bin/env bash
# Checks what building and testing need beyond this repository, and installs what
# lacks with apt as root; as an ordinary user it prints the one line and stops.
# Silent and quick when nothing lacks.
set -euo pipefail

packages=()
faults=()

# at_least OLDEST HAVE: is version HAVE at least OLDEST?
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

go_version() { (cd / && go env GOVERSION 2>/dev/null) | sed -n 's/^go\([0-9.]*\).*/\1/p'; }

check_go() {
	local have
	have=$(go_version || true)
	if [ -z "$have" ]; then
		packages+=(golang-go)
	elif ! at_least 1.21 "$have"; then
		faults+=("Go $have is too old: install Go 1.21 or newer (1.21 and newer fetch the version that go.mod names)")
	fi
}

check_python() {
	if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
		if command -v python3 >/dev/null; then
			faults+=("$(python3 --version 2>&1) is too old: install Python 3.9 or newer as python3")
			return
		fi
		packages+=(python3 python3-venv)
	elif ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
		packages+=(python3-venv)
	fi
}

check_git() { command -v git >/dev/null || packages+=(git ca-certificates); }

# The shim and the race detector need cgo: a C compiler and the C library's headers.
check_cc() {
	local out
	out=$(mktemp)
	if ! printf '#include <stdlib.h>\nint main(void){return 0;}\n' | ${CC:-gcc} -x c -o "$out" - 2>/dev/null; then
		packages+=(gcc libc6-dev)
	fi
	rm -f "$out"
}

# The shim's filters of system calls; linked into it.
check_seccomp() {
	pkg-config --exists libseccomp 2>/dev/null || packages+=(libseccomp-dev pkg-config)
}

# Tests of sandboxes: a program that runs in an empty root, subordinate ids, and disks
# with quotas.
check_sandbox() {
	if [ ! -x /bin/busybox ] || ldd /bin/busybox >/dev/null 2>&1; then packages+=(busybox-static); fi
	command -v newuidmap >/dev/null || packages+=(uidmap)
	[ -x /usr/sbin/mkfs.ext4 ] || [ -x /sbin/mkfs.ext4 ] || packages+=(e2fsprogs)
}

check_all() {
	packages=() faults=()
	check_go
	check_python
	check_git
	check_cc
	check_seccomp
	check_sandbox
}

stop() {
	printf 'setup: %s\n' "$@" >&2
	exit 1
}

check_all
[ ${#faults[@]} -eq 0 ] || stop "${faults[@]}"
[ ${#packages[@]} -gt 0 ] || exit 0

line="apt-get install -y --no-install-recommends ${packages[*]}"
command -v apt-get >/dev/null || stop "missing: ${packages[*]} (Debian's names); install them with this system's package manager"
[ "$(id -u)" -eq 0 ] || stop "missing: ${packages[*]}; run as root, then start again:" "  $line"

printf 'setup: %s\n' "$line" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2 </dev/null
$line >&2 </dev/null

check_all
[ ${#faults[@]} -eq 0 ] || stop "${faults[@]}"
[ ${#packages[@]} -eq 0 ] || stop "still missing after the installation: ${packages[*]}"
