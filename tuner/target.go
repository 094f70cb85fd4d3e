package tuner

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// target is a Target at work. The Loop's mu guards it.
type target struct {
	Target

	value   float64   // the knob's value at the last look
	known   bool      // value is set
	since   time.Time // when value came into force, as far as the loop saw
	decided time.Time // the last decision

	state   WorkersState
	last    *Outcome // the verdict that the controller has not seen yet
	pending *pending
	shadow  *shadowed
	search  *search // nil: none

	rule, reason string // what the last look came to
}

// pending is a decision that was carried out and waits for its verdict.
type pending struct {
	id, rule string
	from, to float64
	before   observe.CallSignals
}

// shadowed is the last decision in shadow mode.
type shadowed struct {
	id       string
	from, to float64
	rule     string
}

func (l *Loop) look(t *target, now time.Time) {
	k, ok := l.o.Knobs.Lookup(t.Workers)
	if !ok {
		t.explain("no-knob", "there is no knob called "+t.Workers)
		return
	}
	st := k.State()
	if t.search != nil && l.mode == ModeActive {
		l.note(t, st, now)
		if t.Search {
			return
		}
	}
	if !t.known || st.Value != t.value {
		// Someone else moved it: what was measured before says nothing about this value.
		l.abandon(t, "not judged: the knob was moved by "+string(st.Source))
		t.value, t.known, t.since = st.Value, true, now
	}
	if st.Pin != nil {
		l.abandon(t, "not judged: the knob was pinned")
		t.explain("pinned", "the knob is pinned to "+st.Spec.Format(st.Value))
		return
	}
	calls, enough := l.read(t, now)
	if !enough {
		t.explain("waiting", fmt.Sprintf("%d calls so far, at least %d are needed", calls.Count, l.o.MinSamples))
		return
	}
	if t.pending != nil {
		l.judge(t, k, &calls, now)
		return
	}
	if now.Sub(t.decided) < max(l.o.CoolDown, l.interval) {
		return
	}
	in := Input{Now: now, Spec: st.Spec, Value: st.Value, Calls: calls, Last: t.last}
	p, state := Workers(in, t.state)
	t.explain(p.Rule, p.Reason)
	if l.mode == ModeActive || p.To == st.Value {
		// A proposal in shadow mode leaves no trace in the state: it was not carried out.
		t.state, t.last = state, nil
	}
	if p.To != st.Value {
		l.carryOut(t, k, in, p)
	}
}

// note writes down what the search of t came to since the last look.
func (l *Loop) note(t *target, st knob.State, now time.Time) {
	if d, ok := t.search.flushRate(now); ok {
		l.write(d)
	}
	if !t.Search {
		return
	}
	t.value, t.known = st.Value, true
	if st.Pin != nil {
		t.explain("pinned", "the knob is pinned to "+st.Spec.Format(st.Value))
		return
	}
	t.explain(t.search.status())
	for _, d := range t.search.flush(now) {
		l.write(d)
	}
}

// write takes a decision of a search into the ledger.
func (l *Loop) write(d Decision) {
	id := l.o.Ledger.Record(d)
	l.o.Scope.With("knob", d.Knob, "rule", d.Rule, "mode", string(d.Mode)).Counter("penstock_tuner_decisions_total").Inc()
	if d.Verdict != "" {
		l.o.Scope.With("knob", d.Knob, "verdict", string(d.Verdict)).Counter("penstock_tuner_verdicts_total").Inc()
	}
	l.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "tuner decided", slog.String("knob", d.Knob), slog.String("decision", id),
		slog.String("rule", d.Rule), slog.Float64("from", d.From), slog.Float64("to", d.To), slog.String("reason", d.Reason),
		slog.String("verdict", string(d.Verdict)), slog.String("measured", d.Measured))
}

func (t *target) explain(rule, reason string) { t.rule, t.reason = rule, reason }

