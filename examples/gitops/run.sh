#!/usr/bin/env bash
# GitOps in five minutes: a node follows a repository; a push changes it, a bad commit
# and a rewritten history are kept out. It needs bin/agentctl (`./justw build`, or
# AGENTCTL names another), keeps everything in a folder of its own and leaves nothing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
agentctl=${AGENTCTL:-$here/../../bin/agentctl}

run=$(mktemp -d "${TMPDIR:-/tmp}/agentctl-gitops.XXXXXX")
chmod 755 "$run"
export AGENTCTL_STATE=$run/state AGENTCTL_SOCKET=$run/agentctl.sock
export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.com GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.com
agent=

stop() {
	local status=$?
	trap - EXIT
	if [ -n "$agent" ]; then
		kill "$agent" 2>/dev/null || true
		wait "$agent" 2>/dev/null || true
		"$agentctl" server stop >/dev/null 2>&1 || true
	fi
	if [ "$status" -ne 0 ] && [ -s "$run/agent.log" ]; then tail -n 40 "$run/agent.log" >&2; fi
	rm -rf "$run"
	exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '$ agentctl %s\n' "$*"; "$agentctl" "$@"; }
fail() { printf 'gitops: %s\n' "$*" >&2; exit 1; }
push() { git -C "$run/fleet" commit --quiet --all --message "$1" && git -C "$run/fleet" push --quiet --force origin HEAD:main; }

# workers COUNT: has the node as many?
workers() { [ "$("$agentctl" get workers -o name | wc -l)" -eq "$1" ] || fail "there are not $1 workers"; }

# refused WORD COMMAND…: the command fails, and says WORD.
refused() {
	local word=$1 said
	shift
	printf '$ agentctl %s\n' "$*"
	if said=$("$agentctl" "$@" 2>&1); then fail "it was taken: $said"; fi
	printf '%s\n' "$said"
	grep -q -- "$word" <<<"$said" || fail "it does not say $word"
}

step 'a repository with the specs of a fleet'
git init --quiet --bare --initial-branch=main "$run/fleet.git"
git init --quiet --initial-branch=main "$run/fleet"
git -C "$run/fleet" remote add origin "$run/fleet.git"
cp -r "$here/fleet" "$run/fleet/nodes"
git -C "$run/fleet" add .
push 'two workers for rack r2'

step 'a node that follows it'
"$agentctl" agent --git "$run/fleet.git" --ref main --path nodes --interval 1s \
	--label rack=r2 --server-listen 127.0.0.1:0 >"$run/agent.log" 2>&1 &
agent=$!
for _ in {1..600}; do
	if [ "$("$agentctl" get workers -o name 2>/dev/null | wc -l)" -eq 2 ]; then break; fi
	sleep 0.1
done
show reconcile --now
show get workers
workers 2

step 'edit and push: the node follows'
sed -i 's/count: 2/count: 3/' "$run/fleet/nodes/rack-r2.yaml"
push 'a third worker'
show reconcile --now
show get workers
workers 3

step 'a bad commit is kept out, and it is told whose'
sed -i 's/count: 3/count: many/' "$run/fleet/nodes/rack-r2.yaml"
push 'count the workers'
refused 'rack-r2.yaml' reconcile --now
"$agentctl" describe node | grep -F 'Ann <ann@example.com>' || fail 'the author is not told'
workers 3
sed -i 's/count: many/count: 4/' "$run/fleet/nodes/rack-r2.yaml"
push 'mend it'
show reconcile --now
workers 4

step 'a rewritten history is refused, until you say so'
git -C "$run/fleet" reset --quiet --hard HEAD~3
sed -i 's/count: 2/count: 1/' "$run/fleet/nodes/rack-r2.yaml"
push 'start over'
refused 'accept-rewind' reconcile --now
workers 4
show reconcile --now --accept-rewind
workers 1

step 'who changed what, and how to go back'
show history
show blame main.count
show rollback --yes
"$agentctl" get node || true # suspended: the repository is not followed until you say so
show resume
workers 1
