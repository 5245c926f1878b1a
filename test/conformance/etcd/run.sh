#!/usr/bin/env bash
# Runs etcd's own tests, built by prepare.sh, against t4: each test in a process of its own.
#   run.sh DIR [SUITE [TEST…]]      what has run before is not run again: remove DIR/results for that
# T4 names the program that is tried (default: this repository's bin/t4).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$(cd "$1" && pwd)
only=${2:-} tests=("${@:3}")
export CONFORMANCE_SERVER=$into/programs/etcd
export CONFORMANCE_T4=${T4:-$(cd "$here/../../.." && pwd)/bin/t4} RESULTS_DIR=$into/results

run_test() { # SUITE TEST
  local suite=$1 test=$2 name=${1//\//-} log
  log=$into/results/$name/$test.log
  [[ -e $log ]] && return
  local seconds=170 arguments=()
  case $suite in
    robustness) seconds=1800 arguments=(-bin-dir "$into/programs") ;;
    common | e2e) arguments=(-bin-dir "$into/programs") ;;
    *) arguments=(-test.parallel 1) ;;
  esac
  arguments+=(-test.run "^$test\$" -test.v -test.timeout "${seconds}s")
  (cd "$into/tests/$suite" && timeout -k 5 $((seconds + 10)) "$into/bin/$name.test" "${arguments[@]}") \
    >"$log.part" 2>&1 </dev/null
  mv "$log.part" "$log"
}

verdict() { # LOG
  if grep -aq '^--- PASS' "$1" && ! grep -aq '^panic:' "$1"; then
    if grep -aq '^    --- PASS' "$1" || ! grep -aq '^    --- SKIP' "$1"; then echo passed; else echo skipped; fi
  elif grep -aq '^--- SKIP' "$1"; then echo skipped
  elif grep -aq 'index out of range \[[1-9]\] with length 1' "$1"; then echo members
  else echo failed; fi
}

while read -r suite _; do
  [[ -z $only || $only == "$suite" ]] || continue
  name=${suite//\//-}
  mkdir -p "$into/results/$name"
  if [[ ${#tests[@]} == 0 ]]; then
    list='^(Test|Example)'
    [[ $suite != robustness ]] || list='^TestKilled$'
    mapfile -t all < <(cd "$into/tests/$suite" && "$into/bin/$name.test" -test.list "$list" 2>/dev/null | grep -E '^(Test|Example)')
  else all=("${tests[@]}"); fi
  for test in "${all[@]}"; do
    reason=$(awk -v s="$suite" -v t="$test" '$1 == s && $2 == t { $1 = $2 = ""; print substr($0, 3) }' "$here/left-out.txt")
    if [[ -n $reason ]]; then printf '%s\t%s\tleft out\t%s\n' "$suite" "$test" "$reason"; continue; fi
    run_test "$suite" "$test"
    printf '%s\t%s\t%s\n' "$suite" "$test" "$(verdict "$into/results/$name/$test.log")"
  done
done <"$here/suites.txt" | tee "$into/results.tsv"

echo
awk -F'\t' '{ n[$1 "\t" $3]++ } END { for (k in n) print k "\t" n[k] }' "$into/results.tsv" | sort
! grep -q $'\tfailed' "$into/results.tsv"
