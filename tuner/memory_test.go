package tuner

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"penstock/knob"
)

// shelf is a route of a modelled cache: of rate requests a second, most*(1-exp(-mib/size)) are hits; lies has what
// memory does for it measured as nothing, as a loop over more than fits has it.
type shelf struct {
	rate, most, size float64
	lies             bool
}

func (s shelf) hits(mib float64) float64 { return s.rate * s.most * (1 - math.Exp(-mib/s.size)) }

const shelfMiB, shelfBand = 100.0, 5.0

// shelves divides the memory as a shared store does: by the rate at which routes bring in, up to their ceilings.
func shelves(routes []shelf, shares []float64, self int, seconds float64) MemorySeen {
	m := MemorySeen{Seconds: seconds, MaxBytes: shelfMiB * (1 << 20), Band: shelfBand * (1 << 20), Self: self}
	has := make([]float64, len(routes))
	free, open := shelfMiB, make(map[int]bool)
	for i := range routes {
		open[i] = true
	}
	for again := true; again; {
		again = false
		total := 0.0
		for i := range open {
			total += routes[i].rate
		}
		for i := range routes {
			if open[i] && free*routes[i].rate/total > shares[i]*shelfMiB {
				has[i] = shares[i] * shelfMiB
				free -= has[i]
				delete(open, i)
				again = true
				break
			}
		}
		if !again {
			for i := range open {
				has[i] = free * routes[i].rate / total
			}
		}
	}
	for i, s := range routes {
		h := s.hits(has[i])
		gained, lost := s.hits(has[i]+shelfBand)-h, h-s.hits(max(has[i]-shelfBand, 0))
		if s.lies {
			gained, lost = 0, 0
		}
		m.Bytes += has[i] * (1 << 20)
		m.Routes = append(m.Routes, MemoryRoute{Upstream: "m", Route: fmt.Sprint("r", i), Share: shares[i], Bytes: has[i] * (1 << 20), memorySums: memorySums{
			Hits: h * seconds, Misses: (s.rate - h) * seconds, Gained: gained * seconds, Lost: lost * seconds,
			GainedVariance: 64 * gained * seconds, LostVariance: 64 * lost * seconds,
		}})
	}
	return m
}

func (m *MemorySeen) ratio() float64 {
	hits := 0.0
	for i := range m.Routes {
		hits += m.Routes[i].Hits
	}
	return hits / m.requests()
}

var shareSpec = knob.Spec{Name: "cache.share.r", Kind: knob.KindFloat, Default: 1, Min: .01, Max: 1}

// playMemory lets the knobs of all routes take turns, each change measured and judged before the next look.
func playMemory(routes []shelf, shares []float64, rounds int) (text string, before, after float64) {
	var b strings.Builder
	rule := MemoryRule(nil)
	states, last, said := make([]MemoryState, len(routes)), make([]*Outcome, len(routes)), make([]string, len(routes))
	const seconds = 600
	now := time.Unix(0, 0)
	first := shelves(routes, shares, 0, seconds)
	for range rounds {
		for i := range routes {
			now = now.Add(seconds * time.Second)
			seen := shelves(routes, shares, i, seconds)
			in := In[MemorySeen]{Now: now, Spec: shareSpec, Value: shares[i], Seen: seen, N: int(seen.requests()), Last: last[i], Appetite: Balanced()}
			p, next := rule.Decide(in, states[i])
			states[i], last[i] = next, nil
			to := withinStep(shareSpec, shares[i], p.To)
			line := fmt.Sprintf("r%d %s: %s", i, p.Rule, p.Reason)
			if to != shares[i] {
				from := shares[i]
				shares[i] = to
				moved := shelves(routes, shares, i, seconds)
				e := rule.Judge(Trial{Spec: shareSpec, Rule: p.Rule, From: from, To: to, For: memoryLongest, Appetite: Balanced()}, seen, moved)
				line += fmt.Sprintf("\n      %.3f -> %.3f, expected %s\n      %s: %s", from, to, p.Expected, e.Verdict, e.Measured)
				last[i] = &Outcome{Rule: p.Rule, From: from, To: to, Verdict: e.Verdict}
				if e.Verdict == VerdictWorse {
					last[i].RolledBack = true
					shares[i] = from
					line += "; rolled back"
				}
			}
			if line != said[i] && p.Rule != "paused" {
				fmt.Fprintf(&b, "%6.0fs %s\n", now.Sub(time.Unix(0, 0)).Seconds(), line)
				said[i] = line
			}
		}
	}
	end := shelves(routes, shares, 0, seconds)
	return b.String(), first.ratio(), end.ratio()
}

