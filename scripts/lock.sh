#!/usr/bin/env bash
# Pin all dependencies with their hashes and without any index address. Needs uv, go and npm.
set -euo pipefail
for program in uv go npm; do
  command -v "$program" >/dev/null || { echo "make lock: needs $program; uv: pip install uv" >&2; exit 2; }
done
compile=(uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
  --no-emit-index-url --no-emit-find-links --no-header --no-annotate)
"${compile[@]}" "$@" pyproject.toml --output-file requirements.lock
"${compile[@]}" "$@" pyproject.toml --extra sandbox --group dev --output-file requirements-dev.lock
(
  cd tests/webui
  "${compile[@]}" "$@" --config-file uv.toml requirements.in --output-file requirements.lock
)
cd scripts/tools
"${compile[@]}" "$@" --group ../../pyproject.toml:go --output-file go.lock
"${compile[@]}" "$@" --group ../../pyproject.toml:node --output-file node.lock
go mod tidy
npm install --package-lock-only --loglevel=error
