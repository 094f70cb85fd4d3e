package webhook

import (
	"maps"
	"time"

	"penstock/observe"
)

// member is one alert of a group.
type member struct {
	alert observe.Alert
	// told: the receiver may know that it fires, since an attempt has told it so.
	told bool
	// changed counts changes, so that one that comes while a notice is under way is not lost.
	changed int
}

// group is the alerts of one name. It belongs to its receiver's lock.
type group struct {
	name    string
	members map[string]*member // by fingerprint
	// due is when the next notice goes out; zero: nothing is to be told.
	due time.Time
	// sent is when the last one did, zero if there was none. failures counts attempts since.
	sent     time.Time
	failures int
	// news: something changed since the last notice.
	news bool
}

// put notes what became of an alert.
func (g *group) put(a observe.Alert, o *Options, now time.Time) {
	m := g.members[a.Fingerprint]
	if m == nil {
		if !a.ResolvedAt.IsZero() {
			return // nobody was told of it
		}
		m = new(member)
		g.members[a.Fingerprint] = m
	}
	m.alert = a
	m.changed++
	if !a.ResolvedAt.IsZero() && (!m.told || o.SkipResolved) {
		delete(g.members, a.Fingerprint)
		if len(g.members) == 0 {
			g.due = time.Time{}
		}
		return
	}
	g.news = true
	if g.failures > 0 && !g.due.IsZero() {
		return // the next attempt tells of it
	}
	at := now.Add(o.GroupWait)
	if !g.sent.IsZero() {
		at = later(g.sent.Add(o.GroupInterval), now)
	}
	if g.due.IsZero() || at.Before(g.due) {
		g.due = at
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// snapshot is what a notice tells, with the changes that it knows of. All of it counts as told from
// here on: of an attempt that fails nobody knows how far it came.
func (g *group) snapshot() ([]observe.Alert, map[string]int) {
	known := make(map[string]int, len(g.members))
	for print, m := range g.members {
		known[print], m.told = m.changed, true
	}
	return ordered(g.members), known
}

// delivered notes that the receiver has what snapshot gave.
func (g *group) delivered(known map[string]int, o *Options, now time.Time) {
	g.sent, g.failures, g.news, g.due = now, 0, false, time.Time{}
	for print, m := range maps.Clone(g.members) {
		if at, ok := known[print]; !ok || m.changed != at {
			g.news = true
			continue
		}
		if !m.alert.ResolvedAt.IsZero() {
			delete(g.members, print)
		}
	}
	switch {
	case g.news:
		g.due = now.Add(o.GroupInterval)
	case len(g.members) > 0:
		g.due = now.Add(o.RepeatInterval)
	}
}
