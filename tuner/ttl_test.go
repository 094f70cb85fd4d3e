package tuner

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// spreadKeys are keys whose rates of change are drawn log-uniformly, with demands by Zipf's law.
func spreadKeys(n int, seed uint64, total, slow, fast float64) []contentKey {
	random := rand.New(rand.NewPCG(seed, 9))
	keys := make([]contentKey, n)
	sum := 0.0
	for i := range keys {
		keys[i].demand = math.Pow(float64(i+1), -0.9)
		sum += keys[i].demand
		keys[i].change = slow * math.Pow(fast/slow, random.Float64())
	}
	for i := range keys {
		keys[i].demand *= total / sum
	}
	return keys
}

// twoKinds: a share of the keys changes fast, the others slowly.
func twoKinds(n int, total, share, fast, slow float64) []contentKey {
	keys := spreadKeys(n, 1, total, 1, 1)
	for i := range keys {
		keys[i].change = slow
		if float64(i%100) < share*100 {
			keys[i].change = fast
		}
	}
	return keys
}

// full also runs the long simulations.
var full = flag.Bool("full", false, "run the long simulations, too")

func TestTTLKeepsTheTargetWithFewerCallsThanTheBestSingleTTL(t *testing.T) {
	const warmup = 800
	for name, c := range map[string]struct {
		w      contentWorld
		target float64
		// most is the calls against those of the best single TTL.
		most float64
	}{
		"two kinds":       {contentWorld{keys: twoKinds(120, 20, .3, 1.0/60, 1.0/3600)}, .01, .9},
		"spread, 0.2 %":   {contentWorld{keys: spreadKeys(120, 2, 20, 1.0/36000, 1.0/30)}, .002, 1},
		"one rate, told":  {contentWorld{keys: spreadKeys(120, 2, 20, 1.0/600, 1.0/600), tells: true}, .01, 1.05},
		"at even times":   {contentWorld{keys: spreadKeys(120, 2, 20, 1.0/3600, 1.0/60), periodic: true}, .01, .95},
		"one key":         {contentWorld{keys: []contentKey{{change: 1.0 / 60, demand: 20}}}, .05, 1.7},
		"never, or often": {contentWorld{keys: twoKinds(120, 20, .1, 1.0/20, 1e-9)}, .01, .6},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "two kinds" && name != "one key" && !*full {
				t.Skip("a few seconds of computing: go test ./tuner -run TTLKeeps -args -full")
			}
			t.Parallel()
			c.w.early = .02
			_, calls := c.w.bestStatic(c.target)
			u := newTuned(c.target)
			r := c.w.play(7, 3*warmup, warmup, u.ttl, u.look, u.tick)
			share := float64(r.calls) / (calls * 2 * warmup)
			t.Logf("%.2f %% stale, %.2f of the calls of the best single TTL", 100*r.staleShare(), share)
			// What is left is chance: the answers from one copy are stale together.
			if r.staleShare() > 1.15*c.target {
				t.Errorf("%.2f %% of the answers from the cache were stale, the target is %.2f", 100*r.staleShare(), 100*c.target)
			}
			if share > c.most {
				t.Errorf("%.2f of the calls of the best single TTL, at most %.2f expected", share, c.most)
			}
		})
	}
}

func TestTTLFindsARateThatChanges(t *testing.T) {
	const first, second, end = 1800.0, 3600.0, 5400.0
	keys := spreadKeys(100, 3, 20, 1.0/1800, 1.0/1800)
	w := contentWorld{keys: keys, early: .02, change: func(_ int, at float64) float64 {
		if at >= first && at < second {
			return 1.0 / 60
		}
		return 1.0 / 1800
	}}
	u := newTuned(.01)
	var slow, fast, again float64
	tick := func(now float64) {
		u.tick(now)
		switch now {
		case first - 5:
			slow = u.value
		case first + 300:
			fast = u.value
		case end - 5:
			again = u.value
		}
	}
	w.play(1, end, 0, u.ttl, u.look, tick)
	if fast > slow/4 {
		t.Errorf("the content changes 30 times as often, and five minutes later the TTL went from %.3g s to %.3g s only", slow, fast)
	}
	if again < slow/3 {
		t.Errorf("back at the old rate the TTL is %.3g s, and was %.3g s", again, slow)
	}
}

