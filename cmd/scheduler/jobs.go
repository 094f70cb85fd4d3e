package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
	"penstock/request"
)

var jobStates = []string{"queued", "running", "done", "failed", "cancelled", "dead"}

func (c *cli) jobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "Submit requests to be answered later, and look after them",
		Example: `  scheduler jobs submit movie id=42 --wait 30s
  scheduler jobs list --state dead
  scheduler jobs show 0199d7c2-7f3a-7c1e-9b1a-6a3c5d8e0f11
  scheduler jobs result 0199d7c2-7f3a-7c1e-9b1a-6a3c5d8e0f11
  scheduler jobs retry 0199d7c2-7f3a-7c1e-9b1a-6a3c5d8e0f11`,
	}
	cmd.AddCommand(c.jobsSubmitCommand(), c.jobsListCommand(), c.jobsResultCommand(),
		c.jobCommand("show", "Show one job", (*client.Admin).Job),
		c.jobCommand("cancel", "End a job that has not ended", (*client.Admin).CancelJob),
		c.jobCommand("retry", "Send a job again that has failed, died or been cancelled", (*client.Admin).RetryJob))
	return cmd
}

func (c *cli) jobsSubmitCommand() *cobra.Command {
	var urgency, key, webhook string
	var wait, delay time.Duration
	var attempts int
	cmd := &cobra.Command{
		Use:   "submit ROUTE [KEY=VALUE | KEY:=JSON]...",
		Short: "Submit one request by route and print its job",
		Long: `Submit one request to the running service, which answers once it is on disk. With --wait the job is
printed at its end. The exit code is 1 if it ended other than done.`,
		Example: `  scheduler jobs submit movie id=42
  scheduler jobs submit movie id=42 --wait 30s --key order-4711
  scheduler jobs submit movie id=42 --delay 1h --urgency 7`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: c.completeRoute,
		RunE: func(cmd *cobra.Command, args []string) error {
			item := client.JobItem{Item: client.Item{Route: args[0]}, MaxAttempts: attempts, Webhook: webhook}
			if delay > 0 {
				item.RunAt = time.Now().Add(delay)
			}
			if urgency != "" {
				u, err := request.ParseUrgency(urgency)
				if err != nil {
					return &usageError{cmd.CommandPath(), fmt.Errorf("--urgency: %w", err)}
				}
				item.Urgency = &u
			}
			var err error
			if item.Params, err = parseParams(args[1:]); err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			return c.submitJob(cmd.Context(), item, key, wait)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&urgency, "urgency", "u", "", "0 (most urgent) to 7; without it the route's own")
	f.StringVar(&key, "key", "", "Idempotency-Key: the same key and request give the same job")
	f.StringVar(&webhook, "webhook", "", "the URL to tell of the end")
	f.DurationVar(&wait, "wait", 0, "how long to wait for the job's end, e.g. 30s")
	f.DurationVar(&delay, "delay", 0, "how long to wait before it is due, e.g. 1h")
	f.IntVar(&attempts, "attempts", 0, "how often it is tried at most; without it the service's own")
	return cmd
}

func (c *cli) submitJob(ctx context.Context, item client.JobItem, key string, wait time.Duration) error {
	d, err := c.data()
	if err != nil {
		return err
	}
	j, err := d.SubmitJob(ctx, item, key)
	for until := time.Now().Add(wait); err == nil && !j.HasEnded(); {
		left := time.Until(until)
		if left < time.Second {
			break
		}
		j, err = d.Job(ctx, j.ID, min(left, time.Minute))
	}
	if err != nil {
		return err
	}
	if err := c.printJob(j); err != nil {
		return err
	}
	if j.HasEnded() && j.State != "done" {
		return silentError{}
	}
	return nil
}

func (c *cli) jobsListCommand() *cobra.Command {
	var states []string
	var route, tenant string
	limit := 20
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the newest jobs first",
		Example: `  scheduler jobs list
  scheduler jobs list --state dead,failed --tenant shop --limit 100 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range states {
				if !slices.Contains(jobStates, s) {
					return &usageError{cmd.CommandPath(), fmt.Errorf("--state %q: it must be of %s", s, strings.Join(jobStates, ", "))}
				}
			}
			if limit < 1 || limit > 1000 {
				return &usageError{cmd.CommandPath(), fmt.Errorf("--limit %d: it must be 1 to 1000", limit)}
			}
			q := client.JobQuery{States: states, Route: route, Limit: limit}
			if cmd.Flags().Changed("tenant") {
				q.Tenant = &tenant
			}
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				l, err := a.Jobs(ctx, q)
				if err != nil {
					return err
				}
				return c.printJobs(l)
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&states, "state", nil, "only jobs in these states: "+strings.Join(jobStates, ", "))
	f.StringVar(&route, "route", "", "only jobs of this route")
	f.StringVar(&tenant, "tenant", "", "only jobs of this tenant")
	f.IntVar(&limit, "limit", limit, "how many at most")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(jobStates, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("route", c.completeRouteNames)
	return cmd
}

func (c *cli) printJobs(l client.JobList) error {
	if c.asJSON {
		return c.printJSON(l)
	}
	rows := [][]string{{"ID", "STATE", "ROUTE", "TENANT", "URGENCY", "ATTEMPTS", "CREATED", "ENDED"}}
	for _, j := range l.Jobs {
		rows = append(rows, []string{j.ID, j.State, j.Route, orDash(j.Tenant), strconv.Itoa(j.Urgency), strconv.Itoa(j.Attempts), moment(j.Created), moment(j.Ended)})
	}
	if err := c.printTable(rows); err != nil {
		return err
	}
	var parts []string
	for _, s := range jobStates {
		parts = append(parts, fmt.Sprintf("%d %s", l.Counts[s], s))
	}
	_, err := fmt.Fprintln(c.out, "in all: "+strings.Join(parts, ", "))
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// jobCommand makes a command that does something with one job and prints it.
func (c *cli) jobCommand(name, short string, do func(*client.Admin, context.Context, string) (client.Job, error)) *cobra.Command {
	return &cobra.Command{
		Use:     name + " ID",
		Short:   short,
		Example: "  scheduler jobs " + name + " 0199d7c2-7f3a-7c1e-9b1a-6a3c5d8e0f11",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.callAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				j, err := do(a, ctx, args[0])
				if err != nil {
					return err
				}
				return c.printJob(j)
			})
		},
	}
}

func (c *cli) printJob(j client.Job) error {
	if c.asJSON {
		return c.printJSON(j)
	}
	rows := [][]string{{"job", j.ID}, {"state", j.State}, {"route", j.Route}, {"tenant", orDash(j.Tenant)}, {"urgency", strconv.Itoa(j.Urgency)},
		{"attempts", fmt.Sprintf("%d of %d", j.Attempts, j.MaxAttempts)}, {"created", moment(j.Created)}}
	for _, row := range []struct {
		name string
		at   time.Time
	}{{"due", j.RunAt}, {"deadline", j.Deadline}, {"ended", j.Ended}} {
		if !row.at.IsZero() {
			rows = append(rows, []string{row.name, moment(row.at)})
		}
	}
	if r := j.Result; r != nil {
		rows = append(rows, []string{"result", fmt.Sprintf("status %d, %d bytes: scheduler jobs result %s", r.Status, r.Bytes, j.ID)})
	}
	if e := j.Error; e != nil {
		rows = append(rows, []string{"error", e.Detail})
	}
	if w := j.Webhook; w != nil {
		rows = append(rows, []string{"webhook", fmt.Sprintf("%s, %d tries to %s %s", w.State, w.Attempts, w.URL, w.Error)})
	}
	return c.printTable(rows)
}

func (c *cli) jobsResultCommand() *cobra.Command {
	var include bool
	cmd := &cobra.Command{
		Use:     "result ID",
		Short:   "Print the answer of a job that has ended",
		Example: "  scheduler jobs result 0199d7c2-7f3a-7c1e-9b1a-6a3c5d8e0f11",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.data()
			if err != nil {
				return err
			}
			answer, err := d.JobResult(cmd.Context(), args[0])
			if p, ok := errors.AsType[*client.Problem](err); ok && p.Status == 404 {
				return fmt.Errorf("%w (a job is shown to its own tenant only)", err)
			}
			if err != nil {
				return err
			}
			return c.printAnswer(answer, include)
		},
	}
	cmd.Flags().BoolVarP(&include, "include", "i", false, "print status and headers too")
	return cmd
}
