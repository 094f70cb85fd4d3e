package learn

const (
	// regular is how many bursts must have come when expected before a key counts as periodic.
	regular = 2
	// gapTolerance is the part of an interval by which a burst may be off.
	gapTolerance = 8
	// maxSkips is how many intervals may pass without a burst (a weekend is two days).
	maxSkips = 3
	// shortest is the shortest interval worth a plan of its own, ns.
	shortest = 1e9
)

// beat takes in a request for the rhythm of its key. Requests soon after each other are one burst.
func (m *Model) beat(r *record, now int64) {
	gap := float32(now - r.burst)
	switch {
	case r.burst == 0:
		r.burst = now
		return
	case gap < shortest || gap < r.interval/gapTolerance:
		return
	case r.interval == 0:
		r.interval, r.burst = gap, now
		return
	}
	skips := float32(int(gap/r.interval + 0.5))
	if off := gap - skips*r.interval; skips >= 1 && skips <= maxSkips && max(off, -off) <= r.interval/gapTolerance {
		r.streak = min(r.streak+1, 7)
		r.interval += off / skips / 4
	} else {
		r.streak /= 2
		if r.streak < regular {
			r.interval = gap
		}
	}
	r.burst = now
}

// expectedAt is when the next burst of a periodic key is expected; 0: it is not periodic.
func (m *Model) expectedAt(r *record) int64 {
	if r.streak < regular {
		return 0
	}
	return r.burst + int64(r.interval)
}

// margin is how long before its time a periodic key is fetched: early enough for a burst that comes
// early, and so late that the copy still is good for one that comes late.
func (m *Model) margin(r *record) int64 {
	e := r.interval / (2 * gapTolerance)
	if r.life > 0 {
		e = min(e, r.life/2)
	}
	return int64(e) + m.latency
}

func (m *Model) periodCell(r *record) cell {
	class := 0
	if r.life > 0 {
		for x := r.interval / r.life; x > 1 && class < 7; x /= 2 {
			class++
		}
	}
	return cell{fine: uint16(periodAt + int(r.streak&7)*8 + class), coarse: uint16(periodAtC + int(r.streak&7))}
}
