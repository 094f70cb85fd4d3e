package api

import (
	"encoding/csv"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// fakeHistory has two values of each signal that is asked for, the second one missing.
type fakeHistory struct{}

func (fakeHistory) Query(q HistoryQuery) HistoryRange {
	at := time.Unix(1_700_000_000, 0)
	r := HistoryRange{From: at, To: at.Add(time.Second), Step: time.Second, Times: []time.Time{at, at.Add(time.Second)}}
	for _, s := range q.Signals {
		r.Series = append(r.Series, HistorySeries{Signal: s, Unit: "per second", Values: []float32{1.5, float32(math.NaN())}})
	}
	return r
}

func (fakeHistory) Kept() ([]HistorySignal, []HistoryTier) {
	return []HistorySignal{{Signal: "rate", Unit: "per second"}}, []HistoryTier{{StepSeconds: 1}}
}

func (fakeHistory) Report(w io.Writer, from, to time.Time) error {
	_, err := io.WriteString(w, "<!doctype html><title>Report of "+to.Sub(from).String()+"</title>")
	return err
}

func TestHistoryIsAnsweredAsJSONAndAsCSV(t *testing.T) {
	h := newAdminHandler(t)
	w := ask(h, "GET", "/admin/v1/history?signal=rate", "")
	if want := `"times":[1700000000,1700000001],"series":[{"signal":"rate","unit":"per second","values":[1.5,null]}]`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("answer %s lacks %s", w.Body, want)
	}
	w = ask(h, "GET", "/admin/v1/history?signal=rate&signal=a%2Cb&format=csv", "")
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != 3 || rows[0][2] != "a,b" || rows[1][1] != "1.5" || rows[2][1] != "" || rows[1][0] != "2023-11-14T22:13:20Z" {
		t.Errorf("rows %q, error %v", rows, err)
	}
	if d := w.Header().Get("Content-Disposition"); d != `attachment; filename="penstock-20231114T221320Z.csv"` {
		t.Errorf("Content-Disposition %s", d)
	}
}

func TestAReportIsOfTheLastQuarterOfAnHourUnlessTold(t *testing.T) {
	h := newAdminHandler(t)
	for query, want := range map[string]string{"": "15m0s", "?from=-1h&to=-30m": "30m0s"} {
		if w := ask(h, "GET", "/admin/v1/history/report"+query, ""); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s gives %s", query, w.Body)
		}
	}
}

func FuzzMomentNeverPanics(f *testing.F) {
	for _, s := range []string{"-15m", "2026-01-02T15:04:05Z", "1700000000.5", "", "-1e400s", "NaN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := moment("from", s, time.Now()); err == nil && at.Year() > 9999 {
			t.Errorf("%q is read as %s", s, at)
		}
	})
}
