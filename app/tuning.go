package app

import (
	"maps"
	"slices"

	"penstock/configs"
	"penstock/observe"
	"penstock/tuner"
)

// plugs are what the tuner looks after under a configuration. A plug that stays keeps what it learned, so
// they are simply made anew at each reload.
func (a *App) plugs(c *configs.Config) []tuner.Plug {
	var plugs []tuner.Plug
	for _, name := range slices.Sorted(maps.Keys(c.Upstreams)) {
		plugs = append(plugs, a.workersPlug(name))
	}
	return plugs
}

func (a *App) workersPlug(upstream string) tuner.Plug {
	return tuner.Plug{
		Knob: "workers." + upstream, Kind: "workers", Upstream: upstream, Couple: upstream, Safer: -1,
		Slow: tuner.WorkersRule(a.window, upstream).Slow(),
	}
}

// onCall takes a finished upstream call.
func (a *App) onCall(c observe.Call) {
	a.window.OnCall(c)
	a.tuner.OnCall(c)
}
