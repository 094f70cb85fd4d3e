package demo

import (
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// Phase is one stretch of the API's life: how it differs from the base conditions.
type Phase struct {
	Name   string
	Length time.Duration
	// LatencyFactor and SlotsFactor multiply the base's; 0 means 1.
	LatencyFactor, SlotsFactor float64
	// QuotaFactor multiplies the base's quota; 0 means 1. Without a base quota it does nothing.
	QuotaFactor float64
	// ErrorRatio is added to the base's.
	ErrorRatio float64
	Outage     bool
}

func (p Phase) apply(base Conditions) Conditions {
	scale := func(v *float64, by float64) {
		if by != 0 {
			*v *= by
		}
	}
	scale(&base.LatencyMS, p.LatencyFactor)
	scale(&base.QuotaPerSecond, p.QuotaFactor)
	slots := float64(base.Slots)
	scale(&slots, p.SlotsFactor)
	base.Slots = max(1, int(slots))
	base.ErrorRatio = min(1, base.ErrorRatio+p.ErrorRatio)
	base.Outage = base.Outage || p.Outage
	return base
}

// DefaultScenario is the script of `scheduler demo`: five minutes in which each thing that can
// happen to an API happens once, with calm between.
func DefaultScenario() []Phase {
	return []Phase{
		{Name: "calm", Length: 60 * time.Second},
		{Name: "slow", Length: 45 * time.Second, LatencyFactor: 3},
		{Name: "calm again", Length: 30 * time.Second},
		{Name: "half the quota", Length: 45 * time.Second, QuotaFactor: 0.5, SlotsFactor: 0.5},
		{Name: "errors", Length: 30 * time.Second, ErrorRatio: 0.2},
		{Name: "outage", Length: 15 * time.Second, Outage: true},
		{Name: "recovered", Length: 75 * time.Second},
	}
}

// pinned are conditions set by hand, which hold until they are released.
type pinned struct {
	name string
	Conditions
}

func (a *API) conditions() Conditions {
	_, c := a.phase()
	return c
}

// phase says which phase it is and what it is like.
func (a *API) phase() (string, Conditions) {
	a.mu.Lock()
	p := a.pinned
	a.mu.Unlock()
	if p != nil {
		return p.name, p.Conditions
	}
	var loop time.Duration
	for _, ph := range a.o.Scenario {
		loop += ph.Length
	}
	if loop == 0 {
		return "steady", a.o.Base
	}
	at := time.Since(a.start) % loop
	for _, ph := range a.o.Scenario {
		if at < ph.Length {
			return ph.Name, ph.apply(a.o.Base)
		}
		at -= ph.Length
	}
	return "steady", a.o.Base
}

// controlRequest is the body of POST /control: a phase's name, or conditions; what is left out
// keeps its present value.
type controlRequest struct {
	Phase          string   `json:"phase"`
	LatencyMS      *float64 `json:"latency_ms"`
	Slots          *int     `json:"slots"`
	QuotaPerSecond *float64 `json:"quota_per_second"`
	ErrorRatio     *float64 `json:"error_ratio"`
	Outage         *bool    `json:"outage"`
}

func (c controlRequest) over(now Conditions) Conditions {
	set(&now.LatencyMS, c.LatencyMS)
	set(&now.Slots, c.Slots)
	set(&now.QuotaPerSecond, c.QuotaPerSecond)
	set(&now.ErrorRatio, c.ErrorRatio)
	set(&now.Outage, c.Outage)
	return now
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// serveControl shows the conditions (GET), fixes them (POST) or goes back to the script (DELETE).
func (a *API) serveControl(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		if !a.control(w, r) {
			return
		}
	case http.MethodDelete:
		a.pin(nil)
	}
	name, now := a.phase()
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, map[string]any{"phase": name, "conditions": now})
}

func (a *API) control(w http.ResponseWriter, r *http.Request) bool {
	var c controlRequest
	dec := json.NewDecoder(io.LimitReader(r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		fail(w, http.StatusBadRequest, "bad_request", "expected {latency_ms, slots, quota_per_second, error_ratio, outage} or {phase}: "+err.Error())
		return false
	}
	name, now := "pinned", a.conditions()
	if c.Phase != "" {
		p, ok := a.findPhase(c.Phase)
		if !ok {
			fail(w, http.StatusNotFound, "no_phase", "the scenario has no phase "+c.Phase)
			return false
		}
		name, now = p.Name, p.apply(a.o.Base)
	}
	now = c.over(now)
	if err := now.validate(); err != nil {
		fail(w, http.StatusBadRequest, "bad_request", err.Error())
		return false
	}
	a.pin(&pinned{name, now})
	return true
}

func (a *API) pin(p *pinned) {
	a.mu.Lock()
	a.pinned = p
	a.mu.Unlock()
}

// Pin fixes the conditions until Release.
func (a *API) Pin(c Conditions) error {
	if err := c.validate(); err != nil {
		return err
	}
	a.pin(&pinned{"pinned", c})
	return nil
}

// Release goes back to the scenario.
func (a *API) Release() { a.pin(nil) }

func (a *API) findPhase(name string) (Phase, bool) {
	for _, p := range a.o.Scenario {
		if p.Name == name {
			return p, true
		}
	}
	return Phase{}, false
}

func (a *API) serveStats(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, a.Stats())
}
