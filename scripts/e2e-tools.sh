#!/usr/bin/env bash
# Installs what the browser tests need, where it is missing and we may: Debian's Chromium, and axe-core from
# npm into the folder DIR. Prints E2E_AXE=FILE if axe-core is there. Quiet; a failure is left to the tests to tell.
# Usage: e2e-tools.sh DIR
set -uo pipefail
dir=$1

try() { # try COMMAND...: three times
	for i in 1 2 3; do
		timeout 300 "$@" >/dev/null 2>&1 </dev/null && return 0
		sleep "$((i * 3))"
	done
	return 1
}

have_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

packages=()
have_browser >/dev/null || packages+=(chromium)
command -v npm >/dev/null || packages+=(npm)
if [ "${#packages[@]}" -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	try apt-get update -q
	try apt-get install -q -y --no-install-recommends "${packages[@]}" || echo "e2e-tools: apt-get could not install ${packages[*]}" >&2
fi

axe=4.14.1
if command -v npm >/dev/null; then
	mkdir -p "$dir"
	(cd "$dir" && try npm install --no-save --no-package-lock --no-audit --no-fund --silent "axe-core@$axe") || echo "e2e-tools: npm could not install axe-core" >&2
fi
file=$dir/node_modules/axe-core/axe.min.js
[ ! -f "$file" ] || echo "E2E_AXE=$file"
