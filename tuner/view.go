package tuner

import "time"

// Status is where one knob stands.
type Status struct {
	Upstream string  `json:"upstream,omitempty"`
	Route    string  `json:"route,omitempty"`
	Knob     string  `json:"knob"`
	Mode     Mode    `json:"mode"`
	Value    float64 `json:"value"`
	// Rule and Reason say why the tuner did what it did at its last look, also when that was nothing.
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
	// Judging is the id of the decision that waits for its verdict.
	Judging string `json:"judging,omitempty"`
	// Guarded: the upstream is over a guardrail.
	Guarded bool `json:"guarded,omitempty"`
	// Model is what the controller makes of the world, to be drawn; its field kind says how.
	Model any `json:"model,omitempty"`
}

// View is where the tuner stands.
type View struct {
	// Mode is the mode in force for all knobs.
	Mode   Mode `json:"mode"`
	Frozen bool `json:"frozen"`
	// Switches are the operator's orders, Modes the configured modes of single knobs.
	Switches Switches        `json:"switches"`
	Modes    map[string]Mode `json:"modes"`
	Interval time.Duration   `json:"interval_ns"`
	Appetite Appetite        `json:"appetite"`
	Knobs    []Status        `json:"knobs"`
}

// Status tells where each knob stands, without models.
func (l *Loop) Status() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status(false)
}

// View tells where everything stands, with models.
func (l *Loop) View() View {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := View{
		Mode: l.mode, Frozen: l.switches.Frozen, Switches: l.switches.clone(), Modes: l.modes,
		Interval: l.interval, Appetite: l.appetite, Knobs: l.status(true),
	}
	if v.Switches.Mode != "" {
		v.Mode = v.Switches.Mode
	}
	if v.Modes == nil {
		v.Modes = map[string]Mode{}
	}
	return v
}

func (l *Loop) status(models bool) []Status {
	out := make([]Status, 0, len(l.plugs))
	for _, p := range l.plugs {
		s := Status{
			Upstream: p.Upstream, Route: p.Route, Knob: p.Knob, Mode: p.mode, Value: p.value, Rule: p.rule, Reason: p.reason,
			Guarded: p.guarded.Load(),
		}
		if k, ok := l.o.Knobs.Lookup(p.Knob); ok {
			s.Value = k.Value()
		}
		if p.pending != nil {
			s.Judging = p.pending.id
		}
		if models {
			s.Model = p.model(s.Value)
		}
		out = append(out, s)
	}
	return out
}

// model is that of the controller at work, else of the other one.
func (p *plugged) model(value float64) any {
	if p.Fast != nil {
		if m := p.Fast.Model(); m != nil {
			return m
		}
	}
	if p.Slow != nil {
		return p.Slow.model(value)
	}
	return nil
}
