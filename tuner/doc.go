// Package tuner finds the values of knobs by measurement, writes down each change with its reason,
// and judges it afterwards.
//
// The parts, apart so that each is tested alone:
//
//   - controllers: pure functions, one a file. They get measurements and their own state and give a
//     [Proposal] and the new state. A [Rule] looks at each interval; a [Fast] controller sees each call.
//   - [Plug]: a controller with its knob, where its measurements come from, and how a change of it is judged.
//   - [Loop]: the clock and the I/O. At each interval it measures for every plug, asks the controller, turns the
//     knob, and after the evaluation window has the change judged. A change judged worse is rolled back.
//   - [Ledger]: the bounded list of [Decision] records, in memory. It can be followed, and filled with
//     what an earlier process left, so that others keep it on disk.
//
// Non-goals: keeping the ledger and the learned states on disk (app does that).
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
