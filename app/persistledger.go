package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"penstock/engine"
	"penstock/tuner"
)

// load puts what an earlier process left into force and into the ledger. What can't be read is told
// of and begins empty: the service must come up.
func (k *keeper) load(t tunerState) {
	ctx, cancel := context.WithTimeout(k.ctx, 3*keepTimeout)
	defer cancel()
	if err := k.loadJournal(ctx); err != nil {
		k.o.log.Warn("data_dir: not all saved decisions could be read", "error", err)
	}
	if err := k.pins.load(ctx); err != nil {
		k.o.log.Warn("data_dir: not all saved pins could be read; set again those that miss", "error", err)
	}
	if err := k.tuned.load(ctx); err != nil {
		k.o.log.Warn("data_dir: not all saved values of the tuner could be read", "error", err)
	}
	active := k.restoreTuner(ctx, t)
	now := time.Now()
	k.restorePins(now)
	if active {
		k.restoreTuned(now)
	}
	k.kick() // what was restored or has expired
}

// loadJournal reads the newest decisions. A decision stands in the journal once for each round in
// which it changed; the ledger takes the last.
func (k *keeper) loadJournal(ctx context.Context) error {
	k.saved = k.o.ledger.Rev()
	k.o.ledger.Kept(k.saved)
	first, last, err := k.journal.Bounds(ctx)
	if err != nil {
		return err
	}
	after := max(first, 1) - 1
	if last > 2*ledgerSize {
		after = max(after, last-2*ledgerSize)
	}
	var earlier []tuner.Decision
	var faults []error
	for {
		page, err := k.journal.Read(ctx, after, journalPage)
		for _, r := range page {
			after = r.Seq
			var d tuner.Decision
			if err := json.Unmarshal(r.Data, &d); err != nil {
				faults = append(faults, fmt.Errorf("record %d: %w", r.Seq, err))
				continue
			}
			k.saved = max(k.saved, d.Rev)
			earlier = append(earlier, d)
		}
		if err != nil || len(page) == 0 {
			faults = append(faults, err)
			break
		}
	}
	k.o.ledger.Restore(earlier)
	if k.share != nil {
		k.share.tail = after
	}
	if len(faults) > 10 {
		faults = append(faults[:10], fmt.Errorf("and %d more", len(faults)-10))
	}
	return errors.Join(faults...)
}

// saveJournal appends what changed in the ledger.
func (k *keeper) saveJournal(ctx context.Context) error {
	for {
		changes := k.o.ledger.Changes(k.saved, tuner.Filter{Limit: journalPage})
		for i := range changes {
			if k.share != nil && changes[i].Node != k.share.node {
				k.saved = changes[i].Rev // its own node saves it
				continue
			}
			if err := k.append(ctx, &changes[i]); err != nil {
				return err
			}
			k.saved = changes[i].Rev
			k.o.ledger.Kept(k.saved)
		}
		if len(changes) < journalPage {
			return nil
		}
	}
}

func (k *keeper) append(ctx context.Context, d *tuner.Decision) error {
	b, err := json.Marshal(d)
	if err == nil {
		_, err = k.journal.Append(ctx, b)
		if !errors.Is(err, engine.ErrTooLarge) {
			return k.wrote(err)
		}
	}
	// It would be refused each time.
	k.o.log.Error("engine: a decision can't be saved and is skipped", "decision", d.ID, "error", k.wrote(err))
	return nil
}

// judging gives the value before each change that waits for its verdict.
func (a *App) judging() map[string]float64 {
	before := make(map[string]float64)
	for _, s := range a.tuner.Status() {
		if s.Judging == "" {
			continue
		}
		if d, ok := a.ledger.Decision(s.Judging); ok {
			before[d.Knob] = d.From
		}
	}
	return before
}
