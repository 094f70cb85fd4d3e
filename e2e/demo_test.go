package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the scheduler under test, built once.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "scheduler")
	out, err := exec.Command("go", "build", "-C", "..", "-o", path, "./cmd/scheduler").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// demo is a running `scheduler demo`.
type demo struct {
	admin, data, api, config string
	cmd                      *exec.Cmd
	ended                    chan struct{}
}

var announced = regexp.MustCompile(`^(data plane|admin plane|movie API|config): +(\S+)`)

// startDemo starts a demo with more flags, and ends it with the test.
func startDemo(t testing.TB, flags ...string) *demo {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{ended: make(chan struct{})}
	args := append([]string{"demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--duration", "10m"}, flags...)
	d.cmd = exec.Command(path, args...)
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var faults strings.Builder
	d.cmd.Stderr = &faults
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	ready := make(chan struct{})
	go func() {
		defer close(d.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if m := announced.FindStringSubmatch(lines.Text()); m != nil {
				*map[string]*string{"data plane": &d.data, "admin plane": &d.admin, "movie API": &d.api, "config": &d.config}[m[1]] = m[2]
				if m[1] == "config" {
					close(ready)
				}
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = d.cmd.Wait()
	}()
	select {
	case <-ready:
	case <-d.ended:
		t.Fatalf("the demo ended: %s", faults.String())
	case <-time.After(patience):
		t.Fatal("the demo does not come up")
	}
	return d
}

// stop ends it and waits until it has ended.
func (d *demo) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(patience):
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
}

// ask makes requests of tenants and urgencies, so that each page has something to show.
func (d *demo) ask(ctx context.Context, n int) {
	for i := range n {
		body := fmt.Sprintf(`{"route":"movie","params":{"id":%d}}`, i%7+1)
		r, err := http.NewRequestWithContext(ctx, "POST", d.data+"/v1/requests", strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Tenant", [...]string{"shop", "reports", "mobile"}[i%3])
		r.Header.Set("Priority", fmt.Sprintf("u=%d", i%8))
		if resp, err := http.DefaultClient.Do(r); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
}

// press asks what nobody has asked before, so that each request is a call.
func (d *demo) press(ctx context.Context, seed int) {
	for i := 0; ctx.Err() == nil; i++ {
		body := fmt.Sprintf(`{"route":"search","params":{"q":"%d of %d"}}`, i, seed)
		r, err := http.NewRequestWithContext(ctx, "POST", d.data+"/v1/requests", strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Tenant", [...]string{"shop", "reports", "mobile", "shop"}[seed%4])
		r.Header.Set("Priority", fmt.Sprintf("u=%d", 1+seed%6))
		if resp, err := http.DefaultClient.Do(r); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
}

// freePort finds an address that can be taken again after a restart.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// edit changes the demo's configuration file.
func (d *demo) edit(t *testing.T, change func(string) string) {
	t.Helper()
	b, err := os.ReadFile(d.config)
	if err == nil {
		err = os.WriteFile(d.config, []byte(change(string(b))), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
