#!/usr/bin/env bash
# The quickstart: declares a node, runs a task on it with the real clearml SDK, and
# runs it again to show that nothing is built twice. It needs bin/agentctl (`./justw
# quickstart` builds it), keeps everything in a folder of its own and leaves nothing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
node=${1:-node.yaml}
agentctl=$top/bin/agentctl
sdk=${AGENTCTL_SDK_VENV:-$top/.cache/sdk-2.1.12}

# The tasks of a root agent run as another user, who must reach them here.
run=$(mktemp -d "${TMPDIR:-/tmp}/agentctl-quickstart.XXXXXX")
chmod 755 "$run"
export AGENTCTL_STATE=$run/state AGENTCTL_SOCKET=$run/agentctl.sock AGENTCTL_SERVER_LISTEN=127.0.0.1:0

times=()
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f s", b - a }'; }
phase() { # phase NAME COMMAND…: says what is done, does it, and notes how long it took
	local name=$1 began=$EPOCHREALTIME
	shift
	printf '\n\033[1m== %s\033[0m\n' "$name" >&2
	"$@"
	times+=("$(printf '%-44s %10s' "$name" "$(since "$began")")")
}
show() { printf '$ agentctl %s\n' "$*" >&2; "$agentctl" "$@"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

# ours lists the live processes of this run: agent, server, and shims with their tasks.
ours() {
	local dir pid
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		[ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] || continue
		if grep -qsF "$run/" "$dir/cmdline" "$dir/environ" 2>/dev/null && ! grep -qs '^State:\s*Z' "$dir/status"; then
			printf '%s\n' "$pid"
		fi
	done
}

stop() {
	local status=$? pid signal
	trap - EXIT
	trap '' INT TERM HUP
	for signal in TERM KILL; do
		for pid in $(ours); do kill -s $signal "$pid" 2>/dev/null || true; done
		for _ in {1..50}; do
			[ -n "$(ours)" ] || break
			sleep 0.1
		done
	done
	if [ "$status" -ne 0 ] && [ -s "$AGENTCTL_STATE/agent.log" ]; then
		printf '\nthe agent said:\n' >&2
		tail -n 40 "$AGENTCTL_STATE/agent.log" >&2
	fi
	chmod -R u+w "$run" 2>/dev/null || true # environments are read-only
	# What sandboxes of an ordinary user made belongs to his subordinate ids.
	rm -rf "$run" 2>/dev/null || unshare --map-root-user --map-auto rm -rf "$run"
	exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

install_sdk() { bash "$top/test/setup/sdk.sh" 2.1.12 "$sdk"; }

apply() { show apply --yes "$here/$node"; }

# credentials sets what the SDK needs, as its documentation says; a clearml.conf of
# the person who runs this has no say.
credentials() {
	local said
	for _ in {1..100}; do
		said=$("$agentctl" server credentials -o env 2>/dev/null) && break
		sleep 0.1 # the server may still be opening its ports
	done
	[ -n "$said" ] || said=$("$agentctl" server credentials -o env)
	eval "$said"
	export CLEARML_CONFIG_FILE=$run/clearml.conf
	touch "$CLEARML_CONFIG_FILE"
}

# repository makes what a user has: a checkout with a change that is not committed.
repository() {
	local git=(git -c user.name=Quickstart -c user.email=quickstart@example.com -c init.defaultBranch=main)
	"${git[@]}" init --quiet --bare "$run/code.git"
	"${git[@]}" clone --quiet "$run/code.git" "$run/code" 2>/dev/null
	cp "$here"/task/* "$run/code/"
	"${git[@]}" -C "$run/code" add -A
	"${git[@]}" -C "$run/code" commit --quiet -m 'descent'
	"${git[@]}" -C "$run/code" push --quiet origin HEAD:main
	sed -i 's/^RATE = 0.05/RATE = 0.3 /' "$run/code/train.py"
	"${git[@]}" -C "$run/code" --no-pager diff --stat
}

client() { (cd "$run/code" && "$sdk/bin/python" "$here/client.py" "$@"); }

submit() {
	local said
	said=$(client submit "$1")
	printf '%s\n' "$said"
	task=$(sed -n 's/^task //p' <<<"$said")
	[ -n "$task" ] || fail "the SDK made no task"
}

follow() { show logs -f "$task"; }

# ended wants the task completed, with its environment built or hit. Its last line
# may be here before the server has taken its status.
ended() {
	local row=''
	for _ in {1..100}; do
		row=$("$agentctl" get tasks | grep -F "$task" || true)
		if grep -qw completed <<<"$row"; then break; fi
		sleep 0.1
	done
	grep -qw completed <<<"$row" || fail "the task is not completed: $row"
	grep -qw "$1" <<<"$row" || fail "the environment is not $1: $row"
}

phase 'install the clearml SDK (PyPI, once)' install_sdk
phase 'apply node.yaml' apply
credentials
phase 'make a git repository with a change' repository
phase 'submit with the clearml SDK' submit first
phase 'first run: the environment is built' follow
ended built
phase 'submit it again' submit second
phase 'second run: the environment is a hit' follow
ended hit
phase 'read the results back' client results "$task"
phase 'the tasks' show get tasks
printf '\n'
printf '%s\n' "${times[@]}"
