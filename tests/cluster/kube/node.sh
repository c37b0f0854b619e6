#!/usr/bin/env bash
# A node: containerd, kubelet, kube-proxy, and on the first one the cluster's DNS. Runs inside the node's
# own namespaces (see machine.py). Starts what does not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
conf=$HOME_OF_NODE/conf; mkdir -p "$conf/cni"

# What programs leave in these places stays in the node's own view of the file system.
if ! mountpoint -q /var/log; then
  mount --make-rshared /
  for place in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$place"; done
fi
sysctl -qw net.ipv4.ip_forward=1
# Without it a Service whose pod shares the client's bridge answers from the wrong address.
sysctl -qw net.bridge.bridge-nf-call-iptables=1
for other in 1 2; do
  [ "$other" = "$NODE_NUMBER" ] || ip route replace "10.244.$other.0/24" via "$NET.$other"
done

# restrict_oom_score_adj: to lower oom_score_adj takes CAP_SYS_RESOURCE, which small machines lack.
# pinned_images.sandbox: our own pause image, never pulled.
# disabled_plugins: what needs devices, networks or an operator that are not there.
cat > "$conf/containerd.toml" <<CONF
version = 3
root = "$HOME_OF_NODE/containerd"
state = "$HOME_OF_NODE/containerd-state"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs"]
[grpc]
  address = "$CONTAINERD_ADDRESS"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:cluster"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "$(command -v runc)"
  SystemdCgroup = false
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["$PROGRAMS/cni"]
  conf_dir = "$conf/cni"
CONF
# No masquerading: there is nothing outside to reach.
cat > "$conf/cni/10-bridge.conflist" <<CONF
{"cniVersion": "1.0.0", "name": "bridge", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam",
            "ranges": [[{"subnet": "$POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
CONF
start containerd containerd --config "$conf/containerd.toml"
wait_for 60 containerd ctr version
ctr images ls -q | grep -q pause || ctr images import "$STATE/pause.tar" >/dev/null

# On the node itself, as NodeLocal DNSCache does it: no image, no Service, ready before any pod. Set as
# kubeadm sets it: names of the cluster are not cached there, though clients may keep them for 30 s.
if [ "$NODE_NUMBER" = 1 ]; then
  kubectl apply -f - >/dev/null <<'CONF'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: "system:coredns"}]
CONF
  cat > "$conf/Corefile" <<CONF
.:53 {
  bind $DNS_IP
  errors
  ready $DNS_IP:8181
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $PKI/dns.conf
    ttl 30
  }
  cache 30 {
    disable success cluster.local
    disable denial cluster.local
  }
}
CONF
  start coredns coredns -conf "$conf/Corefile"
fi

# failCgroupV1: since 1.35 the kubelet refuses cgroup v1 unless told not to.
# oomScoreAdj, maxOpenFiles: the defaults (-999, a million) need CAP_SYS_RESOURCE.
# evictionHard, image GC: a nearly full disk must not evict the tests, and an image that was imported by
#   hand and collected could not be pulled again.
# resolvConf: a file of our own, so that pods get no search domains of the machine.
# makeIPTablesUtilChains: no iptables program needed.
echo "nameserver $DNS_IP" > "$conf/resolv.conf"
cat > "$conf/kubelet.yaml" <<CONF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $PKI/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $PKI/$NODE-server.crt
tlsPrivateKeyFile: $PKI/$NODE-server.key
containerRuntimeEndpoint: unix://$CONTAINERD_ADDRESS
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: $(ulimit -Hn | sed 's/unlimited/1000000/')
clusterDomain: cluster.local
clusterDNS: [$DNS_IP]
resolvConf: $conf/resolv.conf
makeIPTablesUtilChains: false
nodeStatusUpdateFrequency: 5s
evictionHard: {memory.available: 50Mi, nodefs.available: "1%", nodefs.inodesFree: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
podLogsDir: $HOME_OF_NODE/pod-logs
volumePluginDir: $HOME_OF_NODE/volume-plugins
CONF
start kubelet kubelet --config="$conf/kubelet.yaml" --kubeconfig="$PKI/$NODE.conf" --root-dir="$HOME_OF_NODE/kubelet" \
  --cert-dir="$PKI" --hostname-override="$NODE" --node-ip="$NODE_IP" --v=1

# conntrack: leave the kernel's limits alone. kube-proxy ends where its file is written while it runs.
alive kube-proxy || cat > "$conf/proxy.yaml" <<CONF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $POD_CIDRS
hostnameOverride: $NODE
clientConnection: {kubeconfig: $PKI/proxy.conf}
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0}
nodePortAddresses: [$NODE_IP/32]
CONF
start kube-proxy kube-proxy --config="$conf/proxy.yaml"

[ "$NODE_NUMBER" != 1 ] || wait_for 60 coredns curl -fs "http://$DNS_IP:8181/ready"
wait_for 60 kube-proxy curl -fs http://127.0.0.1:10256/healthz
wait_for 120 kubelet kubectl wait --for=condition=Ready "node/$NODE" --timeout=5s
