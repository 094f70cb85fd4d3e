package tuner

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/observe"
)

func TestAReplayDecidesWhatWasDecided(t *testing.T) {
	for name, search := range map[string]bool{"slow": false, "search": true} {
		synctest.Test(t, func(t *testing.T) {
			var file bytes.Buffer
			tape := NewTape(&file, 0)
			r := newRig(t, 20, 400*time.Millisecond, Options{Mode: ModeActive, Tape: tape})
			r.random = rand.New(rand.NewPCG(3, 4))
			if search {
				r.loop.SetTargets([]Target{{Upstream: "m", Workers: "workers.m", Search: true}})
				r.onCall, r.inOrder = r.loop.OnCall, true
			}
			stop := r.callers(50)
			time.Sleep(4*time.Minute + time.Second) // between two looks
			if err := r.workers.Pin(knob.Pin{Value: 11}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			_, _ = r.workers.Unpin(false, true)
			time.Sleep(time.Minute)
			stop()
			if err := tape.Close(); err != nil {
				t.Fatal(err)
			}
			recorded := r.loop.Decisions(Filter{})
			out, err := Replay(&file)
			if err != nil {
				t.Fatal(err)
			}
			if len(recorded) < 3 || len(out.Decisions) != len(recorded) || out.Dropped > 0 || out.Ticks < 60 || (out.Calls > 0) != search {
				t.Errorf("%s: %d decisions were recorded, %d replayed, %+v", name, len(recorded), len(out.Decisions), out.Differences)
			}
			if len(out.Differences) > 0 {
				t.Errorf("%s: %s", name, strings.Join(out.Differences, "\n"))
			}
		})
	}
}

func TestATapeIsBoundedAndHoldsNoSecrets(t *testing.T) {
	var file bytes.Buffer
	tape := NewTape(&file, 1000)
	c := observe.Call{Upstream: "m", Header: map[string][]string{"Set-Cookie": {"secret"}, "Retry-After": {"3"}}}
	for range 100 {
		tape.put(tapeLine{Time: time.Unix(0, 0), Call: tapeCallOf(&c)})
	}
	if err := tape.Close(); err == nil {
		t.Error("a full tape says nothing")
	}
	if n := file.Len(); n > 1000 || n == 0 || strings.Contains(file.String(), "secret") || !strings.Contains(file.String(), "Retry-After") {
		t.Errorf("%d bytes: %s", n, file.String())
	}
	tape.put(tapeLine{})
	if tape.Close() == nil {
		t.Error("the second Close forgot the error")
	}
}

func FuzzReplay(f *testing.F) {
	plugs, _ := json.Marshal(tapeLine{Plugs: &tapePlugs{Interval: time.Second, Plugs: []tapePlug{{
		Knob: "batch.target.m", Kind: "batch", Mode: ModeActive, Spec: knob.Spec{Name: "batch.target.m", Kind: knob.KindInt, Max: 50}, Value: 3}}}})
	f.Add(string(plugs) + "\n" + `{"t":"2026-01-02T03:04:05Z","tick":{"looks":{"batch.target.m":{"value":3,"mode":"active","n":40,"seen":{"calls":40,"ok":40,"items":400}}}}}`)
	f.Add(`{"call":{"upstream":"m"}}`)
	f.Add(`{"tick":{"looks":{"x":null}}}`)
	f.Fuzz(func(t *testing.T, tape string) {
		_, _ = Replay(strings.NewReader(tape)) // must not panic
	})
}
