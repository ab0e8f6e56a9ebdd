#!/usr/bin/env bash
# bench.sh [FLAGS]: the measurements of this folder, then those of the embedded
# server alone. Flags as in bench_test.go (-ours N, -theirs N, -idle TIME).
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "on $(nproc) cores, $(uname -sr), $(git describe --always --dirty 2>/dev/null || echo 'no git')"
go test -tags bench -count=1 -timeout 60m -run TestBench -v ./test/bench -args "$@"
echo "== the embedded server alone"
go run ./test/bench/server | tee .cache/bench/server.txt
