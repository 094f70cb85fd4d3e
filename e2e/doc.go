// Package e2e looks at the pages as people do: in a real headless Chromium, at a running `scheduler demo`. It
// is a module of its own, so that the browser's driver is nobody else's dependency.
//
// Without Chromium the tests are skipped, with CI=true that is a failure. axe-core is read from the file that
// E2E_AXE names; scripts/e2e-tools.sh installs both.
package e2e
