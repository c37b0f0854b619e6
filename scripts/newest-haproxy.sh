#!/usr/bin/env bash
# The HAProxy of Debian's newest suite beside the system's own, for the tests of the gateway: unpacked
# into FOLDER with its libraries and started by that suite's own loader; nothing is installed.
# Usage: newest-haproxy.sh FOLDER
set -euo pipefail
folder=$(realpath -m "${1:?usage: newest-haproxy.sh FOLDER}")
suite=sid
fail() { echo "make newest-haproxy: $*" >&2; exit 2; }
command -v apt-get >/dev/null || fail "needs apt-get: this is for Debian and what is made of it"
mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -1 | tr -d ' ' || true)
[ -n "$mirror" ] || fail "no Debian mirror in /etc/apt; only make test-newest needs one"

rm -rf "$folder"
mkdir -p "$folder"/apt/{etc/apt.conf.d,etc/preferences.d,state/lists/partial,cache/archives/partial}
# The newest suite's index may be older than it says it may be on a mirror that stands still; its
# signature is checked all the same.
cat > "$folder/apt/suite.sources" <<END
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
Check-Valid-Until: no
END
cat > "$folder/apt/apt.conf" <<END
Dir::Etc "$folder/apt/etc";
Dir::Etc::sourcelist "$folder/apt/suite.sources";
Dir::Etc::sourceparts "-";
Dir::State "$folder/apt/state";
Dir::State::status "/dev/null";
Dir::Cache "$folder/apt/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
END
export APT_CONFIG=$folder/apt/apt.conf
echo "fetching Debian's newest HAProxy"
apt-get update -qq || { sleep 5; apt-get update -qq; }
apt-get install -qq --no-install-recommends --download-only haproxy >/dev/null
for package in "$folder"/apt/cache/archives/*.deb; do
  case ${package##*/} in
    haproxy_*|lib*) dpkg-deb --extract "$package" "$folder" ;;
  esac
done
loader=$(find "$folder/usr/lib" -name 'ld-linux*.so*' -print -quit)
[ -n "$loader" ] || fail "no loader among what was fetched"
cat > "$folder/haproxy" <<END
#!/bin/sh
exec $loader --library-path ${loader%/*} $folder/usr/sbin/haproxy "\$@"
END
chmod +x "$folder/haproxy"
rm -rf "$folder/apt"
echo "ready: $("$folder/haproxy" -v | head -1)"
