// Package tracing makes OpenTelemetry spans of requests, of their wait, of batches and of upstream calls, and
// sends them to a collector, OTLP over HTTP.
//
//   - [Tracer] is the switch: off it is one atomic load at each stage, and nothing else.
//   - [Tracer.Requests], [Tracer.Queue], [Tracer.Batches] and [Tracer.Calls] stand between the stages, which
//     know nothing of spans; what they share goes with the request (its Span) and with the context
//     (observe.WithTrace).
//
// Whether a request is traced is decided once, where it enters: by its client's traceparent (W3C Trace
// Context), else by chance. What is not sampled makes no span at all.
//
// Non-goals: no metrics, no logs, no other protocol than OTLP over HTTP with protobuf.
//
// Invariants: nobody waits for the collector. Spans wait in a bounded queue; what does not fit, and what could not
// be sent in time, is counted and forgotten. No path, query, key, body or credential is put into a span.
//
// Concurrency: everything may be used at once. This is the only package that imports OpenTelemetry.
package tracing
