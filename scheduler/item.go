package scheduler

import (
	"context"
	"time"

	"penstock/request"
)

// itemState is where an item is on its way. It is guarded by the scheduler's lock.
type itemState uint8

const (
	itemFree    itemState = iota // in the free list
	itemQueued                   // in the queue
	itemForming                  // taken from the queue into a batch that waits for more members
	itemGranted                  // holds, or shares, a permit
	itemDone                     // refused, or its batch has answered: the verdict is there
	itemGone                     // its client left while its batch was under way
)

// item is one request in the queue. Items are reused: a free one keeps its channel and its
// promote function.
type item struct {
	links [3]links // one pair for each kind of list it can be in

	req      *request.Request
	ctx      context.Context
	state    itemState
	class    uint8 // urgency, or backgroundClass
	flow     *flow // the flow it is queued in, or that pays for it
	group    *group
	plan     request.BatchPlan
	forming  *batch
	est      *estimate
	cost     float64   // estimated permit-seconds
	weight   float64   // of its tenant
	at       time.Time // when it was queued
	granted  time.Time
	deadline time.Time // zero: none

	ready   chan struct{} // capacity 1; one signal in each life
	result  request.Result
	promote func(request.Urgency)

	nextFree *item
}

// links is one membership of an intrusive list.
type links struct{ prev, next *item }

// The kinds of list that an item can be in.
const (
	inFlow  = iota // the tenant's requests of one urgency, oldest first
	inClass        // all requests of one urgency, oldest first
	inGroup        // the requests of one urgency that may share a call, oldest first
)

// itemList is an intrusive doubly linked list: add and remove are O(1) and allocate nothing.
type itemList struct {
	head, tail *item
	n          int
}

func (l *itemList) add(it *item, kind int) {
	it.links[kind] = links{prev: l.tail}
	if l.tail != nil {
		l.tail.links[kind].next = it
	} else {
		l.head = it
	}
	l.tail = it
	l.n++
}

func (l *itemList) remove(it *item, kind int) {
	k := &it.links[kind]
	if k.prev != nil {
		k.prev.links[kind].next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.links[kind].prev = k.prev
	} else {
		l.tail = k.prev
	}
	*k = links{}
	l.n--
}
