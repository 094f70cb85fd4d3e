package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"penstock/engine"
)

func queue(t *testing.T, e engine.Engine, o engine.QueueOptions) engine.Queue {
	t.Helper()
	o.Name, o.Classes = "work", 2
	q, err := e.Queue(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func putTask(t *testing.T, q engine.Queue, class int, id string) {
	t.Helper()
	if err := q.Put(t.Context(), class, id, []byte(id)); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, q engine.Queue, class, limit int) []engine.Task {
	t.Helper()
	tasks, err := q.Take(t.Context(), class, limit)
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}

func length(t *testing.T, q engine.Queue, want int) {
	t.Helper()
	if n, err := q.Len(t.Context()); err != nil || n != want {
		t.Errorf("the queue holds %d tasks (%v), want %d", n, err, want)
	}
}

func aQueueGivesEachTaskToOneTaker(t *testing.T, e engine.Engine) {
	ctx, q := t.Context(), queue(t, e, engine.QueueOptions{})
	if got := take(t, q, 0, 10); len(got) != 0 {
		t.Errorf("an empty queue gave %d tasks", len(got))
	}
	for i := range 3 {
		putTask(t, q, 0, fmt.Sprint("a", i))
	}
	putTask(t, q, 1, "b")
	first, rest := take(t, q, 0, 1), take(t, q, 0, 10)
	if len(first) != 1 || len(rest) != 2 || string(first[0].Data()) != "a0" || string(rest[1].Data()) != "a2" || first[0].Deliveries() != 1 {
		t.Fatalf("took %d and %d tasks", len(first), len(rest))
	}
	if got := take(t, q, 0, 10); len(got) != 0 {
		t.Errorf("%d tasks were given twice", len(got))
	}
	length(t, q, 4)
	for range 2 { // the second must do no harm
		if err := first[0].Done(ctx); err != nil {
			t.Error(err)
		}
	}
	length(t, q, 3)
	if err := rest[0].Return(ctx); err != nil {
		t.Error(err)
	}
	again := eventually(t, q, 0)
	if string(again.Data()) != "a1" || again.Deliveries() != 2 {
		t.Errorf("got %s for the %d. time", again.Data(), again.Deliveries())
	}
	if got := take(t, q, 1, 10); len(got) != 1 || string(got[0].Data()) != "b" {
		t.Errorf("class 1 gave %d tasks", len(got))
	}
	if err := q.Put(ctx, 2, "c", nil); err == nil {
		t.Error("a class that is not there was taken")
	}
	if _, err := q.Take(ctx, -1, 1); err == nil {
		t.Error("a class that is not there was taken from")
	}
}

// eventually takes one task, which may come a moment later.
func eventually(t *testing.T, q engine.Queue, class int) engine.Task {
	t.Helper()
	for {
		if got := take(t, q, class, 1); len(got) > 0 {
			return got[0]
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the task did not come back")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func aTaskThatIsNotDoneComesBack(t *testing.T, e engine.Engine) {
	q := queue(t, e, engine.QueueOptions{Hold: 300 * time.Millisecond})
	putTask(t, q, 0, "a")
	lost := take(t, q, 0, 1)
	if len(lost) != 1 {
		t.Fatal("the task was not given")
	}
	again := eventually(t, q, 0)
	if again.Deliveries() < 2 || string(again.Data()) != "a" {
		t.Errorf("got %s for the %d. time", again.Data(), again.Deliveries())
	}
	if err := again.Extend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := again.Done(t.Context()); err != nil {
		t.Error(err)
	}
	length(t, q, 0)
}

func aQueueDropsWhatWasPutTwice(t *testing.T, e engine.Engine) {
	q := queue(t, e, engine.QueueOptions{MaxBytes: 200_000})
	putTask(t, q, 0, "a")
	putTask(t, q, 0, "a")
	length(t, q, 1)
	if err := q.Put(t.Context(), 0, "large", make([]byte, engine.MaxValueBytes+1)); !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("too large a task: %v", err)
	}
	var err error
	for i := 0; i < 10 && err == nil; i++ {
		err = q.Put(t.Context(), 0, fmt.Sprint("b", i), make([]byte, 50_000))
	}
	if !errors.Is(err, engine.ErrFull) {
		t.Errorf("a full queue says %v", err)
	}
}

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
