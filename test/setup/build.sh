#!/usr/bin/env bash
# build.sh VERSION [FOLDER] [TAGS]: builds FOLDER/agentctl (default bin/), the shim
# inside it. The shim is static: it starts in a millisecond and runs wherever the
# kernel does; agentctl embeds it, so that one file is all there is to install.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=${1:-dev} folder=${2:-bin} tags=${3:-}
shim=runtime/shimbin/embedded/agentctl-shim

mkdir -p "$folder" "$(dirname "$shim")"
CGO_ENABLED=0 go build -trimpath -tags "$tags" -ldflags='-s -w' -o "$shim.new" ./cmd/agentctl-shim
# The same bytes stay in place: a changed file would make Go build agentctl anew.
if cmp -s "$shim.new" "$shim"; then rm "$shim.new"; else mv "$shim.new" "$shim"; fi
go build -trimpath -tags "$tags" -ldflags="-X main.version=$version" -o "$folder/agentctl" ./cmd/agentctl
