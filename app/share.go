package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"penstock/engine"
	"penstock/knob"
	"penstock/tuner"
)

// In a cluster the keepers of all nodes keep the same: each follows what the others write, puts it in force
// and counts it as saved. Everything goes through the keeper's own goroutine, so that a change that comes
// from outside and one made here meet there: the later write counts.
//
// Pins and the orders to the tuner may be changed by any node. Tuned values, and what was learned, are the
// leader's: the others put its values in force and write none.

// share is what a keeper needs to keep together with others.
type share struct {
	node  string
	leads func() bool
	// follow has the tuner tune nothing, or tune again.
	follow func(bool)

	changes chan change
	// current are the buckets of which all that was there has been seen: before that nothing is written to
	// them, lest the defaults of a new node take the place of what is in force elsewhere.
	current map[string]bool
	seen    map[string]map[string]bool // by bucket, the keys of the watch that is being read
	led     bool
	tail    uint64 // the last record of the journal that was read
	// applying names the knob that is being changed by another node's order; it is not written down again.
	applying atomic.Pointer[string]
}

// change is a change of a bucket by some node, or a decision of another.
type change struct {
	bucket string
	e      engine.Entry
}

// The buckets that are followed.
const (
	pinsBucket     = "pins"
	tunedBucket    = "tuned"
	switchesBucket = "tuning"
)

// shareWith has the keeper keep together with the other nodes. Call it before start.
func (k *keeper) shareWith(node string, leads func() bool, follow func(bool)) {
	k.share = &share{
		node: node, leads: leads, follow: follow, changes: make(chan change), current: make(map[string]bool),
		seen: make(map[string]map[string]bool),
	}
	follow(true) // until it is known that this node leads
}

// startSharing begins to follow what other nodes write, until ctx ends.
func (k *keeper) startSharing(ctx context.Context) {
	for name, kv := range map[string]engine.KV{pinsBucket: k.pins.kv, tunedBucket: k.tuned.kv, switchesBucket: k.switches.kv} {
		k.followers.Go(func() { k.followBucket(ctx, name, kv) })
	}
	k.followers.Go(func() { k.followJournal(ctx) })
}

// refollow is how long to wait before something is followed again that lost track.
const refollow = 500 * time.Millisecond

func (k *keeper) followBucket(ctx context.Context, name string, kv engine.KV) {
	for ctx.Err() == nil {
		if changes, err := kv.Watch(ctx); err == nil {
			k.pass(ctx, change{bucket: name}) // a new watch begins
			for e := range changes {
				k.pass(ctx, change{name, e})
			}
		}
		rest(ctx, refollow)
	}
}

func (k *keeper) pass(ctx context.Context, c change) {
	select {
	case k.share.changes <- c:
	case <-ctx.Done():
	}
}

// rest waits for d or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// take takes in a change; it is called by the keeper's goroutine.
func (k *keeper) take(c change) {
	s := k.share
	switch {
	case c.e.Current:
		k.dropUnseen(c.bucket)
		s.current[c.bucket] = true
		k.kick() // what waited may be written now
	case c.e.Key == "":
		s.seen[c.bucket] = make(map[string]bool)
	default:
		s.seen[c.bucket][c.e.Key] = !c.e.Deleted
		k.takeEntry(c)
	}
}

// dropUnseen takes what a watch did not give as deleted.
func (k *keeper) dropUnseen(bucket string) {
	var names []string
	switch bucket {
	case pinsBucket:
		names = k.pins.unseen(k.share.seen[bucket])
	case tunedBucket:
		names = k.tuned.unseen(k.share.seen[bucket])
	}
	for _, name := range names {
		k.takeEntry(change{bucket, engine.Entry{Key: name, Deleted: true, Revision: ^uint64(0)}})
	}
}

func (k *keeper) takeEntry(c change) {
	switch c.bucket {
	case pinsBucket:
		before, had, news := k.pins.take(c.e)
		if news {
			k.takePin(c.e, before, had)
		}
	case tunedBucket:
		if _, _, news := k.tuned.take(c.e); news && !k.share.led {
			k.takeTuned(c.e)
		}
	case switchesBucket:
		before, had, news := k.switches.take(c.e)
		dirty := had && !sameSwitches(before, k.tuner.Switches())
		if now, ok := k.switches.saved[switchesKey]; news && ok && !dirty {
			k.tuner.SetSwitches(now)
			k.o.log.Info("another node changed the orders to the tuner", "frozen", now.Frozen, "mode", now.Mode, "modes", now.Modes)
		}
	}
}

