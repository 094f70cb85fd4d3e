package request

import (
	"fmt"
	"strconv"
)

// Urgency says how soon a request wants to be served: 0 is the most urgent, 7 the least. It is
// the u parameter of RFC 9218.
type Urgency uint8

const (
	// MostUrgent is served before all others.
	MostUrgent Urgency = 0
	// DefaultUrgency is what RFC 9218 gives a request that says nothing.
	DefaultUrgency Urgency = 3
	// LeastUrgent is background work.
	LeastUrgent Urgency = 7
	// Urgencies is how many there are.
	Urgencies = 8
)

// ParseUrgency reads a number 0 to 7.
func ParseUrgency(s string) (Urgency, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > int(LeastUrgent) {
		return 0, fmt.Errorf("urgency %q is not a whole number from 0 (most urgent) to 7", s)
	}
	return Urgency(n), nil
}

// String gives the number.
func (u Urgency) String() string { return strconv.Itoa(int(u)) }
