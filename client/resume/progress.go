package resume

import (
	"sync"
	"time"
)

// Snapshot is how far a run is.
type Snapshot struct {
	// Lines counts the lines that have their answer, OK below 400, Failed the others; Earlier is how many of
	// them had it when the run began.
	Lines, OK, Failed, Earlier int64
	// Total is how many lines there are: known when the input was read to its end, else estimated by its
	// size; 0: nobody knows.
	Total int64
	// Rate is the answers a second of the last seconds.
	Rate float64
	// Left is how much time is left at that rate; 0: nobody knows.
	Left time.Duration
	// Elapsed is since the run began.
	Elapsed time.Duration
	// Reconnects is how often the connection was made anew.
	Reconnects int
	// Trouble is why no connection stands; empty: one does.
	Trouble string
}

// rateWindow is what the rate looks back on.
const rateWindow = 10 * time.Second

// Progress is how far a run is, for others to look at while it runs. Make it with NewProgress.
type Progress struct {
	size int64 // of the input in bytes; 0: unknown

	mu                  sync.Mutex // guards what follows
	started             time.Time
	ok, failed, earlier int64
	wanted, bytes       int64 // of the input: lines that want an answer
	whole               bool
	reconnects          int
	trouble             string
	marks               []mark // oldest first, over rateWindow
}

type mark struct {
	at    time.Time
	lines int64
}

// NewProgress returns the progress of a run that begins now. size is the input's in bytes; 0: nobody knows.
func NewProgress(size int64) *Progress {
	now := time.Now()
	return &Progress{size: size, started: now, marks: []mark{{at: now}}}
}

func (p *Progress) read(size int, wants bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes += int64(size)
	if wants {
		p.wanted++
	}
}

// unread is how many bytes of the input were not read yet; negative: nobody knows.
func (p *Progress) unread() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size == 0 {
		return -1
	}
	return max(p.size-p.bytes, 0)
}

func (p *Progress) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole = true
}

func (p *Progress) begin(ok, failed int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ok, p.failed, p.earlier = ok, failed, ok+failed
	p.marks[0].lines = p.earlier
}

func (p *Progress) answered(good bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if good {
		p.ok++
	} else {
		p.failed++
	}
}

// say sets why no connection stands, or that one does.
func (p *Progress) say(trouble string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if trouble == "" && p.trouble != "" {
		p.reconnects++
	}
	p.trouble = trouble
}

// Now tells how far the run is. The rate is as good as it is asked for often.
func (p *Progress) Now() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	s := Snapshot{Lines: p.ok + p.failed, OK: p.ok, Failed: p.failed, Earlier: p.earlier, Elapsed: now.Sub(p.started),
		Reconnects: p.reconnects, Trouble: p.trouble}
	switch {
	case p.whole:
		s.Total = p.wanted
	case p.size > 0 && p.bytes > 0:
		s.Total = max(s.Lines, int64(float64(p.wanted)*float64(max(p.size, p.bytes))/float64(p.bytes)))
	}
	for len(p.marks) > 1 && now.Sub(p.marks[1].at) >= rateWindow {
		p.marks = p.marks[1:]
	}
	if took := now.Sub(p.marks[0].at).Seconds(); took > 0 {
		s.Rate = float64(s.Lines-p.marks[0].lines) / took
	}
	if now.Sub(p.marks[len(p.marks)-1].at) >= rateWindow/40 {
		p.marks = append(p.marks, mark{now, s.Lines})
	}
	if s.Rate > 0 && s.Total > 0 {
		s.Left = time.Duration(float64(s.Total-s.Lines) / s.Rate * float64(time.Second))
	}
	return s
}
