package tuner

import (
	"fmt"
	"math"
	"time"
)

// What Pace goes by. Ratios are 0..1.
const (
	// firstRefusals begin a pace where there was none, if they are firstRefusedRatio of the calls.
	firstRefusals     = 5
	firstRefusedRatio = 0.01
	// gentleCut is what a few refusals take away; grossRatio of refusals mean that the quota is
	// another one than thought, so that the pace follows what was admitted.
	gentleCut  = 0.02
	grossRatio = 0.1
	// plateauCalls is how many calls the pace takes from a cut back to where refusals came, and
	// shortestPlateau how long at least; from there on it grows slowly at first and then ever faster (the
	// cubic curve of RFC 9438). So a look over the top, which costs a refusal or two, comes once in about
	// twice as many calls, whatever the rate.
	plateauCalls    = 120
	shortestPlateau = time.Second
	// knownCuts is how many cuts in a row that changed little make the top well known.
	knownCuts = 4
	// steepest bounds the curve: a look over the top goes no further than this.
	steepest = 0.25
	// resonance is the share of refusals up to which they may be every other call's, see Pace.
	resonance = 0.55
	// usedRatio: the pace binds if this share of it is sent.
	usedRatio = 0.9
	// quotaEpoch and epochCalls are the least that an epoch has.
	quotaEpoch = 250 * time.Millisecond
	epochCalls = 10
	// surge is the growth in the first epoch in which more was admitted than the top and what was saved up
	// allow; it doubles in each next one, up to longestSurge.
	surge        = 0.05
	longestSurge = 0.25
	// savedSpan: no more is taken to be saved up than what the top gives in this time; and
	// surgeMargin of a window's top, but at least surgeCalls, is no chance.
	savedSpan   = 2 * time.Second
	surgeMargin = 0.02
	surgeCalls  = 4
	// latelyPace is the pace, calls per second, from which a second says more than an epoch.
	latelyPace = 20
	// leastPace is the lowest pace, calls per second.
	leastPace = 0.001
)

// RateEpoch is what became of calls in a span of time.
type RateEpoch struct {
	Now  time.Time
	Span time.Duration
	// Admitted and Refused (429) are calls that ended in it and started under the pace in force.
	Admitted, Refused int
	// Period is that of the window that refuses, as far as it is known; 0: not.
	Period time.Duration
	// InPeriod is how many calls were admitted in the last Period, which says more than a part of it.
	InPeriod float64
	// Lately and Just are the calls per second admitted in the last second and half of one; a short epoch
	// alone is coarse.
	Lately, Just float64
}

// PaceState is what [Pace] remembers. Its zero value is a fresh start.
type PaceState struct {
	// Pace is calls per second; 0: none.
	Pace float64 `json:"pace"`
	// Top is the pace at which refusals came last, and Cut when.
	Top float64   `json:"top"`
	Cut time.Time `json:"cut"`
	// Saved is how many calls fewer than Top allows were made since the cut: what a token bucket may
	// have saved up. Below 0, more was admitted than Top explains.
	Saved float64 `json:"saved"`
	// Steady counts the cuts since the quota last was another one than thought.
	Steady int `json:"steady"`
	// Good is the last rate, calls per second, at which an epoch passed without a refusal; 0: not known.
	Good float64 `json:"good,omitempty"`
	// Surges counts the epochs in a row that told of a raised quota.
	Surges int `json:"surges,omitempty"`
}

// plateau is how long the pace takes from a cut back to the top: shorter at first, when the top is not well known.
func (s PaceState) plateau() time.Duration {
	calls := plateauCalls * min(1, float64(s.Steady+1)/knownCuts)
	return max(shortestPlateau, time.Duration(calls/max(s.Top, leastPace)*float64(time.Second)))
}

