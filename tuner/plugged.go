package tuner

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"penstock/knob"
)

// plugged is a Plug at work. The Loop's mu guards it.
type plugged struct {
	Plug
	times   ruleTimes
	couple  *couple
	mode    Mode
	guarded atomic.Bool // the upstream is over a guardrail

	value   float64   // the knob's value at the last look
	known   bool      // value is set
	since   time.Time // when value came into force, as far as the loop saw
	decided time.Time // the last decision
	cooling time.Time // no decision before it

	last    *Outcome // the verdict that the controller has not seen yet
	pending *pending
	shadow  *shadowed

	rule, reason string // what the last look came to
}

// pending is a decision that was carried out and waits for its verdict.
type pending struct {
	id, rule string
	from, to float64
	before   any
	n        int
	guarded  bool // the upstream was over a guardrail already
}

// shadowed is the last decision in shadow mode.
type shadowed struct {
	id       string
	from, to float64
	rule     string
}

// patience ends the wait for the samples of a verdict.
const patience = 10 * time.Minute

// look is what the loop does about one knob at each interval. The caller holds mu.
func (l *Loop) look(p *plugged, now time.Time) {
	k, ok := l.o.Knobs.Lookup(p.Knob)
	if !ok {
		p.explain("no-knob", "there is no knob called "+p.Knob)
		return
	}
	if l.taping != nil {
		st := k.State()
		l.taping.Looks[p.Knob] = &tapeLook{Value: st.Value, Pinned: st.Pin != nil, Mode: p.mode, Guarded: p.guarded.Load()}
	}
	if l.following {
		p.explain("follow", "another node tunes for all, and its values hold here")
		return
	}
	if p.mode == ModeOff {
		p.explain("off", "the tuning mode of this knob is off")
		return
	}
	st := k.State()
	if p.Fast != nil {
		l.note(p, st, now)
		if p.mode == ModeActive || p.Slow == nil {
			return
		}
	}
	if !p.known || st.Value != p.value {
		// Someone else moved it: what was measured before says nothing about this value.
		l.abandon(p, "not judged: the knob was moved by "+string(st.Source))
		p.value, p.known, p.since = st.Value, true, now
	}
	if st.Pin != nil {
		l.abandon(p, "not judged: the knob was pinned")
		p.explain("pinned", "the knob is pinned to "+st.Spec.Format(st.Value))
		return
	}
	if p.pending != nil && l.disturbed(p, k, now) {
		return
	}
	seen, n, enough := l.read(p, now)
	if !enough {
		if p.pending != nil && now.Sub(p.since) > max(patience, 4*l.longest(p)) {
			l.takeBack(p, k, now, fmt.Sprintf("not judged: only %d samples came in %s", n, now.Sub(p.since).Round(time.Second)))
			return
		}
		p.explain("waiting", fmt.Sprintf("%d samples so far, at least %d are needed", n, l.minSamples(p)))
		return
	}
	if p.pending != nil {
		l.judge(p, k, seen, n, now)
		return
	}
	if now.Before(p.cooling) || now.Sub(p.decided) < l.coolDown(p) {
		return
	}
	in := In[any]{Now: now, Spec: st.Spec, Value: st.Value, Seen: seen, N: n, Last: p.last, Appetite: l.appetite}
	proposal, state := p.Slow.decide(in)
	proposal.To = withinStep(st.Spec, st.Value, proposal.To)
	p.explain(proposal.Rule, proposal.Reason)
	if proposal.To == st.Value {
		p.Slow.keep(state, p.mode == ModeActive)
		p.last = nil
		return
	}
	l.carryOut(p, k, in, proposal, state)
}

// note writes down what a Fast controller came to since the last look.
func (l *Loop) note(p *plugged, st knob.State, now time.Time) {
	decisions := p.Fast.Tick(now, l.hand(p))
	if p.mode != ModeActive && p.Slow != nil {
		return // Slow speaks
	}
	p.value, p.known = st.Value, true
	if st.Pin != nil {
		p.explain("pinned", "the knob is pinned to "+st.Spec.Format(st.Value))
	} else {
		p.explain(p.Fast.Status())
	}
	for _, d := range decisions {
		l.write(p, d, now)
		if d.From != d.To && !d.RolledBack {
			l.moved(p, now)
		}
	}
}

// write takes a decision of a Fast controller into the ledger.
func (l *Loop) write(p *plugged, d Decision, now time.Time) {
	if d.Knob == "" {
		d.Knob = p.Knob
	}
	if d.Upstream == "" {
		d.Upstream, d.Route = p.Upstream, p.Route
	}
	if d.Time.IsZero() {
		d.Time = now
	}
	if d.Mode == "" {
		d.Mode = p.mode
	}
	id := l.o.Ledger.Record(d)
	l.count(d.Knob, d.Rule, d.Mode, d.Verdict)
	l.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "tuner decided", slog.String("knob", d.Knob), slog.String("decision", id),
		slog.String("rule", d.Rule), slog.Float64("from", d.From), slog.Float64("to", d.To), slog.String("reason", d.Reason),
		slog.String("verdict", string(d.Verdict)), slog.String("measured", d.Measured))
}

