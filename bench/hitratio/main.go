package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"penstock/bench/report"
	"penstock/bench/traces"
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
	b.WriteString("| trace | requests | keys | Penstock's cache | plain LRU | optimum |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, path := range paths {
		keys, distinct, err := traces.Keys(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		row := fmt.Sprintf("| %s | %d | %d |", strings.TrimSuffix(filepath.Base(path), ".csv.gz"), len(keys), distinct)
		for _, policy := range []func([]uint32, int) (int, error){
			replay,
			func(keys []uint32, room int) (int, error) { return traces.LRU(keys, room), nil },
			func(keys []uint32, room int) (int, error) { return traces.Optimum(keys, room), nil },
		} {
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
		fmt.Fprintln(os.Stderr, row)
		b.WriteString(row + "\n")
	}
	fmt.Print(b.String())
	if write != "" {
		return report.Put(write, "hitratio", b.String())
	}
	return nil
}
