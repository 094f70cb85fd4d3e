package app

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"penstock/configs"
	"penstock/knob"
	"penstock/request"
)

// setting is one knob as a configuration wants it.
type setting struct {
	spec   knob.Spec
	base   float64
	source knob.Source
}

// knobPlan is what a configuration makes of the knobs. It is built and checked before anything
// changes; apply can't fail.
type knobPlan struct {
	settings map[string]setting
	pins     map[string]float64
	sources  map[string]configs.Origin
}

// planKnobs works out the knobs of a configuration; sources says where a key's value comes from. The
// docs of a knob and its bounds stand here, its default in configs.
func planKnobs(c *configs.Config, sources map[string]configs.Origin) *knobPlan {
	p := &knobPlan{settings: make(map[string]setting), pins: make(map[string]float64), sources: sources}
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		u, _ := c.ResolvedUpstream(name)
		p.planUpstream(c, name, u)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Routes)) {
		r, _ := c.ResolvedRoute(name)
		p.planTTL(ttlKnob(r.Upstream, name), "routes."+name+".cache.ttl", r.Cache)
	}
	p.planShares(c)
	p.add("preload.threshold", knob.Spec{
		Name: "preload.threshold", Kind: knob.KindFloat, Unit: "probability", Default: configs.Defaults().Preload.Threshold, Max: 1,
		Doc: "The least probability at which a key is fetched ahead; lower fetches more and wastes more.",
	}, c.Preload.Threshold)
	p.add("preload.budget", knob.Spec{
		Name: "preload.budget", Kind: knob.KindFloat, Unit: "extra calls per call", Default: configs.Defaults().Preload.BudgetRatio, Max: 1,
		Doc: "The most wasted calls of fetching ahead for each call that would be made without it.",
	}, c.Preload.BudgetRatio)
	p.add("preload.enabled", knob.Spec{
		Name: "preload.enabled", Kind: knob.KindBool, Default: truth(configs.Defaults().Preload.Enabled), Max: 1,
		Doc: "Whether keys that will probably be asked for are fetched ahead with spare capacity.",
	}, truth(c.Preload.Enabled))
	p.planPins(c.Knobs)
	return p
}

func (p *knobPlan) planUpstream(c *configs.Config, name string, u configs.Upstream) {
	d := configs.Defaults()
	key := "upstreams." + name + "."
	w := u.Workers
	p.add(key+"workers.count", knob.Spec{
		Name: "workers." + name, Kind: knob.KindInt, Unit: "permits", Default: float64(min(max(d.Workers.Count, w.Min), w.Max)),
		Min: float64(w.Min), Max: float64(w.Max),
		Doc: "How many calls to the upstream run at once; more gives throughput until it is full, fewer spare it.",
	}, float64(w.Count))
	p.add(key+"rate", rateSpec(name), 0)
	p.add("batching.max_items", knob.Spec{
		Name: "batch.target." + name, Kind: knob.KindInt, Unit: "requests", Default: float64(d.Batching.MaxItems), Min: 1, Max: 10_000,
		Doc: "The most requests that one batch to the upstream carries; more makes fewer calls, fewer keep them short.",
	}, float64(c.Batching.MaxItems))
	p.add("batching.linger", knob.Spec{
		Name: "batch.linger." + name, Kind: knob.KindDuration, Unit: "s", Default: d.Batching.Linger.Seconds(), Max: 10,
		Doc: "The longest that a free worker waits for a fuller batch; longer makes fewer calls, shorter answers sooner.",
	}, c.Batching.Linger.Seconds())
	p.add(key+"retry.budget_ratio", knob.Spec{
		Name: "retry.budget." + name, Kind: knob.KindFloat, Unit: "ratio", Default: u.Retry.BudgetRatio, Max: 1,
		Doc: "The share of calls that may be retries; more hides more failures, less adds less load in bad times.",
	}, u.Retry.BudgetRatio)
	p.add(key+"workers.codel_target", knob.Spec{
		Name: "codel.target." + name, Kind: knob.KindDuration, Unit: "s", Default: d.Workers.CoDelTarget.Seconds(), Max: 3600,
		Doc: "How old the oldest waiting request may be before the queue counts as standing; longer rides out bursts, shorter answers the newest sooner; 0: four times the service time.",
	}, w.CoDelTarget.Seconds())
	p.add(key+"workers.codel_interval", knob.Spec{
		Name: "codel.interval." + name, Kind: knob.KindDuration, Unit: "s", Default: d.Workers.CoDelInterval.Seconds(), Max: 3600,
		Doc: "How long the oldest must be over codel.target for the queue to count as standing; longer forgives longer bursts; 0: ten times the service time.",
	}, w.CoDelInterval.Seconds())
	p.planTTL(ttlKnob(name, request.ProxyRoute), key+"cache.ttl", u.Cache)
}

