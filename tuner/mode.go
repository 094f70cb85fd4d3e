package tuner

import (
	"fmt"
	"maps"
	"strings"
)

// Mode says how far the tuner may go.
type Mode string

// The modes, each allowing more than the one before.
const (
	ModeOff    Mode = "off"    // decides nothing
	ModeShadow Mode = "shadow" // records what it would do, changes nothing
	ModeActive Mode = "active" // turns knobs
)

// ParseMode reads a mode.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case ModeOff, ModeShadow, ModeActive:
		return m, nil
	}
	return "", fmt.Errorf("tuning mode %q is none of off, shadow, active", s)
}

// least is the mode that allows less.
func least(a, b Mode) Mode {
	switch {
	case a == ModeOff || b == ModeOff:
		return ModeOff
	case a == ModeShadow || b == ModeShadow:
		return ModeShadow
	}
	return ModeActive
}

// Switches are an operator's orders to the tuner while it runs: they beat the configuration until they
// are taken back.
type Switches struct {
	// Frozen stops all tuning.
	Frozen bool `json:"frozen"`
	// Mode is for all knobs; empty: the configured one.
	Mode Mode `json:"mode,omitempty"`
	// Modes are for the knobs named, or whose names match a pattern that ends in ".*".
	Modes map[string]Mode `json:"modes,omitempty"`
}

func (s Switches) clone() Switches {
	s.Modes = maps.Clone(s.Modes)
	return s
}

// CheckPattern reports why p is neither the name of a knob nor a pattern for some.
func CheckPattern(p string) error {
	switch i := strings.IndexByte(p, '*'); {
	case p == "":
		return fmt.Errorf("the name of a knob is empty")
	case i >= 0 && (i != len(p)-1 || i > 0 && p[i-1] != '.'):
		return fmt.Errorf("%q is neither a knob nor a pattern: a * may only stand at the end, after a dot, as in cache.ttl.*", p)
	}
	return nil
}

// modeOf finds the mode for a knob: by its name, else by the longest pattern that matches.
func modeOf(modes map[string]Mode, knob string) (Mode, bool) {
	if m, ok := modes[knob]; ok {
		return m, true
	}
	best, found := "", false
	for p := range modes {
		if rest, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(knob, rest) && (!found || len(p) > len(best)) {
			best, found = p, true
		}
	}
	return modes[best], found
}

// effective is the mode of one knob: what the operator said of it, else the configuration, and never
// more than the mode of all.
func effective(all Mode, configured map[string]Mode, s *Switches, knob string) Mode {
	if s.Mode != "" {
		all = s.Mode
	}
	if m, ok := modeOf(s.Modes, knob); ok {
		return least(all, m)
	}
	if m, ok := modeOf(configured, knob); ok {
		return least(all, m)
	}
	return all
}
