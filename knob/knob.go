package knob

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Source says which layer a value comes from.
type Source string

// The sources, weakest first.
const (
	SourceDefault Source = "default"
	SourceFile    Source = "file"
	SourceEnv     Source = "env"
	SourceFlag    Source = "flag"
	SourceTuner   Source = "tuner"
	SourcePin     Source = "pin"
)

// What a Change says when a pin went.
const (
	WhyUnpinned = "unpinned"
	WhyExpired  = "the pin expired"
)

// ErrPinned is what Tune returns while a pin stands.
var ErrPinned = errors.New("knob is pinned")

// Pin is an operator's fixed value.
type Pin struct {
	// Value is in the knob's base unit.
	Value float64
	// Note says why; Author says who ("api", "file", a name). Both may be empty.
	Note, Author string
	// Until is when the pin ends by itself; zero: never.
	Until time.Time
	// FromFile marks a pin of the config file's knobs section, which only a reload removes.
	FromFile bool
}

// Change is one change of a knob's value in force, or of its pin.
type Change struct {
	Knob     string
	From, To float64
	Source   Source
	// Why is one plain sentence.
	Why string
	// Author is who set or removed the pin, as far as known; empty where no pin changed.
	Author string
	At     time.Time
}

// State is a snapshot of a knob.
type State struct {
	Spec   Spec
	Value  float64
	Source Source
	// Base is what holds without tuner and pin, and BaseSource where it comes from.
	Base       float64
	BaseSource Source
	// Tuned is the tuner's value, nil if it has not moved the knob.
	Tuned *float64
	// Pin is the pin that stands, nil if none.
	Pin *Pin
}

// Knob is one value with its layers. Make it with a Registry; read it through Int, Float,
// Duration or Bool.
type Knob struct {
	spec   atomic.Pointer[Spec]
	bits   atomic.Uint64 // the value in force
	pinned atomic.Bool   // whether it is a pin's
	notify func(Change)

	mu         sync.Mutex // guards what follows, and orders writes of bits
	base       float64
	baseSource Source
	tuned      *float64
	pin        *Pin
	expiry     *time.Timer
}

func newKnob(s Spec, notify func(Change)) *Knob {
	k := &Knob{notify: notify, base: s.Default, baseSource: SourceDefault}
	k.spec.Store(&s)
	k.bits.Store(math.Float64bits(s.Default))
	return k
}

// Spec returns the description.
func (k *Knob) Spec() Spec { return *k.spec.Load() }

// Value returns the value in force in the base unit. Lock-free.
func (k *Knob) Value() float64 { return math.Float64frombits(k.bits.Load()) }

// Pinned reports whether a pin stands. Lock-free.
func (k *Knob) Pinned() bool { return k.pinned.Load() }

// State returns a snapshot of all layers.
func (k *Knob) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := State{Spec: k.Spec(), Base: k.base, BaseSource: k.baseSource}
	s.Value, s.Source = k.inForce()
	if k.tuned != nil {
		v := *k.tuned
		s.Tuned = &v
	}
	if k.pin != nil {
		p := *k.pin
		s.Pin = &p
	}
	return s
}

func (k *Knob) inForce() (float64, Source) {
	switch {
	case k.pin != nil:
		return k.pin.Value, SourcePin
	case k.tuned != nil:
		return *k.tuned, SourceTuner
	}
	return k.base, k.baseSource
}

// change runs f under the lock, publishes the value in force, and tells the subscribers if it moved or
// its pin changed.
func (k *Knob) change(why string, f func() error) error { return k.changeBy("", why, f) }

