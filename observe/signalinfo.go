package observe

import "strings"

// SignalInfo says how to read a signal.
type SignalInfo struct {
	// Unit is "seconds", "ratio", "per second", "bytes", "cores" or "" for a count.
	Unit string
	// Peak: over a longer step the highest value counts, else the mean.
	Peak bool
}

// DescribeSignal tells how to read a signal of the history by its name, as [Sample.Values] gives it.
func DescribeSignal(name string) SignalInfo {
	signal, _, _ := strings.Cut(name, "/")
	switch {
	case signal == "knob":
		return SignalInfo{}
	case strings.HasSuffix(signal, "_seconds"):
		return SignalInfo{Unit: "seconds", Peak: true}
	case signal == "cpu_ratio":
		return SignalInfo{Unit: "cores"}
	case strings.HasSuffix(signal, "_ratio"):
		return SignalInfo{Unit: "ratio"}
	case strings.HasSuffix(signal, "_bytes"):
		return SignalInfo{Unit: "bytes"}
	case signal == "rate" || strings.HasSuffix(signal, "_rate") || strings.HasSuffix(signal, "goodput") || signal == "call_throughput" || signal == "pace":
		return SignalInfo{Unit: "per second"}
	}
	return SignalInfo{Peak: true}
}

// Values are the sample's numbers by the names of the history: SIGNAL for the process, SIGNAL/UPSTREAM,
// SIGNAL/UPSTREAM/ROUTE, and the facts. What had no request in the window has no latency and no ratio.
func (s *Sample) Values() map[string]float64 {
	m := make(map[string]float64, 32+16*len(s.Upstreams)+6*len(s.Routes)+len(s.Facts))
	s.Total.values(m, "")
	m["cpu_ratio"] = s.Process.CPURatio
	m["resident_bytes"] = float64(s.Process.ResidentBytes)
	m["heap_bytes"] = float64(s.Process.HeapBytes)
	m["goroutines"] = float64(s.Process.Goroutines)
	m["open_fds"] = float64(s.Process.OpenFDs)
	for name, sig := range s.Upstreams {
		sig.values(m, "/"+name)
	}
	for name, sig := range s.Routes {
		sig.Requests.values(m, "/"+name.Upstream+"/"+name.Route)
	}
	for name, v := range s.Facts {
		m[name] = v
	}
	return m
}

func (s *Signals) values(m map[string]float64, of string) {
	s.Requests.values(m, of)
	c := &s.Calls
	m["call_rate"+of] = c.Rate
	m["call_throughput"+of] = c.Throughput
	m["call_goodput"+of] = c.Goodput
	if c.Count == 0 {
		return
	}
	m["failed_ratio"+of] = c.Outcomes.FailedRatio()
	m["refused_ratio"+of] = c.Outcomes.RefusedRatio()
	m["call_p50_seconds"+of] = c.P50.Seconds()
	m["call_p95_seconds"+of] = c.P95.Seconds()
	m["call_p99_seconds"+of] = c.P99.Seconds()
}

func (r *RequestSignals) values(m map[string]float64, of string) {
	m["rate"+of] = r.Rate
	m["goodput"+of] = r.Goodput
	m["in_flight"+of] = float64(r.InFlight)
	if r.Count == 0 {
		return
	}
	m["error_ratio"+of] = r.ErrorRatio
	m["p50_seconds"+of] = r.P50.Seconds()
	m["p95_seconds"+of] = r.P95.Seconds()
	m["p99_seconds"+of] = r.P99.Seconds()
	if r.Hits+r.Stale+r.Coalesced+r.Misses > 0 {
		m["hit_ratio"+of] = r.HitRatio
		m["saved_ratio"+of] = r.SavedRatio
	}
}
