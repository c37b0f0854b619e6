#!/usr/bin/env bash
# The virtual environment, from the lock file. Usage: setup.sh FOLDER
set -euo pipefail
venv=${1:?usage: setup.sh FOLDER}
python=${PYTHON:-python3}

fail() { echo "make setup: $*" >&2; exit 2; }

command -v "$python" >/dev/null || fail "needs Python 3.11 or newer: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$python" -V) is too old, needs 3.11 or newer: make setup PYTHON=python3.12"
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  [ "$(id -u)" = 0 ] || fail "Python's venv module is missing: apt-get install python3-venv"
  apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
fi

echo "making $venv"
rm -rf "$venv"
"$python" -m venv "$venv"
# The lock is complete: left to resolve, pip would look for what `coverage[toml]` asks for among releases
# newer than the lock, and refuse them for want of a hash.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
echo "ready: $venv/bin/autoscaler"
