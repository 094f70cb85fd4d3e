// Package regret measures what the tuner loses against the best fixed setting, and against the
// published rules of others (package peers), in front of modelled upstreams in virtual time.
//
//	go test -C bench ./regret                                # short, and asserts
//	go test -C bench ./regret -run Table -v -args -only g -tell  # one scenario, with the decisions
//	make regret                                              # the whole table, for docs/regret.md
//
// The requests go through the real scheduler; the tuner is the real one. Everybody gets the same
// arrivals of the same seed. The best fixed setting is found by trying a grid of them.
//
// All of it is in the tests: virtual time (testing/synctest) is to be had there only.
package regret
