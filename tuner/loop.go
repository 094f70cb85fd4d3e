package tuner

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// Defaults of the loop.
const (
	DefaultInterval   = 5 * time.Second
	DefaultMinSamples = 30
	DefaultEvaluation = 10 * time.Second
	// maxWindow is how far back the loop looks at most. It must lie inside the observe.Window's span.
	maxWindow = 100 * time.Second
	// baseWindow is what it looks at when that holds enough samples.
	baseWindow = 15 * time.Second
	// goodSamples make the noise small against a step of a tenth; goodWindow is how far back to go for them.
	goodSamples = 400
	goodWindow  = time.Minute
	// longestEvaluation ends the wait for more samples; what is then still unsure is neutral.
	longestEvaluation = 80 * time.Second
)

// Signals is where the loop reads; observe.Window is one.
type Signals interface {
	// Between returns the signals of an upstream (route empty) over the whole seconds in [from, to),
	// calls being counted where they started.
	Between(upstream, route string, from, to time.Time) observe.Signals
}

// Target is a knob that the loop looks after.
type Target struct {
	// Upstream is whose signals count.
	Upstream string
	// Workers names the knob of its permits, an Int.
	Workers string
	// Search has Workers found by Knee from the calls given to OnCall, at their pace, in active mode.
	// Without it, and in shadow mode, the rule Workers looks at each interval.
	Search bool
	// Rate names the knob of its pace, a Float in calls per second with 0 for none; empty: its quota is
	// not learned.
	Rate string
}

// Options sets up a Loop.
type Options struct {
	// Mode is the mode to begin with; empty: off.
	Mode Mode
	// Interval is the time between looks: default 5 s, at least 100 ms. A shorter one acts sooner and
	// sees fewer samples each time.
	Interval time.Duration
	// Knobs holds the targets' knobs; never nil.
	Knobs *knob.Registry
	// Signals is where the loop reads; never nil.
	Signals Signals
	// Targets are what the loop looks after; SetTargets changes them.
	Targets []Target
	// Ledger takes the decisions; nil: one of the default size.
	Ledger *Ledger
	// MinSamples is the least number of calls that a decision or a verdict rests on, default 30. The
	// window grows until it has them.
	MinSamples int
	// Evaluation is how long a change is measured before it is judged, default 10 s, and never less than
	// two times the p95 of a call.
	Evaluation time.Duration
	// CoolDown is the least time between two changes of a knob, default the interval.
	CoolDown time.Duration
	// Scope takes the tuner's metrics; nil: none.
	Scope *observe.Scope
	// Log gets a line for each decision and each verdict; nil: none.
	Log *slog.Logger
}

func (o *Options) ensureDefaults() {
	if o.Mode == "" {
		o.Mode = ModeOff
	}
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	o.Interval = max(o.Interval, 100*time.Millisecond)
	if o.Ledger == nil {
		o.Ledger = NewLedger(0)
	}
	if o.MinSamples <= 0 {
		o.MinSamples = DefaultMinSamples
	}
	if o.Evaluation <= 0 {
		o.Evaluation = DefaultEvaluation
	}
	if o.Scope == nil {
		o.Scope = observe.Discard()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Loop is the tuner at work. Knobs are turned while it holds its lock: a subscriber of the registry may
// call Record, Decisions and Decision, and nothing else of the Loop.
type Loop struct {
	o       Options
	changed chan struct{} // one token when the interval changed

	mu       sync.Mutex // guards what follows; held for a whole tick, which never waits
	mode     Mode
	frozen   bool
	interval time.Duration
	targets  []*target

	searches  atomic.Pointer[map[string]*search] // by upstream; nil while not active
	lifecycle sync.Mutex                         // guards what follows; taken before mu
	stop      chan struct{}
	stopped   chan struct{}
}

// New returns a Loop that does nothing until Start.
func New(o Options) *Loop {
	o.ensureDefaults()
	o.Scope.Help("penstock_tuner_decisions_total", "Decisions of the tuner.")
	o.Scope.Help("penstock_tuner_verdicts_total", "Verdicts on the tuner's decisions after their evaluation.")
	l := &Loop{o: o, mode: o.Mode, interval: o.Interval, changed: make(chan struct{}, 1)}
	l.SetTargets(o.Targets)
	return l
}

// Start begins to tick. A second Start does nothing.
func (l *Loop) Start() {
	l.lifecycle.Lock()
	defer l.lifecycle.Unlock()
	if l.stop != nil {
		return
	}
	l.stop, l.stopped = make(chan struct{}), make(chan struct{})
	go l.run(l.stop, l.stopped)
}

// Stop ends the ticking and waits for a tick under way. Idempotent; Start may follow it.
func (l *Loop) Stop() {
	l.lifecycle.Lock()
	defer l.lifecycle.Unlock()
	if l.stop == nil {
		return
	}
	close(l.stop)
	<-l.stopped
	l.stop = nil
}

func (l *Loop) run(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	ticker := time.NewTicker(l.Interval())
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-l.changed:
			ticker.Reset(l.Interval())
		case <-ticker.C:
			l.Tick()
		}
	}
}

