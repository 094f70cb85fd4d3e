package app

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"penstock/api"
	"penstock/configs"
	"penstock/observe"
	"penstock/web"
)

// historySave is how often the history is written to disk.
const historySave = time.Minute

func historyOptions(m configs.Monitoring) observe.HistoryOptions {
	return observe.HistoryOptions{
		Fine:   observe.Tier{Step: m.SamplingInterval, Retention: m.Retention},
		Coarse: observe.Tier{Step: m.HistoryInterval, Retention: m.HistoryRetention},
	}
}

// newHistory makes the history, and reads what an earlier process left of it and of the alerts. What can't
// be read is told of; the service must come up.
func (a *App) newHistory(c *configs.Config) {
	a.history = observe.NewHistory(historyOptions(c.Monitoring))
	a.live = api.NewLive(func() any { return a.now() })
	dir := a.dataDir(c)
	if dir == "" {
		return
	}
	a.watched = []savedFile{
		{filepath.Join(dir, "history.penstock"), "history of signals", a.history},
		{filepath.Join(dir, "alerts.json"), "state of the alerts", a.alerts},
	}
	for _, k := range a.watched {
		if err := k.load(); err != nil {
			a.log.Warn("data_dir: the saved "+k.what+" can't be read; it begins anew", "file", k.path, "error", err)
		}
	}
}

// savedFile is a file of the data_dir that is read at the start and written now and then.
type savedFile struct {
	path, what string
	of         interface {
		Save(w io.Writer) error
		Load(r io.Reader, now time.Time) error
	}
}

func (k savedFile) load() error {
	f, err := os.Open(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return k.of.Load(f, time.Now())
}

// keepHistory writes the history and the alerts now and then, and once more at the end.
func (a *App) keepHistory(ctx context.Context) {
	if len(a.watched) == 0 {
		return
	}
	ticker := time.NewTicker(historySave)
	defer ticker.Stop()
	failed := make([]bool, len(a.watched))
	for {
		last := false
		select {
		case <-ticker.C:
		case <-ctx.Done():
			last = true
		}
		for i, k := range a.watched {
			err := writeFile(k.path, k.of.Save)
			if err != nil && !failed[i] {
				a.log.Warn("data_dir: the "+k.what+" can't be saved; it is tried again each minute", "file", k.path, "error", err)
			}
			failed[i] = err != nil
		}
		if last {
			return
		}
	}
}

// writeFile writes beside the file and renames, so that a kill leaves the old one or the new one.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// onSample judges the sample, keeps its values, and tells those who watch.
func (a *App) onSample(s observe.Sample) {
	a.alerts.Observe(s)
	values := s.Values()
	a.ownValues(values, s.At)
	a.history.Add(s.At, values)
	a.seen.sample(s, values)
	a.live.Tick(s.At)
}

// ownValues adds what the stages know and no window measures.
func (a *App) ownValues(v map[string]float64, at time.Time) {
	var byUrgency [8]int
	queued, connections := 0, 0
	for name, n := range a.table.Load().nodes {
		st := n.scheduler.Stats()
		v["workers/"+name] = float64(st.Permits)
		v["calls_in_flight/"+name] = float64(st.InFlight)
		v["queued/"+name] = float64(st.Queued)
		if st.Pace > 0 {
			v["pace/"+name] = st.Pace
		}
		for u, n := range st.QueuedByUrgency {
			byUrgency[u] += n
		}
		queued += st.Queued
		connections += n.client.State().Connections
	}
	v["queued"] = float64(queued)
	for u, n := range byUrgency {
		v["queued_u"+strconv.Itoa(u)] = float64(n)
	}
	v["upstream_connections"] = float64(connections)
	if a.data != nil {
		v["client_connections"] = float64(a.data.open.Load())
	}
	st := a.cache.Stats()
	v["cache_entries"], v["cache_bytes"] = float64(st.Entries), float64(st.Bytes)
	if rate, ok := a.seen.savedRate(a.savings(st).calls, at); ok {
		v["calls_saved_rate"] = rate
	}
	for _, k := range a.knobs.All() {
		v["knob/"+k.Spec().Name] = finite(k.Value())
	}
}

// adminHistory is the history as the admin plane sees it.
type adminHistory struct {
	a     *App
	pages *web.Handler
}

func (h adminHistory) Query(q api.HistoryQuery) api.HistoryRange {
	r := h.a.history.Query(observe.HistoryQuery(q))
	out := api.HistoryRange{From: r.From, To: r.To, Step: r.Step, Times: r.Times}
	for _, s := range r.Series {
		out.Series = append(out.Series, api.HistorySeries{Signal: s.Signal, Unit: observe.DescribeSignal(s.Signal).Unit, Values: s.Values})
	}
	return out
}

func (h adminHistory) Kept() (signals []api.HistorySignal, kept []api.HistoryTier) {
	for _, name := range h.a.history.Signals() {
		signals = append(signals, api.HistorySignal{Signal: name, Unit: observe.DescribeSignal(name).Unit})
	}
	for _, r := range h.a.history.Reaches() {
		kept = append(kept, api.HistoryTier{StepSeconds: r.Step.Seconds(), From: r.From, To: r.To})
	}
	return signals, kept
}

func (h adminHistory) Report(w io.Writer, from, to time.Time) error {
	return h.pages.Report(w, from, to)
}
