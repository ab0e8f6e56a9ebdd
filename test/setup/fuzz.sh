#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz test of the repository for TIME, one by one (go
# fuzzes one at a time). What it finds goes to testdata/fuzz of the package.
set -euo pipefail
cd "$(dirname "$0")/../.."
time=${1:-30s} status=0
while read -r file name; do
	echo "== $(dirname "$file") $name"
	go test -run='^$' -fuzz="^$name\$" -fuzztime="$time" -fuzzminimizetime=1s "./$(dirname "$file")" || status=1
done < <(git ls-files --cached --others --exclude-standard -- '*_test.go' |
	xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func / /')
exit $status
