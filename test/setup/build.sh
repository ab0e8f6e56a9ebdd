#!/usr/bin/env bash
# build.sh VERSION [FOLDER] [TAGS]: builds FOLDER/agentctl (default bin/), the shim
# inside it. The shim is static, as test/setup/shim.sh builds it: it starts in two
# milliseconds and runs wherever the kernel does; agentctl embeds it, so that one
# file is all there is to install.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=${1:-dev} folder=${2:-bin} tags=${3:-}
shim=runtime/shimbin/embedded/agentctl-shim

mkdir -p "$folder"
# The folder of the shim is embedded whole, so nothing unfinished may lie in it,
# and the same bytes stay in place: a changed file would build agentctl anew.
bash test/setup/shim.sh "$folder/.shim.$$"
if cmp -s "$folder/.shim.$$" "$shim"; then rm "$folder/.shim.$$"; else mv "$folder/.shim.$$" "$shim"; fi
# Names of NVML are looked up when they are called: some distributions' gcc has all of a
# program looked up at its start, which none would survive on a machine without a GPU.
go build -trimpath -tags "$tags" -ldflags="-X main.version=$version -extldflags=-Wl,-z,lazy" -o "$folder/agentctl" ./cmd/agentctl