// read returns the signals of the calls under the present value, and whether there are enough. The
// window is the last 15 s, and grows back towards the last change of the knob: to a minute while it has
// fewer calls than are good, and beyond that while it has too few to decide on. Its
// ends leave out one p95: at the newer end the slow calls are still under way, and after a change
// the calls of the old value are still finishing.
func (l *Loop) read(t *target, now time.Time) (observe.CallSignals, bool) {
	lag := min(l.o.Signals.Between(t.Upstream, "", now.Add(-maxWindow), now).Calls.P95, maxWindow/4)
	to := now.Add(-lag)
	oldest := later(t.since.Add(lag), to.Add(-maxWindow))
	for window := max(baseWindow, 2*lag); ; window *= 2 {
		from := later(to.Add(-window), oldest)
		s := l.o.Signals.Between(t.Upstream, "", from, to)
		enough := s.Calls.Count >= uint64(l.o.MinSamples)
		if s.Calls.Count >= goodSamples || (enough && window >= goodWindow) || !from.After(oldest) {
			// Right after a change a few seconds may hold enough calls, yet not be a fair picture.
			return s.Calls, enough && s.Span >= 2*time.Second && s.Span >= min(lag, maxWindow/4)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// carryOut records a proposal, and turns the knob in active mode.
func (l *Loop) carryOut(t *target, k *knob.Knob, in Input, p Proposal) {
	if l.mode == ModeShadow {
		again := shadowed{from: in.Value, to: p.To, rule: p.Rule}
		if t.shadow != nil {
			again.id = t.shadow.id
			if *t.shadow == again {
				l.o.Ledger.amend(again.id, func(d *Decision) { d.Repeats++ })
				return
			}
		}
	} else if err := k.Tune(p.To, p.Reason); err != nil {
		t.explain("refused", err.Error())
		return
	}
	t.decided = in.Now
	id := l.o.Ledger.Record(Decision{
		Time: in.Now, Knob: t.Workers, Upstream: t.Upstream, From: in.Value, To: p.To,
		Rule: p.Rule, Reason: p.Reason, Expected: p.Expected, Signals: signalMap(&in.Calls), Mode: l.mode,
	})
	l.o.Scope.With("knob", t.Workers, "rule", p.Rule, "mode", string(l.mode)).Counter("penstock_tuner_decisions_total").Inc()
	l.log("tuner decided", t, id, slog.String("rule", p.Rule), slog.String("mode", string(l.mode)),
		slog.Float64("from", in.Value), slog.Float64("to", p.To), slog.String("reason", p.Reason))
	if l.mode == ModeShadow {
		t.shadow = &shadowed{id: id, from: in.Value, to: p.To, rule: p.Rule}
		return
	}
	t.value, t.since = p.To, in.Now
	t.pending = &pending{id: id, rule: p.Rule, from: in.Value, to: p.To, before: in.Calls}
}

// judge gives the verdict on the pending decision when its evaluation window is over, or at once when
// calls fail that did not before.
func (l *Loop) judge(t *target, k *knob.Knob, after *observe.CallSignals, now time.Time) {
	p := t.pending
	verdict, measured := Judge(p.from, p.to, &p.before, after)
	alarm := verdict == VerdictWorse && badRatio(after)-badRatio(&p.before) > 5*worseErrors
	if now.Sub(t.since) < max(l.o.Evaluation, 3*after.P95) && !alarm {
		t.explain("judging", "the last change is being measured")
		return
	}
	// A small step shows only in many calls: rather wait for them than judge by chance.
	if step := math.Abs(p.to/max(p.from, 1) - 1); !alarm && noise(&p.before, after) > gainShare*step && now.Sub(t.since) < longestEvaluation {
		t.explain("judging", fmt.Sprintf("%d calls since the last change are too few to tell a step of %.0f %% from chance", after.Count, 100*step))
		return
	}
	rolledBack := false
	if verdict == VerdictWorse {
		if err := k.Tune(p.from, "rolled back: "+measured); err != nil {
			measured += "; not rolled back: " + err.Error()
		} else {
			rolledBack = true
			t.value, t.since = p.from, now
		}
	}
	t.pending, t.decided = nil, now
	t.last = &Outcome{Rule: p.rule, From: p.from, To: p.to, Verdict: verdict, RolledBack: rolledBack}
	t.explain("judged", measured)
	l.o.Ledger.amend(p.id, func(d *Decision) {
		d.Verdict, d.Measured, d.JudgedAt, d.RolledBack = verdict, measured, now, rolledBack
	})
	l.o.Scope.With("knob", t.Workers, "verdict", string(verdict)).Counter("penstock_tuner_verdicts_total").Inc()
	l.log("tuner judged", t, p.id, slog.String("verdict", string(verdict)), slog.Bool("rolled_back", rolledBack), slog.String("measured", measured))
}

// abandon ends the wait for a verdict that can't be had any more. The caller holds mu.
func (l *Loop) abandon(t *target, why string) {
	t.last, t.shadow = nil, nil
	if t.pending == nil {
		return
	}
	l.o.Ledger.amend(t.pending.id, func(d *Decision) { d.Measured = why })
	t.pending = nil
}

func (l *Loop) log(msg string, t *target, id string, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.String("knob", t.Workers), slog.String("decision", id)}, attrs...)
	l.o.Log.LogAttrs(context.Background(), slog.LevelInfo, msg, attrs...)
}
