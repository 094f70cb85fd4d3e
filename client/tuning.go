package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Tuning is where the tuner stands.
type Tuning struct {
	// Mode is of all knobs: off, shadow or active.
	Mode   string `json:"mode"`
	Frozen bool   `json:"frozen"`
	// Switches are the orders of operators in force, Modes the configured modes of single knobs.
	Switches TuningSwitches    `json:"switches"`
	Modes    map[string]string `json:"modes"`
	// Interval is the time between two looks of the tuner.
	Interval time.Duration `json:"interval_ns"`
	// Appetite are the numbers of the preset and of the section tuning.
	Appetite json.RawMessage `json:"appetite,omitempty"`
	Knobs    []TunedKnob     `json:"knobs"`
}

// TuningSwitches are orders that hold ahead of the configuration.
type TuningSwitches struct {
	Frozen bool              `json:"frozen"`
	Mode   string            `json:"mode,omitempty"`
	Modes  map[string]string `json:"modes,omitempty"`
}

// TunedKnob is where one knob stands.
type TunedKnob struct {
	Knob     string  `json:"knob"`
	Upstream string  `json:"upstream,omitempty"`
	Route    string  `json:"route,omitempty"`
	Mode     string  `json:"mode"`
	Value    float64 `json:"value"`
	// Rule and Reason say why the tuner did what it did at its last look, also when that was nothing.
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
	// Judging is the id of the decision that waits for its verdict.
	Judging string `json:"judging,omitempty"`
	Guarded bool   `json:"guarded,omitempty"`
	// Model is what the controller makes of the world.
	Model json.RawMessage `json:"model,omitempty"`
}

// TuningChange is a set of orders to the tuner; what is nil stays as it is.
type TuningChange struct {
	Frozen *bool
	// Mode is for all knobs, "" takes the order back; Modes are for single knobs or patterns such as
	// cache.ttl.*.
	Mode  *string
	Modes map[string]string
	// Author and Note say who wants it and why.
	Author, Note string
}

// MarshalJSON writes a merge patch, in which null takes an order back.
func (c TuningChange) MarshalJSON() ([]byte, error) {
	m := make(map[string]any)
	if c.Frozen != nil {
		m["frozen"] = *c.Frozen
	}
	if c.Mode != nil {
		m["mode"] = orNull(*c.Mode)
	}
	if len(c.Modes) > 0 {
		modes := make(map[string]any, len(c.Modes))
		for name, mode := range c.Modes {
			modes[name] = orNull(mode)
		}
		m["modes"] = modes
	}
	if c.Author != "" {
		m["author"] = c.Author
	}
	if c.Note != "" {
		m["note"] = c.Note
	}
	return json.Marshal(m)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Tuning tells where the tuner stands.
func (a *Admin) Tuning(ctx context.Context) (Tuning, error) {
	var out Tuning
	err := a.getJSON(ctx, "/admin/v1/tuning", &out)
	return out, err
}

// ChangeTuning gives orders to the tuner and tells where it stands then.
func (a *Admin) ChangeTuning(ctx context.Context, c TuningChange) (Tuning, error) {
	var out Tuning
	err := a.plane(ctx, http.MethodPatch, "/admin/v1/tuning", c, &out)
	return out, err
}

// RollBack puts the knob of a decision back to where it was before it.
func (a *Admin) RollBack(ctx context.Context, id, author, note string) (Decision, error) {
	in := struct {
		Author string `json:"author,omitempty"`
		Note   string `json:"note,omitempty"`
	}{author, note}
	var out Decision
	err := a.plane(ctx, http.MethodPost, "/admin/v1/decisions/"+url.PathEscape(id)+"/rollback", in, &out)
	return out, err
}
