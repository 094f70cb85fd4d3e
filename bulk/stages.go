package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ohler55/ojg/jp"
	"github.com/ohler55/ojg/oj"

	"penstock/request"
)

// Decode makes each line's request of its params by build.
func Decode(build func(ctx context.Context, number int64, params map[string]any) (*request.Request, error)) Stage {
	return Stage{Name: "decode", Workers: 2, Do: func(ctx context.Context, c *Chunk) error {
		for _, l := range c.Lines {
			if l.done() {
				continue
			}
			params, err := l.params()
			if err == nil {
				l.Request, err = build(ctx, l.Number, params)
			}
			l.Err, l.Raw = err, nil
		}
		return nil
	}}
}

// Dedupe has lines of a chunk that ask the same share one request. Lines of different chunks share by
// the cache, and by its coalescing.
func Dedupe() Stage {
	return Stage{Name: "dedupe", Do: func(_ context.Context, c *Chunk) error {
		seen := make(map[string]*Line, len(c.Lines))
		for _, l := range c.Lines {
			if l.done() || l.Request.Key == "" || !l.Request.Safe() {
				continue
			}
			if first := seen[l.Request.Key]; first != nil {
				l.Same = first
			} else {
				seen[l.Request.Key] = l
			}
		}
		return nil
	}}
}

// Lookup answers what is stored, at once, so that it takes no slot of the schedule stage. find returns
// nil for what is not.
func Lookup(find func(ctx context.Context, r *request.Request) *request.Response, maxBytes int64) Stage {
	return Stage{Name: "cache", Workers: 2, Do: func(ctx context.Context, c *Chunk) error {
		for _, l := range c.Lines {
			if l.done() || l.Same != nil {
				continue
			}
			if resp := find(ctx, l.Request); resp != nil {
				l.take(resp, maxBytes)
			}
		}
		return nil
	}}
}

// take makes an answer the line's.
func (l *Line) take(resp *request.Response, maxBytes int64) {
	body, err := request.ReadAll(resp, maxBytes)
	if err != nil {
		l.Err = err
		return
	}
	l.Status, l.Header, l.Body, l.Hit, l.Err = resp.Status, resp.Header, body, resp.Cache.Hit, nil
}

// ScheduleOptions set up the schedule stage. What is zero gets its default.
type ScheduleOptions struct {
	// InFlight is how many lines are asked at once, whatever their chunks: default 128.
	InFlight int
	// Chunks is how many chunks are worked on at once; take the pipeline's tickets: default 64.
	Chunks int
	// Retries is how often a line is sent again that failed and may go better: default 3; negative: never.
	Retries int
	// Backoff is the pause before the first of them, doubled each time up to MaxBackoff: defaults 200 ms and
	// 10 s. Retry-After counts where it is longer.
	Backoff, MaxBackoff time.Duration
	// Patience is how long a line that can't reach the upstream (the breaker is open, the queue is full) is
	// held back: default 10 min.
	Patience time.Duration
	// MaxBytes bounds an answer: default 8 MiB.
	MaxBytes int64
}

func (o *ScheduleOptions) defaults() {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	if o.InFlight == 0 {
		o.InFlight = 128
	}
	if o.Chunks == 0 {
		o.Chunks = 64
	}
	if o.Retries == 0 {
		o.Retries = 3
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 8 << 20
	}
	set(&o.Backoff, 200*time.Millisecond)
	set(&o.MaxBackoff, 10*time.Second)
	set(&o.Patience, 10*time.Minute)
}

// Schedule asks for what has no answer yet. When all lines of a chunk were tried, those that failed and
// may go better are sent again after a pause, and no others.
func Schedule(doer request.Doer, o ScheduleOptions) Stage {
	o.defaults()
	s := &schedule{doer: doer, o: o, slots: make(chan struct{}, o.InFlight)}
	return Stage{Name: "schedule", Workers: o.Chunks, Do: s.do}
}

type schedule struct {
	doer  request.Doer
	o     ScheduleOptions
	slots chan struct{}
}

func (s *schedule) do(ctx context.Context, c *Chunk) error {
	var open []*Line
	for _, l := range c.Lines {
		if !l.done() && l.Same == nil {
			open = append(open, l)
		}
	}
	until := time.Now().Add(s.o.Patience)
	for round := 0; len(open) > 0; round++ {
		pauses := make([]time.Duration, len(open))
		var all sync.WaitGroup
		for i, l := range open {
			select {
			case s.slots <- struct{}{}:
			case <-ctx.Done():
				all.Wait()
				return context.Cause(ctx)
			}
			all.Go(func() {
				defer func() { <-s.slots }()
				pauses[i] = s.ask(ctx, l, until)
			})
		}
		all.Wait()
		var again []*Line
		var pause time.Duration
		for i, l := range open {
			if pauses[i] > 0 {
				again, pause = append(again, l), max(pause, pauses[i])
			}
		}
		if open = again; len(open) > 0 {
			if err := wait(ctx, pause); err != nil {
				return context.Cause(ctx)
			}
		}
	}
	for _, l := range c.Lines {
		if l.Same != nil {
			l.share()
		}
	}
	return nil
}

// ask tries a line once. A pause over 0 means that it is to be tried again after it.
func (s *schedule) ask(ctx context.Context, l *Line, until time.Time) (pause time.Duration) {
	r := l.Request
	if l.Attempts++; l.Attempts > 1 {
		r = r.Clone()
	}
	resp, err := s.doer.Do(ctx, r)
	if err != nil {
		l.Status, l.Err = 0, err
	} else {
		l.take(resp, s.o.MaxBytes)
	}
	fate, after := request.FateOf(l.Status, l.Header, l.Err)
	switch {
	case fate == request.FateWait && time.Now().Before(until):
		l.Attempts--
		after = max(after, s.o.Backoff)
	case fate == request.FateRetry && l.Attempts <= s.o.Retries:
		after = max(after, min(s.o.Backoff<<min(l.Attempts-1, 20), s.o.MaxBackoff))
	default:
		return 0
	}
	return after + time.Duration(rand.Float64()*0.2*float64(after))
}

// Select replaces each good JSON answer by what a JSON path (RFC 9535) finds in it: the value if it finds
// one, an array of them otherwise.
func Select(path string) (Stage, error) {
	x, err := jp.ParseString(path)
	if err != nil {
		return Stage{}, request.Errorf(request.ProblemBadRequest, "%q is no JSON path such as $.title: %w", path, err)
	}
	return Stage{Name: "transform", Workers: 2, Do: func(_ context.Context, c *Chunk) error {
		for _, l := range c.Lines {
			if l.Err != nil || l.Status >= 400 {
				continue
			}
			l.Body, l.Err = selected(x, l.Body)
		}
		return nil
	}}, nil
}

func selected(x jp.Expr, body []byte) ([]byte, error) {
	v, err := oj.Parse(body)
	if err != nil {
		return nil, request.Errorf(request.ProblemUpstreamInvalid, "the answer is no JSON, so nothing can be selected from it: %w", err)
	}
	found := x.Get(v)
	if len(found) == 1 {
		return json.Marshal(found[0])
	}
	if found == nil {
		found = []any{}
	}
	return json.Marshal(found)
}

// Encode makes each line's output by write, which returns it without the line break.
func Encode(write func(l *Line) []byte) Stage {
	return Stage{Name: "encode", Workers: 2, Do: func(_ context.Context, c *Chunk) error {
		for _, l := range c.Lines {
			l.Raw = write(l)
			l.Request, l.Body = nil, nil
		}
		return nil
	}}
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.New("the stream ended")
	}
}
