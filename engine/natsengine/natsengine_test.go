package natsengine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"penstock/engine"
	"penstock/engine/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logText is a log that can be read.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// open opens a store until the test ends.
func open(t *testing.T, dir string) (*Engine, *logText) {
	t.Helper()
	text := new(logText)
	e, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.NewTextHandler(text, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, e) })
	return e, text
}

func closed(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func kv(t *testing.T, e *Engine) engine.KV {
	t.Helper()
	b, err := e.KV(t.Context(), engine.KVOptions{Name: "pins"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ledger(t *testing.T, e *Engine) engine.Log {
	t.Helper()
	l, err := e.Log(t.Context(), engine.LogOptions{Name: "decisions"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fill puts 20 pins and 20 decisions into a store.
func fill(t *testing.T, e *Engine) {
	t.Helper()
	b, l := kv(t, e), ledger(t, e)
	for i := range 20 {
		if _, err := b.Put(t.Context(), fmt.Sprint("k", i), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
}

// full checks that a store holds what fill put there.
func full(t *testing.T, e *Engine) {
	t.Helper()
	pins, err := kv(t, e).List(t.Context())
	if err != nil || len(pins) != 20 {
		t.Errorf("%d pins, %v", len(pins), err)
	}
	got, err := ledger(t, e).Read(t.Context(), 0, 100)
	if err != nil || len(got) != 20 || string(got[19].Data) != "19" {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func TestItBehavesAsAnEngine(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		e, err := Open(t.Context(), Options{Dir: filepath.Join(t.TempDir(), "engine")})
		if err != nil {
			t.Fatal(err)
		}
		return e
	})
}

func TestACleanRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	e, _ := open(t, dir)
	fill(t, e)
	closed(t, e)
	again, log := open(t, dir)
	full(t, again)
	if log.String() != "" {
		t.Errorf("it warns: %s", log)
	}
}

func TestWhatWasAcknowledgedOutlivesAKill(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	e, _ := open(t, dir)
	fill(t, e)
	// The files as they are while the server runs are what a kill leaves.
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, copied)
	full(t, again)
	if seq, err := ledger(t, again).Append(t.Context(), nil); err != nil || seq != 21 {
		t.Errorf("append after the kill: %d, %v", seq, err)
	}
}

func TestAStoreIsOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	e, _ := open(t, dir)
	_, err := Open(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), "data_dir") {
		t.Errorf("the second Open says %v", err)
	}
	closed(t, e)
	open(t, dir)
}

func TestAStoreThatCantBeWrittenIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(dir string) {
		t.Helper()
		e, err := Open(t.Context(), Options{Dir: dir})
		if err == nil {
			closed(t, e)
			t.Fatalf("%s was opened", dir)
		}
		if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--ephemeral") {
			t.Errorf("it says %v", err)
		}
	}
	check(filepath.Join(file, "engine"))
	// The server's own folder being a file shows only as its never being ready.
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, modeSolo), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, modeSolo, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(dir)
	if os.Getuid() != 0 { // root may write anywhere
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		check(dir)
	}
}

func TestAStoreOfAnotherModeIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{`{"mode":"cluster"}`, `{`} {
		if err := os.WriteFile(filepath.Join(dir, "store.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestADamagedStreamIsMovedAwayAndTheOthersLiveOn(t *testing.T) {
	for _, damage := range []string{"meta.inf", "meta.sum", ""} {
		t.Run("damage of "+damage, func(t *testing.T) {
			dir := t.TempDir()
			e, _ := open(t, dir)
			fill(t, e)
			closed(t, e)
			path := filepath.Join(e.store.streamDir("KV_pins"), damage)
			if damage == "" {
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
			again, log := open(t, dir)
			if !strings.Contains(log.String(), "KV_pins") {
				t.Errorf("it does not warn: %s", log)
			}
			if list, err := kv(t, again).List(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("pins %+v, %v", list, err)
			}
			if got, err := ledger(t, again).Read(t.Context(), 0, 100); err != nil || len(got) != 20 {
				t.Errorf("%d records, %v", len(got), err)
			}
			if _, err := kv(t, again).Put(t.Context(), "new", nil); err != nil {
				t.Error(err)
			}
			moved, _ := os.ReadDir(filepath.Join(dir, "damaged"))
			if damage != "" && len(moved) != 1 {
				t.Errorf("%d parts were moved away", len(moved))
			}
			closed(t, again)
			if last, _ := open(t, dir); last == nil {
				t.Error("it can't be opened again")
			}
		})
	}
}

func TestADamagedRecordDoesNotStopTheStart(t *testing.T) {
	dir := t.TempDir()
	e, _ := open(t, dir)
	fill(t, e)
	closed(t, e)
	blocks, err := filepath.Glob(filepath.Join(e.store.streamDir("LOG_decisions"), "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("%v, %v", blocks, err)
	}
	b, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(blocks[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, dir)
	got, err := ledger(t, again).Read(t.Context(), 0, 100)
	if err != nil || len(got) == 0 || len(got) > 19 {
		t.Errorf("%d records, %v", len(got), err)
	}
	t.Logf("%d of 20 records were left", len(got))
	if _, err := ledger(t, again).Append(t.Context(), []byte("new")); err != nil {
		t.Error(err)
	}
	if list, err := kv(t, again).List(t.Context()); err != nil || len(list) != 20 {
		t.Errorf("%d pins, %v", len(list), err)
	}
}

func FuzzKeysSurviveTheirEncoding(f *testing.F) {
	for _, key := range []string{"workers.movies", "..", "=", "a=4", "\x00", "ü.", "*>"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		text := encodeKey(key)
		if strings.ContainsAny(text, " *>\t\r\n") || strings.HasPrefix(text, ".") || strings.HasSuffix(text, ".") || strings.Contains(text, "..") {
			t.Errorf("%q became %q", key, text)
		}
		if got, err := decodeKey(text); err != nil || got != key {
			t.Errorf("%q became %q, and that %q, %v", key, text, got, err)
		}
		_, _ = decodeKey(key)
	})
}
