// Package enginetest holds every implementation of package engine to the same behaviour. It is for
// tests.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"penstock/engine"
)

// Run checks an implementation; open gives an empty Engine, which Run closes.
func Run(t *testing.T, open func(t *testing.T) engine.Engine) {
	check := func(name string, f func(t *testing.T, e engine.Engine)) {
		t.Run(name, func(t *testing.T) {
			e := open(t)
			defer func() {
				for range 2 { // the second must do no harm
					if err := e.Close(context.Background()); err != nil {
						t.Errorf("close: %v", err)
					}
				}
			}()
			f(t, e)
		})
	}
	check("KVKeepsTheLastValue", kvKeepsTheLastValue)
	check("CreateAndUpdateRefuseWhatChanged", createAndUpdateRefuseWhatChanged)
	check("AnyBytesMakeAKey", anyBytesMakeAKey)
	check("WatchGivesWhatIsThereAndThenChanges", watchGivesWhatIsThereAndThenChanges)
	check("LogReadsOnFromAnyPlace", logReadsOnFromAnyPlace)
	check("FollowGivesWhatIsThereAndThenEachRecord", followGivesWhatIsThereAndThenEachRecord)
	check("LogDropsTheOldest", logDropsTheOldest)
	check("BlobsOfAnySizeAreKept", blobsOfAnySizeAreKept)
	check("BadNamesAndSizesAreRefused", badNamesAndSizesAreRefused)
	check("AClosedEngineSaysSo", aClosedEngineSaysSo)
}