func TestMemoryGolden(t *testing.T) {
	for name, c := range map[string]struct {
		routes []shelf
		shares []float64
		gain   float64 // at least
	}{
		"scan-and-hot": {[]shelf{{rate: 50, most: .9, size: 40}, {rate: 100, most: .02, size: 60}}, []float64{1, 1}, .05},
		"equal":        {[]shelf{{rate: 50, most: .9, size: 40}, {rate: 50, most: .9, size: 40}}, []float64{1, 1}, 0},
		// The demand has turned: the ceiling is on the wrong one.
		"turned":  {[]shelf{{rate: 50, most: .9, size: 40}, {rate: 50, most: .1, size: 60}}, []float64{.1, 1}, .05},
		"lies":    {[]shelf{{rate: 50, most: .5, size: 40}, {rate: 50, most: .9, size: 40, lies: true}}, []float64{1, 1}, -1e-9},
		"three":   {[]shelf{{rate: 50, most: .9, size: 40}, {rate: 100, most: .02, size: 60}, {rate: 30, most: .5, size: 10}}, []float64{1, 1, 1}, .03},
		"nothing": {[]shelf{{rate: 50, most: .9, size: 1}, {rate: 50, most: .9, size: 1}}, []float64{1, 1}, 0},
	} {
		text, before, after := playMemory(c.routes, c.shares, 25)
		text += fmt.Sprintf("hit ratio %.4f at first, %.4f at the end\n", before, after)
		if after < before+c.gain {
			t.Errorf("%s: hit ratio %.4f, was %.4f, want a gain of %v", name, after, before, c.gain)
		}
		golden(t, "memory-"+name, text)
	}
}

