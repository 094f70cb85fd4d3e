package bulk

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock/bench/report"
	"penstock/bench/servers"
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

// whole is how a file is answered without Penstock: all lines are read, all are asked in the upstream's
// batches, all answers are kept, and written at the end.
func whole(url, in, out string) error {
	text, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	type item struct{ N string }
	type answer struct{ ID, Title, Text string }
	var items []item
	for line := range strings.Lines(string(text)) {
		var i item
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			return err
		}
		items = append(items, i)
	}
	answers := make([]answer, len(items))
	ask := func(from, to int) error {
		var ids []string
		for _, i := range items[from:to] {
			ids = append(ids, i.N)
		}
		resp, err := http.Get(url + "/lines?ids=" + strings.Join(ids, ","))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var got []answer
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			return err
		}
		copy(answers[from:to], got)
		return nil
	}
	for from := 0; from < len(items); from += batch {
		if err := ask(from, min(from+batch, len(items))); err != nil {
			return err
		}
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for n, a := range answers {
		_, _ = fmt.Fprintf(w, "{\"line\":%d,\"status\":200,\"body\":{\"id\":%q,\"title\":%q,\"text\":%q}}\n", n+1, a.ID, a.Title, a.Text)
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
  line:
    upstream: api
    path: "/lines/{n}"
    params: {n: {pattern: "[0-9]+"}}
    cache: {mode: "off"}
    batch: {form: query, param: n, path: /lines, name: ids, id_path: id, max_items: %d}
streaming: {chunk_size: 32, parallel_stages: 14}
server: {drain_delay: 0s}
log: {level: warn}
`

const (
	// slots, batch and delay allow 6,400 lines a second.
	slots = 8
	batch = 40
	delay = 50 * time.Millisecond
	// workers are more than the slots, so that the way between does not leave them idle.
	workers = 12
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
	text := fmt.Sprintf(config, b.up.url, workers, workers, workers, batch)
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.write()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.address = l.Addr().String()
	_ = l.Close()
	return b
}

// write writes the input.
func (b *bench) write() {
	b.t.Helper()
	f, err := os.Create(b.in)
	if err != nil {
		b.t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for n := range b.lines {
		_, _ = fmt.Fprintf(w, "{\"n\":\"%d\"}\n", n+1)
	}
	if err := w.Flush(); err != nil {
		b.t.Fatal(err)
	}
	_ = f.Close()
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
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&rows, "| %s | %s |\n", name, fmt.Sprintf(format, args...))
	}
	b.serve()
	if *full {
		b.measure(row)
		b.lines /= 5
		b.write()
	}
	b.killed(row)
	if *full && *table {
		head := "| 1,000,000 lines | |\n| --- | --- |\n"
		if err := report.Put(filepath.Join("..", "..", "docs", "streaming.md"), "bulk", head+rows.String()); err != nil {
			t.Fatal(err)
		}
	}
}

// measure is a run at the pace that the upstream allows, in whose middle the command is killed and begun
// anew, and one of a script that loads all.
func (b *bench) measure(row func(name, format string, args ...any)) {
	out := filepath.Join(b.t.TempDir(), "out.ndjson")
	b.up.delay.Store(int64(delay))
	began, lines := time.Now(), b.up.lines.Load()
	done := func() int64 { return b.up.lines.Load() - lines }
	service, first := &watch{p: b.service}, &watch{p: b.command(out)}
	half, killing := make(chan struct{}), new(atomic.Bool)
	each(half, done, func(n int64) {
		first.look(n)
		service.look(n)
		select {
		case <-first.p.done:
			b.t.Fatalf("the command has ended: %v\n%s", first.p.err, &first.p.log)
		default:
		}
		if n >= b.lines/2 && killing.CompareAndSwap(false, true) {
			first.p.kill()
			close(half)
		}
	})
	again := done()
	second := &watch{p: b.command(out)}
	each(second.p.done, done, func(n int64) {
		second.look(n - again)
		service.look(n)
	})
	second.p.wait()
	rate := float64(b.lines) / time.Since(began).Seconds()
	twice := done() - b.lines
	b.up.delay.Store(0)
	b.check(out)
	allowed := slots * batch / delay.Seconds()
	row("command killed (-9) in the middle and started again", "each line once, in order; %s lines were asked twice", grouped(twice))
	row("throughput, of what the upstream allows", "%s of %s lines/s: %.1f %%", grouped(int64(rate)), grouped(int64(allowed)), 100*rate/allowed)
	growth := max(first.growth(), second.growth(), service.growth())
	memory := func(name string, w *watch) {
		row("memory of "+name+": after 10,000 lines, and the most after that", "%s, %s: %+.1f %%", mib(w.first), mib(w.most), 100*w.growth())
	}
	memory("the command", first)
	memory("the command that goes on", second)
	memory("the service", service)
	script, ours := b.script(), max(first.most, second.most)+service.most
	row("memory of a script that loads all lines, asks the upstream itself and keeps the answers", "%s", mib(script))
	row("command and service together are below that by", "%.1f %%", 100*(1-float64(ours)/float64(script)))
	if rate < .9*allowed || growth > .1 || float64(ours) > .2*float64(script) {
		b.t.Errorf("the mark is missed: rate %.0f of %.0f, growth %.3f, memory %s of %s", rate, allowed, growth, mib(ours), mib(script))
	}
}

// script runs what loads all, and gives the most memory that it took.
func (b *bench) script() int64 {
	out := filepath.Join(b.t.TempDir(), "whole.ndjson")
	began := time.Now()
	p := start(b.t, []string{asWhole + "=" + b.up.url + " " + b.in + " " + out}, os.Args[0])
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
	began, calls := time.Now(), b.up.lines.Load()
	through := func(share int64) bool { return b.up.lines.Load()-calls >= b.lines*share/3 }
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
	again := b.up.lines.Load() - calls - b.lines
	row(grouped(b.lines)+" lines as fast as it goes, command killed after a third, service killed after two", "each line once, in order; %s lines/s with the restarts; %s asked twice",
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
