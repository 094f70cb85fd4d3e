package upstream

import (
	"sync"
	"time"
)

const (
	// budgetReserve is the most retries that can be saved up, so that a quiet hour does not pay
	// for a storm.
	budgetReserve = 10
	// budgetTrickle is how many retries a second are free, for upstreams with hardly any traffic.
	budgetTrickle = 0.1
)

// budget holds retries to a share of the traffic.
type budget struct {
	mu     sync.Mutex // guards what follows
	tokens float64
	last   time.Time // when the trickle was added last
}

func newBudget() *budget { return &budget{tokens: budgetReserve, last: time.Now()} }

// deposit accounts for a first attempt.
func (b *budget) deposit(ratio float64) {
	b.mu.Lock()
	b.tokens = min(b.tokens+ratio, budgetReserve)
	b.mu.Unlock()
}

// withdraw pays for a retry, if the budget has it.
func (b *budget) withdraw(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trickle(now)
	if b.tokens < 1-1e-9 { // ten deposits of 0.1 add up to a little less than 1
		return false
	}
	b.tokens--
	return true
}

// giveBack takes back what withdraw paid for a retry that is not made.
func (b *budget) giveBack() { b.deposit(1) }

// left is how many retries there are.
func (b *budget) left(now time.Time) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trickle(now)
	return b.tokens
}

func (b *budget) trickle(now time.Time) {
	if d := now.Sub(b.last); d > 0 {
		b.tokens = min(b.tokens+budgetTrickle*d.Seconds(), budgetReserve)
		b.last = now
	}
}
