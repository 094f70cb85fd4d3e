package bulk

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/bench/report"
	"penstock/bench/servers"
	"penstock/client"
)

var (
	full  = flag.Bool("full", false, "1,000,000 lines with figures, instead of 20,000 without")
	count = flag.Int64("lines", 1_000_000, "with -full: how many lines")
	table = flag.Bool("write", false, "write the table into docs/streaming.md")
)

// asWhole is the variable that makes this binary the script that streams are compared with.
const asWhole = "PENSTOCK_BENCH_WHOLE"

func TestMain(m *testing.M) {
	if args := os.Getenv(asWhole); args != "" {
		part := strings.Split(args, " ")
		if err := whole(part[0], part[1], part[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// whole is how a file is answered without a stream: all lines are read, all are asked, all answers are
// kept, and written at the end.
func whole(url, in, out string) error {
	text, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var items []client.Item
	for line := range strings.Lines(string(text)) {
		item := client.Item{Route: "line"}
		if err := json.Unmarshal([]byte(line), &item.Params); err != nil {
			return err
		}
		items = append(items, item)
	}
	c, err := client.New(url, client.Options{})
	if err != nil {
		return err
	}
	answers := make([]client.Line, len(items))
	if _, err := c.Batch(context.Background(), items, func(l client.Line) error { answers[l.Index] = l; return nil }); err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, a := range answers {
		_, _ = fmt.Fprintf(w, "{\"line\":%d,\"status\":%d,\"body\":%s}\n", a.Index+1, a.Status, a.Raw)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

const config = `upstreams:
  api:
    base_url: %s
    workers: {count: %d, min: %d, max: %d, queue_length: 5000}
    retry: {max_attempts: 1}
routes:
  line: {upstream: api, path: "/lines/{n}", params: {n: {pattern: "[0-9]+"}}, cache: {mode: "off"}}
server: {drain_delay: 0s}
log: {level: warn}
profiling: {enabled: true}
`

const (
	slots = 64
	// workers are more than the slots, so that the way between does not leave them idle.
	workers = 96
	// delay is how long the upstream works on a line: with slots, 8,000 lines a second.
	delay = 8 * time.Millisecond
)

// bench is the service with all around it.
type bench struct {
	t               *testing.T
	lines           int64
	up              *upstream
	binary, address string
	config, in      string
	service         *process
}

func newBench(t *testing.T, lines int64) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, lines: lines, up: newUpstream(t, slots), config: filepath.Join(dir, "penstock.yaml"), in: filepath.Join(dir, "in.ndjson")}
	var err error
	if b.binary, err = servers.BuildPenstock(dir); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(config, b.up.url, workers, workers, workers)
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(b.in)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for n := range lines {
		_, _ = fmt.Fprintf(w, "{\"n\":\"%d\"}\n", n+1)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.address = l.Addr().String()
	_ = l.Close()
	return b
}

func (b *bench) url() string { return "http://" + b.address }

func (b *bench) serve() {
	b.t.Helper()
	b.service = start(b.t, nil, b.binary, "run", "--config", b.config, "--listen", b.address, "--admin", "127.0.0.1:0", "--ephemeral")
	b.service.ready(b.url())
}

// command starts the command that is measured.
func (b *bench) command(out string) *process {
	b.t.Helper()
	return start(b.t, nil, b.binary, "bulk", "--url", b.url(), "--route", "line", b.in, out)
}

// check holds an output against the input: each line is answered once, in order.
func (b *bench) check(out string) {
	b.t.Helper()
	f, err := os.Open(out)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	in, n := bufio.NewReaderSize(f, 1<<20), int64(0)
	for {
		raw, err := in.ReadSlice('\n')
		if err != nil {
			break
		}
		n++
		want := fmt.Sprintf(`{"line":%d,"status":200,"body":{"id":"%d",`, n, n)
		if !strings.HasPrefix(string(raw), want) {
			b.t.Fatalf("in the place of line %d stands %.80s", n, raw)
		}
	}
	if n != b.lines {
		b.t.Fatalf("%d of %d lines", n, b.lines)
	}
}

func TestEachLineIsAnsweredOnceInTheSameMemory(t *testing.T) {
	lines := int64(20_000)
	if *full {
		lines = *count
	}
	b := newBench(t, lines)
	var rows strings.Builder
	row := func(name, format string, args ...any) { fmt.Fprintf(&rows, "| %s | %s |\n", name, fmt.Sprintf(format, args...)) }
	b.serve()
	if *full {
		b.measure(row)
	}
	b.killed(row)
	t.Logf("%s lines\n%s", grouped(lines), rows.String())
	if *full && *table {
		head := "| 1,000,000 lines | |\n| --- | --- |\n"
		if err := report.Put(filepath.Join("..", "..", "docs", "streaming.md"), "bulk", head+rows.String()); err != nil {
			t.Fatal(err)
		}
	}
}

// measure is a run at the pace that the upstream allows, and one that loads all.
func (b *bench) measure(row func(name, format string, args ...any)) {
	out := filepath.Join(b.t.TempDir(), "out.ndjson")
	b.up.delay.Store(int64(delay))
	began, calls := time.Now(), b.up.calls.Load()
	p := b.command(out)
	if to := os.Getenv("PROFILE"); to != "" {
		_, admin, _ := strings.Cut(b.service.log.String(), "admin plane: ")
		admin, _, _ = strings.Cut(admin, "\n")
		prof := start(b.t, nil, "curl", "-s", "-o", to, admin+"/debug/pprof/profile?seconds=8")
		defer prof.wait()
	}
	command, service := &watch{p: p}, &watch{p: b.service}
	each(p.done, func() int64 { return b.up.calls.Load() - calls }, func(n int64) {
		command.look(n)
		service.look(n)
	})
	p.wait()
	took := time.Since(began)
	rate := float64(b.lines) / took.Seconds()
	hold := time.Duration(b.up.held.Load() / b.lines)
	b.t.Logf("slots held %s each, busy %.1f %%; service cpu %s command cpu %s of %s", hold, 100*float64(b.up.held.Load())/float64(slots)/float64(took), cpu(b.service), cpu(p), took)
	b.up.delay.Store(0)
	b.check(out)
	allowed := float64(slots) / delay.Seconds()
	row("throughput, of what the upstream allows", "%s of %s lines/s: %.1f %%", grouped(int64(rate)), grouped(int64(allowed)), 100*rate/allowed)
	row("memory of the command, after 10,000 lines and the most after that", "%s, %s: %+.1f %%", mib(command.first), mib(command.most), 100*command.growth())
	row("memory of the service", "%s, %s: %+.1f %%", mib(service.first), mib(service.most), 100*service.growth())
	if os.Getenv("QUICK") != "" { return }
	most := b.script()
	row("memory of a script that loads all lines, asks them by `/v1/batch` and keeps the answers", "%s", mib(most))
	row("the command is below that by", "%.1f %%", 100*(1-float64(command.most)/float64(most)))
	row("command and service together are below that by", "%.1f %%", 100*(1-float64(command.most+service.most)/float64(most)))
	if rate < .9*allowed || command.growth() > .1 || service.growth() > .1 || float64(command.most+service.most) > .2*float64(most) {
		b.t.Errorf("the mark is missed: rate %.0f of %.0f, growth %.3f and %.3f, memory %d and %d of %d", rate, allowed,
			command.growth(), service.growth(), command.most, service.most, most)
	}
}

// script runs what loads all, and gives the most memory that it took.
func (b *bench) script() int64 {
	out := filepath.Join(b.t.TempDir(), "whole.ndjson")
	began := time.Now()
	p := start(b.t, []string{asWhole + "=" + b.url() + " " + b.in + " " + out}, os.Args[0])
	w := &watch{p: p}
	each(p.done, func() int64 { return settled }, w.look)
	p.wait()
	b.t.Logf("the script took %s", time.Since(began).Round(time.Second))
	b.check(out)
	return w.most
}

// killed kills the command after a third and the service after two thirds, as fast as the upstream can.
func (b *bench) killed(row func(name, format string, args ...any)) {
	out := filepath.Join(b.t.TempDir(), "killed.ndjson")
	began, calls := time.Now(), b.up.calls.Load()
	through := func(share int64) bool { return b.up.calls.Load()-calls >= b.lines*share/3 }
	p := b.command(out)
	at := func(share int64) {
		b.t.Helper()
		for !through(share) {
			select {
			case <-p.done:
				b.t.Fatalf("the command has ended: %v\n%s", p.err, &p.log)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	at(1)
	p.kill()
	p = b.command(out)
	at(2)
	b.service.kill()
	b.serve()
	p.wait()
	took := time.Since(began)
	b.check(out)
	again := b.up.calls.Load() - calls - b.lines
	row("command killed (-9) after a third, service killed after two, an upstream without delay", "each line once, in order; %s lines/s with the restarts; %s asked twice",
		grouped(int64(float64(b.lines)/took.Seconds())), grouped(again))
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func cpu(p *process) string {
	if p.cmd.ProcessState != nil {
		return (p.cmd.ProcessState.SystemTime() + p.cmd.ProcessState.UserTime()).String()
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	f := strings.Fields(string(b))
	return f[13] + " " + f[14]
}
