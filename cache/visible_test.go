package cache

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"penstock/request"
)

// Who has read an answer to its end and asks again must find it stored, however quick he is.
func TestAnswerIsStoredBeforeItsEndCanBeRead(t *testing.T) {
	for _, tc := range []struct {
		name   string
		size   int
		length bool
	}{
		{"empty", 0, true},
		{"empty of unknown length", 0, false},
		{"small", 10, true},
		{"small of unknown length", 10, false},
		{"several chunks", 3*maxChunk + 1, true},
		{"several chunks of unknown length", 3*maxChunk + 1, false},
		{"larger than the first chunk may be", maxFirstChunk + maxChunk, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := bytes.Repeat([]byte("0123456789"), tc.size/10+1)[:tc.size]
			o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
				r := reply(200, string(body), "Cache-Control", "max-age=60")
				if !tc.length {
					r.ContentLength = -1
				}
				return r, nil
			}}
			options := testOptions()
			options.CompressMinBytes = 1
			c := newCache(t, options, o)
			for i := range 20 {
				key := itoa(i)
				resp, err := c.Do(context.Background(), get(httpRoute(), key))
				if err != nil {
					t.Fatal(err)
				}
				if tc.length { // the client knows where the body ends, and won't wait for more
					_, err = io.ReadFull(resp.Body, make([]byte, tc.size))
				} else {
					_, err = io.Copy(io.Discard, resp.Body)
				}
				if err != nil {
					t.Fatal(err)
				}
				again := do(t, c, get(httpRoute(), key))
				if !again.Cache.Hit || again.body != string(body) {
					t.Fatalf("the next request got %+v with %d bytes, want a hit", again.Cache, len(again.body))
				}
				_ = resp.Body.Close()
			}
		})
	}
}

func TestBodyLongerThanAnnouncedIsNotStored(t *testing.T) {
	o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
		r := reply(200, "0123456789", "Cache-Control", "max-age=60")
		r.ContentLength = 5
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader([]byte("01234")), r.Body), http.NoBody}
		return r, nil
	}}
	c := newCache(t, testOptions(), o)
	resp, err := c.Do(context.Background(), get(httpRoute(), "k"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != io.ErrUnexpectedEOF {
		t.Errorf("the body ended with %v", err)
	}
	_ = resp.Body.Close()
	if s := c.Stats(); s.Stored != 0 {
		t.Errorf("stored %d", s.Stored)
	}
}

func TestStoredBodyIsCompressedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := always(200, string(bytes.Repeat([]byte("0123456789"), 1000)), "Cache-Control", "max-age=60")
		options := testOptions()
		options.CompressMinBytes = 1000
		c := newCache(t, options, o)
		first := do(t, c, get(httpRoute(), "k"))
		synctest.Wait()
		if s := c.Stats(); s.Entries != 1 || s.RawBytes != 10000 || s.StoredBytes > 1000 || s.Bytes < s.StoredBytes {
			t.Errorf("%+v", s)
		}
		if again := do(t, c, get(httpRoute(), "k")); !again.Cache.Hit || again.body != first.body {
			t.Errorf("got %d bytes, %+v", len(again.body), again.Cache)
		}
	})
}
