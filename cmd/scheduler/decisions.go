package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
)

// tailRetry is how long tail waits before it connects again.
const tailRetry = 2 * time.Second

var verdicts = []string{"better", "neutral", "worse"}

func (c *cli) decisionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "decisions",
		Short: "Show what the tuner decided, and why",
		Example: `  scheduler decisions list
  scheduler decisions list --knob workers.movies --since 1h --verdict worse
  scheduler decisions explain mws65pz0-12
  scheduler decisions tail
  scheduler decisions rollback mws65pz0-12 --note "too bold"`,
	}
	cmd.AddCommand(c.decisionsListCommand(), c.decisionsExplainCommand(), c.decisionsTailCommand(), c.decisionsRollbackCommand())
	return cmd
}

// decisionFlags are the flags by which list and tail choose.
type decisionFlags struct{ knob, verdict, since string }

func (f *decisionFlags) register(c *cli, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.knob, "knob", "", "only those about this knob")
	cmd.Flags().StringVar(&f.verdict, "verdict", "", "only those judged so: better, neutral or worse")
	cmd.Flags().StringVar(&f.since, "since", "", "only those made since then: 1h for an hour ago, or 2026-01-31T15:04:05Z")
	_ = cmd.RegisterFlagCompletionFunc("knob", c.completeKnobs)
	_ = cmd.RegisterFlagCompletionFunc("verdict", cobra.FixedCompletions(verdicts, cobra.ShellCompDirectiveNoFileComp))
}

func (f *decisionFlags) query(cmd *cobra.Command, now time.Time) (client.DecisionQuery, error) {
	q := client.DecisionQuery{Knob: f.knob, Verdict: f.verdict}
	if f.verdict != "" && !slices.Contains(verdicts, f.verdict) {
		return q, &usageError{cmd.CommandPath(), fmt.Errorf("--verdict %q: it must be one of %s", f.verdict, strings.Join(verdicts, ", "))}
	}
	if f.since == "" {
		return q, nil
	}
	if d, err := time.ParseDuration(f.since); err == nil && d >= 0 {
		q.Since = now.Add(-d)
	} else if q.Since, err = time.Parse(time.RFC3339, f.since); err != nil {
		return q, &usageError{cmd.CommandPath(), fmt.Errorf("--since %q: it must be a duration such as 1h30m or a time such as 2026-01-31T15:04:05Z", f.since)}
	}
	return q, nil
}

func (c *cli) decisionsListCommand() *cobra.Command {
	var f decisionFlags
	limit := 20
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the newest decisions first",
		Example: `  scheduler decisions list
  scheduler decisions list --knob workers.movies --limit 5 --json
  scheduler decisions list --since 24h --verdict worse`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 1000 {
				return &usageError{cmd.CommandPath(), fmt.Errorf("--limit %d: it must be 1 to 1000", limit)}
			}
			q, err := f.query(cmd, time.Now())
			if err != nil {
				return err
			}
			q.Limit = limit
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				list, err := a.Decisions(ctx, q)
				if err != nil {
					return err
				}
				return c.printDecisions(list)
			})
		},
	}
	f.register(c, cmd)
	cmd.Flags().IntVar(&limit, "limit", limit, "how many at most")
	return cmd
}

