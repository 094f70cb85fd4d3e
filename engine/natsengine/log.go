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
	e       *Engine
	stream  jetstream.Stream
	subject string
}

// Log implements engine.Engine.
func (e *Engine) Log(ctx context.Context, o engine.LogOptions) (engine.Log, error) {
	if err := o.Defaults(); err != nil {
		return nil, err
	}
	name := "LOG_" + o.Name
	r := &records{e: e, subject: "log." + o.Name}
	maxRecords := o.MaxRecords
	if maxRecords <= 0 {
		maxRecords = -1
	}
	err := e.call(ctx, func(ctx context.Context) (err error) {
		r.stream, err = e.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{r.subject}, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
			Storage: jetstream.FileStorage, MaxAge: o.MaxAge, MaxBytes: o.MaxBytes, MaxMsgs: maxRecords,
			MaxMsgSize: -1, AllowDirect: true,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the log %s: %w", o.Name, err)
	}
	return r, e.opened(name)
}

// Append implements engine.Log.
func (r *records) Append(ctx context.Context, data []byte) (seq uint64, err error) {
	if len(data) > engine.MaxValueBytes {
		return 0, engine.ErrTooLarge
	}
	err = r.e.call(ctx, func(ctx context.Context) error {
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
		err := r.e.call(ctx, func(ctx context.Context) (err error) {
			// With the subject the answer is the first one from there on, so gaps don't matter.
			m, err = r.stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(r.subject))
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
	err = r.e.call(ctx, func(ctx context.Context) error {
		info, err := r.stream.Info(ctx)
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
