// Package traces reads request traces, and knows how many hits the simplest and the best of caches would have on
// them: what the other benchmarks compare themselves with. Every object counts as one.
package traces
