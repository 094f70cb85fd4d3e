// Package bulk shows what a file of lines costs that goes through `scheduler bulk`, the service and an
// upstream, each a process of its own or this one: memory, throughput, and what kills leave.
//
//	go test -C bench ./bulk -v                                  a short form, which make test runs
//	go test -C bench ./bulk -v -timeout 10m -args -full         1,000,000 lines, about four minutes
//	go test -C bench ./bulk -v -timeout 10m -args -full -write  and the table into docs/streaming.md
package bulk
