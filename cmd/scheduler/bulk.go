package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
	"penstock/client/resume"
	"penstock/request"
)

// bulkFlags are what the bulk command was told.
type bulkFlags struct {
	query          client.StreamQuery
	order, urgency string
	again          string
	restart, quiet bool
	giveUp         time.Duration
}

func (c *cli) bulkCommand() *cobra.Command {
	b := &bulkFlags{order: "input", giveUp: 10 * time.Minute}
	cmd := &cobra.Command{
		Use:   "bulk --route ROUTE IN OUT",
		Short: "Have a file of millions of lines answered, and go on where it stopped",
		Long: `Send each line of IN, a JSON object of the route's params, through the running service, and write a line
for each to OUT: {"line":17,"status":200,"body":...}, or with "error" in place of the body. - stands for
standard input or output. Memory stays the same whatever the length of the file.

A broken connection is made anew by itself. Whatever ends the command (Ctrl-C, a crash, a full disk), run
it again and it goes on: the lines that OUT has are not asked again, and each line is answered once.

The exit code is 0 if every line was answered below 400, else 1. Lines that failed are asked again with
--retry-errors, all of them or those of some statuses.`,
		Example: `  scheduler bulk --route movie in.ndjson out.ndjson
  scheduler bulk --route movie --select '$.title' --order ready --urgency 7 in.ndjson out.ndjson
  scheduler bulk --route movie --retry-errors=5xx,429 in.ndjson out.ndjson
  zcat in.ndjson.gz | scheduler bulk --route movie - - | gzip > out.ndjson.gz`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			again, err := b.read()
			if err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			ctx, stop := c.interruptible(cmd.Context())
			defer stop()
			return c.bulk(ctx, b, again, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.StringVarP(&b.query.Route, "route", "r", "", "the route that every line asks")
	f.StringVar(&b.order, "order", b.order, "input: answers in the order of the lines; ready: as they come, which a slow line holds up less")
	f.StringVarP(&b.urgency, "urgency", "u", "", "0 (most urgent) to 7; without it the route's own")
	f.StringVar(&b.query.Select, "select", "", "JSON path (RFC 9535) to keep of good answers, e.g. '$.title'")
	f.StringVar(&b.again, "retry-errors", "", "ask failed lines of OUT again: statuses such as 5xx,429; without a value all")
	f.Lookup("retry-errors").NoOptDefVal = "4xx,5xx"
	f.BoolVar(&b.restart, "restart", false, "throw away what OUT has and begin anew")
	f.DurationVar(&b.giveUp, "give-up", b.giveUp, "after how long without an answer from the service to end; 0: at the first fault")
	f.BoolVarP(&b.quiet, "quiet", "q", false, "no progress")
	_ = cmd.RegisterFlagCompletionFunc("route", c.completeRouteNames)
	_ = cmd.RegisterFlagCompletionFunc("order", cobra.FixedCompletions([]string{"input", "ready"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// read checks the flags and returns which failed lines are asked again.
func (b *bulkFlags) read() (again func(status int) bool, err error) {
	if b.query.Route == "" {
		return nil, errors.New("--route ROUTE is missing: it says what each line asks")
	}
	switch b.order {
	case "input", "ready":
		b.query.Ready = b.order == "ready"
	default:
		return nil, fmt.Errorf("--order %q: it must be input or ready", b.order)
	}
	if b.urgency != "" {
		u, err := request.ParseUrgency(b.urgency)
		if err != nil {
			return nil, fmt.Errorf("--urgency: %w", err)
		}
		b.query.Urgency = &u
	}
	switch {
	case b.giveUp < 0:
		return nil, fmt.Errorf("--give-up %s: it must not be negative", b.giveUp)
	case b.giveUp == 0:
		b.giveUp = -1
	}
	if b.again == "" {
		return nil, nil
	}
	if b.restart {
		return nil, errors.New("--restart asks all lines again; give it without --retry-errors")
	}
	return parseStatuses(b.again)
}

// parseStatuses reads a list such as 5xx,429.
func parseStatuses(list string) (func(status int) bool, error) {
	chosen := make(map[int]bool)
	for _, word := range strings.Split(list, ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		first, class := strings.CutSuffix(word, "xx")
		n, err := strconv.Atoi(first)
		switch {
		case err == nil && class && (n == 4 || n == 5):
			for s := n * 100; s < n*100+100; s++ {
				chosen[s] = true
			}
		case err == nil && !class && n >= 400 && n < 600:
			chosen[n] = true
		default:
			return nil, fmt.Errorf("--retry-errors: %q is no status of a failed line such as 503, 4xx or 5xx", word)
		}
	}
	return func(status int) bool { return chosen[status] }, nil
}

func (c *cli) bulk(ctx context.Context, b *bulkFlags, again func(int) bool, from, to string) (err error) {
	d, err := c.data()
	if err != nil {
		return err
	}
	in, size, err := c.bulkInput(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := c.bulkOutput(in, to, resume.OutputOptions{Again: again, Anew: b.restart})
	if err != nil {
		return err
	}
	p := resume.NewProgress(size)
	show := c.showProgress(p, out, b.quiet)
	err = resume.Run(ctx, resume.Options{Client: d, Query: b.query, In: in, Out: out, Progress: p, GiveUp: b.giveUp})
	if err == nil && !b.query.Ready {
		err = out.Order()
	}
	err = errors.Join(err, out.Close())
	s := show.end()
	return c.bulkEnd(s, to, err)
}

// bulkInput opens the input. size is 0 for what has none.
func (c *cli) bulkInput(path string) (in io.ReadCloser, size int64, err error) {
	if path == "-" {
		f, ok := c.in.(*os.File)
		if !ok {
			return io.NopCloser(c.in), 0, nil
		}
		in = f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		return in, size, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory", path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, nil
}

func (c *cli) bulkOutput(in io.Reader, path string, o resume.OutputOptions) (*resume.Output, error) {
	if path == "-" {
		if o.Again != nil || o.Anew {
			return nil, errors.New("--retry-errors and --restart need an output file: what went to the standard output is not known any more")
		}
		return resume.NewOutput(c.out), nil
	}
	if f, ok := in.(*os.File); ok {
		source, err := f.Stat()
		if there, statErr := os.Stat(path); err == nil && statErr == nil && os.SameFile(source, there) {
			return nil, fmt.Errorf("%s is the input: the answers need a file of their own", path)
		}
	}
	return resume.OpenOutput(path, o)
}

// bulkResult is what --json prints.
type bulkResult struct {
	Lines      int64   `json:"lines"`
	OK         int64   `json:"ok"`
	Failed     int64   `json:"failed"`
	Earlier    int64   `json:"earlier"`
	Whole      bool    `json:"whole"`
	Reconnects int     `json:"reconnects"`
	Seconds    float64 `json:"seconds"`
	Rate       float64 `json:"rate"`
}

// bulkEnd says how it went.
func (c *cli) bulkEnd(s resume.Snapshot, to string, err error) error {
	r := bulkResult{Lines: s.Lines, OK: s.OK, Failed: s.Failed, Earlier: s.Earlier, Whole: err == nil, Reconnects: s.Reconnects, Seconds: s.Elapsed.Seconds()}
	if r.Seconds > 0 {
		r.Rate = float64(s.Lines-s.Earlier) / r.Seconds
	}
	text := fmt.Sprintf("%s answered: %s ok, %s failed", count(int(s.Lines), "line"), grouped(s.OK), grouped(s.Failed))
	if s.Earlier > 0 {
		text += fmt.Sprintf(" (%s in earlier runs)", grouped(s.Earlier))
	}
	text += fmt.Sprintf(", in %s at %s/s", s.Elapsed.Round(100*time.Millisecond), grouped(int64(r.Rate)))
	switch {
	case c.asJSON && to != "-":
		if printErr := c.printJSON(r); printErr != nil && err == nil {
			err = printErr
		}
	default:
		fmt.Fprintln(c.err, text)
	}
	switch {
	case errors.Is(err, resume.ErrUnordered):
		fmt.Fprintln(c.err, "scheduler:", err)
	case err != nil && to != "-":
		return fmt.Errorf("%w\nit is not whole; the same command goes on where it stopped", err)
	case err != nil:
		return err
	}
	if s.Failed > 0 {
		hint := ""
		if to != "-" {
			hint = "; --retry-errors asks them again"
		}
		fmt.Fprintf(c.err, "scheduler: %s failed%s\n", count(int(s.Failed), "line"), hint)
		return silentError{}
	}
	return nil
}
