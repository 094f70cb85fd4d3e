// Package lease shares one upstream's quota between nodes. Each node holds a part of it for a time, and uses it
// without asking anybody; the parts follow demand.
//
//   - [Allocate] says who should have how much: max-min fair by demand, a little for each. Pure.
//   - [Record] is what the nodes of one quota agree on: who holds what and wants what. [Record.Step] is one node's
//     next version of it. Pure.
//   - [Keeper] keeps a record for each quota in an engine's bucket. Each node changes a record by compare and
//     set; there is no leader, and no node decides for another.
//   - [Estimate] turns counts of calls into a demand.
//
// How a part goes from A to B: B writes what it wants; A sees that its fair part is smaller now, uses less from that
// moment on, and only then writes so; B sees what became free and takes it by its next write. The parts in a record
// never add up to more than the whole ([Whole]), and since each node uses no more than what it last wrote with success, nor do
// those in use.
//
// A lease ends by the clock of the node that holds it, Options.Lease after it began to write. Others take it for ended when
// its entry has not changed for a tenth longer since they first saw it. Both are spans of a monotonic clock, so clocks
// need not agree; they need to run alike within a tenth. A write that others' changes overtook
// fails, so nobody acts on an old view.
//
// A node that is cut off uses its part until its lease ends, then Options.CutOffRatio of a fair part, which the
// others leave to it until they forget it, Options.Forget after. So a dead node's part comes back when its lease ends, but for that rest.
//
// Non-goals: this is no rate limiter (see scheduler.SetShare), learns no quota, and weighs no tenants.
//
// Concurrency: a Keeper may be used at once from any number of goroutines. Everything else is plain values.
//
// Sources: Google's Doorman (leases that shrink before others grow, max-min "fair share"); Gray and Cheriton, Leases,
// 1989 (safety from clock rates alone); Guerin et al., arXiv 1909.08969 (what splitting a quota costs).
package lease
