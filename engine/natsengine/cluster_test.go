package natsengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"penstock/engine"
	"penstock/engine/enginetest"
	"penstock/engine/natsengine/natstest"
)

// connect connects until the test ends.
func connect(t *testing.T, o ClusterOptions) *Engine {
	t.Helper()
	e, err := Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, e) })
	return e
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(natstest.Patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("it never happened that %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestAClusterBehavesAsAnEngine(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d servers", n), func(t *testing.T) {
			c := natstest.Start(t, n)
			i := 0
			enginetest.Run(t, func(t *testing.T) engine.Engine {
				i++
				e, err := Connect(t.Context(), ClusterOptions{URL: c.URL(), Replicas: n, Prefix: fmt.Sprint("p", i)})
				if err != nil {
					t.Fatal(err)
				}
				return e
			})
		})
	}
}

func TestNodesOfAClusterShareWhatTheyKeep(t *testing.T) {
	c := natstest.Start(t, 3)
	a, b := connect(t, ClusterOptions{URL: "nats://" + c.Addr(0)}), connect(t, ClusterOptions{URL: "nats://" + c.Addr(1)})
	fill(t, a)
	eventually(t, "the other server has the last pin", func() bool {
		pins, err := kv(t, b).List(t.Context())
		return err == nil && len(pins) == 20
	})
	full(t, b)
	other := connect(t, ClusterOptions{URL: c.URL(), Prefix: "other"})
	if list, err := kv(t, other).List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("under another prefix there are %d pins, %v", len(list), err)
	}
}

func TestAClusterThatIsAwayIsWaitedFor(t *testing.T) {
	c := natstest.Start(t, 1)
	c.Stop(0)
	e := connect(t, ClusterOptions{URL: c.URL(), Replicas: 1})
	b, l := kv(t, e), ledger(t, e)
	if _, err := b.Put(t.Context(), "a", nil); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("a cluster that is away says %v", err)
	}
	if s := e.Status(); s.OK || s.Kind != "cluster" || !strings.Contains(s.Detail, "cluster.url") {
		t.Errorf("status %+v", s)
	}
	c.Start(0)
	eventually(t, "it takes a write", func() bool {
		_, err := b.Put(t.Context(), "a", nil)
		_, err2 := l.Append(t.Context(), nil)
		return err == nil && err2 == nil
	})
	if s := e.Status(); !s.OK {
		t.Errorf("status %+v", s)
	}
}

func TestWatchesAndFollowsLiveThroughALostServer(t *testing.T) {
	c := natstest.Start(t, 3)
	e := connect(t, ClusterOptions{URL: c.URL()})
	b, l := kv(t, e), ledger(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes, err := b.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-changes; !got.Current {
		t.Fatalf("first %+v", got)
	}
	news, err := l.Follow(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	leader := c.StreamLeader("KV_pins")
	c.Stop(max(leader, 0))
	for name, write := range map[string]func() error{
		"put":    func() error { _, err := b.Put(t.Context(), "after", nil); return err },
		"append": func() error { _, err := l.Append(t.Context(), []byte("after")); return err },
	} {
		eventually(t, "it takes a "+name, func() bool { return write() == nil })
	}
	for seen := ""; seen != "after"; {
		e, ok := <-changes
		if !ok { // it lost track: whoever watches begins anew
			eventually(t, "it can be watched again", func() bool { changes, err = b.Watch(ctx); return err == nil })
		}
		seen = e.Key
	}
	for seen, last := "", uint64(0); seen != "after"; {
		r, ok := <-news
		if !ok {
			eventually(t, "it can be followed again", func() bool { news, err = l.Follow(ctx, last); return err == nil })
		}
		seen, last = string(r.Data), max(last, r.Seq)
	}
}

func TestAStalledConnectionFailsInBoundedTimeAndComesBack(t *testing.T) {
	c := natstest.Start(t, 1)
	p := natstest.NewProxy(t, c.Addr(0))
	e := connect(t, ClusterOptions{URL: p.URL(), Replicas: 1})
	b := kv(t, e)
	p.Cut()
	eventually(t, "it is away", func() bool { return !e.Status().OK })
	if _, err := b.Get(t.Context(), "a"); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("cut off it says %v", err)
	}
	p.Mend()
	eventually(t, "it is back", func() bool { _, err := b.Put(t.Context(), "a", nil); return err == nil })
	p.Stall()
	if _, err := b.Put(t.Context(), "a", nil); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("stalled it says %v", err)
	}
	p.Resume()
	eventually(t, "it is back again", func() bool { _, err := b.Put(t.Context(), "a", nil); return err == nil && e.Status().OK })
}

func TestAClusterThatRefusesSaysWhatToDo(t *testing.T) {
	check := func(what string, o ClusterOptions, parts ...string) {
		t.Helper()
		e, err := Connect(t.Context(), o)
		if err == nil {
			_, err = e.KV(t.Context(), engine.KVOptions{Name: "pins"})
			closed(t, e)
		}
		for _, part := range parts {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v lacks %q", what, err, part)
			}
		}
	}
	locked := natstest.StartWith(t, 1, natstest.Options{User: "penstock", Password: "secret"})
	check("no password", ClusterOptions{URL: locked.URL(), Replicas: 1}, "refuses", "uthorization")
	check("a wrong password", ClusterOptions{URL: locked.URL(), Replicas: 1, User: "penstock", Password: "no"}, "uthorization")
	check("three replicas on one server", ClusterOptions{URL: locked.URL(), User: "penstock", Password: "secret"}, "cluster.replicas", "alone")
	check("no URL", ClusterOptions{}, "URL")
	check("no host", ClusterOptions{URL: "4222"}, "nats://HOST:4222")
	check("a file that is not there", ClusterOptions{URL: locked.URL(), NKeyFile: "/none"}, "/none")

	without := natstest.StartWith(t, 1, natstest.Options{NoJetStream: true})
	e := connect(t, ClusterOptions{URL: without.URL(), Log: slog.New(slog.DiscardHandler)})
	if s := e.Status(); s.OK || !strings.Contains(s.Detail, "JetStream") {
		t.Errorf("without JetStream the status is %+v", s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	away := connect(t, ClusterOptions{URL: "nats://" + l.Addr().String()})
	if s := away.Status(); s.OK {
		t.Errorf("with no server the status is %+v", s)
	}
}
