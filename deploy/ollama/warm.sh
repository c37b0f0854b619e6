#!/bin/sh
# Startup probe of a replica: loads the first model of the list into memory, so that a replica
# which counts as started answers its first request without a delay.
#
#   warm.sh [LIST]
#
# It returns when the model is loaded, which takes minutes for a large one: the probe's
# timeoutSeconds must allow for that. Where it is in memory already, this takes a moment.
set -u
list=${1:-/etc/ollama/models.txt}

fail() {
    echo "warm: $1"
    exit 1
}

[ -r "$list" ] || fail "cannot read $list"
# The first word of the first line that holds one; the last line may lack its end.
while read -r model _ || [ -n "$model" ]; do
    case $model in '' | '#'* | -*) model= ;; *) break ;; esac
done <"$list"
[ -n "$model" ] || fail "$list names no model"

# The model is asked for first, because `ollama run` would fetch one that is missing. The first
# probe comes before the server listens: waiting here is quicker than another probe.
watch='kubectl logs -f -l app.kubernetes.io/name=ollama-models -n llm'
left=25
until words=$(ollama show "$model" 2>&1 >/dev/null); do
    case $words in
    *"not found"*) fail "$model is not on disk yet, the Job ollama-models fetches it: $watch" ;;
    *"could not connect"*) [ "$left" -gt 0 ] || fail "the server does not answer" ;;
    *) fail "$model: $words" ;;
    esac
    left=$((left - 1))
    sleep 0.2
done

words=$(ollama run "$model" '' 2>&1 </dev/null >/dev/null) ||
    fail "$model was not loaded: ${words##*Error: }"
echo "warm: $model is in memory"