// changeBy is change with the name of who does it; empty: whose pin it is or was.
func (k *Knob) changeBy(by, why string, f func() error) error {
	k.mu.Lock()
	from, before := k.Value(), k.pin
	if err := f(); err != nil {
		k.mu.Unlock()
		return err
	}
	to, source := k.inForce()
	k.bits.Store(math.Float64bits(to))
	k.pinned.Store(k.pin != nil)
	author, repinned := pinChange(before, k.pin)
	k.mu.Unlock()
	if by != "" {
		author = by
	}
	if (to != from || repinned) && k.notify != nil {
		k.notify(Change{Knob: k.Spec().Name, From: from, To: to, Source: source, Why: why, Author: author, At: time.Now()})
	}
	return nil
}

// pinChange reports whether a pin came, went or was set again, and whose it is or was. A reload that sets
// the same pin of the file again changes nothing.
func pinChange(before, after *Pin) (author string, changed bool) {
	switch {
	case before == after, before != nil && after != nil && after.FromFile && *before == *after:
		return "", false
	case after != nil:
		return after.Author, true
	}
	return before.Author, true
}

// SetBase sets the configured value. If it differs from the base before, the tuner's value is
// dropped: the operator has chosen a new point to start from.
func (k *Knob) SetBase(v float64, source Source) error {
	return k.change("configured by "+string(source), func() error {
		if err := k.Spec().Check(v); err != nil {
			return err
		}
		if v != k.base {
			k.tuned = nil
		}
		k.base, k.baseSource = v, source
		return nil
	})
}

// Configure sets the configured value together with new bounds, as a reload does. What the tuner
// or a pin had set is dropped where it is out of the new bounds. The name and the kind stay.
func (k *Knob) Configure(spec Spec, base float64, source Source) error {
	old := k.Spec()
	spec.Name, spec.Kind = old.Name, old.Kind
	if err := errors.Join(spec.Validate(), spec.Check(base)); err != nil {
		return err
	}
	return k.change("configured by "+string(source), func() error {
		k.spec.Store(&spec)
		if k.tuned != nil && (base != k.base || spec.Check(*k.tuned) != nil) {
			k.tuned = nil
		}
		if k.pin != nil && spec.Check(k.pin.Value) != nil {
			k.dropPin(false)
		}
		k.base, k.baseSource = base, source
		return nil
	})
}

// Tune sets the tuner's value. It fails with ErrPinned under a pin, and when v is out of bounds
// or further than MaxStep from the value in force.
func (k *Knob) Tune(v float64, why string) error {
	return k.change(why, func() error {
		if err := k.Spec().Check(v); err != nil {
			return err
		}
		if k.pin != nil {
			return fmt.Errorf("knob %s: %w", k.Spec().Name, ErrPinned)
		}
		now, _ := k.inForce()
		if step := math.Abs(v - now); k.Spec().MaxStep > 0 && step > k.Spec().MaxStep*(1+1e-9) {
			return fmt.Errorf("knob %s: a step from %s to %s is over the allowed %s", k.Spec().Name,
				k.Spec().Format(now), k.Spec().Format(v), k.Spec().Format(k.Spec().MaxStep))
		}
		k.tuned = &v
		return nil
	})
}

// Resume sets the tuner's value as an earlier process left it: as Tune does, but MaxStep does not
// count, since nothing runs yet that a large step could hurt.
func (k *Knob) Resume(v float64, why string) error {
	return k.change(why, func() error {
		if err := k.Spec().Check(v); err != nil {
			return err
		}
		if k.pin != nil {
			return fmt.Errorf("knob %s: %w", k.Spec().Name, ErrPinned)
		}
		k.tuned = &v
		return nil
	})
}

// Untune drops the tuner's value.
func (k *Knob) Untune(why string) {
	_ = k.change(why, func() error { k.tuned = nil; return nil })
}