func (l *Loop) count(knob, rule string, mode Mode, verdict Verdict) {
	if rule != "" {
		l.o.Scope.With("knob", knob, "rule", rule, "mode", string(mode)).Counter("penstock_tuner_decisions_total").Inc()
	}
	if verdict != "" {
		l.o.Scope.With("knob", knob, "verdict", string(verdict)).Counter("penstock_tuner_verdicts_total").Inc()
	}
}

func (p *plugged) explain(rule, reason string) { p.rule, p.reason = rule, reason }

// moved begins the windows of the knobs coupled with p anew: what they saw was under another value of it.
func (l *Loop) moved(p *plugged, now time.Time) {
	if p.Couple == "" {
		return
	}
	for _, other := range l.plugs {
		if other != p && other.Couple == p.Couple && other.pending == nil {
			other.since = now
		}
	}
}

// read returns what was measured under the present value, and whether that is enough. The window is the
// shortest, and grows back towards the last change: to a minute while it has fewer samples than are
// good, and as far as it goes while it has too few to decide on. Its ends leave out the lag: at the newer
// end the slow calls are still under way, and after a change those of the old value are still finishing.
func (l *Loop) read(p *plugged, now time.Time) (seen any, n int, enough bool) {
	t := &p.times
	lag := min(t.lag(now), t.reach/4)
	to := now.Add(-lag)
	oldest := later(p.since.Add(lag), to.Add(-t.reach))
	need := l.minSamples(p)
	for window := max(t.window, 2*lag); ; window *= 2 {
		from := later(to.Add(-window), oldest)
		seen, n = p.Slow.measure(from, to)
		enough = n >= need
		if n >= max(t.goodSamples, need) || enough && window >= goodWindow || !from.After(oldest) {
			// Right after a change a few seconds may hold enough calls, yet not be a fair picture.
			span := to.Sub(from)
			l.tapeLook(p, seen, n, lag)
			return seen, n, enough && span >= 2*time.Second && span >= lag
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// withinStep keeps a proposal inside the knob's bounds and step.
func withinStep(s knob.Spec, from, to float64) float64 {
	if math.IsNaN(to) {
		return from
	}
	if s.MaxStep > 0 {
		to = min(max(to, from-s.MaxStep), from+s.MaxStep)
	}
	if s.Kind == knob.KindInt || s.Kind == knob.KindBool {
		to = math.Round(to)
	}
	return min(max(to, s.Min), s.Max)
}

// carryOut records a proposal, and turns the knob in active mode.
func (l *Loop) carryOut(p *plugged, k *knob.Knob, in In[any], want Proposal, state any) {
	switch {
	case p.mode == ModeShadow:
		if l.again(p, in.Value, want) {
			return
		}
	case p.guarded.Load() && float64(p.Safer)*(want.To-in.Value) <= 0:
		p.explain("guardrail", "the upstream is over a guardrail, so only moves that spare it are made; wanted: "+want.Reason)
		return
	case !p.couple.hold(p.Knob):
		p.explain("coupled", p.couple.held()+" is on trial, and one coupled knob is changed at a time; wanted: "+want.Reason)
		return
	default:
		if err := k.Tune(want.To, want.Reason); err != nil {
			p.couple.release(p.Knob)
			p.explain("refused", err.Error())
			return
		}
		// A proposal in shadow mode leaves no trace in the state: it was not carried out.
		p.Slow.keep(state, true)
		p.last = nil
	}
	p.decided = in.Now
	d := Decision{
		Time: in.Now, Knob: p.Knob, Upstream: p.Upstream, Route: p.Route, From: in.Value, To: want.To,
		Rule: want.Rule, Reason: want.Reason, Expected: want.Expected, Signals: p.Slow.signals(in.Seen), Mode: p.mode,
	}
	if p.mode == ModeActive && !p.times.judged {
		d.Measured = "not judged: the effect of this knob is not measured"
	}
	id := l.o.Ledger.Record(d)
	l.count(p.Knob, want.Rule, p.mode, "")
	l.log("tuner decided", p, id, slog.String("rule", want.Rule), slog.String("mode", string(p.mode)),
		slog.Float64("from", in.Value), slog.Float64("to", want.To), slog.String("reason", want.Reason))
	if p.mode == ModeShadow {
		p.shadow = &shadowed{id: id, from: in.Value, to: want.To, rule: want.Rule}
		return
	}
	p.value, p.since = want.To, in.Now
	l.moved(p, in.Now)
	if !p.times.judged {
		p.couple.release(p.Knob)
		return
	}
	p.pending = &pending{id: id, rule: want.Rule, from: in.Value, to: want.To, before: in.Seen, n: in.N, guarded: p.guarded.Load()}
}

// again counts a shadow decision that only repeats the last one.
func (l *Loop) again(p *plugged, from float64, want Proposal) bool {
	s := p.shadow
	if s == nil || s.from != from || s.to != want.To || s.rule != want.Rule {
		return false
	}
	l.o.Ledger.amend(s.id, func(d *Decision) { d.Repeats++ })
	return true
}

func (l *Loop) log(msg string, p *plugged, id string, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.String("knob", p.Knob), slog.String("decision", id)}, attrs...)
	l.o.Log.LogAttrs(context.Background(), slog.LevelInfo, msg, attrs...)
}
