// Package request holds the words that every stage of Penstock shares: the [Request], the
// [Response], the [Route], the [Urgency], the typed [Error] and the one seam between stages,
// [Doer].
//
// A stage takes the next one as a Doer, so each stage is built and tested alone:
//
//	api -> cache -> scheduler -> batcher -> upstream
//
// Non-goals: this package does no I/O, keeps no state beyond one request, and reads no
// configuration. It imports the standard library only.
//
// Concurrency: a Request belongs to the stage that holds it. Only the methods that say so
// ([Request.Urgency], [Request.Promote], [Request.OnPromote], [Request.Started],
// [Request.MarkStarted]) may be called by several goroutines at once. A Response's Header is
// read-only as soon as the Response was returned: cached answers share one map.
package request
