// Package demo is the world that Penstock is shown and tested in: a simulated slow movie API
// ([API]), people who visit it ([Visitors]), and the replay of real request traces against any
// address ([Replay], [Compare]).
//
// The API is slow (log-normal latency, a + b*n for n items), has a capacity (slots and a bounded
// queue in front of them), a quota (token bucket), fails now and then, and changes all of that
// while it runs by a script of phases. Its films change at rates of their own, and its answers
// carry ETag, Last-Modified and Cache-Control, so that HTTP caching works on them.
//
// Like most real APIs it does not notice that a client has gone: abandoned work keeps its place in
// the queue and its slot.
//
// Non-goals: being a benchmark of servers, and being exact about any one real API.
//
// Invariants: a body depends on the seed, the id and the film's version only, so that a film asked
// for alone equals, byte for byte, the same film in a batch. All randomness comes from the seed.
// Only package time is used, so everything runs in a synctest bubble.
//
// Concurrency: an API serves any number of requests at once and starts no goroutine. Visitors own
// their goroutines until Stop; Replay and Compare until they return.
//
// Sources: the replay is open-loop and measures from the intended send time, which avoids what Gil
// Tene calls coordinated omission; RateLimit fields as in the IETF draft
// draft-ietf-httpapi-ratelimit-headers; JSON-RPC 2.0.
package demo
