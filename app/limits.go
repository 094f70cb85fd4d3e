package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"penstock/scheduler"
	"penstock/tuner"
)

// limit is what GET /admin/v1/limits says of one upstream.
type limit struct {
	Upstream string `json:"upstream"`
	// Binding is what keeps requests waiting now; Shares the share of the last half minute of each.
	Binding string             `json:"binding"`
	Shares  map[string]float64 `json:"shares"`
	Queued  int                `json:"queued"`
	Permits int                `json:"permits"`
	// Lifting is what lifting the binding limit would bring.
	Lifting lifting `json:"lifting"`
	// Quotas are the windows known, and Pace the calls per second that are kept to; 0: none.
	Quotas []scheduler.QuotaStats `json:"quotas"`
	Pace   float64                `json:"pace_per_second"`
	// Tuner says what the tuner's last look at it came to.
	Tuner *tuner.Status `json:"tuner,omitempty"`
}

// lifting is an estimate with its arithmetic.
type lifting struct {
	// By is how to lift it: the setting, or who can.
	By string `json:"by"`
	// GainPerSecond is how many more requests a second would be answered; 0: none.
	GainPerSecond float64 `json:"gain_per_second"`
	// Sentence says it with the numbers.
	Sentence string `json:"sentence"`
}

func (a *App) limits() map[string]any {
	s := a.Stats()
	models := make(map[string]any)
	for _, k := range a.tuner.View().Knobs {
		models[k.Knob] = k.Model
	}
	list := []limit{}
	for _, name := range slices.Sorted(maps.Keys(s.Upstreams)) {
		u := s.Upstreams[name]
		list = append(list, limit{
			Upstream: name, Binding: u.binding(), Shares: u.Scheduler.BindingShares,
			Queued: u.Scheduler.Queued, Permits: u.Scheduler.Permits, Quotas: u.Scheduler.Quotas, Pace: u.Scheduler.Pace,
			Lifting: liftOf(name, u.binding(), &u.Scheduler, u.Signals.Calls.Rate, curveOf(models["workers."+name])),
			Tuner:   u.Tuner,
		})
	}
	return map[string]any{"limits": list}
}

// curve is how much an upstream does at so many calls at once, as far as the tuner knows.
type curve struct {
	Kind   string `json:"kind"`
	Points []struct {
		Concurrency float64 `json:"concurrency"`
		Throughput  float64 `json:"throughput"`
	} `json:"points"`
}

// curveOf reads a model of the workers; without points if there is none.
func curveOf(model any) curve {
	var c curve
	if model == nil {
		return c
	}
	if raw, err := json.Marshal(model); err != nil || json.Unmarshal(raw, &c) != nil || c.Kind != "curve" {
		return curve{}
	}
	return c
}

// best is the highest throughput at n calls at once and at more.
func (c curve) best(n float64) (now, most, at float64) {
	nearest := math.Inf(1)
	for _, p := range c.Points {
		if d := math.Abs(p.Concurrency - n); d < nearest {
			nearest, now = d, p.Throughput
		}
		if p.Concurrency >= n && p.Throughput > most {
			most, at = p.Throughput, p.Concurrency
		}
	}
	return now, most, at
}

