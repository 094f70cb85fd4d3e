package app

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go lets the heap double before it collects. For a process whose heap is a cache that is the wrong trade at
// both ends: a small one collects ten times a second while it serves hits, and a large one takes twice the memory
// that its bound says. So the room between collections is set by what they cost.
const (
	gcInterval = time.Second
	// leastRoom is how much may be allocated between two collections at least. More: fewer of
	// them. Less: a smaller process.
	leastRoom = 32 << 20
	// leastAlive keeps GOGC under 800: the runtime lets a heap grow to 4 MiB times GOGC/100 in any case.
	leastAlive = 4 << 20
	// leastRoomRatio and mostRoomRatio bound the room as a share of what is alive; the upper one is Go's default.
	leastRoomRatio, mostRoomRatio = 0.1, 1.0
	// The room grows by half while collections take more than dearGC of the processors, and shrinks by
	// a tenth while they take less than cheapGC. The gap between keeps it from going to and fro.
	dearGC, cheapGC = 0.05, 0.02
	// tellRoom is the least relative change that is put in force: each stops the process for a moment.
	tellRoom = 0.1
)

// gcPace is how much room the heap has: a share of what is alive.
type gcPace struct{ ratio float64 }

// percent is what GOGC is to be (in percent of what is alive), when collections took that share of the processors.
func (p *gcPace) percent(live uint64, gcShare float64) int {
	switch {
	case gcShare > dearGC:
		p.ratio = min(max(p.ratio, leastRoomRatio)*1.5, mostRoomRatio)
	case gcShare < cheapGC:
		p.ratio *= 0.9
	}
	p.ratio = max(p.ratio, leastRoomRatio)
	alive := max(float64(live), leastAlive)
	return int(math.Ceil(100 * max(leastRoom, p.ratio*alive) / alive))
}

// paceGC sets the garbage collector's pace until ctx ends. Where GOGC or GOMEMLIMIT is set in the environment,
// that holds and paceGC returns at once.
func paceGC(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	pace := new(gcPace)
	read := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/cpu/classes/total:cpu-seconds"},
		{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
	}
	var total, spent float64
	inForce := 100
	ticker := time.NewTicker(gcInterval)
	defer ticker.Stop()
	for {
		metrics.Read(read)
		// The marking that fills idle processors costs nobody anything.
		all, gc := read[1].Value.Float64(), read[2].Value.Float64()-read[3].Value.Float64()
		share := 0.0
		if all > total { // these are brought up to date by collections only
			share = (gc - spent) / (all - total)
		} else {
			share = (dearGC + cheapGC) / 2
		}
		total, spent = all, gc
		percent := pace.percent(read[0].Value.Uint64(), share)
		if math.Abs(float64(percent-inForce)) > tellRoom*float64(inForce) {
			debug.SetGCPercent(percent)
			inForce = percent
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
