//go:build k8s

package queues

import (
	"context"
	"strconv"
	"sync/atomic"

	"k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing"
	"k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing/eventclock"
	"k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing/queueset"
	"k8s.io/apiserver/pkg/util/flowcontrol/metrics"
	"k8s.io/apiserver/pkg/util/flowcontrol/request"
)

func init() { peers = append(peers, peer{"queueset", openQueueSet}) }

// noGauge takes measurements and drops them.
type noGauge struct{}

func (noGauge) Set(float64)            {}
func (noGauge) Inc()                   {}
func (noGauge) Dec()                   {}
func (noGauge) Add(float64)            {}
func (noGauge) SetToCurrentTime()      {}
func (noGauge) SetDenominator(float64) {}

// openQueueSet makes one priority level with the queues and the hand of Kubernetes' workload-low.
func openQueueSet(clients, tenants int) (func(int, func()), func() int, func()) {
	c, err := queueset.NewQueueSetFactory(eventclock.Real{}).BeginConstruction(
		fairqueuing.QueuingConfig{Name: "level", DesiredNumQueues: 128, QueueLengthLimit: 4 * clients, HandSize: 6},
		metrics.RatioedGaugePair{RequestsWaiting: noGauge{}, RequestsExecuting: noGauge{}}, noGauge{}, noGauge{})
	if err != nil {
		panic(err)
	}
	qs := c.Complete(fairqueuing.DispatchingConfig{ConcurrencyLimit: 1, ConcurrencyDenominator: 1})
	var waiting atomic.Int64
	note := func(in bool) {
		if in {
			waiting.Add(1)
			return
		}
		waiting.Add(-1)
	}
	pass := func(client int, inside func()) {
		tenant := client % tenants
		// A hash as good as the real one: the multiplier spreads the numbers over 64 bits.
		hash := uint64(tenant+1) * 0x9e3779b97f4a7c15
		r, _ := qs.StartRequest(context.Background(), &request.WorkEstimate{InitialSeats: 1}, hash, strconv.Itoa(tenant), "schema", nil, nil, note)
		if r == nil {
			panic("refused")
		}
		r.Finish(inside)
	}
	return pass, func() int { return int(waiting.Load()) }, func() {}
}
