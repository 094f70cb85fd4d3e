// Package jobs keeps accepted requests on disk, runs them when they are due, and keeps their results.
//
// [Service.Submit] answers only when the job is durable in the engine. From there it ends exactly once:
// done, failed, cancelled or dead. It is run at least once: a process that dies while it runs a job
// leaves it to be run again.
//
//	queued -> running -> done       the upstream answered below 400
//	   ^         |----> failed      it will not go better another time (4xx, bad request, deadline)
//	   |         |----> dead        every attempt failed, or it waited longer than Options.MaxWait
//	   |---------|                  it failed and is tried again after a pause
//	queued or running -> cancelled
//
// Each job is one record of a bucket, and every change of it is a write that names the revision that it
// changes, so of several who end a job one succeeds. The record of a running job names its owner, a process;
// when that is gone (Options.Nodes tells) another takes the job back into the queue. Of two that run one job
// so, the first to write its end counts. Each job falls to one node; others begin it only after a second.
// One node, the leader, deletes what is old and sends the webhooks. Results of some size stand beside the records.
//
// Which job is next is decided in memory, from an index that follows the bucket: the most urgent first,
// inside an urgency the tenants in turn, inside a tenant the oldest; one pick in sixteen takes the class
// that was not served for the longest time, so that the least urgent moves on too. The index holds some
// 300 bytes a job; Options.MaxStored bounds it.
//
// Non-goals: no storage, log or replication of its own (that is package engine), no retry of single
// calls (that is upstream's), no order between jobs.
//
// Concurrency: everything may be called at once. Start runs the goroutines, Stop ends them.
package jobs
