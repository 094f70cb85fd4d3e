package natsengine

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"penstock/engine"
)

// queue is an engine.Queue: a work-queue stream with a subject and a durable consumer for each class.
type queue struct {
	e         *Engine
	o         engine.QueueOptions
	stream    jetstream.Stream
	consumers []jetstream.Consumer
}

// maxHeld is how many tasks of one class may be held at once, by all takers together.
const maxHeld = 10_000

// Queue implements engine.Engine.
func (e *Engine) Queue(ctx context.Context, o engine.QueueOptions) (engine.Queue, error) {
	if err := o.Defaults(); err != nil {
		return nil, err
	}
	q := &queue{e: e, o: o, consumers: make([]jetstream.Consumer, o.Classes)}
	name := "QUEUE_" + o.Name
	err := e.call(ctx, func(ctx context.Context) (err error) {
		q.stream, err = e.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{"queue." + o.Name + ".*"}, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
			Storage: jetstream.FileStorage, MaxBytes: o.MaxBytes, MaxMsgs: -1, MaxMsgSize: -1, Duplicates: o.Remember, AllowDirect: true,
		})
		return err
	})
	for class := range q.consumers {
		if err != nil {
			return nil, fmt.Errorf("open the queue %s: %w", o.Name, err)
		}
		err = e.call(ctx, func(ctx context.Context) (err error) {
			// Deliveries are counted by us: the server's own bound tells nobody when it is met.
			q.consumers[class], err = q.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
				Durable: "class-" + strconv.Itoa(class), FilterSubject: q.subject(class), AckPolicy: jetstream.AckExplicitPolicy,
				AckWait: o.Hold, MaxDeliver: -1, MaxAckPending: maxHeld,
			})
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open the queue %s: %w", o.Name, err)
	}
	return q, e.opened(name)
}

func (q *queue) subject(class int) string { return "queue." + q.o.Name + "." + strconv.Itoa(class) }

// Put implements engine.Queue.
func (q *queue) Put(ctx context.Context, class int, id string, data []byte) error {
	if err := q.o.CheckClass(class); err != nil {
		return err
	}
	if len(data) > engine.MaxValueBytes {
		return engine.ErrTooLarge
	}
	return namedFull(q.e.call(ctx, func(ctx context.Context) error {
		_, err := q.e.js.Publish(ctx, q.subject(class), data, jetstream.WithMsgID(id))
		return err
	}))
}

// namedFull names the failure that a bound makes.
func namedFull(err error) error {
	if e, ok := errors.AsType[*jetstream.APIError](err); ok && e.ErrorCode == codeStreamStoreFailed {
		return fmt.Errorf("%w: %w", engine.ErrFull, err)
	}
	return err
}

// codeStreamStoreFailed is the server's JSStreamStoreFailedF: with DiscardNew, that a bound was met.
const codeStreamStoreFailed = 10077

// Take implements engine.Queue.
func (q *queue) Take(ctx context.Context, class, limit int) (tasks []engine.Task, err error) {
	if err := q.o.CheckClass(class); err != nil {
		return nil, err
	}
	err = q.e.call(ctx, func(ctx context.Context) error {
		batch, err := q.consumers[class].FetchNoWait(limit)
		if err != nil {
			return err
		}
		for {
			select {
			case m, ok := <-batch.Messages():
				if !ok {
					return batch.Error()
				}
				t := &task{e: q.e, m: m, deliveries: 1}
				if meta, err := m.Metadata(); err == nil {
					t.deliveries = int(meta.NumDelivered)
				}
				tasks = append(tasks, t)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	if len(tasks) > 0 {
		return tasks, nil // the others come next time
	}
	return nil, err
}

// Len implements engine.Queue.
func (q *queue) Len(ctx context.Context) (n int, err error) {
	err = q.e.call(ctx, func(ctx context.Context) error {
		info, err := q.stream.Info(ctx)
		if err == nil {
			n = int(info.State.Msgs)
		}
		return err
	})
	return n, err
}

// task is a message that was taken.
type task struct {
	e          *Engine
	m          jetstream.Msg
	deliveries int
}

// Data implements engine.Task.
func (t *task) Data() []byte { return t.m.Data() }

// Deliveries implements engine.Task.
func (t *task) Deliveries() int { return t.deliveries }

// Done implements engine.Task.
func (t *task) Done(ctx context.Context) error {
	return t.say(ctx, func(ctx context.Context) error { return t.m.DoubleAck(ctx) })
}

// Extend implements engine.Task.
func (t *task) Extend(ctx context.Context) error {
	return t.say(ctx, func(context.Context) error { return t.m.InProgress() })
}

// Return implements engine.Task.
func (t *task) Return(ctx context.Context) error {
	return t.say(ctx, func(context.Context) error { return t.m.Nak() })
}

func (t *task) say(ctx context.Context, f func(context.Context) error) error {
	err := t.e.call(ctx, f)
	if errors.Is(err, jetstream.ErrMsgAlreadyAckd) || errors.Is(err, nats.ErrMsgAlreadyAckd) {
		return nil
	}
	return err
}
