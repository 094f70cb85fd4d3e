package tuner

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"penstock/knob"
)

// disturbed ends a trial that can't go on: a coupled knob had to move, or the upstream came over a
// guardrail. The knob then goes back. It reports whether it did.
func (l *Loop) disturbed(p *plugged, k *knob.Knob, now time.Time) bool {
	switch other := p.couple.held(); {
	case p.couple != nil && other != p.Knob:
		l.takeBack(p, k, now, "not judged: "+cmp.Or(other, "a coupled knob")+" had to move meanwhile")
	case p.guarded.Load() && !p.pending.guarded && float64(p.Safer)*(p.pending.to-p.pending.from) < 0:
		l.takeBack(p, k, now, "not judged: the upstream came over a guardrail meanwhile")
	default:
		return false
	}
	return true
}

// takeBack ends a trial without a verdict and puts the knob where it was.
func (l *Loop) takeBack(p *plugged, k *knob.Knob, now time.Time, why string) {
	t := p.pending
	back := false
	if err := k.Tune(t.from, "taken back: "+why); err != nil {
		why += "; not taken back: " + err.Error()
	} else {
		back = true
		why += "; taken back"
		p.value, p.since = t.from, now
	}
	p.pending, p.last, p.decided = nil, nil, now
	p.couple.release(p.Knob)
	p.explain("taken-back", why)
	l.o.Ledger.amend(t.id, func(d *Decision) { d.Measured, d.RolledBack = why, back })
	l.log("tuner took back", p, t.id, slog.String("why", why))
}

// judge gives the verdict on the pending decision when its evaluation window is over, or at once if the
// rule calls an alarm.
func (l *Loop) judge(p *plugged, k *knob.Knob, seen any, n int, now time.Time) {
	t := p.pending
	waited := now.Sub(p.since)
	e := p.Slow.judge(Trial{
		Spec: k.Spec(), Rule: t.rule, From: t.from, To: t.to, NBefore: t.n, NAfter: n, For: waited, Appetite: l.appetite,
	}, t.before, seen)
	alarm := e.Alarm && e.Verdict == VerdictWorse
	if !alarm {
		if waited < max(l.evaluation(p), 3*p.times.lag(now)) {
			p.explain("judging", "the last change is being measured")
			return
		}
		// A small step shows only in many samples: rather wait for them than judge by chance.
		if e.More && waited < l.longest(p) {
			p.explain("judging", fmt.Sprintf("%d samples since the last change are too few to tell its effect from chance", n))
			return
		}
	}
	back := false
	if e.Verdict == VerdictWorse {
		if err := k.Tune(t.from, "rolled back: "+e.Measured); err != nil {
			e.Measured += "; not rolled back: " + err.Error()
		} else {
			back = true
			p.value, p.since = t.from, now
			l.moved(p, now)
		}
	}
	p.pending, p.decided = nil, now
	p.couple.release(p.Knob)
	p.last = &Outcome{Rule: t.rule, From: t.from, To: t.to, Verdict: e.Verdict, RolledBack: back}
	p.explain("judged", e.Measured)
	l.o.Ledger.amend(t.id, func(d *Decision) {
		d.Verdict, d.Measured, d.JudgedAt, d.RolledBack, d.Confidence = e.Verdict, e.Measured, now, back, e.Confidence
	})
	l.count(p.Knob, "", "", e.Verdict)
	l.log("tuner judged", p, t.id, slog.String("verdict", string(e.Verdict)), slog.Bool("rolled_back", back), slog.String("measured", e.Measured))
}

// abandon ends the wait for a verdict that can't be had any more. The caller holds mu.
func (l *Loop) abandon(p *plugged, why string) {
	p.last, p.shadow = nil, nil
	if p.pending == nil {
		return
	}
	l.o.Ledger.amend(p.pending.id, func(d *Decision) { d.Measured = why })
	p.pending = nil
	p.couple.release(p.Knob)
}

func (l *Loop) minSamples(p *plugged) int { return cmp.Or(p.times.minSamples, l.appetite.MinSamples) }

func (l *Loop) coolDown(p *plugged) time.Duration {
	return max(cmp.Or(p.times.coolDown, l.appetite.CoolDown), l.interval)
}

func (l *Loop) evaluation(p *plugged) time.Duration {
	return cmp.Or(p.times.evaluation, l.appetite.Evaluation)
}

func (l *Loop) longest(p *plugged) time.Duration {
	return max(cmp.Or(p.times.longest, longestEvaluation), l.evaluation(p))
}
