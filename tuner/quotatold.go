package tuner

import (
	"math"
	"slices"
	"time"

	"penstock/observe"
)

// toldWindow is what is remembered of a window between two answers that tell of it.
type toldWindow struct {
	start time.Time // when the call of the last answer was sent
	// slid and stood count answers whose reset moved on with the clock, and those whose did not.
	slid, stood int
	longest     time.Duration // the longest time to a reset that was told
	// What was left at a moment, and how many calls of ours ended since, to see what others use.
	base      time.Time
	baseLeft  float64
	ours      float64
	tellsNone bool // it tells of a part of the calls only
}

const (
	// othersSpan is the least time over which others' calls are counted, and othersCalls the least number
	// of them that is no chance.
	othersSpan  = 5 * time.Second
	othersCalls = 5
	// soon is the part of a period before its end that counts as this long: what is left divided by the
	// time left explodes there, and the reset may be a guess.
	soon = 0.05
)

// sliding reports whether the reset told moves on with the clock: it then is no end of a window but the
// time to the next token, or a guess.
func (w *QuotaWindow) sliding() bool { return w.told.slid > w.told.stood }

// tell takes in what an answer told. It reports whether anything new is in it.
func (s *QuotaState) tell(e QuotaEvent) bool {
	changed := false
	for _, t := range e.Told.Windows {
		if t.Of != "" {
			if s.resources == nil {
				s.resources = make(map[string]bool)
			}
			if len(s.resources) < maxWindows {
				s.resources[t.Of] = true
			}
		}
		changed = s.tellWindow(t, e) || changed
	}
	return changed
}

func (s *QuotaState) tellWindow(t observe.QuotaWindow, e QuotaEvent) bool {
	i := slices.IndexFunc(s.Windows, func(w QuotaWindow) bool {
		return w.Source == SourceHeaders && w.Name == toldName(t) && (t.Period == 0 || w.Period == 0 || w.Period == t.Period)
	})
	if i < 0 {
		if len(s.Windows) >= maxWindows {
			return false
		}
		s.Windows = append(s.Windows, QuotaWindow{Name: toldName(t), Source: SourceHeaders, Confidence: 1, Remaining: observe.Unknown})
		i = len(s.Windows) - 1
	}
	w := &s.Windows[i]
	if e.Start.Before(w.told.start) {
		w.told.ours++
		return false // a later call's answer came before
	}
	before := *w
	w.told.start = e.Start
	w.slide(t, e.Now)
	w.sized(t)
	s.others(w, t, e.Now)
	w.Met, w.Remaining = e.Now, t.Remaining
	if t.Reset >= 0 {
		// Whole seconds are told, rounded up as a rule: the earliest end that was told is the best known.
		if end := e.Now.Add(t.Reset); w.sliding() || end.Before(w.Reset) || end.Sub(w.Reset) > 1500*time.Millisecond || !e.Now.Before(w.Reset) {
			w.Reset = end
		}
	}
	switch {
	case w.sliding():
		w.Kind = KindRolling
	case t.Reset >= 0:
		w.Kind = KindFixed
	}
	w.told.tellsNone = t.Of != "" && len(s.resources) > 1
	return w.Limit != before.Limit || w.Remaining != before.Remaining || w.Period != before.Period
}

func toldName(t observe.QuotaWindow) string {
	name := t.Name
	if name == "" {
		name = "told"
	}
	if t.Of != "" {
		name += " " + t.Of
	}
	return name
}

// slide counts whether the reset told moves on with the clock.
func (w *QuotaWindow) slide(t observe.QuotaWindow, now time.Time) {
	if t.Reset < 0 || w.Reset.IsZero() || w.Met.IsZero() {
		return
	}
	elapsed := now.Sub(w.Met)
	moved := now.Add(t.Reset).Sub(w.Reset)
	switch {
	case t.Remaining > w.Remaining+1 && !now.Before(w.Reset.Add(-time.Second)):
		w.told.stood++ // a window ended when it was said to
	case elapsed < 10*time.Millisecond:
	case moved > elapsed/2+time.Second/2 || t.Remaining > w.Remaining+1 && now.Before(w.Reset.Add(-2*time.Second)):
		w.told.slid++
	case elapsed >= 2*time.Second && moved > elapsed/2:
		w.told.slid++
	case elapsed >= 2*time.Second:
		w.told.stood++
	}
	if w.told.slid+w.told.stood > 20 {
		w.told.slid, w.told.stood = w.told.slid/2, w.told.stood/2
	}
}

// sized works out the limit and the period where they are not told.
func (w *QuotaWindow) sized(t observe.QuotaWindow) {
	switch {
	case t.Limit > 0:
		w.Limit = t.Limit
	case t.Remaining > w.Limit:
		w.Limit = t.Remaining
	}
	if t.Period > 0 {
		w.Period = t.Period
		return
	}
	if t.Reset > w.told.longest {
		w.told.longest = t.Reset
		// Seconds are rounded, and the first answer of a window comes a little after its begin.
		w.Period = t.Reset
		if p := periods[periodIndex(t.Reset-t.Reset/50-time.Second)]; p < t.Reset+t.Reset/10 || w.Period < p && p <= time.Minute {
			w.Period = max(p, time.Second)
		}
	}
}

// others works out what others use of the same quota: what was left fell by more than our own calls.
func (s *QuotaState) others(w *QuotaWindow, t observe.QuotaWindow, now time.Time) {
	b := &w.told
	b.ours++
	span := now.Sub(b.base)
	fresh := b.base.IsZero() || t.Remaining < 0 || t.Remaining > w.Remaining+0.5 || span > max(w.Period/8, 4*othersSpan)
	if !fresh && span >= othersSpan {
		theirs := b.baseLeft - t.Remaining - b.ours
		rate := 0.0
		if theirs >= max(othersCalls, 0.05*b.ours) {
			rate = theirs / span.Seconds()
		}
		gain := math.Min(1, span.Seconds()/60)
		w.Others += gain * (rate - w.Others)
		if w.Others < 1e-6 {
			w.Others = 0
		}
		if rate == 0 || span > 2*othersSpan {
			fresh = true
		}
	}
	if fresh {
		b.base, b.baseLeft, b.ours = now, t.Remaining, 0
	}
}
