package observe

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

var historyStart = time.Unix(1_700_000_000, 0)

func second(n int) time.Time { return historyStart.Add(time.Duration(n) * time.Second) }

// newTestHistory keeps a minute at 1 s and ten minutes at 10 s.
func newTestHistory() *History {
	return NewHistory(HistoryOptions{Fine: Tier{time.Second, time.Minute}, Coarse: Tier{10 * time.Second, 10 * time.Minute}})
}

func fill(h *History, from, to int, f func(i int) float64) {
	for i := from; i < to; i++ {
		h.Add(second(i), map[string]float64{"rate": f(i), "p99_seconds": f(i)})
	}
}

func TestTheLastMinuteIsKeptInFullAndMoreInSteps(t *testing.T) {
	h := newTestHistory()
	fill(h, 0, 300, func(i int) float64 { return float64(i) })
	r := h.Query(HistoryQuery{Signals: []string{"rate"}, From: second(290), To: second(299)})
	if r.Step != time.Second || len(r.Times) != 10 || r.Series[0].Values[0] != 290 || r.Series[0].Values[9] != 299 {
		t.Errorf("the last ten seconds are %v of %v", r.Series, r.Step)
	}
	r = h.Query(HistoryQuery{Signals: []string{"rate", "p99_seconds"}, From: second(0), To: second(299)})
	if r.Step != 10*time.Second || !r.Times[0].Equal(second(0)) || r.Series[0].Values[0] != 4.5 {
		t.Errorf("the first ten seconds' mean is %v at %v, step %v", r.Series[0].Values[0], r.Times[0], r.Step)
	}
	if r.Series[1].Values[0] != 9 {
		t.Errorf("the first ten seconds' highest quantile is %v", r.Series[1].Values[0])
	}
}

