package preload

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

type writer []byte

func (w *writer) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }
func (w writer) has(s string) bool            { return strings.Contains(string(w), s) }

func testBooks() *books {
	o := Options{}
	o.ensureDefaults()
	return newBooks(o)
}

// round is one prefetch that was stored and then asked for, or not, in time.
func (b *books) play(key uint64, used bool, now time.Time) bool {
	for range 10 { // the observed requests that pay for it
		b.access(1<<60, false, now)
	}
	if !b.issue(key, now) {
		return false
	}
	b.fetched(key, fetchResult{stored: true, life: time.Minute, bytes: 10}, now)
	if used {
		b.access(key, true, now)
	} else {
		b.access(1<<61, false, now.Add(2*time.Minute))
	}
	return true
}

func TestItStandsDownWhenTooFewAreUsedAndTriesAgain(t *testing.T) {
	b := testBooks()
	now := time.Unix(1000, 0)
	for i := range 40 {
		b.play(uint64(i+1), i%4 == 0, now)
	}
	s := b.stats()
	if !s.StandingDown || s.Issued > judgeSettled+10 || s.RetryAt.Sub(now) > 2*firstRest+time.Minute {
		t.Fatalf("after one in four was used: %+v", s)
	}
	issued := b.issued
	if b.play(1000, true, now.Add(30*time.Second)) {
		t.Error("a prefetch was made while standing down")
	}
	// The trial: a small dose, which fails too.
	now = s.RetryAt.Add(time.Second)
	for i := range 40 {
		b.play(uint64(2000+i), false, now)
		b.access(1<<62, false, now.Add(2*time.Minute))
	}
	if n := b.issued - issued; n != trialSettled {
		t.Errorf("the trial made %d prefetches, want %d", n, trialSettled)
	}
	if again := b.stats(); !again.StandingDown || again.RetryAt.Sub(now) < 2*firstRest {
		t.Errorf("the second rest is not longer: %s", again.RetryAt.Sub(now))
	}
	// The trial that succeeds.
	now = b.retryAt.Add(time.Second)
	for i := range 40 {
		if !b.play(uint64(3000+i), true, now) {
			t.Fatalf("prefetch %d of the successful trial was refused", i)
		}
	}
	if s := b.stats(); s.StandingDown || s.Precision != 1 || b.trial || b.rest != 0 {
		t.Errorf("after the successful trial: %+v", s)
	}
}

func TestTheBudgetBoundsWhatIsWasted(t *testing.T) {
	b := testBooks()
	b.minPrecision = func() float64 { return 0 } // no standing down
	now := time.Unix(1000, 0)
	const accesses = 2000
	for i := range accesses {
		b.access(uint64(1<<40+i), false, now)
		for range 5 {
			if key := rand.Uint64(); b.issue(key, now) {
				b.fetched(key, fetchResult{stored: true, life: time.Second}, now)
			}
		}
		now = now.Add(2 * time.Second)
	}
	if limit := uint64(DefaultBudgetRatio*accesses) + maxTokens; b.issued > limit {
		t.Errorf("%d prefetches for %d accesses, want at most %d", b.issued, accesses, limit)
	}
	// What is used is paid back.
	b = testBooks()
	for i := range accesses {
		key := uint64(i + 1)
		if !b.issue(key, now) {
			t.Fatalf("useful prefetch %d was refused", i)
		}
		b.fetched(key, fetchResult{stored: true}, now)
		b.access(key, true, now)
	}
}

