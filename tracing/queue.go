package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// counts are the spans that were sent and lost, over all options.
type counts struct{ sent, lost *metrics.Counter }

// queue bounds and counts the spans that wait. The SDK's own queue behind it, as long as this one, never
// overflows, for it would not say so.
type queue struct {
	sdktrace.SpanProcessor
	room    int64
	pending atomic.Int64 // taken, not yet sent or lost
	counts  *counts
	// life ends the exports that are under way when nobody waits for them any more.
	life context.Context
	end  context.CancelFunc
}

func newQueue(next sdktrace.SpanExporter, o Options, c *counts, log *slog.Logger) *queue {
	q := &queue{room: int64(o.QueueSize), counts: c}
	q.life, q.end = context.WithCancel(context.Background())
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(&exporter{SpanExporter: next, queue: q, log: log},
		sdktrace.WithMaxQueueSize(o.QueueSize), sdktrace.WithMaxExportBatchSize(min(512, o.QueueSize)),
		sdktrace.WithBatchTimeout(flushInterval), sdktrace.WithExportTimeout(o.Timeout))
	return q
}

// OnEnd takes a span if there is room. It never waits.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.life.Err() != nil {
		q.counts.lost.Inc()
		return
	}
	if q.pending.Add(1) > q.room {
		q.pending.Add(-1)
		q.counts.lost.Inc()
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// abandon gives up what still waits.
func (q *queue) abandon() {
	q.end()
	q.counts.lost.Add(int(max(0, q.pending.Swap(0))))
}

// exporter counts what became of spans, and says once when they begin to be lost.
type exporter struct {
	sdktrace.SpanExporter
	queue   *queue
	log     *slog.Logger
	failing bool // exports follow each other
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	q := e.queue
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.life, cancel)()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if q.life.Err() != nil {
		return nil // abandon has counted them
	}
	q.pending.Add(-int64(len(spans)))
	if err == nil {
		q.counts.sent.Add(len(spans))
		if e.failing {
			e.log.Info("spans reach the collector again")
		}
		e.failing = false
		return nil
	}
	q.counts.lost.Add(len(spans))
	if !e.failing {
		e.log.Warn("spans are lost: the collector did not take them; check tracing.endpoint and the collector", "error", err)
	}
	e.failing = true
	return nil // said and counted here, not by the SDK
}
