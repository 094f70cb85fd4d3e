// Command hotpath measures a fresh hit in the cache over real connections: Penstock with everything
// on, beside bare net/http, the floor of chi and otter, nginx and Varnish. Each runs alone on one core
// and wrk (or, without it, a generator of our own) on another. All are asked in turn, round by round,
// so that what else the machine does falls on all; the ratios are medians over the rounds.
//
//	go run -C bench ./hotpath                   # about three minutes
//	go run -C bench ./hotpath -install          # as root, installs nginx, Varnish and wrk from Debian first
//	go run -C bench ./hotpath -write ../docs/performance.md
package main
