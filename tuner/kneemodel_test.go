package tuner

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

// known is a state that has found the knee of a world.
func known(t *testing.T, slots float64) (KneeState, float64) {
	t.Helper()
	var s KneeState
	limit := 8.0
	for range 60 {
		var step Step
		step, s = Knee(testSpec, Appetite{}, epochOf(world{slots: slots, service: 100 * time.Millisecond, demand: 400}, limit, 100, .02, nil), s)
		limit = step.To
	}
	return s, limit
}

func TestTheCurveIsKeptAsData(t *testing.T) {
	s, _ := known(t, 30)
	m := s.model(256)
	if m.Kind != "curve" || math.Abs(m.Knee-30) > 2 || math.Abs(m.Chosen-30) > 4 || len(m.Points) < 5 || len(m.Fit.Line) == 0 {
		t.Fatalf("the model is %+v", m)
	}
	for i, p := range m.Points {
		if want := min(p.Concurrency, 30) / .1; math.Abs(p.Throughput-want) > .05*want || p.Low > p.Throughput || p.High < p.Throughput || p.Calls < 1 {
			t.Errorf("the point %+v is not what was measured: %.0f/s", p, want)
		}
		if i > 0 && p.Concurrency <= m.Points[i-1].Concurrency {
			t.Error("the points are not in order")
		}
	}
	if _, err := json.Marshal(m); err != nil {
		t.Error(err)
	}
}

func TestWhatIsKnownOfTheKneeSurvivesARestartAndFades(t *testing.T) {
	s, _ := known(t, 30)
	raw, err := json.Marshal(s.save())
	if err != nil {
		t.Fatal(err)
	}
	spreads := make([]float64, 0, 3)
	for _, trust := range []float64{1, .5, 0} {
		f := NewSearch().(*search)
		if err := f.Load(raw, trust); err != nil {
			t.Fatal(err)
		}
		_, next := Knee(testSpec, Appetite{}, epochOf(world{slots: 30, service: 100 * time.Millisecond, demand: 400}, 8, 100, .02, nil), f.knee)
		_, spread := next.belief.knee()
		spreads = append(spreads, spread)
	}
	if !(spreads[0] < spreads[1] && spreads[1] < spreads[2]) {
		t.Errorf("with less trust the knee is not less sure: %v", spreads)
	}
	if err := NewSearch().Load(json.RawMessage(`{"shapes":3}`), 1); err == nil {
		t.Error("nonsense was loaded")
	}
	if err := NewSearch().Load(json.RawMessage(`{}`), 1); err != nil {
		t.Error(err)
	}
}
