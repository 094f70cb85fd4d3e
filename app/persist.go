package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"penstock/configs"
	"penstock/engine"
	"penstock/engine/natsengine"
	"penstock/knob"
	"penstock/observe"
	"penstock/tuner"
)

// The keeper's times and bounds.
const (
	// keepSettle is how long changes gather before they are written, unless somebody waits for them.
	keepSettle = 50 * time.Millisecond
	// keepInterval is how often the keeper looks without being woken: values get older, pins expire.
	keepInterval = time.Minute
	// keepTimeout bounds one round of writing.
	keepTimeout = 10 * time.Second
	// keepBackoff and keepBackoffMost are the first and the longest wait after a failed round.
	keepBackoff     = 100 * time.Millisecond
	keepBackoffMost = 30 * time.Second
	// keepLast is what the last round gets when the drain has used up its time.
	keepLast = time.Second
	// pinWait is how long the answer to a pin waits for it to be on disk.
	pinWait = 2 * time.Second

	// ledgerSize is how many decisions are at hand when they are kept; the journal on disk holds more,
	// for several changes of each.
	ledgerSize     = 5000
	journalRecords = 4 * ledgerSize
	journalAge     = 30 * 24 * time.Hour
	journalPage    = 512
)

// keeperOptions say what a keeper keeps, and where.
type keeperOptions struct {
	engine engine.Engine
	knobs  *knob.Registry
	ledger *tuner.Ledger
	// judging gives, for each knob whose last change waits for its verdict, the value before it.
	judging func() map[string]float64
	scope   *observe.Scope
	log     *slog.Logger
}

// keeper keeps what must outlive the process: pins of the API, the tuner's values, the ledger. It holds
// no queue: each round compares what is in force with what it wrote last, so a slow engine costs no
// memory, and several changes of one thing become one write. Only its own goroutine calls the engine;
// everybody else leaves a token. A nil keeper keeps nothing.
type keeper struct {
	o       keeperOptions
	pins    savedTable[pinRecord]
	tuned   savedTable[tunedRecord]
	learned savedTable[tuner.Saved]
	// switches are the orders of operators to the tuner.
	switches savedTable[tuner.Switches]
	tuner    tunerState // nil until restoreTuner
	journal  engine.Log
	saved    uint64 // the last change of the ledger that is in the journal

	share     *share // nil: there are no other nodes
	followers sync.WaitGroup
	// leave, if not nil, is called when all is written and before the engine closes.
	leave func(ctx context.Context)

	wake chan struct{}
	quit context.CancelFunc
	ctx  context.Context
	done chan struct{} // closed when run ended; nil before start

	mu      sync.Mutex // guards what follows
	waiting []chan<- struct{}

	fault         atomic.Pointer[string] // why the last round failed; nil: it did not
	writes, fails atomic.Uint64
}

// openEngine opens the engine of a data_dir.
func openEngine(dir string, c configs.Engine, log *slog.Logger) (engine.Engine, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*natsengine.DefaultReadyTimeout)
	defer cancel()
	o := natsengine.Options{Dir: filepath.Join(dir, "engine"), Log: log}
	if c.Sync == "interval" {
		o.SyncInterval = c.SyncInterval
	}
	e, err := natsengine.Open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	return e, nil
}

// newKeeper opens the buckets; it closes the engine if that fails.
func newKeeper(o keeperOptions) (*keeper, error) {
	k := &keeper{o: o, wake: make(chan struct{}, 1)}
	k.ctx, k.quit = context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(k.ctx, keepTimeout)
	defer cancel()
	var faults [5]error
	k.pins.kv, faults[0] = o.engine.KV(ctx, engine.KVOptions{Name: pinsBucket})
	k.tuned.kv, faults[1] = o.engine.KV(ctx, engine.KVOptions{Name: tunedBucket})
	k.learned.kv, faults[3] = o.engine.KV(ctx, engine.KVOptions{Name: "learned"})
	k.switches.kv, faults[4] = o.engine.KV(ctx, engine.KVOptions{Name: switchesBucket})
	k.journal, faults[2] = o.engine.Log(ctx, engine.LogOptions{Name: "decisions", MaxAge: journalAge, MaxRecords: journalRecords})
	if err := errors.Join(faults[:]...); err != nil {
		k.quit()
		return nil, errors.Join(fmt.Errorf("what must outlive the process can't be kept: %w", err), o.engine.Close(ctx))
	}
	k.registerMetrics()
	return k, nil
}

func (k *keeper) registerMetrics() {
	s := k.o.scope
	s.Help("penstock_engine_writes_total", "Writes of pins, tuned values and decisions to the engine, by result.")
	s.With("result", "ok").CounterFunc("penstock_engine_writes_total", func() float64 { return float64(k.writes.Load()) })
	s.With("result", "failed").CounterFunc("penstock_engine_writes_total", func() float64 { return float64(k.fails.Load()) })
	s.Help("penstock_engine_dropped_total", "Decisions that were dropped before the engine took them.")
	s.CounterFunc("penstock_engine_dropped_total", func() float64 { return float64(k.o.ledger.Lost()) })
	s.Help("penstock_engine_up", "1 while the engine takes what must outlive the process.")
	s.Gauge("penstock_engine_up", func() float64 { return truth(k.status().OK) })
}

// status tells how the engine is, and whether the last round of writing went well.
func (k *keeper) status() engine.Status {
	if k == nil {
		return engine.Status{Kind: "none", OK: true, Detail: "nothing is kept on disk"}
	}
	s := k.o.engine.Status()
	if fault := k.fault.Load(); fault != nil && s.OK {
		s.OK, s.Detail = false, *fault
	}
	return s
}

