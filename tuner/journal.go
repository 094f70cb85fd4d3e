package tuner

import (
	"cmp"
	"slices"
	"time"
)

// A Ledger can be followed and kept elsewhere: every decision carries the number of its last change
// (Rev), so that whoever knows the last number that it saw asks for what came after it. The ledger is
// the only buffer: a slow follower costs nothing, and gets only the last state of each decision.

// firstRev begins the numbers of a ledger after those of any before it.
func firstRev() uint64 { return uint64(time.Now().UnixMicro()) }

// touch gives d the next number and wakes the followers. The caller holds mu.
func (l *Ledger) touch(d *Decision) {
	l.rev++
	d.Rev = l.rev
	for wake := range l.followers {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// Follow returns a channel that holds a token whenever something was recorded or changed since the
// last token was taken, until cancel is called. Ask Changes for what it was.
func (l *Ledger) Follow() (wake <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	l.mu.Lock()
	l.followers[c] = struct{}{}
	l.mu.Unlock()
	return c, func() {
		l.mu.Lock()
		delete(l.followers, c)
		l.mu.Unlock()
	}
}

// Rev returns the number of the ledger's last change.
func (l *Ledger) Rev() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rev
}

// Changes returns the decisions that match f and were recorded or changed after rev, in the order of
// their last change, each as it is now. With f.Limit, the first ones.
func (l *Ledger) Changes(rev uint64, f Filter) []Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*Decision
	for _, d := range l.decisions {
		if d.Rev > rev && f.matches(d) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *Decision) int { return cmp.Compare(a.Rev, b.Rev) })
	if f.Limit > 0 && len(found) > f.Limit {
		found = found[:f.Limit]
	}
	out := make([]Decision, len(found))
	for i, d := range found {
		out[i] = d.copy()
	}
	return out
}

// Kept tells the ledger that everything up to rev is kept elsewhere; from the first call on, decisions
// that have to go before they were kept are counted by Lost.
func (l *Ledger) Kept(rev uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keeping, l.kept = true, max(l.kept, rev)
}

// Lost is how many decisions had to go before they were kept.
func (l *Ledger) Lost() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// notJudged is the end of a decision that the process did not live to judge.
const notJudged = "not judged: the process ended before"

// Restore puts decisions of an earlier process in front of those of this one, the oldest first, as far
// as there is room. Of several with one ID the one with the highest Rev counts. One that still waited
// for its verdict will get none, and says so.
func (l *Ledger) Restore(earlier []Decision) {
	byID := make(map[string]*Decision, len(earlier))
	var all []*Decision
	for i := range earlier {
		d := earlier[i].copy()
		if old, ok := byID[d.ID]; ok {
			if d.Rev >= old.Rev {
				*old = d
			}
			continue
		}
		byID[d.ID] = &d
		all = append(all, &d)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range all {
		l.rev = max(l.rev, d.Rev)
	}
	all = slices.DeleteFunc(all, func(d *Decision) bool {
		return slices.ContainsFunc(l.decisions, func(own *Decision) bool { return own.ID == d.ID })
	})
	slices.SortStableFunc(all, func(a, b *Decision) int { return a.Time.Compare(b.Time) })
	if room := l.size - len(l.decisions); len(all) > room {
		all = all[len(all)-room:]
	}
	for _, d := range all {
		if d.Mode == ModeActive && d.Verdict == "" && d.Measured == "" && d.Node == l.node {
			d.Measured = notJudged
			l.touch(d)
		}
	}
	l.decisions = append(all, l.decisions...)
}
