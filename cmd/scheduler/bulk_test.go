package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/client/resume"
)

// lineService answers each line of a stream with the status of its place; 0: it breaks off.
func lineService(t *testing.T, statuses ...int) func(c *cli) {
	return running(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/stream/movie" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = http.NewResponseController(w).EnableFullDuplex()
		offset := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &offset)
		for in := bufio.NewScanner(r.Body); in.Scan(); {
			if offset++; in.Text() == "" {
				continue
			}
			_, _ = fmt.Fprintf(w, "{\"line\":%d,\"status\":%d,\"body\":%s}\n", offset, statuses[offset-1], in.Text())
		}
		_, _ = io.WriteString(w, "{\"summary\":{\"state\":\"done\"}}\n")
	})
}

func TestBulkAnswersAFileAndGoesOn(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	writeFile(t, in, "{}\n\n{}\n{}")
	bad := command(t, lineService(t, 200, 0, 503, 404), "bulk", "--route", "movie", in, out)
	want(t, bad, exitFailed, "3 lines answered: 1 ok, 2 failed", "--retry-errors asks them again")
	again := command(t, lineService(t, 200, 0, 200, 404), "bulk", "-r", "movie", "--retry-errors=5xx", "--json", in, out)
	want(t, again, exitFailed, `"lines": 3`, `"failed": 1`, `"earlier": 2`, `"whole": true`)
	good := command(t, lineService(t, 200, 0, 200, 200), "bulk", "-r", "movie", "--retry-errors", in, out)
	want(t, good, exitOK, "3 lines answered: 3 ok, 0 failed (2 in earlier runs)")
	b, err := os.ReadFile(out)
	if wantText := `{"line":1,"status":200,"body":{}}` + "\n" + `{"line":3,"status":200,"body":{}}` + "\n" + `{"line":4,"status":200,"body":{}}` + "\n"; err != nil || string(b) != wantText {
		t.Errorf("%v: %s", err, b)
	}
}

func TestBulkReadsAndWritesThePipes(t *testing.T) {
	service := lineService(t, 200, 200)
	got := command(t, func(c *cli) {
		service(c)
		c.in = strings.NewReader("{\"a\":1}\n{\"a\":2}\n")
	}, "bulk", "--route", "movie", "--quiet", "-", "-")
	want(t, got, exitOK, "2 lines answered")
	if got.out != `{"line":1,"status":200,"body":{"a":1}}`+"\n"+`{"line":2,"status":200,"body":{"a":2}}`+"\n" {
		t.Errorf("out %s", got.out)
	}
}

func TestBulkSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	in, other := filepath.Join(dir, "in"), filepath.Join(dir, "other")
	writeFile(t, in, "{}\n")
	writeFile(t, other, "hello\n")
	want(t, command(t, nil, "bulk", "--route", "movie", filepath.Join(dir, "none"), "out"), exitFailed, "no such file")
	want(t, command(t, nil, "bulk", "--route", "movie", dir, "out"), exitFailed, "is a directory")
	want(t, command(t, nil, "bulk", "--route", "movie", in, in), exitFailed, "is the input")
	want(t, command(t, nil, "bulk", "--route", "movie", in, other), exitFailed, "can't be gone on with", "--restart")
	want(t, command(t, nil, "bulk", "--route", "movie", "--restart", in, "-"), exitFailed, "need an output file")
	out := filepath.Join(dir, "out")
	want(t, command(t, lineService(t), "bulk", "--route", "film", in, out), exitFailed, "404", "goes on where it stopped")
	unreachable := func(c *cli) { c.env = []string{"PENSTOCK_URL=http://127.0.0.1:1"} }
	want(t, command(t, unreachable, "bulk", "--route", "movie", "--give-up", "0", in, out), exitFailed, "given up", "does it run")
}

func TestProgressIsToldInWords(t *testing.T) {
	s := resume.Snapshot{Lines: 500, Failed: 1, Total: 2000, Rate: 1234.6, Left: 75 * time.Second}
	if got := bar(s); got != "[######..................] 25.0%, 500 lines, 1,235/s, 1 error, 1m15s left" {
		t.Error(got)
	}
	if got := bar(resume.Snapshot{Lines: 1, Trouble: "no answer"}); got != "1 line, 0/s, 0 errors, no connection, trying again: no answer" {
		t.Error(got)
	}
	if got := grouped(1234567); got != "1,234,567" {
		t.Error(got)
	}
}
