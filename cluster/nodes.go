package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"penstock/engine"
)

// Options set up a Nodes.
type Options struct {
	// Engine is what the nodes share. Required.
	Engine engine.Engine
	// Node is the name of this node; no two nodes have the same. Required.
	Node string
	// Lease is how long a node may be silent: default 5 s, at least 100 ms.
	Lease time.Duration
	// Describe tells the others about this node, as JSON of a few hundred bytes; nil: nothing. It is
	// called at each beat.
	Describe func() any
	// OnChange, if not nil, is called when nodes come or go and when the lead changes. It must not block.
	OnChange func()
	Log      *slog.Logger
}

// DefaultLease is the default of Options.Lease.
const DefaultLease = 5 * time.Second

const (
	bucketName = "nodes"
	nodePrefix = "node/"
	leaderKey  = "leader"
	// beatsPerLease is how often a node is heard of in a lease.
	beatsPerLease = 5
	// forget is how long a node that is gone stays in the list.
	forget = time.Hour
)

// beat is what a node writes of itself.
type beat struct {
	Run     string          `json:"run"`
	Started time.Time       `json:"started"`
	Seq     uint64          `json:"seq"`
	Info    json.RawMessage `json:"info,omitempty"`
}

// lead is the record of who leads.
type lead struct {
	Node string `json:"node"`
	Run  string `json:"run"`
}

// member is what is known of a node.
type member struct {
	beat
	heard time.Time // when its last beat came, by our clock
	at    time.Time // when the engine took it
	fresh bool      // it was there in this watch
}

// Nodes is this node among the others. Make it with New.
type Nodes struct {
	o       Options
	run     string
	started time.Time
	kv      engine.KV
	again   chan struct{} // a token: beat now

	mu       sync.Mutex // guards what follows
	members  map[string]*member
	lead     lead
	leadRev  uint64
	seq      uint64                       // of the last beat
	begun    [2 * beatsPerLease]time.Time // when the last beats were begun, by number
	returned time.Time                    // when the last beat that came back was begun
	since    time.Time                    // since when they come back without a gap
	current  bool                         // all that was in the bucket was seen
	fault    string                       // why the last beat was not taken
	led      bool                         // what OnChange was last told
	known    string                       // likewise: who was there
	doubled  time.Time                    // when another process with our name was told of

	lifecycle sync.Mutex // guards what follows
	quit      context.CancelFunc
	loops     sync.WaitGroup
}

// New opens the bucket. Nothing is written before Start.
func New(ctx context.Context, o Options) (*Nodes, error) {
	if o.Engine == nil || o.Node == "" {
		return nil, errors.New("cluster: Options needs Engine and Node")
	}
	o.Lease = max(cmp.Or(o.Lease, DefaultLease), 100*time.Millisecond)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnChange == nil {
		o.OnChange = func() {}
	}
	kv, err := o.Engine.KV(ctx, engine.KVOptions{Name: bucketName, MaxBytes: 4 << 20, Transient: true})
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return &Nodes{o: o, run: uuid.NewString(), started: time.Now(), kv: kv, again: make(chan struct{}, 1), members: make(map[string]*member)}, nil
}

// Start begins to beat and to follow the others.
func (n *Nodes) Start() {
	n.lifecycle.Lock()
	defer n.lifecycle.Unlock()
	if n.quit != nil {
		return
	}
	ctx, quit := context.WithCancel(context.Background())
	n.quit = quit
	n.loops.Go(func() { n.follow(ctx) })
	n.loops.Go(func() { n.beatOn(ctx) })
}

// Stop leaves: the others learn at once that this node is gone, if the engine can be reached before ctx
// ends. Idempotent.
func (n *Nodes) Stop(ctx context.Context) {
	n.lifecycle.Lock()
	defer n.lifecycle.Unlock()
	if n.quit == nil {
		return
	}
	n.quit()
	n.loops.Wait()
	n.quit = nil
	n.mu.Lock()
	leads := n.leads(time.Now())
	known := n.members[n.o.Node]
	n.lead, n.returned, n.since = lead{}, time.Time{}, time.Time{}
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, n.o.Lease)
	defer cancel()
	if leads {
		_ = n.kv.Delete(ctx, leaderKey) // else it is taken over after a lease
	}
	if known != nil && known.Run == n.run {
		_ = n.kv.Delete(ctx, nodePrefix+n.o.Node)
	}
}

// Run names this process: another one than its predecessor of the same node.
func (n *Nodes) Run() string { return n.run }

// Node is the name of this node.
func (n *Nodes) Node() string { return n.o.Node }

// beatOn writes beats and takes the lead if nobody has it, until ctx ends.
func (n *Nodes) beatOn(ctx context.Context) {
	ticker := time.NewTicker(n.o.Lease / beatsPerLease)
	defer ticker.Stop()
	for {
		n.beat(ctx)
		n.stand(ctx)
		n.tidy(ctx)
		n.tell()
		select {
		case <-ctx.Done():
			return
		case <-n.again:
		case <-ticker.C:
		}
	}
}

