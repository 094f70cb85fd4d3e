package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/bench/report"
	"penstock/bench/servers"
)

func main() {
	clients := flag.Int("clients", 200, "clients of a crowd")
	write := flag.String("write", "", "put the tables into this file, in place of the last ones")
	install := flag.Bool("install", false, "install nginx and Varnish by apt-get first (root)")
	flag.Parse()
	err := error(nil)
	if *install {
		err = servers.Install("nginx-light", "varnish")
	}
	if err == nil {
		err = run(*clients, *write)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "herd:", err)
		os.Exit(1)
	}
}

func run(clients int, write string) error {
	dir, err := os.MkdirTemp("", "herd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o := newOrigin()
	s := httptest.NewServer(o)
	defer s.Close()
	list, err := start(servers.Place{Dir: dir, Origin: strings.TrimPrefix(s.URL, "http://")})
	defer func() {
		for _, one := range list {
			one.Stop()
		}
	}()
	if err != nil {
		return err
	}
	var stampede, stale strings.Builder
	fmt.Fprintf(&stampede, "%d clients at once on one cold key, origin of %v: calls of the origin, p50, answers that reached the wrong user.\n\n", clients, takes)
	fmt.Fprintln(&stampede, header("the first crowd on", list))
	for round, title := range []string{"", ", another key later"} {
		for _, c := range crowds {
			row := "| " + c.name + title + " |"
			for _, one := range list {
				got, err := c.gather(one, o, clients, round)
				if err != nil {
					return fmt.Errorf("%s: %w", one.Name, err)
				}
				row += fmt.Sprintf(" %d, %v, %d", got.calls, got.p50.Round(10*time.Millisecond), got.wrong)
				if got.refused > 0 {
					row += fmt.Sprintf(" (%d refused)", got.refused)
				}
				row += " |"
			}
			fmt.Fprintln(&stampede, row)
		}
	}
	fmt.Fprint(&stale, "A copy that is a second too old, and what its next client gets. *Right* is what the answer's own headers ask for.\n\n")
	fmt.Fprintln(&stale, header("", list))
	for _, path := range failureOrder {
		row := "| " + failures[path].name + " |"
		for _, one := range list {
			text, err := failures[path].try(one, o, path)
			if err != nil {
				return fmt.Errorf("%s: %w", one.Name, err)
			}
			row += " " + text + " |"
		}
		fmt.Fprintln(&stale, row)
	}
	fmt.Println(stampede.String())
	fmt.Println(stale.String())
	if write == "" {
		return nil
	}
	return errors.Join(report.Put(write, "stampede", stampede.String()), report.Put(write, "stale", stale.String()))
}

func header(first string, list []*servers.Server) string {
	names, rules := "| "+first+" |", "| --- |"
	for _, one := range list {
		names, rules = names+" "+one.Name+" |", rules+" --- |"
	}
	return names + "\n" + rules
}

// start starts what can be had. Penstock makes no second attempts here, as its peers make none.
func start(p servers.Place) (list []*servers.Server, err error) {
	binary, err := servers.BuildPenstock(p.Dir)
	if err != nil {
		return nil, err
	}
	for _, f := range []func() (*servers.Server, error){
		func() (*servers.Server, error) {
			return servers.Penstock(p, binary, servers.Variant{NoRetry: true, HeaderTimeout: patience})
		},
		func() (*servers.Server, error) { return servers.Nginx(p, patience) },
		func() (*servers.Server, error) { return servers.Varnish(p, patience) },
	} {
		one, err := f()
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

// gathered is what a crowd met. refused are those who got another status than the origin gives.
type gathered struct {
	calls, wrong, refused int
	p50                   time.Duration
}

func (c crowd) gather(s *servers.Server, o *origin, clients, round int) (gathered, error) {
	path := fmt.Sprintf("/%s/%s/key%d", s.Name, c.path, round)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var took []time.Duration
	var got gathered
	var failed error
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			<-begin
			d, refused, wrong, err := c.ask(client, s.Base+path, fmt.Sprintf("user-%d", i))
			mu.Lock()
			defer mu.Unlock()
			took = append(took, d)
			if wrong {
				got.wrong++
			}
			if refused {
				got.refused++
			}
			if err != nil {
				failed = err
			}
		})
	}
	close(begin)
	wg.Wait()
	if failed != nil {
		return got, failed
	}
	slices.Sort(took)
	got.calls, got.p50 = o.callsOf(path), took[len(took)/2]
	return got, nil
}

func (c crowd) ask(client *http.Client, url, user string) (took time.Duration, refused, wrong bool, err error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, false, false, err
	}
	req.Header.Set(userHeader, user)
	if c.of != "" {
		req.Header.Set(c.of, "id="+user)
	}
	begin := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, false, false, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	refused = resp.StatusCode != c.status
	return time.Since(begin), refused, !refused && c.personal && string(body) != user, err
}

// try has a copy stored, lets it grow stale, breaks the origin and asks again.
func (f failure) try(s *servers.Server, o *origin, name string) (string, error) {
	path := fmt.Sprintf("/%s/%s/key", s.Name, name)
	if _, _, err := get(s.Base + path); err != nil {
		return "", err
	}
	time.Sleep(2100 * time.Millisecond)
	o.breakDown(path)
	begin := time.Now()
	resp, body, err := get(s.Base + path)
	if err != nil {
		return "", err
	}
	took := time.Since(begin).Round(10 * time.Millisecond)
	stale := body == "version 1"
	what := fmt.Sprintf("%d", resp.StatusCode)
	if stale {
		what = "stale"
		if resp.Header.Get("Age") == "" {
			what += ", no Age"
		}
	}
	right := "right"
	if stale != f.stale || f.within && took >= takes {
		right = "**wrong**"
	}
	return fmt.Sprintf("%s: %s after %v", right, what, took), nil
}

func get(url string) (*http.Response, string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp, string(body), err
}
