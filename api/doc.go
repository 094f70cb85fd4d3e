// Package api is Penstock's HTTP surface: the data plane ([NewData]) that takes requests and
// hands them to a [request.Doer], and the admin plane ([NewAdmin]) by which people and programs
// look at and change the running service.
//
// Non-goals: this package caches, queues and calls nothing itself, opens no listener and reads no
// configuration. What it needs from the other packages stands as small interfaces and funcs in
// [DataOptions] and [AdminOptions]; each is asked anew for each request, so that a reload needs
// no new handler.
//
// Invariants:
//
//   - Every error that Penstock itself makes is an RFC 9457 problem document with the request's
//     id. An upstream's own answer, of whatever status, passes untouched.
//   - A [request.Response]'s Header is shared with other requests: it is never changed.
//   - An answer that breaks off midway ends with a broken connection, never with a clean end.
//   - No byte of a request's body is read beyond the configured limits.
//   - A proxied path keeps its escaping, and can't leave the upstream's base path.
//
// Concurrency: both handlers may serve any number of requests at once. All goroutines started for
// a request have ended when its handler returns.
//
// The wire forms are described in openapi.yaml, which is embedded and served at
// /v1/openapi.yaml; a test produces every documented answer and checks it against that document.
//
// Sources: RFC 9110 (HTTP semantics; section 7.6 on what an intermediary must drop), RFC 9457
// (problem details), RFC 9218 (Priority), RFC 7240 (Prefer), RFC 9211 (Cache-Status), RFC 9209
// (Proxy-Status), W3C Server Timing and Trace Context.
package api
