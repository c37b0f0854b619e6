#!/bin/sh
# preStop hook of a replica: waits for the answers that are still running, and not longer.
#
# It is needed because Ollama cuts every connection as soon as it is told to end. Kubernetes sends
# that signal when this script is done, or when the pod's terminationGracePeriodSeconds are over,
# which must therefore be more than DRAIN_CAP.
#
#   DRAIN_SLEEP  seconds before the first look: until then the gateway may still send requests,
#                because it has not yet noticed that this pod leaves
#   DRAIN_CAP    seconds after which it gives up on what still runs, those of the sleep included
#
# The gateway opens one connection for each request (option http-server-close), so an established
# connection is a request.
set -u

seconds() { # a clock that nobody sets
    read -r uptime _ </proc/uptime
    echo "${uptime%.*}"
}

# How many others are connected to Ollama's port. The kernel writes one line a connection, in hex:
#   7: 0501F40A:2CAA 0301F40A:D3F2 01 ...     local address and port, peer, state
# 2CAA is 11434 and 01 is established. The pod's own connections do not count: from 127.0.0.0/8, in
# either notation, and from ::1 (addresses stand in the byte order of the machine).
requests() {
    count=0
    for table in /proc/net/tcp /proc/net/tcp6; do
        [ -r "$table" ] || continue # no tcp6 where IPv6 is off
        while read -r _ local peer state _; do
            case $local,$state in *:2CAA,01) ;; *) continue ;; esac
            case $peer in
            ??????7F:* | 0000000000000000FFFF0000??????7F:* | 00000000000000000000000001000000:*) ;;
            *) count=$((count + 1)) ;;
            esac
        done <"$table"
    done
    echo "$count"
}

say() { # to the container's log, if this may write there
    { echo "drain: $1" >>/proc/1/fd/1; } 2>/dev/null || echo "drain: $1"
}

began=$(seconds)
cap=${DRAIN_CAP:-300}
sleep "${DRAIN_SLEEP:-5}"

# Two looks in a row must find nobody: between one request and the next there may be a moment
# without any. A health check is a connection too, but rarely there when this looks.
idle=0
while [ "$idle" -lt 2 ]; do
    running=$(requests)
    took=$(($(seconds) - began))
    if [ "$running" = 0 ]; then
        idle=$((idle + 1))
    elif [ "$took" -ge "$cap" ]; then
        say "still $running running after $took s, which will be cut"
        exit 0
    else
        idle=0
    fi
    [ "$idle" = 2 ] || sleep 0.5
done
say "all requests served, after $took s"
