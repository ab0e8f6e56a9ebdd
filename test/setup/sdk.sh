#!/usr/bin/env bash
# sdk.sh VERSION FOLDER [PACKAGE]: a virtual environment with the real clearml SDK
# (or another package of PyPI), made once; callers that come meanwhile wait.
set -euo pipefail
version=$1 folder=$2 package=${3:-clearml}
want="$package==$version"

made() { [ "$(cat "$folder/.made" 2>/dev/null)" = "$want" ]; }

made && exit 0
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
made && exit 0
echo "installing $want from PyPI into $folder …" >&2
rm -rf "$folder"
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$want"
echo "$want" >"$folder/.made"
