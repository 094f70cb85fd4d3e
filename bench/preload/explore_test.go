package preload

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock/preload/learn"
)

func load(path string) ([]Row, int) {
	f, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	z, _ := gzip.NewReader(f)
	sc := bufio.NewScanner(z)
	sc.Buffer(make([]byte, 1<<20), 1<<20)
	sc.Scan()
	keys, clients := map[string]uint32{}, map[string]uint32{}
	var rows []Row
	var first int64
	for sc.Scan() {
		l := sc.Text()
		i := strings.IndexByte(l, ',')
		at, _ := strconv.ParseInt(l[:i], 10, 64)
		l = l[i+1:]
		i = strings.IndexByte(l, ',')
		c := l[:i]
		l = l[i+1:]
		l = l[:strings.LastIndexByte(l, ',')]
		if len(rows) == 0 {
			first = at
		}
		id := func(m map[string]uint32, s string) uint32 {
			v, ok := m[s]
			if !ok {
				v = uint32(len(m))
				m[s] = v
			}
			return v
		}
		n, _ := strconv.ParseInt(l, 10, 64)
		rows = append(rows, Row{At: (at-first)*1e6 + 1, Client: id(clients, c), Key: id(keys, l), Number: n})
	}
	return rows, len(keys)
}

func env(name string, d float64) float64 {
	if v, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
		return v
	}
	return d
}

func TestExplore(t *testing.T) {
	paths, _ := filepath.Glob("../../../shared/traces/*.csv.gz")
	sort.Strings(paths)
	Touch = int(env("TOUCH", 0))
	Side = env("SIDE", 0)
	only := os.Getenv("ONLY")
	for _, p := range paths {
		if only != "" && !strings.Contains(p, only) {
			continue
		}
		rows, keys := load(p)
		if len(rows) > int(env("ROWS", 1e9)) {
			rows = rows[:int(env("ROWS", 1e9))]
		}
		fmt.Printf("%s rows %d keys %d\n", filepath.Base(p), len(rows), keys)
		for _, s := range []Setup{{Capacity: keys / 100}, {Capacity: keys / 20}, {Capacity: keys / 10}, {Capacity: keys / 20, Latency: 200e6}, {TTL: 600e9, Latency: 200e6}} {
			if c := os.Getenv("SETUP"); c != "" && c != fmt.Sprint(s.Capacity*100/keys, s.TTL > 0) && !strings.Contains(c, fmt.Sprintf("%d%v", (s.Capacity*100+99)/keys, s.TTL > 0)) {
				continue
			}
			none := RunNone(rows, s)
			calls := float64(none.Misses)
			show := func(name string, w *World, d time.Duration) {
				n := float64(w.Rows) / 100
				fmt.Printf("   %-8s %5.1f (+%4.1f) prec %3.0f extra %+6.1f  issued %d used %d late %d evicted %d ended %d  %v\n", name, float64(w.Hits+w.Collapsed)/n, float64(w.Late)/n,
					100*float64(w.Used+w.UsedLate)/float64(max(w.Issued, 1)), 100*(float64(w.Misses+w.Issued)/calls-1), w.Issued, w.Used, w.UsedLate, w.Evicted, w.Ended, d.Round(time.Millisecond))
			}
			fmt.Printf("  cap %d%% ttl %v lat %v\n", s.Capacity*100/keys+1, time.Duration(s.TTL), time.Duration(s.Latency))
			show("none", none, 0)
			if os.Getenv("BASE") != "" {
				show("markov2", RunMarkov(rows, s, 2, .25), 0)
				show("markov4", RunMarkov(rows, s, 4, .05), 0)
			}
			reps := int(env("REPS", 1))
			if reps > 1 {
				var h, x float64
				for range reps {
					n := RunNone(rows, s)
					h += float64(n.Hits+n.Collapsed) / float64(n.Rows) * 100
					x += float64(n.Misses)
				}
				calls = x / float64(reps)
				fmt.Printf("   none mean %5.2f\n", h/float64(reps))
				h, x = 0, 0
				for range reps {
					n, _ := RunModel(rows, s, options())
					h += float64(n.Hits+n.Collapsed) / float64(n.Rows) * 100
					x += float64(n.Misses + n.Issued)
				}
				fmt.Printf("   model mean %5.2f extra %+.2f\n", h/float64(reps), 100*(x/float64(reps)/calls-1))
				continue
			}
			start := time.Now()
			w, m := RunModel(rows, s, options())
			show("model", w, time.Since(start))
			fmt.Printf("     wouldmiss %d vs none %d\n", m.Misses(), none.Misses)
			for i := range learn.Sources {
				c := m.Counts(i)
				if c.Predicted > 0 {
					fmt.Printf("      source %d: %+v\n", i, c)
				}
			}
		}
	}
}

func options() learn.Options {
	o := learn.Options{Keys: 1 << 17, Contexts: 1 << 18, Sessions: 1 << 14, Floor: env("FLOOR", .2), Budget: env("BUDGET", .1), Precision: .5}
	for s := range learn.Sources {
		o.Off[s] = int(env("OFF", 0))&(1<<s) != 0
	}
	return o
}
