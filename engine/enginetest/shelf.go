package enginetest

import (
	"errors"
	"testing"
	"time"

	"penstock/engine"
)

// Shelf holds an engine's shelves to what engine.Shelf says.
func Shelf(t *testing.T, e engine.Shelver) {
	s, err := e.Shelf(t.Context(), engine.ShelfOptions{Name: "answers", MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	want := func(key, value string) {
		t.Helper()
		got, err := s.Get(t.Context(), key)
		if value == "" && !errors.Is(err, engine.ErrNotFound) || value != "" && (err != nil || string(got) != value) {
			t.Errorf("%s: %q, %v; wanted %q", key, got, err, value)
		}
	}
	put := func(key string, data []byte) {
		t.Helper()
		if err := s.Put(t.Context(), key, data, time.Hour); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	want("a", "")
	put("a", []byte("1"))
	put("b", []byte("x"))
	put("a", []byte("2"))
	want("a", "2")
	for range 2 {
		if err := s.Delete(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		want("a", "")
	}
	want("b", "x")
	for i := range 6 { // more than there is room for: the oldest go
		put(string(rune('k'+i)), make([]byte, 300<<10))
	}
	want("b", "")
	if got, err := s.Get(t.Context(), "p"); err != nil || len(got) != 300<<10 {
		t.Errorf("the newest: %d bytes, %v", len(got), err)
	}
	if err := s.Put(t.Context(), "z", make([]byte, engine.MaxValueBytes+1), time.Hour); !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}
