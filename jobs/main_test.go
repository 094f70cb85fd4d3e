package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"penstock/engine"
	"penstock/request"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a Service over an engine, and an upstream that answers as it is told.
type world struct {
	*Service
	t      *testing.T
	engine engine.Engine
	o      Options

	mu     sync.Mutex
	calls  []string // what was run, in order
	answer func(ctx context.Context, j *Job) (*Answer, error)
}

// inBubble runs f in virtual time with a service that takes 100 ms for a job unless told otherwise.
func inBubble(t *testing.T, o Options, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, engine: engine.NewMemory(), o: o, answer: slowly(100 * time.Millisecond)}
		w.o.Engine = w.engine
		w.start()
		f(t, w)
		w.stop(time.Hour)
		if err := w.engine.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func slowly(d time.Duration) func(context.Context, *Job) (*Answer, error) {
	return func(ctx context.Context, j *Job) (*Answer, error) {
		if err := wait(ctx, d); err != nil {
			return nil, err
		}
		return &Answer{Status: 200, Body: []byte("answer to " + string(j.Call))}, nil
	}
}

func (w *world) start() {
	w.t.Helper()
	o := w.o
	o.Run = func(ctx context.Context, j *Job) (*Answer, error) {
		w.mu.Lock()
		var name string
		_ = json.Unmarshal(j.Call, &name)
		w.calls = append(w.calls, name)
		f := w.answer
		w.mu.Unlock()
		return f(ctx, j)
	}
	s, err := New(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Service = s
	s.Start()
	synctest.Wait()
}

func (w *world) stop(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.Stop(ctx)
}

func (w *world) answers(f func(ctx context.Context, j *Job) (*Answer, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func (w *world) ran() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.calls...)
}

func (w *world) submit(spec Spec) *Job {
	w.t.Helper()
	j, replayed, err := w.Submit(w.t.Context(), spec)
	if err != nil || replayed {
		w.t.Fatalf("submit: replayed %v, %v", replayed, err)
	}
	return j
}

func (w *world) listed(f Filter) []Brief {
	w.t.Helper()
	found, err := w.List(w.t.Context(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

func (w *world) job(id string) *Job {
	w.t.Helper()
	j, err := w.Job(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// after lets d pass, and checks a job's state then.
func (w *world) after(d time.Duration, id string, want State) *Job {
	w.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	j := w.job(id)
	if j.State != want {
		w.t.Errorf("after %v the job is %s (attempt %d, %+v), want %s", d, j.State, j.Attempts, j.Fault, want)
	}
	return j
}

func spec(name string) Spec {
	return Spec{Route: "movie", Call: fmt.Appendf(nil, "%q", name), Urgency: 3}
}

func status(code int) func(context.Context, *Job) (*Answer, error) {
	return func(context.Context, *Job) (*Answer, error) {
		return &Answer{Status: code, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("no")}, nil
	}
}

func refuses(p request.Problem) func(context.Context, *Job) (*Answer, error) {
	return func(context.Context, *Job) (*Answer, error) { return nil, request.Errorf(p, "because") }
}

// away is an engine whose bucket can be made to fail.
type away struct {
	engine.Engine
	mu   sync.Mutex
	gone bool
	// lie has writes take place and still fail.
	lie bool
}

type awayKV struct {
	engine.KV
	a *away
}

func (a *away) set(gone, lie bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone, a.lie = gone, lie
}

func (a *away) state() (error, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return fmt.Errorf("%w: a test", engine.ErrUnavailable), a.lie
	}
	return nil, false
}

func (a *away) KV(ctx context.Context, o engine.KVOptions) (engine.KV, error) {
	kv, err := a.Engine.KV(ctx, o)
	return &awayKV{kv, a}, err
}

func (k *awayKV) Get(ctx context.Context, key string) (engine.Entry, error) {
	if err, _ := k.a.state(); err != nil {
		return engine.Entry{}, err
	}
	return k.KV.Get(ctx, key)
}

func (k *awayKV) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	if err, _ := k.a.state(); err != nil {
		return 0, err
	}
	return k.KV.Create(ctx, key, value)
}

func (k *awayKV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	err, lie := k.a.state()
	if err != nil && !lie {
		return 0, err
	}
	revision, written := k.KV.Update(ctx, key, value, revision)
	return revision, errors.Join(written, err)
}

func newMemory() engine.Engine { return engine.NewMemory() }
