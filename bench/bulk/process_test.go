package bulk

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one that is started, looked at and killed.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  locked
	done chan struct{}
	err  error
}

// locked takes what a process says.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the process as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// wait waits for a good end.
func (p *process) wait() {
	p.t.Helper()
	if <-p.done; p.err != nil {
		p.t.Fatalf("%s: %v\n%s", p.cmd, p.err, &p.log)
	}
}

// resident is the process's memory in bytes, without the pages of files; 0 when it has ended.
func (p *process) resident() int64 {
	f, err := os.Open("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if value, ok := strings.CutPrefix(in.Text(), "VmRSS:"); ok {
			var kb int64
			_, _ = fmt.Sscan(value, &kb)
			return kb << 10
		}
	}
	return 0
}

// ready waits until the service answers.
func (p *process) ready(url string) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		if resp, err := http.Get(url + "/healthz"); err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-p.done:
			p.t.Fatalf("the service has ended: %s", &p.log)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the service does not answer: %s", &p.log)
		}
	}
}

// watch is the memory of a process over a run: when the first 10,000 lines were through, and the most
// after that.
type watch struct {
	p           *process
	first, most int64
}

func (w *watch) look(lines int64) {
	r := w.p.resident()
	if lines >= settled && w.first == 0 {
		w.first = r
	}
	if lines >= settled {
		w.most = max(w.most, r)
	}
}

// growth is by what share the memory grew; negative: it fell.
func (w *watch) growth() float64 { return float64(w.most)/float64(max(w.first, 1)) - 1 }

// settled is after how many lines memory has to stay.
const settled = 10_000

// each looks at a number of lines until done is closed.
func each(done <-chan struct{}, lines func() int64, look func(lines int64)) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			look(lines())
		}
	}
}
