package learn

import "math"

// The states of a key's prediction.
const (
	idle     uint8 = iota
	ghost          // predicted, not made
	underWay       // the call is made
	kept           // the answer is in the cache and nobody asked yet
)

// record is what is known of one key.
type record struct {
	cover   int64 // end of the copy that there would be without predictions
	expires int64 // end of the copy in the cache; 0: none
	last    int64 // when it was asked for
	since   int64 // when the pending prediction was made
	due     int64 // when time brings a prediction
	before  int64 // when the ghost before it was made
	quiet   int64 // no prediction before
	burst   int64 // begin of the latest burst of requests

	life       float32 // freshness of the latest copy, ns; 0: not known
	interval   float32 // between bursts, ns
	fast, slow float32 // requests in about 3 and 23 spans, as of last

	slot     int32
	at       int32 // place on the agenda, 1 the first; 0: none
	stamp    uint32
	inserts  uint32 // of the cache, and its surplus, when the key was last used there
	surplus  uint32
	cell     cell
	older    cell  // of the ghost before the pending prediction, if it is haunted
	promised uint8 // probability of the pending prediction, of 255
	cost     uint8 // what the pending prediction's call is cheaper than a whole one, of 255
	state    uint8
	source   Source
	history  uint8 // of the latest copies: whether the key was asked for
	early    bool  // a prediction's copy stood in for one that would have ended later
	haunted  bool
	streak   uint8 // bursts that came when expected
	// displaced is the chance, of 255, that the copy would still be there if nothing had been stored in vain.
	displaced uint8
}

// record returns the record of a key, a new one if need be.
func (m *Model) record(key uint64) *record {
	if s := m.keys.get(key); s >= 0 {
		return &m.records[s]
	}
	s, evicted := m.keys.add(key)
	r := &m.records[s]
	if r.state >= underWay {
		m.counts[r.source].Ended[Forgotten]++
		if m.o.Ended != nil {
			m.o.Ended(evicted, r.source, Forgotten)
		}
		m.release(r)
	}
	if r.at > 0 {
		m.agenda.remove(m.records, r.at)
	}
	*r = record{slot: s}
	return r
}

// pend begins a prediction.
func (m *Model) pend(r *record, p *Prediction, state uint8, now int64) {
	// A ghost that a call is made for after all comes to what the call comes to, but would have come sooner.
	if r.haunted = r.state == ghost; r.haunted {
		r.older, r.before = r.cell, r.since
	}
	r.state, r.since, r.cell, r.source, r.stamp = state, now, p.cell, p.Source, m.cache.inserts
	r.cost = uint8(255 * (1 - min(max(p.Cost, 0), 1)))
	if p.Cost == 0 {
		r.cost = 0
	}
	r.promised = uint8(min(p.Probability, maxPromise) * 255)
	m.odds.open(p.cell)
	m.retire(m.ghosts.push(p.Key, m.cache.inserts, now))
}

// price is the share of a call that the pending prediction takes.
func (r *record) price() float32 { return 1 - float32(r.cost)/255 }

// maxShare is the whole of what is kept in a byte.
const maxShare = 255

// maxPromise keeps a great many sure predictions from being made on one mistaken belief.
const maxPromise = 0.95

// settle ends a prediction: won says that it came true at now, for a request of which a call takes latency.
func (m *Model) settle(r *record, won bool, now, latency int64) {
	c := &m.counts[r.source]
	c.Predicted++
	m.promise(r, won)
	if won {
		c.True++
		m.odds.win(r.cell, 1, share(now-r.since, latency))
		if r.haunted {
			m.odds.win(r.older, 1, share(now-r.before, latency))
		}
	}
	switch {
	case r.state >= underWay && won:
		m.gov.used(r.price())
	case r.state == kept:
		m.cache.surplus += uint32(r.promised)
	}
	m.release(r)
}

// release ends a prediction without a judgement.
func (m *Model) release(r *record) {
	if r.state >= underWay {
		m.expected -= float32(r.promised) / 255
	}
	r.state = idle
}

// lifetimes is what is known of the cache.
type lifetimes struct {
	inserts  uint32  // answers stored
	surplus  uint32  // of them those that predictions brought in vain, or probably will have, in shares of 255
	survival float32 // inserts that an unused copy outlives; 0: none was ever evicted
	pace     float32 // nanoseconds from insert to insert
	life     float32 // freshness of the latest copy, ns; 0: not known
	at       int64   // of the latest insert
}

func (c *lifetimes) insert(now int64) {
	if c.inserts > 0 {
		c.pace += (float32(now-c.at) - c.pace) / 64
	}
	c.inserts++
	c.at = now
}

func (c *lifetimes) age(stamp uint32) float32 { return float32(c.inserts - stamp) }

// patience is how many inserts a prediction may wait to come true where no copy ends and none is ever
// evicted: what takes longer was no prediction.
const patience = 4096

// outlived reports whether a copy of that stamp would probably have been evicted.
func (c *lifetimes) outlived(stamp uint32) bool {
	if c.survival == 0 {
		return c.life == 0 && c.age(stamp) > patience
	}
	return c.age(stamp) > c.survival
}

func (c *lifetimes) evicted(stamp uint32) {
	age := max(c.age(stamp), 1)
	if c.survival == 0 {
		c.survival = age
	}
	c.survival = max(c.survival+(age-c.survival)/16, 1)
}

// displaced is the share, of 255, that copies stored in vain have in the eviction of r: of all that came since
// r was used. What would have pushed it out a little later all the same is not known, so this errs on the safe side.
func (c *lifetimes) displaced(r *record) uint8 {
	all, vain := int32(c.inserts-r.inserts), int32(c.surplus-r.surplus)
	if vain <= 0 || all <= 0 {
		return 0
	}
	return uint8(min(vain/all, maxShare))
}

func (c *lifetimes) used(stamp uint32) {
	if age := c.age(stamp); c.survival > 0 && age > c.survival {
		c.survival += (age - c.survival) / 4
	}
}

// span is the time for which a copy of r is worth having, ns; 0: not known.
func (c *lifetimes) span(r *record) float32 {
	switch {
	case r.life > 0:
		return r.life
	case c.life > 0:
		return c.life
	case c.survival > 0:
		return c.survival*c.pace + 1
	}
	return 0
}

// The weights of requests of the past are halved after so many spans.
const (
	fastHalf = 2
	slowHalf = 16
)

// touch takes in a request for the rates.
func (m *Model) touch(r *record, now int64) {
	r.fast, r.slow = m.rates(r, now)
	r.fast++
	r.slow++
	r.last = now
	r.inserts, r.surplus = m.cache.inserts, m.cache.surplus
}

// rates are the weighted requests of the past.
func (m *Model) rates(r *record, now int64) (fast, slow float32) {
	span := m.cache.span(r)
	if span == 0 || r.last == 0 {
		return 0, 0
	}
	d := float64(now-r.last) / float64(span)
	if d < 1./64 {
		return r.fast, r.slow
	}
	f := math.Exp2(-d / fastHalf)
	return r.fast * float32(f), r.slow * float32(math.Sqrt(math.Sqrt(math.Sqrt(f))))
}

// popularity is how many requests are expected in a span, by both rates.
func (m *Model) popularity(r *record, now int64) (fast, slow float32) {
	f, s := m.rates(r, now)
	return f * (math.Ln2 / fastHalf), s * (math.Ln2 / slowHalf)
}
