package request

import (
	"io"
	"strings"
	"sync"
	"testing"
)

func TestPromoteKeepsTheMostUrgentAndTellsTheQueueOnce(t *testing.T) {
	var r Request
	r.SetUrgency(5)
	var mu sync.Mutex
	var told []Urgency
	r.OnPromote(func(u Urgency) { mu.Lock(); told = append(told, u); mu.Unlock() })
	var wg sync.WaitGroup
	for u := range Urgency(8) {
		wg.Go(func() { r.Promote(u) })
	}
	wg.Wait()
	if r.Urgency() != 0 {
		t.Errorf("urgency %v, want 0", r.Urgency())
	}
	if len(told) == 0 || len(told) > 5 {
		t.Errorf("told %v times, want 1 to 5", len(told))
	}
	if r.Promote(3) {
		t.Error("a less urgent waiter promoted the request")
	}
}

func TestReadAllRefusesWhatIsTooLarge(t *testing.T) {
	read := func(body string, length, limit int64) ([]byte, error) {
		return ReadAll(&Response{Body: io.NopCloser(strings.NewReader(body)), ContentLength: length}, limit)
	}
	if b, err := read("12345", -1, 5); err != nil || string(b) != "12345" {
		t.Errorf("got %q, %v", b, err)
	}
	for _, length := range []int64{-1, 5} {
		if _, err := read("12345", length, 4); err == nil {
			t.Errorf("5 bytes with length %d passed a limit of 4", length)
		}
	}
}

func TestEveryProblemHasStatusAndTitle(t *testing.T) {
	for _, p := range Problems() {
		if p.Status() < 400 || p.Title() == "" || !strings.Contains(p.Type(), string(p)) {
			t.Errorf("%s: status %d, title %q, type %q", p, p.Status(), p.Title(), p.Type())
		}
	}
}

func TestParseUrgency(t *testing.T) {
	for _, bad := range []string{"", "8", "-1", "x", "1.0", "07x"} {
		if _, err := ParseUrgency(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if u, err := ParseUrgency("7"); err != nil || u != LeastUrgent {
		t.Errorf("got %v, %v", u, err)
	}
}
