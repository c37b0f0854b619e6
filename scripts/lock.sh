#!/usr/bin/env bash
# Pin all dependencies with their hashes and without any index address. Needs uv.
set -euo pipefail
command -v uv >/dev/null || { echo "make lock: needs uv: pip install uv" >&2; exit 2; }
compile=(uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
  --no-emit-index-url --no-emit-find-links --no-header --no-annotate)
"${compile[@]}" pyproject.toml "$@" --output-file requirements.lock
"${compile[@]}" pyproject.toml "$@" --extra sandbox --group dev --output-file requirements-dev.lock
cd tests/webui
"${compile[@]}" --config-file uv.toml requirements.in "$@" --output-file requirements.lock
