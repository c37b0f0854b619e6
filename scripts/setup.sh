#!/usr/bin/env bash
# The virtual environment, from the lock file. Usage: setup.sh FOLDER
set -euo pipefail
venv=${1:?usage: setup.sh FOLDER}

echo "making $venv"
scripts/venv.sh "$venv"
# The lock is complete: left to resolve, pip would look for what `coverage[toml]` asks for among releases
# newer than the lock, and refuse them for want of a hash.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
echo "ready: $venv/bin/autoscaler"
