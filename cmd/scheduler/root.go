package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
)

// callTimeout bounds one call to the admin plane, and the completion of a word.
const callTimeout = 15 * time.Second

func (c *cli) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "scheduler",
		Short: "Penstock: a self-tuning request scheduler in front of slow APIs",
		Long: `Penstock stands between programs and the slow, rate-limited, expensive HTTP APIs that they call:
it caches, coalesces, batches, queues fairly, and finds the number of workers by measurement.`,
		Example: `  scheduler demo                              # see it work: a slow API, Penstock, visitors
  scheduler config init > penstock.yaml       # a configuration to start from
  scheduler run --config penstock.yaml        # the service
  scheduler send movie id=42                  # a request through it`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.unknownCommand(cmd, args)
		},
		Version: buildVersion(),
	}
	root.SetVersionTemplate("scheduler {{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVar(&c.url, "url", cmp.Or(c.getenv("PENSTOCK_URL"), "http://127.0.0.1:8080"), "data plane of the running service (PENSTOCK_URL; its key: PENSTOCK_API_KEY)")
	f.StringVar(&c.adminURL, "admin-url", cmp.Or(c.getenv("PENSTOCK_ADMIN_URL"), "http://127.0.0.1:9090"), "admin plane of the running service (PENSTOCK_ADMIN_URL)")
	f.StringVar(&c.tokenFile, "token-file", "", "file with the admin token (or set PENSTOCK_ADMIN_TOKEN)")
	f.BoolVar(&c.asJSON, "json", false, "print JSON instead of text")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd.CommandPath(), err} })
	root.AddCommand(c.runCommand(), c.demoCommand(), c.validateCommand(), c.reloadCommand(), c.configCommand(),
		c.topCommand(), c.knobsCommand(), c.purgeCommand(), c.decisionsCommand(), c.tuningCommand(), c.sendCommand(), c.bulkCommand(), c.jobsCommand(), c.replayCommand(),
		c.keysCommand(), c.healthcheckCommand(), c.versionCommand(), c.compareAPICommand())
	c.wrapArgs(root)
	return root
}

// wrapArgs has every complaint about arguments count as a usage error, and every group of commands
// name the command that it does not know.
func (c *cli) wrapArgs(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.wrapArgs(sub)
		if sub.HasSubCommands() && sub.RunE == nil {
			sub.Args = cobra.ArbitraryArgs
			sub.RunE = c.unknownCommand
			continue
		}
		check := sub.Args
		if check == nil {
			check = cobra.NoArgs
		}
		sub.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			return nil
		}
	}
}

// unknownCommand shows the help of a group called alone, and suggests what was meant otherwise.
func (c *cli) unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		text += fmt.Sprintf(" (did you mean %q?)", s[0])
	}
	return &usageError{cmd.CommandPath(), errors.New(text)}
}

// data is a client of the data plane, with the key of PENSTOCK_API_KEY.
func (c *cli) data() (*client.Client, error) {
	var o client.Options
	if key := c.getenv("PENSTOCK_API_KEY"); key != "" {
		o.Header = http.Header{"X-Api-Key": {key}}
	}
	d, err := client.New(c.url, o)
	if err != nil {
		return nil, &usageError{"scheduler", fmt.Errorf("--url: %w", err)}
	}
	return d, nil
}

// admin is a client of the admin plane.
func (c *cli) admin() (*client.Admin, error) {
	token := c.getenv("PENSTOCK_ADMIN_TOKEN")
	if c.tokenFile != "" {
		b, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	a, err := client.NewAdmin(c.adminURL, token, nil)
	if err != nil {
		return nil, &usageError{"scheduler", fmt.Errorf("--admin-url: %w", err)}
	}
	return a, nil
}

// callAdmin makes one call to the admin plane, in bounded time.
func (c *cli) callAdmin(ctx context.Context, call func(ctx context.Context, a *client.Admin) error) error {
	a, err := c.admin()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return call(ctx, a)
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  scheduler version\n  scheduler version --json",
		RunE: func(*cobra.Command, []string) error {
			if c.asJSON {
				return c.printJSON(map[string]string{"version": buildVersion()})
			}
			_, err := fmt.Fprintln(c.out, "scheduler", buildVersion())
			return err
		},
	}
}
