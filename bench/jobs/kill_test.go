package jobs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"penstock/app"
	"penstock/configs"
)

var full = flag.Bool("full", false, "50 kills in 10,000 jobs instead of 3 in 300")

// asService is the variable that makes this binary the service: the path of its configuration.
const asService = "PENSTOCK_BENCH_SERVICE"

func TestMain(m *testing.M) {
	if path := os.Getenv(asService); path != "" {
		serve(path)
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// serve runs the service until it is killed. It prints its address when it is ready.
func serve(path string) {
	a, err := app.New(app.Options{Config: configs.LoadOptions{Path: path, Flags: map[string]string{
		"server.listen": "127.0.0.1:0", "admin.listen": "127.0.0.1:0"}}, LogOutput: os.Stderr, PollInterval: -1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	a.Start()
	fmt.Println(a.DataAddr())
	select {}
}

const serviceConfig = `
data_dir: %s
log: {level: warn}
upstreams: {api: {base_url: %s, retry: {max_attempts: 1}, workers: {count: 64, min: 64, max: 64, queue_length: 100000}}}
routes: {line: {upstream: api, path: "/lines/{n}", params: {n: {pattern: "[0-9]+"}}, cache: {mode: "off"}}}
jobs: {running: 64, backoff: 50ms, max_attempts: 20}
`

// upstream counts the executions of each job and takes a few milliseconds for one.
type upstream struct {
	mu    sync.Mutex
	calls map[string]int
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := strings.TrimPrefix(r.URL.Path, "/lines/")
	u.mu.Lock()
	u.calls[n]++
	u.mu.Unlock()
	<-time.After(time.Duration(rand.IntN(5)) * time.Millisecond) // the work
	_, _ = fmt.Fprintf(w, "line %s", n)
}

// service is the process that is killed.
type service struct {
	t      *testing.T
	config string
	cmd    *exec.Cmd
	url    string
	log    bytes.Buffer
}

func (s *service) start() {
	s.t.Helper()
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), asService+"="+s.config)
	s.cmd.Stderr = &s.log
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.kill()
		s.t.Fatalf("the service did not start: %v\n%s", err, &s.log)
	}
	s.url = "http://" + strings.TrimSpace(line)
}

func (s *service) kill() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	_ = s.cmd.Wait()
}

// ledger is what the clients know.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]string // job id by line
	ends     map[string]string // state and time of the end by job id, as first seen
	next     atomic.Int64
}

type job struct {
	ID, State string
	Ended     time.Time
}

// submit sends lines until ctx ends or want are accepted.
func (l *ledger) submit(ctx context.Context, c *http.Client, url string, want int) {
	for ctx.Err() == nil {
		l.mu.Lock()
		enough := len(l.accepted) >= want
		l.mu.Unlock()
		if enough {
			return
		}
		n := fmt.Sprint(l.next.Add(1))
		body := fmt.Sprintf(`{"route":"line","params":{"n":%q}}`, n)
		r, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/jobs", strings.NewReader(body))
		if err != nil {
			return
		}
		resp, err := c.Do(r)
		if err != nil {
			return // the process is gone, and the line not accepted as far as anybody knows
		}
		var j job
		err = json.NewDecoder(resp.Body).Decode(&j)
		resp.Body.Close()
		if resp.StatusCode == http.StatusAccepted && err == nil {
			l.mu.Lock()
			l.accepted[n] = j.ID
			l.mu.Unlock()
		}
	}
}

// look compares what has ended with what was seen before: an end never changes.
func (l *ledger) look(t *testing.T, c *http.Client, url string) (open int) {
	t.Helper()
	for before := ""; ; {
		resp, err := c.Get(url + "/v1/jobs?limit=1000&before=" + before)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Jobs []job
			Next string
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range page.Jobs {
			if j.Ended.IsZero() {
				open++
				continue
			}
			end := j.State + " " + j.Ended.Format(time.RFC3339Nano)
			if was, seen := l.ends[j.ID]; seen && was != end {
				t.Errorf("job %s had ended %s and ended again %s", j.ID, was, end)
			}
			l.ends[j.ID] = end
		}
		if before = page.Next; before == "" {
			return open
		}
	}
}

func TestJobsOutliveKills(t *testing.T) {
	kills, want, wait := 3, 300, 500
	if *full {
		kills, want, wait = 50, 10_000, 1500
	}
	up := &upstream{calls: make(map[string]int)}
	server := httptest.NewServer(up)
	defer server.Close()
	s := &service{t: t, config: filepath.Join(t.TempDir(), "penstock.yaml")}
	config := fmt.Sprintf(serviceConfig, filepath.Join(t.TempDir(), "data"), server.URL)
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &ledger{accepted: make(map[string]string), ends: make(map[string]string)}
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer c.CloseIdleConnections()
	for k := range kills {
		s.start()
		l.look(t, c, s.url)
		var clients sync.WaitGroup
		share := want * (k + 1) / kills
		for range 8 {
			clients.Go(func() { l.submit(t.Context(), c, s.url, share) })
		}
		// The moment is by chance: during submissions, executions or both.
		<-time.After(time.Duration(50+rand.IntN(wait)) * time.Millisecond)
		s.kill()
		clients.Wait()
	}
	s.start()
	defer s.kill()
	for range 8 { // what the kills left over
		l.submit(t.Context(), c, s.url, want)
	}
	for l.look(t, c, s.url) > 0 {
		<-time.After(200 * time.Millisecond)
	}
	l.check(t, c, s.url, up)
	t.Logf("%d kills, %d jobs accepted, %d executions", kills, len(l.accepted), up.total())
}

func (u *upstream) total() (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.calls {
		n += c
	}
	return n
}

// check holds every accepted job against the upstream's count and its result.
func (l *ledger) check(t *testing.T, c *http.Client, url string, up *upstream) {
	t.Helper()
	up.mu.Lock()
	defer up.mu.Unlock()
	for n, id := range l.accepted {
		if up.calls[n] == 0 {
			t.Errorf("job %s (line %s) was never executed", id, n)
		}
		if end := l.ends[id]; !strings.HasPrefix(end, "done ") {
			t.Errorf("job %s (line %s) ended %q", id, n, end)
			continue
		}
		resp, err := c.Get(url + "/v1/jobs/" + id + "/result")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "line "+n {
			t.Errorf("result of job %s: %q, %v", id, body, err)
		}
	}
}
