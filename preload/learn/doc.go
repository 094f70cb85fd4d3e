// Package learn is the preloader's model: it learns from a stream of requests which keys will be asked
// for, when and how surely, and says which of them are worth a call. It does no I/O and has no
// goroutine; time comes in with each call, so a trace of a day is replayed in a second.
//
// # How it predicts
//
// Sequence: what one client asks for next. The last one, two and three keys of a session are contexts
// (prediction by partial matching; Palpanas and Mendelzon, WCW 1999); the short one remembers up to eight
// keys that came within the next four requests, the longer ones up to four that came sooner. Association:
// the same over the requests of all clients of a tenant, at lags chosen near and as far back as a call
// takes, so that what is found comes in time (the idea of MITHRIL: Yang et al., SoCC 2017). Periodic: keys asked for at regular times. Refresh: keys
// whose copy ends, by how often and how lately they were asked for. Pattern: the next number of a
// family of keys (pages, ids, blocks), which may never have been asked for, and links from the ids in one
// answer to another route.
//
// # How it decides
//
// No source is believed. A prediction falls into a cell (source, length of context, support, ratio, how
// popular the key is anyway, whether it would come in time), and each cell keeps what its predictions came to, made or
// not: one that is not made is followed as a ghost, which costs nothing. So a cell's probability is a
// measured one, and a source that is no good on this stream stands down by itself, and comes back when
// its ghosts come true. A prediction is made when its measured worth (the share of the latency that it
// would save) against its measured chance of being wasted passes a threshold; the [governor]'s two banks
// raise that threshold as the budget of extra calls or the target of precision comes near.
//
// # Invariants
//
// All tables are flat arrays of a size fixed by the Options; nothing grows with the stream. Counters
// saturate or are halved. Keys are hashes. An access costs a bounded number of table look-ups.
//
// A Model is not safe for concurrent use.
package learn
