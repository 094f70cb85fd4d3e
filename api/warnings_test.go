package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"penstock/request"
)

func TestAnOutageDoesNotFillTheLog(t *testing.T) {
	var log bytes.Buffer
	h := newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) {
		return nil, request.Errorf(request.ProblemUpstreamDown, "no connection")
	}, func(o *DataOptions) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 1000 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/proxy/movies/x", nil))
		if w.Code != http.StatusBadGateway {
			t.Fatalf("status %d", w.Code)
		}
	}
	if n := strings.Count(log.String(), "a request failed"); n < warningsAtOnce || n > 2*warningsAtOnce {
		t.Errorf("%d of 1000 failures were logged, want about %d", n, warningsAtOnce)
	}
}