// Pace learns the rate that an upstream admits where it only says 429. With no pace, refusals begin one:
// what was admitted. Few refusals cut it by 2 %, once for each epoch and so for each cohort of calls;
// many set it to what was admitted. Without refusals, and while the pace is what limits, it goes back
// to where refusals came within K, stays about there, and then grows ever faster:
//
//	pace(t) = top * (1 + 0.02 * ((t-K)/K)^3), K = 120 calls of the top, at least 1 s
//
// so that the mean loss is under 1 %, and a look over the top costs few refusals. When more was admitted
// than the top and a bucket's savings explain, the quota was raised: the pace then grows by 5 %, 10 %,
// 20 % and so on, epoch by epoch.
func Pace(e RateEpoch, s PaceState) (rule, reason string, next PaceState) {
	sent := e.Admitted + e.Refused
	admitted := float64(e.Admitted) / e.Span.Seconds()
	if e.Refused > 0 && e.InPeriod > 0 {
		admitted = e.InPeriod / e.Period.Seconds()
	}
	share := float64(e.Refused) / float64(max(sent, 1))
	switch {
	case s.Pace == 0 && (e.Refused < firstRefusals || share < firstRefusedRatio):
		return "no-quota", "no quota was met", s
	case s.Pace == 0 || share >= grossRatio && e.Refused >= firstRefusals:
		if s.Pace >= latelyPace {
			admitted = max(admitted, min(e.Just, s.Pace))
		}
		// A bucket without depth refuses every other call of a pace just over its rate: half is admitted of
		// what would be at a pace just under it.
		if share <= resonance && s.Good > admitted {
			admitted = min(s.Good, s.Pace)
			s.Good *= 1 - grossRatio
		} else {
			s.Good = 0
		}
		s.Top, s.Steady, s.Surges = max(admitted, leastPace), 0, 0
		s.Pace, s.Cut, s.Saved = max(s.Top*(1-gentleCut), leastPace), e.Now, 0
		return "learn-quota", fmt.Sprintf("%d of %d calls were refused with 429 while %.2f/s were admitted", e.Refused, sent, admitted), s
	case e.Refused > 0:
		// Top is not what the curve had reached if that was not sent.
		if s.Pace >= latelyPace {
			admitted = max(admitted, e.Lately)
		}
		admitted = max(admitted, min(s.Good, s.Pace)/1.05)
		s.Top = max(min(s.Pace, 1.05*admitted), leastPace)
		s.Pace, s.Cut, s.Saved = max(s.Top*(1-gentleCut), leastPace), e.Now, 0
		s.Steady, s.Surges = s.Steady+1, 0
		return "quota-met", fmt.Sprintf("%d of %d calls were refused with 429 at a pace of %.2f/s", e.Refused, sent, s.Top), s
	}
	s.Saved = min(s.Saved+s.Top*e.Span.Seconds()-float64(e.Admitted), s.Top*savedSpan.Seconds())
	if float64(e.Admitted)+1 < usedRatio*s.Pace*e.Span.Seconds() {
		s.Cut = s.Cut.Add(e.Span) // time that the pace does not limit does not count
		return "rate-unused", fmt.Sprintf("%.2f/s of %.2f/s are used: the rate is not what limits", admitted, s.Pace), s
	}
	s.Good = float64(e.Admitted) / e.Span.Seconds()
	k := s.plateau().Seconds()
	x := (e.Now.Sub(s.Cut).Seconds() - k) / k
	curve := max(s.Top*(1+min(gentleCut*math.Pow(x, 3), steepest)), leastPace)
	if s.Saved < -max(surgeCalls, surgeMargin*s.Top*max(e.Period, time.Second).Seconds()) {
		s.Surges = min(s.Surges+1, 10)
		s.Pace = max(curve, s.Pace*(1+min(surge*math.Pow(2, float64(s.Surges-1)), longestSurge)))
		return "quota-raised", fmt.Sprintf("%.2f/s were admitted without a refusal, more than %.2f/s and what it saved up explain", admitted, s.Top), s
	}
	s.Pace, s.Surges = curve, 0
	return "probe-quota", fmt.Sprintf("no refusals at %.2f/s: going on towards and past %.2f/s, where they came last", admitted, s.Top), s
}
