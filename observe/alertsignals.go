package observe

// AlertSignal is something that a rule can judge.
type AlertSignal struct {
	Name string
	// Unit is "ratio" (0..1), "seconds", "per second", "bytes", "requests", "calls" or "" for a
	// plain number; a truth is 0 or 1.
	Unit string
	// Scopes are what it exists for.
	Scopes []AlertScope
	Doc    string
}

// AlertSignals lists what rules can judge, in the order in which the documents show it.
func AlertSignals() []AlertSignal {
	every := []AlertScope{ScopeProcess, ScopeUpstream, ScopeRoute}
	process, upstream := []AlertScope{ScopeProcess}, []AlertScope{ScopeUpstream}
	return []AlertSignal{
		{"error_ratio", "ratio", every, "Share of requests that failed: answers of 500 and above, and problems that are not the client's doing."},
		{"failed_ratio", "ratio", every, "Share of calls that the upstream failed: overload, error, timeout, no connection."},
		{"refused_ratio", "ratio", every, "Share of calls that the upstream refused for its quota (429)."},
		{"hit_ratio", "ratio", every, "Share of requests that the store answered, fresh or stale, among those that the cache handled."},
		{"rate", "per second", every, "Requests per second."},
		{"goodput", "per second", every, "Requests per second that did not fail."},
		{"p50_seconds", "seconds", every, "The median time of a request, end to end."},
		{"p95_seconds", "seconds", every, "The time that 95 % of the requests keep."},
		{"p99_seconds", "seconds", every, "The time that 99 % of the requests keep."},
		{"in_flight", "requests", every, "Requests under way."},
		{"queued", "requests", upstream, "Requests that wait for a permit."},
		{"queue_ratio", "ratio", upstream, "How full the queue is."},
		{"permits_ratio", "ratio", upstream, "Share of the permits that are taken."},
		{"breaker_open", "", upstream, "1 while the breaker is open."},
		{"connections", "", upstream, "Open connections to the upstream."},
		{"quota_used_ratio", "ratio", upstream, "How much is used of the fullest quota window of a minute or longer; there only if one is known."},
		{"rollbacks", "", upstream, "Changes that the tuner took back in the last ten minutes."},
		{"reload_failed", "", process, "1 if the last reload failed."},
		{"disk_used_ratio", "ratio", process, "How full the disk of data_dir is; there only if data_dir is set."},
		{"memory_bytes", "bytes", process, "Memory that the process has resident."},
		{"cpu_ratio", "", process, "Cores that the process keeps busy."},
		{"goroutines", "", process, "Goroutines."},
	}
}

// alertSignal finds a signal's description.
func alertSignal(name string) (AlertSignal, bool) {
	for _, s := range AlertSignals() {
		if s.Name == name {
			return s, true
		}
	}
	return AlertSignal{}, false
}

// Value returns a signal of the sample by name, that of the process with an empty upstream. False if
// there is no such value.
func (s *Sample) Value(signal, upstream string) (float64, bool) {
	return s.valueOf(signal, RouteName{Upstream: upstream})
}

// valueOf returns a signal of a route, of an upstream (no Route), or of the process (neither).
func (s *Sample) valueOf(signal string, of RouteName) (float64, bool) {
	if of.Route == "" {
		if v, ok := s.Facts[factName(signal, of.Upstream)]; ok {
			return v, true
		}
	}
	if of == (RouteName{}) {
		if v, ok := s.processValue(signal); ok {
			return v, true
		}
	}
	sig, ok := s.signalsOf(of)
	if !ok {
		return 0, false
	}
	switch r := &sig.Requests; signal {
	case "error_ratio":
		return r.ErrorRatio, true
	case "refused_ratio":
		return sig.Calls.Outcomes.RefusedRatio(), true
	case "failed_ratio":
		return sig.Calls.Outcomes.FailedRatio(), true
	case "hit_ratio":
		return r.HitRatio, true
	case "rate":
		return r.Rate, true
	case "goodput":
		return r.Goodput, true
	case "p50_seconds":
		return r.P50.Seconds(), true
	case "p95_seconds":
		return r.P95.Seconds(), true
	case "p99_seconds":
		return r.P99.Seconds(), true
	case "in_flight":
		return float64(r.InFlight), true
	}
	return 0, false
}

func (s *Sample) processValue(signal string) (float64, bool) {
	switch signal {
	case "memory_bytes":
		return float64(s.Process.ResidentBytes), true
	case "cpu_ratio":
		return s.Process.CPURatio, true
	case "goroutines":
		return float64(s.Process.Goroutines), true
	}
	return 0, false
}

func (s *Sample) signalsOf(of RouteName) (Signals, bool) {
	switch {
	case of.Route != "":
		sig, ok := s.Routes[of]
		return sig, ok
	case of.Upstream != "":
		sig, ok := s.Upstreams[of.Upstream]
		return sig, ok
	}
	return s.Total, true
}

func (s *Sample) count(of RouteName) uint64 {
	sig, _ := s.signalsOf(of)
	return sig.Requests.Count
}
