package tuner

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/observe"
)

// quotaSim is an upstream with a quota and a caller that always wants more, in a virtual time of its own.
type quotaSim struct {
	admit func(now time.Duration) bool
	told  func(now time.Duration) *observe.Quota
	free  float64 // calls per second where no rate is known
	s     QuotaState

	now       time.Duration
	answers   []QuotaEvent // to come, by when they end
	good, bad int
	seen      func(e QuotaEvent)
}

var simBegin = time.Date(2026, 11, 22, 10, 0, 7, 0, time.UTC)

func (q *quotaSim) clock() time.Time { return simBegin.Add(q.now) }

// send makes a call now.
func (q *quotaSim) send() {
	e := QuotaEvent{Start: q.clock(), Refused: !q.admit(q.now)}
	e.Now = e.Start.Add(20 * time.Millisecond)
	if e.Refused {
		e.Now = e.Start.Add(5 * time.Millisecond)
	}
	if q.told != nil {
		e.Told = q.told(q.now)
	}
	i, _ := slices.BinarySearchFunc(q.answers, e, func(a, b QuotaEvent) int { return a.Now.Compare(b.Now) })
	q.answers = slices.Insert(q.answers, i, e)
}

// hear takes the answers that have come.
func (q *quotaSim) hear() {
	for len(q.answers) > 0 && !q.answers[0].Now.After(q.clock()) {
		e := q.answers[0]
		q.answers = q.answers[1:]
		if e.Refused {
			q.bad++
		} else {
			q.good++
		}
		q.s.Observe(e)
		if q.seen != nil {
			q.seen(e)
		}
	}
}

// play runs for so long: calls go evenly at the rate wanted, or freely without one, but for holds, in which single
// calls go. Budgets are kept to by their limits alone.
func (q *quotaSim) play(length time.Duration) {
	next, looked := q.now, q.now
	for end := q.now + length; q.now < end; q.now += 2 * time.Millisecond {
		q.hear()
		if q.now-looked >= 5*time.Second {
			looked = q.now
			q.s.Look(q.clock())
		}
		a := q.s.Allowance(q.clock())
		if !a.Hold.IsZero() {
			if q.clock().Before(a.Hold) || len(q.answers) > 0 {
				next = max(next, q.now)
				continue
			}
			q.send()
			if r := q.s.Rate(); r > 0 { // the call is one of the pace
				next = q.now + time.Duration(float64(time.Second)/r)
			}
			continue
		}
		rate := q.s.Rate()
		if rate == 0 {
			rate = q.free
		}
		for ; next <= q.now; next += time.Duration(float64(time.Second) / rate) {
			q.send()
		}
	}
}

// rolling admits limit calls in any stretch of a period.
func rolling(limit int, period time.Duration) func(time.Duration) bool {
	var log []time.Duration
	return func(now time.Duration) bool {
		for len(log) > 0 && log[0] <= now-period {
			log = log[1:]
		}
		if len(log) >= limit {
			return false
		}
		log = append(log, now)
		return true
	}
}

// fixed admits limit calls from one multiple of the period, since midnight, to the next.
func fixed(limit int, period time.Duration) func(time.Duration) bool {
	var window time.Time
	n := 0
	return func(now time.Duration) bool {
		if w := simBegin.Add(now).Truncate(period); !w.Equal(window) {
			window, n = w, 0
		}
		n++
		return n <= limit
	}
}

// tokens admits rate calls a second and burst at once.
func tokens(rate, burst float64) func(time.Duration) bool {
	have, at := burst, time.Duration(0)
	return func(now time.Duration) bool {
		have = min(burst, have+rate*(now-at).Seconds())
		at = now
		if have < 1-1e-9 {
			return false
		}
		have--
		return true
	}
}