func TestMemoryIsMovedOnlyWhereThatIsKnownToPay(t *testing.T) {
	base := func() In[MemorySeen] {
		return In[MemorySeen]{Spec: shareSpec, Value: 1, Appetite: Balanced(),
			Seen: shelves([]shelf{{rate: 50, most: .9, size: 40}, {rate: 100, most: .02, size: 60}}, []float64{1, 1}, 1, 600)}
	}
	if p, _ := Memory(base(), MemoryState{}); p.Rule != "gives" || p.To >= 1 {
		t.Fatalf("the scan gives nothing: %+v", p)
	}
	for name, change := range map[string]func(in *In[MemorySeen]){
		"room":    func(in *In[MemorySeen]) { in.Seen.Bytes = .93 * in.Seen.MaxBytes },
		"alone":   func(in *In[MemorySeen]) { in.Seen.Routes, in.Seen.Self = in.Seen.Routes[1:], 0 },
		"settled": func(in *In[MemorySeen]) { in.Seen.Routes[0].GainedVariance = 1e9 },
		"paused":  func(in *In[MemorySeen]) { in.Last = &Outcome{From: 1, To: .6, Verdict: VerdictNeutral} },
	} {
		in := base()
		change(&in)
		if p, _ := Memory(in, MemoryState{}); p.Rule != name || p.To != 1 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	in := base()
	in.Seen.Routes[1].Bytes = .03 * in.Seen.MaxBytes // all it has is the least that a route keeps
	if p, _ := Memory(in, MemoryState{}); p.To != 1 {
		t.Errorf("a route is taken under its least: %+v", p)
	}
	in = base()
	in.Value, in.Seen.Routes[1].Share, in.Seen.Bytes = .5, .5, .6*in.Seen.MaxBytes
	in.Seen.Routes[1].Bytes = .5 * in.Seen.MaxBytes
	if p, _ := Memory(in, MemoryState{}); p.Rule != "idle" || p.To <= .5 {
		t.Errorf("memory lies idle while a ceiling binds: %+v", p)
	}
	in = base()
	in.Appetite = Appetite{StepRatio: .2}
	bold := base()
	bold.Appetite = Appetite{StepRatio: 1}
	p, _ := Memory(in, MemoryState{})
	q, _ := Memory(bold, MemoryState{})
	if p.To <= q.To {
		t.Errorf("a conservative step goes to %v, an aggressive one to %v", p.To, q.To)
	}
}

func TestMemoryIsJudgedAtTheSameMixOfRoutes(t *testing.T) {
	seen := func(hot, cold float64) MemorySeen {
		return MemorySeen{Routes: []MemoryRoute{
			{Route: "hot", memorySums: memorySums{Hits: .9 * hot, Misses: .1 * hot}}, {Route: "cold", memorySums: memorySums{Hits: .1 * cold, Misses: .9 * cold}},
		}}
	}
	e := judgeMemory(Trial{For: time.Minute}, seen(10_000, 10_000), seen(2_000, 18_000))
	if e.Verdict != VerdictNeutral {
		t.Errorf("more requests for what is never stored count as a loss: %+v", e)
	}
	if e := judgeMemory(Trial{For: memoryLongest, Rule: "gives"}, seen(10_000, 10_000), seen(10_000, 10_000)); e.Verdict != VerdictWorse {
		t.Errorf("a step that brought nothing stands: %+v", e)
	}
	if e := judgeMemory(Trial{For: memoryLongest, Rule: "idle"}, seen(10_000, 10_000), seen(10_000, 10_000)); e.Verdict != VerdictNeutral {
		t.Errorf("idle memory is taken back: %+v", e)
	}
}

func TestMemoryMeterTellsEachSpanOnceAndSurvivesJSON(t *testing.T) {
	m, now := NewMemoryMeter(), time.Unix(1000, 0)
	counts := func(hits float64) MemoryCounts {
		return MemoryCounts{MaxBytes: 100, Bytes: 90, Band: 5, Routes: []MemoryCount{{Upstream: "m", Route: "a", Hits: hits}, {Upstream: "m", Route: "b"}}}
	}
	m.Measure(now, counts(500), "m", "a", now, now) // what was before it began does not count
	m.Measure(now.Add(5*time.Second), counts(510), "m", "a", now, now)
	seen := m.Measure(now.Add(10*time.Second), counts(530), "m", "b", now, now.Add(11*time.Second))
	if seen.Self != 1 || seen.Routes[0].Hits != 30 {
		t.Errorf("%+v, want 30 hits", seen)
	}
	if seen = m.Measure(now.Add(10*time.Second), counts(530), "m", "b", now.Add(6*time.Second), now.Add(11*time.Second)); seen.Routes[0].Hits != 20 {
		t.Errorf("%+v, want 20 hits", seen)
	}
	raw, err := json.Marshal(seen)
	if err != nil {
		t.Fatal(err)
	}
	var again MemorySeen
	if err := json.Unmarshal(raw, &again); err != nil || again.Routes[0] != seen.Routes[0] {
		t.Errorf("%s comes back as %+v, %v", raw, again, err)
	}
	model, _ := json.Marshal(MemoryRule(nil).Model(.5, MemoryState{Seen: seen}))
	if !strings.Contains(string(model), `"kind":"memory"`) || !strings.Contains(string(model), `"hits_per_mib"`) {
		t.Errorf("the model is %s", model)
	}
}
