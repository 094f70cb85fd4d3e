package learn

import "math"

// Never is the end of what does not end.
const Never = math.MaxInt64

// Options set up a Model. Zero values take the defaults.
type Options struct {
	// Keys is how many keys are tracked, default 10,000; Contexts how many nodes of four associations, default
	// twice Keys; Sessions how many clients, default an eighth of Keys. Each is rounded up to a power of two. A
	// key takes about 110 bytes, a node 57, a session 80.
	Keys, Contexts, Sessions int
	// Floor is the least probability, 0..1, of a prediction that saves a whole wait. Default 0.2.
	Floor float64
	// Budget is the most extra calls per call that would be made without predictions, default 0.1.
	Budget float64
	// Precision is the share, 0..1, of the predictions that must come true, default 0.5.
	Precision float64
	// Off switches sources off.
	Off [Sources]bool
	// Ended, if not nil, hears how each prediction that was made ended. It must not call the Model.
	Ended func(key uint64, s Source, f Fate)
	// KeyOf gives the key of a number of a family; nil: no numbers are predicted.
	KeyOf func(family uint64, number int64) uint64
}

func (o *Options) ensureDefaults() {
	if o.Keys <= 0 {
		o.Keys = 10_000
	}
	if o.Contexts <= 0 {
		o.Contexts = 2 * o.Keys
	}
	if o.Sessions <= 0 {
		o.Sessions = max(o.Keys/8, 64)
	}
	if o.Floor <= 0 {
		o.Floor = 0.2
	}
	if o.Budget <= 0 {
		o.Budget = 0.1
	}
	if o.Precision <= 0 {
		o.Precision = 0.5
	}
}

// Access is one request, as the cache answered it.
type Access struct {
	// At is the time in nanoseconds, from any origin; never less than before.
	At int64
	// Key is what was asked for, Session who asked, Group whose requests are looked at together (a
	// tenant): hashes.
	Key, Session, Group uint64
	// Hit: the answer came from the cache. Joined: it came with a call that was under way.
	Hit, Joined bool
	// Latency is how long a call for such a key takes, in nanoseconds.
	Latency int64
	// Family and Number are what a numbered key is made of; no Family: it has no number.
	Family uint64
	Number int64
}

// Prediction is a key that is worth a call now.
type Prediction struct {
	Key    uint64
	Source Source
	// Probability is the measured chance, 0..1, that the key is asked for while the copy is good.
	Probability float32
	// Lead is when it is expected, in nanoseconds from now; 0: not known.
	Lead int64
	// Family and Number name a key that may never have been asked for.
	Family uint64
	Number int64
	// Cost is the share of a call that it takes, 0..1 (a place in a batch); 0 counts as 1.
	Cost float32

	cell  cell
	worth float32
}

// Model learns and predicts. Make it with [New].
type Model struct {
	o        Options
	keys     table
	records  []record
	agenda   agenda
	rules    rules
	sessions table
	rings    []session
	groups   table
	streams  []group
	families table
	runs     []run
	odds     *oddsTable
	gov      governor
	ghosts   ghosts
	cache    lifetimes

	expected float32 // calls that the outstanding predictions will probably save
	latency  int64   // of the latest access
	out      []Prediction
	counts   [Sources]Counts
	misses   uint64
	promises [Sources][10][2]uint32
	warmed   uint64 // see warm
}

const (
	groupCount  = 64
	familyCount = 4096
)

// New returns an empty Model.
func New(o Options) *Model {
	o.ensureDefaults()
	m := &Model{
		o: o, keys: newTable(o.Keys), rules: newRules(o.Contexts), sessions: newTable(o.Sessions),
		groups: newTable(groupCount), families: newTable(familyCount), odds: newOddsTable(),
		gov: newGovernor(o), ghosts: newGhosts(min(o.Keys, maxGhosts)), out: make([]Prediction, 0, 32),
	}
	m.records = make([]record, m.keys.size())
	m.rings = make([]session, m.sessions.size())
	m.streams = make([]group, m.groups.size())
	m.runs = make([]run, m.families.size())
	return m
}

// Govern changes the floor, the budget and the target of precision; see [Options].
func (m *Model) Govern(floor, budget, precision float64) {
	m.gov.floor, m.gov.budget, m.gov.precision = float32(floor), budgetShare*float32(budget), float32(precision)
}

// Access takes in a request and returns the predictions worth making now. The slice is good until the
// next call.
func (m *Model) Access(a Access) []Prediction {
	m.out = m.out[:0]
	m.latency = a.Latency
	m.expire(a.At)
	r := m.record(a.Key)
	fresh := m.arrive(r, a)
	called := !a.Hit && !a.Joined
	if a.At >= r.cover {
		m.misses++
		m.gov.miss(1 - float32(r.displaced)/255)
		r.displaced = 0
		if called {
			m.gov.call()
			r.early = false
		}
		r.cover = a.At + max(int64(r.life), a.Latency+1)
		if r.expires == Never {
			r.cover = Never
		}
	} else if called && r.early {
		m.gov.call() // the copy of a prediction ended before that of a later call would have
		r.early = false
	}
	m.beat(r, a.At)
	m.touch(r, a.At)
	m.plan(r, a.At)
	nodes := m.learn(m.session(a.Session), m.group(a.Group), &a, fresh && r.quiet <= a.At)
	m.predict(&nodes, &a)
	return m.out
}

