// Package cluster keeps a node in touch with the others that share its engine: who is there, who is gone,
// and who leads.
//
// Every node writes a beat into a bucket of the engine, five times in a lease, and follows the bucket. A
// node is gone when nothing was heard of it for a lease of the observer's own clock while the observer was
// in touch all the time: its own beats came back to it. So when the engine is away nobody is declared gone,
// and after an outage each gets a new lease. No clocks are compared.
//
// One node leads: the one that the bucket's record names. A node that finds the leader gone, or none named,
// writes itself there, naming the revision that it replaces, so one of several succeeds. The leader's lead
// ends by its own clock a lease after the start of its last beat that came back, hence before another can
// find it gone; and since its beats come back in the order in which the bucket was written, a leader that
// slept learns of its successor before it believes in its lead again.
//
// Non-goals: no consensus of its own (that is the engine's), no calls between nodes, no exact membership. A
// process that was taken for gone and lives is told nothing; what it writes must name the revision that it
// changes.
//
// Concurrency: everything may be called at once. Start runs the goroutines, Stop ends them.
package cluster
