// Package preload replays request traces through the preloader's model (penstock/preload/learn, the very
// code that runs) and the cache's store (otter), in virtual time: hit ratio, precision and extra calls,
// next to no prefetching, order-1 Markov prediction, a miner after MITHRIL and Belady's optimum.
//
// Traces are CSV files, gzip or not, with the header timestamp_ms,client,key,size, in the folder that
// PENSTOCK_TRACES names, else ../shared/traces beside the repository. Without traces the replays of
// traces are skipped; those of made-up streams always run.
//
//	go test ./preload -run Table -v -args -full     # the table
//	go test ./preload -run Table -v -update    # and write it into ../docs/preloading.md
package preload
