# Sourced by the other scripts inside a node: where things are, and how a program is started and
# stopped. machine.py says by STATE, PROGRAMS, NET and NODE where.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${STATE:?the folder of the cluster}" "${PROGRAMS:?what build.sh made}" "${NET:=172.31.255}"
: "${NODE:=node1}" "${NODE_NUMBER:=1}"
NODE_IP=$NET.$NODE_NUMBER
DNS_IP=$NET.1
POD_CIDR=10.244.$NODE_NUMBER.0/24
POD_CIDRS=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
API=https://$NET.1:6443
PKI=$STATE/pki
HOME_OF_NODE=$STATE/$NODE
export PATH=$PROGRAMS:/usr/sbin:/sbin:$PATH
export KUBECONFIG=$STATE/admin.conf
export CONTAINERD_ADDRESS=$HOME_OF_NODE/containerd.sock CONTAINERD_NAMESPACE=k8s.io

# start NAME COMMAND...: in the background, in a session of its own; its log and its process id are kept.
start() {
  local name=$1; shift
  if alive "$name"; then return; fi
  mkdir -p "$HOME_OF_NODE/log"
  setsid "$@" </dev/null >>"$HOME_OF_NODE/log/$name.log" 2>&1 &
  echo $! > "$HOME_OF_NODE/$name.pid"
}
# alive NAME: is it running, and is it ours? A number of an earlier life may be a stranger's now.
alive() {
  local pid
  pid=$(cat "$HOME_OF_NODE/$1.pid" 2>/dev/null) && [[ $(readlink "/proc/$pid/exe") == "$(realpath "$PROGRAMS")"/* ]]
}
# stop NAME [SECONDS]: told to end, and made to after that time.
stop() {
  alive "$1" || return 0
  local pid end=$((SECONDS + ${2:-10}))
  pid=$(cat "$HOME_OF_NODE/$1.pid"); rm -f "$HOME_OF_NODE/$1.pid"
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do
    if [ $SECONDS -ge $end ]; then kill -9 "$pid"; break; fi
    sleep 0.1
  done
}
# wait_for SECONDS NAME COMMAND...: until the command succeeds; otherwise the end of the program's log.
wait_for() {
  local limit=$1 name=$2 end; shift 2; end=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      echo "$name is not there after $limit s; the end of its log:" >&2
      tail -n 5 "$HOME_OF_NODE/log/$name.log" >&2
      return 1
    fi
    sleep 0.2
  done
}