// by has f change a knob without its being written into the ledger again: the node that was told did.
func (s *share) by(name string, f func() error) error {
	s.applying.Store(&name)
	defer s.applying.Store(nil)
	return f()
}

// foreign reports whether a change of a knob is another node's.
func (k *keeper) foreign(name string) bool {
	if k == nil || k.share == nil {
		return false
	}
	now := k.share.applying.Load()
	return now != nil && *now == name
}

// takePin puts another node's pin in force, or takes it out, unless the pin was changed here meanwhile:
// then that is written next and counts.
func (k *keeper) takePin(e engine.Entry, before pinRecord, had bool) {
	n, ok := k.o.knobs.Lookup(e.Key)
	if !ok {
		return
	}
	here, pinned := pinOf(n.State())
	if pin := n.State().Pin; pin != nil && pin.FromFile {
		return // the file of this node says otherwise
	}
	if pinned != had || pinned && !samePin(here, before) {
		return
	}
	p, there := k.pins.saved[e.Key]
	var err error
	switch {
	case !there && pinned:
		err = k.share.by(e.Key, func() error { _, err := n.Unpin(false, false); return err })
	case there && !p.expired(time.Now()) && !(pinned && samePin(here, p)):
		var v float64
		if v, err = strconv.ParseFloat(p.Value, 64); err == nil {
			err = k.share.by(e.Key, func() error {
				return n.Pin(knob.Pin{Value: v, Note: p.Note, Author: p.Author, Until: p.Until})
			})
		}
	}
	if err != nil {
		k.o.log.Warn("another node's pin can't be put in force here", "knob", e.Key, "error", err)
	}
}

// takeTuned puts the leader's value in force.
func (k *keeper) takeTuned(e engine.Entry) {
	n, ok := k.o.knobs.Lookup(e.Key)
	if !ok {
		return
	}
	t, there := k.tuned.saved[e.Key]
	s := n.State()
	if !there {
		if s.Tuned != nil {
			n.Untune("the leader has dropped its value")
		}
		return
	}
	v, err := strconv.ParseFloat(t.Value, 64)
	if err != nil || s.Pin != nil || s.Tuned != nil && *s.Tuned == v {
		return
	}
	if time.Since(t.At) > trustStale {
		return
	}
	if err := n.Resume(v, "the leader of the cluster set it to "+s.Spec.Format(v)); err != nil {
		k.o.log.Info("the leader's value can't be put in force here", "knob", e.Key, "error", err)
	}
}

// lead takes up the leader's work, or lets it go. What an earlier leader learned is read first.
func (k *keeper) lead(ctx context.Context) error {
	s := k.share
	leads := s.leads()
	if leads == s.led {
		return nil
	}
	if leads {
		if err := k.learned.load(ctx); err != nil {
			return fmt.Errorf("read what the leader before learned: %w", err)
		}
		if err := k.tuner.Restore(k.learned.saved); err != nil {
			k.o.log.Warn("not all that the leader before learned could be used", "error", err)
		}
		k.o.log.Info("this node tunes for all now")
	}
	s.led = leads
	s.follow(!leads)
	if !leads {
		// What was tuned here since the last write is not the leader's.
		for name := range k.tuned.saved {
			k.takeTuned(engine.Entry{Key: name})
		}
	}
	return nil
}

// followJournal takes the other nodes' decisions into the ledger.
func (k *keeper) followJournal(ctx context.Context) {
	after := k.share.tail
	for ctx.Err() == nil {
		if after == 0 { // it could not be read at the start
			if first, last, err := k.journal.Bounds(ctx); err == nil {
				after = max(first, 1) - 1
				if last > 2*ledgerSize {
					after = max(after, last-2*ledgerSize)
				}
			}
		}
		if news, err := k.journal.Follow(ctx, after); err == nil {
			for r := range news {
				after = r.Seq
				var d tuner.Decision
				if json.Unmarshal(r.Data, &d) == nil {
					k.o.ledger.Merge(d)
				}
			}
		}
		rest(ctx, refollow)
	}
}
