package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// TestEveryReaderGetsTheWholeBodyAtItsOwnPace writes pieces of random sizes while readers attach,
// read pieces of random sizes, and leave.
func TestEveryReaderGetsTheWholeBodyAtItsOwnPace(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 0))
		body := make([]byte, rng.IntN(400<<10))
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		b := newBuffer(int64(rng.IntN(2) * len(body)))
		var end error = io.EOF
		if seed%3 == 0 {
			end = errors.New("broken")
		}
		var wg sync.WaitGroup
		reader := func(seed uint64) {
			r := b.attach(t.Context(), nil)
			if r == nil {
				t.Error("no reader before the window")
				return
			}
			wg.Go(func() {
				defer r.Close()
				rng := rand.New(rand.NewPCG(seed, 1))
				leaveAt := rng.IntN(2*len(body) + 1)
				var got []byte
				for {
					p := make([]byte, 1+rng.IntN(50<<10))
					n, err := r.Read(p)
					got = append(got, p[:n]...)
					if !bytes.HasPrefix(body, got) {
						t.Errorf("seed %d: wrong bytes", seed)
						return
					}
					if err != nil {
						if err != end || len(got) != len(body) {
							t.Errorf("seed %d: %d of %d bytes, %v", seed, len(got), len(body), err)
						}
						return
					}
					if len(got) > leaveAt {
						return
					}
				}
			})
		}
		window := rng.IntN(2) == 0
		for i := range uint64(3) {
			reader(seed*10 + i)
		}
		for rest := body; len(rest) > 0; {
			if err := b.awaitRoom(t.Context()); err != nil {
				t.Fatal(err)
			}
			space := b.space()
			n := copy(space[:1+rng.IntN(len(space))], rest)
			b.commit(n)
			rest = rest[n:]
			if window && len(rest) < len(body)/2 {
				b.window()
			} else if rng.IntN(10) == 0 && !b.windowed {
				reader(seed*10 + 5)
			}
		}
		b.finish(end, nil)
		wg.Wait()
		if all := b.bytes(0); b.windowed != (all == nil) && len(body) > 0 || !b.windowed && !bytes.Equal(all, body) {
			t.Errorf("seed %d: %d bytes kept, windowed %v", seed, len(all), b.windowed)
		}
		if len(b.readers) != 0 {
			t.Errorf("seed %d: %d readers left behind", seed, len(b.readers))
		}
	}
}

func TestReaderEndsWithItsContext(t *testing.T) {
	b := newBuffer(-1)
	ctx, cancel := context.WithCancelCause(t.Context())
	left := make(chan struct{})
	r := b.attach(ctx, func() { close(left) })
	cancel(errAbandoned)
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errAbandoned) {
		t.Errorf("error %v", err)
	}
	<-left
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errReaderClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestWindowFreesWhatWasRead(t *testing.T) {
	b := newBuffer(-1)
	r := b.attach(t.Context(), nil)
	b.window()
	p := make([]byte, 64<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 64 << 20 / len(p) {
		n := len(b.space())
		b.commit(n)
		if _, err := io.ReadFull(r, p[:n]); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("%d bytes are held after a body of 64 MiB was read", grown)
	}
	_ = r.Close()
}
