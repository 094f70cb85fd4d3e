package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"penstock/app"
	"penstock/configs"
)

// version is set by the build.
var version = ""

// The exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

func main() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	c := &cli{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ(), signals: signals,
		newService: func(o app.Options) (service, error) {
			o.PaceGC = true // the process is ours
			return app.New(o)
		},
	}
	os.Exit(c.run(context.Background(), os.Args[1:]))
}

// service is what run and demo need of package app.
type service interface {
	Start()
	Stop(ctx context.Context) error
	Reload(trigger string) ([]configs.Change, error)
	DataAddr() string
	AdminAddr() string
	Failed() <-chan error
}

// cli is the command line with all that it touches.
type cli struct {
	in         io.Reader
	out, err   io.Writer
	env        []string
	signals    <-chan os.Signal
	newService func(app.Options) (service, error)

	url, adminURL, tokenFile string
	asJSON                   bool
}

// run runs one command line and returns its exit code.
func (c *cli) run(ctx context.Context, args []string) int {
	root := c.rootCommand()
	root.SetArgs(args)
	root.SetOut(c.out)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[silentError](err); ok {
		return exitFailed
	}
	fmt.Fprintln(c.err, "scheduler:", err)
	if usage, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(c.err, "Run '%s --help' for what it takes.\n", usage.command)
		return exitUsage
	}
	return exitFailed
}

// usageError says that the command line is wrong, not the world.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// silentError fails a command that has said everything already.
type silentError struct{}

func (silentError) Error() string { return "failed" }

// buildVersion is the version that the build set, or what Go knows of it.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

// getenv looks a variable up; the last one of a name counts.
func (c *cli) getenv(name string) string {
	value := ""
	for _, line := range c.env {
		if len(line) > len(name) && line[len(name)] == '=' && line[:len(name)] == name {
			value = line[len(name)+1:]
		}
	}
	return value
}