func TestQuotaLearnsKindLimitAndPeriodFromRefusalsAlone(t *testing.T) {
	for _, c := range []struct {
		name     string
		admit    func(time.Duration) bool
		possible float64 // calls per second
		kind     string
		limit    float64
		period   time.Duration
		length   time.Duration
	}{
		{"40 per second, fixed", fixed(40, time.Second), 40, KindFixed, 40, time.Second, 3 * time.Minute},
		{"40 per second, rolling", rolling(40, time.Second), 40, "", 0, 0, 3 * time.Minute},
		{"60 per second, bucket", tokens(60, 30), 60, KindBucket, 0, 0, 3 * time.Minute},
		{"7 per second, strict", tokens(7, 1), 7, KindBucket, 0, 0, 10 * time.Minute},
		{"30 per minute, fixed", fixed(30, time.Minute), .5, KindFixed, 30, time.Minute, 40 * time.Minute},
		{"45 per minute, rolling", rolling(45, time.Minute), .75, KindRolling, 45, time.Minute, 40 * time.Minute},
		{"200 per 5 minutes, fixed", fixed(200, 5*time.Minute), 200. / 300, KindFixed, 200, 5 * time.Minute, 80 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := &quotaSim{admit: c.admit, free: 200}
			q.play(c.length / 4) // learning
			good, bad := q.good, q.bad
			q.play(c.length)
			good, bad = q.good-good, q.bad-bad
			if share := float64(good) / (c.possible * c.length.Seconds()); share < .95 {
				t.Errorf("%.1f %% of the quota was used", 100*share)
			}
			if r := 100 * float64(bad) / float64(good); r > 2 {
				t.Errorf("%.1f refusals for 100 answers", r)
			}
			w := q.s.Short
			if c.period >= long {
				if len(q.s.Windows) != 1 {
					t.Fatalf("it knows of the windows %+v", q.s.Windows)
				}
				w = q.s.Windows[0]
				if math.Abs(w.Limit-c.limit) > 1+.03*c.limit || w.Period != c.period {
					t.Errorf("it knows of %.0f calls in %s", w.Limit, w.Period)
				}
			}
			if c.kind != "" && w.Kind != c.kind {
				t.Errorf("it takes it for a %s window", w.Kind)
			}
		})
	}
}

func TestQuotaNeverCutsTwiceForOneCohort(t *testing.T) {
	q := &quotaSim{admit: tokens(100, 20), free: 300}
	q.play(time.Minute)
	if q.s.Pace.Pace == 0 || q.s.closed != nil {
		t.Fatalf("it has not learned: %+v", q.s.Pace)
	}
	// A hundred calls that started before the cut come back refused, one by one.
	start := q.clock()
	q.now += 300 * time.Millisecond
	for range 2 {
		q.s.Observe(QuotaEvent{Start: start, Now: q.clock(), Refused: true})
	}
	q.now += 300 * time.Millisecond
	q.s.Observe(QuotaEvent{Start: start, Now: q.clock()})
	cut := q.s.Pace
	for range 100 {
		q.now += 20 * time.Millisecond
		q.s.Observe(QuotaEvent{Start: start, Now: q.clock(), Refused: true})
		if q.s.Pace.Cut != cut.Cut && q.s.Pace.Pace < cut.Pace {
			t.Fatalf("the cohort cut it from %v to %v", cut, q.s.Pace)
		}
	}
}

func TestQuotaNeedsMoreThanAFewRefusals(t *testing.T) {
	var s QuotaState
	now := simBegin
	for i := range 5000 {
		now = now.Add(10 * time.Millisecond)
		s.Observe(QuotaEvent{Start: now, Now: now.Add(time.Millisecond), Refused: i%400 == 0})
		if s.Rate() != 0 {
			t.Fatalf("a stray refusal in 400 calls began a rate of %v", s.Rate())
		}
	}
}

func TestQuotaStopsForRetryAfterAndSendsOneCallAfter(t *testing.T) {
	var s QuotaState
	now := simBegin
	e := QuotaEvent{Start: now, Now: now, Refused: true, Told: &observe.Quota{RetryAfter: 10 * time.Minute}}
	s.Observe(e)
	a := s.Allowance(now)
	if want := now.Add(5 * time.Minute); !a.Hold.Equal(want) {
		t.Fatalf("it holds until %v, want a trickle call at %v", a.Hold, want)
	}
	// The trickle call hears the same: no more of them.
	now = now.Add(5 * time.Minute)
	e = QuotaEvent{Start: now, Now: now.Add(time.Millisecond), Refused: true, Told: &observe.Quota{RetryAfter: 5 * time.Minute}}
	s.Observe(e)
	if a := s.Allowance(now); a.Hold.Sub(now) < 5*time.Minute {
		t.Errorf("after the trickle call it holds for %v", a.Hold.Sub(now))
	}
	now = now.Add(5*time.Minute + time.Second)
	s.Observe(QuotaEvent{Start: now, Now: now.Add(time.Millisecond)})
	if a := s.Allowance(now); !a.Hold.IsZero() {
		t.Errorf("after an admitted call it still holds until %v", a.Hold)
	}
	if s.Rate() != 0 {
		t.Errorf("a word to wait began a rate of %v", s.Rate())
	}
}

