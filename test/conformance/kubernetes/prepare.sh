#!/usr/bin/env bash
# Fetches k8s.io/apiserver through the Go module proxy, has its tests start t4 in place of an etcd in them, builds them.
#   prepare.sh DIR [VERSION]      DIR is made; a second run with the same DIR builds anew
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$(mkdir -p "$1" && cd "$1" && pwd)
version=${2:-v0.37.2}
export GOTOOLCHAIN=local

if [[ ! -d $into/apiserver ]]; then
  from=$(cd "$into" && go mod download -json "k8s.io/apiserver@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  cp -r "$from" "$into/apiserver.new"
  chmod -R u+w "$into/apiserver.new"
  sed -i 's/embed\.StartEtcd(cfg)/startExternalServer(t, cfg)/' \
    "$into/apiserver.new/pkg/storage/etcd3/testserver/test_server.go"
  mv "$into/apiserver.new" "$into/apiserver"
fi
cp "$here/external-server.go" "$into/apiserver/pkg/storage/etcd3/testserver/external_server.go"

mkdir -p "$into/bin"
cat >"$into/bin/server" <<SCRIPT
#!/bin/sh
exec "\${T4:-$(cd "$here/../../.." && pwd)/bin/t4}" run --log-format=json "\$@"
SCRIPT
chmod +x "$into/bin/server"

cd "$into/apiserver"
while read -r package; do
  go test -c -o "$into/bin/${package//\//-}.test" "./$package"
  echo "built $package" >&2
done <"$here/packages.txt"
