package app

import (
	"penstock/configs"
	"penstock/tracing"
)

// prepareTracing reads the options of tracing with their secrets; commit puts them in force.
func (a *App) prepareTracing(l *configs.Loaded) (commit func(), err error) {
	t := l.Config.Tracing
	o := tracing.Options{
		Enabled: t.Enabled, Endpoint: t.Endpoint, SampleRatio: t.SampleRatio, FollowParent: t.FollowParent,
		ServiceName: t.ServiceName, Version: a.o.Version, Timeout: t.Timeout, QueueSize: t.QueueSize,
	}
	if t.Enabled {
		if o.Header, err = secretHeader(l, "tracing.credentials", t.Credentials); err != nil {
			return nil, err
		}
	}
	return a.tracer.Prepare(o)
}
