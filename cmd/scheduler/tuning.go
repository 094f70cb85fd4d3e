package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/app"
	"penstock/client"
)

var tuningModes = []string{"off", "shadow", "active"}

func (c *cli) tuningCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tuning",
		Short: "Show where the tuner stands, freeze it, set its modes",
		Example: `  scheduler tuning status
  scheduler tuning freeze --note "sale day"
  scheduler tuning mode shadow workers.movies`,
	}
	cmd.AddCommand(c.tuningStatusCommand(), c.tuningFreezeCommand(true), c.tuningFreezeCommand(false), c.tuningModeCommand(), c.tuningReplayCommand())
	return cmd
}

func (c *cli) tuningStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show each knob: its mode, its value, and why it stands there",
		Example: "  scheduler tuning status\n  scheduler tuning status --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				t, err := a.Tuning(ctx)
				if err != nil {
					return err
				}
				return c.printTuning(t)
			})
		},
	}
}

func (c *cli) printTuning(t client.Tuning) error {
	if c.asJSON {
		return c.printJSON(t)
	}
	head := "mode " + t.Mode
	if t.Switches.Mode != "" {
		head += " (ordered)"
	}
	if t.Frozen {
		head += ", frozen"
	}
	if _, err := fmt.Fprintln(c.out, head); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(t.Switches.Modes)) {
		if _, err := fmt.Fprintf(c.out, "ordered: %s %s\n", name, t.Switches.Modes[name]); err != nil {
			return err
		}
	}
	rows := [][]string{{"KNOB", "MODE", "VALUE", "RULE", "REASON"}}
	for _, k := range t.Knobs {
		rows = append(rows, []string{k.Knob, k.Mode, figure(k.Value), show(k.Rule), k.Reason})
	}
	return c.printTable(rows)
}

func (c *cli) tuningReplayCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "replay FILE",
		Short: "Play a recording through the tuner's controllers and show what they decide",
		Long: `Play a file that run --record-tuning wrote through the controllers of this version, and show what they decide. The
recorded world does not answer to that: where a decision is not the recorded one, that is told, and the knob goes on
from where the recording had it.`,
		Example: "  scheduler run --config penstock.yaml --record-tuning tuning.ndjson\n  scheduler tuning replay tuning.ndjson",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			out, err := app.ReplayTuning(f)
			if err != nil {
				return err
			}
			return c.printReplay(out)
		},
	}
}

func (c *cli) printReplay(out app.ReplayedTuning) error {
	if c.asJSON {
		return c.printJSON(out)
	}
	for _, d := range out.Decisions {
		text := d.Reason
		if d.Measured != "" {
			text += "; " + string(d.Verdict) + ": " + d.Measured
		}
		if _, err := fmt.Fprintf(c.out, "%s  %s %s -> %s  %s: %s\n", d.Time.Format(time.DateTime), d.Knob, figure(d.From), figure(d.To), d.Rule, text); err != nil {
			return err
		}
	}
	for _, d := range out.Differences {
		if _, err := fmt.Fprintln(c.out, "differs  "+d); err != nil {
			return err
		}
	}
	if len(out.Unknown) > 0 {
		if _, err := fmt.Fprintln(c.out, "not replayed  "+strings.Join(out.Unknown, ", ")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.out, "%d decisions, %d differences from the recording, in %d looks and %d calls (%d lines are missing)\n",
		len(out.Decisions), len(out.Differences), out.Ticks, out.Calls, out.Dropped)
	return err
}

// changeTuning gives an order and shows what came of it.
func (c *cli) changeTuning(ctx context.Context, change client.TuningChange) error {
	change.Author = c.author()
	return c.callAdmin(ctx, func(ctx context.Context, a *client.Admin) error {
		t, err := a.ChangeTuning(ctx, change)
		if err != nil {
			return err
		}
		return c.printTuning(t)
	})
}

// author is who gives orders, for the ledger.
func (c *cli) author() string {
	return cmp.Or(c.getenv("USER"), c.getenv("LOGNAME"), "cli")
}

func (c *cli) tuningFreezeCommand(freeze bool) *cobra.Command {
	use, short := "freeze", "Stop all tuning; what was tuned stays as it is"
	if !freeze {
		use, short = "thaw", "Let tuning go on"
	}
	note := ""
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    short + ". The order is written into the ledger and holds over a restart.",
		Example: "  scheduler tuning " + use + ` --note "sale day"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.changeTuning(cmd.Context(), client.TuningChange{Frozen: &freeze, Note: note})
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}

func (c *cli) tuningModeCommand() *cobra.Command {
	note := ""
	cmd := &cobra.Command{
		Use:   "mode off|shadow|active|configured [KNOB...]",
		Short: "Set the mode of knobs, or of all",
		Long: `Set the mode of the knobs named, or of those that match a pattern such as 'cache.ttl.*'; without a name, of all.
A knob is never allowed more than the mode of all. configured takes the order back, so that the configuration holds
again. Orders are written into the ledger and hold over a restart.`,
		Example: `  scheduler tuning mode shadow workers.movies
  scheduler tuning mode off 'cache.ttl.*' --note "content freeze"
  scheduler tuning mode configured`,
		Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return append(slices.Clone(tuningModes), "configured"), cobra.ShellCompDirectiveNoFileComp
			}
			return c.completeKnobs(cmd, nil, last)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			mode := args[0]
			switch {
			case mode == "configured":
				mode = ""
			case !slices.Contains(tuningModes, mode):
				return &usageError{cmd.CommandPath(), fmt.Errorf("mode %q: it must be off, shadow, active or configured", mode)}
			}
			change := client.TuningChange{Note: note}
			if len(args) == 1 {
				change.Mode = &mode
			} else {
				change.Modes = make(map[string]string, len(args)-1)
				for _, name := range args[1:] {
					change.Modes[name] = mode
				}
			}
			return c.changeTuning(cmd.Context(), change)
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}

func (c *cli) decisionsRollbackCommand() *cobra.Command {
	note := ""
	cmd := &cobra.Command{
		Use:   "rollback ID",
		Short: "Put the knob of a decision back to where it was",
		Long: `Put the knob of a decision back to where it was before it. The tuner leaves it there for ten minutes; to keep it
there, pin it (scheduler knobs pin).`,
		Example: `  scheduler decisions rollback mws65pz0-12 --note "too bold"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				d, err := a.RollBack(ctx, args[0], c.author(), note)
				if err != nil {
					return err
				}
				if c.asJSON {
					return c.printJSON(d)
				}
				return c.explain(&d)
			})
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}
