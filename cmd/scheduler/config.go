package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"penstock/app"
	"penstock/client"
	"penstock/configs"
)

func (c *cli) validateCommand() *cobra.Command {
	s := new(settings)
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration file",
		Long: `Check a configuration by the way that the service loads it, environment included. Every fault is
printed as "file:line key: problem", and the exit code is 1.`,
		Example: `  scheduler validate penstock.yaml
  scheduler validate penstock.yaml && kill -HUP "$(pidof scheduler)"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.config = args[0]
			o, err := c.load(cmd, s)
			if err != nil {
				return err
			}
			return c.validate(o)
		},
	}
	cmd.Flags().StringArrayVar(&s.set, "set", nil, "set any key: --set workers.count=8 (repeatable)")
	return cmd
}

func (c *cli) validate(o configs.LoadOptions) error {
	l, err := app.Load(o)
	faults, isFaults := errors.AsType[*configs.Faults](err)
	switch {
	case err == nil && c.asJSON:
		return c.printJSON(map[string]any{"ok": true, "upstreams": len(l.Config.Upstreams), "routes": len(l.Config.Routes)})
	case err == nil:
		_, err := fmt.Fprintf(c.out, "ok: %s, %s\n", count(len(l.Config.Upstreams), "upstream"), count(len(l.Config.Routes), "route"))
		return err
	case isFaults && c.asJSON:
		_ = c.printJSON(map[string]any{"ok": false, "faults": faults.List})
		return silentError{}
	case isFaults:
		fmt.Fprintln(c.err, faults)
		return silentError{}
	}
	return err
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func (c *cli) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running service load its configuration again",
		Long: `Have the running service load its configuration again, and print what changed. A faulty file changes
nothing; its faults are printed and the exit code is 1.`,
		Example: "  scheduler reload\n  scheduler reload --admin-url http://127.0.0.1:9090 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				changes, err := a.Reload(ctx)
				if err != nil {
					return err
				}
				return c.printChanges(changes)
			})
		},
	}
}

func (c *cli) printChanges(ch client.Changes) error {
	if c.asJSON {
		return c.printJSON(ch)
	}
	if len(ch.Changes) == 0 {
		_, err := fmt.Fprintln(c.out, "reloaded; nothing differs")
		return err
	}
	rows := [][]string{{"KEY", "FROM", "TO", ""}}
	for _, one := range ch.Changes {
		note := ""
		if one.RestartNeeded {
			note = "needs a restart"
		}
		rows = append(rows, []string{one.Key, show(one.From), show(one.To), note})
	}
	return c.printTable(rows)
}

// show writes a value of a configuration; "-" for none.
func show(v any) string {
	if v == nil || v == "" {
		return "-"
	}
	return fmt.Sprint(v)
}

func (c *cli) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write, show and describe configurations",
		Example: `  scheduler config init > penstock.yaml
  scheduler config effective`,
	}
	cmd.AddCommand(c.configInitCommand(), c.configEffectiveCommand(), c.configSchemaCommand(), c.configReferenceCommand())
	return cmd
}

func (c *cli) configInitCommand() *cobra.Command {
	preset := "balanced"
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Print a commented configuration to start from",
		Example: `  scheduler config init > penstock.yaml
  scheduler config init --preset aggressive > penstock.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := configs.Init(preset)
			if err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			_, err = fmt.Fprint(c.out, text)
			return err
		},
	}
	cmd.Flags().StringVar(&preset, "preset", preset, "aggressive, balanced or conservative")
	_ = cmd.RegisterFlagCompletionFunc("preset", cobra.FixedCompletions([]string{"aggressive", "balanced", "conservative"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *cli) configEffectiveCommand() *cobra.Command {
	s := new(settings)
	all := false
	cmd := &cobra.Command{
		Use:   "effective",
		Short: "Print every value in force and where it comes from",
		Long: `Print the values in force and where each comes from, with secrets masked: those of the running service,
or with --config those that a file would bring. Values that are nobody's choice are left out
unless --all is given.`,
		Example: `  scheduler config effective
  scheduler config effective --config penstock.yaml --all`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			entries, err := c.effective(cmd, s)
			if err != nil {
				return err
			}
			return c.printEntries(entries, all)
		},
	}
	cmd.Flags().StringVarP(&s.config, "config", "c", "", "a file instead of the running service")
	cmd.Flags().BoolVar(&all, "all", false, "defaults too")
	return cmd
}

func (c *cli) effective(cmd *cobra.Command, s *settings) ([]client.ConfigEntry, error) {
	if s.config == "" {
		var cfg client.Config
		err := c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) (err error) {
			cfg, err = a.Config(ctx)
			return err
		})
		if cfg.LastReload != nil && !cfg.LastReload.OK {
			fmt.Fprintf(c.err, "the last reload, at %s, was refused; the values before it stay in force:\n%s\n",
				cfg.LastReload.At.Format("2006-01-02 15:04:05"), cfg.LastReload.Error)
		}
		return cfg.Entries, err
	}
	o, err := c.load(cmd, s)
	if err != nil {
		return nil, err
	}
	l, err := configs.Load(o)
	if err != nil {
		return nil, err
	}
	var entries []client.ConfigEntry
	for _, e := range configs.Effective(l) {
		entries = append(entries, client.ConfigEntry{Key: e.Key, Value: e.Value, Source: string(e.Source), File: e.File, Line: e.Line})
	}
	return entries, nil
}

func (c *cli) printEntries(entries []client.ConfigEntry, all bool) error {
	kept := []client.ConfigEntry{}
	for _, e := range entries {
		if all || e.Source != "default" {
			kept = append(kept, e)
		}
	}
	if c.asJSON {
		return c.printJSON(kept)
	}
	rows := [][]string{{"KEY", "VALUE", "SOURCE"}}
	for _, e := range kept {
		rows = append(rows, []string{e.Key, show(e.Value), origin(e)})
	}
	return c.printTable(rows)
}

// origin says where a value comes from: "file penstock.yaml:3", "flag --server.listen", "default".
func origin(e client.ConfigEntry) string {
	from := e.File
	if !strings.HasPrefix(from, e.Source) { // a flag's and a variable's place name their source
		from = strings.TrimSpace(e.Source + " " + e.File)
	}
	if e.Line > 0 {
		from += ":" + strconv.Itoa(e.Line)
	}
	return from
}

func (c *cli) configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON schema of the configuration",
		Example: "  scheduler config schema > penstock.schema.json",
		RunE: func(*cobra.Command, []string) error {
			b, err := configs.Schema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "%s\n", b)
			return err
		},
	}
}

func (c *cli) configReferenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "reference",
		Short:   "Print the reference of all settings as Markdown",
		Example: "  scheduler config reference > configuration.md",
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(c.out, configs.Reference())
			return err
		},
	}
}
