// Package regret measures what the tuner loses against the best fixed setting, and against the
// published rules of others (package peers), in front of modelled upstreams in virtual time.
//
//	go test -C bench ./regret                                          # short, and asserts
//	go test -C bench ./regret -run Table -v -args -only g -quick -tell # one row, with the decisions
//	go test -C bench ./regret -run Table -v -args -only c1,c2 -write   # some rows anew in docs/regret.md
//	make regret                                                        # all of docs/regret.md
//
// A row of the table is a [row]. Those whose upstream is slots, a queue and a quota are workloads; others
// bring a world and a harness of their own.
//
// The requests go through the real scheduler; the tuner is the real one. Everybody gets the same
// arrivals of the same seed. The best fixed setting is found by trying a grid of them.
//
// All of it is in the tests: virtual time (testing/synctest) is to be had there only.
package regret
