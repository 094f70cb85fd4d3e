// Package upstream makes the calls to one upstream: the last stage, behind scheduler and batcher.
//
// A [Client] owns a connection pool and carries each [request.Request] out: it builds the URL
// (which never leaves the base URL's host and path), drops hop-by-hop headers, injects credentials,
// bounds the time and the size of the answer, retries what may be retried within a budget, refuses
// calls while the breaker is open, turns every failure into a [request.Error] with an RFC 9209
// token, and reports each call to observe when its body has ended.
//
//	c, err := upstream.New(upstream.Options{Name: "movies", BaseURL: "http://127.0.0.1:9000"}, upstream.Metrics{})
//	resp, err := c.Do(ctx, r)
//	defer resp.Body.Close()
//
// Non-goals: queueing, rates and the number of calls at once (scheduler), caching (cache),
// decoding bodies (they pass byte for byte), following redirects (they are answers),
// protocol upgrades (a 101 is an invalid answer), reading quota headers (observe.Call carries the
// header to who does).
//
// Invariants:
//   - A call never reaches another host or a path outside the base path (see [CheckPath]).
//   - Secrets stand in no error and no metric.
//   - Each attempt is reported exactly once. Its context is released when its body ended or was
//     closed. The Request's Stream is closed once Do failed or the body ended.
//   - The end of the caller's context is never counted against the upstream.
//   - No lock is held across I/O.
//
// Concurrency: all methods of Client may be called at once. Prepare and its commit are to be
// serialised by the caller. A call keeps the settings that it began with.
//
// Sources: RFC 9110 (7.6.1 hop-by-hop fields, 10.2.3 Retry-After), RFC 3986 (3.3, 6.2.2), RFC 9209
// (tokens); full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015); the retry
// budget's idea: Finagle's RetryBudget and gRPC proposal A6; breaker: github.com/sony/gobreaker.
package upstream
