package observe

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// Process is what the process uses.
type Process struct {
	// CPUSeconds is the processor time used since the start, user and system.
	CPUSeconds float64 `json:"cpu_seconds"`
	// CPURatio is the processor time used since the sample before, in cores; only in a Sample.
	CPURatio float64 `json:"cpu_ratio"`
	// ResidentBytes is the memory held; where the system does not tell, what the Go runtime got.
	ResidentBytes uint64 `json:"resident_bytes"`
	HeapBytes     uint64 `json:"heap_bytes"`
	Goroutines    int    `json:"goroutines"`
	// OpenFDs is the number of open files and sockets, MaxFDs the limit; 0 if the system does not
	// tell.
	OpenFDs int `json:"open_fds"`
	MaxFDs  int `json:"max_fds"`
	// GCCycles counts the collections.
	GCCycles uint64 `json:"gc_cycles"`
	// MaxProcs is how many cores the process may use.
	MaxProcs int `json:"max_procs"`
}

const (
	metricHeap     = "/memory/classes/heap/objects:bytes"
	metricTotal    = "/memory/classes/total:bytes"
	metricReleased = "/memory/classes/heap/released:bytes"
	metricCycles   = "/gc/cycles/total:gc-cycles"
)

// ReadProcess reads what the process uses now. It costs some ten microseconds, and grows with the
// number of open files.
func ReadProcess() Process {
	samples := []metrics.Sample{{Name: metricHeap}, {Name: metricTotal}, {Name: metricReleased}, {Name: metricCycles}}
	metrics.Read(samples)
	p := Process{
		HeapBytes: samples[0].Value.Uint64(), ResidentBytes: samples[1].Value.Uint64() - samples[2].Value.Uint64(),
		GCCycles: samples[3].Value.Uint64(), Goroutines: runtime.NumGoroutine(), MaxProcs: runtime.GOMAXPROCS(0),
	}
	readSystem(&p)
	return p
}

// processCache lets the gauges of one scrape share one reading.
type processCache struct {
	mu   sync.Mutex // guards what follows
	at   time.Time
	last Process
}

func (c *processCache) read() Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) > 100*time.Millisecond {
		c.last, c.at = ReadProcess(), time.Now()
	}
	return c.last
}

// RegisterProcess adds the process's own metrics under the names that Prometheus's client libraries
// use. started is the start of the process.
func RegisterProcess(s *Scope, started time.Time) {
	c := new(processCache)
	gauge := func(name, help string, f func(Process) float64) {
		s.Gauge(name, func() float64 { return f(c.read()) })
		s.Help(name, help)
	}
	counter := func(name, help string, f func(Process) float64) {
		s.CounterFunc(name, func() float64 { return f(c.read()) })
		s.Help(name, help)
	}
	counter("process_cpu_seconds_total", "Processor time used, user and system.", func(p Process) float64 { return p.CPUSeconds })
	gauge("process_resident_memory_bytes", "Memory held.", func(p Process) float64 { return float64(p.ResidentBytes) })
	gauge("process_open_fds", "Open files and sockets.", func(p Process) float64 { return float64(p.OpenFDs) })
	gauge("process_max_fds", "The limit on open files and sockets.", func(p Process) float64 { return float64(p.MaxFDs) })
	gauge("go_goroutines", "Goroutines that exist.", func(p Process) float64 { return float64(p.Goroutines) })
	gauge("go_memstats_heap_alloc_bytes", "Heap memory in use by objects.", func(p Process) float64 { return float64(p.HeapBytes) })
	counter("go_gc_cycles_total", "Garbage collections.", func(p Process) float64 { return float64(p.GCCycles) })
	gauge("go_sched_gomaxprocs_threads", "Cores that the process may use.", func(p Process) float64 { return float64(p.MaxProcs) })

	seconds := float64(started.UnixNano()) / 1e9
	s.Gauge("process_start_time_seconds", func() float64 { return seconds })
	s.Help("process_start_time_seconds", "Start of the process, seconds since 1970.")
	s.With("version", runtime.Version()).Gauge("go_info", func() float64 { return 1 })
	s.Help("go_info", "The Go version that built the program.")
}
