package preload

import (
	"cmp"
	"slices"
	"strconv"

	"penstock/preload/learn"
)

// Counts say what became of prefetches. Each issued one ends as one of Used (asked for while it was in the
// cache), Late (asked for while it was under way), Evicted, Expired, Unstored (its answer could not be
// kept), Failed, Redundant (no call was needed), or is still Outstanding.
type Counts struct {
	Issued      uint64 `json:"issued"`
	Used        uint64 `json:"used"`
	Late        uint64 `json:"late"`
	Evicted     uint64 `json:"evicted"`
	Expired     uint64 `json:"expired"`
	Unstored    uint64 `json:"unstored"`
	Failed      uint64 `json:"failed"`
	Redundant   uint64 `json:"redundant"`
	Outstanding uint64 `json:"outstanding"`
	// PrecisionRatio is the share, 0..1, of the settled that were asked for. CoverageRatio is the share of
	// the calls that clients would have waited for. TimelinessRatio is Used of Used and Late.
	PrecisionRatio  float64 `json:"precision_ratio"`
	CoverageRatio   float64 `json:"coverage_ratio"`
	TimelinessRatio float64 `json:"timeliness_ratio"`
	// ExtraCallsRatio is the wasted calls for each call that would have been made without prefetching.
	ExtraCallsRatio float64 `json:"extra_calls_ratio"`
	WastedBytes     uint64  `json:"wasted_bytes"`
	// SavedSeconds is the upstream's time that clients did not wait for.
	SavedSeconds float64 `json:"saved_seconds"`
}

// Stats is what the preloader knows and did: the answer of GET /admin/v1/preload.
type Stats struct {
	Enabled bool `json:"enabled"`
	// Threshold is the least probability now, over the knob's when the budget or the precision is short;
	// over 1: nothing is fetched.
	Threshold   float64 `json:"threshold"`
	BudgetRatio float64 `json:"budget_ratio"`
	// BudgetLeft is how many more wasted calls the budget allows now.
	BudgetLeft float64 `json:"budget_left"`
	// StandingDown: no source has a kind of prediction that is worth a call at present.
	StandingDown bool `json:"standing_down"`
	// Observed counts accesses, Dropped what came too fast to look at, Crowded predictions that were not
	// made since too many prefetches were under way.
	Observed uint64        `json:"observed"`
	Dropped  uint64        `json:"dropped"`
	Crowded  uint64        `json:"crowded"`
	Tables   []Table       `json:"tables"`
	Totals   Counts        `json:"totals"`
	Sources  []SourceStats `json:"sources"`
	Routes   []RouteStats  `json:"routes"`
	// Calibration is each source's reliability curve.
	Calibration []CalibrationPoint `json:"calibration"`
	Graph       Graph              `json:"graph"`
}

// Table is how full a table is.
type Table struct {
	Name  string `json:"name"`
	Used  int    `json:"used"`
	Size  int    `json:"size"`
	Bytes int    `json:"bytes"`
}

// SourceStats are the figures of one source of predictions.
type SourceStats struct {
	Source string `json:"source"`
	// State is on (some of its kinds of predictions are worth a call now), off (none is) or learning (too
	// few have been judged).
	State string `json:"state"`
	// Predicted counts all predictions that were judged, also those not made, and MeasuredRatio is the
	// share of them, 0..1, that came true.
	Predicted     uint64  `json:"predicted"`
	MeasuredRatio float64 `json:"measured_ratio"`
	Counts
}

// RouteStats are the figures of one route.
type RouteStats struct {
	Upstream string `json:"upstream"`
	Route    string `json:"route"`
	Counts
}

// CalibrationPoint is what came true of predictions of about one probability.
type CalibrationPoint struct {
	Source         string  `json:"source"`
	PredictedRatio float64 `json:"predicted_ratio"`
	MeasuredRatio  float64 `json:"measured_ratio"`
	Count          uint64  `json:"count"`
}

// Graph is the strongest associations between keys that are known.
type Graph struct {
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
}

// Node is a key.
type Node struct {
	ID       string `json:"id"`
	Label    string `json:"label"`
	Upstream string `json:"upstream"`
	Route    string `json:"route"`
}

// Edge says that To is asked for after From.
type Edge struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Source  string  `json:"source"`
	Weight  float64 `json:"weight"`
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
}

var sourceNames = [learn.Sources]string{"sequence", "association", "periodic", "refresh", "pattern"}

// Stats returns the figures of now, without the graph.
func (p *Preloader) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.model.Governor()
	s := Stats{
		Enabled: p.o.Enabled.Get(), Threshold: g.Threshold, BudgetRatio: p.o.BudgetRatio.Get(), BudgetLeft: max(g.Calls, 0),
		Observed: p.observed, Dropped: p.dropped.Load(), Crowded: p.crowded, Tables: p.tables(), StandingDown: true,
		Routes: []RouteStats{}, Calibration: []CalibrationPoint{}, Graph: Graph{Nodes: []Node{}, Edges: []Edge{}},
	}
	misses := p.model.Misses()
	for i := range learn.Sources {
		c := p.model.Counts(i)
		x := SourceStats{Source: sourceNames[i], State: p.state(i, g.Threshold), Predicted: c.Predicted, Counts: countsOf(c.Issued, c.Ended)}
		if c.Predicted > 0 {
			x.MeasuredRatio = float64(c.True) / float64(c.Predicted)
		}
		s.StandingDown = s.StandingDown && x.State != "on"
		s.Totals.add(x.Counts)
		x.finish(misses)
		s.Sources = append(s.Sources, x)
		for _, q := range p.model.Calibration(i) {
			s.Calibration = append(s.Calibration, CalibrationPoint{sourceNames[i], q.Predicted, q.Measured, q.Count})
		}
	}
	p.routeStats(&s, misses)
	s.Totals.finish(misses)
	return s
}

