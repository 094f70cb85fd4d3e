package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTwoHundredViewers watches a running demo over sockets: 40 viewers never read, 40 vanish.
func TestTwoHundredViewers(t *testing.T) {
	d := startDemo(t)
	address := strings.TrimPrefix(d.admin, "http://")
	const viewers, events = 200, 8
	var first, all sync.WaitGroup
	var seen [viewers]atomic.Int64
	first.Add(viewers * 4 / 5)
	for i := range viewers {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		stuck, vanishes := i%5 == 0, i%5 == 1
		if stuck {
			_ = c.(*net.TCPConn).SetReadBuffer(4096)
		}
		fmt.Fprintf(c, "GET /admin/v1/live HTTP/1.1\r\nHost: %s\r\n\r\n", address)
		if stuck {
			continue
		}
		all.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(2 * patience))
			lines := bufio.NewScanner(c)
			lines.Buffer(nil, 1<<22)
			told := sync.OnceFunc(first.Done)
			defer told()
			for lines.Scan() {
				if !strings.HasPrefix(lines.Text(), "event: now") {
					continue
				}
				told()
				if vanishes {
					c.Close()
					return
				}
				if seen[i].Add(1) == events {
					return
				}
			}
		})
	}
	first.Wait()
	before := resident(t, d)
	all.Wait()
	for i := range viewers {
		if n := seen[i].Load(); i%5 > 1 && n < events {
			t.Errorf("viewer %d saw %d events, want %d", i, n, events)
		}
	}
	after := resident(t, d)
	t.Logf("resident: %d KiB with all viewers, %d KiB after %d events", before, after, events)
	if after > before+48<<10 {
		t.Errorf("the process grew from %d to %d KiB", before, after)
	}
}

// resident is the memory of the demo in KiB.
func resident(t *testing.T, d *demo) (kib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		t.Skipf("this system does not tell: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
