package resume

import (
	"math/bits"
	"sync"
)

// spanLines is how many lines share a part of the set.
const spanLines = 1 << 16

type span struct {
	bits [spanLines / 64]uint64
	set  int
}

// whole stands for each span that is complete.
var whole = new(span)

// answered is the set of the lines that need no answer any more. It is small where the lines are dense:
// spans that are complete share one.
type answered struct {
	mu    sync.Mutex // guards what follows
	spans []*span
	last  int64
}

// add reports whether the line was not in the set.
func (a *answered) add(line int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, i := line/spanLines, line%spanLines
	for int64(len(a.spans)) <= at {
		a.spans = append(a.spans, nil)
	}
	s := a.spans[at]
	if s == nil {
		s = new(span)
		if at == 0 {
			s.bits[0], s.set = 1, 1 // there is no line 0
		}
		a.spans[at] = s
	}
	bit := uint64(1) << (i % 64)
	if s == whole || s.bits[i/64]&bit != 0 {
		return false
	}
	s.bits[i/64] |= bit
	if s.set++; s.set == spanLines {
		a.spans[at] = whole
	}
	a.last = max(a.last, line)
	return true
}

func (a *answered) has(line int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, i := line/spanLines, line%spanLines
	if at >= int64(len(a.spans)) || a.spans[at] == nil {
		return false
	}
	return a.spans[at] == whole || a.spans[at].bits[i/64]&(1<<(i%64)) != 0
}

// highest is the greatest number that was added.
func (a *answered) highest() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// count is how many lines are in the set.
func (a *answered) count() (n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, s := range a.spans {
		switch s {
		case nil:
		case whole:
			n += spanLines
		default:
			for _, b := range s.bits {
				n += int64(bits.OnesCount64(b))
			}
		}
		if i == 0 && s != nil {
			n-- // line 0
		}
	}
	return n
}
