package knob

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func workers(t *testing.T, r *Registry) Int {
	t.Helper()
	k, err := r.Int(Spec{Name: "workers.a", Default: 8, Min: 1, Max: 100, MaxStep: 10})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLayersBeatEachOtherInOrder(t *testing.T) {
	k := workers(t, NewRegistry())
	check := func(want int, source Source) {
		t.Helper()
		if s := k.State(); k.Get() != want || s.Source != source {
			t.Errorf("value %d from %s, want %d from %s", k.Get(), s.Source, want, source)
		}
	}
	check(8, SourceDefault)
	must(t, k.SetBase(10, SourceFile))
	check(10, SourceFile)
	must(t, k.Tune(12, "test"))
	check(12, SourceTuner)
	must(t, k.Pin(Pin{Value: 50}))
	check(50, SourcePin)
	if err := k.Tune(13, "test"); !errors.Is(err, ErrPinned) {
		t.Errorf("tuning a pinned knob gave %v", err)
	}
	if had, err := k.Unpin(false, false); !had || err != nil {
		t.Errorf("unpin gave %v, %v", had, err)
	}
	check(12, SourceTuner)
	must(t, k.SetBase(10, SourceFile))
	check(12, SourceTuner)
	must(t, k.SetBase(11, SourceEnv))
	check(11, SourceEnv)
}

func TestNewBoundsDropWhatTheyExclude(t *testing.T) {
	k := workers(t, NewRegistry())
	spec := k.Spec()
	spec.Max = 20
	must(t, k.Tune(15, "test"))
	must(t, k.Pin(Pin{Value: 50}))
	must(t, k.Configure(spec, 8, SourceFile))
	if s := k.State(); s.Value != 15 || s.Pin != nil || s.Spec.Max != 20 {
		t.Errorf("after narrower bounds: %+v", s)
	}
	if k.Configure(spec, 21, SourceFile) == nil || k.Get() != 15 {
		t.Error("a base out of bounds was taken")
	}
	spec.Max = 10
	must(t, k.Configure(spec, 8, SourceFile))
	if k.Get() != 8 {
		t.Errorf("value %d, want the base", k.Get())
	}
}

func TestUnpinMayResumeFromThePinnedValue(t *testing.T) {
	k := workers(t, NewRegistry())
	must(t, k.Pin(Pin{Value: 50}))
	_, err := k.Unpin(false, true)
	must(t, err)
	if k.Get() != 50 || k.State().Source != SourceTuner {
		t.Errorf("%d from %s, want 50 from the tuner", k.Get(), k.State().Source)
	}
}

func TestEveryPinIsToldOfEvenAtTheValueInForce(t *testing.T) {
	r := NewRegistry()
	var changes []Change
	r.Subscribe(func(c Change) { changes = append(changes, c) })
	k := workers(t, r)
	must(t, k.Pin(Pin{Value: 8, Author: "ann"}))
	must(t, k.Pin(Pin{Value: 8, Author: "ann"}))
	_, err := k.Unpin(false, true)
	must(t, err)
	must(t, k.Pin(Pin{Value: 8, FromFile: true, Author: "file"}))
	must(t, k.Pin(Pin{Value: 8, FromFile: true, Author: "file"}))
	if len(changes) != 4 || changes[0].Author != "ann" || changes[2].Author != "ann" || changes[3].Author != "file" {
		t.Errorf("told of %+v", changes)
	}
}

func TestFilePinYieldsOnlyToTheFile(t *testing.T) {
	k := workers(t, NewRegistry())
	must(t, k.Pin(Pin{Value: 50, FromFile: true}))
	if k.Pin(Pin{Value: 3}) == nil {
		t.Error("the API replaced a pin of the file")
	}
	if _, err := k.Unpin(false, false); err == nil {
		t.Error("the API removed a pin of the file")
	}
	had, err := k.Unpin(true, false)
	if !had || err != nil || k.Get() != 8 {
		t.Errorf("%v, %v, value %d", had, err, k.Get())
	}
}

func TestPinExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		defer r.Close()
		var changes []Change
		r.Subscribe(func(c Change) { changes = append(changes, c) })
		k := workers(t, r)
		must(t, k.Pin(Pin{Value: 50, Until: time.Now().Add(time.Minute)}))
		<-time.After(59 * time.Second)
		if k.Get() != 50 {
			t.Error("the pin ended early")
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if k.Get() != 8 {
			t.Errorf("value %d after the pin's expiry, want 8", k.Get())
		}
		if len(changes) != 2 || changes[1].Source != SourceDefault {
			t.Errorf("changes: %+v", changes)
		}
		if k.Pin(Pin{Value: 9, Until: time.Now()}) == nil {
			t.Error("a pin that has expired was taken")
		}
	})
}

func TestAReplacedPinDoesNotEndItsSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		defer r.Close()
		k := workers(t, r)
		must(t, k.Pin(Pin{Value: 50, Until: time.Now().Add(time.Minute)}))
		must(t, k.Pin(Pin{Value: 60, Until: time.Now().Add(time.Hour)}))
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if k.Get() != 60 {
			t.Errorf("value %d, want 60", k.Get())
		}
	})
}

func TestBoundsAndStepsHoldAgainstAnyTuner(t *testing.T) {
	k := workers(t, NewRegistry())
	rng := rand.New(rand.NewPCG(1, 2))
	taken := 0
	for range 10_000 {
		before := k.Get()
		if k.Tune(float64(rng.IntN(140)-20), "test") == nil {
			taken++
		}
		if v := k.Get(); v < 1 || v > 100 || v-before > 10 || before-v > 10 {
			t.Fatalf("from %d to %d", before, v)
		}
	}
	if taken == 0 {
		t.Error("nothing was taken")
	}
	if k.Tune(2.5, "test") == nil {
		t.Error("half a worker was taken")
	}
}

func TestConcurrentChangesLeaveValueAndLayersInAgreement(t *testing.T) {
	r := NewRegistry()
	k := workers(t, r)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				switch (i + n) % 4 {
				case 0:
					_ = k.Pin(Pin{Value: float64(n%100 + 1)})
				case 1:
					_, _ = k.Unpin(false, n%2 == 0)
				case 2:
					_ = k.Tune(float64(k.Get()), "test")
				case 3:
					_ = k.SetBase(float64(n%100+1), SourceFile)
				}
			}
		})
	}
	wg.Wait()
	if s := k.State(); s.Value != k.Value() {
		t.Errorf("state says %v, the knob %v", s.Value, k.Value())
	}
}

func TestFormatAndParseAgree(t *testing.T) {
	for _, s := range []Spec{
		{Name: "i", Kind: KindInt, Max: 1e9}, {Name: "f", Kind: KindFloat, Max: 1e9},
		{Name: "d", Kind: KindDuration, Max: 1e9}, {Name: "b", Kind: KindBool, Max: 1},
	} {
		for _, v := range []float64{0, 1} {
			got, err := s.Parse(s.Format(v))
			if err != nil || got != v {
				t.Errorf("%s: %v written as %q is read as %v, %v", s.Kind, v, s.Format(v), got, err)
			}
		}
		for _, bad := range []string{"", "x", "-1", "NaN"} {
			if _, err := s.Parse(bad); err == nil {
				t.Errorf("%s took %q", s.Kind, bad)
			}
		}
	}
}

func TestRegistryRefusesFaultySpecs(t *testing.T) {
	r := NewRegistry()
	for _, s := range []Spec{{}, {Name: "a", Default: 5, Max: 4}, {Name: "a", Min: 2, Max: 1}} {
		if _, err := r.Float(s); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
	workers(t, r)
	if _, err := r.Float(Spec{Name: "workers.a"}); err == nil {
		t.Error("one name was taken for two kinds")
	}
	if k, ok := r.Lookup("workers.a"); !ok || len(r.All()) != 1 || k.Spec().Default != 8 {
		t.Error("the registered knob is not found")
	}
	r.Remove("workers.a")
	if len(r.All()) != 0 {
		t.Error("the removed knob is still there")
	}
}

func BenchmarkGet(b *testing.B) {
	k := FixedInt(7)
	b.ReportAllocs()
	for b.Loop() {
		if k.Get() != 7 {
			b.Fatal("wrong")
		}
	}
}

func TestResumeTakesUpATunedValueAtOnce(t *testing.T) {
	k := workers(t, NewRegistry())
	must(t, k.Resume(60, "as it was left")) // further than MaxStep
	if s := k.State(); s.Value != 60 || s.Source != SourceTuner {
		t.Errorf("%+v", s)
	}
	if err := k.Resume(101, "x"); err == nil {
		t.Error("a value out of bounds was taken")
	}
	must(t, k.Pin(Pin{Value: 5}))
	if err := k.Resume(7, "x"); !errors.Is(err, ErrPinned) || k.Get() != 5 {
		t.Errorf("under a pin: %v, %d", err, k.Get())
	}
}
