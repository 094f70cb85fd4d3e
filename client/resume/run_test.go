package resume

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func orders(t *testing.T, test func(t *testing.T, order string)) {
	for _, order := range []string{"input", "ready"} {
		t.Run(order, func(t *testing.T) { test(t, order) })
	}
}

func TestEachLineIsAnsweredOnceThoughConnectionsBreak(t *testing.T) {
	orders(t, func(t *testing.T, order string) {
		w := newWorld(t)
		w.cut = 200
		j := newJob(w, 3000)
		j.order = order
		if err := j.run(OutputOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		j.check()
		if w.streams < 5 {
			t.Errorf("only %d streams: nothing broke", w.streams)
		}
	})
}

func TestWhatACrashLeavesIsGoneOnWith(t *testing.T) {
	orders(t, func(t *testing.T, order string) {
		w := newWorld(t)
		j := newJob(w, 600)
		j.order = order
		for range 4 {
			if err := j.run(OutputOptions{}, nil); err != nil {
				t.Fatal(err)
			}
			j.check()
			// A crash leaves the file cut anywhere, also behind its first bytes.
			info, err := os.Stat(j.out)
			if err == nil {
				err = os.Truncate(j.out, rand.Int64N(info.Size()))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAnEndedRunAsksNothing(t *testing.T) {
	w := newWorld(t)
	j := newJob(w, 100)
	for range 2 {
		if err := j.run(OutputOptions{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	j.check()
	if w.streams != 1 {
		t.Errorf("%d streams", w.streams)
	}
	if err := j.run(OutputOptions{Anew: true}, nil); err != nil {
		t.Fatal(err)
	}
	if j.check(); w.streams != 2 {
		t.Errorf("%d streams after a restart", w.streams)
	}
}

func TestOnlyChosenFailuresAreAskedAgainAndOrderStays(t *testing.T) {
	orders(t, func(t *testing.T, order string) {
		w := newWorld(t)
		w.fail = func(line int64) int {
			switch {
			case line%7 == 0:
				return 503
			case line%5 == 0:
				return 404
			}
			return 0
		}
		j := newJob(w, 1000)
		j.order = order
		if err := j.run(OutputOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		w.fail, w.cut = nil, 50
		if err := j.run(OutputOptions{Again: func(s int) bool { return s == 503 }}, nil); err != nil {
			t.Fatal(err)
		}
		j.check()
		b, err := os.ReadFile(j.out)
		if err != nil || strings.Contains(string(b), `"status":503`) || !strings.Contains(string(b), `"status":404`) {
			t.Errorf("the wrong lines were asked again: %v", err)
		}
		if _, err := os.Stat(j.out + ".new"); err == nil {
			t.Error("something is left over")
		}
		for line, n := range w.asked {
			if again := line%7 == 0; !again && n > 1 {
				t.Errorf("line %d was asked %d times", line, n)
			}
		}
	})
}

func TestAnInputThatCantBeReadTwiceOutlivesBrokenConnections(t *testing.T) {
	w := newWorld(t)
	w.cut = 100
	j := newJob(w, 1000)
	text, err := os.ReadFile(j.in)
	if err != nil {
		t.Fatal(err)
	}
	in, feed := io.Pipe()
	go func() {
		_, _ = feed.Write(text)
		_ = feed.Close()
	}()
	if err := j.run(OutputOptions{}, func(o *Options) { o.In = in }); err != nil {
		t.Fatal(err)
	}
	j.check()
}

func TestAFaultOfTheInputIsTold(t *testing.T) {
	w := newWorld(t)
	j := newJob(w, 10)
	broken := errors.New("a bad sector")
	in, feed := io.Pipe()
	go func() {
		_, _ = io.WriteString(feed, "{\"id\":1}\n")
		_ = feed.CloseWithError(broken)
	}()
	if err := j.run(OutputOptions{}, func(o *Options) { o.In = in }); !errors.Is(err, broken) {
		t.Errorf("it ended with %v", err)
	}
}

func TestAnInputThatIsShorterThanTheOutputIsToldOf(t *testing.T) {
	w := newWorld(t)
	j := newJob(w, 100)
	if err := j.run(OutputOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	write(t, j.in, "{\"id\":1}\n")
	if err := j.run(OutputOptions{}, nil); err == nil || !strings.Contains(err.Error(), "don't belong together") {
		t.Errorf("it ended with %v", err)
	}
}

func TestTheEndOfTheContextLeavesAFileToGoOnWith(t *testing.T) {
	w := newWorld(t)
	j := newJob(w, 5000)
	text, err := os.ReadFile(j.in)
	if err != nil {
		t.Fatal(err)
	}
	in, feed := io.Pipe()
	stopped := errors.New("a signal")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, _ = feed.Write(text[:len(text)/2])
		cancel(stopped) // while the input is open
	}()
	j.ctx = ctx
	if err := j.run(OutputOptions{}, func(o *Options) { o.In = in }); !errors.Is(err, stopped) {
		t.Errorf("it ended with %v", err)
	}
	_ = feed.Close()
	j.ctx = t.Context()
	if err := j.run(OutputOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	j.check()
}

func TestRefusalsEndTheRunAndOutagesAreWaitedFor(t *testing.T) {
	refusals := 0
	refusing := func(status, most int) func(http.ResponseWriter) bool {
		refusals = 0
		return func(w http.ResponseWriter) bool {
			if refusals++; refusals > most {
				return false
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"type":"urn:penstock:problem:x","detail":"not so"}`)
			return true
		}
	}
	w := newWorld(t)
	j := newJob(w, 50)
	w.refuse = refusing(404, 1)
	if err := j.run(OutputOptions{}, nil); err == nil || !strings.Contains(err.Error(), "not so") || refusals != 1 {
		t.Errorf("404: %v after %d", err, refusals)
	}
	w.refuse = refusing(503, 1000)
	if err := j.run(OutputOptions{}, func(o *Options) { o.GiveUp = 20 * time.Millisecond }); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("an outage: %v", err)
	}
	w.refuse = refusing(503, 3)
	if err := j.run(OutputOptions{}, nil); err != nil || refusals != 4 {
		t.Errorf("a short outage: %v after %d", err, refusals)
	}
	j.check()
}

func TestACancelledStreamIsNotBegunAgain(t *testing.T) {
	w := newWorld(t)
	w.cut, w.state = 1, "cancelled"
	if err := newJob(w, 500).run(OutputOptions{}, nil); !errors.Is(err, ErrCancelled) || w.streams != 1 {
		t.Errorf("%v after %d streams", err, w.streams)
	}
}