// beat writes one beat.
func (n *Nodes) beat(ctx context.Context) {
	var info json.RawMessage
	if n.o.Describe != nil {
		info, _ = json.Marshal(n.o.Describe())
	}
	n.mu.Lock()
	n.seq++
	n.begun[n.seq%uint64(len(n.begun))] = time.Now()
	b := beat{Run: n.run, Started: n.started, Seq: n.seq, Info: info}
	n.mu.Unlock()
	raw, err := json.Marshal(b)
	if err == nil {
		// A beat that takes longer says nothing any more.
		ctx, cancel := context.WithTimeout(ctx, n.o.Lease)
		defer cancel()
		_, err = n.kv.Put(ctx, nodePrefix+n.o.Node, raw)
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	n.mu.Lock()
	before := n.fault
	n.fault = text
	n.mu.Unlock()
	switch {
	case err != nil && before == "":
		n.o.Log.Warn("cluster: out of touch with the other nodes; requests go on", "error", err)
	case err == nil && before != "":
		n.o.Log.Info("cluster: in touch with the other nodes again")
	}
}

// stand takes the lead if there is no leader or it is gone.
func (n *Nodes) stand(ctx context.Context) {
	n.mu.Lock()
	now := time.Now()
	holder, revision := n.lead, n.leadRev
	can := n.inTouch(now) && (holder.Run == "" || holder.Run != n.run && n.gone(holder.Run, now))
	n.mu.Unlock()
	if !can {
		return
	}
	raw, err := json.Marshal(lead{n.o.Node, n.run})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.o.Lease)
	defer cancel()
	if holder.Run == "" {
		_, err = n.kv.Create(ctx, leaderKey, raw)
	} else {
		_, err = n.kv.Update(ctx, leaderKey, raw, revision)
	}
	if err == nil {
		n.o.Log.Info("cluster: this node leads now", "node", n.o.Node, "before", holder.Node)
	}
	// The watch tells who leads, also if the answer was lost.
}

// tidy lets the leader forget nodes that are gone for long.
func (n *Nodes) tidy(ctx context.Context) {
	n.mu.Lock()
	var old []string
	if now := time.Now(); n.leads(now) && n.inTouch(now) && now.Sub(n.since) > forget {
		for name, m := range n.members {
			if now.Sub(m.heard) > forget {
				old = append(old, name)
			}
		}
	}
	n.mu.Unlock()
	for _, name := range old {
		if n.kv.Delete(ctx, nodePrefix+name) != nil {
			return
		}
	}
}

// follow takes in the bucket's changes until ctx ends.
func (n *Nodes) follow(ctx context.Context) {
	for ctx.Err() == nil {
		changes, err := n.kv.Watch(ctx)
		if err == nil {
			n.mu.Lock()
			for _, m := range n.members {
				m.fresh = false
			}
			n.mu.Unlock()
			for e := range changes {
				n.take(e, time.Now())
				n.tell()
			}
		}
		timer := time.NewTimer(n.o.Lease / beatsPerLease)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// take takes in one change.
func (n *Nodes) take(e engine.Entry, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name, isNode := strings.CutPrefix(e.Key, nodePrefix)
	switch {
	case e.Current:
		for name, m := range n.members {
			if !m.fresh { // it left while we did not look
				delete(n.members, name)
			}
		}
		n.current = true
	case e.Key == leaderKey:
		if e.Revision < n.leadRev {
			return
		}
		n.lead, n.leadRev = lead{}, e.Revision
		if !e.Deleted {
			_ = json.Unmarshal(e.Value, &n.lead)
		} else {
			select { // somebody should lead
			case n.again <- struct{}{}:
			default:
			}
		}
	case isNode && e.Deleted:
		delete(n.members, name)
	case isNode:
		var b beat
		if json.Unmarshal(e.Value, &b) != nil || b.Run == "" {
			return
		}
		n.members[name] = &member{beat: b, heard: now, at: e.Time, fresh: true}
		if name == n.o.Node {
			n.heardOurselves(&b, now)
		}
	}
}

// heardOurselves takes in that a beat of ours came back. The caller holds mu.
func (n *Nodes) heardOurselves(b *beat, now time.Time) {
	if b.Run != n.run {
		if now.Sub(n.doubled) > time.Minute && now.Sub(n.started) > n.o.Lease {
			n.doubled = now
			n.o.Log.Error("cluster: another process calls itself by this node's name; set cluster.node, or give each its own data_dir", "node", n.o.Node)
		}
		return
	}
	if b.Seq+uint64(len(n.begun)) <= n.seq {
		return // it proves nothing of now
	}
	begun := n.begun[b.Seq%uint64(len(n.begun))]
	if begun.Sub(n.returned) > n.o.Lease/2 {
		n.since = now
	}
	n.returned = begun
}

// tell calls OnChange if something changed.
func (n *Nodes) tell() {
	n.mu.Lock()
	now := time.Now()
	leads, known := n.leads(now), n.signature(now)
	changed := leads != n.led || known != n.known
	if n.led && !leads {
		n.o.Log.Warn("cluster: this node does not lead any more", "node", n.o.Node)
	}
	n.led, n.known = leads, known
	n.mu.Unlock()
	if changed {
		n.o.OnChange()
	}
}
