package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"time"

	"penstock/bench/report"
	"penstock/bench/servers"
)

type settings struct {
	rounds      int
	seconds     float64
	connections int
	size        int
	serverCore  string
	loadCore    string
	only, write string
	keep        bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == servers.PlainArgument {
		fail(servers.ServePlain(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == loadArgument {
		fail(generate(os.Args[2:]))
		return
	}
	var s settings
	install := flag.Bool("install", false, "install nginx, Varnish and wrk by apt-get first (root)")
	flag.IntVar(&s.rounds, "rounds", 9, "rounds in which each server is asked once")
	flag.Float64Var(&s.seconds, "seconds", 3, "seconds for each server and round")
	flag.IntVar(&s.connections, "connections", 32, "connections")
	flag.IntVar(&s.size, "size", 1<<10, "bytes of the body")
	flag.StringVar(&s.serverCore, "core", "1", "the server's core")
	flag.StringVar(&s.loadCore, "load-core", "0", "the load's core")
	flag.StringVar(&s.only, "only", "", "only these servers, comma separated")
	flag.StringVar(&s.write, "write", "", "put the table into this file, in place of the last one")
	flag.BoolVar(&s.keep, "hold", false, "keep the servers until Enter, to profile them")
	flag.Parse()
	if *install {
		fail(servers.Install("nginx-light", "varnish", "wrk"))
	}
	fail(run(s))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "hotpath:", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	dir, err := os.MkdirTemp("", "hotpath")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	body := servers.Body(s.size)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("Etag", `"5f3c-1"`)
		_, _ = w.Write(body)
	}))
	defer origin.Close()
	place := servers.Place{Dir: dir, Core: s.serverCore, Origin: strings.TrimPrefix(origin.URL, "http://")}
	list, err := start(s, place)
	defer func() {
		for _, one := range list {
			one.Stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, one := range list {
		if err := check(one, body); err != nil {
			return err
		}
		fmt.Println(one.Name, one.Base)
	}
	if s.keep {
		fmt.Println("Enter ends it")
		_, _ = fmt.Scanln()
		return nil
	}
	load, tool := loader(s)
	m := make(measured)
	for range 2 { // unmeasured: what is compiled, grown and learned at first is not the point
		for _, one := range list {
			if _, err := load(one.Base+"/kib", time.Second); err != nil {
				return err
			}
		}
	}
	for round := range s.rounds {
		for i := range list {
			one := list[(i+round)%len(list)] // nobody always follows the same one
			got, err := load(one.Base+"/kib", time.Duration(s.seconds*float64(time.Second)))
			if err != nil {
				return fmt.Errorf("%s: %w", one.Name, err)
			}
			got.resident, _ = one.ResidentBytes()
			m[one.Name] = append(m[one.Name], got)
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, s.rounds)
	}
	text := m.table(list, s, tool)
	fmt.Print(text)
	if s.write != "" {
		return report.Put(s.write, "hotpath", text)
	}
	return nil
}

// start starts what can be had here.
func start(s settings, p servers.Place) (list []*servers.Server, err error) {
	binary, err := servers.BuildPenstock(p.Dir)
	if err != nil {
		return nil, err
	}
	for _, c := range []struct {
		name  string
		start func() (*servers.Server, error)
	}{
		{"nginx", func() (*servers.Server, error) { return servers.Nginx(p, "30s") }},
		{"varnish", func() (*servers.Server, error) { return servers.Varnish(p, "30s") }},
		{"net/http", func() (*servers.Server, error) { return servers.Plain(p, "net/http") }},
		{"chi+otter", func() (*servers.Server, error) { return servers.Plain(p, "chi+otter") }},
		{"penstock", func() (*servers.Server, error) { return servers.Penstock(p, binary, servers.Variant{}) }},
	} {
		if s.only != "" && !strings.Contains(","+s.only+",", ","+c.name+",") {
			continue
		}
		one, err := c.start()
		if missing, ok := errors.AsType[*servers.Missing](err); ok {
			fmt.Println("left out:", missing)
			continue
		}
		if err != nil {
			return list, err
		}
		list = append(list, one)
	}
	return list, nil
}

// check asks twice and sees that the whole body comes.
func check(s *servers.Server, body []byte) error {
	for range 3 {
		resp, err := http.Get(s.Base + "/kib")
		if err != nil {
			return err
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK || s.Name != "net/http" && string(got) != string(body) {
			return fmt.Errorf("%s answers %d with %d bytes", s.Name, resp.StatusCode, len(got))
		}
	}
	return nil
}

// loader is wrk where it is installed.
func loader(s settings) (load func(url string, d time.Duration) (sample, error), tool string) {
	if path, err := exec.LookPath("wrk"); err == nil {
		return func(url string, d time.Duration) (sample, error) { return wrk(s, path, url, d) }, "wrk"
	}
	return func(url string, d time.Duration) (sample, error) { return own(s, url, d) }, "our own generator, as wrk is not installed"
}
