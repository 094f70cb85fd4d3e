package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock/engine"
	"penstock/knob"
	"penstock/observe"
	"penstock/tuner"
)

// sick is an engine whose writes can be made to fail or hang.
type sick struct {
	engine.Engine
	failing, hanging atomic.Bool
	asked            atomic.Int64
}

var errSick = errors.New("the disk is full")

func (s *sick) try(ctx context.Context) error {
	s.asked.Add(1)
	if s.hanging.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.failing.Load() {
		return errSick
	}
	return nil
}

func (s *sick) KV(ctx context.Context, o engine.KVOptions) (engine.KV, error) {
	kv, err := s.Engine.KV(ctx, o)
	return sickKV{kv, s}, err
}

func (s *sick) Log(ctx context.Context, o engine.LogOptions) (engine.Log, error) {
	l, err := s.Engine.Log(ctx, o)
	return sickLog{l, s}, err
}

type sickKV struct {
	engine.KV
	s *sick
}

func (k sickKV) Put(ctx context.Context, key string, v []byte) (uint64, error) {
	if err := k.s.try(ctx); err != nil {
		return 0, err
	}
	return k.KV.Put(ctx, key, v)
}

type sickLog struct {
	engine.Log
	s *sick
}

func (l sickLog) Append(ctx context.Context, data []byte) (uint64, error) {
	if err := l.s.try(ctx); err != nil {
		return 0, err
	}
	return l.Log.Append(ctx, data)
}

// idleTuner is a tuner that has learned nothing.
type idleTuner struct{}

func (idleTuner) States() (map[string]tuner.Saved, error) { return nil, nil }
func (idleTuner) Restore(map[string]tuner.Saved) error    { return nil }
func (idleTuner) Switches() tuner.Switches                { return tuner.Switches{} }
func (idleTuner) SetSwitches(tuner.Switches)              {}
func (idleTuner) Mode() tuner.Mode                        { return tuner.ModeActive }

// kept is a running keeper in a bubble.
type kept struct {
	*keeper
	sick  *sick
	log   *syncBuffer
	knobs *knob.Registry
	pin   *knob.Knob
	stop  func(ctx context.Context) error
}

