package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"penstock/engine"
	"penstock/engine/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryBehavesAsAnEngine(t *testing.T) {
	enginetest.Run(t, func(*testing.T) engine.Engine { return engine.NewMemory() })
}

func TestMemoryLogForgetsWhatIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := engine.NewMemory().Log(t.Context(), engine.LogOptions{Name: "ledger", MaxAge: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := l.Append(t.Context(), []byte("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(40 * time.Minute) // the bubble's time
		}
		got, err := l.Read(t.Context(), 0, 10)
		if err != nil || len(got) != 1 || got[0].Seq != 3 {
			t.Errorf("kept %+v, %v", got, err)
		}
	})
}

func TestASlowWatcherGetsTheLastOfEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine.NewMemory()
		kv, err := e.KV(t.Context(), engine.KVOptions{Name: "pins"})
		if err != nil {
			t.Fatal(err)
		}
		changes, err := kv.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if _, err := kv.Put(t.Context(), "a", []byte{byte(i % 7), byte(i % 5)}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if _, err := kv.Put(t.Context(), "end", nil); err != nil {
			t.Fatal(err)
		}
		var got []engine.Entry
		for c := range changes {
			if got = append(got, c); c.Key == "end" {
				break
			}
		}
		// One may have been on its way to the reader; of the rest only the last is there.
		if len(got) > 3 || got[len(got)-2].Revision != 1000 {
			t.Errorf("%d changes: %+v", len(got), got)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestMemoryShelf(t *testing.T) { enginetest.Shelf(t, engine.NewMemory()) }
