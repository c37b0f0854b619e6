#!/usr/bin/env bash
# What the tests of the chat page need: Open WebUI in an environment of its own, from its lock file, and
# HAProxy and Chromium from Debian's packages. Usage: webui.sh FOLDER
set -euo pipefail
venv=${1:?usage: webui.sh FOLDER}

scripts/system.sh haproxy chromium
echo "making $venv: Open WebUI and its 130 packages (a minute, 0.85 GB)"
scripts/venv.sh "$venv"
# The wheel names no Python that Debian 13 has, but runs there.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
  --ignore-requires-python -r tests/webui/requirements.lock
echo "ready: $venv/bin/open-webui"
