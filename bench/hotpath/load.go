package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// sample is one server's result in one round.
type sample struct {
	perSecond float64
	p50, p99  time.Duration
	resident  int64
}

var (
	wrkRate    = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkLatency = regexp.MustCompile(`(?m)^\s+(50|99)%\s+(\S+)`)
	wrkErrors  = regexp.MustCompile(`(?m)^\s+(Non-2xx.*|Socket errors.*)$`)
)

func wrk(s settings, path, target string, d time.Duration) (sample, error) {
	seconds := max(1, int(d.Seconds()+0.5)) // wrk knows whole ones only
	out, err := exec.Command("taskset", "-c", s.loadCore, path, "-t1", "-c"+strconv.Itoa(s.connections),
		"-d"+strconv.Itoa(seconds)+"s", "--latency", target).CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if bad := wrkErrors.Find(out); bad != nil {
		return sample{}, fmt.Errorf("wrk: %s", bad)
	}
	rate := wrkRate.FindSubmatch(out)
	if rate == nil {
		return sample{}, fmt.Errorf("wrk says no rate: %s", out)
	}
	var got sample
	if got.perSecond, err = strconv.ParseFloat(string(rate[1]), 64); err != nil {
		return sample{}, err
	}
	for _, m := range wrkLatency.FindAllSubmatch(out, -1) {
		d, err := time.ParseDuration(string(m[2]))
		if err != nil {
			return sample{}, err
		}
		if string(m[1]) == "50" {
			got.p50 = d
		} else {
			got.p99 = d
		}
	}
	return got, nil
}

// loadArgument makes this program the load generator.
const loadArgument = "-generate"

// own runs this program as the generator, on the load's core.
func own(s settings, target string, d time.Duration) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	out, err := exec.Command("taskset", "-c", s.loadCore, self, loadArgument, target, strconv.Itoa(s.connections), d.String()).Output()
	if err != nil {
		return sample{}, fmt.Errorf("the load generator: %w", err)
	}
	var got sample
	_, err = fmt.Sscan(string(out), &got.perSecond, (*int64)(&got.p50), (*int64)(&got.p99))
	return got, err
}

// generate keeps so many connections busy with one GET after another, and prints requests per second,
// median and 99th percentile in nanoseconds. It writes the request and reads the answer without
// net/http's client, which would cost more than the servers.
func generate(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%s takes URL, connections and duration", loadArgument)
	}
	u, err := url.Parse(args[0])
	if err != nil {
		return err
	}
	connections, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range connections {
		wg.Go(func() {
			took, err := keepAsking(u, end)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil || len(all) == 0 {
		return fmt.Errorf("the load broke off: %v", failed)
	}
	slices.Sort(all)
	fmt.Println(float64(len(all))/d.Seconds(), int64(all[len(all)/2]), int64(all[len(all)*99/100]))
	return nil
}

func keepAsking(u *url.URL, end time.Time) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	question := []byte("GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\n\r\n")
	r := bufio.NewReaderSize(conn, 32<<10)
	var took []time.Duration
	for {
		start := time.Now()
		if start.After(end) {
			return took, nil
		}
		if _, err := conn.Write(question); err != nil {
			return took, err
		}
		if err := skipAnswer(r); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
	}
}

const lengthName = "content-length:"

// skipAnswer reads one answer with a Content-Length.
func skipAnswer(r *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && (len(line) < 12 || line[9] != '2') {
			return fmt.Errorf("the answer is %q", line)
		}
		if len(line) <= 2 {
			break
		}
		if len(line) > len(lengthName) && hasFold(line, lengthName) {
			n := 0
			for _, c := range line[len(lengthName):] {
				if c >= '0' && c <= '9' {
					n = n*10 + int(c-'0')
				}
			}
			length = n
		}
	}
	if length < 0 {
		return fmt.Errorf("the answer has no Content-Length")
	}
	_, err := io.CopyN(io.Discard, r, int64(length))
	return err
}

// hasFold reports whether line begins with name, which is in lower case.
func hasFold(line []byte, name string) bool {
	for i := range len(name) {
		if c := line[i]; c != name[i] && c|0x20 != name[i] {
			return false
		}
	}
	return true
}
