package traces

import (
	"container/heap"
	"container/list"
)

// LRU is how many hits a cache with room for so many objects has that gives up what was not asked for the longest.
func LRU(keys []uint32, room int) (hits int) {
	order, at := list.New(), make(map[uint32]*list.Element, room)
	for _, k := range keys {
		if e, ok := at[k]; ok {
			order.MoveToFront(e)
			hits++
			continue
		}
		if order.Len() == room {
			delete(at, order.Remove(order.Back()).(uint32))
		}
		at[k] = order.PushFront(k)
	}
	return hits
}

// Optimum is how many hits the best cache has that stores all it is asked for (Belady 1966): it knows the future, and gives up what is
// asked for again last.
func Optimum(keys []uint32, room int) (hits int) {
	const never = 1 << 40
	next := make([]int, len(keys))
	last := make(map[uint32]int)
	for i := len(keys) - 1; i >= 0; i-- {
		if j, ok := last[keys[i]]; ok {
			next[i] = j
		} else {
			next[i] = never + i
		}
		last[keys[i]] = i
	}
	held := make(map[uint32]int, room) // when it is asked for next
	var far farthest
	for i, k := range keys {
		if _, ok := held[k]; ok {
			hits++
		} else if len(held) >= room {
			for {
				if x := heap.Pop(&far).(use); held[x.key] == x.at {
					delete(held, x.key)
					break
				}
			}
		}
		held[k] = next[i]
		heap.Push(&far, use{next[i], k})
	}
	return hits
}

// use is when a key is asked for next.
type use struct {
	at  int
	key uint32
}

// farthest is a heap with the latest next use on top; outdated uses are skipped when popped.
type farthest []use

func (f farthest) Len() int           { return len(f) }
func (f farthest) Less(i, j int) bool { return f[i].at > f[j].at }
func (f farthest) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *farthest) Push(x any)        { *f = append(*f, x.(use)) }
func (f *farthest) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}
