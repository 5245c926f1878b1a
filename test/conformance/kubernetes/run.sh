#!/usr/bin/env bash
# Runs Kubernetes' tests of its storage layer, built by prepare.sh, each with a t4 of its own.
#   run.sh DIR [PACKAGE [TESTS]]      TESTS is an expression as `go test -run` takes it; a benchmark's name runs it once
# T4 names the program that is tried (default: this repository's bin/t4); T4_STORE, T4_DURABILITY … are read by it.
# ETCD=/path/to/etcd runs them on an etcd instead.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$(cd "$1" && pwd)
only=${2:-} tests=${3:-}
export CONFORMANCE_SERVER=$into/bin/server
if [[ -n ${ETCD:-} ]]; then export CONFORMANCE_SERVER=$ETCD CONFORMANCE_PEERS=1; fi
arguments=(-test.v -test.timeout 30m)
case $tests in
  *Benchmark*) arguments+=(-test.run '^$' -test.bench "$tests" -test.benchtime 1x) ;;
  ?*) arguments+=(-test.run "$tests") ;;
esac

count() { grep -acE "^ *--- $1" "$2"; } # VERDICT LOG: subtests, too

mkdir -p "$into/results"
failed=0
while read -r package; do
  [[ -z $only || $only == "$package" ]] || continue
  name=${package//\//-}
  log=$into/results/$name.log
  (cd "$into/apiserver/$package" && "$into/bin/$name.test" "${arguments[@]}") >"$log" 2>&1 </dev/null || failed=1
  printf '%s\t%s passed\t%s failed\t%s skip themselves\t%s with subtests\n' "$package" "$(grep -ac '^--- PASS' "$log")" \
    "$(grep -ac '^--- FAIL' "$log")" "$(grep -ac '^--- SKIP' "$log")" "$(count 'PASS' "$log")"
  grep -aE '^ *--- FAIL|^panic:' "$log"
done <"$here/packages.txt"
exit $failed