func TestQuotaGoesByWhatIsTold(t *testing.T) {
	left := 100.0
	q := &quotaSim{admit: func(time.Duration) bool { left--; return true }, free: 50}
	q.told = func(now time.Duration) *observe.Quota {
		left -= .5 // others use the same quota
		return &observe.Quota{RetryAfter: observe.Unknown, Windows: []observe.QuotaWindow{
			{Limit: 10_000, Period: time.Hour, Remaining: 9000 + left, Reset: time.Hour - now},
		}}
	}
	q.play(2 * time.Minute)
	w := q.s.Windows
	if len(w) != 1 || w[0].Kind != KindFixed || w[0].Limit != 10_000 || w[0].Source != SourceHeaders {
		t.Fatalf("it knows of %+v", w)
	}
	if own := float64(q.good) / q.now.Seconds(); w[0].Others < own/8 {
		t.Errorf("others make %.2f calls/s beside our %.2f, it sees %.2f", own/2, own, w[0].Others)
	}
	a := q.s.Allowance(q.clock())
	if len(a.Budgets) != 1 || !a.Budgets[0].Told || !a.Ahead {
		t.Errorf("it allows %+v", a)
	}
}

func TestQuotaStaysSoundWhateverComes(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		var s QuotaState
		now := simBegin
		for range 400 {
			now = now.Add(time.Duration(random.Int64N(1 << (10 + random.IntN(35)))))
			e := QuotaEvent{Now: now, Start: now.Add(-time.Duration(random.Int64N(int64(time.Minute)))), Refused: random.IntN(3) == 0}
			if random.IntN(5) == 0 {
				e.Told = &observe.Quota{RetryAfter: time.Duration(random.Int64N(int64(time.Hour))) - time.Minute}
				for range random.IntN(4) {
					e.Told.Windows = append(e.Told.Windows, observe.QuotaWindow{
						Name: fmt.Sprint(random.IntN(12)), Limit: float64(random.IntN(3)) * 1000, Period: time.Duration(random.Int64N(int64(time.Hour))),
						Remaining: float64(random.IntN(1000) - 1), Reset: time.Duration(random.Int64N(int64(time.Hour))) - 1,
					})
				}
			}
			s.Observe(e)
			if random.IntN(10) == 0 {
				s.Look(now)
			}
			a, r := s.Allowance(now), s.Rate()
			if math.IsNaN(r) || math.IsInf(r, 0) || r < 0 || len(s.Windows) > maxWindows || a.Probing < 0 || a.Probing > 1 || a.Hold.Sub(now) > 2*longestClosure {
				t.Fatalf("seed %d: rate %v, %+v", seed, r, a)
			}
			for _, b := range a.Budgets {
				if !(b.Limit > 0) || b.Period <= 0 || math.IsNaN(b.Rate) || b.Rate < 0 || math.IsInf(b.Rate, 0) {
					t.Fatalf("seed %d: %+v", seed, b)
				}
			}
		}
	}
}

func TestQuotaIsKeptWithLessTrustTheOlderItIs(t *testing.T) {
	q := &quotaSim{admit: fixed(30, time.Minute), free: 200}
	q.play(10 * time.Minute)
	raw := q.s.kept(q.clock())
	for trust, windows := range map[float64]int{1: 1, .9: 1, .01: 0} {
		c := NewQuotaController(QuotaOptions{})
		if err := c.Load(raw, trust); err != nil {
			t.Fatal(err)
		}
		if len(c.s.Windows) != windows {
			t.Errorf("at a trust of %v it believes in %+v", trust, c.s.Windows)
		}
	}
	for _, bad := range []string{"{", `{"windows":[{"kind":"fixed","limit":-1,"period_ns":60000000000,"source":"learned","confidence":1}]}`, `{"pace":{"top":-5}}`, `null`} {
		c := NewQuotaController(QuotaOptions{})
		_ = c.Load([]byte(bad), 1)
		if c.s.Rate() != 0 {
			t.Errorf("%s gave a rate of %v", bad, c.s.Rate())
		}
	}
}

// TestQuotaGolden tells step by step what the controller does.
func TestQuotaGolden(t *testing.T) {
	for name, c := range map[string]struct {
		admit  func(time.Duration) bool
		length time.Duration
	}{
		"bucket": {tokens(60, 30), 12 * time.Second}, "fixed-minute": {fixed(30, time.Minute), 3 * time.Minute},
		"rolling-minute": {rolling(30, time.Minute), 4 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			q := &quotaSim{admit: c.admit, free: 200}
			last := ""
			q.seen = func(e QuotaEvent) {
				line := fmt.Sprintf("%-16s rate %8.3f/s  %s", q.s.note.rule, q.s.Rate(), q.s.note.reason)
				if h := q.s.Allowance(e.Now).Hold; !h.IsZero() {
					line += fmt.Sprintf("; next call at %.2f s", h.Sub(simBegin).Seconds())
				}
				if line != last {
					fmt.Fprintf(&out, "%8.3f s  %s\n", q.now.Seconds(), line)
				}
				last = line
			}
			q.play(c.length)
			golden(t, "quota-"+name, out.String())
		})
	}
}
