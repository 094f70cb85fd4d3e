package tuner

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"penstock/knob"
	"penstock/observe"
)

// QuotaOptions sets up a [QuotaController].
type QuotaOptions struct {
	// Publish is given the allowance whenever it changed, in active mode; nil: nobody obeys it. It is called
	// with a lock held and must be quick.
	Publish func(Allowance)
}

// QuotaController keeps the rate of one upstream to its quotas: a [QuotaState] at work. It is a Fast controller
// for a knob in calls per second, 0 being no pace.
type QuotaController struct {
	o QuotaOptions

	mu        sync.Mutex // guards what follows
	s         QuotaState
	rule      string
	reason    string
	published Allowance
	at        time.Time // of the last publication
	recorded  float64   // the rate at the last record
	refusedIn string    // why the knob could not be turned
	before    rateSpan
	now       rateSpan
	open      *Decision // waits for its verdict
	pinned    bool
}

// rateSpan counts calls between two records.
type rateSpan struct {
	since             time.Time
	admitted, refused int
}

func (r rateSpan) rates(now time.Time) (goodput, refused float64) {
	seconds := max(now.Sub(r.since).Seconds(), 1e-3)
	return float64(r.admitted) / seconds, float64(r.refused) / float64(max(r.admitted+r.refused, 1))
}

// NewQuotaController makes one that knows nothing yet.
func NewQuotaController(o QuotaOptions) *QuotaController {
	if o.Publish == nil {
		o.Publish = func(Allowance) {}
	}
	return &QuotaController{o: o, rule: "waiting", reason: "no quota was met or told of so far"}
}

// quotaEvent is what a call means for the quota; ok is false if nothing.
func quotaEvent(c observe.Call, now time.Time) (QuotaEvent, bool) {
	e := QuotaEvent{Now: now, Start: c.Start, Told: c.Quota, Refused: c.Outcome == observe.OutcomeRefused}
	switch c.Outcome {
	case observe.OutcomeCanceled, observe.OutcomeDown, observe.OutcomeTimeout:
		return e, false
	}
	// GitHub and others refuse with 403, and say that nothing is left or when to come back.
	if c.Status == http.StatusForbidden && c.Quota != nil {
		for _, w := range c.Quota.Windows {
			e.Refused = e.Refused || w.Remaining == 0
		}
		e.Refused = e.Refused || c.Quota.RetryAfter >= 0
	}
	return e, true
}

