package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// TestABrokenBodyIsMendedByACopyThatMayStandIn: for a client for whom a copy could stand in, a short body is
// awaited before it is given on.
func TestABrokenBodyIsMendedByACopyThatMayStandIn(t *testing.T) {
	for _, tc := range []struct {
		name    string
		control string
		size    int
		end     error
		mended  bool
	}{
		{"stale-if-error", "max-age=1, stale-if-error=60", 100, errors.New("reset"), true},
		{"it hangs", "max-age=1, stale-if-error=60", 100, nil, true},
		{"no window", "max-age=1", 100, errors.New("reset"), false},
		{"must-revalidate", "max-age=1, stale-if-error=60, must-revalidate", 100, errors.New("reset"), false},
		{"too long to be awaited", "max-age=1, stale-if-error=60", heldBody + 1, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origin{}
				o.do = func(ctx context.Context, _ *request.Request) (*request.Response, error) {
					resp := reply(200, "good", "Cache-Control", tc.control)
					if o.calls.Load() > 1 {
						block := func() error { <-ctx.Done(); return context.Cause(ctx) }
						if tc.end != nil {
							block = nil
						}
						resp.Body, resp.ContentLength = &torn{strings.NewReader(strings.Repeat("b", tc.size)), tc.end, block}, -1
					}
					return resp, nil
				}
				c := newCache(t, testOptions(), o)
				do(t, c, get(httpRoute(), "k"))
				time.Sleep(2 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				resp, err := c.Do(ctx, get(httpRoute(), "k"))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if mended := err == nil && string(body) == "good" && resp.Cache.Detail == "stale-if-error" && resp.Cache.HasAge; mended != tc.mended {
					t.Errorf("mended %v, want %v: %.10q, %v, %+v", mended, tc.mended, body, err, resp.Cache)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestALongBodyIsHeldOnce: what the client reads and what is stored are the same memory, if the upstream says
// how long the body is.
func TestALongBodyIsHeldOnce(t *testing.T) {
	const size = 8 << 20
	piece := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
		resp := reply(200, "", "Cache-Control", "max-age=60")
		pieces := make([]io.Reader, size/len(piece))
		for i := range pieces {
			pieces[i] = bytes.NewReader(piece)
		}
		resp.Body, resp.ContentLength = io.NopCloser(io.MultiReader(pieces...)), size
		return resp, nil
	}}
	options := testOptions()
	options.MaxObjectBytes = size
	c := newCache(t, options, o)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, err := c.Do(t.Context(), get(httpRoute(), "k"))
	if err != nil {
		t.Fatal(err)
	}
	window, n := make([]byte, 64<<10), 0
	for err == nil {
		var k int
		k, err = resp.Body.Read(window)
		for i := range k {
			if window[i] != piece[(n+i)%len(piece)] {
				t.Fatalf("byte %d is wrong", n+i)
			}
		}
		n += k
	}
	runtime.ReadMemStats(&after)
	if err != io.EOF || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = resp.Body.Close()
	if took := after.TotalAlloc - before.TotalAlloc; took > size+size/4 {
		t.Errorf("a body of %d bytes took %d", size, took)
	}
	again := do(t, c, get(httpRoute(), "k"))
	if !again.Cache.Hit || again.body != strings.Repeat(string(piece), size/len(piece)) {
		t.Errorf("stored: %+v, %d bytes", again.Cache, len(again.body))
	}
}

// TestABodyOverTheLimitIsGivenOnAndNotKept streams a body of unknown length: the client reads each piece before the next
// is sent, long before it is known that it is too long, and after that nothing of it is kept.
func TestABodyOverTheLimitIsGivenOnAndNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, scripts := streaming(io.EOF, "Cache-Control", "max-age=60")
		options := testOptions()
		options.MaxObjectBytes = 100 << 10
		c := newCache(t, options, o)
		resp, err := c.Do(t.Context(), get(httpRoute(), "k"))
		if err != nil {
			t.Fatal(err)
		}
		s := <-scripts
		piece := strings.Repeat("p", 10<<10)
		got := make([]byte, len(piece))
		for i := range 30 {
			s.parts <- piece
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != piece {
				t.Fatalf("piece %d: %v", i, err)
			}
		}
		close(s.parts)
		if rest := readBody(t, resp); rest != "" {
			t.Errorf("%d bytes more", len(rest))
		}
		if st := c.Stats(); st.Stored != 0 || st.Entries != 0 {
			t.Errorf("stored: %+v", st)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
