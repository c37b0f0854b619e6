#!/usr/bin/env bash
# The images of deploy/overlays/minikube, made without a registry of images: one archive each in a
# folder of the cache, with a store of models and table.json. Prints that folder; what it does goes to
# standard error. Ten minutes the first time, a second after that.
# Usage: build.sh [--kube FOLDER] [--model small|paced]
#   --kube      the cluster's programs, of which coredns is an image here too
#   CLUSTER_CACHE=folder  another place than ~/.cache/ollama-autoscaler
set -euo pipefail
cd "$(dirname "$0")/../../.."
[ "$(id -u)" = 0 ] || { echo "build.sh: needs root: it makes file systems and runs programs in them" >&2; exit 2; }
command -v go >/dev/null || { echo "build.sh: needs Go 1.26 or newer" >&2; exit 2; }
# gencat comes with the static C library, which Ollama is linked with.
scripts/system.sh debootstrap buildah zstd gcc gencat:libc6-dev make python3 >&2
exec "${PYTHON:-python3}" -m tests.cluster.images.build "$@"
