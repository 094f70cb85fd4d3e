package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"penstock/client"
)

const topSnapshot = `{"at":"2026-01-02T03:04:05Z","version":"v1","uptime_seconds":3661,"status":"ready","tuning":{"mode":"active","frozen":true},
"reload":{"ok":false,"error":"p.yaml:3: bad"},"totals":{"rate":123.4,"error_ratio":0.05,"hit_ratio":0.8,"p50_seconds":0.002,"p95_seconds":0.2,"p99_seconds":3,
"in_flight":7,"queued":4,"calls_saved":99},"queue_by_urgency":[0,1,0,3,0,0,0,0],
"upstreams":[{"name":"movies","binding":"permits","breaker":"closed","in_flight":8,"permits":8,"call_rate":20},{"name":"down\u001b[2Jx","breaker":"open"}],
"routes":[{"upstream":"movies","name":"movie","rate":5}],
"decisions":[{"time":"2026-01-02T03:04:00Z","knob":"workers.movies","from":8,"to":12,"rule":"knee","reason":"more was gained"}],
"alerts":[{"rule":"BreakerOpen","upstream":"down","state":"firing","severity":"critical","summary":"The breaker is open."}]}`

func topNow(t *testing.T) (n client.Now) {
	t.Helper()
	if err := json.Unmarshal([]byte(topSnapshot), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTopShowsWhatMatters(t *testing.T) {
	text := string(drawTop(topNow(t), nil, 120, 100, false))
	for _, want := range []string{"Penstock v1  ready  up 1h1m1s  tuner active, FROZEN", "RELOAD FAILED: p.yaml:3: bad", "requests 123.4/s", "hits 80.0%",
		"p50 2.00ms  p95 200ms  p99 3.00s", "u1:1  u3:3", "8/8", "permits", "BREAKER OPEN", "movies/movie", "firing   critical  BreakerOpen down", "workers.movies 8 -> 12  knee: more was gained"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("a name commands the terminal, or there are colours where none were asked for: %q", text)
	}
}

func TestTopFitsEveryWindow(t *testing.T) {
	for _, size := range [][2]int{{40, 10}, {80, 24}, {200, 50}} {
		lines := strings.Split(string(drawTop(topNow(t), nil, size[0], size[1], false)), "\n")
		if len(lines)-1 > size[1] {
			t.Errorf("%v: %d lines", size, len(lines)-1)
		}
		for _, l := range lines {
			if utf8.RuneCountInString(l) > size[0] {
				t.Errorf("%v: the line %q is too wide", size, l)
			}
		}
	}
}

func TestTopSaysThatThereIsNoAnswer(t *testing.T) {
	text := string(drawTop(client.Now{}, errors.New("connection refused"), 80, 24, false))
	if !strings.HasPrefix(text, "NO ANSWER: connection refused") || strings.Contains(text, "requests") {
		t.Errorf("got %s", text)
	}
	if text = string(drawTop(topNow(t), errors.New("x"), 80, 24, false)); !strings.Contains(text, "what follows is of") {
		t.Errorf("the old picture is not called old: %s", text)
	}
}
