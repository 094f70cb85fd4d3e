// Package natsengine is the durable [engine.Engine]: NATS JetStream through the official client, on a
// server embedded in the process or on a cluster. It is the only package that knows NATS.
//
// How it stands on disk, below Options.Dir:
//
//	lock         held (flock) by the process that has the store open; the server takes none of its own
//	store.json   how the store was written (mode "solo") and which streams it must hold
//	solo/        the server's own files
//	damaged/     streams that could not be read any more, moved out of the way with their time
//
// Invariants: nothing listens, the connection is in process. Every write is synced before it is
// acknowledged (SyncAlways), unless Options.SyncInterval says otherwise: only that keeps acknowledged
// writes over a power cut; a killed process loses none either way. The maxima of memory
// and store are always set; the server's own default takes most of the machine. A store that another
// process holds, that can't be written or that was written by a clustered server is refused with a
// message that says what to do. A stream that is named in store.json and that the server did not
// recover is moved to damaged/ and begun anew, with a warning; the other streams live on. A damaged
// record inside a stream is skipped or ends the stream's tail; the server does not always say so.
//
// Connect gives the same engine on a cluster of NATS servers that run elsewhere: nothing is kept below
// Dir then, sync is the servers' setting (sync_interval: always), and every stream has Options.Replicas
// copies. While the cluster is away every call fails at once with engine.ErrUnavailable; it is tried for
// ever. What was opened while it was away is opened when it is back. Reads go to a stream's leader, never
// to a replica that may be behind.
//
// Concurrency: everything may be called at once. Open and Close start and end the server's goroutines;
// Close waits for all of them.
package natsengine
