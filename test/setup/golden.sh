#!/usr/bin/env bash
# Rewrites golden files: runs the tests of every package whose tests know -update.
set -euo pipefail
cd "$(dirname "$0")/../.."
git ls-files --cached --others --exclude-standard -- '*_test.go' |
	xargs grep -lE 'flag\.Bool\("update"' | xargs -r -n 1 dirname | sort -u |
	while read -r folder; do go test "./$folder" -update; done
