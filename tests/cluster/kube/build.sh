#!/usr/bin/env bash
# Builds every program of the cluster from the Go module in this folder, once, and prints the folder that
# holds them. Nothing is fetched but Go modules, each checked against the lock (go.sum).
# Usage: build.sh   (CLUSTER_CACHE= where; JOBS= how many at a time)
set -euo pipefail
cd "$(dirname "$0")"
cache=${CLUSTER_CACHE:-$HOME/.cache/ollama-autoscaler}
key=$(cat build.sh go.mod go.sum containerd.mod containerd.sum */main.go | sha256sum | cut -c1-12)
out=$cache/kube-$key
if [ -x "$out/kubebin" ]; then echo "$out"; exit; fi

say() { echo "$*" >&2; }
command -v go >/dev/null || { say "make test-cluster: needs Go 1.26 or newer: https://go.dev/dl"; exit 2; }
mkdir -p "$cache"
work=$(mktemp -d "$cache/kube-$key.XXXX"); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/cni"
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}; minor=${minor%%.*}
say "building Kubernetes $version and containerd, once (ten minutes on two cores)"

# Without these the server calls itself v0.0.0-master, and clients that compare versions go wrong.
flags=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags="$flags -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
done

# -dwarf=false, -s -w: no debug information, for a faster build and a smaller cache. grpcnotrace lets
# the linker drop code; no_*: parts of containerd that nothing here uses. One set of flags for all
# programs, so that they share the compiled packages.
build() {
  CGO_ENABLED=0 go build -p "${JOBS:-$(nproc)}" -trimpath -buildvcs=false -pgo=off -gcflags=all=-dwarf=false \
    -tags grpcnotrace,no_btrfs,no_devmapper,no_zfs,no_tracing,urfave_cli_no_docs -ldflags "-s -w $flags" -o "$@"
}
started=$SECONDS
took() { say "  $1: $((SECONDS - started)) s"; started=$SECONDS; }
containerd=github.com/containerd/containerd/v2
plugins=github.com/containernetworking/plugins/plugins
build "$work/" ./pause ./coredns $containerd/cmd/containerd-shim-runc-v2 $containerd/cmd/ctr; took "CoreDNS and containerd's tools"
build "$work/" ./kubebin; took "etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy, kubectl"
# containerd 2.3 does not compile against the CRI types of 0.37: containerd.mod is go.mod but for those.
build "$work/" -modfile=containerd.mod $containerd/cmd/containerd; took "containerd"
build "$work/cni/" $plugins/main/bridge $plugins/main/loopback $plugins/ipam/host-local; took "network plug-ins"
for name in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
  ln -sfn kubebin "$work/$name"
done
chmod 755 "$work"
rm -rf "$out"; mv "$work" "$out"
echo "$out"
