#!/usr/bin/env bash
# Checks every Go module of the repository: format, vet, staticcheck, and all tests with the race
# detector in random order. Up to three tests that fail are tried once more by themselves, so that one
# that a starved machine held up does not hide the rest; they are named as flaky, to be mended. A race,
# a panic or a failed build is not tried again. Ends with a line that counts the tests.
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

again() { # again LOG: runs the few tests once more that failed there; fails if that is no remedy
	local packages names
	grep -qE 'WARNING: DATA RACE|^panic: |^fatal error: |\[(build|setup) failed\]' "$1" && return 1
	names=$(sed -nE 's/^--- FAIL: ([^ ]+) .*/\1/p' "$1" | sort -u)
	packages=$(sed -nE 's/^FAIL\t([^ \t]+)\t.*/\1/p' "$1" | sort -u)
	[ -n "$names" ] && [ "$(wc -w <<<"$names")" -le 3 ] || return 1
	echo "once more:" $names
	# shellcheck disable=SC2086
	go test -race -count=1 -timeout 5m -v -run "^($(paste -sd'|' <<<"$names"))\$" $packages 2>&1 | grep -vE '^\s*=== '
	[ "${PIPESTATUS[0]}" -eq 0 ]
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
		# The whole story of what failed, without the passes between.
		grep -vE '^\s*(=== (RUN|PAUSE|CONT|NAME)|--- PASS)' "$log.one" | sed 's/^/| /'
		if again "$log.one"; then
			sed -i -E 's/^(\s*)--- FAIL: /\1--- FLAKY: /' "$log.one"
		else
			failed=1
		fi
	fi
	cat "$log.one" >>"$log"
	rm -f "$log.one"
done < <(find . -name go.mod -not -path '*/node_modules/*' | sort)

count() { grep -cE "^\s*--- $1: " "$log" || true; }
passed=$(count PASS) fails=$(count FAIL) skipped=$(count SKIP)
if [ "$(count FLAKY)" -gt 0 ]; then
	echo "flaky, passed at the second try only; mend these:"
	grep -E '^\s*--- FLAKY: ' "$log"
fi
if [ "$skipped" -gt 0 ]; then
	echo "skipped:"
	grep -A3 -E '^\s*--- SKIP: ' "$log" | grep -vE -- '--- PASS|=== ' | head -40
fi
echo "$passed passed, $fails failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$fails" -eq 0 ] && [ "$passed" -gt 0 ]
