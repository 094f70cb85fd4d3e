package tuner

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// Defaults of the loop.
const (
	DefaultInterval   = 5 * time.Second
	DefaultMinSamples = 30
	// longestEvaluation ends the wait for more samples; what is then still unsure is neutral.
	longestEvaluation = 80 * time.Second
	// guardWindow is what the guardrails look at, and guardCalls the least calls in it.
	guardWindow = 15 * time.Second
	guardCalls  = 10
)

// Signals is where the loop reads; observe.Window is one.
type Signals interface {
	// Between returns the signals of an upstream (route empty) over the whole seconds in [from, to),
	// calls being counted where they started.
	Between(upstream, route string, from, to time.Time) observe.Signals
}

// Options sets up a Loop.
type Options struct {
	// Mode is the mode to begin with; empty: off.
	Mode Mode
	// Modes are the modes of single knobs, by name or by a pattern that ends in ".*"; none allows more
	// than Mode.
	Modes map[string]Mode
	// Interval is the time between looks: default 5 s, at least 100 ms. A shorter one acts sooner and
	// sees fewer samples each time.
	Interval time.Duration
	// Appetite says how bold to be; zero fields are balanced.
	Appetite Appetite
	// Knobs holds the knobs; never nil.
	Knobs *knob.Registry
	// Signals is where the guardrails and the targets read; never nil.
	Signals Signals
	// Plugs are what the loop looks after; SetPlugs changes them.
	Plugs []Plug
	// Targets are upstreams whose workers and rate the loop looks after, beside Plugs; SetTargets changes them.
	Targets []Target
	// Ledger takes the decisions; nil: one of the default size.
	Ledger *Ledger
	// Tape takes all that the controllers see, for Replay; nil: none.
	Tape *Tape
	// Scope takes the tuner's metrics; nil: none.
	Scope *observe.Scope
	// Log gets a line for each decision and each verdict; nil: none.
	Log *slog.Logger
}

