#!/bin/sh
# Runs the repository's own Node.js, else the machine's if it is new enough.
root=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd -P)
for node in "$root"/node_modules/node-*/bin/node node; do
  v=$("$node" --version 2>/dev/null) || continue
  v=${v#v} major=${v%%.*} rest=${v#*.} minor=${rest%%.*}
  if [ "$major" -gt 22 ] || { [ "$major" -eq 22 ] && [ "$minor" -ge 19 ]; }; then
    PATH="$(dirname "$(command -v "$node")"):$PATH" exec "$node" "$@"
  fi
done
echo "Node.js 22.19 or newer is needed (found $(node --version 2>/dev/null || echo none))" >&2
exit 1
