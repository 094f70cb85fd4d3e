package enginetest

import (
	"bytes"
	"errors"
	"testing"

	"penstock/engine"
)

func blobsOfAnySizeAreKept(t *testing.T, e engine.Engine) {
	ctx := t.Context()
	b, err := e.Blobs(ctx, engine.BlobOptions{Name: "results", MaxBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(ctx, "a"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	large := bytes.Repeat([]byte("0123456789"), 150_000)
	for key, want := range map[string][]byte{"empty": {}, "a b/>*": []byte("small"), "large": large} {
		for range 2 { // the second replaces the first
			if err := b.Put(ctx, key, want); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := b.Get(ctx, key); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %d bytes of %d, %v", key, len(got), len(want), err)
		}
	}
	if err := b.Put(ctx, "huge", make([]byte, 9<<20)); !errors.Is(err, engine.ErrFull) {
		t.Errorf("a full store says %v", err)
	}
	for range 2 {
		if err := b.Delete(ctx, "large"); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Get(ctx, "large"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("get of what was deleted: %v", err)
	}
}
