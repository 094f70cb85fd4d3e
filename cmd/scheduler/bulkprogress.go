package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"penstock/client/resume"
)

const (
	// flushInterval is how long an answer stays in memory at most before it is written.
	flushInterval = time.Second
	// barInterval and lineInterval are how often progress is shown, on a terminal and elsewhere.
	barInterval  = 250 * time.Millisecond
	lineInterval = 10 * time.Second
	barWidth     = 24
)

// progressShow shows the progress of a bulk run beside it.
type progressShow struct {
	p        *resume.Progress
	out      *resume.Output
	err      io.Writer
	terminal bool
	quiet    bool
	stop     chan struct{}
	all      sync.WaitGroup
}

// showProgress begins to show, and to write what is held back each second.
func (c *cli) showProgress(p *resume.Progress, out *resume.Output, quiet bool) *progressShow {
	s := &progressShow{p: p, out: out, err: c.err, quiet: quiet, stop: make(chan struct{})}
	if f, ok := c.err.(*os.File); ok {
		s.terminal = term.IsTerminal(int(f.Fd()))
	}
	s.all.Go(s.run)
	return s
}

func (s *progressShow) run() {
	interval := barInterval
	if !s.terminal {
		interval = flushInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	flushed, shown, trouble := time.Now(), time.Now(), ""
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Sub(flushed) >= flushInterval {
			flushed = now
			_ = s.out.Flush() // the run hears of a fault at the next answer
		}
		at := s.p.Now()
		switch {
		case s.quiet:
		case s.terminal:
			fmt.Fprint(s.err, "\r"+fit(bar(at), s.width()-1)+"\x1b[K")
		case now.Sub(shown) >= lineInterval || at.Trouble != trouble:
			shown, trouble = now, at.Trouble
			fmt.Fprintln(s.err, progressText(at))
		}
	}
}

// end stops showing and gives the last state.
func (s *progressShow) end() resume.Snapshot {
	close(s.stop)
	s.all.Wait()
	if s.terminal && !s.quiet {
		fmt.Fprint(s.err, "\r\x1b[K")
	}
	return s.p.Now()
}

func (s *progressShow) width() int {
	if f, ok := s.err.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return usualWidth
}

// bar draws a snapshot on one line.
func bar(s resume.Snapshot) string {
	if s.Total == 0 {
		return progressText(s)
	}
	full := int(float64(barWidth) * float64(s.Lines) / float64(s.Total))
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] " + progressText(s)
}

// progressText tells a snapshot in words.
func progressText(s resume.Snapshot) string {
	var parts []string
	if s.Total > 0 {
		parts = append(parts, fmt.Sprintf("%.1f%%", 100*float64(s.Lines)/float64(s.Total)))
	}
	parts = append(parts, count(int(s.Lines), "line"), grouped(int64(s.Rate+.5))+"/s", count(int(s.Failed), "error"))
	if s.Trouble != "" {
		return strings.Join(append(parts, "no connection, trying again: "+s.Trouble), ", ")
	}
	if s.Left > 0 {
		parts = append(parts, s.Left.Round(time.Second).String()+" left")
	}
	return strings.Join(parts, ", ")
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