func (c *cli) printDecisions(list []client.Decision) error {
	if c.asJSON {
		if list == nil {
			list = []client.Decision{}
		}
		return c.printJSON(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(c.out, "no decisions yet")
		return err
	}
	rows := [][]string{{"TIME", "ID", "KNOB", "FROM", "TO", "RULE", "VERDICT", "REASON"}}
	for _, d := range list {
		rows = append(rows, []string{d.Time.Local().Format(time.DateTime), d.ID, d.Knob, figure(d.From), figure(d.To), d.Rule, show(verdict(&d)), d.Reason})
	}
	return c.printTable(rows)
}

func figure(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

func verdict(d *client.Decision) string {
	v := d.Verdict
	if d.Mode == "shadow" {
		v = "not applied (shadow)"
	}
	if d.RolledBack {
		v = strings.TrimPrefix(v+", rolled back", ", ")
	}
	return v
}

func (c *cli) decisionsExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "explain ID",
		Short:   "Show all about one decision",
		Long:    "Show one decision: what was changed by which rule, on which numbers, what was expected and what came of it.",
		Example: "  scheduler decisions explain mws65pz0-12\n  scheduler decisions explain mws65pz0-12 --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				d, err := a.Decision(ctx, args[0])
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
}

func (c *cli) explain(d *client.Decision) error {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-9s %s\n", name, text)
		}
	}
	line("decision", d.ID)
	line("time", d.Time.Local().Format(time.DateTime))
	line("knob", d.Knob)
	line("upstream", d.Upstream)
	line("route", d.Route)
	line("change", figure(d.From)+" -> "+figure(d.To))
	line("rule", d.Rule)
	line("by", d.Author)
	line("reason", d.Reason)
	line("expected", d.Expected)
	for i, name := range slices.Sorted(maps.Keys(d.Signals)) {
		head := ""
		if i == 0 {
			head = "signals"
		}
		fmt.Fprintf(&b, "%-9s %s = %s\n", head, name, figure(d.Signals[name]))
	}
	if d.Repeats > 0 {
		line("repeats", fmt.Sprintf("it would have been made %d more times", d.Repeats))
	}
	line("verdict", show(verdict(d)))
	line("measured", d.Measured)
	if d.Confidence > 0 {
		line("sure", fmt.Sprintf("%.0f %%", 100*d.Confidence))
	}
	if !d.JudgedAt.IsZero() {
		line("judged", fmt.Sprintf("%s after it", d.JudgedAt.Sub(d.Time).Round(time.Second)))
	}
	_, err := fmt.Fprint(c.out, b.String())
	return err
}

func (c *cli) decisionsTailCommand() *cobra.Command {
	var f decisionFlags
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show decisions as they are made and judged",
		Long: `Show each decision when it is made, and again when it is judged, until Ctrl-C. A connection that breaks
is made anew, and goes on where it was. With --json each is a line of JSON.`,
		Example: `  scheduler decisions tail
  scheduler decisions tail --since 1h --knob workers.movies`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := f.query(cmd, time.Now())
			if err != nil {
				return err
			}
			a, err := c.admin()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() { // every signal ends it
				select {
				case <-c.signals:
					cancel()
				case <-ctx.Done():
				}
			}()
			return c.tail(ctx, a, q)
		},
	}
	f.register(c, cmd)
	return cmd
}

// tail prints until ctx ends. The first connection must succeed; a later one is tried again.
func (c *cli) tail(ctx context.Context, a *client.Admin, q client.DecisionQuery) error {
	last, connected := "", false
	for {
		var err error
		last, err = a.TailDecisions(ctx, q, last, c.printChange)
		if ctx.Err() != nil {
			return nil
		}
		lost, ok := errors.AsType[*client.ConnError](err)
		connected = connected || errors.Is(err, client.ErrBroken)
		if !ok || !connected {
			return err
		}
		fmt.Fprintf(c.err, "scheduler: %v; trying again\n", lost)
		select {
		case <-time.After(tailRetry):
		case <-ctx.Done():
			return nil
		}
	}
}

// printChange prints one line for one change of a decision.
func (c *cli) printChange(d client.Decision) error {
	if c.asJSON {
		return json.NewEncoder(c.out).Encode(d)
	}
	at, text := d.Time, d.Reason
	if d.Verdict != "" || d.Measured != "" {
		text = d.Measured
		if v := verdict(&d); v != "" {
			text = v + ": " + text
		}
		if !d.JudgedAt.IsZero() {
			at = d.JudgedAt
		}
	}
	_, err := fmt.Fprintf(c.out, "%s  %s  %s %s -> %s  %s: %s\n", at.Local().Format(time.DateTime), d.ID, d.Knob, figure(d.From), figure(d.To), d.Rule, text)
	return err
}
