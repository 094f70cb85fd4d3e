package app

import (
	"bytes"
	"context"
	"time"

	"penstock/api"
	"penstock/bulk"
	"penstock/configs"
	"penstock/request"
)

// appBulk runs NDJSON streams through the pipeline, in front of the way that every request goes.
type appBulk struct {
	config func() *configs.Config
	path   request.Doer
}

// stored gives a fresh stored answer, nil if there is none.
func (b appBulk) stored(_ context.Context, r *request.Request) *request.Response {
	if known, ok := b.path.(request.Recaller); ok {
		return known.Recall(r, time.Now())
	}
	return nil
}

// tickets is how many chunks are inside a stream for each that is asked at once: so many may wait for
// a slow line before them.
const tickets = 8

// Run implements api.Bulk.
func (b appBulk) Run(ctx context.Context, s api.BulkStream) error {
	c := b.config()
	o := bulk.Options{ChunkSize: c.Streaming.ChunkSize, Tickets: tickets * c.Streaming.ParallelStages, Ordered: s.Ordered}
	stages := []bulk.Stage{
		bulk.Decode(s.Build),
		bulk.Dedupe(),
		bulk.Lookup(b.stored, int64(c.Server.MaxBodyBytes)),
		bulk.Schedule(b.path, bulk.ScheduleOptions{
			InFlight: c.Streaming.ChunkSize * c.Streaming.ParallelStages, Chunks: o.Tickets, MaxBytes: int64(c.Server.MaxBodyBytes),
			Retries: c.Streaming.Retries, Patience: c.Streaming.Patience,
		}),
	}
	if s.Select != "" {
		chosen, err := bulk.Select(s.Select)
		if err != nil {
			return err
		}
		stages = append(stages, chosen)
	}
	stages = append(stages, bulk.Encode(func(l *bulk.Line) []byte {
		resp := &request.Response{Status: l.Status, Header: l.Header, Cache: request.CacheStatus{Hit: l.Hit}}
		return s.Encode(l.Number, resp, l.Body, l.Err)
	}))
	in := bulk.Lines(s.In, bulk.LineOptions{First: s.First, MaxBytes: int(c.Server.MaxBodyBytes), Plain: s.Plain})
	return bulk.New(o, stages...).Run(ctx, in, bulkSink(s.Write))
}

// bulkSink writes a chunk's outputs at once.
type bulkSink func([]byte) error

// Write implements bulk.Sink.
func (w bulkSink) Write(c *bulk.Chunk) error {
	var b bytes.Buffer
	for _, l := range c.Lines {
		b.Write(l.Raw)
		b.WriteByte('\n')
	}
	return w(b.Bytes())
}
