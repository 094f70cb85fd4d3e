package knob

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// Registry holds the knobs of a process by name.
type Registry struct {
	mu    sync.RWMutex // guards what follows
	knobs map[string]*Knob
	subs  []func(Change)
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{knobs: make(map[string]*Knob)} }

// Register adds a knob, or returns the one of that name if its kind is the same. It fails on a
// faulty spec and on a name held by another kind.
func (r *Registry) Register(s Spec) (*Knob, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.knobs[s.Name]; ok {
		if k.Spec().Kind != s.Kind {
			return nil, fmt.Errorf("knob %s is registered as %s, not %s", s.Name, k.Spec().Kind, s.Kind)
		}
		return k, nil
	}
	k := newKnob(s, r.publish)
	r.knobs[s.Name] = k
	return k, nil
}

// Int registers an Int.
func (r *Registry) Int(s Spec) (Int, error) {
	s.Kind = KindInt
	k, err := r.Register(s)
	return Int{k}, err
}

// Float registers a Float.
func (r *Registry) Float(s Spec) (Float, error) {
	s.Kind = KindFloat
	k, err := r.Register(s)
	return Float{k}, err
}

// Duration registers a Duration.
func (r *Registry) Duration(s Spec) (Duration, error) {
	s.Kind = KindDuration
	k, err := r.Register(s)
	return Duration{k}, err
}

// Bool registers a Bool.
func (r *Registry) Bool(s Spec) (Bool, error) {
	s.Kind, s.Min, s.Max = KindBool, 0, 1
	k, err := r.Register(s)
	return Bool{k}, err
}

// Remove takes a knob out of the registry; who still holds it reads its last value.
func (r *Registry) Remove(name string) {
	r.mu.Lock()
	k := r.knobs[name]
	delete(r.knobs, name)
	r.mu.Unlock()
	if k != nil {
		k.mu.Lock()
		k.stopExpiry()
		k.mu.Unlock()
	}
}

// Lookup finds a knob by name.
func (r *Registry) Lookup(name string) (*Knob, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := r.knobs[name]
	return k, ok
}

// All returns the knobs in order of name.
func (r *Registry) All() []*Knob {
	r.mu.RLock()
	all := make([]*Knob, 0, len(r.knobs))
	for _, k := range r.knobs {
		all = append(all, k)
	}
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b *Knob) int { return cmp.Compare(a.Spec().Name, b.Spec().Name) })
	return all
}

// Subscribe has f called for every change of a value in force, on the changer's goroutine, with
// no lock held. f must not block.
func (r *Registry) Subscribe(f func(Change)) {
	r.mu.Lock()
	r.subs = append(slices.Clip(r.subs), f)
	r.mu.Unlock()
}

func (r *Registry) publish(c Change) {
	r.mu.RLock()
	subs := r.subs
	r.mu.RUnlock()
	for _, f := range subs {
		f(c)
	}
}

// Close stops the expiry timers of all pins.
func (r *Registry) Close() {
	for _, k := range r.All() {
		k.mu.Lock()
		k.stopExpiry()
		k.mu.Unlock()
	}
}
