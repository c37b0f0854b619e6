#!/usr/bin/env bash
# What the tests of the chat page need: Open WebUI in an environment of its own, from its lock file, and
# HAProxy and Chromium from Debian's packages. Usage: webui.sh FOLDER
set -euo pipefail
venv=${1:?usage: webui.sh FOLDER}
python=${PYTHON:-python3}

fail() { echo "make test-webui: $*" >&2; exit 2; }

command -v "$python" >/dev/null || fail "needs Python 3.11 or newer: apt-get install python3 python3-venv"
missing=()
"$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
for program in haproxy chromium; do
  PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} != 0 ]; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "type: sudo apt-get install ${missing[*]}"
  echo "installing ${missing[*]} (half a minute)"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

echo "making $venv: Open WebUI and its 130 packages (a minute, 0.85 GB)"
rm -rf "$venv"
"$python" -m venv "$venv"
# The wheel names no Python that Debian 13 has, but runs there.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
  --ignore-requires-python -r tests/webui/requirements.lock
echo "ready: $venv/bin/open-webui"
