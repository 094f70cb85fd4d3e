package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"penstock/app"
	"penstock/configs"
)

// settings are the flags that stand over the configuration file.
type settings struct {
	config, listen, admin, logLevel string
	readOnly, ephemeral             bool
	recordTuning                    string
	set                             []string
}

func (s *settings) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.listen, "listen", "", "address of the data plane, e.g. :8080; port 0 takes a free one (server.listen)")
	f.StringVar(&s.admin, "admin", "", "address of the admin plane, e.g. 127.0.0.1:9090 (admin.listen)")
	f.StringVar(&s.logLevel, "log-level", "", "debug, info, warn or error (log.level)")
	f.BoolVar(&s.readOnly, "read-only", false, "refuse every change over the admin plane (admin.read_only)")
	f.StringVar(&s.recordTuning, "record-tuning", "", "write all that the tuner sees to this file, for scheduler tuning replay")
	f.BoolVar(&s.ephemeral, "ephemeral", false, "keep nothing on disk, whatever data_dir says")
	f.StringArrayVar(&s.set, "set", nil, "set any key: --set upstreams.movies.workers.count=8 (repeatable)")
}

// flags are the settings as configs takes them. cmd says which flags were given.
func (s *settings) flags(cmd *cobra.Command) (map[string]string, error) {
	flags := make(map[string]string)
	for _, kv := range s.set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return nil, &usageError{cmd.CommandPath(), fmt.Errorf("--set %q: write KEY=VALUE, such as --set workers.count=8", kv)}
		}
		flags[key] = value
	}
	for flag, to := range map[string]struct{ key, value string }{
		"listen":    {"server.listen", s.listen},
		"admin":     {"admin.listen", s.admin},
		"log-level": {"log.level", s.logLevel},
		"read-only": {"admin.read_only", fmt.Sprint(s.readOnly)},
	} {
		if cmd.Flags().Changed(flag) {
			flags[to.key] = to.value
		}
	}
	return flags, nil
}

// serviceEnv is the environment without the variables that only this command line reads.
func (c *cli) serviceEnv() []string {
	return slices.DeleteFunc(slices.Clone(c.env), func(line string) bool { return strings.HasPrefix(line, "PENSTOCK_URL=") })
}

func (c *cli) load(cmd *cobra.Command, s *settings) (configs.LoadOptions, error) {
	flags, err := s.flags(cmd)
	return configs.LoadOptions{Path: s.config, Env: c.serviceEnv(), Flags: flags}, err
}

func (c *cli) runCommand() *cobra.Command {
	s := new(settings)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the service",
		Long: `Run the service until SIGTERM or Ctrl-C, then drain: requests in flight end, new ones are refused.
A second signal ends it at once. SIGHUP loads the configuration again; a faulty one changes nothing.

Settings: default < file < environment (PENSTOCK_SECTION__KEY) < flag.`,
		Example: `  scheduler run --config penstock.yaml
  scheduler run --config penstock.yaml --listen :0 --admin 127.0.0.1:0
  scheduler run --config penstock.yaml --set workers.count=8 --log-level debug
  PENSTOCK_UPSTREAMS__MOVIES__BASE_URL=http://127.0.0.1:9000 scheduler run`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.load(cmd, s)
			if err != nil {
				return err
			}
			svc, err := c.newService(app.Options{Config: o, LogOutput: c.err, Version: buildVersion(), Ephemeral: s.ephemeral, RecordTuning: s.recordTuning})
			if err != nil {
				return startError(err)
			}
			svc.Start()
			c.announce(svc)
			return c.serve(cmd.Context(), svc)
		},
	}
	cmd.Flags().StringVarP(&s.config, "config", "c", "", "configuration file, YAML, TOML or JSON")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml", "toml", "json")
	s.register(cmd)
	return cmd
}

// startError lets faults of the configuration stand each on a line of its own.
func startError(err error) error {
	if faults, ok := errors.AsType[*configs.Faults](err); ok {
		return fmt.Errorf("the configuration is faulty; nothing was started\n%w", faults)
	}
	return err
}

// announce prints the addresses that were chosen, for people and scripts.
func (c *cli) announce(svc service) {
	fmt.Fprintf(c.out, "data plane:  http://%s\nadmin plane: http://%s\n", dialable(svc.DataAddr()), dialable(svc.AdminAddr()))
}

// dialable turns an address that stands for all interfaces into one that a client can use.
func dialable(addr string) string {
	for _, all := range []string{"[::]:", "0.0.0.0:", ":"} {
		if port, ok := strings.CutPrefix(addr, all); ok {
			return "127.0.0.1:" + port
		}
	}
	return addr
}

// serve obeys signals until the service ends.
func (c *cli) serve(ctx context.Context, svc service) error {
	for {
		select {
		case <-ctx.Done():
			return c.drain(svc)
		case err := <-svc.Failed():
			_ = c.drain(svc)
			return fmt.Errorf("a listener failed: %w", err)
		case s := <-c.signals:
			if s != syscall.SIGHUP {
				return c.drain(svc)
			}
			_, _ = svc.Reload("signal") // the service logs how it went
		}
	}
}

// drain stops the service; another signal to stop cuts that short.
func (c *cli) drain(svc service) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stopped := make(chan error, 1)
	go func() { stopped <- svc.Stop(ctx) }()
	for {
		select {
		case err := <-stopped:
			return err
		case s := <-c.signals:
			if s == syscall.SIGHUP {
				continue
			}
			cancel(fmt.Errorf("%v", s))
			return fmt.Errorf("stopped at once by a second signal (%v); requests in flight were cut", s)
		}
	}
}