func TestAGapIsAGap(t *testing.T) {
	h := newTestHistory()
	fill(h, 0, 10, func(int) float64 { return 1 })
	fill(h, 15, 20, func(int) float64 { return 2 })
	h.Add(second(20), map[string]float64{"rate": math.NaN(), "other": math.Inf(1)})
	r := h.Query(HistoryQuery{Signals: []string{"rate"}, From: second(8), To: second(20)})
	for i, v := range r.Series[0].Values {
		at := 8 + i
		if want := at >= 10 && at < 15 || at == 20; (v != v) != want {
			t.Errorf("second %d is %v", at, v)
		}
	}
	if slices.Contains(h.Signals(), "other") {
		t.Error("an infinite value made a series")
	}
	fill(h, 10_000, 10_001, func(int) float64 { return 3 })
	r = h.Query(HistoryQuery{Signals: []string{"rate"}, From: second(0)})
	n := 0
	for _, v := range r.Series[0].Values {
		if v == v {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d values are left after hours of silence, want the last one", n)
	}
}

func TestAClockThatIsSetBackForgetsWhatLiesAhead(t *testing.T) {
	h := newTestHistory()
	fill(h, 0, 50, func(int) float64 { return 1 })
	fill(h, 20, 25, func(int) float64 { return 2 })
	r := h.Query(HistoryQuery{Signals: []string{"rate"}})
	if last := r.Times[len(r.Times)-1]; !last.Equal(second(24)) {
		t.Errorf("the newest value is at %v", last.Sub(historyStart))
	}
	values := r.Series[0].Values
	if values[len(values)-1] != 2 || values[len(values)-6] != 1 {
		t.Errorf("the values are %v", values)
	}
}

func TestAWildcardMatchesOnePart(t *testing.T) {
	h := newTestHistory()
	h.Add(second(0), map[string]float64{"rate": 1, "rate/movies": 1, "rate/movies/a": 1, "rate/movies/b": 1, "rate/films/a": 1})
	for pattern, want := range map[string]int{"rate": 1, "rate/*": 1, "rate/movies/*": 2, "rate/*/*": 3, "nothing": 0, "[": 0} {
		if n := len(h.Query(HistoryQuery{Signals: []string{pattern}}).Series); n != want {
			t.Errorf("%s matches %d, want %d", pattern, n, want)
		}
	}
	if n := len(h.Query(HistoryQuery{Signals: []string{"rate", "rate", "*"}}).Series); n != 1 {
		t.Errorf("a signal that several patterns match comes %d times", n)
	}
}

func TestManySignalsStayWithinTheMemory(t *testing.T) {
	h := NewHistory(HistoryOptions{Fine: Tier{time.Second, 10_000 * time.Second}, Coarse: Tier{time.Minute, 1000 * time.Hour}})
	most := h.maxSeries()
	values := make(map[string]float64)
	for i := range most + 50 {
		values[fmt.Sprintf("signal%d", i)] = 1
	}
	h.Add(second(0), values)
	if n := len(h.Signals()); n != most || h.Dropped() != 50 {
		t.Errorf("%d signals are kept and %d dropped, want %d and 50", n, h.Dropped(), most)
	}
	if bytes := most * 4 * 2 * MaxSamples; bytes > MaxHistoryBytes {
		t.Errorf("%d bytes are taken", bytes)
	}
	h.Add(second(3600), map[string]float64{"new": 1})
	if !slices.Contains(h.Signals(), "new") {
		t.Error("a silent signal did not give way to a new one")
	}
}

func TestAQueryIsBounded(t *testing.T) {
	h := NewHistory(HistoryOptions{})
	for i := range 900 {
		h.Add(second(i), map[string]float64{"rate": 1})
	}
	r := h.Query(HistoryQuery{Signals: []string{"rate"}, From: historyStart.Add(-1e6 * time.Hour), To: second(1e6), Step: time.Nanosecond})
	if len(r.Times) > MaxPoints+1 {
		t.Errorf("%d points", len(r.Times))
	}
	if r = h.Query(HistoryQuery{Signals: []string{"rate"}, From: second(500), To: second(100)}); len(r.Times) != 1 {
		t.Errorf("a range that ends before it begins has %d points", len(r.Times))
	}
	if r = NewHistory(HistoryOptions{}).Query(HistoryQuery{Signals: []string{"rate"}}); len(r.Series) != 0 {
		t.Errorf("an empty history gives %v", r.Series)
	}
}

func TestAChangeOfTheTiersCarriesValuesOver(t *testing.T) {
	h := newTestHistory()
	fill(h, 0, 60, func(i int) float64 { return float64(i) })
	h.Apply(HistoryOptions{Fine: Tier{2 * time.Second, time.Minute}, Coarse: Tier{30 * time.Second, time.Hour}})
	r := h.Query(HistoryQuery{Signals: []string{"rate"}, From: second(50), To: second(59)})
	if r.Step != 2*time.Second || r.Series[0].Values[0] != 51 {
		t.Errorf("after the change: %v of %v", r.Series, r.Step)
	}
	fill(h, 60, 62, func(int) float64 { return 7 })
	if mean, n := h.Mean("rate", second(60), second(62)); mean != 7 || n != 1 {
		t.Errorf("the mean of %d is %v", n, mean)
	}
}

func TestASavedHistoryIsLoadedAgain(t *testing.T) {
	h := newTestHistory()
	fill(h, 0, 200, func(i int) float64 { return float64(i % 7) })
	var file bytes.Buffer
	if err := h.Save(&file); err != nil {
		t.Fatal(err)
	}
	later := newTestHistory()
	if err := later.Load(bytes.NewReader(file.Bytes()), second(210)); err != nil {
		t.Fatal(err)
	}
	for _, q := range []HistoryQuery{{Signals: []string{"*"}, From: second(160), To: second(199)}, {Signals: []string{"*"}, From: second(0), To: second(199)}} {
		a, b := h.Query(q), later.Query(q)
		if a.Step == time.Second { // what lies ahead of the last value does not differ either
			if fmt.Sprint(a.Series) != fmt.Sprint(b.Series) {
				t.Errorf("saved %v\nloaded %v", a.Series, b.Series)
			}
		} else if len(b.Series) != 2 {
			t.Errorf("loaded %v", b.Series)
		}
	}
	gone := newTestHistory()
	if err := gone.Load(bytes.NewReader(file.Bytes()), second(100_000)); err != nil || len(gone.Signals()) != 0 {
		t.Errorf("a day later %v are left, error %v", gone.Signals(), err)
	}
}

func TestABrokenFileIsAnErrorAndChangesNothing(t *testing.T) {
	h := newTestHistory()
	fill(h, 0, 20, func(int) float64 { return 1 })
	var file bytes.Buffer
	if err := h.Save(&file); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 4
	for name, b := range map[string][]byte{"empty": nil, "cut": whole[:len(whole)-9], "flipped": flipped, "foreign": []byte("GIF89a, and more than a magic line holds")} {
		later := newTestHistory()
		if err := later.Load(bytes.NewReader(b), second(20)); !errors.Is(err, errHistoryFile) || len(later.Signals()) != 0 {
			t.Errorf("%s: error %v, signals %v", name, err, later.Signals())
		}
	}
}

func FuzzHistoryFile(f *testing.F) {
	h := newTestHistory()
	fill(h, 0, 3, func(int) float64 { return 1 })
	var file bytes.Buffer
	if err := h.Save(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(historyMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		later := newTestHistory()
		if later.Load(bytes.NewReader(b), second(10)) == nil {
			later.Query(HistoryQuery{Signals: []string{"*"}})
			later.Add(second(11), map[string]float64{"rate": 1})
		}
	})
}
