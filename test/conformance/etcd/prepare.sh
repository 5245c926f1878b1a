#!/usr/bin/env bash
# Fetches etcd's own tests through the Go module proxy, lays external-server.go over them, builds them.
#   prepare.sh DIR      DIR is made; a second run with the same DIR builds anew
# Needs Go, and etcd, etcdctl, etcdutl in ${PEERS:-/opt/peers}/bin (test/peers/build.sh etcd).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$(mkdir -p "$1" && cd "$1" && pwd)
version=v3.6.16
export GOTOOLCHAIN=local GOFLAGS=-mod=mod

if [[ ! -d $into/tests ]]; then
  from=$(cd "$into" && go mod download -json "go.etcd.io/etcd/tests/v3@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  cp -r "$from" "$into/tests.new"
  chmod -R u+w "$into/tests.new"
  cd "$into/tests.new"
  # The module is taken out of etcd's repository: its neighbours come from the proxy, too.
  sed -i '/^replace (/,/^)/d; /^toolchain/d' go.mod

  # tests/common and tests/e2e: clusters are of one member unless a test says how many; those of several are left out.
  sed -i 's/ClusterSize: \( *\)3,/ClusterSize: \11,/' framework/config/cluster.go framework/e2e/cluster.go
  sed -i '/^func InitEtcdProcessCluster/,/^}/ s/^	SkipInShortMode(t)$/&\
	if cfg.ClusterSize > 1 {\
		t.Skipf("left out: %d members", cfg.ClusterSize)\
	}/' framework/e2e/cluster.go
  # A machine that does other things as well gets more time.
  grep -rlE 'WithTimeout\(context.Background\(\), 10\*time.Second\)' common e2e |
    xargs sed -i 's/WithTimeout(context.Background(), 10\*time.Second)/WithTimeout(context.Background(), 60*time.Second)/'

  # The quota counts live versions: it is filled by keys, not by one key's versions.
  sed -i 's/etcdctl.Put(ctx, "foo", buf,/etcdctl.Put(ctx, fmt.Sprint("foo", time.Now().UnixNano()), buf,/' \
    e2e/http_health_check_test.go

  # tests/integration: what external-server.go defines anew gets another name.
  cd framework/integration
  for method in 'm \*Member) Launch' 'm \*Member) Close' 'm \*Member) ID' 'm \*Member) WaitOK' \
    'c \*Cluster) Launch' 'c \*Cluster) WaitMembersForLeader' 'c \*Cluster) WaitMembersMatch'; do
    sed -i "s/^func (${method% *} ${method##* }(/func (${method% *} inTest${method##* }(/" cluster.go
  done
  sed -i 's/^func NewCluster(/func newClusterOfServersInTest(/' cluster.go
  sed -i 's/^	IsLearner bool$/&\n	keepAliveMinTime, keepAliveInterval, keepAliveTimeout time.Duration/' cluster.go
  sed -i 's/^	m.GRPCServerOpts = \[\]grpc.ServerOption{}$/&\
	m.keepAliveMinTime, m.keepAliveInterval = mcfg.GRPCKeepAliveMinTime, mcfg.GRPCKeepAliveInterval\
	m.keepAliveTimeout = mcfg.GRPCKeepAliveTimeout/' cluster.go
  mv "$into/tests.new" "$into/tests"
fi
cp "$here/external-server.go" "$into/tests/framework/integration/external_server.go"
cp "$here/robustness-test.go" "$into/tests/robustness/killed_test.go"

mkdir -p "$into/bin" "$into/programs"
for program in etcdctl etcdutl; do ln -sf "${PEERS:-/opt/peers}/bin/$program" "$into/programs/$program"; done
cat >"$into/programs/etcd" <<END
#!/bin/sh
# What the tests start as etcd. Its proxies are clients of a server, and etcd's own.
case \${1:-} in
  --version | gateway | grpc-proxy) exec "${PEERS:-/opt/peers}/bin/etcd" "\$@" ;;
esac
exec "\${T4:-$(cd "$here/../../.." && pwd)/bin/t4}" run --log-format=json --bcrypt-cost=4 "\$@"
END
chmod +x "$into/programs/etcd"

cd "$into/tests"
while read -r suite tag; do
  go test -c -tags="$tag" -o "$into/bin/${suite//\//-}.test" "./$suite"
  echo "built $suite" >&2
done <"$here/suites.txt"
