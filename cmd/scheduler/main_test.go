package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"penstock/app"
	"penstock/configs"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// asProgram in the environment makes the test binary be the program, for tests that need a
// process of their own.
const asProgram = "SCHEDULER_TEST_AS_PROGRAM=1"

func TestMain(m *testing.M) {
	if name, value, _ := strings.Cut(asProgram, "="); os.Getenv(name) == value {
		main()
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
}

// outcome is what one command line did.
type outcome struct {
	code     int
	out, err string
}

// fakeService is a service without a network.
type fakeService struct {
	mu      sync.Mutex // guards what follows
	events  []string
	event   chan string   // gets each event, if not nil
	hold    chan struct{} // keeps Stop waiting until it is closed, if not nil
	failed  chan error
	options app.Options
}

func (s *fakeService) log(event string) {
	s.mu.Lock()
	s.events = append(s.events, event)
	s.mu.Unlock()
	if s.event != nil {
		s.event <- event
	}
}

func (s *fakeService) Start() { s.log("start") }
func (s *fakeService) Stop(context.Context) error {
	s.log("stop")
	if s.hold != nil {
		<-s.hold
	}
	return nil
}
func (s *fakeService) Reload(trigger string) ([]configs.Change, error) {
	s.log("reload by " + trigger)
	return nil, nil
}
func (s *fakeService) DataAddr() string     { return "[::]:1234" }
func (s *fakeService) AdminAddr() string    { return "127.0.0.1:5678" }
func (s *fakeService) Failed() <-chan error { return s.failed }

// lockedBuffer takes the output of several processes.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// command runs a command line in this process.
func command(t *testing.T, change func(c *cli), args ...string) outcome {
	t.Helper()
	var out, err lockedBuffer
	c := &cli{out: &out, err: &err, signals: make(chan os.Signal), newService: func(app.Options) (service, error) {
		t.Error("a service was started")
		return nil, io.EOF
	}}
	if change != nil {
		change(c)
	}
	code := c.run(t.Context(), args)
	return outcome{code, out.String(), err.String()}
}

// running answers by h and gives the change that points a command at it.
func running(t *testing.T, h http.HandlerFunc) func(c *cli) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		srv.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return func(c *cli) {
		c.env = append(c.env, "PENSTOCK_URL="+srv.URL, "PENSTOCK_ADMIN_URL="+srv.URL, "PENSTOCK_ADMIN_TOKEN=secret")
	}
}

func want(t *testing.T, got outcome, code int, parts ...string) {
	t.Helper()
	if got.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", got.code, code, got.out, got.err)
	}
	for _, p := range parts {
		if !strings.Contains(got.out+got.err, p) {
			t.Errorf("it does not say %q:\n%s%s", p, got.out, got.err)
		}
	}
}

