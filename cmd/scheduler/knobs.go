package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
)

func (c *cli) knobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "knobs",
		Short: "List, pin and unpin the values that change while the service runs",
		Example: `  scheduler knobs list
  scheduler knobs pin workers.movies 12 --for 10m --note "load test"
  scheduler knobs unpin workers.movies`,
	}
	cmd.AddCommand(c.knobsListCommand(), c.knobsPinCommand(), c.knobsUnpinCommand())
	return cmd
}

func (c *cli) knobsListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "List the knobs, their values and where those come from",
		Example: `  scheduler knobs list
  scheduler knobs list workers.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeKnobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := strings.Join(args, "")
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				knobs, err := a.Knobs(ctx)
				if err != nil {
					return err
				}
				kept := []client.Knob{}
				for _, k := range knobs {
					if strings.HasPrefix(k.Name, prefix) {
						kept = append(kept, k)
					}
				}
				return c.printKnobs(kept)
			})
		},
	}
}

func (c *cli) knobsPinCommand() *cobra.Command {
	var lasts time.Duration
	var note string
	cmd := &cobra.Command{
		Use:   "pin NAME VALUE",
		Short: "Fix a knob; the tuner leaves it alone until it is unpinned",
		Example: `  scheduler knobs pin workers.movies 12
  scheduler knobs pin workers.movies 12 --for 10m --note "load test"`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: c.completeKnobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("for") && lasts <= 0 {
				return &usageError{cmd.CommandPath(), fmt.Errorf("--for %s: it must be over 0", lasts)}
			}
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				k, err := a.Pin(ctx, args[0], args[1], lasts, note)
				if err != nil {
					return err
				}
				return c.printKnobs([]client.Knob{k})
			})
		},
	}
	cmd.Flags().DurationVar(&lasts, "for", 0, "how long the pin stands, e.g. 10m; without it until it is unpinned")
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}

func (c *cli) knobsUnpinCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "unpin NAME",
		Short:             "Give a pinned knob back to the tuner",
		Example:           "  scheduler knobs unpin workers.movies",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeKnobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				k, err := a.Unpin(ctx, args[0])
				if err != nil {
					return err
				}
				return c.printKnobs([]client.Knob{k})
			})
		},
	}
}

func (c *cli) printKnobs(knobs []client.Knob) error {
	if c.asJSON {
		return c.printJSON(knobs)
	}
	rows := [][]string{{"NAME", "VALUE", "SOURCE", "RANGE", "UNIT", "PIN"}}
	for _, k := range knobs {
		rows = append(rows, []string{k.Name, k.Text, k.Source, knobText(k, k.Min) + " to " + knobText(k, k.Max), k.Unit, pinText(k.Pin)})
	}
	return c.printTable(rows)
}

// knobText writes a bound of a knob.
func knobText(k client.Knob, v *float64) string {
	switch {
	case v == nil:
		return "any"
	case k.Kind == "duration":
		text := time.Duration(*v * float64(time.Second)).String()
		if hours, whole := strings.CutSuffix(text, "h0m0s"); whole {
			return hours + "h"
		}
		return text
	case k.Kind == "bool":
		return strconv.FormatBool(*v != 0)
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

func pinText(p *client.Pin) string {
	if p == nil {
		return ""
	}
	var parts []string
	if p.Author != "" {
		parts = append(parts, "by "+p.Author)
	}
	if p.Until != nil {
		parts = append(parts, "until "+p.Until.Local().Format("2006-01-02 15:04:05"))
	}
	if p.Note != "" {
		parts = append(parts, p.Note)
	}
	if len(parts) == 0 {
		return "pinned"
	}
	return strings.Join(parts, ", ")
}

// completeKnobs completes a knob's name by asking the running service; without one there is
// nothing to complete.
func (c *cli) completeKnobs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	_ = c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
		ctx, cancel := context.WithTimeout(ctx, completionTimeout)
		defer cancel()
		knobs, err := a.Knobs(ctx)
		for _, k := range knobs {
			names = append(names, k.Name+"\t"+k.Text+" "+k.Unit)
		}
		return err
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