// feed gives n looks at each of some keys, one every t seconds, each changed with probability p.
func feed(e *TTLEvidence, keys, n int, t, p float64, random *rand.Rand) (now float64) {
	for i := range n {
		now = float64(i) * t
		for k := range keys {
			o := TTLLook{Key: keyHash(k), At: at(now), First: i == 0, Uses: 10, Kept: time.Duration(t * 1e9)}
			if i > 0 {
				o.Since, o.Changed = time.Duration(t*1e9), random.Float64() < p
			}
			e.Look(o)
		}
	}
	return now
}

func TestTTLBeginsShortAndWaitsForLooks(t *testing.T) {
	u := newTuned(.01)
	u.value = 3600
	u.tick(0)
	if u.value != firstTTL.Seconds() {
		t.Fatalf("the first TTL is %g s", u.value)
	}
	feed(u.e, 1, ttlMinLooks, 1, .5, rand.New(rand.NewPCG(1, 1))) // the first is none
	for now := 100.0; now < 10_000; now += 5 {
		if u.tick(now); u.value != firstTTL.Seconds() {
			t.Fatalf("moved to %g s on %d looks", u.value, u.e.looks)
		}
	}
	feed(u.e, 1, ttlMinLooks, 1, .5, rand.New(rand.NewPCG(1, 1)))
	if u.tick(10_100); u.value >= firstTTL.Seconds() {
		t.Errorf("every second look finds a change within 1 s, and the TTL is %g s", u.value)
	}
}

func TestAShorterConfiguredTTLIsWhereItBegins(t *testing.T) {
	u := newTuned(.01)
	u.value = 2
	if u.tick(0); u.value != 2 {
		t.Errorf("begins with %g s", u.value)
	}
}

func TestWithoutAChangeSeenTheRateIsAtMostThreeByTheExposure(t *testing.T) {
	u := newTuned(.01)
	u.value = 5
	random := rand.New(rand.NewPCG(1, 1))
	now := feed(u.e, 10, 100, 10, 0, random)
	for range 200 {
		now += 5
		u.tick(now)
	}
	exposure := 10 * 99 * 10.0
	// All that is known of a rate allows T = 2*target/(3/exposure); keys may differ around it.
	if most := 2 * .01 * exposure / 3; u.value > 1.5*most || u.value < most/3 {
		t.Errorf("after %.0f s without a change the TTL is %.3g s, the bound says %.3g s", exposure, u.value, most)
	}
}

func TestTTLStaysInBoundsWhateverTheLooksSay(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	for range 15 {
		u := newTuned(math.Pow(10, -4*random.Float64()))
		u.in.Spec.Min = math.Pow(10, 3*random.Float64()-2)
		u.in.Spec.Max = u.in.Spec.Min * math.Pow(10, 4*random.Float64())
		u.value = u.in.Spec.Min + random.Float64()*(u.in.Spec.Max-u.in.Spec.Min)
		now := 0.0
		for range 300 {
			now += random.ExpFloat64()
			o := TTLLook{
				Key: random.Uint64N(20) << 20, At: at(now + 10*random.NormFloat64()), First: random.IntN(10) == 0,
				Since: time.Duration(random.NormFloat64() * 1e11), Changed: random.IntN(2) == 0,
				Age: time.Duration(random.NormFloat64() * 1e11), Kept: time.Duration(random.NormFloat64() * 1e10), Uses: random.IntN(1000),
			}
			if random.IntN(20) == 0 {
				o.Since, o.Uses = math.MaxInt64, math.MaxInt32
			}
			u.e.Look(o)
			if random.IntN(10) > 0 {
				continue
			}
			before := u.value
			u.tick(now)
			if !(u.value >= u.in.Spec.Min && u.value <= u.in.Spec.Max) {
				t.Fatalf("%g s is outside %g to %g", u.value, u.in.Spec.Min, u.in.Spec.Max)
			}
			if u.value > before*(1+u.in.Appetite.StepRatio)*1.01 {
				t.Fatalf("from %g s to %g s in one step", before, u.value)
			}
			for key := range uint64(20) {
				least, most := toTime(max(u.in.Spec.Min, leastTTL))-1, toTime(max(u.in.Spec.Max, leastTTL))+1
				if ttl, _, ok := u.e.Table().Freshness(key<<20, u.value); ok && (ttl < least || ttl > most) {
					t.Fatalf("a key has %v, outside %v to %v", ttl, least, most)
				}
			}
		}
	}
}

