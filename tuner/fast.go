package tuner

import (
	"encoding/json"
	"errors"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// Fast is a controller that acts at the pace of the calls. Its methods are called by several goroutines
// at once, never after its plug has gone.
type Fast interface {
	// OnCall takes a finished call of the plug's upstream. It must be quick. h turns the knob.
	OnCall(c observe.Call, now time.Time, h Hand)
	// Tick is called at each interval, also when there are no calls, and in shadow mode. It gives
	// what came since the last one, summed up in as few decisions as make sense: with From, To, Rule, Reason,
	// and the verdict if there is one. The loop fills in the knob, the time and the mode where they are missing.
	Tick(now time.Time, h Hand) []Decision
	// Status says what the last step came to, also when that was nothing.
	Status() (rule, reason string)
	// Model draws the state for the page; nil: none.
	Model() any
	// Save gives what is worth keeping as something that JSON can write, nil for nothing. Load takes it
	// back; trust is 1 for what was true just now, 0 for what is a day old.
	Save() any
	Load(raw json.RawMessage, trust float64) error
}

// What a Hand refuses.
var (
	// ErrNotActive: the knob's mode is not active, or the tuner is frozen.
	ErrNotActive = errors.New("the tuner may not turn this knob now")
	// ErrGuarded: the upstream is over a guardrail, and the move would not spare it.
	ErrGuarded = errors.New("the upstream is over a guardrail")
)

// Hand is how a Fast controller turns its knob. It is good for the one call that it is given to.
type Hand struct {
	loop *Loop
	p    *plugged
	// Mode is the knob's mode: shadow or active.
	Mode     Mode
	Appetite Appetite
}

// Knob returns the plug's knob; ok is false while there is none.
func (h Hand) Knob() (k *knob.Knob, ok bool) { return h.loop.o.Knobs.Lookup(h.p.Knob) }

// Turn sets the knob. It fails with ErrNotActive, with ErrGuarded, with [knob.ErrPinned], and when the
// value is out of bounds or further than MaxStep away.
func (h Hand) Turn(to float64, why string) error {
	k, ok := h.Knob()
	switch {
	case !ok:
		return errors.New("there is no knob called " + h.p.Knob)
	case h.Mode != ModeActive:
		return ErrNotActive
	case h.Guarded() && float64(h.p.Safer)*(to-k.Value()) < 0:
		return ErrGuarded
	}
	return k.Tune(to, why)
}

// Guarded reports whether the upstream is over a guardrail, so that only moves that spare it are made.
func (h Hand) Guarded() bool { return h.p.guarded.Load() }

// Hold begins an experiment: it reports whether no coupled knob is on trial, and keeps them from it
// until Release. Hold it only while the knob is away from where it is known to be good.
func (h Hand) Hold() bool { return h.p.couple.hold(h.p.Knob) }

// Seize is Hold for a move that can't wait, such as a cut: a coupled knob that is on trial goes back to
// where it was, since its trial can't be judged any more.
func (h Hand) Seize() { h.p.couple.seize(h.p.Knob) }

// Release ends the experiment.
func (h Hand) Release() { h.p.couple.release(h.p.Knob) }
