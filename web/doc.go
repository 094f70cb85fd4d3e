// Package web is the page that operators look at, served under "/" of the admin plane: what runs, which
// limit binds, what the tuner decided, the knobs.
//
// It is rendered on the server, needs no script and nothing from outside, and renews itself every
// few seconds. Non-goals: changing anything (that is the admin API's), and history.
//
// Handler may be called at once.
package web
