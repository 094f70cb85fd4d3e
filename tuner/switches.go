package tuner

import "maps"

// Mode returns the mode in force for all knobs.
func (l *Loop) Mode() Mode {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.switches.Mode != "" {
		return l.switches.Mode
	}
	return l.mode
}

// SetMode sets the configured mode of all knobs while the loop runs. Values already tuned stay; a change
// that still waits for its verdict gets none unless its knob's mode stays active.
func (l *Loop) SetMode(m Mode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mode = m
	l.remode()
}

// SetModes sets the configured modes of single knobs, by name or by a pattern that ends in ".*".
func (l *Loop) SetModes(m map[string]Mode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.modes = maps.Clone(m)
	l.remode()
}

// Switches returns the operator's orders in force.
func (l *Loop) Switches() Switches {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.switches.clone()
}

// SetSwitches replaces the operator's orders. When it returns with Frozen set, nothing is tuned any
// more; what waits for its verdict is judged after the thaw.
func (l *Loop) SetSwitches(s Switches) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.switches = s.clone()
	l.remode()
}

// SetFrozen stops, or lets go on, all tuning at once.
func (l *Loop) SetFrozen(frozen bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.switches.Frozen = frozen
	l.remode()
}

// Frozen reports whether the tuner is frozen.
func (l *Loop) Frozen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.switches.Frozen
}

// SetFollowing says whether another node tunes for this one: then nothing is tuned here, whatever the modes
// say, and a change that waits for its verdict gets none.
func (l *Loop) SetFollowing(following bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.following == following {
		return
	}
	l.following = following
	l.remode()
}

// remode puts the modes in force. The caller holds mu.
func (l *Loop) remode() {
	for _, p := range l.plugs {
		m := effective(l.mode, l.modes, &l.switches, p.Knob)
		if l.following {
			m = ModeOff
		}
		if m == p.mode {
			continue
		}
		p.mode = m
		why := "not judged: the tuning mode was switched to " + string(m)
		if l.following {
			why = "not judged: another node tunes now"
		}
		l.abandon(p, why)
		p.couple.release(p.Knob)
	}
	l.publish()
}
