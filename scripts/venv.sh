#!/usr/bin/env bash
# An empty virtual environment. Usage: venv.sh FOLDER (PYTHON=python3.12 chooses another Python)
set -euo pipefail
venv=${1:?usage: venv.sh FOLDER}
python=${PYTHON:-python3}

fail() { echo "$venv: $*" >&2; exit 2; }

command -v "$python" >/dev/null || fail "needs Python 3.11 or newer: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$python" -V) is too old, needs 3.11 or newer: give make PYTHON=python3.12"
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  [ "$(id -u)" = 0 ] || fail "Python's venv module is missing: apt-get install python3-venv"
  apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
fi
rm -rf "$venv"
"$python" -m venv "$venv"