func TestKeysAreBounded(t *testing.T) {
	e := NewTTLEvidence(100)
	for i := range 10_000 {
		e.Look(TTLLook{Key: keyHash(i), At: at(float64(i)), First: true})
	}
	if len(e.keys) > 100 {
		t.Errorf("%d keys are known", len(e.keys))
	}
}

func TestTheBeliefPeaksAtTheLikelihoodsRoot(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	const rate = 1.0 / 40
	k, prior := &ttlKey{}, flatRates()
	var changed, still []float64
	for range 2000 {
		since := random.ExpFloat64() * 30
		o := TTLLook{Since: time.Duration(since * 1e9), Changed: random.Float64() < changedShare(rate*since)}
		if o.Changed {
			changed = append(changed, since)
		} else {
			still = append(still, since)
		}
		k.look(&o, &prior, 0)
	}
	// sum over the changed of t/(exp(l*t)-1) = sum of the unchanged t
	lo, hi := 1e-6, 10.0
	for range 100 {
		l, left := math.Sqrt(lo*hi), 0.0
		for _, s := range changed {
			left += s / math.Expm1(l*s)
		}
		for _, s := range still {
			left -= s
		}
		if left > 0 {
			lo = l
		} else {
			hi = l
		}
	}
	b := k.belief(&prior)
	if mean := b.mean(); mean < lo/1.6 || mean > lo*1.6 {
		t.Errorf("believed is %.4g, the likelihood's root is %.4g", mean, lo)
	}
}

func TestOldLooksFadeSoThatAKeyIsLearnedAnew(t *testing.T) {
	k, prior := &ttlKey{}, flatRates()
	see := func(n int, since float64, changed bool) {
		for range n {
			k.look(&TTLLook{Since: time.Duration(since * 1e9), Changed: changed}, &prior, .0005)
		}
	}
	see(5000, 60, false)
	b := k.belief(&prior)
	if b.mean() > 1e-4 {
		t.Fatalf("83 hours without a change, and the rate is %.3g", b.mean())
	}
	see(8, 60, true)
	b = k.belief(&prior)
	if b.mean() < 1.0/600 {
		t.Errorf("eight changes in eight minutes, and the rate is %.3g", b.mean())
	}
}

func TestThePlanIsAsGoodAsAnyOther(t *testing.T) {
	exact := func(rate float64) (b rates) {
		g := int(math.Round(ratesPerDecade * math.Log10(rate/slowestRate)))
		b[g] = 1
		return b
	}
	classes := []TTLClass{
		{ID: 1, Keys: 100, Demand: 1, Belief: exact(1e-2)},
		{ID: 2, Keys: 100, Demand: .1, Belief: exact(1e-4)},
		{ID: 3, Keys: 10, Demand: 10, Belief: exact(1e-3)},
	}
	goal := ttlGoal{stale: .01, most: .1, least: .1, longest: 1e7}
	p := planTTLs(classes, goal)
	if p.stale > goal.stale {
		t.Fatalf("%.4f stale", p.stale)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		var hits, stale, calls float64
		for _, c := range classes {
			ttl := p.classes[c.ID].TTL * math.Exp(random.NormFloat64())
			h := c.Keys * c.Demand * c.Demand * ttl / (1 + c.Demand*ttl)
			hits += h
			stale += h * staleShare(c.Belief.mean()*ttl)
			calls += c.Keys * c.Demand / (1 + c.Demand*ttl)
		}
		if stale/hits <= p.stale && calls < p.calls*.99 {
			t.Fatalf("%.3f calls a second do with no more stale answers, planned are %.3f", calls, p.calls)
		}
	}
}

