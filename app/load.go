package app

import (
	"errors"
	"slices"

	"penstock/batcher"
	"penstock/configs"
)

// Load reads and checks a configuration as New and Reload do: on top of what configs.Load finds, the
// pins' knobs, the batch rules and the secrets. A faulty one gives a [*configs.Faults].
func Load(o configs.LoadOptions) (*configs.Loaded, error) {
	o.Checks = append(slices.Clip(o.Checks), checkPins, checkBatches)
	l, err := configs.Load(o)
	if err != nil {
		return nil, err
	}
	return l, l.CheckSecrets()
}

func checkPins(c *configs.Config) []configs.Fault { return planKnobs(c, nil).faults(c) }

// checkBatches holds each batch rule against its route.
func checkBatches(c *configs.Config) []configs.Fault {
	var faults []configs.Fault
	for _, name := range c.RouteNames() {
		rc, _ := c.ResolvedRoute(name)
		if rc.Batch.Form == "" {
			continue
		}
		r := newRoute(name, configs.Upstream{}, rc, nil)
		if r.Compile() != nil {
			continue // configs tells of it
		}
		for _, f := range faultsOfRule(batchRule(rc.Batch).ValidateFor(r)) {
			if f.Key == "param" {
				continue // configs tells of it, with a suggestion
			}
			faults = append(faults, configs.Fault{Key: "routes." + name + ".batch." + f.Key, Problem: f.Problem})
		}
	}
	return faults
}

func faultsOfRule(err error) []*batcher.Fault {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*batcher.Fault
		for _, e := range joined.Unwrap() {
			all = append(all, faultsOfRule(e)...)
		}
		return all
	}
	if f, ok := errors.AsType[*batcher.Fault](err); ok {
		return []*batcher.Fault{f}
	}
	return []*batcher.Fault{{Problem: err.Error()}}
}
