package configs

import (
	"strings"
	"testing"
)

func TestTracingSaysWhatIsMissing(t *testing.T) {
	for text, want := range map[string]string{
		"tracing: {enabled: true}":                         "tracing.endpoint",
		"tracing: {enabled: true, endpoint: collector}":    "tracing.endpoint",
		"tracing: {sample_ratio: 2}":                       "tracing.sample_ratio",
		"tracing: {credentials: [{query: k, env: TOKEN}]}": "tracing.credentials[0].query",
	} {
		if _, err := Parse("c.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gave %v, want a fault of %s", text, err, want)
		}
	}
	l, err := Parse("c.yaml", []byte("tracing: {enabled: true, endpoint: \"http://127.0.0.1:4318/v1/traces\"}"))
	if err != nil || l.Config.Tracing.SampleRatio != 0.01 || !l.Config.Tracing.FollowParent {
		t.Errorf("%+v, %v", l.Config.Tracing, err)
	}
}
