package app

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"penstock/engine"
	"penstock/tuner"
)

const tuningPath = "/admin/v1/tuning"

func (h *house) view() tuner.View {
	h.t.Helper()
	return h.tuner.View()
}

func TestOrdersToTheTunerAreInTheLedgerAndSurviveARestart(t *testing.T) {
	h := open(t, keeping(t.TempDir()), new(counted))
	h.do("PATCH", h.adminURL(tuningPath), `{"frozen":true,"modes":{"workers.movies":"off"},"author":"ann","note":"sale day"}`).
		expect(t, 200, `"frozen":true`, `"workers.movies":"off"`)
	h.do("GET", h.adminURL("/admin/v1/decisions"), "").expect(t, 200, `"rule":"freeze"`, `"rule":"mode"`, `"author":"ann"`, "sale day")
	h.do("PATCH", h.adminURL(tuningPath), `{"modes":{"workers.absent":"off"}}`).expect(t, 422, "workers.movies")
	before := len(h.ledger.Decisions(tuner.Filter{}))
	h.do("PATCH", h.adminURL(tuningPath), `{"frozen":true}`).expect(t, 200)
	if n := len(h.ledger.Decisions(tuner.Filter{})); n != before {
		t.Errorf("an order that changes nothing made %d records", n-before)
	}

	h = h.restart()
	if v := h.view(); !v.Frozen || v.Switches.Modes["workers.movies"] != tuner.ModeOff {
		t.Errorf("after the restart the view is %+v", v)
	}
	h.do("PATCH", h.adminURL(tuningPath), `{"frozen":false,"mode":"shadow","modes":{"workers.movies":null}}`).expect(t, 200, `"mode":"shadow"`, `"frozen":false`)
	h = h.restart()
	if v := h.view(); v.Frozen || v.Mode != tuner.ModeShadow || len(v.Switches.Modes) != 0 {
		t.Errorf("after the second restart the view is %+v", v)
	}
}

func TestTheConfiguredModesOfKnobsHoldAndAReloadChangesThem(t *testing.T) {
	h := open(t, smallest+"tuning:\n  modes: {workers.*: shadow}\n", new(counted))
	if m := h.view().Knobs[0].Mode; m != tuner.ModeShadow {
		t.Errorf("the mode is %s", m)
	}
	h.write(h.read() + "tuning: {cool_down: 0s}\n")
	h.do("POST", h.adminURL("/admin/v1/config/reload"), "").expect(t, 200)
	if v := h.view(); v.Knobs[0].Mode != tuner.ModeActive || v.Appetite.CoolDown >= 0 {
		t.Errorf("after the reload: %+v", v)
	}
}

func TestAPinToTheValueInForceIsInTheLedger(t *testing.T) {
	h := open(t, smallest, new(counted))
	now, _ := json.Marshal(h.value("workers.movies"))
	h.do("PUT", h.adminURL(pinPath), `{"value":`+string(now)+`,"author":"ann","note":"as it is"}`).expect(t, 200)
	h.do("GET", h.adminURL("/admin/v1/decisions?knob=workers.movies"), "").expect(t, 200, `"rule":"pin"`, `"author":"ann"`, "as it is")
}

func TestADecisionIsRolledBackByHand(t *testing.T) {
	h := open(t, smallest, new(counted))
	k := h.mustKnob("workers.movies")
	from := k.Value()
	if err := k.Tune(from+1, "a test"); err != nil {
		t.Fatal(err)
	}
	id := h.ledger.Record(tuner.Decision{Knob: "workers.movies", From: from, To: from + 1, Rule: "grow", Mode: tuner.ModeActive})
	path := "/admin/v1/decisions/" + id + "/rollback"
	h.do("POST", h.adminURL(path), `{"author":"ann","note":"too bold"}`).expect(t, 200, `"rolled_back":true`)
	if k.Value() != from {
		t.Errorf("the knob stands at %v", k.Value())
	}
	h.do("GET", h.adminURL("/admin/v1/decisions"), "").expect(t, 200, `"rule":"rollback"`, "too bold")
	h.do("POST", h.adminURL(path), "").expect(t, 422, "already")
	h.do("POST", h.adminURL("/admin/v1/decisions/absent/rollback"), "").expect(t, 404)
}

func TestWhatTheControllersLearnedSurvivesARestartAndFades(t *testing.T) {
	dir := t.TempDir()
	h := open(t, keeping(dir), new(counted))
	h = h.restart() // the first process writes what it has
	state := func() string {
		s, err := h.tuner.States()
		if err != nil {
			t.Fatal(err)
		}
		return string(s["workers.movies"].Fast)
	}
	known := `{"rest":11,"good":[11],"knee_log":2.4,"deviation":0.1,"shapes":[0,0,0,0,0,0,0,0,1,0,0,0],"trust":1}`
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	learned := func(age time.Duration) {
		inStore(t, dir, func(e engine.Engine) {
			putJSON(t, e, "learned", "workers.movies", tuner.Saved{Kind: "search", At: time.Now().Add(-age), Fast: json.RawMessage(known)})
		})
	}
	learned(time.Minute)
	h = open(t, keeping(dir), new(counted))
	if s := state(); !strings.Contains(s, `"rest":11`) {
		t.Errorf("the state came back as %s", s)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	learned(25 * time.Hour)
	h = open(t, keeping(dir), new(counted))
	if s := state(); strings.Contains(s, `"rest":11`) {
		t.Errorf("what is a day old came back as %s", s)
	}
}
