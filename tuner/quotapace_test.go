package tuner

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// meter is an upstream's quota, second by second.
type meter interface {
	// admit says how many of n calls, sent evenly over a second, pass.
	admit(n float64) float64
}

type bucket struct{ limit, burst, tokens float64 }

func (b *bucket) admit(n float64) float64 {
	b.tokens = min(b.burst+b.limit, b.tokens+b.limit)
	ok := min(n, b.tokens)
	b.tokens = min(b.tokens-ok, b.burst)
	return ok
}

type fixedWindow struct{ limit float64 }

func (w *fixedWindow) admit(n float64) float64 { return min(n, w.limit) }

// playQuota runs Quota for so many seconds against a meter with demand to spare.
func playQuota(seconds int, demand float64, s PaceState, at func(second int) meter, each func(second int, s PaceState, admitted, refused float64)) PaceState {
	now := time.Unix(0, 0)
	for i := range seconds {
		now = now.Add(time.Second)
		n := demand
		if s.Pace > 0 {
			n = min(n, s.Pace)
		}
		ok := at(i).admit(n)
		refused := max(math.Ceil(n-ok-1e-9), 0)
		_, _, s = Pace(RateEpoch{Now: now, Span: time.Second, Admitted: int(math.Round(ok)), Refused: int(refused)}, s)
		each(i, s, ok, refused)
	}
	return s
}

func TestQuotaLearnsALimitByRefusalsAlone(t *testing.T) {
	for name, m := range map[string]meter{
		"bucket": &bucket{limit: 100, burst: 100, tokens: 100}, "window": &fixedWindow{100}, "low": &fixedWindow{12},
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
	w := &fixedWindow{100}
	found := 0
	playQuota(120, 1000, PaceState{}, func(i int) meter {
		if i == 60 {
			w.limit = 200
		}
		return w
	}, func(i int, s PaceState, ok, _ float64) {
		if i >= 60 && ok >= 190 && found == 0 {
			found = i - 60
		}
	})
	if found == 0 || found > 20 {
		t.Errorf("a doubled quota was found after %d s", found)
	}
}

func TestQuotaFollowsALoweredLimitAtOnce(t *testing.T) {
	w := &fixedWindow{200}
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
		if i == 63 && (s.Pace > 52 || s.Pace < 45) {
			t.Errorf("3 s after the quota fell to 50/s the pace is %.1f/s", s.Pace)
		}
	})
	if refusals > 60 {
		t.Errorf("%.0f calls were refused after the first second", refusals)
	}
}

func TestQuotaDoesNotGrowWhileItIsNotUsed(t *testing.T) {
	s := PaceState{Pace: 98, Top: 100, Cut: time.Unix(0, 0)}
	s = playQuota(600, 20, s, func(int) meter { return &fixedWindow{100} }, func(int, PaceState, float64, float64) {})
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
