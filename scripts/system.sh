#!/usr/bin/env bash
# Programs from Debian's packages, where they are not there yet. A package of another name than its
# program stands behind a colon. Usage: system.sh PROGRAM[:PACKAGE]...
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
missing=()
for needed in "$@"; do
  command -v "${needed%:*}" >/dev/null || missing+=("${needed#*:}")
done
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "needs ${missing[*]}; type: sudo apt-get install ${missing[*]}" >&2
  exit 2
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
