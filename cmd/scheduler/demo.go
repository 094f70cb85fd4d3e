package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/app"
	"penstock/demo"
)

//go:embed demo.yaml
var demoConfig string

// demoOptions are the flags of demo.
type demoOptions struct {
	settings
	api      string
	visitors int
	rate     float64
	duration time.Duration
	steady   bool
	seed     uint64
}

func (c *cli) demoCommand() *cobra.Command {
	o := new(demoOptions)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start a simulated slow movie API, Penstock in front of it, and visitors",
		Long: `Start a simulated movie API with 1,000 films that is slow, limited and sometimes broken (its latency,
quota, capacity and errors change by a script of five minutes), Penstock in front of it, and
visitors. Stop it with Ctrl-C.`,
		Example: `  scheduler demo
  scheduler demo --visitors 50 --rate 200
  scheduler demo --listen :0 --admin :0 --duration 1m`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.visitors < 0 || !(o.rate > 0) || o.duration < 0 {
				return &usageError{cmd.CommandPath(), errors.New("--visitors and --duration must not be negative, and --rate must be over 0")}
			}
			return c.demo(cmd, o)
		},
	}
	o.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.api, "api", "127.0.0.1:0", "address of the movie API; port 0 takes a free one")
	f.IntVar(&o.visitors, "visitors", 8, "how many visitors; 0: none")
	f.Float64Var(&o.rate, "rate", 50, "how many requests per second all visitors make at most")
	f.DurationVar(&o.duration, "duration", 0, "stop after this time; 0: run until Ctrl-C")
	f.BoolVar(&o.steady, "steady", false, "no script: the movie API stays as it is")
	f.Uint64Var(&o.seed, "seed", 1, "what the world is made from")
	return cmd
}

func (c *cli) demo(cmd *cobra.Command, o *demoOptions) (err error) {
	ao := demo.Options{Seed: o.seed, Base: demo.Conditions{LatencyMS: 150, Slots: 16, QuotaPerSecond: 120}, Scenario: demo.DefaultScenario()}
	if o.steady {
		ao.Scenario = nil
	}
	api, err := demo.NewAPI(ao)
	if err != nil {
		return err
	}
	stopAPI, addr, err := serveHTTP(o.api, api)
	if err != nil {
		return fmt.Errorf("--api: %w", err)
	}
	defer stopAPI()
	dir, err := os.MkdirTemp("", "penstock-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	o.config = filepath.Join(dir, "penstock.yaml")
	apiURL := "http://" + dialable(addr)
	if err := os.WriteFile(o.config, []byte(strings.ReplaceAll(demoConfig, "{{api}}", apiURL)), 0o600); err != nil {
		return err
	}
	load, err := c.load(cmd, &o.settings)
	if err != nil {
		return err
	}
	if _, ok := load.Flags["log.level"]; !ok {
		load.Flags["log.level"] = "warn" // the story on the screen is the demo's
	}
	// Without a folder the demo has its jobs in memory.
	_, kept := load.Flags["data_dir"]
	kept = kept || c.getenv("PENSTOCK_DATA_DIR") != ""
	svc, err := c.newService(app.Options{Config: load, LogOutput: c.err, Version: buildVersion(), Ephemeral: o.ephemeral || !kept, RecordTuning: o.recordTuning})
	if err != nil {
		return startError(err)
	}
	svc.Start()
	return c.runDemo(cmd.Context(), o, svc, apiURL)
}

// visited is a service whose visitors leave before it stops.
type visited struct {
	service
	visitors *demo.Visitors
}

// Stop sends the visitors home, then stops the service.
func (v visited) Stop(ctx context.Context) error {
	v.visitors.Stop()
	return v.service.Stop(ctx)
}

// runDemo lets the visitors in until the end of the demo, and then stops the service.
func (c *cli) runDemo(ctx context.Context, o *demoOptions, svc service, apiURL string) error {
	data := "http://" + dialable(svc.DataAddr())
	if o.visitors > 0 {
		v, err := demo.NewVisitors(demo.VisitorOptions{BaseURL: data + "/proxy/movies", Count: o.visitors, MaxPerSecond: o.rate, Seed: o.seed})
		if err != nil {
			return errors.Join(err, c.drain(svc))
		}
		v.Start()
		svc = visited{svc, v}
		defer func() {
			s := v.Stats()
			fmt.Fprintf(c.out, "visitors: %d requests, %d answered, %d of them from the cache, %d failed\n", s.Asked, s.Answered, s.Hits, s.Failed)
		}()
	}
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	c.announce(svc)
	fmt.Fprintf(c.out, `movie API:   %[1]s
config:      %[2]s

Look at    http://%[3]s/
Ask        curl -i %[4]s/proxy/movies/movies/42
by route   curl -s %[4]s/v1/requests -d '{"route": "movie", "params": {"id": 42}}'
knobs      scheduler knobs list --admin-url http://%[3]s
Trouble    curl -X POST %[1]s/control -d '{"latency_ms": 800}'   (curl -X DELETE %[1]s/control ends it)

Ctrl-C stops it.
`, apiURL, o.config, dialable(svc.AdminAddr()), data)
	return c.serve(ctx, svc)
}
