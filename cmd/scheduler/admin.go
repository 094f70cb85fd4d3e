package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
)

func (c *cli) purgeCommand() *cobra.Command {
	var p client.Purge
	cmd := &cobra.Command{
		Use:   "purge",
		Short: "Remove answers from the cache",
		Long:  "Remove answers from the cache of the running service; say which by exactly one flag.",
		Example: `  scheduler purge --route movie
  scheduler purge --key 'movie?id=42'
  scheduler purge --prefix 'movie?'
  scheduler purge --tag film-42 --soft
  scheduler purge --all`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				n, err := a.Purge(ctx, p)
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(map[string]int{"purged": n})
				}
				_, err = fmt.Fprintf(c.out, "purged %s\n", count(n, "answer"))
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.Key, "key", "", "the one answer of this key")
	f.StringVar(&p.Prefix, "prefix", "", "all answers whose key begins so")
	f.StringVar(&p.Route, "route", "", "all answers of this route")
	f.StringVar(&p.Upstream, "upstream", "", "all answers of this upstream")
	f.StringVar(&p.Tag, "tag", "", "all answers with this word in Surrogate-Key or Cache-Tag")
	f.BoolVar(&p.All, "all", false, "everything")
	f.BoolVar(&p.Soft, "soft", false, "keep the answers as stale: served while they are refreshed, or when the upstream fails")
	_ = cmd.RegisterFlagCompletionFunc("route", c.completeRouteNames)
	names := []string{"key", "prefix", "route", "upstream", "tag", "all"}
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		given := 0
		for _, name := range names {
			if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() != "" && f.Value.String() != "false" {
				given++
			}
		}
		if given != 1 {
			return &usageError{cmd.CommandPath(), errors.New("say what to purge by exactly one of --key, --prefix, --route, --upstream, --tag and --all")}
		}
		return nil
	}
	return cmd
}

func (c *cli) healthcheckCommand() *cobra.Command {
	ready := false
	wait := 2 * time.Second
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Exit 0 if the service is alive, 1 if not",
		Long: `Ask the data plane's /healthz, or with --ready its /readyz, which says 503 while the service drains.
It prints nothing when all is well, so it can stand in a container's HEALTHCHECK.`,
		Example: `  scheduler healthcheck
  scheduler healthcheck --ready --url http://127.0.0.1:8080`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Both planes answer these paths, and neither asks for a token there.
			a, err := client.NewAdmin(c.url, "", nil)
			if err != nil {
				return &usageError{cmd.CommandPath(), fmt.Errorf("--url: %w", err)}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			check := a.Healthz
			if ready {
				check = a.Readyz
			}
			return check(ctx)
		},
	}
	cmd.Flags().BoolVar(&ready, "ready", false, "check that new requests are welcome")
	cmd.Flags().DurationVar(&wait, "timeout", wait, "how long to wait for the answer")
	return cmd
}
