// Package app wires Penstock: it builds the stages from a configuration, serves the data plane and
// the admin plane, takes reloads, and drains at the end. It can be embedded: New, Start, Reload,
// Stop.
//
// Invariants: a reload builds and checks everything first and then swaps, or changes nothing;
// queues, cache and learned state live on across it. A request in flight keeps the route and the
// stages that it began with. Stop loses no request that was taken, within server.drain_timeout.
//
// Non-goals: command lines and signals (cmd/scheduler), and any rule of the stages themselves.
//
// All methods of App may be called at once; reloads are serialised.
package app
