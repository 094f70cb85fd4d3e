package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"penstock/engine"
	"penstock/knob"
	"penstock/tuner"
)

// A value is kept as text: JSON has no infinity, and no bit may get lost.

// pinRecord is a pin of the API on disk.
type pinRecord struct {
	Value  string    `json:"value"`
	Note   string    `json:"note,omitempty"`
	Author string    `json:"author,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// tunedRecord is a value of the tuner on disk.
type tunedRecord struct {
	Value string `json:"value"`
	// Base is the configured value that it was found from.
	Base string `json:"base"`
	// At is when it was last known to be good.
	At time.Time `json:"at"`
}

// What is known of a tuned value counts in full for trustFresh and fades until trustStale.
const (
	trustFresh = time.Hour
	trustStale = 24 * time.Hour
	// tunedRenew is how old the time of a value that stays in force may get on disk.
	tunedRenew = 10 * time.Minute
)

// trust is 1 for what was good just now, 0 for what is a day old.
func trust(age time.Duration) float64 {
	return min(1, max(0, float64(trustStale-age)/float64(trustStale-trustFresh)))
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// savedTable is a bucket together with what is known to be in it.
type savedTable[T any] struct {
	kv    engine.KV
	saved map[string]T
	revs  map[string]uint64 // the revisions of what was written or read last
}

// take takes in a change of the bucket by some node. It tells what stood there before, and whether it is
// news.
func (t *savedTable[T]) take(e engine.Entry) (before T, had, news bool) {
	if t.saved == nil {
		t.saved = make(map[string]T)
	}
	before, had = t.saved[e.Key]
	if e.Revision <= t.revs[e.Key] {
		return before, had, false // our own, or older
	}
	if e.Deleted {
		delete(t.revs, e.Key)
		delete(t.saved, e.Key)
		return before, had, true
	}
	var v T
	if json.Unmarshal(e.Value, &v) != nil {
		return before, had, false
	}
	t.saved[e.Key] = v
	t.know(e.Key, e.Revision)
	return before, had, true
}

func (t *savedTable[T]) know(name string, revision uint64) {
	if t.revs == nil {
		t.revs = make(map[string]uint64)
	}
	t.revs[name] = revision
}

// unseen lists what is thought to be in the bucket and is not.
func (t *savedTable[T]) unseen(seen map[string]bool) (names []string) {
	for name := range t.saved {
		if !seen[name] {
			names = append(names, name)
		}
	}
	return names
}

// load reads the bucket. What can't be read as a T is left alone and told of.
func (t *savedTable[T]) load(ctx context.Context) (faults error) {
	t.saved, t.revs = make(map[string]T), make(map[string]uint64)
	list, err := t.kv.List(ctx)
	for _, e := range list {
		var v T
		if bad := json.Unmarshal(e.Value, &v); bad != nil {
			faults = errors.Join(faults, fmt.Errorf("%s: %w", e.Key, bad))
			continue
		}
		t.saved[e.Key] = v
		t.know(e.Key, e.Revision)
	}
	return errors.Join(err, faults)
}

// save writes what of want differs, and deletes what is not wanted any more and may go.
func (t *savedTable[T]) save(ctx context.Context, k *keeper, want map[string]T, same func(a, b T) bool, mayGo func(name string, v T) bool) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(want)) {
		v := want[name]
		if old, ok := t.saved[name]; ok && same(old, v) {
			continue
		}
		b, err := json.Marshal(v)
		var revision uint64
		if err == nil {
			revision, err = t.kv.Put(ctx, name, b)
		}
		if k.wrote(err) != nil {
			faults = append(faults, err)
			continue
		}
		t.saved[name] = v
		t.know(name, revision)
	}
	for name, v := range t.saved {
		if _, ok := want[name]; ok || !mayGo(name, v) {
			continue
		}
		if err := k.wrote(t.kv.Delete(ctx, name)); err != nil {
			faults = append(faults, err)
			continue
		}
		delete(t.saved, name)
	}
	return errors.Join(faults...)
}

func (k *keeper) savePins(ctx context.Context) error {
	if !k.mayWrite(pinsBucket) {
		return nil
	}
	want := make(map[string]pinRecord)
	for _, n := range k.o.knobs.All() {
		s := n.State()
		if p, ok := pinOf(s); ok {
			want[s.Spec.Name] = p
		}
	}
	return k.pins.save(ctx, k, want, samePin, func(name string, p pinRecord) bool {
		// The pin of a knob that is not configured now waits for it to come back.
		_, there := k.o.knobs.Lookup(name)
		return there || p.expired(time.Now())
	})
}

// pinOf is the pin of a knob that is to be kept: not one of the file.
func pinOf(s knob.State) (pinRecord, bool) {
	if s.Pin == nil || s.Pin.FromFile {
		return pinRecord{}, false
	}
	return pinRecord{Value: number(s.Pin.Value), Note: s.Pin.Note, Author: s.Pin.Author, Until: s.Pin.Until}, true
}

func samePin(a, b pinRecord) bool {
	return a.Value == b.Value && a.Note == b.Note && a.Author == b.Author && a.Until.Equal(b.Until)
}

func (p pinRecord) expired(now time.Time) bool { return !p.Until.IsZero() && !p.Until.After(now) }

func (k *keeper) saveTuned(ctx context.Context) error {
	if !k.mayWrite(tunedBucket) {
		return nil
	}
	now := time.Now()
	judging := k.o.judging()
	want := make(map[string]tunedRecord)
	for _, n := range k.o.knobs.All() {
		s := n.State()
		if s.Tuned == nil {
			continue
		}
		good := *s.Tuned
		if before, ok := judging[s.Spec.Name]; ok {
			good = before
		}
		want[s.Spec.Name] = tunedRecord{Value: number(good), Base: number(s.Base), At: now}
	}
	same := func(a, b tunedRecord) bool {
		return a.Value == b.Value && a.Base == b.Base && b.At.Sub(a.At).Abs() < tunedRenew
	}
	return k.tuned.save(ctx, k, want, same, func(name string, t tunedRecord) bool {
		_, there := k.o.knobs.Lookup(name)
		return there || now.Sub(t.At) > trustStale
	})
}

// restorePins puts saved pins in force again, with their notes and ends.
func (k *keeper) restorePins(now time.Time) {
	for _, name := range slices.Sorted(maps.Keys(k.pins.saved)) {
		p := k.pins.saved[name]
		log := k.o.log.With("knob", name, "value", p.Value, "note", p.Note, "author", p.Author)
		n, ok := k.o.knobs.Lookup(name)
		switch {
		case p.expired(now):
			log.Info("a saved pin has expired; it is not restored", "until", p.Until)
			continue
		case !ok:
			log.Warn("a saved pin is of a knob that there is not; it is kept until the knob is configured again or the pin expires")
			continue
		}
		from := n.Value()
		v, err := strconv.ParseFloat(p.Value, 64)
		if err == nil {
			err = n.Pin(knob.Pin{Value: v, Note: p.Note, Author: p.Author, Until: p.Until})
		}
		if err != nil {
			log.Warn("a saved pin can't be restored and is dropped", "error", err)
			continue
		}
		reason := "the pin to " + n.Spec().Format(v) + " was restored at the start"
		if p.Note != "" {
			reason += ": " + p.Note
		}
		k.o.ledger.Record(tuner.Decision{Knob: name, From: from, To: v, Rule: "restore", Reason: reason, Author: p.Author})
		log.Info("a saved pin was restored", "until", p.Until)
	}
}

// restoreTuned lets the tuner begin where it was, the nearer the fresher that is.
func (k *keeper) restoreTuned(now time.Time) {
	for _, name := range slices.Sorted(maps.Keys(k.tuned.saved)) {
		t := k.tuned.saved[name]
		n, ok := k.o.knobs.Lookup(name)
		if !ok {
			continue
		}
		s := n.State()
		good, err := strconv.ParseFloat(t.Value, 64)
		age := max(0, now.Sub(t.At)) // a clock that was set back makes nothing younger than new
		share := trust(age)
		if err != nil || t.Base != number(s.Base) || share == 0 || s.Pin != nil {
			continue // nonsense, another starting point by the operator's choice, too old, or pinned
		}
		to := s.Base + share*(good-s.Base)
		if s.Spec.Kind == knob.KindInt || s.Spec.Kind == knob.KindBool {
			to = math.Round(to)
		}
		if to == s.Value || math.IsNaN(to) {
			continue
		}
		reason := fmt.Sprintf("the last good value of an earlier process was %s, %s ago; that is trusted by %.0f %%, so from %s the start is %s",
			s.Spec.Format(good), age.Round(time.Second), 100*share, s.Spec.Format(s.Base), s.Spec.Format(to))
		if err := n.Resume(to, reason); err != nil {
			k.o.log.Info("a saved value of the tuner is not restored", "knob", name, "error", err)
			continue
		}
		k.o.ledger.Record(tuner.Decision{
			Knob: name, From: s.Value, To: to, Rule: "restore", Reason: reason, Mode: tuner.ModeActive,
			Signals:  map[string]float64{"age_seconds": age.Seconds(), "trust_ratio": share},
			Measured: "not judged: an earlier process found it",
		})
		k.o.log.Info("a saved value of the tuner was restored", "knob", name, "value", to, "age", age)
	}
}
