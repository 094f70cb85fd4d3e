package app

import "testing"

func TestTheHeapsRoomGoesByWhatCollectionsCost(t *testing.T) {
	for _, tc := range []struct {
		name     string
		live     uint64
		gcShare  float64
		looks    int
		min, max int
	}{
		{"a small heap has room enough for a busy second", 8 << 20, 0.01, 20, 400, 400},
		{"nothing is alive yet", 0, 0, 1, 800, 800},
		{"a large heap takes a tenth more, not twice", 1 << 30, 0.01, 50, 10, 11},
		{"dear collections get Go's own room in the end", 1 << 30, 0.2, 50, 100, 100},
		{"dear collections get more room at once", 1 << 30, 0.2, 1, 15, 16},
	} {
		p := new(gcPace)
		got := 0
		for range tc.looks {
			got = p.percent(tc.live, tc.gcShare)
		}
		if got < tc.min || got > tc.max {
			t.Errorf("%s: GOGC=%d, want %d to %d", tc.name, got, tc.min, tc.max)
		}
	}
}

// TestTheHeapsRoomComesToRest lets collections cost what they do: the more room, the less.
func TestTheHeapsRoomComesToRest(t *testing.T) {
	for _, cost := range []float64{0.0005, 0.004, 0.012, 0.04} { // of a collection of a heap with its own size as room
		p := new(gcPace)
		var last [20]int
		share := 0.0
		for i := range 300 {
			percent := p.percent(1<<30, share)
			share = cost * 100 / float64(percent)
			last[i%len(last)] = percent
		}
		low, high := last[0], last[0]
		for _, v := range last {
			low, high = min(low, v), max(high, v)
		}
		if float64(high) > 1.15*float64(low) {
			t.Errorf("cost %g: the room goes on between %d and %d %%", cost, low, high)
		}
	}
}