// Pin fixes the value, replacing a pin that stands. A pin of the file can't be replaced by one
// that is not of the file.
func (k *Knob) Pin(p Pin) error {
	if !p.Until.IsZero() && !p.Until.After(time.Now()) {
		return fmt.Errorf("knob %s: the pin's expiry %s has passed", k.Spec().Name, p.Until.Format(time.RFC3339))
	}
	return k.change(pinReason(p), func() error {
		if err := k.Spec().Check(p.Value); err != nil {
			return err
		}
		if k.pin != nil && k.pin.FromFile && !p.FromFile {
			return fmt.Errorf("knob %s: the config file's knobs section pins it to %s; change or remove it there and reload",
				k.Spec().Name, k.Spec().Format(k.pin.Value))
		}
		k.stopExpiry()
		k.pin = &p
		if !p.Until.IsZero() {
			k.expiry = time.AfterFunc(time.Until(p.Until), func() { k.expire(p) })
		}
		return nil
	})
}

func pinReason(p Pin) string {
	why := "pinned"
	if p.Author != "" {
		why += " by " + p.Author
	}
	if p.Note != "" {
		why += ": " + p.Note
	}
	return why
}

// Unpin removes the pin, if any, and reports whether there was one. A pin of the file yields
// only to fromFile. With resume, the tuner goes on from the pinned value; else the value falls
// back to what stood below the pin.
func (k *Knob) Unpin(fromFile, resume bool) (bool, error) { return k.UnpinBy("", fromFile, resume) }

// UnpinBy is Unpin with the name of who does it.
func (k *Knob) UnpinBy(author string, fromFile, resume bool) (bool, error) {
	had := false
	err := k.changeBy(author, WhyUnpinned, func() error {
		if k.pin == nil {
			return nil
		}
		if k.pin.FromFile && !fromFile {
			return fmt.Errorf("knob %s: the config file's knobs section pins it; remove it there and reload", k.Spec().Name)
		}
		had = true
		k.dropPin(resume)
		return nil
	})
	return had, err
}

func (k *Knob) expire(p Pin) {
	_ = k.change(WhyExpired, func() error {
		if k.pin != nil && *k.pin == p {
			k.dropPin(false)
		}
		return nil
	})
}

func (k *Knob) dropPin(resume bool) {
	if resume {
		v := k.pin.Value
		k.tuned = &v
	}
	k.pin = nil
	k.stopExpiry()
}

func (k *Knob) stopExpiry() {
	if k.expiry != nil {
		k.expiry.Stop()
		k.expiry = nil
	}
}

// Int is a knob of KindInt.
type Int struct{ *Knob }

// Get returns the value. Lock-free.
func (k Int) Get() int { return int(k.Value()) }

// Float is a knob of KindFloat.
type Float struct{ *Knob }

// Get returns the value. Lock-free.
func (k Float) Get() float64 { return k.Value() }

// Duration is a knob of KindDuration.
type Duration struct{ *Knob }

// Get returns the value. Lock-free.
func (k Duration) Get() time.Duration { return toDuration(k.Value()) }

// Bool is a knob of KindBool.
type Bool struct{ *Knob }

// Get returns the value. Lock-free.
func (k Bool) Get() bool { return k.Value() != 0 }

// FixedInt returns an Int outside any registry that stays at v unless it is set by hand; for
// tests and for embedding a stage without tuning.
func FixedInt(v int) Int {
	f := float64(v)
	return Int{newKnob(Spec{Name: "fixed", Kind: KindInt, Default: f, Min: math.Inf(-1), Max: math.Inf(1)}, nil)}
}

// FixedFloat is FixedInt for a Float.
func FixedFloat(v float64) Float {
	return Float{newKnob(Spec{Name: "fixed", Kind: KindFloat, Default: v, Min: math.Inf(-1), Max: math.Inf(1)}, nil)}
}

// FixedDuration is FixedInt for a Duration.
func FixedDuration(d time.Duration) Duration {
	return Duration{newKnob(Spec{Name: "fixed", Kind: KindDuration, Default: d.Seconds(), Min: math.Inf(-1), Max: math.Inf(1)}, nil)}
}

// FixedBool is FixedInt for a Bool.
func FixedBool(b bool) Bool {
	return Bool{newKnob(Spec{Name: "fixed", Kind: KindBool, Default: fromBool(b), Max: 1}, nil)}
}
