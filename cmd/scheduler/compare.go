package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"penstock/demo"
)

// compareConfig is Penstock's configuration in a comparison. It says nothing about the API's
// capacity.
//
//go:embed compare.yaml
var compareConfig string

// startTimeout bounds how long a process may take to print its address.
const startTimeout = 15 * time.Second

func (c *cli) compare(ctx context.Context, o demo.CompareOptions) error {
	var err error
	if o.Trace, err = c.findTrace(o.Trace); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "penstock-compare-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	o.StartAPI = func(ctx context.Context, cond demo.Conditions) (*demo.Process, error) {
		return c.start(ctx, "movie API: ", "compare-api", "--latency-ms", fmt.Sprint(cond.LatencyMS), "--slots", strconv.Itoa(cond.Slots))
	}
	o.StartPenstock = func(ctx context.Context, apiURL string) (*demo.Process, error) {
		path := filepath.Join(dir, "penstock.yaml")
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(compareConfig, "{{api}}", apiURL)), 0o600); err != nil {
			return nil, err
		}
		return c.start(ctx, "data plane: ", "run", "--config", path, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	}
	result, err := demo.Compare(ctx, o)
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.printJSON(struct {
			*demo.Comparison
			Marks []demo.Mark `json:"marks"`
		}{result, result.Marks()})
	}
	return result.Write(c.out)
}

// start runs this program again with other arguments, and waits until it prints its address
// behind label.
func (c *cli) start(ctx context.Context, label string, args ...string) (*demo.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// Not bound to ctx: Stop ends it gracefully also when ctx has ended.
	cmd := exec.Command(self, args...)
	cmd.Env, cmd.Stderr = c.env, c.err
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe() // its end tells compare-api that we have gone
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() error {
		_ = in.Close()
		return stopProcess(cmd)
	}
	url, err := waitForAddress(ctx, out, label)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &demo.Process{URL: url, PID: cmd.Process.Pid, Stop: stop}, nil
}

// stopProcess asks a process to end, and makes it if it won't.
func stopProcess(cmd *exec.Cmd) error {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(startTimeout, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s ended badly: %w", cmd.Args[1], err)
	}
	return nil
}

// waitForAddress reads lines until the one with the address, and drops what follows.
func waitForAddress(ctx context.Context, out io.Reader, label string) (string, error) {
	found := make(chan string, 1)
	go func() {
		defer close(found)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if addr, ok := strings.CutPrefix(lines.Text(), label); ok {
				found <- strings.TrimSpace(addr)
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case addr, ok := <-found:
		if !ok {
			return "", errors.New("it ended before it listened; what it said stands above")
		}
		return addr, nil
	case <-timer.C:
		return "", fmt.Errorf("it did not listen within %s", startTimeout)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// compareAPICommand is the demo API alone, as a comparison starts it.
func (c *cli) compareAPICommand() *cobra.Command {
	cond := demo.Conditions{}
	cmd := &cobra.Command{
		Use:    "compare-api",
		Short:  "The demo API alone, until its standard input ends",
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := c.interruptible(cmd.Context())
			defer stop()
			api, err := demo.NewAPI(demo.Options{Seed: 1, Base: cond})
			if err != nil {
				return err
			}
			srv, addr, err := serveHTTP("127.0.0.1:0", api)
			if err != nil {
				return err
			}
			defer srv()
			fmt.Fprintf(c.out, "movie API: http://%s\n", addr)
			gone := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				close(gone)
			}()
			select {
			case <-ctx.Done():
			case <-gone:
			}
			return nil
		},
	}
	cmd.Flags().Float64Var(&cond.LatencyMS, "latency-ms", 150, "median latency")
	cmd.Flags().IntVar(&cond.Slots, "slots", 24, "calls at once")
	return cmd
}

// serveHTTP serves h until the returned function is called.
func serveHTTP(addr string, h http.Handler) (stop func(), listening string, err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	return func() {
		_ = srv.Close()
		<-done
	}, l.Addr().String(), nil
}
