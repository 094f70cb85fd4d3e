package app

import (
	"net"
	"net/netip"

	"penstock/configs"
	"penstock/tuner"
)

// applySettings puts in force what stages take one by one and can't refuse. The first
// configuration finds them made with these settings already.
func (a *App) applySettings(c *configs.Config) {
	mode, err := tuner.ParseMode(c.Tuning.Mode)
	if err != nil {
		a.log.Error("the tuning mode was not understood", "error", err) // configs checked it
	}
	a.tuner.SetMode(mode)
	a.tuner.SetModes(modesOf(c.Tuning))
	a.tuner.SetInterval(c.Tuning.Interval)
	a.tuner.SetAppetite(appetiteOf(c.Tuning))
	a.tuner.SetPlugs(a.plugs(c))
	a.applyJobs(c)
	a.applyLeases(c)
	a.sampler.Apply(c.Monitoring.SamplingInterval)
	a.history.Apply(historyOptions(c.Monitoring))
	a.preload.SetMaxItems(c.Preload.MaxItems)
}

func (a *App) tunerOptions() tuner.Options {
	return tuner.Options{Knobs: a.knobs, Signals: a.window, Ledger: a.ledger, Tape: a.tape.recorder(), Scope: a.metrics.Process(), Log: a.log}
}

func (a *App) lastReloadFailed() bool {
	last := a.LastReload()
	return last != nil && last.Err != nil
}

func (a *App) registerMetrics() {
	s := a.metrics.Process()
	s.Help("penstock_config_reloads_total", "Reloads of the configuration, by result.")
	s.With("result", "ok").CounterFunc("penstock_config_reloads_total", func() float64 { return float64(a.reloads.ok.Load()) })
	s.With("result", "failed").CounterFunc("penstock_config_reloads_total", func() float64 { return float64(a.reloads.bad.Load()) })
	s.Help("penstock_config_last_reload_successful", "1 unless the last reload failed.")
	s.Gauge("penstock_config_last_reload_successful", func() float64 { return truth(!a.lastReloadFailed()) })
	a.registerAlertMetrics()
	s.Help("penstock_ready", "1 while new requests are welcome.")
	s.Gauge("penstock_ready", func() float64 { return truth(!a.draining.Load()) })
	s.Help("penstock_build_info", "Always 1; the label says the version.")
	s.With("version", a.o.Version).Gauge("penstock_build_info", func() float64 { return 1 })
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// loopback reports whether a host:port is reachable from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}
