package tuner

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Saved is what the controllers of one knob learned.
type Saved struct {
	// Kind is the plug's: what another kind learned is of no use.
	Kind string `json:"kind"`
	// At is when it was last true.
	At time.Time `json:"at"`
	// Slow and Fast are the states of the two controllers.
	Slow json.RawMessage `json:"slow,omitempty"`
	Fast json.RawMessage `json:"fast,omitempty"`
}

// What was learned counts in full for trustFresh and fades until trustStale.
const (
	trustFresh = time.Hour
	trustStale = 24 * time.Hour
)

// Trust is how far something of that age is to be believed: 1 for what was true just now, 0 for what is
// a day old or older.
func Trust(age time.Duration) float64 {
	return min(1, max(0, float64(trustStale-age)/float64(trustStale-trustFresh)))
}

// States gives what the controllers have learned, by knob.
func (l *Loop) States() (map[string]Saved, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]Saved, len(l.plugs))
	var faults []error
	for _, p := range l.plugs {
		s, err := p.saved(time.Now())
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.Knob, err))
		}
		if len(s.Slow)+len(s.Fast) > 0 {
			out[p.Knob] = s
		}
	}
	return out, errors.Join(faults...)
}

func (p *plugged) saved(now time.Time) (s Saved, err error) {
	s = Saved{Kind: p.Kind, At: now}
	if p.Slow != nil {
		if s.Slow, err = json.Marshal(p.Slow.save()); err != nil {
			return s, err
		}
	}
	if p.Fast != nil {
		if v := p.Fast.Save(); v != nil {
			s.Fast, err = json.Marshal(v)
		}
	}
	return s, err
}

// Restore gives the controllers what an earlier process learned, trusted the less the older it is. What
// can't be read is told of and left out.
func (l *Loop) Restore(states map[string]Saved) error { return l.restore(states, time.Now()) }

func (l *Loop) restore(states map[string]Saved, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var faults []error
	for _, p := range l.plugs {
		s, ok := states[p.Knob]
		// A clock that was set back makes nothing younger than new.
		trust := Trust(max(0, now.Sub(s.At)))
		if !ok || s.Kind != p.Kind || trust == 0 {
			continue
		}
		if p.Slow != nil && len(s.Slow) > 0 {
			if err := p.Slow.load(s.Slow, trust); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", p.Knob, err))
			}
		}
		if p.Fast != nil && len(s.Fast) > 0 {
			if err := p.Fast.Load(s.Fast, trust); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", p.Knob, err))
			}
		}
	}
	return errors.Join(faults...)
}
