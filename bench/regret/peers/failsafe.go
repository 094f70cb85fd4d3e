package peers

import (
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
)

// Failsafe is failsafe-go's adaptive limiter, the library itself, with its defaults but a higher
// maximum.
type Failsafe struct {
	l adaptivelimiter.AdaptiveLimiter[any]
}

// NewFailsafe makes one.
func NewFailsafe() *Failsafe {
	return &Failsafe{adaptivelimiter.NewBuilder[any]().WithLimits(1, Max, 20).Build()}
}

// Name names it.
func (f *Failsafe) Name() string { return "failsafe-go" }

// Started takes a permit.
func (f *Failsafe) Started(time.Time) any {
	p, ok := f.l.TryAcquirePermit()
	if !ok {
		return nil
	}
	return p
}

// Ended gives it back.
func (f *Failsafe) Ended(token any, s Sample) {
	p, ok := token.(adaptivelimiter.Permit)
	switch {
	case !ok:
	case s.Dropped:
		p.Drop()
	default:
		p.Record()
	}
}

// Limit is the library's.
func (f *Failsafe) Limit() int { return f.l.Limit() }

// Rate is none.
func (f *Failsafe) Rate() float64 { return 0 }
