package tuner

import (
	"errors"
	"fmt"
	"time"
)

// What RollBack refuses.
var (
	ErrNoDecision = errors.New("there is no such decision, or it is no longer kept")
	// ErrNotReversible comes with the reason and what to do instead.
	ErrNotReversible = errors.New("this decision can't be rolled back")
)

// handCoolDown is how long the tuner leaves a knob alone that an operator rolled back.
const handCoolDown = 10 * time.Minute

// RollBack puts the knob of a decision back to where it was before, by an operator's order. The decision
// says so, and a record of its own names the author. The tuner leaves the knob there for ten minutes;
// to keep it there, pin it. It fails with ErrNoDecision or ErrNotReversible.
func (l *Loop) RollBack(id, author, note string) (Decision, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.o.Ledger.Decision(id)
	if !ok {
		return Decision{}, ErrNoDecision
	}
	k, ok := l.o.Knobs.Lookup(d.Knob)
	refuse := func(format string, args ...any) (Decision, error) {
		return Decision{}, fmt.Errorf("%w: "+format, append([]any{ErrNotReversible}, args...)...)
	}
	switch {
	case !ok:
		return refuse("there is no knob called %s now", d.Knob)
	case d.Mode == ModeShadow:
		return refuse("it was made in shadow mode and never carried out")
	case d.Mode != ModeActive:
		return refuse("it is not the tuner's; undo a pin by DELETE /admin/v1/knobs/%s/pin", d.Knob)
	case d.RolledBack:
		return refuse("it was rolled back already")
	}
	st := k.State()
	text := st.Spec.Format
	switch {
	case st.Pin != nil:
		return refuse("the knob is pinned to %s; unpin it first", text(st.Value))
	case st.Value != d.To:
		return refuse("the knob has moved on from %s to %s; pin it to the value that you want", text(d.To), text(st.Value))
	case st.Spec.Check(d.From) != nil:
		return refuse("%s is out of the knob's bounds now", text(d.From))
	}
	by := author
	if note != "" {
		by += ": " + note
	}
	for _, p := range l.plugs {
		if p.Knob == d.Knob {
			l.abandon(p, "not judged: rolled back by "+by)
			p.value, p.known, p.since = d.From, true, time.Now()
			p.cooling = time.Now().Add(handCoolDown)
			p.last = &Outcome{Rule: d.Rule, From: d.From, To: d.To, Verdict: VerdictWorse, RolledBack: true}
		}
	}
	if err := k.Resume(d.From, "rolled back by "+by); err != nil {
		return refuse("%v", err)
	}
	was, _ := l.o.Ledger.amend(id, func(d *Decision) {
		d.RolledBack = true
		if d.Measured == "" {
			d.Measured = "not judged: rolled back by " + by
		}
	})
	l.o.Ledger.Record(Decision{
		Knob: d.Knob, Upstream: d.Upstream, Route: d.Route, From: d.To, To: d.From, Rule: "rollback", Author: author,
		Reason: fmt.Sprintf("decision %s was rolled back by %s; the tuner leaves the knob there for %s", id, by, handCoolDown),
	})
	return was, nil
}
