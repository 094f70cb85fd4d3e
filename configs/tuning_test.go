package configs

import "testing"

func TestModesOfKnobsAreTakenByNameAndPattern(t *testing.T) {
	l := mustParse(t, "tuning:\n  modes: {workers.movies: off, cache.ttl.*: shadow}\n")
	if m := l.Config.Tuning.Modes; m["workers.movies"] != "off" || m["cache.ttl.*"] != "shadow" {
		t.Errorf("the modes are %v", m)
	}
	for _, bad := range []string{"workers.m: on", "a.*.b: off", "'work*': off", "'': off"} {
		if _, err := Load(LoadOptions{Path: write(t, "bad.yaml", "tuning:\n  modes: {"+bad+"}\n")}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestThePresetsDifferInTheirAppetiteAndStayInOrder(t *testing.T) {
	var last Tuning
	for i, preset := range []string{"conservative", "balanced", "aggressive"} {
		now := mustParse(t, "preset: "+preset+"\n").Config.Tuning
		if i > 0 && (now.StepRatio <= last.StepRatio || now.ProbeRatio <= last.ProbeRatio || now.StaleRatio <= last.StaleRatio ||
			now.LatencyRiseRatio <= last.LatencyRiseRatio || now.ErrorLimitRatio <= last.ErrorLimitRatio ||
			now.CoolDown >= last.CoolDown || now.MinSamples >= last.MinSamples) {
			t.Errorf("%s is not bolder than the one before: %+v after %+v", preset, now, last)
		}
		last = now
	}
}
