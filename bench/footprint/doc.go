// Command footprint fills caches with bodies of several sizes and tells what a stored answer costs in memory:
// Penstock, nginx and Varnish, each a process of its own that is started anew for each size.
//
//	go run -C bench ./footprint                  # about three minutes
//	go run -C bench ./footprint -write ../docs/performance.md
//
// The memory is what the process's own pages grow by (Pss, which is RSS without what is shared), looked at right
// after the filling, with no garbage collection asked for. Before the filling, as many requests are made of one
// key, so that what serving itself needs is there. Penstock also says what it counts towards its bound.
package main
