package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"penstock/demo"
)

// compareTrace is what --compare replays if nobody says otherwise: its licence is free, and its
// load is even.
const compareTrace = "shop-web12.csv.gz"

func (c *cli) replayCommand() *cobra.Command {
	o := demo.ReplayOptions{Speed: 1}
	co := demo.CompareOptions{}
	po := preloadReplay{}
	compare, preloading, quiet, proxy := false, false, false, false
	cmd := &cobra.Command{
		Use:   "replay --trace FILE",
		Short: "Send a real request trace as load and report, or compare without and with Penstock",
		Long: `Send a request trace (CSV or CSV.gz with the header timestamp_ms,client,key,size) as an open loop: each
row at its own time divided by --speed, whether or not the rows before it were answered. Latency is
measured from that intended time.

The target is a URL with {key} where the key goes; without {key}, /items/{key} is appended, which
the demo API answers. With --route the rows are sent as POST /v1/requests to the target.

--compare starts the demo API with a fixed capacity, replays the same rows straight at it and then
through Penstock, each in a process of its own, and prints a table. It takes about 90 seconds and needs
no other flag: the trace is then ` + compareTrace + ` in PENSTOCK_TRACES or ../shared/traces.

--preloading sends nothing: it replays the trace in virtual time through the preloader's model and the cache's
store, without and with preloading, and prints hit ratio, waiting, calls and precision.`,
		Example: `  scheduler replay --compare
  scheduler replay --preloading --trace web.csv.gz --ttl 10m --latency 200ms
  scheduler replay --compare --trace yoochoose-100k.csv.gz --json
  scheduler replay --trace web.csv.gz --target http://127.0.0.1:8080/proxy/movies --speed 60
  scheduler replay --trace web.csv.gz --target 'http://127.0.0.1:9000/search?q={key}' --limit 1000 --speed 10`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := c.interruptible(cmd.Context())
			defer stop()
			var out io.Writer = c.err
			if quiet {
				out = nil
			}
			if preloading {
				po.trace, po.limit = o.Trace, o.Limit
				return c.replayPreloading(ctx, po)
			}
			if compare {
				co.Trace, co.Out, co.Timeout = o.Trace, out, o.Timeout
				if !proxy {
					co.Route, co.Param = "item", "key"
				}
				return c.compare(ctx, co)
			}
			if o.Trace == "" {
				return &usageError{cmd.CommandPath(), errors.New("--trace FILE is missing (or --compare, --preloading)")}
			}
			if o.Target == "" {
				o.Target = strings.TrimRight(c.url, "/") + "/proxy/movies"
				if o.Route != "" {
					o.Target = c.url
				}
			}
			if strings.HasPrefix(o.Target+"/", strings.TrimRight(c.url, "/")+"/") { // the key is nobody else's business
				o.APIKey = c.getenv("PENSTOCK_API_KEY")
			}
			o.Out = out
			return c.replay(ctx, cmd, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Trace, "trace", "t", "", "trace file")
	f.StringVar(&o.Target, "target", "", "URL to ask, with {key} for the key; default: the data plane's /proxy/movies")
	f.StringVar(&o.Route, "route", "", "ask by this route of Penstock's")
	f.StringVar(&o.Param, "param", "key", "the route's param that takes the key")
	f.Float64Var(&o.Speed, "speed", o.Speed, "how many times faster than the trace")
	f.IntVar(&o.Limit, "limit", 0, "how many rows at most; 0: all")
	f.DurationVar(&o.Duration, "duration", 0, "how long to send; 0: to the end of the trace")
	f.IntVar(&o.MaxInFlight, "max-in-flight", 4096, "how many requests may be open at once; rows due beyond that are not sent")
	f.DurationVar(&o.Timeout, "timeout", 30*time.Second, "how long one request may take")
	f.StringVar(&o.ClientHeader, "client-header", "", "send the trace's client column under this name, e.g. X-Client")
	f.BoolVar(&o.SizeHeader, "size-header", false, "send the trace's size column as X-Size, which the demo API obeys")
	f.StringVar(&o.StatsURL, "stats-url", "", "where upstream calls are counted: the demo API's /stats, or the admin plane's /metrics")
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress")
	f.BoolVar(&compare, "compare", false, "run the before/after comparison")
	f.BoolVar(&preloading, "preloading", false, "show what preloading would do, in virtual time")
	f.DurationVar(&po.ttl, "ttl", 10*time.Minute, "with --preloading: how long an answer is fresh; 0: for ever")
	f.DurationVar(&po.latency, "latency", 200*time.Millisecond, "with --preloading: how long a call takes")
	f.IntVar(&po.capacity, "entries", 0, "with --preloading: how many answers the cache holds; 0: all")
	f.Float64Var(&co.Load, "load", 16, "with --compare: offered load as a multiple of the API's capacity")
	f.Float64Var(&co.Seconds, "seconds", 40, "with --compare: how long each of the two runs takes, about")
	f.BoolVar(&proxy, "proxy", false, "with --compare: ask by the proxy path, without batching")
	_ = cmd.MarkFlagFilename("trace", "csv", "gz")
	_ = cmd.RegisterFlagCompletionFunc("route", c.completeRouteNames)
	return cmd
}

func (c *cli) replay(ctx context.Context, cmd *cobra.Command, o demo.ReplayOptions) error {
	if !(o.Speed > 0) {
		return &usageError{cmd.CommandPath(), fmt.Errorf("--speed %v: it must be over 0; 1 is the trace's own pace", o.Speed)}
	}
	rep, err := demo.Replay(ctx, o)
	if err != nil {
		return err
	}
	if c.asJSON {
		err = c.printJSON(rep)
	} else {
		err = rep.Write(c.out)
	}
	if err == nil && rep.Rows > 0 && rep.OK == 0 {
		return errors.New("nothing was answered; is the target right?")
	}
	return err
}

// interruptible ends the context at the first signal to stop.
func (c *cli) interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case s := <-c.signals:
				if s != syscall.SIGHUP {
					cancel(fmt.Errorf("stopped by a signal (%v)", s))
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// findTrace finds the trace to compare on.
func (c *cli) findTrace(name string) (string, error) {
	folders := []string{"."}
	if d := c.getenv("PENSTOCK_TRACES"); d != "" {
		folders = append(folders, d)
	}
	folders = append(folders, filepath.Join("..", "shared", "traces"))
	if name == "" {
		name = compareTrace
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, d := range folders {
		path := filepath.Join(d, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no trace %s in %s; give its path by --trace, or the folder by PENSTOCK_TRACES", name, strings.Join(folders, ", "))
}
