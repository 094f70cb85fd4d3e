package app

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"penstock/api"
	"penstock/knob"
	"penstock/tuner"
)

// adminTuning is the tuner as the admin plane sees it.
type adminTuning struct {
	a  *App
	mu sync.Mutex // one change at a time
}

func (t *adminTuning) View() any { return t.a.tuner.View() }

// Change puts an operator's orders in force and writes each into the ledger.
func (t *adminTuning) Change(c api.TuningChange) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.Modes)) {
		if err := t.checkPattern(name); err != nil && c.Modes[name] != "" {
			return err
		}
	}
	s := t.a.tuner.Switches()
	var records []tuner.Decision
	record := func(knob, rule, format string, args ...any) {
		reason := fmt.Sprintf(format, args...) + " by " + c.Author
		if c.Note != "" {
			reason += ": " + c.Note
		}
		records = append(records, tuner.Decision{Knob: knob, Rule: rule, Reason: reason, Author: c.Author})
	}
	if f := c.Frozen; f != nil && *f != s.Frozen {
		s.Frozen = *f
		if *f {
			record("tuning", "freeze", "all tuning was frozen")
		} else {
			record("tuning", "thaw", "tuning was let go on")
		}
	}
	if m := c.Mode; m != nil && tuner.Mode(*m) != s.Mode {
		record("tuning", "mode", "the mode of all knobs was ordered to be %s instead of %s", orConfigured(*m), orConfigured(string(s.Mode)))
		s.Mode = tuner.Mode(*m)
	}
	if s.Modes == nil {
		s.Modes = make(map[string]tuner.Mode)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Modes)) {
		m := tuner.Mode(c.Modes[name])
		if old := s.Modes[name]; m != old {
			record(name, "mode", "the mode of %s was ordered to be %s instead of %s", name, orConfigured(string(m)), orConfigured(string(old)))
		}
		if s.Modes[name] = m; m == "" {
			delete(s.Modes, name)
		}
	}
	t.a.tuner.SetSwitches(s)
	for _, d := range records {
		if k, ok := t.a.knobs.Lookup(d.Knob); ok {
			d.From, d.To = k.Value(), k.Value()
		}
		t.a.ledger.Record(d)
		t.a.log.Info("tuning changed", slog.String("knob", d.Knob), slog.String("rule", d.Rule), slog.String("reason", d.Reason))
	}
	t.a.keeper.keep()
	return nil
}

func orConfigured(mode string) string { return cmp.Or(mode, "as configured") }

// checkPattern reports why an order for name would never hold for any knob.
func (t *adminTuning) checkPattern(name string) error {
	if err := tuner.CheckPattern(name); err != nil {
		return err
	}
	var names []string
	for _, k := range t.a.knobs.All() {
		names = append(names, k.Spec().Name)
		if n := k.Spec().Name; n == name || strings.HasSuffix(name, "*") && strings.HasPrefix(n, strings.TrimSuffix(name, "*")) {
			return nil
		}
	}
	return fmt.Errorf("no knob is named %q or matches it; there are %s", name, strings.Join(names, ", "))
}

// RollBack puts a decision's knob back.
func (t *adminTuning) RollBack(id, author, note string) (decision any, found bool, err error) {
	d, err := t.a.tuner.RollBack(id, author, note)
	if errors.Is(err, tuner.ErrNoDecision) {
		return nil, false, err
	}
	if err == nil {
		t.a.keeper.keep()
	}
	return d, true, err
}

// onKnobChange tells the schedulers, and writes an operator's change into the ledger.
func (a *App) onKnobChange(c knob.Change) {
	for _, n := range a.table.Load().nodes {
		n.scheduler.Kick()
	}
	if a.keeper.foreign(c.Knob) {
		return
	}
	rule, author := "config", c.Author
	switch {
	case c.Source == knob.SourceTuner && c.Why != knob.WhyUnpinned:
		return // the tuner writes its own
	case c.Source == knob.SourcePin:
		rule = "pin"
	case c.Why == knob.WhyUnpinned || c.Why == knob.WhyExpired:
		rule = "unpin"
	default:
		author = a.reloads.author()
	}
	author = cmp.Or(author, api.DefaultAuthor)
	a.tuner.Record(tuner.Decision{
		Time: c.At, Knob: c.Knob, From: c.From, To: c.To, Rule: rule, Reason: c.Why, Author: author,
	})
	a.log.Info("knob changed", slog.String("knob", c.Knob), slog.Float64("from", c.From), slog.Float64("to", c.To),
		slog.String("source", string(c.Source)), slog.String("why", c.Why), slog.String("author", author))
}
