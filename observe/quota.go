package observe

import "time"

// Unknown stands for a duration or a number of a [Quota] that the upstream did not tell.
const Unknown = -1

// Quota is what an answer tells of the upstream's quotas.
type Quota struct {
	// Windows are those told, in the order of their names and periods; at most 8.
	Windows []QuotaWindow
	// RetryAfter is how long to send nothing; Unknown if that is not told. It beats what the windows say.
	RetryAfter time.Duration
}

// QuotaWindow is one quota. Each field may be unknown.
type QuotaWindow struct {
	// Name is the upstream's name for it, "" if it has none.
	Name string
	// Of is what the window counts, where the upstream has a name for that (a resource, a bucket), since
	// it then does not count every call; "" otherwise.
	Of string
	// Limit is how many calls Period admits; 0: not told.
	Limit float64
	// Period is the length of the window; 0: not told.
	Period time.Duration
	// Remaining is how many calls are left; Unknown if not told.
	Remaining float64
	// Reset is in how long more calls are admitted, from when the answer came; Unknown if not told. It
	// may be the end of a fixed window, the time to the next token, or a guess.
	Reset time.Duration
}
