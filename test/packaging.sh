#!/usr/bin/env bash
# Packs the package, installs it as a user would, and runs what was installed: the command line and the library.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
npm pack --silent --pack-destination "$work" >/dev/null
npm install --silent --no-fund --no-audit --no-progress -g --prefix "$work/global" "$work"/t4-*.tgz >/dev/null

node=$(ls "$root"/node_modules/node-linux-*/bin/node 2>/dev/null | head -n 1 || true)
export T4_NODE=${node:-$(command -v node)}
"$work/global/bin/t4" version

port=$((20000 + RANDOM % 20000))
url=http://127.0.0.1:$port
"$work/global/bin/t4" run --data-dir "$work/data" --listen-client-urls "$url" --log-level warn &
server=$!
for _ in $(seq 100); do
  "$work/global/bin/t4" put packed yes --endpoints "$url" --dial-timeout 200ms >/dev/null 2>&1 && break
  sleep 0.1
done
[ "$("$work/global/bin/t4" get packed --print-value-only --endpoints "$url")" = yes ]
kill -TERM "$server"
wait "$server"

mkdir "$work/program"
cat >"$work/program/main.mjs" <<'END'
import { open } from "t4";
const db = await open({ store: "memory:" });
await db.put("k", "library");
console.log(String((await db.get("k")).kvs[0].value));
await db.close();
END
mkdir "$work/program/node_modules"
ln -s "$work/global/lib/node_modules/t4" "$work/program/node_modules/t4"
[ "$("$T4_NODE" "$work/program/main.mjs")" = library ]
echo "the package installs, serves and can be imported"
