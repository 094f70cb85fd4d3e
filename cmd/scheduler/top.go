package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"penstock/client"
)

// The least and the usual width and height of a terminal that top draws for.
const (
	leastWidth, usualWidth   = 40, 100
	leastHeight, usualHeight = 10, 40
)

func (c *cli) topCommand() *cobra.Command {
	once, interval := false, time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show in the terminal what the service does now",
		Long: `Draw the rates, the upstreams, the routes, the last decisions and the alerts of the running service, again at
each interval, until Ctrl-C. Where the output is no terminal, one snapshot is printed.`,
		Example: `  scheduler top
  scheduler top --once
  scheduler top --interval 5s --admin-url http://10.0.0.7:9090`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < 100*time.Millisecond {
				return &usageError{cmd.CommandPath(), fmt.Errorf("--interval %s: it must be at least 100ms", interval)}
			}
			return c.top(cmd.Context(), once, interval)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print one snapshot and end")
	cmd.Flags().DurationVar(&interval, "interval", interval, "time between drawings")
	return cmd
}

func (c *cli) top(ctx context.Context, once bool, interval time.Duration) error {
	width, _, terminal := c.terminal()
	if c.asJSON || once || !terminal {
		n, err := c.now(ctx)
		if err != nil {
			return err
		}
		if c.asJSON {
			return c.printJSON(n)
		}
		_, err = c.out.Write(drawTop(n, nil, width, 1<<16, false))
		return err
	}
	// The other screen, without a cursor; both come back at the end.
	fmt.Fprint(c.out, "\x1b[?1049h\x1b[?25l")
	defer fmt.Fprint(c.out, "\x1b[?25h\x1b[?1049l")
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last client.Now
	for {
		n, err := c.now(ctx)
		if err == nil {
			last = n
		} else if p := new(client.Problem); errors.As(err, &p) {
			return err // it answers and refuses: waiting does not help
		}
		width, height, _ := c.terminal()
		frame := bytes.ReplaceAll(drawTop(last, err, width, height, true), []byte("\n"), []byte("\x1b[K\r\n"))
		if _, err := c.out.Write(append(append([]byte("\x1b[H"), frame...), "\x1b[J"...)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.signals:
			return nil
		case <-ticker.C:
		}
	}
}

func (c *cli) now(ctx context.Context) (n client.Now, err error) {
	err = c.callAdmin(ctx, func(ctx context.Context, a *client.Admin) error {
		n, err = a.Now(ctx)
		return err
	})
	return n, err
}

// terminal is the size of the output, and whether it is a terminal at all. COLUMNS and LINES count where it
// does not say.
func (c *cli) terminal() (width, height int, ok bool) {
	width, height = usualWidth, usualHeight
	if n, err := strconv.Atoi(c.getenv("COLUMNS")); err == nil {
		width = n
	}
	if n, err := strconv.Atoi(c.getenv("LINES")); err == nil {
		height = n
	}
	if f, is := c.out.(*os.File); is {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			ok = true
			if w > 0 && h > 0 {
				width, height = w, h
			}
		}
	}
	return max(width, leastWidth), max(height, leastHeight), ok
}
