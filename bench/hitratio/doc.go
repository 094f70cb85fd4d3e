// Command hitratio replays the request traces through Penstock's cache, through plain LRU and through the optimum
// (Belady: what is asked for again last goes first), with room for 1, 5 and 10 % of the keys.
//
//	go run -C bench ./hitratio ../../shared/traces/*.csv.gz
//
// Penstock's cache is the whole stage as the service has it, with its own accounting of bytes: requests go in, an
// upstream of no delay answers with 1 KiB each, and its bound is what so many stored answers count for. Every
// object has the same size, as the sizes in the traces are mostly unknown, and nothing expires.
package main
