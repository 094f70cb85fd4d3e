package tuner

import (
	"strings"
	"testing"
	"time"

	"penstock/knob"
)

// script plays epochs of counted answers through Knee; the times of the calls always look as if more did more.
type script struct {
	t     *testing.T
	state KneeState
	limit float64
}

func (s *script) epoch(counted, hanging float64) Step {
	s.t.Helper()
	const calls, mean = 2000, .1
	e := Epoch{
		Limit: s.limit, Span: 200 * time.Millisecond, Calls: calls, OK: calls, InFlight: s.limit,
		Routes:  map[string]RouteTimes{"r": {N: calls, Sum: calls * mean, SumSq: calls * mean * mean * 1.01}},
		Answers: calls, Counted: counted, Hanging: hanging,
	}
	spec := knob.Spec{Name: "w", Kind: knob.KindInt, Min: 1, Max: 200}
	var step Step
	step, s.state = Knee(spec, Appetite{}, e, s.state)
	s.limit = step.To
	return step
}

func TestNetReturnsToTheLimitThatGaveMoreAnswersAndStaysThere(t *testing.T) {
	s := script{t: t, limit: 40}
	s.epoch(400, 0)
	s.limit = 60
	step := s.epoch(300, 0)
	if step.To != 40 || step.Rule != ruleHarm || !strings.Contains(step.Reason, "400.0/s were with 40") || !s.state.Fell {
		t.Fatalf("after a growth that cost a quarter of the answers: %+v", step)
	}
	for i := range netWait / 2 {
		if step = s.epoch(400, 0); step.To > 40 {
			t.Fatalf("epoch %d after that: it grows again: %+v", i, step)
		}
	}
}

func TestNetLetsGoWhereTheWorldChanged(t *testing.T) {
	s := script{t: t, limit: 40}
	s.epoch(400, 0)
	s.limit = 44
	if step := s.epoch(220, 0); step.To != 40 {
		t.Fatalf("half the answers under more: %+v", step)
	}
	s.epoch(200, 0) // and half at home: it was not the growth
	if c := s.state.ceiling; c.limit != 0 || s.state.net.rate != 200 {
		t.Errorf("nothing may grow beyond %v though the upstream changed; %v answers/s are taken to be good", c.limit, s.state.net.rate)
	}
}

func TestNetTakesNoFallAtTheSameLimitForHarm(t *testing.T) {
	s := script{t: t, limit: 40}
	s.epoch(400, 0)
	s.limit = 40
	if step := s.epoch(200, 0); step.Rule == ruleHarm || s.state.ceiling.limit != 0 {
		t.Errorf("the capacity halved at the same limit, and the net blames growth: %+v", step)
	}
}

func TestNetLeavesThePermitsOfCallsThatHang(t *testing.T) {
	s := script{t: t, limit: 60}
	step := s.epoch(300, 1./3)
	if step.To != 38 || step.Rule != "hanging" || !strings.Contains(step.Reason, "20 of 60 workers hold calls that do not end") {
		t.Fatalf("a third of the calls hang: %+v", step)
	}
	if step = s.epoch(380, 0); step.To > 38 {
		t.Errorf("fewer did more, and it grows at once: %+v", step)
	}
}

func TestNetGivesBackWhatWasNeeded(t *testing.T) {
	s := script{t: t, limit: 60}
	s.epoch(300, 1./3)
	if step := s.epoch(190, 0); step.Rule != "not-harm" || step.To <= 38 {
		t.Fatalf("fewer did less: %+v", step)
	}
	s.limit = 60
	if step := s.epoch(300, 1./3); step.Rule == "hanging" {
		t.Errorf("it makes the same mistake again at once: %+v", step)
	}
}

func TestGrowthBeyondTheDemandIsTakenBack(t *testing.T) {
	s := KneeState{Phase: KneeSettle, last: 147, net: net{good: 57}}
	if !s.beyond(200, 221) || s.back() != 57 {
		t.Errorf("200 in flight under 221 after 147: beyond %v, back to %v", s.beyond(200, 221), s.back())
	}
	if s.beyond(221, 221) || s.beyond(20, 221) {
		t.Error("a limit in use, or no demand at all, is taken for growth beyond the demand")
	}
}

func TestCallsThatWereGivenUpShowThatOthersHang(t *testing.T) {
	const trip = 100 * time.Millisecond
	for gone, want := range map[int]bool{0: false, hungGone: true} {
		now := time.Unix(1000, 0)
		var h hung
		h.begin(now)
		now = now.Add(time.Millisecond)
		for range gone {
			h.gaveUp(10*time.Second, trip)
		}
		for range 100 { // 10 s of calls in 5 s of 4 at once: half is missing
			h.end(trip, now)
		}
		e := Epoch{Limit: 4, Calls: 100, OK: 100, InFlight: 4, Routes: map[string]RouteTimes{"r": {N: 100, Sum: 10, SumSq: 1}}}
		if !h.correct(&e, trip, now.Add(5*time.Second), true, 0) || (e.Hanging > 0) != want || e.Counted < 19 || e.Counted > 21 {
			t.Errorf("after %d calls that were given up: hanging %.2f, %.1f answers/s", gone, e.Hanging, e.Counted)
		}
	}
}