func TestEachPrefetchHasOneFate(t *testing.T) {
	now := time.Unix(1000, 0)
	stored := fetchResult{stored: true, life: time.Minute, bytes: 10}
	for name, c := range map[string]struct {
		play func(b *books)
		want func(s Stats) bool
	}{
		"used":       {func(b *books) { b.fetched(7, stored, now); b.access(7, true, now) }, func(s Stats) bool { return s.Used == 1 }},
		"late":       {func(b *books) { b.access(7, false, now); b.fetched(7, stored, now) }, func(s Stats) bool { return s.Late == 1 }},
		"evicted":    {func(b *books) { b.fetched(7, stored, now); b.access(7, false, now) }, func(s Stats) bool { return s.Wasted == 1 && s.WastedBytes == 10 }},
		"expired":    {func(b *books) { b.fetched(7, stored, now); b.access(8, false, now.Add(time.Hour)) }, func(s Stats) bool { return s.Wasted == 1 }},
		"not stored": {func(b *books) { b.fetched(7, fetchResult{bytes: 10}, now) }, func(s Stats) bool { return s.Wasted == 1 }},
		"redundant":  {func(b *books) { b.fetched(7, fetchResult{redundant: true, life: time.Minute}, now) }, func(s Stats) bool { return s.Redundant == 1 }},
		"failed":     {func(b *books) { b.fetched(7, fetchResult{err: errors.New("x")}, now) }, func(s Stats) bool { return s.Failed == 1 }},
	} {
		b := testBooks()
		if !b.issue(7, now) {
			t.Fatal("the first prefetch was refused")
		}
		if b.wants(7, now) {
			t.Errorf("%s: a second prefetch is wanted while the first is under way", name)
		}
		c.play(b)
		s := b.stats()
		if sum := s.Used + s.Late + s.Wasted + s.Redundant + s.Failed; sum != 1 || !c.want(s) || s.Outstanding != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestAKeyThatCannotBeStoredIsLeftAlone(t *testing.T) {
	b := testBooks()
	now := time.Unix(1000, 0)
	b.issue(7, now)
	b.fetched(7, fetchResult{}, now)
	if b.wants(7, now.Add(time.Minute)) {
		t.Error("it is wanted again a minute later")
	}
	if !b.wants(7, now.Add(time.Hour)) {
		t.Error("it is never wanted again")
	}
}

func FuzzTheClockTableHoldsItsInvariants(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 1, 130, 7, 8, 200})
	f.Fuzz(func(t *testing.T, ops []byte) {
		table := newClockTable[int](4)
		has := map[uint64]int{}
		for i, op := range ops {
			key := uint64(op % 16)
			switch {
			case op < 128:
				v := table.add(key, func(k uint64, v *int) {
					if has[k] != *v {
						t.Fatalf("evicted %d with %d, want %d", k, *v, has[k])
					}
					delete(has, k)
				})
				if *v != has[key] {
					t.Fatalf("key %d has %d, want %d", key, *v, has[key])
				}
				*v = i + 1
				has[key] = i + 1
			case op < 192:
				table.remove(key)
				delete(has, key)
			default:
				if v := table.get(key); (v == nil) != (has[key] == 0) || (v != nil && *v != has[key]) {
					t.Fatalf("key %d is wrong", key)
				}
			}
			if table.len() != len(has) || table.len() > 4 || len(table.slots) > 4 {
				t.Fatalf("%d entries in %d slots, want %d", table.len(), len(table.slots), len(has))
			}
		}
	})
}

func TestCountsDecaySoThatANewHabitWins(t *testing.T) {
	m := newModel(100)
	for range 200 {
		m.learn(1, 10, .5)
		m.learn(1, 20, .5)
	}
	for i := range 200 {
		m.learn(1, 10, .5)
		m.learn(1, 30, .5)
		if next := m.followers.get(10).likely(.5); len(next) == 1 && next[0] == 30 {
			if i > 150 {
				t.Errorf("it took %d rounds", i)
			}
			return
		}
	}
	t.Error("the old habit still stands")
}

func BenchmarkObserve(b *testing.B) {
	m, books := newModel(DefaultMaxItems), testBooks()
	now := time.Unix(1000, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		key := uint64(rng.IntN(5000) + 1)
		books.access(key, false, now)
		m.learn(uint64(rng.IntN(100)), key, .5)
	}
}
