package main

import (
	"compress/gzip"
	"container/heap"
	"container/list"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/maypok86/otter/v2"

	"penstock/bench/report"
)

var shares = []float64{0.01, 0.05, 0.10}

func main() {
	write := flag.String("write", "", "put the table into this file, in place of the last one")
	flag.Parse()
	if err := run(flag.Args(), *write); err != nil {
		fmt.Fprintln(os.Stderr, "hitratio:", err)
		os.Exit(1)
	}
}

func run(paths []string, write string) error {
	if len(paths) == 0 {
		return errors.New("name the traces (csv.gz)")
	}
	var b strings.Builder
	b.WriteString("Hits in percent with room for 1, 5 and 10 % of the keys.\n\n")
	b.WriteString("| trace | requests | keys | Penstock (W-TinyLFU) | plain LRU | optimum |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, path := range paths {
		keys, distinct, err := read(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		row := fmt.Sprintf("| %s | %d | %d |", strings.TrimSuffix(filepath.Base(path), ".csv.gz"), len(keys), distinct)
		for _, policy := range []func([]int32, int) (int, error){tinyLFU, lru, optimum} {
			cells := make([]string, len(shares))
			for i, share := range shares {
				hits, err := policy(keys, max(1, int(share*float64(distinct))))
				if err != nil {
					return err
				}
				cells[i] = fmt.Sprintf("%.1f", 100*float64(hits)/float64(len(keys)))
			}
			row += " " + strings.Join(cells, " / ") + " |"
		}
		b.WriteString(row + "\n")
	}
	fmt.Print(b.String())
	if write != "" {
		return report.Put(write, "hitratio", b.String())
	}
	return nil
}

// read numbers the keys of a trace in order of appearance.
func read(path string) (keys []int32, distinct int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, 0, err
	}
	rows := csv.NewReader(z)
	rows.ReuseRecord = true
	if _, err := rows.Read(); err != nil {
		return nil, 0, err
	}
	numbers := make(map[string]int32)
	for {
		row, err := rows.Read()
		if err == io.EOF {
			return keys, len(numbers), nil
		}
		if err != nil {
			return nil, 0, err
		}
		if len(row) < 3 {
			return nil, 0, errors.New("a row has no key")
		}
		n, ok := numbers[row[2]]
		if !ok {
			n = int32(len(numbers))
			numbers[strings.Clone(row[2])] = n
		}
		keys = append(keys, n)
	}
}

// tinyLFU is the store as Penstock uses it: bounded by weight, expiry by calculator, work done at once.
func tinyLFU(keys []int32, room int) (int, error) {
	c, err := otter.New(&otter.Options[int32, struct{}]{
		MaximumWeight: uint64(room),
		Weigher:       func(int32, struct{}) uint32 { return 1 },
		Executor:      func(f func()) { f() },
	})
	if err != nil {
		return 0, err
	}
	hits := 0
	for _, k := range keys {
		if _, ok := c.GetIfPresent(k); ok {
			hits++
		} else {
			c.Set(k, struct{}{})
			c.CleanUp()
		}
	}
	c.StopAllGoroutines()
	return hits, nil
}

func lru(keys []int32, room int) (int, error) {
	order, at := list.New(), make(map[int32]*list.Element, room)
	hits := 0
	for _, k := range keys {
		if e, ok := at[k]; ok {
			order.MoveToFront(e)
			hits++
			continue
		}
		if order.Len() == room {
			last := order.Back()
			delete(at, order.Remove(last).(int32))
		}
		at[k] = order.PushFront(k)
	}
	return hits, nil
}

// optimum is Belady's, which knows the future: what is asked for again last gives way.
func optimum(keys []int32, room int) (int, error) {
	next := make([]int, len(keys))
	last := make(map[int32]int)
	for i := len(keys) - 1; i >= 0; i-- {
		next[i] = math.MaxInt
		if n, ok := last[keys[i]]; ok {
			next[i] = n
		}
		last[keys[i]] = i
	}
	stored := make(map[int32]int, room) // key to its next use
	var far farthest
	hits := 0
	for i, k := range keys {
		if _, ok := stored[k]; ok {
			hits++
		} else if len(stored) >= room {
			for {
				top := heap.Pop(&far).(use)
				if at, ok := stored[top.key]; ok && at == top.at {
					delete(stored, top.key)
					break
				}
			}
		}
		stored[k] = next[i]
		heap.Push(&far, use{k, next[i]})
		if len(stored) > room {
			return 0, errors.New("the optimum overflowed")
		}
	}
	return hits, nil
}

// use is when a key is asked for next.
type use struct {
	key int32
	at  int
}

// farthest is a heap with the latest next use on top; outdated uses are skipped when popped.
type farthest []use

func (f farthest) Len() int           { return len(f) }
func (f farthest) Less(i, j int) bool { return f[i].at > f[j].at }
func (f farthest) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *farthest) Push(x any)        { *f = append(*f, x.(use)) }
func (f *farthest) Pop() any {
	old := *f
	last := old[len(old)-1]
	*f = old[:len(old)-1]
	return last
}
