package cache

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"penstock/request"
)

// saved is the content of a small file with two keys and several variants.
func saved(t testing.TB) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sub", "cache")
	opts := testOptions()
	opts.PersistPath, opts.CompressMinBytes = path, 64
	o := &origin{do: func(_ context.Context, r *request.Request) (*request.Response, error) {
		return reply(200, r.Header.Get("A")+"body body body body body body body body body body body body body body", "Cache-Control", "max-age=60", "Vary", "A"), nil
	}}
	c, err := New(opts, o)
	if err != nil {
		t.Fatal(err)
	}
	c.awaitLoad()
	for _, h := range []string{"1", "2"} {
		do(t, c, get(httpRoute(), "k", "A", h))
		settle(c)
	}
	do(t, c, get(ttlRoute(time.Minute), "movie?id=1"))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	content, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, content
}

// awaitLoad waits until the file was read.
func (c *Cache) awaitLoad() {
	for {
		c.disk.mu.Lock()
		loading := c.disk.loading
		c.disk.mu.Unlock()
		if !loading {
			return
		}
		waitTick()
	}
}

func TestSavedCacheIsServedAfterARestart(t *testing.T) {
	path, _ := saved(t)
	opts := testOptions()
	opts.PersistPath = path
	o := always(500, "")
	c := newCache(t, opts, o)
	c.awaitLoad()
	for _, h := range []string{"1", "2"} {
		if a := do(t, c, get(httpRoute(), "k", "A", h)); !a.Cache.Hit || a.body[:1] != h || a.Cache.TTL > time.Minute {
			t.Errorf("variant %s: %+v %q", h, a.Cache, a.body)
		}
	}
	if a := do(t, c, get(ttlRoute(time.Minute), "movie?id=1")); !a.Cache.Hit {
		t.Error("the TTL route's answer is lost")
	}
	o.wantCalls(t, 0)
	if s := c.Stats(); s.Entries != 2 || s.Variants != 3 || s.Bytes <= 0 {
		t.Errorf("%+v", s)
	}
}

func TestTornFileIsSkippedWhereverItEnds(t *testing.T) {
	_, content := saved(t)
	path := filepath.Join(t.TempDir(), "cache")
	for n := range len(content) {
		write(t, path, content[:n])
		if list, err := readFile(t.Context(), path, 1<<20); err == nil || list != nil {
			t.Fatalf("a file cut at %d of %d bytes gave %d records", n, len(content), len(list))
		}
	}
	for i := range content {
		damaged := bytes.Clone(content)
		damaged[i] ^= 0x40
		write(t, path, damaged)
		if list, err := readFile(t.Context(), path, 1<<20); err == nil || list != nil {
			t.Fatalf("a file damaged at byte %d gave %d records", i, len(list))
		}
	}
}

func TestOtherVersionIsSkipped(t *testing.T) {
	_, content := saved(t)
	content[len(fileMagic)-1]++
	path := filepath.Join(t.TempDir(), "cache")
	write(t, path, content)
	if _, err := readFile(t.Context(), path, 1<<20); !errors.Is(err, errVersion) {
		t.Errorf("error %v", err)
	}
	opts := testOptions()
	opts.PersistPath = path
	c := newCache(t, opts, always(200, "x", "Cache-Control", "max-age=60"))
	c.awaitLoad()
	if a := do(t, c, get(httpRoute(), "k")); a.Cache.Hit {
		t.Error("loaded all the same")
	}
}

func TestPurgeWhileLoadingHolds(t *testing.T) {
	_, content := saved(t)
	path := filepath.Join(t.TempDir(), "cache")
	write(t, path, content)
	list, err := readFile(t.Context(), path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	c := newCache(t, testOptions(), always(500, ""))
	d := newDisk(c, path)
	p := PurgeRequest{Prefix: "movie"}
	d.forget(p.matches)
	if n := d.insert(list); n != 1 {
		t.Errorf("%d records loaded, want the one that was not purged", n)
	}
}

func TestRecordsSurviveTheCodec(t *testing.T) {
	_, content := saved(t)
	path := filepath.Join(t.TempDir(), "cache")
	write(t, path, content)
	list, err := readFile(t.Context(), path, 1<<20)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d records, %v", len(list), err)
	}
	for _, k := range list {
		again, err := readRecord(appendRecord(nil, k))
		if err != nil || !reflect.DeepEqual(again, k) {
			t.Errorf("%+v became %+v, %v", k, again, err)
		}
	}
}

func FuzzReadRecord(f *testing.F) {
	e := newEntry(200, reply(200, "", "A", "b").Header, []byte("body"), verdict{lifetime: time.Minute}, time.Unix(1e9, 0))
	f.Add(appendRecord(nil, keyed{"k", &record{route: "r", upstream: "u", variants: []*entry{e}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := readRecord(b)
		if err != nil {
			return
		}
		again, err := readRecord(appendRecord(nil, k))
		if err != nil || !reflect.DeepEqual(again, k) {
			t.Errorf("%+v became %+v, %v", k, again, err)
		}
	})
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
