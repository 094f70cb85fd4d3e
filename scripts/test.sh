#!/usr/bin/env bash
# Checks every Go module of the repository: format, vet, staticcheck, and all tests with the race
# detector in random order. Ends with a line that counts the tests.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log
failed=0

step() { # step NAME COMMAND...: runs a check, shows its output only when it fails
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "ok    $name"
	else
		echo "FAIL  $name"
		printf '%s\n' "$out"
		failed=1
	fi
}

formatted() { # gofmt names the files it would change and still exits 0
	local files
	files=$(find . -name '*.go' -not -path '*/node_modules/*' -print0 | xargs -0 gofmt -l) || return 1
	[ -z "$files" ] || { echo "gofmt -w these:"; echo "$files"; return 1; }
}

step gofmt formatted
# Built once by the root module, which pins it; run in each module.
step "staticcheck is built" go build -o "$scratch/staticcheck" honnef.co/go/tools/cmd/staticcheck
# The browser tests' Chromium and axe-core; without them they are skipped, but fail where CI=true.
tools=$("$root/scripts/e2e-tools.sh" "$scratch/e2e-tools") && [ -z "$tools" ] || export "$tools"
while IFS= read -r mod; do
	cd "$root/$(dirname "$mod")" || exit 1
	step "vet ($mod)" go vet ./...
	step "staticcheck ($mod)" "$scratch/staticcheck" ./...
	if go test -race -shuffle=on -timeout 10m -v ./... >"$log.one" 2>&1; then
		grep -E '^ok ' "$log.one"
	else
		failed=1
		# The whole story of what failed, without the passes between.
		grep -vE '^\s*(=== (RUN|PAUSE|CONT|NAME)|--- PASS)' "$log.one"
	fi
	cat "$log.one" >>"$log"
	rm -f "$log.one"
done < <(find . -name go.mod -not -path '*/node_modules/*' | sort)

count() { grep -cE "^\s*--- $1: " "$log" || true; }
passed=$(count PASS) fails=$(count FAIL) skipped=$(count SKIP)
if [ "$skipped" -gt 0 ]; then
	echo "skipped:"
	grep -A3 -E '^\s*--- SKIP: ' "$log" | grep -vE -- '--- PASS|=== ' | head -40
fi
echo "$passed passed, $fails failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$fails" -eq 0 ] && [ "$passed" -gt 0 ]
