package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
	"penstock/request"
)

// completionTimeout bounds what a press of the tab key may cost.
const completionTimeout = time.Second

func (c *cli) sendCommand() *cobra.Command {
	var urgency, cache string
	var deadline time.Duration
	var include bool
	cmd := &cobra.Command{
		Use:   "send ROUTE [KEY=VALUE | KEY:=JSON]...",
		Short: "Send one request by route and print the answer",
		Long: `Send one request through the running service and print the answer's body. KEY=VALUE gives a param as
text, KEY:=JSON as any JSON value. The exit code is 1 for an answer of 400 and above.`,
		Example: `  scheduler send movie id=42
  scheduler send movie id=42 --urgency 0 --deadline 800ms --include
  scheduler send embedding 'texts:=["a","b"]' --cache no-cache`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: c.completeRoute,
		RunE: func(cmd *cobra.Command, args []string) error {
			item := client.Item{Route: args[0], Cache: cache, DeadlineMS: deadline.Milliseconds()}
			if cmd.Flags().Changed("deadline") && item.DeadlineMS < 1 {
				return &usageError{cmd.CommandPath(), fmt.Errorf("--deadline %s: it must be 1ms or more", deadline)}
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
			return c.send(cmd.Context(), item, include)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&urgency, "urgency", "u", "", "0 (most urgent) to 7; without it the route's own")
	f.DurationVar(&deadline, "deadline", 0, "how long the answer is wanted, e.g. 800ms")
	f.StringVar(&cache, "cache", "", "Cache-Control to ask with, e.g. no-cache or only-if-cached")
	f.BoolVarP(&include, "include", "i", false, "print status and headers too")
	return cmd
}

// parseParams reads KEY=VALUE and KEY:=JSON.
func parseParams(args []string) (map[string]any, error) {
	params := make(map[string]any, len(args))
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" || key == ":" {
			return nil, fmt.Errorf("%q is no param; write KEY=VALUE or KEY:=JSON", arg)
		}
		name, isJSON := strings.CutSuffix(key, ":")
		if _, twice := params[name]; twice {
			return nil, fmt.Errorf("the param %q is given twice", name)
		}
		if !isJSON {
			params[name] = value
			continue
		}
		dec := json.NewDecoder(strings.NewReader(value))
		dec.UseNumber() // an id of 20 digits stays as it is
		var v any
		if err := dec.Decode(&v); err != nil || dec.More() {
			return nil, fmt.Errorf("the param %s is not JSON: %s", name, value)
		}
		params[name] = v
	}
	return params, nil
}

func (c *cli) send(ctx context.Context, item client.Item, include bool) error {
	d, err := c.data()
	if err != nil {
		return err
	}
	answer, err := d.Send(ctx, item)
	if err != nil {
		return err
	}
	if err := c.printAnswer(answer, include); err != nil {
		return err
	}
	if answer.Status >= 400 {
		fmt.Fprintf(c.err, "scheduler: the upstream answered %d %s\n", answer.Status, http.StatusText(answer.Status))
		return silentError{}
	}
	return nil
}

func (c *cli) printAnswer(a *client.Answer, include bool) error {
	if c.asJSON {
		out := map[string]any{"status": a.Status, "headers": a.Header}
		if json.Valid(a.Body) {
			out["body"] = json.RawMessage(a.Body)
		} else {
			out["body"] = string(a.Body)
		}
		return c.printJSON(out)
	}
	var b bytes.Buffer
	if include {
		fmt.Fprintf(&b, "%d %s\n", a.Status, http.StatusText(a.Status))
		for _, name := range slices.Sorted(maps.Keys(a.Header)) {
			for _, v := range a.Header[name] {
				fmt.Fprintf(&b, "%s: %s\n", name, v)
			}
		}
		b.WriteByte('\n')
	}
	b.Write(a.Body)
	if len(a.Body) > 0 && a.Body[len(a.Body)-1] != '\n' {
		b.WriteByte('\n')
	}
	_, err := c.out.Write(b.Bytes())
	return err
}

// completeRoute completes the route, then the params that it takes.
func (c *cli) completeRoute(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, r := range c.routes(cmd.Context()) {
		switch {
		case len(args) == 0:
			words = append(words, r.Name+"\t"+r.Method+" "+r.Path)
		case r.Name == args[0]:
			for _, p := range slices.Sorted(maps.Keys(r.Params)) {
				words = append(words, p+"=\t"+r.Params[p].Doc)
			}
			return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func (c *cli) completeRouteNames(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return c.completeRoute(cmd, nil, word)
}

// routes asks the running service for its routes; none if it can't be asked.
func (c *cli) routes(ctx context.Context) []client.Route {
	d, err := c.data()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	routes, err := d.Routes(ctx)
	if err != nil {
		return nil
	}
	return routes
}
