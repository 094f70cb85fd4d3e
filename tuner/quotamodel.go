package tuner

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"
)

// QuotaModel is what the page draws of the quotas of an upstream.
type QuotaModel struct {
	Kind    string             `json:"kind"` // "quota"
	Windows []QuotaModelWindow `json:"windows"`
	// ReserveRatio is the share of a long window that is kept for the urgent.
	ReserveRatio float64 `json:"reserve_ratio"`
	// PacePerSecond is the pace that follows quotas of seconds; 0: none.
	PacePerSecond float64 `json:"pace_per_second"`
	// HoldSeconds is for how long nothing is sent; 0: calls may go.
	HoldSeconds float64 `json:"hold_seconds"`
	// Guesses weigh the kinds and periods that closures were consistent with.
	Guesses map[string]float64 `json:"guesses,omitempty"`
}

// QuotaModelWindow is one quota. What is not known is left out.
type QuotaModelWindow struct {
	Name            string   `json:"name"`
	Kind            string   `json:"kind"`
	Limit           float64  `json:"limit"`
	PeriodSeconds   float64  `json:"period_seconds"`
	Used            float64  `json:"used"`
	Remaining       float64  `json:"remaining"`
	ResetSeconds    *float64 `json:"reset_seconds,omitempty"`
	Source          string   `json:"source"`
	Confidence      float64  `json:"confidence"`
	OthersPerSecond float64  `json:"others_per_second,omitempty"`
	OnTrial         float64  `json:"on_trial,omitempty"`
}

// ReserveRatio is the share of what an even use leaves of a long window that only the urgent may have.
const ReserveRatio = 0.1

// Model draws what is known of the quotas.
func (q *QuotaController) Model() any {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.s.model(time.Now())
}

func (s *QuotaState) model(now time.Time) QuotaModel {
	m := QuotaModel{Kind: "quota", Windows: []QuotaModelWindow{}, ReserveRatio: ReserveRatio, PacePerSecond: s.shortPace(), Guesses: s.believed()}
	if s.closed != nil {
		m.HoldSeconds = max(0, s.closed.holdUntil().Sub(now).Seconds())
	}
	if s.Pace.Pace > 0 {
		w := s.Short
		if w.Limit == 0 || w.Kind == KindBucket {
			w.Limit, w.Period = s.Pace.Top, time.Second
		}
		w.Name = "short"
		if w.Confidence = 1 - 1/float64(s.Pace.Steady+2); w.Source == "" {
			w.Source = SourceLearned
		}
		m.Windows = append(m.Windows, s.modelWindow(&w, now))
	}
	for i := range s.Windows {
		m.Windows = append(m.Windows, s.modelWindow(&s.Windows[i], now))
	}
	return m
}

func (s *QuotaState) modelWindow(w *QuotaWindow, now time.Time) QuotaModelWindow {
	m := QuotaModelWindow{
		Name: w.Name, Kind: w.Kind, Limit: w.Limit, PeriodSeconds: w.Period.Seconds(), Source: w.Source,
		Confidence: w.Confidence, OthersPerSecond: w.Others,
	}
	if w.Period > 0 {
		m.Used = s.used(w, now)
	}
	m.Remaining = max(w.Limit-m.Used, 0)
	end := w.Reset
	if w.Source == SourceLearned && w.Kind == KindFixed && w.Period > 0 {
		end = now.Truncate(w.Period).Add(w.Period)
	}
	if end.After(now) {
		left := end.Sub(now).Seconds()
		m.ResetSeconds = &left
	}
	if !w.Trial.IsZero() {
		m.OnTrial = w.Limit - w.From
	}
	return m
}

// believed are the guesses that speak for something.
func (s *QuotaState) believed() map[string]float64 {
	g := maps.Clone(s.Guesses)
	maps.DeleteFunc(g, func(_ string, w float64) bool { return w <= 0 })
	if len(g) == 0 {
		return nil
	}
	return g
}

// kept is the part of the state that outlives the process, as a copy that nobody changes.
func (s *QuotaState) kept(now time.Time) json.RawMessage {
	k := QuotaState{Pace: s.Pace, Short: s.Short, Windows: slices.Clone(s.Windows), Guesses: s.believed()}
	for i := range k.Windows {
		w := &k.Windows[i]
		w.Used, w.Saved = s.used(w, now), now
		if !w.Trial.IsZero() { // a trial ends with the process
			w.Limit, w.Trial, w.From = w.From, time.Time{}, 0
		}
	}
	raw, err := json.Marshal(&k)
	if err != nil { // an infinity, which nothing here can be
		return nil
	}
	return raw
}

// faded is a saved state as far as it is to be believed: what was told is told anew soon, a learned window loses
// confidence and goes when little is left, and a pace is taken for a first guess, so that it is soon measured
// whether it still holds.
func (s *QuotaState) faded(trust float64, now time.Time) QuotaState {
	out := QuotaState{Guesses: s.Guesses}
	for key, w := range out.Guesses {
		if !(w > 0) || math.IsInf(w, 0) {
			delete(out.Guesses, key)
			continue
		}
		out.Guesses[key] = min(w, 6) * trust
	}
	for _, w := range s.Windows {
		w.Confidence *= trust
		sound := w.Limit >= 1 && w.Limit < 1e15 && w.Period > 0 && (w.Kind == KindFixed || w.Kind == KindRolling)
		if w.Source == SourceLearned && sound && w.Confidence >= leastConfidence && len(out.Windows) < maxWindows {
			w.Met, w.Reset, w.Trial, w.From, w.Others, w.Steady = now, time.Time{}, time.Time{}, 0, 0, 0
			if w.Used > 0 && w.Used <= 1e9 && w.Saved.Before(now) {
				out.log.addTo(periodIndex(w.Period), w.Saved, uint32(w.Used))
			}
			out.Windows = append(out.Windows, w)
		}
	}
	if p := s.Pace; trust > 0 && p.Top >= leastPace && p.Top < 1e9 {
		out.Pace = PaceState{Pace: p.Top, Top: p.Top, Cut: now}
		out.Short = s.Short
		if !(out.Short.Limit >= 0 && out.Short.Limit < 1e15) || out.Short.Period < 0 || out.Short.Period >= long {
			out.Short = QuotaWindow{}
		}
	}
	return out
}

// leastConfidence is what a learned window must have after a restart.
const leastConfidence = 0.15
