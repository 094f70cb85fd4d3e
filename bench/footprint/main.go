package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"penstock/bench/report"
	"penstock/bench/servers"
)

// fillings are the sizes of bodies, and how many are stored: some 20 to 50 MB for each.
var fillings = []struct{ size, count int }{
	{100, 20_000}, {1 << 10, 20_000}, {10 << 10, 4_000}, {100 << 10, 400},
}

// room is far more than any filling takes.
const room = 2 << 30

func main() {
	write := flag.String("write", "", "put the table into this file, in place of the last one")
	only := flag.String("only", "", "only this server")
	flag.Parse()
	if err := run(*only, *write); err != nil {
		fmt.Fprintln(os.Stderr, "footprint:", err)
		os.Exit(1)
	}
}

func run(only, write string) error {
	dir, err := os.MkdirTemp("", "footprint")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := servers.BuildPenstock(dir)
	if err != nil {
		return err
	}
	origin := httptest.NewServer(http.HandlerFunc(serveSized))
	defer origin.Close()
	var b strings.Builder
	b.WriteString("Bytes of memory for each stored answer, beyond its body, and of disk in all.\n\n")
	b.WriteString("| body | answers | server | memory beyond the body | counted beyond the body | memory by what is counted | disk |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, f := range fillings {
		for _, start := range []func(servers.Place) (*servers.Server, error){
			func(p servers.Place) (*servers.Server, error) {
				return servers.Penstock(p, binary, servers.Variant{NoCompression: true, MaxBytes: room})
			},
			func(p servers.Place) (*servers.Server, error) { return servers.Nginx(p, "30s") },
			func(p servers.Place) (*servers.Server, error) { return servers.Varnish(p, "30s") },
		} {
			row, err := measure(dir, strings.TrimPrefix(origin.URL, "http://"), only, f.size, f.count, start)
			if err != nil {
				return err
			}
			if row != "" {
				fmt.Fprint(os.Stderr, row)
				b.WriteString(row)
			}
		}
	}
	fmt.Print(b.String())
	if write != "" {
		return report.Put(write, "footprint", b.String())
	}
	return nil
}

// serveSized answers /SIZE/KEY with a body of so many bytes.
func serveSized(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	size := 0
	if len(parts) == 3 {
		size, _ = strconv.Atoi(parts[1])
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Etag", `"`+r.URL.Path+`"`)
	_, _ = w.Write(servers.Body(size))
}

// measure fills one server, empty if it is not there or not asked for.
func measure(parent, origin, only string, size, count int, start func(servers.Place) (*servers.Server, error)) (row string, err error) {
	dir, err := os.MkdirTemp(parent, "one")
	if err != nil {
		return "", err
	}
	s, err := start(servers.Place{Dir: dir, Origin: origin})
	if missing, ok := errors.AsType[*servers.Missing](err); ok {
		fmt.Fprintln(os.Stderr, "left out:", missing)
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer s.Stop()
	if only != "" && s.Name != only {
		return "", nil
	}
	if err := fill(s, size, count, func(int) int { return 0 }); err != nil {
		return "", err
	}
	before, err := look(s)
	if err != nil {
		return "", err
	}
	if err := fill(s, size, count, func(i int) int { return i + 1 }); err != nil {
		return "", err
	}
	after, err := look(s)
	if err != nil {
		return "", err
	}
	each := func(n int64) float64 { return float64(n) / float64(count) }
	memory, disk, counted := after.memory-before.memory, after.disk-before.disk, after.counted-before.counted
	row = fmt.Sprintf("| %d | %d | %s |", size, count, s.Name)
	if disk > 0 { // the bodies are there
		row += fmt.Sprintf(" %.0f | - | - | %.0f |\n", each(memory), each(disk))
	} else if counted > 0 {
		row += fmt.Sprintf(" %.0f | %.0f | %.2f | - |\n", each(memory)-float64(size), each(counted)-float64(size), float64(memory)/float64(counted))
	} else {
		row += fmt.Sprintf(" %.0f | - | - | - |\n", each(memory)-float64(size))
	}
	return row, nil
}

// fill asks for so many keys, some at once.
func fill(s *servers.Server, size, count int, key func(i int) int) error {
	const clients = 8
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	var once sync.Once
	var failed error
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				if err := ask(client, fmt.Sprintf("%s/%d/%d", s.Base, size, key(int(i))), size); err != nil {
					once.Do(func() { failed = err })
					return
				}
			}
		})
	}
	wg.Wait()
	return failed
}

func ask(client *http.Client, url string, size int) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n != int64(size)) {
		err = fmt.Errorf("%s: status %d with %d bytes", url, resp.StatusCode, n)
	}
	return err
}

// state is what a server takes; counted is what Penstock says itself.
type state struct{ memory, disk, counted int64 }

func look(s *servers.Server) (state, error) {
	var now state
	var err error
	if now.memory, err = s.ResidentBytes(); err != nil {
		return now, err
	}
	if s.Store != "" {
		err = filepath.WalkDir(s.Store, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				now.disk += stat.Blocks * 512
			}
			return nil
		})
	}
	if s.Admin != "" {
		now.counted, err = counted(s.Admin)
	}
	return now, err
}

func counted(admin string) (int64, error) {
	resp, err := http.Get(admin + "/admin/v1/cache")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var stats struct {
		Bytes int64 `json:"bytes"`
	}
	err = json.NewDecoder(resp.Body).Decode(&stats)
	return stats.Bytes, err
}