func TestHelpTextsAreAsWritten(t *testing.T) {
	for _, path := range []string{
		"", "run", "demo", "validate", "reload", "config", "config init", "config effective", "config schema", "config reference",
		"knobs", "knobs list", "knobs pin", "knobs unpin", "purge", "decisions", "decisions list", "decisions explain", "decisions tail", "decisions rollback", "tuning", "tuning status", "tuning freeze", "tuning thaw", "tuning mode", "tuning replay", "send", "jobs", "jobs submit", "jobs list", "jobs show", "jobs result", "jobs cancel", "jobs retry", "replay", "keys", "keys new", "keys hash", "top", "healthcheck", "version", "bulk",
	} {
		t.Run(path, func(t *testing.T) {
			got := command(t, nil, append(strings.Fields(path), "--help")...)
			want(t, got, exitOK)
			if !strings.Contains(got.out, "Examples:") {
				t.Error("no example")
			}
			file := filepath.Join("testdata", strings.TrimSpace("help "+path)+".txt")
			file = strings.ReplaceAll(file, " ", "-")
			if *rewrite {
				if err := os.WriteFile(file, []byte(got.out), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil || string(golden) != got.out {
				t.Errorf("%v; it differs from %s (go test ./cmd/scheduler -rewrite):\n%s", err, file, got.out)
			}
		})
	}
}

func TestWrongCommandLinesExitWith2AndSayWhatIsRight(t *testing.T) {
	for line, part := range map[string]string{
		"rnu":                                    `did you mean "run"?`,
		"knobs lits":                             `did you mean "list"?`,
		"nonsense":                               `has no command "nonsense"`,
		"run --confg x":                          "unknown flag: --confg",
		"run extra":                              "Run 'scheduler run --help'",
		"run --set nothing":                      "write KEY=VALUE",
		"validate":                               "accepts 1 arg(s)",
		"knobs pin x":                            "accepts 2 arg(s)",
		"knobs pin x 1 --for -1s":                "must be over 0",
		"knobs pin x 1 --for soon":               "invalid argument",
		"purge":                                  "exactly one of",
		"purge --all --key x":                    "exactly one of",
		"decisions list --limit 0":               "1 to 1000",
		"send":                                   "requires at least 1 arg",
		"send movie 42":                          "KEY=VALUE",
		"send movie id=1 id=2":                   "given twice",
		"send movie ids:=[1,":                    "not JSON",
		"send movie --urgency 9":                 "0 (most urgent) to 7",
		"send movie --deadline 0s":               "1ms or more",
		"replay":                                 "--trace FILE is missing",
		"replay --trace x --speed 0":             "must be over 0",
		"replay --trace x --speed -1":            "must be over 0",
		"demo --visitors -1":                     "must not be negative",
		"config init --preset wild":              "wild",
		"reload --admin-url localhost:1":         "--admin-url",
		"keys hash psk_x":                        "unknown command",
		"keys nwe":                               `did you mean "new"?`,
		"healthcheck --url nowhere":              "--url",
		"bulk in out":                            "--route ROUTE is missing",
		"bulk --route movie in":                  "accepts 2 arg(s)",
		"bulk -r m --order up a b":               "input or ready",
		"bulk -r m --urgency 9 a b":              "0 (most urgent) to 7",
		"bulk -r m --give-up -1s a b":            "must not be negative",
		"bulk -r m --retry-errors=2xx a b":       "no status of a failed line",
		"bulk -r m --retry-errors --restart a b": "asks all lines again",
	} {
		t.Run(line, func(t *testing.T) {
			want(t, command(t, nil, strings.Fields(line)...), exitUsage, part, "--help' for what it takes")
		})
	}
}

func TestVersion(t *testing.T) {
	want(t, command(t, nil, "version"), exitOK, "scheduler "+buildVersion())
	want(t, command(t, nil, "--version"), exitOK, "scheduler "+buildVersion())
	want(t, command(t, nil, "version", "--json"), exitOK, `"version": "`+buildVersion()+`"`)
}

func TestCompletionScriptsAreThere(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		want(t, command(t, nil, "completion", shell), exitOK, "scheduler")
	}
}

// runService starts `run` and returns the service, its signals, and its end.
func runService(t *testing.T, s *fakeService, args ...string) (chan<- os.Signal, <-chan outcome) {
	t.Helper()
	s.event, s.failed = make(chan string), make(chan error, 1)
	signals := make(chan os.Signal)
	end := make(chan outcome, 1)
	go func() {
		end <- command(t, func(c *cli) {
			c.signals = signals
			c.env = []string{"PENSTOCK_URL=http://x", "PENSTOCK_LOG__LEVEL=info"}
			c.newService = func(o app.Options) (service, error) {
				s.options = o
				return s, nil
			}
		}, append([]string{"run"}, args...)...)
	}()
	if e := <-s.event; e != "start" {
		t.Fatalf("first event %q", e)
	}
	return signals, end
}

func expectEvent(t *testing.T, s *fakeService, want string) {
	t.Helper()
	if got := <-s.event; got != want {
		t.Fatalf("event %q, want %q", got, want)
	}
}

func TestRunReloadsOnHangupAndDrainsOnTerm(t *testing.T) {
	s := new(fakeService)
	signals, end := runService(t, s, "--config", "p.yaml", "--listen", ":0", "--read-only", "--set", "workers.count=8", "--set", "a=b=c")
	signals <- syscall.SIGHUP
	expectEvent(t, s, "reload by signal")
	signals <- syscall.SIGTERM
	expectEvent(t, s, "stop")
	want(t, <-end, exitOK, "data plane:  http://127.0.0.1:1234\n", "admin plane: http://127.0.0.1:5678\n")
	o := s.options.Config
	if o.Path != "p.yaml" || o.Flags["server.listen"] != ":0" || o.Flags["admin.read_only"] != "true" || o.Flags["workers.count"] != "8" || o.Flags["a"] != "b=c" {
		t.Errorf("options %+v", o)
	}
	if _, ok := o.Flags["admin.listen"]; ok || len(o.Env) != 1 {
		t.Errorf("what was not given stands in the options, or a variable of the client's does: %+v", o)
	}
}

func TestRunEndsAtOnceOnTheSecondSignal(t *testing.T) {
	s := &fakeService{hold: make(chan struct{})}
	signals, end := runService(t, s)
	signals <- os.Interrupt
	expectEvent(t, s, "stop")
	signals <- syscall.SIGHUP // means nothing while it drains
	signals <- os.Interrupt
	want(t, <-end, exitFailed, "second signal")
	close(s.hold)
}

func TestRunFailsWhenAListenerDoes(t *testing.T) {
	s := new(fakeService)
	_, end := runService(t, s)
	s.failed <- io.ErrUnexpectedEOF
	expectEvent(t, s, "stop")
	want(t, <-end, exitFailed, "a listener failed")
}

func TestRunSaysEveryFaultOfTheConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	writeFile(t, path, "servr: {}\nworkers:\n  count: many\n")
	got := command(t, func(c *cli) {
		c.newService = func(o app.Options) (service, error) {
			_, err := configs.Load(o.Config)
			return nil, err
		}
	}, "run", "--config", path)
	want(t, got, exitFailed, "nothing was started", path+":1 servr", path+":3 workers.count")
}

func TestSignalsReachTheProgram(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	c := &cli{signals: signals}
	ctx, stop := c.interruptible(t.Context())
	signals <- syscall.SIGHUP
	signals <- os.Interrupt
	<-ctx.Done()
	stop()
	if cause := context.Cause(ctx); cause == nil || !strings.Contains(cause.Error(), "interrupt") {
		t.Errorf("cause %v", cause)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