// OnCall takes a finished call.
func (q *QuotaController) OnCall(c observe.Call, now time.Time, h Hand) {
	e, ok := quotaEvent(c, now)
	if !ok {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.now.since.IsZero() {
		q.now.since = now
	}
	if e.Refused {
		q.now.refused++
	} else {
		q.now.admitted++
	}
	if q.s.Observe(e) {
		q.act(now, h)
	}
}

// act turns the knob and publishes the allowance. The caller holds mu.
func (q *QuotaController) act(now time.Time, h Hand) {
	if n := q.s.note; n.rule != "" {
		q.rule, q.reason = n.rule, n.reason
	}
	if w := q.s.binding(); w != nil {
		q.rule, q.reason = w.why()
	}
	k, ok := h.Knob()
	if !ok {
		return
	}
	st := k.State()
	q.pinned = st.Pin != nil
	if h.Mode != ModeActive {
		return
	}
	a := q.s.Allowance(now)
	if q.pinned {
		// The operator's rate counts, and not what was learned. A word to wait is obeyed all the same.
		a.Budgets, a.Ahead, a.Probing, a.Shared = nil, false, 0, true
		if c := q.s.closed; c == nil || !c.told {
			a.Hold = time.Time{}
		}
	} else {
		q.turn(st, h)
	}
	q.publish(a, now)
}

// turn sets the knob to the rate wanted, as far as its bounds allow. The caller holds mu.
func (q *QuotaController) turn(st knob.State, h Hand) {
	to := q.s.Rate()
	if to > 0 {
		to = min(max(to, st.Spec.Min, leastPace), st.Spec.Max)
	}
	if step := st.Spec.MaxStep; step > 0 {
		to = min(max(to, st.Value-step), st.Value+step)
	}
	if to == st.Value {
		return
	}
	if err := h.Turn(to, q.reason); err != nil {
		q.refusedIn = err.Error()
		return
	}
	q.refusedIn = ""
}

// publish tells whoever sends the calls, unless nothing changed. The caller holds mu.
func (q *QuotaController) publish(a Allowance, now time.Time) {
	if a.Hold.Equal(q.published.Hold) && a.Ahead == q.published.Ahead && a.Shared == q.published.Shared && len(a.Budgets) == 0 && len(q.published.Budgets) == 0 &&
		math.Abs(a.Probing-q.published.Probing) < 0.005 {
		return
	}
	q.published, q.at = a, now
	q.o.Publish(a)
}

// recordAbove: a change of the rate by this share since the last record is worth a new one.
const recordAbove = 0.1

// Tick ends trials of limits, renews the budgets, and sums up the rate's changes in one record.
func (q *QuotaController) Tick(now time.Time, h Hand) []Decision {
	q.mu.Lock()
	defer q.mu.Unlock()
	changed := q.s.Look(now)
	if k, ok := h.Knob(); ok {
		pinned := k.State().Pin != nil
		if q.pinned && !pinned {
			// It goes on from the pinned value, and learns anew how that does.
			q.s.Pace = PaceState{Pace: k.Value(), Top: k.Value(), Cut: now}
		}
		changed = changed || pinned != q.pinned
	}
	if changed || len(q.published.Budgets) > 0 && now.Sub(q.at) > budgetLife/3 {
		q.act(now, h)
	}
	var out []Decision
	if d := q.verdict(now, h); d != nil {
		out = append(out, *d)
	}
	return append(out, q.record(now, h)...)
}

// record is the change since the last record, if there is one worth it. Its verdict comes with what is measured
// against the time before: the record is held back for one interval. The caller holds mu.
func (q *QuotaController) record(now time.Time, h Hand) []Decision {
	from, to := q.recorded, q.s.Rate()
	if q.pinned || q.open != nil || from == to || from > 0 && to > 0 && max(from/to, to/from) < 1+recordAbove {
		if q.open == nil && now.Sub(q.now.since) > time.Minute {
			q.before, q.now = q.now, rateSpan{since: now}
		}
		return nil
	}
	goodput, refused := q.now.rates(now)
	q.recorded = to
	d := Decision{
		Time: now, From: from, To: to, Rule: q.rule, Reason: q.reason,
		Signals:  map[string]float64{"admitted_per_second": goodput, "refused_ratio": refused, "windows": float64(len(q.s.Windows))},
		Expected: fmt.Sprintf("about %.3g/s are admitted and under 2 %% of the calls refused", to), Mode: h.Mode,
	}
	if to == 0 {
		d.Expected = "nothing is held back, since no quota is known any more"
	}
	q.before, q.now = q.now, rateSpan{since: now}
	if h.Mode != ModeActive {
		return []Decision{d}
	}
	q.open = &d
	return nil
}

// worseRefused is the rise of the refused share that makes a change worse, and verdictCalls the least calls that a
// verdict rests on. heldBack is the share of a rate from which on it is taken to be what limited.
const (
	worseRefused = 0.02
	verdictCalls = 30
	heldBack     = 0.8
)

// verdict judges the record that waits, when enough calls have ended since. A rise that brought refusals is worse, and goes
// back, if the refusals have not had it taken back already. The caller holds mu.
func (q *QuotaController) verdict(now time.Time, h Hand) *Decision {
	d := q.open
	if d == nil || now.Sub(d.Time) < 2*time.Second {
		return nil
	}
	enough := q.now.admitted+q.now.refused >= verdictCalls
	if !enough && now.Sub(d.Time) < 5*time.Minute {
		return nil
	}
	good0, refused0 := q.before.rates(d.Time)
	good, refused := q.now.rates(now)
	d.Measured = fmt.Sprintf("admitted %.3g/s to %.3g/s, refused %.1f %% to %.1f %%", good0, good, 100*refused0, 100*refused)
	d.JudgedAt = now
	more := refused > refused0+worseRefused
	switch {
	case !enough:
		d.Verdict, d.Measured = VerdictNeutral, d.Measured+"; few calls came"
	case more && d.From > 0 && (d.To == 0 || d.To > d.From):
		q.takeBack(d, now, h)
	case more:
		d.Verdict, d.Measured = VerdictNeutral, d.Measured+"; fewer calls can't have brought more refusals: the quota itself, or others' use of it, changed"
	case refused < refused0-worseRefused:
		d.Verdict = VerdictBetter
	case good > 1.03*good0 && d.From > 0 && good0 >= heldBack*d.From:
		d.Verdict = VerdictBetter
	case good > 1.03*good0:
		d.Verdict, d.Measured = VerdictNeutral, d.Measured+"; the rate held nothing back before, so that is the demand's doing"
	default:
		d.Verdict = VerdictNeutral
	}
	d.Confidence = 1 - 1/math.Sqrt(float64(max(q.now.admitted+q.now.refused, 1)))
	q.open = nil
	return d
}

// takeBack ends a rise that brought refusals. The caller holds mu.
func (q *QuotaController) takeBack(d *Decision, now time.Time, h Hand) {
	if rate, told := q.s.rate(); told && (rate == 0 || rate > d.From) {
		d.Verdict, d.Measured = VerdictNeutral, d.Measured+"; the upstream tells this limit itself and refuses all the same"
		return
	}
	d.Verdict, d.RolledBack = VerdictWorse, true
	if rate := q.s.Rate(); rate > 0 && rate < d.To || rate > 0 && d.To == 0 {
		d.Measured += fmt.Sprintf("; the refusals have had the rate brought down to %.3g/s meanwhile", rate)
		return
	}
	q.s.Pace = PaceState{Pace: d.From, Top: d.From, Cut: now}
	q.rule, q.reason = "rollback", fmt.Sprintf("rolled back to %.3g/s: %s", d.From, d.Measured)
	q.act(now, h)
}

// Status says what the last step came to.
func (q *QuotaController) Status() (rule, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refusedIn != "" {
		return "refused", q.refusedIn
	}
	return q.rule, q.reason
}

// Save gives what is known of the quotas.
func (q *QuotaController) Save() any {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.s.Pace.Pace == 0 && len(q.s.Windows) == 0 {
		return nil
	}
	return q.s.kept(time.Now())
}

// Load takes it back, trusted the less the older it is.
func (q *QuotaController) Load(raw json.RawMessage, trust float64) error {
	var s QuotaState
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("a saved quota can't be read: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.s = s.faded(trust, time.Now())
	q.recorded = q.s.Rate()
	q.rule, q.reason = "restored", fmt.Sprintf("what an earlier process learned is believed to %.0f %%", 100*trust)
	return nil
}
