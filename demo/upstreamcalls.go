package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// callsMetric is the metric of Penstock's that counts calls to upstreams.
const callsMetric = "penstock_calls_total"

// FetchCalls asks a page of numbers how many upstream calls there were: the demo API's /stats, or
// /metrics of Penstock's admin plane, whose upstreams and outcomes are added up.
func FetchCalls(ctx context.Context, hc *http.Client, statsURL string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, statsURL, nil)
	if err != nil {
		return 0, err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answered %s", statsURL, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return 0, err
	}
	n, err := countCalls(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", statsURL, err)
	}
	return n, nil
}

// countCalls reads a JSON object with a number calls, or metrics in the Prometheus text format.
func countCalls(page []byte) (int64, error) {
	var doc struct {
		Calls *int64 `json:"calls"`
	}
	if json.Unmarshal(page, &doc) == nil {
		if doc.Calls == nil {
			return 0, errors.New("it counts no calls; give the demo API's /stats or the admin plane's /metrics")
		}
		return *doc.Calls, nil
	}
	if !bytes.Contains(page, []byte("penstock_")) {
		return 0, errors.New("it is no statistics page; give the demo API's /stats or the admin plane's /metrics")
	}
	var sum int64
	lines := bufio.NewScanner(bytes.NewReader(page))
	for lines.Scan() {
		line := lines.Text()
		name, _, _ := strings.Cut(line, "{")
		if name, _, _ = strings.Cut(name, " "); name != callsMetric {
			continue
		}
		value := line[strings.LastIndexByte(line, ' ')+1:]
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("%s is not a number: %q", callsMetric, value)
		}
		sum += int64(n) // no calls yet: the metric is not there, and the sum is 0
	}
	return sum, lines.Err()
}
