// Package resume has a file of lines answered by a stream of a running Penstock, and goes on where it
// stopped: after a broken connection by itself, after the end of the process when it is run again.
//
// The output file is all that is kept. Its lines say which lines have been answered; what stands behind
// its last line break was cut by a crash and is cut away. What is missing is sent, with blank lines in
// the place of the others, so that the numbers stay those of the input.
//
// Invariants: a line is written once at most while one [Run] at a time writes to a file, which a lock
// sees to where the system has one; every line that is not blank has been written when Run returns nil.
// Memory: lines that were sent and not answered yet, bounded by count and bytes, and a bit for each line
// where the answers of 65,536 neighbours are not complete.
//
// Non-goals: it is not noticed that the input was changed between two runs, but where it got shorter
// than the output says.
package resume
