#!/bin/sh
# Startup probe of a replica: loads the first model of the list into memory, so that a replica
# which counts as started answers its first request without a delay.
#
#   warm.sh [LIST]
#
# Loading ends when the probe's timeoutSeconds are over, and begins anew with the next probe: give
# it minutes. Where the model is in memory already, this takes a moment.
set -u
list=${1:-/etc/ollama/models.txt}

fail() {
    echo "warm: $1"
    exit 1
}

# The first word of the first line that holds one; the last line may lack its end.
while read -r model _ || [ -n "$model" ]; do
    case $model in '' | '#'*) model= ;; *) break ;; esac
done <"$list" || fail "cannot read $list"
[ -n "$model" ] || fail "$list names no model"

# Asked first, because `ollama run` would fetch a model that is missing.
words=$(ollama show "$model" 2>&1 >/dev/null) || case $words in
*"not found"*)
    fail "$model is not on disk yet; the Job ollama-models fetches it: kubectl logs -f -l app.kubernetes.io/name=ollama-models"
    ;;
*) fail "$model: $words" ;;
esac

words=$(ollama run "$model" '' 2>&1 </dev/null >/dev/null) || fail "$model was not loaded: ${words##*Error: }"
echo "warm: $model is in memory"