func TestAWindowIsPartOfThePlan(t *testing.T) {
	classes := spreadClasses()
	goal := ttlGoal{stale: .01, most: .1, least: .1, longest: 1e7}
	without := planTTLs(classes, goal)
	goal.window = 60
	with := planTTLs(classes, goal)
	if with.stale > .01 || with.calls < without.calls {
		t.Errorf("with a window %.4f stale and %.3f calls, without %.4f and %.3f", with.stale, with.calls, without.stale, without.calls)
	}
	some := false
	for id, c := range with.classes {
		some = some || c.Window > 0
		if c.Window > 60 || c.Window < 0 {
			t.Errorf("class %d has a window of %g s", id, c.Window)
		}
	}
	if !some {
		t.Error("no class has a window")
	}
}

func spreadClasses() []TTLClass {
	var classes []TTLClass
	for i, r := range []float64{1e-5, 1e-4, 1e-3, 1e-2} {
		var b rates
		b[int(math.Round(ratesPerDecade*math.Log10(r/slowestRate)))] = 1
		classes = append(classes, TTLClass{ID: classID(i), Keys: 50, Demand: .2, Belief: b})
	}
	return classes
}

func TestWhatWasLearnedSurvivesAsAPrior(t *testing.T) {
	u := newTuned(.01)
	now := feed(u.e, 50, 60, 10, .1, rand.New(rand.NewPCG(1, 1)))
	u.tick(now)
	raw, err := json.Marshal(u.rule.save())
	if err != nil {
		t.Fatal(err)
	}
	fresh := newTuned(.01)
	if err := fresh.rule.load(raw, 1); err != nil {
		t.Fatal(err)
	}
	was, is := u.e.prior.mean(), fresh.e.prior.mean()
	if is < was/2 || is > was*20 {
		t.Errorf("the mean rate was %.3g and is %.3g after a restart", was, is)
	}
	if fresh.tick(0); fresh.value != 60 {
		t.Errorf("begins short, at %g s, though something is known", fresh.value)
	}
	old := newTuned(.01)
	if err := old.rule.load(raw, .01); err != nil {
		t.Fatal(err)
	}
	flat := flatRates()
	if d := math.Abs(math.Log(old.e.prior.mean() / flat.mean())); d > math.Abs(math.Log(is/flat.mean())) {
		t.Error("what is nearly a day old counts no less")
	}
	if err := fresh.rule.load(json.RawMessage(`{"seen":{"prior":[1,2]}}`), 1); err == nil {
		fresh.tick(5) // a prior of another length is filled with zeros, and must do no harm
	}
}

