#!/usr/bin/env bash
# One certificate authority, a client certificate for each program as a kubeconfig, and the key pair
# that signs the tokens of service accounts. Does nothing where they exist.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ -f "$PKI/done" ] && exit
mkdir -p "$PKI"; cd "$PKI"; umask 077
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
key ca
openssl req -x509 -new -key ca.key -days 30 -subj /CN=cluster-ca -out ca.crt \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
# cert NAME SUBJECT USAGE [ALTERNATIVE NAMES]
cert() {
  key "$1"
  { echo "keyUsage=critical,digitalSignature,keyEncipherment"; echo "extendedKeyUsage=$3"; [ -z "${4:-}" ] || echo "subjectAltName=$4"; } > "$1.ext"
  openssl req -new -key "$1.key" -subj "$2" | openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial \
    -days 30 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}
# client NAME SUBJECT [FILE]: a certificate, and the kubeconfig that uses it.
client() {
  cert "$1" "$2" clientAuth
  cat > "${3:-$1.conf}" <<CONF
apiVersion: v1
kind: Config
current-context: cluster
clusters: [{name: cluster, cluster: {server: "$API", certificate-authority-data: $(base64 -w0 ca.crt)}}]
contexts: [{name: cluster, context: {cluster: cluster, user: $1}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
CONF
}
cert apiserver /CN=kube-apiserver serverAuth \
  "IP:127.0.0.1,IP:$NET.1,IP:${SERVICE_CIDR%.*}.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
cert apiserver-kubelet /CN=kube-apiserver-kubelet-client/O=system:masters clientAuth
client admin /CN=admin/O=system:masters "$KUBECONFIG"
client controller-manager /CN=system:kube-controller-manager
client scheduler /CN=system:kube-scheduler
client proxy /CN=system:kube-proxy
client dns /CN=system:coredns
for number in 1 2; do
  client "node$number" "/CN=system:node:node$number/O=system:nodes"
  cert "node$number-server" "/CN=system:node:node$number/O=system:nodes" serverAuth "IP:$NET.$number,DNS:node$number"
done
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
touch done