func bucket(t *testing.T, e engine.Engine) engine.KV {
	t.Helper()
	kv, err := e.KV(t.Context(), engine.KVOptions{Name: "pins"})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func put(t *testing.T, kv engine.KV, key, value string) uint64 {
	t.Helper()
	rev, err := kv.Put(t.Context(), key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func kvKeepsTheLastValue(t *testing.T, e engine.Engine) {
	ctx, kv := t.Context(), bucket(t, e)
	if _, err := kv.Get(ctx, "a"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	first := put(t, kv, "a", "1")
	put(t, kv, "b", "")
	last := put(t, kv, "a", "2")
	got, err := kv.Get(ctx, "a")
	if err != nil || string(got.Value) != "2" || got.Revision != last || last <= first || got.Key != "a" || got.Time.IsZero() {
		t.Errorf("got %+v, %v; first revision %d, last %d", got, err, first, last)
	}
	again, err := e.KV(ctx, engine.KVOptions{Name: "pins"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := again.List(ctx)
	if err != nil || len(list) != 2 || list[0].Key != "a" || list[1].Key != "b" || len(list[1].Value) != 0 {
		t.Errorf("list %+v, %v", list, err)
	}
	for range 2 { // also what is not there
		if err := kv.Delete(ctx, "a"); err != nil {
			t.Error(err)
		}
	}
	if _, err := kv.Get(ctx, "a"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("get of what was deleted: %v", err)
	}
	if list, err := kv.List(ctx); err != nil || len(list) != 1 {
		t.Errorf("list %+v, %v", list, err)
	}
}

func createAndUpdateRefuseWhatChanged(t *testing.T, e engine.Engine) {
	ctx, kv := t.Context(), bucket(t, e)
	rev, err := kv.Create(ctx, "a", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(ctx, "a", []byte("2")); !errors.Is(err, engine.ErrExists) {
		t.Errorf("create of what is there: %v", err)
	}
	next, err := kv.Update(ctx, "a", []byte("2"), rev)
	if err != nil || next <= rev {
		t.Errorf("update: %d after %d, %v", next, rev, err)
	}
	if _, err := kv.Update(ctx, "a", []byte("3"), rev); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("update of an old revision: %v", err)
	}
	if err := kv.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if rev, err = kv.Create(ctx, "a", []byte("4")); err != nil || rev <= next {
		t.Errorf("create of what was deleted: %d after %d, %v", rev, next, err)
	}
}

func anyBytesMakeAKey(t *testing.T, e engine.Engine) {
	ctx, kv := t.Context(), bucket(t, e)
	keys := []string{"workers.movies", ".", "..", "a.", ".a", "a..b", "*", ">", "a b", "=41", "\x00\xff", "ü", strings.Repeat("x", engine.MaxKeyBytes)}
	for _, key := range keys {
		put(t, kv, key, key)
	}
	list, err := kv.List(ctx)
	if err != nil || len(list) != len(keys) {
		t.Fatalf("%d of %d keys, %v", len(list), len(keys), err)
	}
	slices.Sort(keys)
	for i, got := range list {
		if got.Key != keys[i] || string(got.Value) != got.Key {
			t.Errorf("got %q: %q, want %q", got.Key, got.Value, keys[i])
		}
	}
}

func watchGivesWhatIsThereAndThenChanges(t *testing.T, e engine.Engine) {
	kv := bucket(t, e)
	put(t, kv, "a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes, err := kv.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-changes; got.Key != "a" || string(got.Value) != "1" || got.Deleted {
		t.Errorf("first %+v", got)
	}
	if got := <-changes; !got.Current || got.Key != "" {
		t.Errorf("then %+v", got)
	}
	put(t, kv, "b", "2")
	if got := <-changes; got.Key != "b" || string(got.Value) != "2" {
		t.Errorf("then %+v", got)
	}
	if err := kv.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := <-changes; got.Key != "a" || !got.Deleted {
		t.Errorf("then %+v", got)
	}
	cancel()
	for range changes { // it is closed
	}
	open, err := kv.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range open { // so it is by the engine's end
	}
}

func logReadsOnFromAnyPlace(t *testing.T, e engine.Engine) {
	ctx := t.Context()
	l, err := e.Log(ctx, engine.LogOptions{Name: "pins"})
	if err != nil {
		t.Fatal(err)
	}
	if first, last, err := l.Bounds(ctx); err != nil || last >= first {
		t.Errorf("bounds of nothing: %d to %d, %v", first, last, err)
	}
	if got, err := l.Read(ctx, 0, 10); err != nil || len(got) != 0 {
		t.Errorf("read of nothing: %+v, %v", got, err)
	}
	for i := range 10 {
		if seq, err := l.Append(ctx, fmt.Append(nil, i)); err != nil || seq != uint64(i+1) {
			t.Fatalf("append %d: %d, %v", i, seq, err)
		}
	}
	got, err := l.Read(ctx, 3, 4)
	if err != nil || len(got) != 4 || got[0].Seq != 4 || string(got[3].Data) != "6" || got[0].Time.IsZero() {
		t.Errorf("read %+v, %v", got, err)
	}
	if got, err := l.Read(ctx, 8, 100); err != nil || len(got) != 2 {
		t.Errorf("read of the end: %+v, %v", got, err)
	}
	if got, err := l.Read(ctx, 10, 100); err != nil || len(got) != 0 {
		t.Errorf("read beyond the end: %+v, %v", got, err)
	}
}

func followGivesWhatIsThereAndThenEachRecord(t *testing.T, e engine.Engine) {
	l, err := e.Log(t.Context(), engine.LogOptions{Name: "news"})
	if err != nil {
		t.Fatal(err)
	}
	add := func(text string) {
		t.Helper()
		if _, err := l.Append(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	add("1")
	add("2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	news, err := l.Follow(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-news; got.Seq != 2 || string(got.Data) != "2" || got.Time.IsZero() {
		t.Errorf("first %+v", got)
	}
	for i := 3; i <= 200; i++ {
		add(fmt.Sprint(i))
	}
	for i := 3; i <= 200; i++ {
		if got := <-news; got.Seq != uint64(i) || string(got.Data) != fmt.Sprint(i) {
			t.Fatalf("then %+v, want %d", got, i)
		}
	}
	cancel()
	for range news { // it is closed
	}
	open, err := l.Follow(t.Context(), 200)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range open { // so it is by the engine's end
	}
}

func logDropsTheOldest(t *testing.T, e engine.Engine) {
	ctx := t.Context()
	l, err := e.Log(ctx, engine.LogOptions{Name: "short", MaxRecords: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if _, err := l.Append(ctx, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if first, last, err := l.Bounds(ctx); err != nil || first != 6 || last != 8 {
		t.Errorf("bounds %d to %d, %v", first, last, err)
	}
	if got, err := l.Read(ctx, 0, 2); err != nil || len(got) != 2 || got[0].Seq != 6 || got[1].Seq != 7 {
		t.Errorf("read %+v, %v", got, err)
	}
	tight, err := e.Log(ctx, engine.LogOptions{Name: "tight", MaxBytes: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := tight.Append(ctx, make([]byte, 30_000)); err != nil {
			t.Fatal(err)
		}
	}
	if first, last, err := tight.Bounds(ctx); err != nil || last != 10 || last-first > 3 {
		t.Errorf("bounds %d to %d, %v", first, last, err)
	}
}

func badNamesAndSizesAreRefused(t *testing.T, e engine.Engine) {
	ctx, kv := t.Context(), bucket(t, e)
	for _, name := range []string{"", "A", "a.b", "a b", "../a", strings.Repeat("a", 33)} {
		if _, err := e.KV(ctx, engine.KVOptions{Name: name}); err == nil {
			t.Errorf("bucket %q was made", name)
		}
		if _, err := e.Log(ctx, engine.LogOptions{Name: name}); err == nil {
			t.Errorf("log %q was made", name)
		}
	}
	for _, key := range []string{"", strings.Repeat("x", engine.MaxKeyBytes+1)} {
		if _, err := kv.Put(ctx, key, nil); err == nil {
			t.Errorf("a key of %d bytes was taken", len(key))
		}
	}
	if _, err := kv.Put(ctx, "a", make([]byte, engine.MaxValueBytes+1)); !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("too large a value: %v", err)
	}
	if _, err := kv.Put(ctx, "a", make([]byte, engine.MaxValueBytes)); err != nil {
		t.Errorf("the largest value: %v", err)
	}
	small, err := e.KV(ctx, engine.KVOptions{Name: "small", MaxBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := small.Put(ctx, "a", make([]byte, 2000)); !errors.Is(err, engine.ErrFull) {
		t.Errorf("a full bucket says %v", err)
	}
}

func aClosedEngineSaysSo(t *testing.T, e engine.Engine) {
	ctx, kv := t.Context(), bucket(t, e)
	l, err := e.Log(ctx, engine.LogOptions{Name: "ledger"})
	if err != nil {
		t.Fatal(err)
	}
	if s := e.Status(); !s.OK || s.Kind == "" {
		t.Errorf("open: %+v", s)
	}
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if s := e.Status(); s.OK || s.Detail == "" {
		t.Errorf("closed: %+v", s)
	}
	_, appendErr := l.Append(ctx, nil)
	_, putErr := kv.Put(ctx, "a", nil)
	_, listErr := kv.List(ctx)
	_, openErr := e.KV(ctx, engine.KVOptions{Name: "other"})
	for _, err := range []error{appendErr, putErr, listErr, openErr} {
		if !errors.Is(err, engine.ErrUnavailable) {
			t.Errorf("a closed engine says %v", err)
		}
	}
}