func (o *Options) ensureDefaults() {
	if o.Mode == "" {
		o.Mode = ModeOff
	}
	if o.Ledger == nil {
		o.Ledger = NewLedger(0)
	}
	if o.Scope == nil {
		o.Scope = observe.Discard()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func intervalOf(d time.Duration) time.Duration {
	if d == 0 {
		d = DefaultInterval
	}
	return max(d, 100*time.Millisecond)
}

// Loop is the tuner at work. Knobs are turned while it holds its lock: a subscriber of the registry may
// call Record, Decisions and Decision, and nothing else of the Loop.
type Loop struct {
	o       Options
	changed chan struct{} // one token when the interval changed

	mu        sync.Mutex // guards what follows; held for a whole tick, which never waits
	mode      Mode
	modes     map[string]Mode
	switches  Switches
	following bool // another node tunes
	interval  time.Duration
	appetite  Appetite
	plugs     []*plugged
	targets   []Target
	couples   map[string]*couple
	taping    *tapeTick // the tick under way; nil: it is not recorded
	replayed  bool      // guardrails come from a tape

	gate sync.RWMutex // guards what follows; held for reading while a Fast controller works; taken after mu
	fast map[string][]quick

	lifecycle sync.Mutex // guards what follows; taken before mu
	stop      chan struct{}
	stopped   chan struct{}
}

// quick is a Fast controller that may see calls now.
type quick struct {
	Fast
	hand Hand
}

// New returns a Loop that does nothing until Start.
func New(o Options) *Loop {
	o.ensureDefaults()
	o.Scope.Help("penstock_tuner_decisions_total", "Decisions of the tuner.")
	o.Scope.Help("penstock_tuner_verdicts_total", "Verdicts on the tuner's decisions after their evaluation.")
	l := &Loop{
		o: o, mode: o.Mode, modes: maps.Clone(o.Modes), interval: intervalOf(o.Interval), appetite: o.Appetite.withDefaults(),
		changed: make(chan struct{}, 1), couples: make(map[string]*couple), targets: o.Targets,
	}
	l.SetPlugs(o.Plugs)
	if o.Tape != nil {
		o.Knobs.Subscribe(l.tapeChange)
	}
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

// Tick looks at every knob once, as the loop does at each interval.
func (l *Loop) Tick() { l.tick(time.Now()) }

func (l *Loop) tick(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.switches.Frozen {
		return
	}
	if !l.replayed {
		l.guard(now)
	}
	rev := l.o.Ledger.Rev()
	if l.o.Tape != nil {
		l.taping = &tapeTick{Looks: make(map[string]*tapeLook, len(l.plugs))}
	}
	for _, p := range l.plugs {
		l.look(p, now)
	}
	if l.taping != nil {
		l.taping.Made = l.madeSince(rev, now)
		l.o.Tape.put(tapeLine{Time: now, Tick: l.taping})
		l.taping = nil
	}
}

// guard finds out which upstreams are over a guardrail.
func (l *Loop) guard(now time.Time) {
	over := make(map[string]bool)
	for _, p := range l.plugs {
		name := p.Upstream
		if name == "" {
			continue
		}
		bad, known := over[name]
		if !known {
			c := l.o.Signals.Between(name, "", now.Add(-guardWindow), now).Calls
			limit := l.appetite.LatencyLimit
			bad = c.Outcomes.Total() >= guardCalls && (limit > 0 && c.P95 > limit ||
				l.appetite.ErrorLimitRatio > 0 && c.Outcomes.FailedRatio() > l.appetite.ErrorLimitRatio)
			over[name] = bad
		}
		p.guarded.Store(bad)
	}
}

// OnCall takes a finished upstream call; it is an observe.CallFunc. It may turn the knobs of Fast
// controllers.
func (l *Loop) OnCall(c observe.Call) { l.onCall(c, time.Now()) }

func (l *Loop) onCall(c observe.Call, now time.Time) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if l.o.Tape != nil && len(l.fast[c.Upstream]) > 0 {
		l.o.Tape.put(tapeLine{Time: now, Call: tapeCallOf(&c)})
	}
	for _, q := range l.fast[c.Upstream] {
		q.OnCall(c, now, q.hand)
	}
}

func (l *Loop) hand(p *plugged) Hand { return Hand{loop: l, p: p, Mode: p.mode, Appetite: l.appetite} }

// publish has OnCall reach the Fast controllers that may see calls. When it returns none other works any
// more. The caller holds mu.
func (l *Loop) publish() {
	m := make(map[string][]quick)
	for _, p := range l.plugs {
		if p.Fast != nil && p.mode != ModeOff && !l.switches.Frozen {
			m[p.Upstream] = append(m[p.Upstream], quick{p.Fast, l.hand(p)})
		}
	}
	l.gate.Lock()
	l.fast = m
	l.gate.Unlock()
}

// Interval returns the time between looks.
func (l *Loop) Interval() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.interval
}

// SetInterval changes the time between looks while the loop runs; 0 is the default.
func (l *Loop) SetInterval(d time.Duration) {
	l.mu.Lock()
	l.interval = intervalOf(d)
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// SetAppetite changes how bold the controllers are; zero fields are balanced.
func (l *Loop) SetAppetite(a Appetite) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appetite = a.withDefaults()
	l.publish()
}

// SetPlugs replaces what the loop looks after, beside the targets. A plug of a knob that stays keeps the
// controllers that it has, with all that they learned, if its kind, upstream and route stay.
func (l *Loop) SetPlugs(plugs []Plug) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var next []*plugged
	for _, want := range slices.Concat(l.targetPlugs(), plugs) {
		i := slices.IndexFunc(l.plugs, func(p *plugged) bool { return p.same(&want) })
		if i >= 0 {
			p := l.plugs[i]
			p.Couple, p.Safer = want.Couple, want.Safer
			p.couple = l.coupleOf(want.Couple)
			next = append(next, p)
			l.plugs = slices.Delete(l.plugs, i, i+1)
			continue
		}
		p := &plugged{Plug: want, since: time.Now(), couple: l.coupleOf(want.Couple)}
		if want.Slow != nil {
			p.times = want.Slow.times()
		}
		next = append(next, p)
	}
	for _, gone := range l.plugs {
		l.abandon(gone, "not judged: the knob was removed")
		gone.couple.release(gone.Knob)
	}
	l.plugs = next
	l.remode()
	l.tapePlugs(time.Now())
}

func (p *plugged) same(want *Plug) bool {
	return p.Knob == want.Knob && p.Kind == want.Kind && p.Upstream == want.Upstream && p.Route == want.Route &&
		(p.Slow == nil) == (want.Slow == nil) && (p.Fast == nil) == (want.Fast == nil)
}

func (l *Loop) coupleOf(name string) *couple {
	if name == "" {
		return nil
	}
	c, ok := l.couples[name]
	if !ok {
		c = new(couple)
		l.couples[name] = c
	}
	return c
}

// Record writes an operator's change, such as a pin, into the ledger and returns its id.
func (l *Loop) Record(d Decision) string { return l.o.Ledger.Record(d) }

// Decisions returns the decisions that match, newest first.
func (l *Loop) Decisions(f Filter) []Decision { return l.o.Ledger.Decisions(f) }

// Decision returns one decision by id.
func (l *Loop) Decision(id string) (Decision, bool) { return l.o.Ledger.Decision(id) }
