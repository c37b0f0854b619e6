#!/usr/bin/env bash
# The control plane of the first node: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.
# Starts what does not run. (The contract tests have one of their own, without root: control.py.)
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mkdir -p "$HOME_OF_NODE"
"$HERE/certs.sh"

# No fsync: the data is thrown away with the cluster.
start etcd etcd --name cluster --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls "http://127.0.0.1:2379" --advertise-client-urls "http://127.0.0.1:2379" \
  --listen-peer-urls "http://127.0.0.1:2380" --initial-advertise-peer-urls "http://127.0.0.1:2380" \
  --initial-cluster "cluster=http://127.0.0.1:2380"

# Who asked for what, and what the answer was: what the tests of rights read.
cat > "$STATE/audit.yaml" <<'CONF'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  - level: None
    users: ["system:apiserver", "system:kube-scheduler", "system:kube-controller-manager", "system:kube-proxy"]
  - level: None
    userGroups: ["system:nodes"]
  - level: Metadata
CONF
start kube-apiserver kube-apiserver \
  --etcd-servers="http://127.0.0.1:2379" \
  --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$NET.1" \
  --service-cluster-ip-range="$SERVICE_CIDR" --allow-privileged=true --profiling=false \
  --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
  --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key" \
  --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --audit-policy-file="$STATE/audit.yaml" --audit-log-path="$STATE/audit.log"
wait_for 120 kube-apiserver kubectl get --raw /readyz

# A node counts as dead after twenty seconds without a sign, not after fifty.
start kube-controller-manager kube-controller-manager --kubeconfig="$PKI/controller-manager.conf" \
  --authentication-kubeconfig="$PKI/controller-manager.conf" --authorization-kubeconfig="$PKI/controller-manager.conf" \
  --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
  --profiling=false --node-monitor-grace-period=20s \
  --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
  --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key"
start kube-scheduler kube-scheduler --kubeconfig="$PKI/scheduler.conf" \
  --authentication-kubeconfig="$PKI/scheduler.conf" --authorization-kubeconfig="$PKI/scheduler.conf" \
  --bind-address=127.0.0.1 --leader-elect=false --profiling=false
wait_for 60 kube-controller-manager curl -fsk "https://127.0.0.1:10257/healthz"
wait_for 60 kube-scheduler curl -fsk "https://127.0.0.1:10259/healthz"
wait_for 60 kube-controller-manager kubectl get serviceaccount default