func (p *knobPlan) planTTL(name, key string, c configs.CachePolicy) {
	switch c.Mode {
	case "off":
		return
	case "http":
		p.add("", knob.Spec{
			Name: name, Kind: knob.KindDuration, Unit: "s", Default: heuristicDay.Seconds(), Max: heuristicDay.Seconds(),
			Doc: "How long an answer is fresh that says nothing of it but Last-Modified (heuristic freshness); at 24h it is a tenth of the time since the last change.",
		}, heuristicDay.Seconds())
		return
	}
	p.add(key, knob.Spec{
		Name: name, Kind: knob.KindDuration, Unit: "s", Default: configs.Defaults().Cache.DefaultTTL.Seconds(),
		Max: math.Max(86_400*365, c.TTL.Seconds()),
		Doc: "How long an answer is fresh; longer saves calls, shorter shows changes sooner.",
	}, c.TTL.Seconds())
}

// ttlKnob names the TTL knob of a route.
func ttlKnob(upstream, route string) string {
	if route == request.ProxyRoute {
		return "cache.ttl." + upstream + ".proxy"
	}
	return "cache.ttl." + route
}

func (p *knobPlan) add(key string, s knob.Spec, base float64) {
	source := p.sources[key].Source
	if source == "" {
		source = knob.SourceDefault
	}
	p.settings[s.Name] = setting{s, base, source}
}

// planPins reads the file's pins. Those that can't be are left to faults.
func (p *knobPlan) planPins(pins map[string]string) {
	for name, text := range pins {
		if s, ok := p.settings[name]; ok {
			if v, err := s.spec.Parse(text); err == nil {
				p.pins[name] = v
			}
		}
	}
}

// faults lists the pins of c that can't be.
func (p *knobPlan) faults(c *configs.Config) []configs.Fault {
	var faults []configs.Fault
	for name, text := range c.Knobs {
		f := configs.Fault{Key: "knobs." + name}
		if s, ok := p.settings[name]; !ok {
			f.Problem = "there is no such knob; there are " + strings.Join(slices.Sorted(maps.Keys(p.settings)), ", ")
		} else if _, err := s.spec.Parse(text); err != nil {
			f.Problem = err.Error()
		} else {
			continue
		}
		faults = append(faults, f)
	}
	return faults
}

// ttl gives the TTL of a route: its knob, or a fixed one where the mode is not ttl.
func (p *knobPlan) ttl(r *knob.Registry) func(upstream, route string, c configs.CachePolicy) request.DurationValue {
	return func(upstream, route string, c configs.CachePolicy) request.DurationValue {
		if k, ok := r.Lookup(ttlKnob(upstream, route)); ok && c.Mode == "ttl" {
			return knob.Duration{Knob: k}
		}
		return request.FixedDuration(c.TTL)
	}
}

// register adds the knobs that are new. It is done ahead of apply, since the stages being built
// need them; forget takes it back when the reload fails.
func (p *knobPlan) register(r *knob.Registry) (forget func(), err error) {
	var added []string
	forget = func() {
		for _, name := range added {
			r.Remove(name)
		}
	}
	for _, s := range p.settings {
		if _, ok := r.Lookup(s.spec.Name); ok {
			continue
		}
		if _, err := r.Register(s.spec); err != nil {
			forget()
			return nil, err
		}
		added = append(added, s.spec.Name)
	}
	return forget, nil
}

// apply puts bounds, bases and the file's pins in force, and removes knobs that are gone.
func (p *knobPlan) apply(r *knob.Registry, resume bool) error {
	var faults []error
	for _, k := range r.All() {
		name := k.Spec().Name
		s, ok := p.settings[name]
		if !ok {
			r.Remove(name)
			continue
		}
		if _, pinned := p.pins[name]; !pinned {
			if pin := k.State().Pin; pin != nil && pin.FromFile {
				_, err := k.Unpin(true, resume)
				faults = append(faults, err)
			}
		}
		faults = append(faults, k.Configure(s.spec, s.base, s.source))
		if v, pinned := p.pins[name]; pinned {
			faults = append(faults, k.Pin(knob.Pin{Value: v, Note: "knobs." + name + " of the configuration", Author: "file", FromFile: true}))
		}
	}
	return errors.Join(faults...)
}

// intKnob and the like look up what register added.
func (a *App) intKnob(name string) knob.Int           { return knob.Int{Knob: a.mustKnob(name)} }
func (a *App) floatKnob(name string) knob.Float       { return knob.Float{Knob: a.mustKnob(name)} }
func (a *App) durationKnob(name string) knob.Duration { return knob.Duration{Knob: a.mustKnob(name)} }

func (a *App) mustKnob(name string) *knob.Knob {
	k, ok := a.knobs.Lookup(name)
	if !ok {
		panic("app: no knob " + strconv.Quote(name)) // planKnobs and its users disagree
	}
	return k
}
