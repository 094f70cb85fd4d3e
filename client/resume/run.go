package resume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"penstock/client"
)

// Options set up a run. What is zero gets its default.
type Options struct {
	// Client is who is asked, by Query; its Offset and Plain are set by the run.
	Client *client.Client
	Query  client.StreamQuery
	// In is the input, read once; Out takes the answers and is not closed.
	In  io.Reader
	Out *Output
	// Progress is kept; nil: nobody looks.
	Progress *Progress
	// Backoff is the pause before the first attempt to connect again, doubled each time up to MaxBackoff:
	// defaults 500 ms and 30 s. Retry-After counts where it is longer. An answer sets it back.
	Backoff, MaxBackoff time.Duration
	// GiveUp is after how long without any answer the run ends: default 10 min; negative: at the first fault.
	GiveUp time.Duration
}

func (o *Options) defaults() {
	o.Backoff = cmp.Or(o.Backoff, 500*time.Millisecond)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 30*time.Second)
	o.GiveUp = cmp.Or(o.GiveUp, 10*time.Minute)
	if o.Progress == nil {
		o.Progress = NewProgress(0)
	}
	o.Query.Plain = true
}

// ErrCancelled says that somebody cancelled the stream at the service.
var ErrCancelled = errors.New("the stream was cancelled at the service")

// Run has every line of the input answered that has no answer yet. It returns at the end, when ctx ends,
// and for faults that don't go away: the input, the output, a refusal such as an unknown route, an outage
// longer than Options.GiveUp. What was answered until then is in the output.
func Run(ctx context.Context, o Options) error {
	o.defaults()
	o.Progress.begin(o.Out.ok, o.Out.failed)
	w := newWindow(&o.Out.known, o.Progress)
	earlier := o.Out.known.highest()
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	defer w.close()
	go w.fill(o.In) // ends with the input or at its next line after close
	err := o.attempts(ctx, w)
	err = cmp.Or(o.Out.Flush(), err) // a full disk explains all else
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.read < earlier {
		err = fmt.Errorf("the input has %d lines, but the output had an answer for line %d already: they don't belong together", w.read, earlier)
	}
	return err
}

// attempts streams until all is answered.
func (o *Options) attempts(ctx context.Context, w *window) error {
	pause, alive := o.Backoff, time.Now()
	for {
		offset, more, err := w.begin()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !more {
			return err
		}
		n, err := o.stream(ctx, w, offset)
		if n > 0 {
			pause, alive = o.Backoff, time.Now()
		}
		if err == nil {
			continue
		}
		after, again := o.worth(ctx, w, err)
		if !again {
			return err
		}
		if time.Since(alive) >= o.GiveUp {
			return fmt.Errorf("given up after %s without an answer: %w", time.Since(alive).Round(time.Second), err)
		}
		o.Progress.say(err.Error())
		after = max(after, pause)
		after += time.Duration(rand.Float64() * 0.2 * float64(after))
		if err := sleep(ctx, min(after, time.Until(alive.Add(o.GiveUp)))); err != nil {
			return err
		}
		pause = min(2*pause, o.MaxBackoff)
	}
}

// worth reports whether a fault may go away, and after how long at the soonest.
func (o *Options) worth(ctx context.Context, w *window, err error) (after time.Duration, again bool) {
	w.mu.Lock()
	fault := w.fault
	w.mu.Unlock()
	if ctx.Err() != nil || fault != nil {
		return 0, false
	}
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return p.RetryAfter, p.Status >= 500 || p.Status == http.StatusTooManyRequests || p.Status == http.StatusRequestTimeout
	}
	_, unreached := errors.AsType[*client.ConnError](err)
	return 0, unreached || errors.Is(err, client.ErrStreamIncomplete)
}

// stream runs one stream to its end or fault. n is how many answers came.
func (o *Options) stream(ctx context.Context, w *window, offset int64) (n int64, err error) {
	in := &sending{w: w}
	defer in.Close()
	q := o.Query
	q.Offset, q.Size = offset, w.rest()
	s, err := o.Client.Stream(ctx, q, in)
	if err != nil {
		return 0, o.cause(ctx, w, err)
	}
	defer s.Close()
	o.Progress.say("")
	for {
		l, raw, err := s.Next()
		if errors.Is(err, io.EOF) {
			if n == 0 {
				return 0, errors.New("the service ended a stream without an answer to any of its lines")
			}
			return n, nil
		}
		if err != nil {
			return n, o.cause(ctx, w, o.cancelled(ctx, s.ID, err))
		}
		if !w.answer(l.Line) {
			return n, fmt.Errorf("the service answered line %d, which was not asked or has its answer", l.Line)
		}
		if err := o.Out.append(l.Line, raw); err != nil {
			return n, err
		}
		o.Progress.answered(l.Status < 400)
		n++
	}
}

// cause prefers the end of ctx and a fault of the input to what they led to.
func (o *Options) cause(ctx context.Context, w *window, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case w.fault != nil:
		return fmt.Errorf("the input can't be read: %w", w.fault)
	}
	return err
}

// askTimeout bounds the question what became of a stream.
const askTimeout = 5 * time.Second

// cancelled tells a stream that somebody cancelled from one whose connection broke.
func (o *Options) cancelled(ctx context.Context, id string, err error) error {
	if !errors.Is(err, client.ErrStreamIncomplete) || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if state, askErr := o.Client.StreamState(ctx, id); askErr == nil && state == "cancelled" {
		return ErrCancelled
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