// liftOf estimates what lifting the binding limit of an upstream would bring. rate is the calls per second
// that it answers now.
func liftOf(name, binding string, s *scheduler.Stats, rate float64, c curve) lifting {
	batch := max(s.BatchSize, 1)
	// What the workers could do, were it only for them.
	workers := math.Inf(1)
	if s.ServiceTime > 0 {
		workers = float64(s.Permits) / s.ServiceTime
	}
	switch {
	case binding == "none":
		return lifting{Sentence: "Nothing keeps requests waiting: more of anything would bring nothing."}
	case binding == "breaker":
		return lifting{
			By:       fmt.Sprintf("upstreams.%s.breaker", name),
			Sentence: "The upstream fails, and its breaker keeps calls from it: lifting that would bring failures.",
		}
	case binding == "hold":
		return lifting{
			By: "whoever runs the upstream",
			Sentence: fmt.Sprintf("The upstream admits nothing now, and is asked again in %s; a larger quota there would let the %d waiting requests go.",
				time.Duration(s.Hold*float64(time.Second)).Round(time.Millisecond), s.Queued),
		}
	case binding == "permits":
		return liftPermits(name, s, batch, c)
	case strings.HasPrefix(binding, "rate "):
		return liftWindow(name, binding, s, workers, batch)
	}
	by, allowed, what := "whoever runs the upstream", s.Pace, "a pace"
	for _, q := range s.Quotas {
		if binding == "quota "+q.Name {
			allowed, what = q.Rate, fmt.Sprintf("the rest of its quota of %.0f calls in %s (%.0f are left), spread evenly,", q.Limit, time.Duration(q.Per*float64(time.Second)), q.Left)
		}
	}
	gain := spare(workers, allowed) * batch
	return lifting{By: by, GainPerSecond: gain, Sentence: fmt.Sprintf(
		"%s keeps calls to %.3g/s, while %s: a larger quota of the upstream would bring up to %.3g requests/s more as long as %d wait.",
		upper(what), allowed, workersCould(s, workers), gain, s.Queued)}
}

func liftWindow(name, binding string, s *scheduler.Stats, workers, batch float64) lifting {
	var i int
	if _, err := fmt.Sscanf(binding, "rate %d", &i); err != nil || i >= len(s.Rates) {
		return lifting{Sentence: "The rate window that keeps requests waiting has just been changed."}
	}
	w := s.Rates[i]
	allowed := w.Limit / w.Per
	gain := spare(workers, allowed) * batch
	return lifting{
		By: fmt.Sprintf("upstreams.%s.rates[%d] (or rates[%d])", name, i, i), GainPerSecond: gain,
		Sentence: fmt.Sprintf("The window of %g calls in %s keeps calls to %.3g/s, while %s: without it up to %.3g requests/s more as long as %d wait.",
			w.Limit, time.Duration(w.Per*float64(time.Second)), allowed, workersCould(s, workers), gain, s.Queued),
	}
}

// liftPermits says what more workers would bring, by the curve if the tuner has one.
func liftPermits(name string, s *scheduler.Stats, batch float64, c curve) lifting {
	l := lifting{By: "workers." + name}
	n := float64(s.Permits)
	if now, most, at := c.best(n); len(c.Points) > 1 && now > 0 {
		if l.GainPerSecond = max(most-now, 0) * batch; l.GainPerSecond < 0.03*now*batch {
			l.GainPerSecond, l.By = 0, "whoever runs the upstream"
			l.Sentence = fmt.Sprintf("All %d workers are busy, but the curve measured ends here: %.3g calls/s at %d, and no more at a higher number. The upstream itself is what limits.", s.Permits, now, s.Permits)
			return l
		}
		l.Sentence = fmt.Sprintf("All %d workers are busy. By the curve measured, %.0f of them would give %.3g calls/s instead of %.3g: %.3g requests/s more.",
			s.Permits, at, most, now, l.GainPerSecond)
		return l
	}
	if s.ServiceTime <= 0 {
		l.Sentence = fmt.Sprintf("All %d workers are busy, and no call has ended yet that would say what one more brings.", s.Permits)
		return l
	}
	l.GainPerSecond = batch / s.ServiceTime
	l.Sentence = fmt.Sprintf("All %d workers are busy and a call takes %s: one more worker gives 1/%.3g s * %.3g requests a call = %.3g requests/s more, as long as the upstream does not become slower by it.",
		s.Permits, time.Duration(s.ServiceTime*float64(time.Second)).Round(time.Microsecond), s.ServiceTime, batch, l.GainPerSecond)
	return l
}

// spare is how much more than allowed the workers could do.
func spare(workers, allowed float64) float64 {
	if math.IsInf(workers, 1) {
		return 0 // not known
	}
	return max(workers-allowed, 0)
}

func workersCould(s *scheduler.Stats, workers float64) string {
	if math.IsInf(workers, 1) {
		return "it is not known yet what the workers could do"
	}
	return fmt.Sprintf("%d workers at %s a call could do %d/%.3g s = %.3g/s", s.Permits,
		time.Duration(s.ServiceTime*float64(time.Second)).Round(time.Microsecond), s.Permits, s.ServiceTime, workers)
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
