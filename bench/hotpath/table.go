package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock/bench/servers"
)

// measured is what each server did, round by round.
type measured map[string][]sample

func (m measured) median(name string, of func(sample) float64) float64 {
	values := make([]float64, len(m[name]))
	for i, s := range m[name] {
		values[i] = of(s)
	}
	return middle(values)
}

// ratio is the median over the rounds of one server's rate by another's in the same round.
func (m measured) ratio(name, by string) (float64, bool) {
	if len(m[by]) != len(m[name]) {
		return 0, false
	}
	values := make([]float64, len(m[name]))
	for i, s := range m[name] {
		values[i] = s.perSecond / m[by][i].perSecond
	}
	return middle(values), true
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (m measured) table(list []*servers.Server, s settings, tool string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Hits of %d bytes, %d connections, each server on one core of its own, %s on another; %d rounds of %g s, medians.\n\n",
		s.size, s.connections, tool, s.rounds, s.seconds)
	b.WriteString("| | requests/s | p50 | p99 | memory | of nginx | of Varnish | of net/http |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, one := range list {
		fmt.Fprintf(&b, "| %s | %.0f | %v | %v | %.0f MiB |", one.Name,
			m.median(one.Name, func(s sample) float64 { return s.perSecond }),
			time.Duration(m.median(one.Name, func(s sample) float64 { return float64(s.p50) })).Round(10*time.Microsecond),
			time.Duration(m.median(one.Name, func(s sample) float64 { return float64(s.p99) })).Round(10*time.Microsecond),
			m.median(one.Name, func(s sample) float64 { return float64(s.resident) })/(1<<20))
		for _, by := range []string{"nginx", "varnish", "net/http"} {
			if r, ok := m.ratio(one.Name, by); ok {
				fmt.Fprintf(&b, " %.2f |", r)
			} else {
				b.WriteString(" - |")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
