#!/usr/bin/env bash
# Installs user-mode Linux where it lacks and can be: tests of cgroup v2 run on it,
# on whatever kernel this machine has.
set -euo pipefail
command -v linux.uml >/dev/null && exit 0
command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] || exit 0
echo 'setup: apt-get install -y --no-install-recommends user-mode-linux' >&2
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends user-mode-linux >&2 </dev/null ||
	{ apt-get update -q >&2 </dev/null && apt-get install -y --no-install-recommends user-mode-linux >&2 </dev/null; }
