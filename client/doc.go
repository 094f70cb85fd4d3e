// Package client calls a running Penstock: its data plane ([Client]) and its admin plane
// ([Admin]).
//
//	c, err := client.New("http://127.0.0.1:8080", client.Options{})
//	answer, err := c.Send(ctx, client.Item{Route: "movie", Params: map[string]any{"id": 42}})
//
// Whatever Penstock itself refuses comes back as a [*Problem], an RFC 9457 problem document; find
// it with errors.As or errors.AsType. An answer of the upstream, a 404 or 500 of its own included,
// is an [Answer] and no error.
//
// Non-goals: the client does not retry, since Penstock does that within its retry budget, and it
// keeps no cache.
//
// Concurrency: a Client and an Admin may be used by any number of goroutines at once.
package client
