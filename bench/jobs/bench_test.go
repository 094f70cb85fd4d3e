package jobs

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"penstock/engine/natsengine"
	"penstock/jobs"
)

// open opens a service whose jobs never become due, so that only their keeping is measured.
func open(b *testing.B, interval time.Duration) (*jobs.Service, string) {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "engine")
	e, err := natsengine.Open(b.Context(), natsengine.Options{Dir: dir, SyncInterval: interval})
	if err != nil {
		b.Fatal(err)
	}
	s, err := jobs.New(b.Context(), jobs.Options{
		Engine: e, Settings: jobs.Settings{MaxStored: 10_000_000, Running: 256},
		Run: func(context.Context, *jobs.Job) (*jobs.Answer, error) {
			return &jobs.Answer{Status: 200, Body: make([]byte, 1024)}, nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	b.Cleanup(func() {
		s.Stop(context.Background())
		_ = e.Close(context.Background())
	})
	return s, dir
}

func spec(n int64, at time.Time) jobs.Spec {
	return jobs.Spec{Route: "line", Call: fmt.Appendf(nil, `{"route":"line","params":{"n":"%d"}}`, n), Urgency: 3, RunAt: at}
}

// BenchmarkSubmit is the time from the call to the job's being durable. It also tells bytes of disk a job.
func BenchmarkSubmit(b *testing.B) {
	for name, interval := range map[string]time.Duration{"always": 0, "interval": time.Second} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("sync=%s/callers=%d", name, callers), func(b *testing.B) {
				s, dir := open(b, interval)
				later := time.Now().Add(time.Hour)
				var n atomic.Int64
				b.SetParallelism(callers / 2) // times GOMAXPROCS, of which the figures name 2
				if callers == 1 {
					for b.Loop() {
						submit(b, s, spec(n.Add(1), later))
					}
				} else {
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							submit(b, s, spec(n.Add(1), later))
						}
					})
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
				if b.N > 1000 {
					b.ReportMetric(float64(onDisk(b, dir))/float64(n.Load()), "disk-B/job")
				}
			})
		}
	}
}

// BenchmarkWhole is a job's whole life: accepted, run at once, its result of 1 KiB kept.
func BenchmarkWhole(b *testing.B) {
	for name, interval := range map[string]time.Duration{"always": 0, "interval": time.Second} {
		b.Run("sync="+name, func(b *testing.B) {
			s, _ := open(b, interval)
			var n atomic.Int64
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					submit(b, s, spec(n.Add(1), time.Time{}))
				}
			})
			for tick := time.NewTicker(time.Millisecond); s.Counts()[jobs.Done] < int(n.Load()); {
				<-tick.C
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
}

func submit(b *testing.B, s *jobs.Service, spec jobs.Spec) {
	if _, _, err := s.Submit(b.Context(), spec); err != nil {
		b.Error(err)
	}
}

// onDisk is the size of the files under dir.
func onDisk(b *testing.B, dir string) (n int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return nil // a file may have gone meanwhile
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