// start begins to write. Call load before it.
func (k *keeper) start() {
	if k == nil {
		return
	}
	k.done = make(chan struct{})
	if k.share != nil {
		k.startSharing(k.ctx)
	}
	go k.run()
}

// kick has the keeper look now.
func (k *keeper) kick() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// keep has the keeper look now, and waits until what is in force is on disk, at most for pinWait and
// not at all while the engine is away. It must not be called on a request's way.
func (k *keeper) keep() {
	if k == nil || k.done == nil {
		return
	}
	kept := make(chan struct{})
	k.mu.Lock()
	k.waiting = append(k.waiting, kept)
	k.mu.Unlock()
	k.kick()
	if k.fault.Load() != nil {
		return
	}
	timer := time.NewTimer(pinWait)
	defer timer.Stop()
	select {
	case <-kept:
	case <-timer.C:
		k.o.log.Warn("engine: a pin is in force but not on disk yet; if the process is killed now, it is lost")
	case <-k.done:
	}
}

// run writes until stop. After a failed round it waits, longer each time, whatever happens meanwhile.
func (k *keeper) run() {
	defer close(k.done)
	changed, unfollow := k.o.ledger.Follow()
	defer unfollow()
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	backoff := keepBackoff
	for {
		select {
		case <-k.wake:
		case <-changed:
			k.pause(keepSettle, k.wake)
		case c := <-k.others():
			k.take(c)
			continue
		case <-ticker.C:
		case <-k.ctx.Done():
			return
		}
		for k.round(k.ctx, backoff) != nil && k.ctx.Err() == nil {
			k.pause(backoff, nil)
			backoff = min(2*backoff, keepBackoffMost)
		}
		backoff = keepBackoff
	}
}

// others gives the changes of other nodes; nil: there are none.
func (k *keeper) others() <-chan change {
	if k.share == nil {
		return nil
	}
	return k.share.changes
}

// mayWrite reports whether this node may write to a bucket now.
func (k *keeper) mayWrite(bucket string) bool {
	return k.share == nil || k.share.current[bucket] && (bucket != tunedBucket || k.share.led)
}

// pause waits for d, or until a token of wake comes or the keeper stops.
func (k *keeper) pause(d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case c := <-k.others():
			k.take(c)
			continue
		case <-timer.C:
		case <-wake:
		case <-k.ctx.Done():
		}
		return
	}
}

// round writes what differs from what was written. The first failure after a success and the first
// success after a failure are logged; the counters tell of the others.
func (k *keeper) round(ctx context.Context, retry time.Duration) error {
	k.mu.Lock()
	waiting := k.waiting
	k.waiting = nil
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	var lead error
	if k.share != nil {
		lead = k.lead(ctx)
	}
	// What can't be written must not keep the rest from being written.
	err := errors.Join(lead, k.savePins(ctx), k.saveTuned(ctx), k.saveSwitches(ctx), k.saveLearned(ctx), k.saveJournal(ctx))
	if err == nil {
		for _, kept := range waiting {
			close(kept)
		}
		if k.fault.Swap(nil) != nil {
			k.o.log.Info("engine: what must outlive the process is saved again", "dropped", k.o.ledger.Lost())
		}
		return nil
	}
	text := "saving fails: " + err.Error()
	if k.fault.Swap(&text) == nil && k.ctx.Err() == nil {
		k.o.log.Warn("engine: what must outlive the process can't be saved; requests go on, it is tried again",
			"retry_in", retry, "error", err)
	}
	k.mu.Lock()
	k.waiting = append(waiting, k.waiting...)
	if len(k.waiting) > maxWaiting {
		k.waiting = k.waiting[len(k.waiting)-maxWaiting:] // those have long stopped waiting
	}
	k.mu.Unlock()
	return err
}

// maxWaiting bounds the callers of keep that are remembered while the engine is away.
const maxWaiting = 64

// wrote counts a write and passes its error on.
func (k *keeper) wrote(err error) error {
	if err != nil {
		k.fails.Add(1)
	} else {
		k.writes.Add(1)
	}
	return err
}

// stop writes what is not written yet, within ctx, and closes the engine. Idempotent.
func (k *keeper) stop(ctx context.Context) error {
	if k == nil {
		return nil
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), keepLast)
		defer cancel()
	}
	running := k.ctx.Err() == nil && k.done != nil
	k.quit()
	if k.done != nil {
		<-k.done
	}
	k.followers.Wait()
	var err error
	if running {
		if err = k.round(ctx, 0); err != nil {
			err = fmt.Errorf("data_dir: what changed last could not be saved: %w", err)
		}
	}
	if k.leave != nil {
		k.leave(ctx)
	}
	return errors.Join(err, k.o.engine.Close(ctx))
}

// newKeeper makes the ledger, and where there is a cluster or a data_dir, the keeper of it and more.
func (a *App) newKeeper(l *configs.Loaded) error {
	a.ledger = tuner.NewLedger(0)
	e, err := a.openEngine(l)
	if err != nil || e == nil {
		return err
	}
	a.ledger = tuner.NewLedger(ledgerSize)
	a.ledger.Named(a.nodeName)
	a.keeper, err = newKeeper(keeperOptions{
		engine: e, knobs: a.knobs, ledger: a.ledger, judging: a.judging, scope: a.metrics.Process(), log: a.log,
	})
	return err
}

// dataDir is where things are kept; empty: nowhere.
func (a *App) dataDir(c *configs.Config) string {
	if a.o.Ephemeral {
		return ""
	}
	return c.DataDir
}
