package tuner

import (
	"time"

	"penstock/observe"
)

// QuotaEvent is one finished call as the quota's controller sees it.
type QuotaEvent struct {
	// Now is when it ended, Start when it was sent.
	Now, Start time.Time
	// Refused: it was answered with 429, or in a way that means the same.
	Refused bool
	// Told is what the answer told of quotas; nil: nothing.
	Told *observe.Quota
}

// QuotaState is what is known of the quotas of one upstream, and what follows for the next calls. Its zero
// value is a fresh start. It is a state machine: [QuotaState.Observe] and [QuotaState.Look] are
// deterministic in their arguments; nothing else moves it.
type QuotaState struct {
	// Pace follows the quotas that come round within seconds, which a steady rate can follow.
	Pace PaceState `json:"pace"`
	// Kind, Limit and Period are what is known of such a quota; empty: nothing.
	Short QuotaWindow `json:"short"`
	// Windows are the longer quotas, at most maxWindows.
	Windows []QuotaWindow `json:"windows,omitempty"`
	// Guesses weigh the kinds and periods that closures so far were consistent with.
	Guesses map[string]float64 `json:"guesses,omitempty"`

	log    sendLog
	closed *closure
	opens  time.Time // when the closure under way ends
	opened time.Time // when sending began, or went on after the last closure
	cycle  float64   // calls admitted since
	since  time.Time // refusals of calls that started before are answered already
	streak int       // refusals in a row
	met    int       // refusals since the last quietCalls admitted ones
	quiet  int       // admitted calls since the last refusal
	// strained is when the first of several closures came with few calls between, passed what was admitted since.
	strained time.Time
	passed   float64
	strays   int       // closures in a row that no window known explains
	first    time.Time // when the first of them was sent
	epoch    RateEpoch
	from     time.Time // when the epoch began
	// refusedTrip and trip are the smoothed durations of refused and of admitted calls, and trips how many
	// refused ones that rests on.
	refusedTrip, trip time.Duration
	trips             int
	resources         map[string]bool // what told windows were about
	note              quotaNote
}

// quotaNote is the last thing that the controller did, in words.
type quotaNote struct{ rule, reason string }

const (
	maxWindows = 8
	// long is the period from which a window is counted instead of paced by what was refused.
	long = 5 * time.Second
	// closeStreak refusals in a row, with nothing admitted between, mean that nothing is admitted now; one
	// does where calls are far apart, or where a long window is known.
	closeStreak = 3
	sparseRate  = 5 // calls per second
	// quietCalls admitted calls in a row make refusals before them strays.
	quietCalls = 200
)

// Observe takes a finished call. It reports whether what follows for the next calls may have changed.
func (s *QuotaState) Observe(e QuotaEvent) bool {
	s.measure(e)
	if s.opened.IsZero() {
		s.opened, s.from = e.Start, e.Start
	}
	changed := e.Told != nil && s.tell(e)
	if !e.Refused {
		s.log.add(e.Start, 1)
		if !e.Start.Before(s.opened) {
			s.cycle++
		}
	}
	if e.Refused && e.Told != nil && e.Told.RetryAfter >= 0 {
		return s.toldToWait(e) || changed
	}
	if s.closed != nil {
		return s.whileClosed(e) || changed
	}
	return s.whileOpen(e) || changed
}

// measure keeps how long calls take.
func (s *QuotaState) measure(e QuotaEvent) {
	took := e.Now.Sub(e.Start)
	smooth := func(old time.Duration) time.Duration {
		if old == 0 {
			return took
		}
		return old + (took-old)/8
	}
	if e.Refused {
		s.refusedTrip = smooth(s.refusedTrip)
		s.trips++
	} else {
		s.trip = smooth(s.trip)
	}
}

func (s *QuotaState) whileOpen(e QuotaEvent) bool {
	if e.Refused && e.Start.Before(s.since) {
		return false // of the cohort before the last cut
	}
	if e.Refused {
		s.epoch.Refused++
		s.met++
		s.quiet = 0
		if s.streak++; s.streak == 1 {
			s.first = e.Start
		}
		s.first = earlier(s.first, e.Start)
		if s.streak >= s.closeStreak() {
			s.close(e)
			return true
		}
	} else {
		if e.Start.After(s.first) {
			s.streak = 0
		}
		if s.quiet++; s.quiet >= quietCalls {
			s.met = 0
		}
		if !e.Start.Before(s.since) {
			s.epoch.Admitted++
		}
	}
	return s.endEpoch(e.Now)
}

func (s *QuotaState) closeStreak() int {
	if s.Pace.Pace > 0 && s.Pace.Pace < sparseRate || s.Pace.Pace == 0 && len(s.counted()) > 0 {
		return 1
	}
	return closeStreak
}

// endEpoch turns the pace when enough is known of the one in force.
func (s *QuotaState) endEpoch(now time.Time) bool {
	length := quotaEpoch
	if s.Pace.Pace > 0 {
		// A slow pace needs longer until enough calls say something.
		length = max(length, time.Duration(epochCalls/s.Pace.Pace*float64(time.Second)))
	}
	s.epoch.Now, s.epoch.Span = now, now.Sub(s.from)
	if s.epoch.Span < length {
		return false
	}
	e := s.epoch
	s.epoch, s.from = RateEpoch{}, now
	if s.Pace.Pace == 0 && len(s.counted()) > 0 {
		return false // what refuses now and then is a window that is counted
	}
	if e.Period = s.Short.Period; e.Period > 0 && s.Short.Kind != KindBucket {
		e.InPeriod = s.log.count(periodIndex(e.Period), now.Add(-e.Period), now)
	}
	e.Lately, e.Just = s.log.count(0, now.Add(-periods[0]), now), 2*s.log.count(0, now.Add(-periods[0]/2), now)
	rule, reason, next := Pace(e, s.Pace)
	cut := next.Cut != s.Pace.Cut && next.Pace != s.Pace.Pace && e.Refused > 0
	moved := next.Pace != s.Pace.Pace
	if cut {
		s.since, s.streak = now, 0
	}
	s.Pace, s.note = next, quotaNote{rule, reason}
	if s.Pace.Pace > 0 && s.Short.Kind == "" {
		s.Short = QuotaWindow{Name: "short", Kind: KindBucket, Source: SourceLearned}
	}
	return moved
}

// earlier is the earlier of two moments, the other if one is zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
