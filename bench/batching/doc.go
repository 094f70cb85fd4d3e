// Package batching measures what batches are worth: Penstock's scheduler and batcher, and plain
// batchers of every fixed size, in front of one upstream whose call of n items costs 40 ms + n
// times 1 ms, with 8 permits, in virtual time.
//
//	go test -C bench -run Batch -v ./batching          # short, and asserts
//	go test -C bench -run Batch -v ./batching -full    # longer runs, a finer grid
//
// All of it is in the tests: virtual time (testing/synctest) is to be had there only. Every run is
// seeded; the figures are the same on every machine.
package batching
