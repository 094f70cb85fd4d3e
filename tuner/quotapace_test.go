package tuner

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// quarters is how many epochs a second of these tests has.
const quarters = 4

// meter is an upstream's quota, quarter by quarter of a second.
type meter interface {
	// admit says how many of n calls, sent evenly over the quarter, pass.
	admit(n float64) float64
}

type bucket struct{ limit, burst, tokens float64 }

func (b *bucket) admit(n float64) float64 {
	b.tokens += b.limit / quarters
	ok := min(n, b.tokens)
	b.tokens = min(b.tokens-ok, b.burst)
	return ok
}

type fixedWindow struct {
	limit, used float64
	quarter     int
}

func (w *fixedWindow) admit(n float64) float64 {
	if w.quarter++; w.quarter%quarters == 0 {
		w.used = 0
	}
	ok := min(n, max(w.limit-w.used, 0))
	w.used += ok
	return ok
}

// playQuota runs Pace for so many seconds against a meter with demand to spare. Calls are whole: what is left of one
// goes with the next quarter.
func playQuota(seconds int, demand float64, s PaceState, at func(second int) meter, each func(second int, s PaceState, admitted, refused float64)) PaceState {
	now := time.Unix(0, 0)
	rest := 0.0
	var lately [quarters]float64
	for i := range seconds * quarters {
		now = now.Add(time.Second / quarters)
		n := demand
		if s.Pace > 0 {
			n = min(n, s.Pace)
		}
		rest += n / quarters
		n = math.Floor(rest + 1e-9)
		rest -= n
		ok := math.Floor(at(i/quarters).admit(n) + 1e-9)
		lately[i%quarters] = ok
		e := RateEpoch{Now: now, Span: time.Second / quarters, Admitted: int(ok), Refused: int(n - ok)}
		e.Just = 2 * (ok + lately[(i+quarters-1)%quarters])
		for _, x := range lately {
			e.Lately += x
		}
		if _, ok := at(i / quarters).(*fixedWindow); ok && i >= quarters {
			e.Period, e.InPeriod = time.Second, e.Lately
		}
		if e.Admitted+e.Refused < epochCalls && s.Pace > 0 { // a slow pace has longer epochs in life
			e.Span, e.Admitted = time.Second, int(e.Lately)
			if i%quarters != quarters-1 && e.Refused == 0 {
				each(i/quarters, s, ok, n-ok)
				continue
			}
		}
		_, _, s = Pace(e, s)
		each(i/quarters, s, ok, n-ok)
	}
	return s
}

func TestQuotaLearnsALimitByRefusalsAlone(t *testing.T) {
	for name, m := range map[string]meter{
		"bucket": &bucket{limit: 100, burst: 100, tokens: 100}, "shallow": &bucket{limit: 100, burst: 10}, "low": &bucket{limit: 12, burst: 12},
	} {
		limit := 100.0
		if name == "low" {
			limit = 12
		}
		var used, refusals float64
		playQuota(320, 1000, PaceState{}, func(int) meter { return m }, func(i int, _ PaceState, ok, refused float64) {
			if i >= 20 {
				used += ok
				refusals += refused
			}
		})
		if share := used / (300 * limit); share < .97 {
			t.Errorf("%s: %.1f %% of the quota is used", name, 100*share)
		}
		if r := 100 * refusals / used; r > 2 {
			t.Errorf("%s: %.1f refusals for 100 answers", name, r)
		}
	}
}

func TestQuotaFindsARaisedLimit(t *testing.T) {
	w := &fixedWindow{limit: 100}
	found := 0
	playQuota(120, 1000, PaceState{}, func(i int) meter {
		if i == 60 {
			w.limit = 200
		}
		return w
	}, func(i int, s PaceState, ok, _ float64) {
		if i >= 60 && ok >= 190/quarters && found == 0 {
			found = i - 60
		}
	})
	if found == 0 || found > 20 {
		t.Errorf("a doubled quota was found after %d s", found)
	}
}

func TestQuotaFollowsALoweredLimitAtOnce(t *testing.T) {
	w := &fixedWindow{limit: 200}
	refusals := 0.0
	playQuota(120, 1000, PaceState{}, func(i int) meter {
		if i == 60 {
			w.limit = 50
		}
		return w
	}, func(i int, s PaceState, _, refused float64) {
		if i > 60 {
			refusals += refused
		}
		if i == 63 && (s.Pace > 58 || s.Pace < 45) {
			t.Errorf("3 s after the quota fell to 50/s the pace is %.1f/s", s.Pace)
		}
	})
	if refusals > 60 {
		t.Errorf("%.0f calls were refused after the first second", refusals)
	}
}

func TestQuotaDoesNotGrowWhileItIsNotUsed(t *testing.T) {
	s := PaceState{Pace: 98, Top: 100, Cut: time.Unix(0, 0)}
	s = playQuota(600, 20, s, func(int) meter { return &fixedWindow{limit: 100} }, func(int, PaceState, float64, float64) {})
	if s.Pace != 98 {
		t.Errorf("after 10 minutes of 20/s the pace of 98/s is %.1f/s", s.Pace)
	}
}

func TestQuotaLeavesUpstreamsWithoutQuotaAlone(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var s PaceState
	now := time.Unix(0, 0)
	for range 1000 {
		now = now.Add(time.Second)
		_, _, s = Pace(RateEpoch{Now: now, Span: time.Second, Admitted: random.IntN(1000), Refused: random.IntN(firstRefusals)}, s)
		if s.Pace != 0 {
			t.Fatalf("a stray 429 began a pace of %v", s.Pace)
		}
	}
}

func TestQuotaStaysAPositiveNumberWhateverComes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	for range 200 {
		var s PaceState
		now := time.Unix(0, 0)
		for range 200 {
			span := time.Duration(1 + random.Int64N(int64(20*time.Second)))
			now = now.Add(span)
			e := RateEpoch{Now: now, Span: span, Admitted: random.IntN(100) * random.IntN(2), Refused: random.IntN(50) * random.IntN(2)}
			rule, reason, next := Pace(e, s)
			if math.IsNaN(next.Pace) || math.IsInf(next.Pace, 0) || next.Pace < 0 || s.Pace > 0 && next.Pace < leastPace {
				t.Fatalf("%+v after %+v", next, e)
			}
			if rule == "" || reason == "" {
				t.Fatal("it explains nothing")
			}
			if e.Refused == 0 && next.Pace < s.Pace && s.Cut != next.Cut {
				t.Fatalf("a cut with no refusal: %+v to %+v", s, next)
			}
			s = next
		}
	}
}
