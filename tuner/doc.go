// Package tuner finds the values of knobs by measurement, writes down each change with its reason,
// and judges it afterwards.
//
// Three parts, apart so that each is tested alone:
//
//   - controllers: pure functions, one a file. They get signals and their own state and give a
//     [Proposal] and the new state. [Workers] looks at each interval; [Knee] and [Quota] look at the pace
//     of the calls, for targets that want it and whose calls are given to [Loop.OnCall].
//   - [Loop]: the clock and the I/O. At each interval it reads the signals of every [Target], asks the
//     controller, turns the knob, and after the evaluation window has the change judged by [Judge].
//     A change judged worse is rolled back.
//   - [Ledger]: the bounded list of [Decision] records, in memory. It can be followed, and filled with
//     what an earlier process left, so that others keep it on disk.
//
// Non-goals, for now: controllers of TTL, batch, cache memory and prefetch; quota headers; windows of more than a second;
// keeping the ledger on disk (app does that). They come with the next steps of the tuner.
//
// Invariants: a knob stays inside its Spec's bounds and moves at most MaxStep at once; a pinned knob is
// left alone; nothing is decided on fewer than MinSamples calls, and the window grows until it has them;
// only calls that started after the last change of the knob, plus the time that such calls take, are
// read, so no cohort of calls is cut twice; there is at most one unjudged change of a knob; a change of
// throughput that may be chance, given the number of calls, counts as none.
//
// Concurrency: all methods of Loop and Ledger may be called at once.
//
// Sources: the rule for workers follows the throughput-gradient idea of Vector's adaptive request
// concurrency (RFC 1858) and .NET's HillClimbing, with Little's law to tell a slower upstream from one
// that queues; the names of the traps it avoids are those of DESIGN.md.
package tuner
