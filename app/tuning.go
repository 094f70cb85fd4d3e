package app

import (
	"maps"
	"slices"
	"time"

	"penstock/configs"
	"penstock/observe"
	"penstock/tuner"
)

// plugs are what the tuner looks after under a configuration. A plug that stays keeps what it learned, so
// they are simply made anew at each reload.
func (a *App) plugs(c *configs.Config) []tuner.Plug {
	var plugs []tuner.Plug
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		plugs = append(plugs, a.workersPlug(name), a.quotaPlug(name))
		plugs = append(plugs, a.flowPlugs(c, name)...)
	}
	plugs = append(plugs, a.ttlPlugs(c)...)
	plugs = append(plugs, a.memoryPlugs(c)...)
	plugs = append(plugs, a.preloadPlugs(c)...)
	return plugs
}

func (a *App) workersPlug(upstream string) tuner.Plug {
	return tuner.Plug{
		Knob: "workers." + upstream, Kind: "search", Upstream: upstream, Couple: upstream, Safer: -1,
		Fast: tuner.NewSearch(),
	}
}

// onCall takes a finished upstream call.
func (a *App) onCall(c observe.Call) {
	a.window.OnCall(c)
	a.flow(c.Upstream).OnCall(c, time.Now())
	a.tuner.OnCall(c)
}

// appetiteOf is how bold a configuration wants the tuner.
func appetiteOf(t configs.Tuning) tuner.Appetite {
	if t.ProbeRatio == 0 {
		t.ProbeRatio = -1 // none at all; the tuner's own zero is its default
	}
	if t.CoolDown == 0 {
		t.CoolDown = -1
	}
	return tuner.Appetite{
		StepRatio: t.StepRatio, ProbeRatio: t.ProbeRatio, StaleRatio: t.StaleRatio,
		LatencyRiseRatio: t.LatencyRiseRatio, ErrorRiseRatio: t.ErrorRiseRatio,
		LatencyLimit: t.LatencyLimit, ErrorLimitRatio: t.ErrorLimitRatio,
		CoolDown: t.CoolDown, Evaluation: t.Evaluation, MinSamples: t.MinSamples,
	}
}

func modesOf(t configs.Tuning) map[string]tuner.Mode {
	modes := make(map[string]tuner.Mode, len(t.Modes))
	for name, m := range t.Modes {
		modes[name] = tuner.Mode(m) // configs checked it
	}
	return modes
}
