package cache

import "sync"

// queue orders the keys of one route by when they came, with a hand that goes from the oldest to the newest and
// over again: what was asked for since the hand was there last stays in its place, anything else
// goes (SIEVE, Zhang and others, NSDI 2024). So what is read once goes soon, also in a scan. It has one place for
// each key stored for the route, and is safe for concurrent use. Its lock is taken under otter's.
type queue struct {
	mu     sync.Mutex // guards what follows
	places map[string]*place
	// oldest and newest are the ends; hand is what is looked at next, nil: the oldest.
	oldest, newest, hand *place
}

type place struct {
	key          string
	older, newer *place
}

func newQueue() *queue { return &queue{places: make(map[string]*place)} }

// add enters key as the newest, unless it has a place.
func (q *queue) add(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.places[key] != nil {
		return
	}
	p := &place{key: key, older: q.newest}
	if q.newest != nil {
		q.newest.newer = p
	} else {
		q.oldest = p
	}
	q.newest = p
	q.places[key] = p
}

// next gives the key under the hand, which moves on.
func (q *queue) next() (key string, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.hand
	if p == nil {
		p = q.oldest
	}
	if p == nil {
		return "", false
	}
	q.hand = p.newer
	return p.key, true
}

func (q *queue) remove(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.places[key]
	if p == nil {
		return
	}
	delete(q.places, key)
	if q.hand == p {
		q.hand = p.newer
	}
	if p.older != nil {
		p.older.newer = p.newer
	} else {
		q.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else {
		q.newest = p.older
	}
}
