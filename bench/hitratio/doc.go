// Command hitratio replays the request traces through Penstock's store policy (otter), through plain
// LRU and through the optimum (Belady: what is asked for again last goes first), with room for 1, 5 and
// 10 % of the keys.
//
//	go run -C bench ./hitratio ../../shared/traces/*.csv.gz
//
// Every request counts alike and every object has the size one, as the sizes in the traces are mostly
// unknown. Nothing expires.
package main
