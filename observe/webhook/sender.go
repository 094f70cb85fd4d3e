package webhook

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"penstock/observe"
)

// Sender tells all receivers. Make it with New, and Close it.
type Sender struct {
	log *slog.Logger

	mu        sync.Mutex // guards what follows
	receivers []*receiver
	active    map[string]observe.Alert // what fires now, for a receiver that comes later
	closed    bool
	gone      Totals // of receivers that went
}

// Totals count over all receivers, those that a reload removed included.
type Totals struct{ Sent, Failed, Dropped uint64 }

func (t *Totals) add(s Status) {
	t.Sent += s.Sent
	t.Failed += s.Failed
	t.Dropped += s.Dropped
}

// Totals returns the counts since the start.
func (s *Sender) Totals() Totals {
	s.mu.Lock()
	t, receivers := s.gone, s.receivers
	s.mu.Unlock()
	for _, r := range receivers {
		t.add(r.state())
	}
	return t
}

// New returns a Sender without receivers.
func New(log *slog.Logger) *Sender {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Sender{log: log, active: make(map[string]observe.Alert)}
}

// Tell passes changes on; it is what [observe.Alerts.Notify] takes.
func (s *Sender) Tell(changed []observe.Alert) {
	s.mu.Lock()
	for _, a := range changed {
		if a.ResolvedAt.IsZero() {
			s.active[a.Fingerprint] = a
		} else {
			delete(s.active, a.Fingerprint)
		}
	}
	receivers := s.receivers
	s.mu.Unlock()
	for _, r := range receivers {
		r.tell(changed)
	}
}

// Apply puts other receivers in force. One that stays as it was goes on with what it has to tell; a
// new one is told of all that fires.
func (s *Sender) Apply(options []Options) error {
	var faults []error
	for _, o := range options {
		faults = append(faults, o.Validate())
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	old := s.receivers
	s.receivers = nil
	var added []*receiver
	for _, o := range options {
		i := slices.IndexFunc(old, func(r *receiver) bool { return r.o.equal(o.withDefaults()) })
		if i >= 0 {
			s.receivers = append(s.receivers, old[i])
			old = slices.Delete(slices.Clone(old), i, i+1)
			continue
		}
		r := newReceiver(o, s.log)
		s.receivers, added = append(s.receivers, r), append(added, r)
	}
	fire := slices.Collect(maps.Values(s.active))
	s.mu.Unlock()
	for _, r := range added {
		r.tell(fire)
	}
	for _, r := range old {
		r.close()
		s.mu.Lock()
		s.gone.add(r.state())
		s.mu.Unlock()
	}
	return nil
}

func (o Options) equal(p Options) bool {
	header := maps.EqualFunc(o.Header, p.Header, slices.Equal)
	return header && o.Name == p.Name && o.URL == p.URL && o.GroupWait == p.GroupWait && o.GroupInterval == p.GroupInterval &&
		o.RepeatInterval == p.RepeatInterval && o.Timeout == p.Timeout && o.SkipResolved == p.SkipResolved &&
		o.ExternalURL == p.ExternalURL && o.Transport == p.Transport
}

// Status tells how the receivers fare, in the order in which they were given.
func (s *Sender) Status() []Status {
	s.mu.Lock()
	receivers := s.receivers
	s.mu.Unlock()
	out := make([]Status, 0, len(receivers))
	for _, r := range receivers {
		out = append(out, r.state())
	}
	return out
}

// Close ends all receivers; what they had to tell is dropped. It may be called again.
func (s *Sender) Close() {
	s.mu.Lock()
	receivers := s.receivers
	s.receivers, s.closed = nil, true
	s.mu.Unlock()
	for _, r := range receivers {
		r.close()
	}
}
