#!/bin/sh
# Runs the public conformance suite for HTTP caches (http-tests/cache-tests) against Penstock and
# prints the result by category. Needs node, curl, go, and a checkout of the suite with its
# dependencies installed.
#
# usage: SUITE=DIR scripts/cache-tests.sh [ID]      ID: only that test, with all that was sent
set -eu
port=${PORT:-18000} # of the suite's own server; Penstock takes those 80 and 90 above
: "${SUITE:?set SUITE to a checkout of http-tests/cache-tests with its dependencies installed}"
suite=$(cd "$SUITE" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
pids=
stop() {
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$work"
}
trap stop EXIT INT TERM

(cd "$root" && go build -o "$work/scheduler" ./cmd/scheduler)

cat >"$work/penstock.yaml" <<EOF
upstreams:
  origin:
    base_url: http://127.0.0.1:$port
EOF
"$work/scheduler" run --config "$work/penstock.yaml" --listen 127.0.0.1:$((port + 80)) --admin 127.0.0.1:$((port + 90)) >"$work/penstock.log" 2>&1 &
pids="$pids $!"
cd "$suite"
npm_config_protocol=http npm_config_port=$port npm_config_pidfile="$work/pid" \
	node test-engine/server/server.mjs >"$work/server.log" 2>&1 &
pids="$pids $!"
for url in http://127.0.0.1:$((port + 90))/readyz http://127.0.0.1:$port/; do
	n=0
	until curl -fso /dev/null "$url"; do
		n=$((n + 1))
		[ "$n" -lt 50 ] || { echo "$url does not answer" >&2; cat "$work"/*.log >&2; exit 1; }
		sleep 0.2
	done
done

base=http://127.0.0.1:$((port + 80))/proxy/origin
if [ $# -gt 0 ]; then
	npm_config_base=$base npm_config_id=$1 node --no-warnings test-engine/cli.mjs
	exit
fi
npm_config_base=$base npm_config_id='' npm_package_config_id='' node --no-warnings test-engine/cli.mjs >"$work/results.json"
cat >"$work/summary.mjs" <<'EOF'
import fs from 'fs'
const [suite, file] = process.argv.slice(2)
const tests = (await import(`${suite}/tests/index.mjs`)).default
const { determineTestResult } = await import(`${suite}/test-engine/lib/results.mjs`)
const results = JSON.parse(fs.readFileSync(file))
const kinds = ['required', 'optimal', 'check']
const line = (name, row) => console.log(name.padEnd(20) + kinds.map(k => (row[k] ? row[k].join('/') : '-').padStart(10)).join(''))
const total = {}
const missed = []
console.log(''.padEnd(20) + kinds.map(k => k.padStart(10)).join(''))
for (const category of tests) {
  const row = {}
  for (const test of category.tests.filter(t => !t.browser_only)) {
    const kind = test.kind || 'required'
    const ok = ['✅', 'Y'].includes(determineTestResult(tests, test.id, results)[2])
    for (const count of [row, total]) {
      count[kind] ??= [0, 0]
      count[kind][0] += ok
      count[kind][1]++
    }
    if (!ok && kind !== 'check') missed.push(`${kind} ${test.id}: ${results[test.id]}`)
  }
  line(category.id, row)
}
line('all', total)
console.log('\n' + missed.join('\n'))
EOF
node "$work/summary.mjs" "$suite" "$work/results.json"
