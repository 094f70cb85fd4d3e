package app

import (
	"bytes"
	"context"
	"maps"
	"time"

	"penstock/tuner"
)

// What the tuner's controllers learned, and the orders of operators to it, outlive the process.

// learnedRenew is how old what is on disk of a controller may get while it goes on learning.
const learnedRenew = time.Minute

// switchesKey is the one key of the bucket of orders.
const switchesKey = "switches"

// tunerState is what the keeper keeps of a tuner; a *tuner.Loop is one.
type tunerState interface {
	States() (map[string]tuner.Saved, error)
	Restore(states map[string]tuner.Saved) error
	Switches() tuner.Switches
	SetSwitches(s tuner.Switches)
	Mode() tuner.Mode
}

func (k *keeper) saveSwitches(ctx context.Context) error {
	if k.tuner == nil || !k.mayWrite(switchesBucket) {
		return nil
	}
	want := map[string]tuner.Switches{switchesKey: k.tuner.Switches()}
	return k.switches.save(ctx, k, want, sameSwitches, func(string, tuner.Switches) bool { return false })
}

func sameSwitches(a, b tuner.Switches) bool {
	return a.Frozen == b.Frozen && a.Mode == b.Mode && maps.Equal(a.Modes, b.Modes)
}

func (k *keeper) saveLearned(ctx context.Context) error {
	if k.tuner == nil || k.share != nil && !k.share.led {
		return nil
	}
	want, err := k.tuner.States()
	if err != nil {
		return err
	}
	last := k.ctx.Err() != nil // the process ends, so it will not be renewed
	same := func(a, b tuner.Saved) bool {
		return !last && b.At.Sub(a.At).Abs() < learnedRenew ||
			a.Kind == b.Kind && bytes.Equal(a.Slow, b.Slow) && bytes.Equal(a.Fast, b.Fast) && b.At.Sub(a.At).Abs() < tunedRenew
	}
	return k.learned.save(ctx, k, want, same, func(name string, s tuner.Saved) bool {
		_, there := k.o.knobs.Lookup(name)
		return there || time.Since(s.At) > trustStale
	})
}

// restoreTuner gives the tuner the orders in force and what it learned. It tells whether knobs may be turned.
func (k *keeper) restoreTuner(ctx context.Context, t tunerState) (active bool) {
	k.tuner = t
	if err := k.switches.load(ctx); err != nil {
		k.o.log.Warn("data_dir: the orders to the tuner could not be read; set freeze and modes again", "error", err)
	}
	if err := k.learned.load(ctx); err != nil {
		k.o.log.Warn("data_dir: not all that the tuner learned could be read", "error", err)
	}
	if s, ok := k.switches.saved[switchesKey]; ok {
		t.SetSwitches(s)
		if s.Frozen || s.Mode != "" || len(s.Modes) > 0 {
			k.o.log.Info("the operator's orders to the tuner hold again", "frozen", s.Frozen, "mode", s.Mode, "modes", s.Modes)
		}
	}
	if err := t.Restore(k.learned.saved); err != nil {
		k.o.log.Warn("data_dir: not all that the tuner learned could be used", "error", err)
	}
	return t.Mode() == tuner.ModeActive
}
