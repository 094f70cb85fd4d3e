package observe

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
)

// DefaultTopKeys is how many keys a TopKeys follows unless told otherwise.
const DefaultTopKeys = 500

// TopKeys finds the keys that were counted most often, in fixed memory: the Space-Saving algorithm of Metwally,
// Agrawal and El Abbadi (2005). A key that is not followed takes the place of the one with the lowest count and
// inherits it, as its error: a count is never too low by anything, nor too high by more than that.
//
// It may be fed on the way of requests: who finds it busy goes on uncounted, so nobody waits. That loses a few
// counts under contention, of all keys alike.
type TopKeys struct {
	size int

	mu    sync.Mutex // guards what follows
	byKey map[string]*keyCount
	least keyHeap
}

// KeyCount is one key of a TopKeys.
type KeyCount struct {
	Key, Upstream, Route string
	// Count is at most Error too high.
	Count, Error uint64
}

type keyCount struct {
	KeyCount
	at int // in the heap
}

// NewTopKeys follows size keys; 0: DefaultTopKeys.
func NewTopKeys(size int) *TopKeys {
	if size <= 0 {
		size = DefaultTopKeys
	}
	return &TopKeys{size: size, byKey: make(map[string]*keyCount, size)}
}

// maxKeyLength bounds the keys that are followed.
const maxKeyLength = 1024

// Add counts a key. It never waits.
func (t *TopKeys) Add(key, upstream, route string) {
	if len(key) > maxKeyLength || !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	if k, ok := t.byKey[key]; ok {
		k.Count++
		heap.Fix(&t.least, k.at)
		return
	}
	if len(t.least) < t.size {
		k := &keyCount{KeyCount: KeyCount{Key: key, Upstream: upstream, Route: route, Count: 1}}
		t.byKey[key] = k
		heap.Push(&t.least, k)
		return
	}
	k := t.least[0]
	delete(t.byKey, k.Key)
	k.KeyCount = KeyCount{Key: key, Upstream: upstream, Route: route, Count: k.Count + 1, Error: k.Count}
	t.byKey[key] = k
	heap.Fix(&t.least, 0)
}

// Top lists the n keys that were counted most often, most first. Keys of which nothing is sure (their
// error is their count but one) come last.
func (t *TopKeys) Top(n int) []KeyCount {
	t.mu.Lock()
	list := make([]KeyCount, 0, len(t.least))
	for _, k := range t.least {
		list = append(list, k.KeyCount)
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b KeyCount) int {
		return cmp.Or(cmp.Compare(b.Count-b.Error, a.Count-a.Error), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	return list[:min(n, len(list))]
}

// keyHeap has the lowest count at the top.
type keyHeap []*keyCount

func (h keyHeap) Len() int           { return len(h) }
func (h keyHeap) Less(i, j int) bool { return h[i].Count < h[j].Count }
func (h keyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push and Pop are for container/heap.
func (h *keyHeap) Push(x any) {
	k, _ := x.(*keyCount)
	k.at = len(*h)
	*h = append(*h, k)
}

// Pop is never asked for: keys are replaced in place.
func (h *keyHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
