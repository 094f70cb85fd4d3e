package tuner

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// maxTapeLine bounds one line of a tape, in bytes.
const maxTapeLine = 4 << 20

// Replayed is what a tape came to.
type Replayed struct {
	// Decisions are what the controllers decided now, oldest first.
	Decisions []Decision
	// Ticks, Calls and Dropped count what was on the tape and what is missing.
	Ticks, Calls, Dropped int
	// Differences tell where the decisions are not those of the recording.
	Differences []string
	// Unknown are knobs whose controllers can't be replayed.
	Unknown []string
}

// taped is a rule whose measurements come from a tape.
type taped struct {
	Slow
	look *tapeLook
}

func (t *taped) measure(_, _ time.Time) (any, int) {
	if t.look == nil || len(t.look.Seen) == 0 {
		seen, _ := t.decode([]byte("{}"))
		return seen, 0
	}
	seen, err := t.decode(t.look.Seen)
	if err != nil {
		return seen, 0
	}
	return seen, t.look.N
}

func (t *taped) times() ruleTimes {
	times := t.Slow.times()
	times.lag = func(time.Time) time.Duration {
		if t.look == nil {
			return 0
		}
		return t.look.Lag
	}
	return times
}

// noSignals are those of a replay, whose guardrails are on the tape.
type noSignals struct{}

func (noSignals) Between(_, _ string, _, _ time.Time) observe.Signals { return observe.Signals{} }

// replay is a tape being played.
type replay struct {
	knobs *knob.Registry
	loop  *Loop
	rules map[string]*taped
	out   Replayed
	seen  uint64 // the ledger's last change that was looked at
}

// Replay plays a tape through the controllers as they are now, and tells what they decide. The world of the tape
// does not answer to that: where a decision differs from the recorded one, the difference is told and the
// knob is put to where the recording had it.
func Replay(r io.Reader) (Replayed, error) {
	p := &replay{knobs: knob.NewRegistry(), rules: make(map[string]*taped)}
	p.loop = New(Options{Mode: ModeActive, Knobs: p.knobs, Signals: noSignals{}, Ledger: NewLedger(100_000)})
	p.loop.replayed = true
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxTapeLine)
	for n := 1; scanner.Scan(); n++ {
		if len(scanner.Bytes()) == 0 {
			continue
		}
		var line tapeLine
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return p.out, fmt.Errorf("line %d of the tape: %w", n, err)
		}
		if err := p.play(&line); err != nil {
			return p.out, fmt.Errorf("line %d of the tape: %w", n, err)
		}
	}
	if err := scanner.Err(); err != nil {
		return p.out, fmt.Errorf("the tape can't be read: %w", err)
	}
	p.out.Decisions = p.loop.Decisions(Filter{})
	slices.Reverse(p.out.Decisions)
	return p.out, nil
}

func (p *replay) play(line *tapeLine) error {
	p.out.Dropped += line.Dropped
	switch {
	case line.Plugs != nil:
		return p.plug(line.Plugs, line.Time)
	case line.Call != nil:
		p.out.Calls++
		p.loop.onCall(line.Call.call(), line.Time)
	case line.Set != nil:
		if k, ok := p.knobs.Lookup(line.Set.Knob); ok {
			p.set(k, line.Set.Value, line.Set.Pinned)
		}
	case line.Tick != nil:
		p.out.Ticks++
		p.tick(line.Tick, line.Time)
	}
	return nil
}

