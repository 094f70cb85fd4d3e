package lease

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"penstock/engine"
)

// Options set up a [Keeper].
type Options struct {
	// Engine keeps the records. Required.
	Engine engine.Engine
	// Node names this process among all that share quotas; no two may ever have the same, so a restarted
	// process takes a new one. Required, at most 128 bytes.
	Node string
	// Lease is how long a part may be used without being renewed; default 15 s, at least 1 s. It is renewed each
	// fifth of it. Longer rides out longer outages of the engine (a new leader of NATS takes up to 8 s), shorter
	// gives a dead node's part back sooner.
	Lease time.Duration
	// Forget is how long after the end of its lease the floor of a node that vanished stays reserved;
	// default 10 min.
	Forget time.Duration
	// CutOffRatio is the part of an even share, 0..1, that a node goes on with when it is cut off beyond its lease.
	// More keeps it useful, less leaves more to the others after a crash. Default 0.05; negative: none.
	CutOffRatio float64
	// Hold has a node that is cut off keep its last part for as long as it is. The quota can then be
	// exceeded by that part.
	Hold bool
	// Log takes what an operator should know; nil: none.
	Log *slog.Logger
}

// Defaults of [Options].
const (
	DefaultLease       = 15 * time.Second
	DefaultForget      = 10 * time.Minute
	DefaultCutOffRatio = 0.05
	leastLease         = time.Second
)

// Times of a [Keeper].
const (
	// lookEvery is how often demand is looked at; pause is the shortest time between two writes for it.
	lookEvery = 50 * time.Millisecond
	pause     = 50 * time.Millisecond
	// much of a quota is worth a write at once; for less patience times the pause is waited.
	much     = Whole / 20
	patience = 4
	// crowd is from how many nodes on they wait longer between two writes.
	crowd = 10
	// writeTimeout bounds one call of the engine.
	writeTimeout = 2 * time.Second
	// backoff and mostBackoff are the first and the longest wait after a failed call.
	backoff     = 250 * time.Millisecond
	mostBackoff = 2 * time.Second
	// conflicts is how often a turn that others' overtook is taken again at once.
	conflicts = 5
	// bucket is the name of the records' bucket.
	bucket = "leases"
)

// Quota is one quota to share. Its functions are called one at a time.
type Quota struct {
	// Name is the same on all nodes.
	Name string
	// Demand tells what this node's calls need.
	Demand func() Demand
	// Bursts are the sizes of the whole quota's buckets by window; nil: none.
	Bursts func() map[time.Duration]float64
	// Apply puts parts in force at once; no part: the quota is not shared. It returns the tokens
	// that a smaller part leaves over, and is given such tokens in add.
	Apply func(parts []Part, add map[time.Duration]float64) (freed map[time.Duration]float64)
}

// Part is the ratio of a quota, 0..1, that may be used from a moment on.
type Part struct {
	From  time.Time
	Ratio float64
	// Likely is the ratio that would soon be had if the calls needed it.
	Likely float64
}

func (o *Options) ensureDefaults() error {
	if o.Engine == nil || o.Node == "" || len(o.Node) > 128 {
		return errors.New("lease: Options needs Engine, and Node of at most 128 bytes")
	}
	o.Lease = max(cmp.Or(o.Lease, DefaultLease), leastLease)
	o.Forget = cmp.Or(o.Forget, DefaultForget)
	o.CutOffRatio = min(max(cmp.Or(o.CutOffRatio, DefaultCutOffRatio), 0), 1)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Keeper holds this node's parts of quotas. Make it with [New], and end it with [Keeper.Close].
type Keeper struct {
	o    Options
	ctx  context.Context
	quit context.CancelFunc
	all  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	kv      engine.KV  // nil until it could be opened
	holders map[string]*holder
	closed  bool
}

// New makes a Keeper, which shares nothing until Set.
func New(o Options) (*Keeper, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	k := &Keeper{o: o, holders: make(map[string]*holder)}
	k.ctx, k.quit = context.WithCancel(context.Background())
	k.all.Go(k.follow)
	return k, nil
}

// Set says which quotas are shared. One that was shared before under its name goes on with the new
// functions; those that are no longer named are given back.
func (k *Keeper) Set(quotas []Quota) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	named := make(map[string]bool, len(quotas))
	for _, q := range quotas {
		named[q.Name] = true
		if h := k.holders[q.Name]; h != nil {
			h.replace(q)
			continue
		}
		h := newHolder(k, q)
		k.holders[q.Name] = h
		k.all.Go(h.run)
	}
	for name, h := range k.holders {
		if !named[name] {
			h.quit()
			delete(k.holders, name)
		}
	}
}

// bucket is where the records are; nil while it could not be opened.
func (k *Keeper) bucket() engine.KV {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kv
}

// follow tells the holders of each change of their records. Should the engine fail, it begins anew.
func (k *Keeper) follow() {
	wait := backoff
	for k.ctx.Err() == nil {
		entries, err := k.watch()
		if err == nil {
			wait = backoff
			for e := range entries {
				k.tell(e)
			}
		}
		timer := time.NewTimer(wait)
		wait = min(2*wait, mostBackoff)
		select {
		case <-timer.C:
		case <-k.ctx.Done():
			timer.Stop()
		}
	}
}

func (k *Keeper) watch() (<-chan engine.Entry, error) {
	kv := k.bucket()
	if kv == nil {
		ctx, cancel := context.WithTimeout(k.ctx, writeTimeout)
		defer cancel()
		var err error
		if kv, err = k.o.Engine.KV(ctx, engine.KVOptions{Name: bucket, Transient: true}); err != nil {
			return nil, err
		}
		k.mu.Lock()
		k.kv = kv
		k.mu.Unlock()
	}
	return kv.Watch(k.ctx)
}

func (k *Keeper) tell(e engine.Entry) {
	if e.Current {
		return
	}
	k.mu.Lock()
	h := k.holders[e.Key]
	k.mu.Unlock()
	if h != nil {
		h.tell(e)
	}
}

// Status is how it stands with one quota.
type Status struct {
	Quota string `json:"quota"`
	// Shared: the quota is known, so that it is shared. OK: the lease holds.
	Shared bool `json:"shared"`
	OK     bool `json:"ok"`
	// Ratio is this node's part in force, Wanted what its calls need, Floor what it goes on with when it is cut off;
	// ratios of the quota.
	Ratio  float64 `json:"ratio"`
	Wanted float64 `json:"wanted"`
	Floor  float64 `json:"floor"`
	// Until is when the lease ends unless it is renewed.
	Until time.Time `json:"until"`
	// Nodes is how many share it, Gone how many of them have vanished.
	Nodes int `json:"nodes"`
	Gone  int `json:"gone"`
	// Writes counts changes of the record by this node, Overtaken those that another's came before, Failed
	// those that the engine did not take.
	Writes    uint64 `json:"writes"`
	Overtaken uint64 `json:"overtaken"`
	Failed    uint64 `json:"failed"`
}

// Status tells of one quota; the zero value if it is not shared.
func (k *Keeper) Status(quota string) Status {
	k.mu.Lock()
	h := k.holders[quota]
	k.mu.Unlock()
	if h == nil {
		return Status{Quota: quota}
	}
	return h.report()
}

// Close gives everything back, as far as ctx allows. What its quotas were cut to stays in force: close what uses them
// first. Idempotent.
func (k *Keeper) Close(ctx context.Context) {
	k.mu.Lock()
	k.closed = true
	for _, h := range k.holders {
		h.bound(ctx)
		h.quit()
	}
	k.mu.Unlock()
	k.quit()
	k.all.Wait()
}
