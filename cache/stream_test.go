package cache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// script is a body that gives what is sent to it.
type script struct {
	ctx    context.Context
	parts  chan string
	end    error
	closed chan struct{}
	once   sync.Once
	rest   string // sent, but not read yet
}

func newScript(ctx context.Context, end error) *script {
	return &script{ctx: ctx, parts: make(chan string), end: end, closed: make(chan struct{})}
}

func (s *script) Read(p []byte) (int, error) {
	if s.rest != "" {
		n := copy(p, s.rest)
		s.rest = s.rest[n:]
		return n, nil
	}
	select {
	case part, ok := <-s.parts:
		if !ok {
			return 0, s.end
		}
		n := copy(p, part)
		s.rest = part[n:]
		return n, nil
	case <-s.ctx.Done():
		return 0, context.Cause(s.ctx)
	}
}

func (s *script) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// streaming is an origin whose one answer is a script.
func streaming(end error, header ...string) (*origin, chan *script) {
	scripts := make(chan *script, 16)
	return &origin{do: func(ctx context.Context, _ *request.Request) (*request.Response, error) {
		s := newScript(ctx, end)
		scripts <- s
		r := reply(200, "", header...)
		r.Body, r.ContentLength = s, -1
		return r, nil
	}}, scripts
}

func TestJoinsDuringStreamingGetTheWholeBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, scripts := streaming(io.EOF, "Cache-Control", "max-age=60")
		c := newCache(t, testOptions(), o)
		first, err := c.Do(t.Context(), get(httpRoute(), "k"))
		if err != nil {
			t.Fatal(err)
		}
		s := <-scripts
		s.parts <- "one "
		buf := make([]byte, 16)
		if n, err := first.Body.Read(buf); err != nil || string(buf[:n]) != "one " {
			t.Errorf("first piece: %q %v", buf[:n], err)
		}
		late, err := c.Do(t.Context(), get(httpRoute(), "k"))
		if err != nil {
			t.Fatal(err)
		}
		if !late.Cache.Collapsed {
			t.Errorf("late: %+v", late.Cache)
		}
		s.parts <- "two"
		close(s.parts)
		if got := readBody(t, late); got != "one two" {
			t.Errorf("late got %q", got)
		}
		if got := readBody(t, first); got != "two" {
			t.Errorf("first got %q after its first piece", got)
		}
		synctest.Wait()
		if a := do(t, c, get(httpRoute(), "k")); !a.Cache.Hit || a.body != "one two" {
			t.Errorf("stored: %+v %q", a.Cache, a.body)
		}
		o.wantCalls(t, 1)
	})
}

func TestBrokenBodyFailsAllReadersAndIsNotStored(t *testing.T) {
	broken := errors.New("connection reset")
	synctest.Test(t, func(t *testing.T) {
		o, scripts := streaming(broken, "Cache-Control", "max-age=60")
		c := newCache(t, testOptions(), o)
		var bodies map[string]int
		done := make(chan struct{})
		go func() {
			bodies = crowd(t, c, 10, func(int) *request.Request { return get(httpRoute(), "k") })
			close(done)
		}()
		s := <-scripts
		synctest.Wait() // all have joined
		s.parts <- "half"
		close(s.parts)
		<-done
		if bodies["200 broken: connection reset"] != 10 {
			t.Errorf("answers: %v", bodies)
		}
		synctest.Wait()
		if c.Stats().Entries != 0 {
			t.Error("a broken answer was stored")
		}
	})
}

func TestShortBodyIsBroken(t *testing.T) {
	o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
		r := reply(200, "half", "Cache-Control", "max-age=60")
		r.ContentLength = 8
		return r, nil
	}}
	c := newCache(t, testOptions(), o)
	resp, err := c.Do(t.Context(), get(httpRoute(), "k"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	_ = resp.Body.Close()
	settle(c)
	if c.Stats().Entries != 0 {
		t.Error("stored")
	}
}

func TestSlowReaderOfAnUnstoredBodyHoldsThePumpOnlyWhileItStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		piece := strings.Repeat("x", 64<<10)
		o, scripts := streaming(io.EOF)
		c := newCache(t, testOptions(), o)
		ask := func() *request.Response {
			resp, err := c.Do(t.Context(), get(httpRoute(), "k"))
			if err != nil {
				t.Error(err)
			}
			return resp
		}
		stuck := make(chan *request.Response, 1)
		ready := make(chan struct{})
		o.do = func(do func(context.Context, *request.Request) (*request.Response, error)) func(context.Context, *request.Request) (*request.Response, error) {
			return func(ctx context.Context, r *request.Request) (*request.Response, error) {
				<-ready // both wait before the headers come
				return do(ctx, r)
			}
		}(o.do)
		go func() { stuck <- ask() }()
		fast := make(chan int, 1)
		go func() {
			n, _ := io.Copy(io.Discard, ask().Body)
			fast <- int(n)
		}()
		synctest.Wait()
		close(ready)
		s := <-scripts
		sent := 0
		timeout := time.After(time.Second)
	feed:
		for {
			select {
			case s.parts <- piece:
				sent += len(piece)
			case <-timeout:
				break feed
			}
		}
		if sent < windowBytes || sent > windowBytes+3*len(piece) {
			t.Errorf("the pump took %d bytes with a stuck reader, want about %d", sent, windowBytes)
		}
		_ = (<-stuck).Body.Close()
		for range 100 {
			s.parts <- piece
			sent += len(piece)
		}
		close(s.parts)
		if n := <-fast; n != sent {
			t.Errorf("the other reader got %d of %d bytes", n, sent)
		}
		o.wantCalls(t, 1)
	})
}

func TestAbandonedEventStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, scripts := streaming(io.EOF, "Content-Type", "text/event-stream; charset=utf-8")
		c := newCache(t, testOptions(), o)
		resp, err := c.Do(t.Context(), get(httpRoute(), "k"))
		if err != nil {
			t.Fatal(err)
		}
		s := <-scripts
		s.parts <- "data: 1\n\n"
		_ = resp.Body.Close()
		<-s.closed
	})
}

func TestTrailersReachEveryWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trailer := http.Header{"X-Sum": nil}
		o := &origin{do: func(ctx context.Context, _ *request.Request) (*request.Response, error) {
			time.Sleep(time.Second)
			r := reply(200, "", "Cache-Control", "max-age=60")
			r.Body = &trailed{Reader: strings.NewReader("body"), set: func() { trailer["X-Sum"] = []string{"4"} }}
			r.ContentLength, r.Trailer = -1, trailer
			return r, nil
		}}
		c := newCache(t, testOptions(), o)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				a := do(t, c, get(httpRoute(), "k"))
				if a.Trailer.Get("X-Sum") != "4" || a.body != "body" {
					t.Errorf("trailer %v, body %q", a.Trailer, a.body)
				}
			})
		}
		wg.Wait()
	})
}

// trailed calls set when it ends.
type trailed struct {
	*strings.Reader
	set func()
}

func (b *trailed) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.set()
	}
	return n, err
}

func (b *trailed) Close() error { return nil }