func startKeeper(t *testing.T, size int) *kept {
	t.Helper()
	h := &kept{sick: &sick{Engine: engine.NewMemory()}, log: new(syncBuffer), knobs: knob.NewRegistry()}
	w, err := h.knobs.Int(knob.Spec{Name: "workers.a", Default: 8, Min: 1, Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	h.pin = w.Knob
	h.keeper, err = newKeeper(keeperOptions{
		engine: h.sick, knobs: h.knobs, ledger: tuner.NewLedger(size), judging: func() map[string]float64 { return nil },
		scope: observe.Discard(), log: slog.New(slog.NewTextHandler(h.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.load(idleTuner{})
	h.start()
	h.stop = h.keeper.stop
	synctest.Wait()
	return h
}

func (h *kept) record(n int) {
	for range n {
		h.o.ledger.Record(tuner.Decision{Knob: "workers.a", Rule: "grow"})
	}
}

func (h *kept) journalled(t *testing.T) int {
	t.Helper()
	got, err := h.journal.(sickLog).Log.Read(t.Context(), 0, 1e6)
	if err != nil {
		t.Fatal(err)
	}
	return len(got)
}

func (h *kept) pinned(t *testing.T) string {
	t.Helper()
	e, err := h.pins.kv.Get(t.Context(), "workers.a")
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Value)
}

func TestAFailingEngineIsTriedLessAndLessAndCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startKeeper(t, 1000)
		h.sick.failing.Store(true)
		h.record(1)
		h.sick.asked.Store(0)
		time.Sleep(5 * time.Minute)
		tries := h.sick.asked.Load()
		// 0.1 + 0.2 + ... + 25.6 s are nine waits; then one each 30 s.
		if tries < 12 || tries > 22 {
			t.Errorf("%d tries in five minutes", tries)
		}
		h.record(100) // being woken must not shorten the wait
		synctest.Wait()
		if more := h.sick.asked.Load() - tries; more > 0 {
			t.Errorf("%d tries at once after being woken", more)
		}
		if s := h.status(); s.OK || !strings.Contains(s.Detail, errSick.Error()) {
			t.Errorf("status %+v", s)
		}
		if n := strings.Count(h.log.String(), "can't be saved"); n != 1 {
			t.Errorf("%d warnings: %s", n, h.log)
		}
		h.sick.failing.Store(false)
		time.Sleep(keepBackoffMost)
		synctest.Wait()
		if n := h.journalled(t); n != 101 || !h.status().OK {
			t.Errorf("%d of 101 are saved; %+v", n, h.status())
		}
		if !strings.Contains(h.log.String(), "saved again") {
			t.Errorf("the log does not say so: %s", h.log)
		}
		h.record(1)
		time.Sleep(keepSettle)
		synctest.Wait()
		if n := h.journalled(t); n != 102 {
			t.Errorf("after it came back %d are saved", n)
		}
		if err := h.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestManyChangesBecomeOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startKeeper(t, 1000)
		for i := range 50 {
			if err := h.pin.Pin(knob.Pin{Value: float64(i + 10)}); err != nil {
				t.Fatal(err)
			}
			h.o.ledger.Record(tuner.Decision{})
		}
		h.sick.asked.Store(0)
		time.Sleep(time.Second)
		if n := h.sick.asked.Load(); n != 51 { // a pin, and each decision once
			t.Errorf("%d writes", n)
		}
		if err := h.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatNeverReachedTheEngineIsCountedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startKeeper(t, 10)
		h.sick.failing.Store(true)
		h.record(35)
		time.Sleep(time.Minute)
		if n := h.o.ledger.Lost(); n != 25 {
			t.Errorf("%d lost, want 25", n)
		}
		h.sick.failing.Store(false)
		if err := h.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestStopSavesWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startKeeper(t, 1000)
		h.record(300)
		memory := h.sick.Engine
		if err := h.stop(t.Context()); err != nil {
			t.Error(err)
		}
		if h.saved != h.o.ledger.Rev() {
			t.Errorf("saved up to %d of %d", h.saved, h.o.ledger.Rev())
		}
		if err := h.stop(t.Context()); err != nil {
			t.Error(err)
		}
		if memory.Status().OK {
			t.Error("the engine is still open")
		}
	})
}

func TestStopDoesNotWaitForAHangingEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startKeeper(t, 1000)
		h.sick.hanging.Store(true)
		h.record(1)
		time.Sleep(time.Second)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := h.stop(ctx)
		if took := time.Since(start); took != 3*time.Second || err == nil || !strings.Contains(err.Error(), "data_dir") {
			t.Errorf("it took %v and says %v", took, err)
		}
	})
}

func TestAPinIsAnsweredWhenItIsKeptOrAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startKeeper(t, 1000)
		pin := func(v float64) time.Duration {
			t.Helper()
			start := time.Now()
			if err := h.pin.Pin(knob.Pin{Value: v}); err != nil {
				t.Fatal(err)
			}
			h.keep()
			return time.Since(start)
		}
		if took := pin(20); took != 0 || h.pinned(t) != `{"value":"20"}` {
			t.Errorf("it took %v, saved is %s", took, h.pinned(t))
		}
		h.sick.hanging.Store(true)
		if took := pin(21); took != pinWait {
			t.Errorf("with a hanging engine it took %v", took)
		}
		time.Sleep(time.Minute)
		if took := pin(22); took != 0 {
			t.Errorf("with an engine known to hang it took %v", took)
		}
		h.sick.hanging.Store(false)
		time.Sleep(time.Minute)
		if got := h.pinned(t); got != `{"value":"22"}` {
			t.Errorf("saved is %s", got)
		}
		if err := h.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
