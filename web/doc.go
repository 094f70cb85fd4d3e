// Package web is the pages that operators look at, served under "/" of the admin plane: what runs, which
// limit binds, what the tuner decided and why, what is in the cache, and what it is all worth.
//
// Each page is rendered whole on the server and can be read with scripts off; scripts (plain ES modules and
// the vendored uPlot) then keep it up to date, draw the charts and send changes to the admin API. All links
// are relative, so the pages work under any prefix. Nothing comes from outside, and the
// Content-Security-Policy allows no inline script or style.
//
// Invariants: the state of a page is in its URL; every chart has a table of the same values; every status
// is an icon, a word and a colour; what a page renders for one sample is rendered once for all who look.
// Non-goals: changing anything by itself (that is the admin API's), and keeping data.
//
// A Handler may be used at once by any number of goroutines.
package web
