// Package observe counts and measures: Prometheus metrics, windowed signals for the tuner, samples
// for the history, simple alerts, and the end-to-end measuring stage.
//
//   - [Registry] and [Scope] make Prometheus metrics, one set for the process and one for each
//     upstream, and write them as one legal exposition.
//   - [Doer] is the measuring stage in front of the cache.
//   - [Window] turns requests and upstream calls into windowed [Signals].
//   - [Sampler] keeps samples of the signals and of the process; [Alerts] judges each sample.
//   - [NewLogHandler] adds the request's id to log lines.
//
// Non-goals: nothing here decides anything (that is tuner's), nothing is kept on disk, and no key,
// URL or tenant ever becomes a label.
//
// Invariants: memory is bounded by the number of configured upstreams and routes, never by
// traffic. A call is counted in the epoch in which it started, so that a short window does not see
// only the quick finishers; throughput is counted where it ended.
//
// Concurrency: everything may be used at once. A hit in the cache passes Doer, so that path takes
// no lock that is shared between routes and asks for no metric by name.
//
// Sources: the histogram's layout follows HdrHistogram (G. Tene), linear sub-buckets inside powers
// of two; the text format is Prometheus's exposition format 0.0.4.
package observe
