package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	// File is the file as it was given; "env NAME" for a variable, "flag --KEY" for a flag, empty
	// for a value that came from none of them.
	File string
	// Line counts from 1; 0: not known or not in a file.
	Line int
	// Key is the dotted key ("upstreams.movies.base_url"); empty for a fault of the whole file.
	Key string
	// Problem says what is wrong and what to do.
	Problem string
	// Suggestion is the nearest word that would have been right; may be empty.
	Suggestion string
}

// String writes "file:line key: problem (did you mean "x"?)".
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(location(f.File, f.Line))
	if f.Key != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f.Key)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(f.Problem)
	if f.Suggestion != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", f.Suggestion)
	}
	return b.String()
}

func location(file string, line int) string {
	if file == "" || line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// Faults is the error of a configuration: everything that is wrong with it, in the order of files
// and lines.
type Faults struct {
	List []Fault
}

// Error writes one fault a line.
func (f *Faults) Error() string {
	lines := make([]string, len(f.List))
	for i, fault := range f.List {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// maxFaults bounds what a file that is no configuration at all can write into the log.
const maxFaults = 1000

// asError sorts the faults, drops equal ones, and gives nil if there are none.
func asError(list []Fault) error {
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(layerRank(a.File), layerRank(b.File)), cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	list = slices.Compact(list)
	if more := len(list) - maxFaults; more > 0 {
		list = append(list[:maxFaults:maxFaults], Fault{File: list[maxFaults].File, Problem: fmt.Sprintf("there are %d more faults", more)})
	}
	return &Faults{List: list}
}

// layerRank puts the file's faults before those of the environment and the flags.
func layerRank(file string) int {
	switch {
	case strings.HasPrefix(file, flagPlace):
		return 2
	case strings.HasPrefix(file, envPlace):
		return 1
	}
	return 0
}

// What stands in Fault.File and Origin.File for a value that is not from a file.
const (
	envPlace  = "env "
	flagPlace = "flag --"
)
