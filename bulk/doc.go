// Package bulk pushes millions of lines through the stages of Penstock in constant memory.
//
// A [Pipeline] reads lines in chunks and leads each chunk through named stages, each with workers of its
// own, connected by short channels:
//
//	decode -> dedupe -> cache -> schedule -> transform -> encode
//
// The slowest stage holds the others back, up to whoever writes the lines: a chunk is read only when a
// ticket is free, and gives it back when its output has been taken. So the memory is bounded by tickets
// times chunk, also where the output has to keep the order of the input.
//
// A line that fails gets a line that says why, and never ends the stream; a fault of a stage does. The
// schedule stage sends the failed lines of a chunk again, and only those, after a pause.
//
// The pipeline knows nothing of HTTP and can be used alone: any [Source] of lines, any [Sink], any
// stages. The stages of this package ask a [request.Doer].
//
// Non-goals: nothing is kept on disk; who wants to go on after a break sends the lines that have no
// answer yet, each with its number.
//
// Concurrency: Run may be called at once for different streams. A chunk belongs to the stage that has it.
package bulk
