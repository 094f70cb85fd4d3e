package tuner

import (
	"encoding/json"
	"fmt"
	"time"

	"penstock/knob"
)

// Plug is one knob and what looks after it, ready for [Loop.SetPlugs]. A [Rule] makes its Slow part; a
// Fast part acts at the pace of the calls. With both, Fast acts in active mode and Slow tells in shadow
// mode what it would do.
type Plug struct {
	// Knob names the knob; one plug a knob.
	Knob string
	// Kind names the controller ("workers", "batch_target"), for replays; plugs of one kind differ in
	// their knobs only.
	Kind string
	// Upstream and Route say whom the knob belongs to; both may be empty.
	Upstream, Route string
	// Couple names the group of knobs of which only one may be on trial at a time, since each moves
	// what the others are judged by; empty: none. Use the upstream's name for what moves its calls.
	Couple string
	// Safer is the direction in which a move spares the upstream: -1 down, 1 up, 0 neither. Only
	// such moves are made while the upstream is over a guardrail.
	Safer int
	// Slow looks at each interval; Fast sees each call. At least one is set.
	Slow Slow
	Fast Fast
}

// In is what a rule may look at.
type In[M any] struct {
	Now time.Time
	// Spec and Value are the knob's.
	Spec  knob.Spec
	Value float64
	// Seen is what was measured under Value, on N samples, never fewer than MinSamples.
	Seen M
	N    int
	// Last is the outcome of the rule's last proposal if that was judged since the last step, else nil.
	Last *Outcome
	// Appetite says how bold to be.
	Appetite Appetite
}

// Trial is a change to be judged.
type Trial struct {
	Spec     knob.Spec
	Rule     string
	From, To float64
	// NBefore and NAfter are the samples on both sides, For how long To has been in force.
	NBefore, NAfter int
	For             time.Duration
	Appetite        Appetite
}

// Effect is what a change did.
type Effect struct {
	Verdict Verdict
	// Measured is one plain sentence with the numbers in it.
	Measured string
	// Confidence, 0..1, says how sure it is that the verdict is not chance; 0: not known.
	Confidence float64
	// More asks to go on measuring, while there is time: what was seen is too little.
	More bool
	// Alarm has a worse verdict acted on at once, ahead of the evaluation's end.
	Alarm bool
}

// Rule is a controller that looks at each interval: pure functions over what was measured, of type M,
// and what it remembers, of type S. Both must survive JSON: M is written by the recorder, S is saved.
type Rule[M, S any] struct {
	// Measure sums up what happened in [from, to), all of it under the knob's present value, and on how
	// many samples that rests. It may be called several times for one look, with earlier and earlier
	// from, and must not forget what it told.
	Measure func(from, to time.Time) (seen M, n int)
	// Signals are the numbers of seen for the ledger; nil: none.
	Signals func(seen M) map[string]float64
	// Decide gives a proposal and the new state. It must be pure.
	Decide func(in In[M], s S) (Proposal, S)
	// Judge compares what was measured before and after a change. It must be pure; nil: changes stand
	// unjudged, and say so.
	Judge func(t Trial, before, after M) Effect
	// Model draws the state for the page; nil: none.
	Model func(value float64, s S) any
	// Fade ages a saved state, trust being 1 for what was true just now and 0 for what is a day old; nil:
	// it is kept as it is while trust is over 0.
	Fade func(s S, trust float64) S

	// MinSamples is the least that a decision or verdict rests on; 0: the appetite's. GoodSamples is
	// what the window grows to reach, as long as it is under GoodWindow; 0: MinSamples.
	MinSamples, GoodSamples int
	// Window is the shortest to look at (default 15 s), Reach how far back Measure can see (default 100 s).
	Window, Reach time.Duration
	// Lag gives how long what happens now takes to be measured, such as the slow calls' time; both ends
	// of the window leave it out. nil: none.
	Lag func(now time.Time) time.Duration
	// Evaluation is how long a change is measured before it is judged, and at most; 0: the loop's.
	Evaluation, LongestEvaluation time.Duration
	// CoolDown is the least time between two changes; 0: the appetite's.
	CoolDown time.Duration
}

// Defaults of a Rule.
const (
	defaultWindow = 15 * time.Second
	defaultReach  = 100 * time.Second
	goodWindow    = time.Minute
)

// Slow is what [Rule.Slow] makes.
type Slow interface {
	times() ruleTimes
	measure(from, to time.Time) (seen any, n int)
	signals(seen any) map[string]float64
	decide(in In[any]) (Proposal, any)
	// keep takes a state that was decided; applied is false where the mode lets nothing be changed.
	keep(state any, applied bool)
	judge(t Trial, before, after any) Effect
	model(value float64) any
	save() any
	load(raw json.RawMessage, trust float64) error
	decode(raw json.RawMessage) (any, error)
}

// ruleTimes are the numbers of a Rule.
type ruleTimes struct {
	minSamples, goodSamples       int
	window, reach                 time.Duration
	evaluation, longest, coolDown time.Duration
	lag                           func(now time.Time) time.Duration
	judged                        bool
}

// slowRule is a Rule with its state. The Loop's mu guards it.
type slowRule[M, S any] struct {
	Rule[M, S]
	state S
}

// Slow makes the rule ready for a Plug, with the zero state. Each plug needs one of its own.
func (r Rule[M, S]) Slow() Slow { return &slowRule[M, S]{Rule: r} }

func (r *slowRule[M, S]) times() ruleTimes {
	t := ruleTimes{
		minSamples: r.MinSamples, goodSamples: r.GoodSamples, window: r.Window, reach: r.Reach,
		evaluation: r.Evaluation, longest: r.LongestEvaluation, coolDown: r.CoolDown, lag: r.Lag, judged: r.Judge != nil,
	}
	if t.window <= 0 {
		t.window = defaultWindow
	}
	if t.reach <= 0 {
		t.reach = defaultReach
	}
	if t.lag == nil {
		t.lag = func(time.Time) time.Duration { return 0 }
	}
	return t
}

func (r *slowRule[M, S]) measure(from, to time.Time) (any, int) { return r.Measure(from, to) }

func (r *slowRule[M, S]) signals(seen any) map[string]float64 {
	if r.Signals == nil {
		return nil
	}
	return r.Signals(seen.(M))
}

// decide gives the state to keep if the proposal is carried out or changes nothing.
func (r *slowRule[M, S]) decide(in In[any]) (Proposal, any) {
	return r.Decide(In[M]{in.Now, in.Spec, in.Value, in.Seen.(M), in.N, in.Last, in.Appetite}, r.state)
}

func (r *slowRule[M, S]) keep(state any, _ bool) { r.state = state.(S) }

func (r *slowRule[M, S]) judge(t Trial, before, after any) Effect {
	return r.Judge(t, before.(M), after.(M))
}

func (r *slowRule[M, S]) model(value float64) any {
	if r.Model == nil {
		return nil
	}
	return r.Model(value, r.state)
}

func (r *slowRule[M, S]) save() any { return r.state }

func (r *slowRule[M, S]) load(raw json.RawMessage, trust float64) error {
	var s S
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("a saved state can't be read: %w", err)
	}
	if r.Fade != nil {
		s = r.Fade(s, trust)
	}
	r.state = s
	return nil
}

func (r *slowRule[M, S]) decode(raw json.RawMessage) (any, error) {
	var m M
	err := json.Unmarshal(raw, &m)
	return m, err
}