func TestALongerTTLThatBringsTooManyStaleAnswersIsWorse(t *testing.T) {
	trial := Trial{From: 10, To: 15, For: time.Minute, Appetite: Balanced()}
	tally := func(looks, changes, hits, stale float64) TTLTally {
		return TTLTally{Looks: looks, Changes: changes, Hits: hits, Stale: stale, StaleSquares: stale * stale / max(changes, 1)}
	}
	before := TTLSeen{Recent: tally(1000, 20, 10_000, 90)}
	for name, c := range map[string]struct {
		after   TTLTally
		from    float64
		verdict Verdict
	}{
		"many stale":       {tally(500, 40, 5000, 300), 10, VerdictWorse},
		"few stale":        {tally(500, 10, 5000, 40), 10, VerdictBetter},
		"too few looks":    {tally(10, 0, 100, 0), 10, VerdictNeutral},
		"shorter, and few": {tally(500, 2, 5000, 5), 20, VerdictBetter},
		"shorter, as many": {tally(500, 20, 5000, 50), 20, VerdictNeutral},
	} {
		trial.From = c.from
		e := judgeTTL(trial, before, TTLSeen{Epoch: c.after})
		if e.Verdict != c.verdict {
			t.Errorf("%s: %s (%s)", name, e.Verdict, e.Measured)
		}
	}
}

func TestAVerdictOfWorsePausesGrowth(t *testing.T) {
	u := newTuned(.01)
	u.value = 5
	now := feed(u.e, 20, 200, 10, 0, rand.New(rand.NewPCG(1, 1)))
	u.in.Last = &Outcome{From: 5, To: 7.5, Verdict: VerdictWorse, RolledBack: true}
	u.tick(now)
	u.in.Last = nil
	for range 11 {
		now += 5
		if u.tick(now); u.value != 5 {
			t.Fatalf("grew to %g s", u.value)
		}
	}
	if u.tick(now + 60); u.value <= 5 {
		t.Error("does not grow after the pause")
	}
}

func TestATableHoldsForOneValueOfTheKnob(t *testing.T) {
	u := newTuned(.05)
	now := feed(u.e, 50, 60, 10, .1, rand.New(rand.NewPCG(1, 1)))
	u.tick(now)
	if _, _, ok := u.e.Table().Freshness(keyHash(1), u.value); !ok {
		t.Fatal("there is no plan")
	}
	if _, _, ok := u.e.Table().Freshness(keyHash(1), 42); ok {
		t.Error("the plan holds for a value that somebody else set")
	}
	var none TTLTable
	if _, _, ok := none.Freshness(1, 0); ok {
		t.Error("an empty table knows something")
	}
}

func TestAShadowPlanIsNotPublished(t *testing.T) {
	u := newTuned(.05)
	now := feed(u.e, 50, 60, 10, .1, rand.New(rand.NewPCG(1, 1)))
	u.in.Now, u.in.Value = at(now), u.value
	u.in.Seen, u.in.N = u.rule.measure(at(now-15), at(now))
	_, state := u.rule.decide(u.in)
	u.rule.keep(state, false)
	if u.e.Table().plan.Load() != nil {
		t.Error("it was")
	}
}

func TestTTLGolden(t *testing.T) {
	for name, w := range map[string]contentWorld{
		"ttl-two-kinds": {keys: twoKinds(120, 20, .3, 1.0/60, 1.0/7200), early: .02},
		"ttl-shift": {keys: spreadKeys(100, 1, 10, 1.0/600, 1.0/600), early: .02, change: func(_ int, at float64) float64 {
			if at > 1200 {
				return 1.0 / 30
			}
			return 1.0 / 600
		}},
		"ttl-still": {keys: spreadKeys(50, 1, 5, 1e-9, 1e-9), early: .02},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			u := newTuned(.01)
			u.applied = func(now float64, p Proposal) {
				fmt.Fprintf(&b, "%5.0f s  %s to %s: %s\n         %s\n         expected: %s\n", now, seconds(u.value), seconds(p.To), p.Rule, p.Reason, p.Expected)
			}
			r := w.play(1, 2400, 600, u.ttl, u.look, u.tick)
			fmt.Fprintf(&b, "from 600 s on: %.2f %% of the answers from the cache were stale, %.1f %% of all came from it\n", 100*r.staleShare(), 100*r.hitShare())
			checkGolden(t, name, b.String())
		})
	}
}

func checkGolden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s differs from %s (go test ./tuner -update writes it anew):\n%s", name, path, text)
	}
}