// arrive settles what was predicted of a key that is asked for now, and reports whether the request
// would have made a call if it were not for a prediction.
func (m *Model) arrive(r *record, a Access) (fresh bool) {
	switch {
	case r.state == ghost && !a.Hit:
		if m.cache.outlived(r.stamp) {
			m.settle(r, false, 0, 0)
		} else {
			m.settle(r, true, a.At, a.Latency)
		}
	case r.state == ghost:
		r.state = idle // somebody else had it fetched
	case r.state == underWay:
		m.end(r, Late)
		m.settle(r, true, a.At, a.Latency)
		fresh = true
	case r.state == kept && a.Hit:
		m.end(r, Used)
		m.cache.surplus -= maxShare - uint32(r.promised)
		m.cache.used(r.stamp)
		m.settle(r, true, a.At, 0)
		fresh = true
	case r.state == kept:
		m.end(r, Evicted)
		m.settle(r, false, 0, 0)
	}
	if !a.Hit {
		r.expires = 0
	}
	return fresh || !a.Hit && !a.Joined
}

// share is how much of a wait a prediction saves that was made d before its time.
func share(d, latency int64) float32 {
	if latency <= 0 || d >= latency {
		return 1
	}
	return float32(d) / float32(latency)
}

// Issue takes in that the call for a prediction is made.
func (m *Model) Issue(p Prediction, now int64) {
	r := m.record(p.Key)
	m.counts[p.Source].Issued++
	m.pend(r, &p, underWay, now)
	r.early = true
	m.expected += float32(r.promised) / 255
	m.gov.issue(r.price())
}

// Withdraw takes back an issued prediction for which no call was made.
func (m *Model) Withdraw(key uint64) {
	s := m.keys.find(key)
	if s < 0 || m.records[s].state != underWay {
		return
	}
	r := &m.records[s]
	m.counts[r.source].Issued--
	m.release(r)
	m.gov.withdraw(r.price())
}

// Failed takes in that the call for a prediction failed, or its answer can't be kept: it is left alone
// until quiet.
func (m *Model) Failed(key uint64, quiet int64) {
	s := m.keys.find(key)
	if s < 0 {
		return
	}
	r := &m.records[s]
	if r.state == underWay {
		m.end(r, Failed)
		m.release(r)
	}
	r.quiet = quiet
}

// Unkept takes in that an answer to anybody's request can't be used from the cache: nothing is learned of the
// key until quiet, and it is not predicted.
func (m *Model) Unkept(key uint64, quiet int64) {
	r := m.record(key)
	r.cover, r.expires = 0, 0
	m.Failed(key, quiet)
	if r.state == ghost {
		m.release(r) // it says nothing about its source
	}
	if r.at > 0 {
		m.agenda.remove(m.records, r.at)
	}
}

// Stored takes in that an answer to anybody's request is in the cache until expires ([Never]: without
// end).
func (m *Model) Stored(key uint64, now, expires int64) {
	r := m.record(key)
	m.cache.insert(now)
	r.expires = expires
	r.inserts, r.surplus = m.cache.inserts, m.cache.surplus
	if r.state == underWay {
		m.cache.surplus += maxShare - uint32(r.promised)
		r.state = kept
		r.history <<= 1
	} else {
		r.cover = max(r.cover, expires)
		r.history = r.history<<1 | 1
		if r.state == idle {
			r.since, r.stamp = now, m.cache.inserts
		}
	}
	if expires != Never {
		r.life = float32(expires - now)
		m.cache.life = r.life
	}
	m.plan(r, now)
}

// Seen takes in that a copy is in the cache until expires, which the model did not know.
func (m *Model) Seen(key uint64, now, expires int64) {
	if s := m.keys.find(key); s >= 0 {
		m.records[s].expires = expires
		m.plan(&m.records[s], now)
	}
}

// Evicted takes in that a copy had to leave the cache before its end.
func (m *Model) Evicted(key uint64) {
	s := m.keys.find(key)
	if s < 0 {
		return
	}
	r := &m.records[s]
	r.expires, r.cover = 0, 0
	r.displaced = m.cache.displaced(r)
	if r.state == idle && r.last <= r.since && r.since > 0 {
		m.cache.evicted(r.stamp) // never asked for again: what a useless prefetch would have come to
	}
	if r.state != kept {
		return
	}
	m.end(r, Evicted)
	m.cache.evicted(r.stamp)
	m.settle(r, false, 0, 0)
}
