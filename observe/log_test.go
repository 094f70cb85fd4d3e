package observe

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
)

func TestTheRequestIDIsAtTheTopOfEveryLine(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewLogHandler(slog.NewTextHandler(&out, nil)))
	ctx := WithRequestID(context.Background(), "id1")
	line := func(l *slog.Logger, ctx context.Context) string {
		out.Reset()
		l.InfoContext(ctx, "m", "k", "v")
		return out.String()
	}
	for name, c := range map[string]struct {
		log  *slog.Logger
		want []string
	}{
		"plain":             {log, []string{" request_id=id1", " k=v"}},
		"with":              {log.With("a", 1), []string{" request_id=id1", " a=1", " k=v"}},
		"group":             {log.With("a", 1).WithGroup("g"), []string{" request_id=id1", " a=1", " g.k=v"}},
		"group with":        {log.WithGroup("g").With("a", 1).WithGroup("h"), []string{" request_id=id1", " g.a=1", " g.h.k=v"}},
		"nameless group":    {log.WithGroup(""), []string{" request_id=id1", " k=v"}},
		"sibling after it":  {log, []string{" request_id=id1"}},
		"group with no ids": {log.WithGroup("g"), []string{" g.k=v"}},
	} {
		got := line(c.log, ctx)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q lacks %q", name, got, want)
			}
		}
		if n := strings.Count(got, "request_id"); n != 1 {
			t.Errorf("%s: %d ids in %q", name, n, got)
		}
	}
	if got := line(log.WithGroup("g"), context.Background()); strings.Contains(got, "request_id") || !strings.Contains(got, "g.k=v") {
		t.Errorf("without an id: %q", got)
	}
	if RequestID(ctx) != "id1" || RequestID(context.Background()) != "" {
		t.Error("RequestID does not read what WithRequestID wrote")
	}
	if log.Enabled(ctx, slog.LevelDebug) {
		t.Error("the level of the handler behind is not asked")
	}
}
