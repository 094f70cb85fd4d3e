package natsengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"penstock/engine"
)

// serverLog passes the server's warnings on and remembers why it could not start.
type serverLog struct {
	log   *slog.Logger
	cause atomic.Pointer[string]
}

func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("engine: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error("engine: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

// Fatalf is called where the server's own logger would end the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.cause.CompareAndSwap(nil, &text)
}

func (l *serverLog) fatal() error {
	if text := l.cause.Load(); text != nil {
		return errors.New(*text)
	}
	return nil
}

// records is an engine.Log: a stream with one subject.
type records struct {
	opening[jetstream.Stream]
	subject string
}

// Log implements engine.Engine.
func (e *Engine) Log(ctx context.Context, o engine.LogOptions) (engine.Log, error) {
	if err := o.Defaults(); err != nil {
		return nil, err
	}
	name := "LOG_" + e.name(o.Name)
	r := &records{subject: "log." + e.name(o.Name)}
	maxRecords := o.MaxRecords
	if maxRecords <= 0 {
		maxRecords = -1
	}
	r.opening = opening[jetstream.Stream]{e: e, make: func(ctx context.Context) (jetstream.Stream, error) {
		return e.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{r.subject}, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
			Storage: jetstream.FileStorage, MaxAge: o.MaxAge, MaxBytes: o.MaxBytes, MaxMsgs: maxRecords,
			MaxMsgSize: -1, AllowDirect: e.remote == nil, Replicas: e.replicas(),
		})
	}}
	if err := r.first(ctx); err != nil {
		return nil, fmt.Errorf("open the log %s: %w", o.Name, err)
	}
	return r, e.opened(name)
}

// Append implements engine.Log.
func (r *records) Append(ctx context.Context, data []byte) (seq uint64, err error) {
	if len(data) > engine.MaxValueBytes {
		return 0, engine.ErrTooLarge
	}
	err = r.do(ctx, func(ctx context.Context, _ jetstream.Stream) error {
		ack, err := r.e.js.Publish(ctx, r.subject, data)
		if err == nil {
			seq = ack.Sequence
		}
		return err
	})
	return seq, err
}

// Read implements engine.Log.
func (r *records) Read(ctx context.Context, after uint64, limit int) ([]engine.Record, error) {
	var found []engine.Record
	for len(found) < limit {
		var m *jetstream.RawStreamMsg
		err := r.do(ctx, func(ctx context.Context, stream jetstream.Stream) (err error) {
			// With the subject the answer is the first one from there on, so gaps don't matter.
			m, err = stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(r.subject))
			return err
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return found, err
		}
		found = append(found, engine.Record{Seq: m.Sequence, Time: m.Time, Data: m.Data})
		after = m.Sequence
	}
	return found, nil
}

// Bounds implements engine.Log.
func (r *records) Bounds(ctx context.Context) (first, last uint64, err error) {
	err = r.do(ctx, func(ctx context.Context, stream jetstream.Stream) error {
		info, err := stream.Info(ctx)
		if err != nil {
			return err
		}
		first, last = info.State.FirstSeq, info.State.LastSeq
		if info.State.Msgs == 0 {
			first = last + 1
		}
		return nil
	})
	return first, last, err
}

// Follow implements engine.Log.
func (r *records) Follow(ctx context.Context, after uint64) (<-chan engine.Record, error) {
	var messages jetstream.MessagesContext
	err := r.do(ctx, func(ctx context.Context, stream jetstream.Stream) error {
		c, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		})
		if err == nil {
			messages, err = c.Messages()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make(chan engine.Record)
	go func() {
		defer close(out)
		defer messages.Stop()
		r.forward(ctx, messages, out)
	}()
	return out, nil
}

func (r *records) forward(ctx context.Context, messages jetstream.MessagesContext, out chan<- engine.Record) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, messages.Stop)()
	go func() {
		select {
		case <-r.e.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return
		}
		meta, err := m.Metadata()
		if err != nil {
			return
		}
		select {
		case out <- engine.Record{Seq: meta.Sequence.Stream, Time: meta.Timestamp, Data: m.Data()}:
		case <-ctx.Done():
			return
		}
	}
}