func (p *Preloader) state(s learn.Source, threshold float64) string {
	switch best := p.model.Best(s); {
	case best == 0 && p.model.Counts(s).Predicted < 8:
		return "learning"
	case best >= threshold:
		return "on"
	}
	return "off"
}

// routeStats adds the routes, and to the totals what only routes know.
func (p *Preloader) routeStats(s *Stats, misses uint64) {
	for i := range p.routes.table.slots {
		slot := &p.routes.table.slots[i]
		if !slot.live || slot.value == nil || slot.value.counts.Issued == 0 {
			continue
		}
		r := slot.value
		x := RouteStats{Upstream: r.upstream, Route: r.name, Counts: countsOf(r.counts.Issued-r.counts.Redundant, r.counts.Ended)}
		x.Redundant, x.Unstored, x.WastedBytes = r.counts.Redundant, r.counts.Unstored, r.counts.WastedBytes
		x.Failed -= min(x.Unstored, x.Failed)
		x.SavedSeconds = r.counts.Saved.Seconds()
		s.Totals.Redundant += x.Redundant
		s.Totals.Unstored += x.Unstored
		s.Totals.Failed -= min(x.Unstored, s.Totals.Failed)
		s.Totals.WastedBytes += x.WastedBytes
		s.Totals.SavedSeconds += x.SavedSeconds
		x.finish(misses)
		s.Routes = append(s.Routes, x)
	}
	slices.SortFunc(s.Routes, func(a, b RouteStats) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Route, b.Route))
	})
}

func (p *Preloader) tables() []Table {
	keys, contexts, sessions := p.model.Sizes()
	table := func(name string, s learn.Size) Table { return Table{name, s.Used, s.Size, s.Bytes} }
	return []Table{
		table("keys", keys), table("contexts", contexts), table("sessions", sessions),
		{Name: "requests", Used: p.known.len(), Size: p.o.MaxItems},
		{Name: "lists", Used: p.links.listings.len(), Size: p.links.listings.size},
	}
}

func countsOf(issued uint64, ended [learn.Fates]uint64) Counts {
	c := Counts{
		Issued: issued, Used: ended[learn.Used], Late: ended[learn.Late], Evicted: ended[learn.Evicted],
		Expired: ended[learn.Expired] + ended[learn.Forgotten], Failed: ended[learn.Failed],
	}
	return c
}

func (c *Counts) add(x Counts) {
	c.Issued += x.Issued
	c.Used += x.Used
	c.Late += x.Late
	c.Evicted += x.Evicted
	c.Expired += x.Expired
	c.Failed += x.Failed
}

// finish works out the ratios.
func (c *Counts) finish(misses uint64) {
	good, bad := c.Used+c.Late, c.Evicted+c.Expired+c.Unstored+c.Failed
	c.Outstanding = c.Issued - min(c.Issued, good+bad)
	if good+bad > 0 {
		c.PrecisionRatio = float64(good) / float64(good+bad)
	}
	if good > 0 {
		c.TimelinessRatio = float64(c.Used) / float64(good)
	}
	if misses > 0 {
		c.CoverageRatio = min(float64(good)/float64(misses), 1)
		c.ExtraCallsRatio = float64(bad) / float64(misses)
	}
}

const (
	// graphKeys is how many keys are looked at for the graph, graphEdges how many associations it shows.
	graphKeys  = 2000
	graphEdges = 64
)

// View is Stats with the graph.
func (p *Preloader) View() Stats {
	s := p.Stats()
	s.Graph = p.graph()
	return s
}

// graph collects the strongest associations among the keys whose requests are known.
func (p *Preloader) graph() Graph {
	type edge struct {
		learn.Edge
		from uint64
	}
	keys := p.known.some(graphKeys)
	var edges []edge
	p.mu.Lock()
	for _, k := range keys {
		for _, e := range p.model.Follows(k.key, p.hash.key(p.tenantOf(k.request), "")) {
			edges = append(edges, edge{e, k.key})
		}
	}
	p.mu.Unlock()
	strength := func(e edge) float64 { return e.Weight * float64(e.Count) / float64(e.Count+4) } // few chances prove little
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(strength(b), strength(a)), cmp.Compare(a.from, b.from), cmp.Compare(a.To, b.To))
	})
	g := Graph{Nodes: []Node{}, Edges: []Edge{}}
	ids := make(map[uint64]string)
	node := func(key uint64) string {
		if id, ok := ids[key]; ok {
			return id
		}
		n := Node{ID: strconv.Itoa(len(ids) + 1)}
		if r := p.known.get(key); r != nil && r.Route != nil {
			n.Label, n.Upstream, n.Route = r.Key, r.Route.Upstream, r.Route.Name
		}
		ids[key] = n.ID
		g.Nodes = append(g.Nodes, n)
		return n.ID
	}
	for _, e := range edges[:min(len(edges), graphEdges)] {
		g.Edges = append(g.Edges, Edge{
			From: node(e.from), To: node(e.To), Source: sourceNames[e.Source], Weight: e.Weight, Count: e.Count,
			Seconds: float64(e.Lead) / 1e9,
		})
	}
	return g
}