// Tick looks at every target once, as the loop does at each interval.
func (l *Loop) Tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mode == ModeOff || l.frozen {
		return
	}
	now := time.Now()
	for _, t := range l.targets {
		l.look(t, now)
	}
}

// OnCall takes a finished upstream call; it is an observe.CallFunc. In active mode it may turn the
// knobs of targets that want a search.
func (l *Loop) OnCall(c observe.Call) {
	if searches := l.searches.Load(); searches != nil {
		if s := (*searches)[c.Upstream]; s != nil {
			s.onCall(c, time.Now())
		}
	}
}

// publish has OnCall see the searches, or none unless the tuner is active. The caller holds mu.
func (l *Loop) publish() {
	if l.mode != ModeActive || l.frozen {
		l.searches.Store(nil)
		return
	}
	m := make(map[string]*search)
	for _, t := range l.targets {
		if t.search != nil {
			m[t.Upstream] = t.search
		}
	}
	l.searches.Store(&m)
}

// Mode returns the mode.
func (l *Loop) Mode() Mode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mode
}

// SetMode switches the mode while the loop runs. Values already tuned stay; a change that still waits
// for its verdict gets none unless the mode stays active.
func (l *Loop) SetMode(m Mode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m == l.mode {
		return
	}
	l.mode = m
	for _, t := range l.targets {
		l.abandon(t, "not judged: the tuning mode was switched to "+string(m))
	}
	l.publish()
}

// SetFrozen stops, or lets go on, all tuning at once. What waits for its verdict is judged after the
// thaw.
func (l *Loop) SetFrozen(frozen bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = frozen
	l.publish()
}

// Frozen reports whether the tuner is frozen.
func (l *Loop) Frozen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frozen
}

// Interval returns the time between looks.
func (l *Loop) Interval() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.interval
}

// SetInterval changes the time between looks while the loop runs; 0 is the default.
func (l *Loop) SetInterval(d time.Duration) {
	if d == 0 {
		d = DefaultInterval
	}
	l.mu.Lock()
	l.interval = max(d, 100*time.Millisecond)
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// SetTargets replaces the targets. What was learned about those that stay is kept.
func (l *Loop) SetTargets(targets []Target) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var next []*target
	for _, want := range targets {
		i := slices.IndexFunc(l.targets, func(t *target) bool { return t.Target == want })
		if i >= 0 {
			next = append(next, l.targets[i])
			l.targets = slices.Delete(l.targets, i, i+1)
		} else {
			t := &target{Target: want, since: time.Now()}
			if want.Search || want.Rate != "" {
				t.search = &search{o: &l.o, target: want}
			}
			next = append(next, t)
		}
	}
	for _, gone := range l.targets {
		l.abandon(gone, "not judged: the upstream was removed")
	}
	l.targets = next
	l.publish()
}

// Record writes an operator's change, such as a pin, into the ledger and returns its id.
func (l *Loop) Record(d Decision) string { return l.o.Ledger.Record(d) }

// Decisions returns the decisions that match, newest first.
func (l *Loop) Decisions(f Filter) []Decision { return l.o.Ledger.Decisions(f) }

// Decision returns one decision by id.
func (l *Loop) Decision(id string) (Decision, bool) { return l.o.Ledger.Decision(id) }

// Status is where one target stands.
type Status struct {
	Upstream string  `json:"upstream"`
	Knob     string  `json:"knob"`
	Value    float64 `json:"value"`
	// Rule and Reason say why the tuner did what it did at its last look, also when that was nothing.
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
	// Judging is the id of the decision that waits for its verdict.
	Judging string `json:"judging,omitempty"`
}

// Status tells where each target stands.
func (l *Loop) Status() []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Status, 0, len(l.targets))
	for _, t := range l.targets {
		s := Status{Upstream: t.Upstream, Knob: t.Workers, Value: t.value, Rule: t.rule, Reason: t.reason}
		if t.pending != nil {
			s.Judging = t.pending.id
		}
		out = append(out, s)
	}
	return out
}
