package e2e

import (
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// screen is what a program wrote on its terminal so far.
type screen struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) until(t *testing.T, what string, ok func(text string) bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(s.String()); {
		if time.Now().After(end) {
			text := s.String()
			t.Fatalf("%s does not come: %q", what, text[max(len(text)-2000, 0):])
		}
		<-time.After(50 * time.Millisecond)
	}
}

func TestTopDrawsAgainUntilItIsInterrupted(t *testing.T) {
	d := startDemo(t)
	d.ask(t.Context(), 20)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "top", "--interval", "200ms", "--admin-url", d.admin)
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 90})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	s, drawn := new(screen), make(chan struct{})
	go func() {
		defer close(drawn)
		_, _ = io.Copy(s, terminal) // ends with an error when the other side has closed
	}()
	const home = "\x1b[H"
	s.until(t, "a third drawing", func(text string) bool {
		return strings.Count(text, home) >= 3 && strings.Contains(text, "movies/movie")
	})
	d.stop()
	s.until(t, "the word that there is no answer", func(text string) bool {
		return strings.Contains(text[strings.LastIndex(text, home):], "NO ANSWER")
	})
	if _, err := terminal.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	<-drawn
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	text := s.String()
	if !strings.HasPrefix(text, "\x1b[?1049h") || !strings.Contains(text[max(len(text)-40, 0):], "\x1b[?25h\x1b[?1049l") {
		t.Errorf("the terminal is not given back as it was: %q", text[max(len(text)-200, 0):])
	}
}
