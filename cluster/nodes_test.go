package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"penstock/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const lease = 5 * time.Second

// line is a node's way to the engine. Cut, calls fail and changes wait until it is mended; asleep, the calls
// of the node wait too.
type line struct {
	engine.Engine
	mu     sync.Mutex // guards mended
	mended chan struct{}
	hang   bool
}

func (l *line) cut(hang bool) {
	l.mu.Lock()
	l.mended, l.hang = make(chan struct{}), hang
	l.mu.Unlock()
}

func (l *line) mend() {
	l.mu.Lock()
	close(l.mended)
	l.mended = nil
	l.mu.Unlock()
}

func (l *line) pass(ctx context.Context) error {
	l.mu.Lock()
	mended, hang := l.mended, l.hang
	l.mu.Unlock()
	switch {
	case mended == nil:
		return nil
	case !hang:
		return engine.ErrUnavailable
	}
	select {
	case <-mended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *line) KV(ctx context.Context, o engine.KVOptions) (engine.KV, error) {
	kv, err := l.Engine.KV(ctx, o)
	return lineKV{kv, l}, err
}

type lineKV struct {
	engine.KV
	l *line
}

func (k lineKV) Put(ctx context.Context, key string, v []byte) (uint64, error) {
	if err := k.l.pass(ctx); err != nil {
		return 0, err
	}
	return k.KV.Put(ctx, key, v)
}

func (k lineKV) Create(ctx context.Context, key string, v []byte) (uint64, error) {
	if err := k.l.pass(ctx); err != nil {
		return 0, err
	}
	return k.KV.Create(ctx, key, v)
}

func (k lineKV) Update(ctx context.Context, key string, v []byte, rev uint64) (uint64, error) {
	if err := k.l.pass(ctx); err != nil {
		return 0, err
	}
	return k.KV.Update(ctx, key, v, rev)
}

func (k lineKV) Delete(ctx context.Context, key string) error {
	if err := k.l.pass(ctx); err != nil {
		return err
	}
	return k.KV.Delete(ctx, key)
}

func (k lineKV) Watch(ctx context.Context) (<-chan engine.Entry, error) {
	in, err := k.KV.Watch(ctx)
	if err != nil {
		return nil, err
	}
	out := make(chan engine.Entry)
	go func() {
		defer close(out)
		for e := range in {
			for k.l.pass(ctx) != nil && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			select {
			case out <- e:
			case <-ctx.Done():
			}
		}
	}()
	return out, nil
}

// village is some nodes on one engine in a bubble.
type village struct {
	t     *testing.T
	e     engine.Engine
	lines []*line
	nodes []*Nodes
}

func settle(t *testing.T, n int, f func(v *village)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := &village{t: t, e: engine.NewMemory()}
		for range n {
			v.add()
		}
		time.Sleep(2 * lease)
		f(v)
		for _, n := range v.nodes {
			n.Stop(context.Background())
		}
		if err := v.e.Close(context.Background()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

func (v *village) add() *Nodes {
	v.t.Helper()
	l := &line{Engine: v.e}
	i := len(v.nodes)
	n, err := New(v.t.Context(), Options{Engine: l, Node: string(rune('a' + i)), Lease: lease, Describe: func() any { return i }})
	if err != nil {
		v.t.Fatal(err)
	}
	n.Start()
	v.lines, v.nodes = append(v.lines, l), append(v.nodes, n)
	return n
}

// leaders are the nodes that believe that they lead.
func (v *village) leaders() string {
	text := ""
	for _, n := range v.nodes {
		if n.Leads() {
			text += n.Node()
		}
	}
	return text
}

// states tells of the nodes as one sees them.
func (v *village) states(i int) string {
	text := ""
	for _, m := range v.nodes[i].View().Nodes {
		text += m.Node + ":" + m.State + " "
	}
	return text
}

func TestEveryNodeKnowsAllAndOneLeads(t *testing.T) {
	settle(t, 3, func(v *village) {
		if got := v.leaders(); len(got) != 1 {
			t.Fatalf("leaders %q", got)
		}
		for i, n := range v.nodes {
			if got := v.states(i); got != "a:up b:up c:up " {
				t.Errorf("node %d sees %s", i, got)
			}
			if view := n.View(); view.Leader != v.leaders() || !view.InTouch || string(view.Nodes[2].Info) != "2" {
				t.Errorf("node %d: %+v", i, view)
			}
			for _, other := range v.nodes {
				if n.Gone(other.Run()) {
					t.Errorf("node %d thinks %s gone", i, other.Node())
				}
			}
		}
	})
}

func TestANodeThatLeavesIsKnownToBeGoneAtOnce(t *testing.T) {
	settle(t, 3, func(v *village) {
		first := v.leaders()
		i := int(first[0] - 'a')
		v.nodes[i].Stop(context.Background())
		time.Sleep(lease / beatsPerLease)
		if got := v.leaders(); len(got) != 1 || got == first {
			t.Errorf("then leaders %q", got)
		}
		if !v.nodes[(i+1)%3].Gone(v.nodes[i].Run()) {
			t.Error("it is not gone")
		}
	})
}

func TestALeaderThatIsCutOffStepsDownBeforeAnotherLeads(t *testing.T) {
	for _, hang := range []bool{false, true} {
		settle(t, 3, func(v *village) {
			first := v.leaders()
			i := int(first[0] - 'a')
			v.lines[i].cut(hang)
			began, next := time.Now(), ""
			for time.Since(began) < 3*lease {
				time.Sleep(10 * time.Millisecond)
				got := v.leaders()
				if len(got) > 1 {
					t.Fatalf("hang %v: %q lead at once", hang, got)
				}
				if got != "" && got != first && next == "" {
					next = got
					t.Logf("hang %v: %s leads %v after %s was cut off", hang, got, time.Since(began), first)
				}
			}
			if next == "" {
				t.Fatal("nobody leads")
			}
			if v.nodes[i].InTouch() || v.nodes[i].Gone(v.nodes[(i+1)%3].Run()) {
				t.Error("who is cut off thinks that the others are gone")
			}
			if !v.nodes[(i+1)%3].Gone(v.nodes[i].Run()) {
				t.Error("the others do not think it gone")
			}
			v.lines[i].mend()
			for range 300 {
				time.Sleep(10 * time.Millisecond)
				if got := v.leaders(); got != next {
					t.Fatalf("after it came back leaders %q, want %q", got, next)
				}
			}
			if got := v.states(i); got != "a:up b:up c:up " || v.nodes[i].View().Leader != next {
				t.Errorf("it sees %s led by %s", got, v.nodes[i].View().Leader)
			}
		})
	}
}

func TestNobodyIsGoneBecauseTheEngineWasAway(t *testing.T) {
	settle(t, 3, func(v *village) {
		first := v.leaders()
		for _, l := range v.lines {
			l.cut(false)
		}
		time.Sleep(10 * lease)
		if got := v.leaders(); got != "" {
			t.Errorf("without the engine %q lead", got)
		}
		for _, l := range v.lines {
			l.mend()
		}
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			for _, n := range v.nodes {
				for _, other := range v.nodes {
					if n.Gone(other.Run()) {
						t.Fatal("somebody is thought to be gone")
					}
				}
			}
		}
		if got := v.leaders(); got != first {
			t.Errorf("then %q lead, before it was %q", got, first)
		}
	})
}

func TestAProcessThatDiedIsGoneThoughItsNodeIsBack(t *testing.T) {
	settle(t, 2, func(v *village) {
		old := v.nodes[0]
		v.lines[0].cut(false) // it can't say goodbye
		old.Stop(context.Background())
		again, err := New(context.Background(), Options{Engine: v.e, Node: "a", Lease: lease})
		if err != nil {
			t.Fatal(err)
		}
		again.Start()
		defer again.Stop(context.Background())
		time.Sleep(3 * lease)
		if !v.nodes[1].Gone(old.Run()) || !again.Gone(old.Run()) || again.Gone(v.nodes[1].Run()) {
			t.Error("the dead process is not gone, or another is")
		}
		if n := len(again.View().Nodes); n != 2 {
			t.Errorf("%d nodes", n)
		}
		v.nodes[0] = again
		if got := v.leaders(); len(got) != 1 {
			t.Errorf("leaders %q", got)
		}
	})
}

func TestEachThingFallsToOneNodeAndFewMove(t *testing.T) {
	settle(t, 3, func(v *village) {
		const things = 3000
		who := func(nodes []*Nodes) map[string]string {
			m := make(map[string]string)
			for i := range things {
				name := fmt.Sprint("job-", i)
				for _, n := range nodes {
					if n.Mine(name) {
						m[name] += n.Node()
					}
				}
			}
			return m
		}
		before, share := who(v.nodes), make(map[string]int)
		for name, node := range before {
			if len(node) != 1 {
				t.Fatalf("%s falls to %q", name, node)
			}
			share[node]++
		}
		for node, n := range share {
			if n < things/4 || n > things*5/12 {
				t.Errorf("%d of %d fall to %s", n, things, node)
			}
		}
		v.nodes[2].Stop(context.Background())
		time.Sleep(2 * lease)
		after := who(v.nodes[:2])
		for name, node := range before {
			if node != "c" && after[name] != node {
				t.Fatalf("%s moved from %s to %s", name, node, after[name])
			}
		}
	})
}

func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine.NewMemory()
		told := 0
		var mu sync.Mutex
		n, err := New(t.Context(), Options{Engine: e, Node: "a", Lease: lease, OnChange: func() { mu.Lock(); told++; mu.Unlock() }})
		if err != nil {
			t.Fatal(err)
		}
		n.Start()
		n.Start() // does nothing
		time.Sleep(lease)
		mu.Lock()
		if told == 0 || !n.Leads() {
			t.Errorf("told %d times, leads %v", told, n.Leads())
		}
		told = 0
		mu.Unlock()
		time.Sleep(10 * lease)
		mu.Lock()
		if told != 0 {
			t.Errorf("told %d times though nothing changed", told)
		}
		mu.Unlock()
		b, err := json.Marshal(n.View())
		if err != nil || len(b) == 0 {
			t.Error(err)
		}
		n.Stop(t.Context())
		n.Stop(t.Context())
		_ = e.Close(t.Context())
		synctest.Wait()
	})
}
