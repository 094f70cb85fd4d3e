package bulk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counting is a source of n lines.
type counting struct {
	n, at int64
	// pause is before each line.
	pause time.Duration
	fault error
}

func (s *counting) Next() (*Line, error) {
	time.Sleep(s.pause)
	if s.at == s.n {
		if s.fault != nil {
			return nil, s.fault
		}
		return nil, io.EOF
	}
	s.at++
	return &Line{Number: s.at, Raw: fmt.Append(nil, s.at)}, nil
}

// collecting is a sink that keeps numbers.
type collecting struct {
	got   []int64
	pause time.Duration
	fault error
}

func (s *collecting) Write(c *Chunk) error {
	time.Sleep(s.pause)
	if s.fault != nil {
		return s.fault
	}
	for _, l := range c.Lines {
		s.got = append(s.got, l.Number)
	}
	return nil
}

// jittery takes up to 100 ms for a chunk.
func jittery() Stage {
	return Stage{Name: "jittery", Workers: 8, Do: func(ctx context.Context, _ *Chunk) error {
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		return ctx.Err()
	}}
}

func TestEachLineComesOutOnceAndInOrderIfThatIsWanted(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			out := new(collecting)
			err := New(Options{ChunkSize: 7, Ordered: ordered}, jittery(), jittery()).Run(t.Context(), &counting{n: 1000}, out)
			if err != nil {
				t.Fatal(err)
			}
			if sorted := slices.IsSorted(out.got); sorted != ordered {
				t.Errorf("sorted %v with ordered %v", sorted, ordered)
			}
			slices.Sort(out.got)
			if out.got = slices.Compact(out.got); len(out.got) != 1000 {
				t.Errorf("%d different lines came out", len(out.got))
			}
		})
	}
}

func TestASlowSinkHoldsTheSourceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := &counting{n: 10_000}, &collecting{pause: time.Second}
		var inside, most atomic.Int64
		count := Stage{Name: "count", Do: func(_ context.Context, c *Chunk) error {
			most.Store(max(most.Load(), inside.Add(int64(len(c.Lines)))))
			return nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := New(Options{ChunkSize: 10, Tickets: 4}, count).Run(ctx, in, out)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
		// 4 chunks inside, one being gathered, and what lies ready for it.
		if ahead := in.at - int64(len(out.got)); ahead > 10*4+2*10+1 {
			t.Errorf("%d lines were read ahead", ahead)
		}
	})
}

func TestASlowSourcesLinesDontWaitForAFullChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		out := new(collecting)
		in := &counting{n: 3, pause: time.Minute}
		seen := make(chan time.Duration, 3)
		stamp := Stage{Name: "stamp", Do: func(context.Context, *Chunk) error { seen <- time.Since(start); return nil }}
		if err := New(Options{ChunkSize: 100}, stamp).Run(t.Context(), in, out); err != nil {
			t.Fatal(err)
		}
		if first := <-seen; first > time.Minute+time.Second {
			t.Errorf("the first line waited until %v", first)
		}
	})
}

func TestAFaultEndsTheStreamAndNothingHangs(t *testing.T) {
	broken := errors.New("broken")
	bad := Stage{Name: "bad", Workers: 2, Do: func(_ context.Context, c *Chunk) error {
		if c.seq == 5 {
			return broken
		}
		return nil
	}}
	for name, run := range map[string]func(ctx context.Context) error{
		"source": func(ctx context.Context) error {
			return New(Options{}, jittery()).Run(ctx, &counting{n: 100, fault: broken}, new(collecting))
		},
		"stage": func(ctx context.Context) error {
			return New(Options{ChunkSize: 2}, jittery(), bad, jittery()).Run(ctx, &counting{n: 1000}, new(collecting))
		},
		"sink": func(ctx context.Context) error {
			return New(Options{ChunkSize: 2}, jittery()).Run(ctx, &counting{n: 1000}, &collecting{fault: broken})
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			if err := run(t.Context()); !errors.Is(err, broken) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}