// plug sets up what the loop looks after as the recording had it.
func (p *replay) plug(t *tapePlugs, now time.Time) error {
	p.loop.SetInterval(t.Interval)
	p.loop.SetAppetite(t.Appetite)
	var plugs []Plug
	modes, states := make(map[string]Mode), make(map[string]Saved)
	for _, want := range t.Plugs {
		plug, ok := controllerOf(Plug{
			Knob: want.Knob, Kind: want.Kind, Upstream: want.Upstream, Route: want.Route, Couple: want.Couple, Safer: want.Safer,
		}, &p.loop.o)
		if !ok {
			if !slices.Contains(p.out.Unknown, want.Knob) {
				p.out.Unknown = append(p.out.Unknown, want.Knob)
			}
			continue
		}
		if want.Spec.Name == "" {
			continue
		}
		k, err := p.knobs.Register(want.Spec)
		if err == nil {
			err = k.Configure(want.Spec, want.Value, knob.SourceFile)
		}
		if err != nil {
			return err
		}
		if plug.Slow != nil {
			if old := p.rules[want.Knob]; old == nil {
				p.rules[want.Knob] = &taped{Slow: plug.Slow}
				states[want.Knob] = want.State
			}
			plug.Slow = p.rules[want.Knob]
		}
		modes[want.Knob] = want.Mode
		plugs = append(plugs, plug)
	}
	p.loop.SetModes(modes)
	p.loop.SetPlugs(plugs)
	for _, q := range p.loop.plugs {
		if q.value != 0 || q.known {
			continue
		}
		q.since = now
	}
	return p.loop.restore(states, now)
}

func (p *replay) tick(t *tapeTick, now time.Time) {
	for _, q := range p.loop.plugs {
		look := t.Looks[q.Knob]
		if rule := p.rules[q.Knob]; rule != nil {
			rule.look = look
		}
		if look == nil {
			continue
		}
		q.guarded.Store(look.Guarded)
		if look.Mode != q.mode {
			q.mode = look.Mode
			p.loop.publish()
		}
		if k, ok := p.knobs.Lookup(q.Knob); ok {
			p.follow(k, look, now)
		}
	}
	p.loop.tick(now)
	p.compare(t, now)
}

// follow puts a knob to where the recording had it at a look, and tells if it stood elsewhere.
func (p *replay) follow(k *knob.Knob, look *tapeLook, now time.Time) {
	if k.Value() != look.Value {
		p.out.Differences = append(p.out.Differences, fmt.Sprintf("%s: %s stands at %s, in the recording at %s",
			now.Format(time.RFC3339), k.Spec().Name, k.Spec().Format(k.Value()), k.Spec().Format(look.Value)))
	}
	p.set(k, look.Value, look.Pinned)
}

// set puts a knob to a value that may be no good: then it stays where it is.
func (p *replay) set(k *knob.Knob, value float64, pinned bool) {
	is := k.State().Pin != nil
	switch {
	case pinned:
		_ = k.Pin(knob.Pin{Value: value})
		return
	case is:
		_, _ = k.Unpin(false, true)
	}
	if k.Value() != value {
		_ = k.Resume(value, "as recorded")
	}
}

// compare tells which decisions of a tick are not those of the recording.
func (p *replay) compare(t *tapeTick, now time.Time) {
	made := p.loop.madeSince(p.seen, now)
	p.seen = p.loop.o.Ledger.Rev()
	known := func(knob string) bool { return !slices.Contains(p.out.Unknown, knob) }
	for _, d := range made {
		if !slices.Contains(t.Made, d) {
			p.differ(now, "decided now, not in the recording", d)
		}
	}
	for _, d := range t.Made {
		if known(d.Knob) && !slices.Contains(made, d) {
			p.differ(now, "decided in the recording, not now", d)
		}
	}
}

func (p *replay) differ(now time.Time, what string, d tapeDecision) {
	p.out.Differences = append(p.out.Differences, fmt.Sprintf("%s: %s: %s %v -> %v by %s", now.Format(time.RFC3339), what, d.Knob, d.From, d.To, d.Rule))
}

// madeSince are the decisions of a tick: those recorded after a change of the ledger and made now.
func (l *Loop) madeSince(rev uint64, now time.Time) (made []tapeDecision) {
	for _, d := range l.o.Ledger.Changes(rev, Filter{}) {
		if d.Time.Equal(now) {
			made = append(made, tapeDecision{d.Knob, d.From, d.To, d.Rule})
		}
	}
	return made
}
