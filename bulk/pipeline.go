package bulk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Stage does one thing to each chunk.
type Stage struct {
	// Name is shown in errors.
	Name string
	// Workers is how many chunks it works on at once; 0: one.
	Workers int
	// Do works on a chunk. What is wrong with a line goes into its Err; an error ends the stream.
	Do func(ctx context.Context, c *Chunk) error
}

// Source gives lines. Next returns io.EOF at the end. A line may have an Err already.
type Source interface {
	Next() (*Line, error)
}

// Sink takes the output of a chunk. It is called by one goroutine.
type Sink interface {
	Write(c *Chunk) error
}

// Options set up a Pipeline. What is zero gets its default.
type Options struct {
	// ChunkSize is how many lines make a chunk: default 32. A slow source's chunks are shorter, see Gather.
	ChunkSize int
	// Tickets is how many chunks are inside at once: default 64. More lets slow lines be overtaken by more
	// others, less bounds memory.
	Tickets int
	// Ordered has the output in the order of the input, else in that of the chunks' ends.
	Ordered bool
	// Gather is how long a chunk waits for more lines once it has one: default 5 ms.
	Gather time.Duration
}

func (o *Options) defaults() {
	o.ChunkSize = cmp.Or(o.ChunkSize, 32)
	o.Tickets = cmp.Or(o.Tickets, 64)
	o.Gather = cmp.Or(o.Gather, 5*time.Millisecond)
}

// Pipeline leads lines through stages. Make it with New.
type Pipeline struct {
	o      Options
	stages []Stage
}

// New returns a pipeline of these stages.
func New(o Options, stages ...Stage) *Pipeline {
	o.defaults()
	return &Pipeline{o: o, stages: stages}
}

// Run reads the source to its end and writes all its lines' outputs. It returns the first fault of the
// source, a stage or the sink, or the end of ctx; the goroutines have ended then, but for a source that
// blocks in Next: whoever cancels ctx must see to it that Next returns.
func (p *Pipeline) Run(ctx context.Context, from Source, to Sink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tickets := make(chan struct{}, p.o.Tickets)
	first := make(chan *Chunk)
	var all sync.WaitGroup
	all.Go(func() {
		defer close(first)
		if err := p.read(ctx, from, tickets, first); err != nil {
			cancel(err)
		}
	})
	next := first
	for _, s := range p.stages {
		next = p.stage(ctx, cancel, s, next, &all)
	}
	if err := p.write(ctx, to, tickets, next); err != nil {
		cancel(err)
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return nil
}

// read makes chunks of lines, as long as there are tickets.
func (p *Pipeline) read(ctx context.Context, from Source, tickets chan<- struct{}, out chan<- *Chunk) error {
	lines := make(chan *Line, p.o.ChunkSize)
	ended := make(chan error, 1)
	go func() {
		defer close(lines)
		for {
			line, err := from.Next()
			if err != nil {
				ended <- err
				return
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				ended <- ctx.Err()
				return
			}
		}
	}()
	for seq := 0; ; seq++ {
		select {
		case tickets <- struct{}{}:
		case <-ctx.Done():
			<-ended
			return nil
		}
		c, more := p.gather(ctx, lines)
		if len(c.Lines) > 0 {
			c.seq = seq
			select {
			case out <- c:
			case <-ctx.Done():
			}
		}
		if !more {
			if err := <-ended; !errors.Is(err, io.EOF) && ctx.Err() == nil {
				return fmt.Errorf("read: %w", err)
			}
			return nil
		}
	}
}

// gather takes a chunk's lines: all that are there, and what comes within a moment of the first.
func (p *Pipeline) gather(ctx context.Context, lines <-chan *Line) (c *Chunk, more bool) {
	c = &Chunk{Lines: make([]*Line, 0, p.o.ChunkSize)}
	var late <-chan time.Time
	for len(c.Lines) < p.o.ChunkSize {
		select {
		case l, ok := <-lines:
			if !ok {
				return c, false
			}
			c.Lines = append(c.Lines, l)
			if late == nil {
				timer := time.NewTimer(p.o.Gather)
				defer timer.Stop()
				late = timer.C
			}
		case <-late:
			return c, true
		case <-ctx.Done():
			return c, false
		}
	}
	return c, true
}

// stage starts the workers of a stage and returns its output, which is closed when they have ended.
func (p *Pipeline) stage(ctx context.Context, cancel context.CancelCauseFunc, s Stage, in <-chan *Chunk, all *sync.WaitGroup) chan *Chunk {
	out := make(chan *Chunk)
	var workers sync.WaitGroup
	for range max(s.Workers, 1) {
		workers.Go(func() {
			for c := range in {
				if ctx.Err() != nil {
					continue // takes what comes, so that nobody waits
				}
				if err := s.Do(ctx, c); err != nil {
					cancel(fmt.Errorf("stage %s: %w", s.Name, err))
					continue
				}
				select {
				case out <- c:
				case <-ctx.Done():
				}
			}
		})
	}
	all.Go(func() {
		workers.Wait()
		close(out)
	})
	return out
}

// write gives the chunks to the sink, in their order if that is wanted, and their tickets back.
func (p *Pipeline) write(ctx context.Context, to Sink, tickets <-chan struct{}, in <-chan *Chunk) error {
	waiting := make(map[int]*Chunk) // at most as many as there are tickets
	next := 0
	var fault error
	for c := range in {
		if fault != nil || ctx.Err() != nil {
			continue
		}
		waiting[c.seq] = c
		for {
			ready, ok := waiting[next]
			if !p.o.Ordered {
				ready, ok = c, waiting[c.seq] != nil
			}
			if !ok {
				break
			}
			delete(waiting, ready.seq)
			next++
			if fault = to.Write(ready); fault != nil {
				return p.drain(fault, in)
			}
			<-tickets
		}
	}
	return fault
}

// drain takes what still comes after a fault. It runs on until the stages, which are told of the fault
// by Run, have closed their output.
func (p *Pipeline) drain(fault error, in <-chan *Chunk) error {
	go func() {
		for range in {
		}
	}()
	return fault
}
