package observe

import "time"

// Outcome classes how an upstream call ended. It becomes the metric label outcome.
type Outcome string

// The outcomes of an upstream call.
const (
	OutcomeOK       Outcome = "ok"        // 1xx to 3xx, and 4xx that are the client's own business
	OutcomeClient   Outcome = "client"    // 4xx but 408, 425 and 429
	OutcomeRefused  Outcome = "refused"   // 429: over the quota
	OutcomeOverload Outcome = "overload"  // 503 or 529
	OutcomeError    Outcome = "error"     // other 5xx, broken answer
	OutcomeTimeout  Outcome = "timeout"   // no answer in time
	OutcomeDown     Outcome = "down"      // no connection
	OutcomeCanceled Outcome = "cancelled" // given up by our side
)

// Call is one finished upstream call (a batch is one call; each retry is one).
type Call struct {
	Upstream, Route string
	// Start is when the call was sent. Windows assign a call to the epoch in which it started.
	Start time.Time
	// Duration is from Start to the end of the answer's body.
	Duration time.Duration
	// Status is the HTTP status, 0 if none came.
	Status  int
	Outcome Outcome
	// InFlight is how many calls of the upstream were in flight when it started, itself included.
	InFlight int
	// Retry counts the tries of the same request before this one; 0: the first.
	Retry int
	// Items is how many requests it served, 1 or more.
	Items int
	// Bytes is the size of the answer's body.
	Bytes int64
	// Header are the answer's headers, for quota fields; read-only, nil if none came.
	Header map[string][]string
	// Quota is what the answer told of quotas; read-only, nil if it told nothing.
	Quota *Quota
}

// CallFunc takes finished calls. It must be quick and may be called at once.
type CallFunc func(Call)
