// Command herd sends a crowd to one cold key, and asks for stale copies of failing origins: Penstock,
// nginx and Varnish in the same run, in front of the same origin, which takes half a second.
//
//	go run -C bench ./herd                   # about two minutes; most of it is nginx's lock
//	go run -C bench ./herd -write ../docs/performance.md
//
// An answer is the wrong user's if the origin made it for somebody else, and it was not one that
// everybody may have.
package main
