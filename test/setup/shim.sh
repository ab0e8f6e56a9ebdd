#!/usr/bin/env bash
# shim.sh FILE [TAG]: builds the shim. libcontainer's namespaces are entered by C
# code before the Go runtime starts, and libseccomp makes its filters: both are
# linked into it, so that nothing of an image is needed for it to run.
set -euo pipefail
cd "$(dirname "$0")/../.."
CGO_ENABLED=1 exec go build -trimpath -tags "seccomp netgo osusergo ${2:-}" \
	-ldflags='-s -w -extldflags "-static"' -o "$1" ./cmd/agentctl-shim
