package demo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Row is one request of a trace.
type Row struct {
	// At is when it was made, from the trace's first row on; never negative.
	At time.Duration
	// Client is the session or user, empty if the source has none.
	Client string
	Key    string
	// Size is in bytes, 0 if the source doesn't say.
	Size int64
	// Line is the row's line in the file, from 1.
	Line int
}

// traceHeader is the first line of a trace.
const traceHeader = "timestamp_ms,client,key,size"

// maxFaults is how many malformed rows a trace may have before it is taken for something else.
const maxFaults = 100

// TraceReader reads a trace row by row.
type TraceReader struct {
	csv    *csv.Reader
	closer []io.Closer
	first  int64
	last   time.Duration
	begun  bool
	faults []error
	total  int
}

// OpenTrace opens a trace file, gzip or plain. Close it after use.
func OpenTrace(path string) (*TraceReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := NewTraceReader(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.closer = append(t.closer, f)
	return t, nil
}

// NewTraceReader reads a trace from r: CSV with the header timestamp_ms,client,key,size, gzip or
// plain, told apart by the first bytes.
func NewTraceReader(r io.Reader) (*TraceReader, error) {
	t := new(TraceReader)
	br := bufio.NewReader(r)
	if magic, _ := br.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("it begins as gzip but is broken: %w", err)
		}
		t.closer = append(t.closer, z)
		br = bufio.NewReader(z)
	}
	t.csv = csv.NewReader(br)
	t.csv.ReuseRecord = true
	t.csv.FieldsPerRecord = -1
	head, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it is empty; a trace begins with the line %s", traceHeader)
	}
	if err != nil || strings.TrimPrefix(strings.Join(head, ","), "\ufeff") != traceHeader {
		return nil, fmt.Errorf("line 1: a trace begins with the line %s", traceHeader)
	}
	return t, nil
}

// Next returns the next good row, or io.EOF. Malformed rows are left out and kept for Faults;
// too many of them end the trace with an error.
func (t *TraceReader) Next() (Row, error) {
	for {
		record, err := t.csv.Read()
		if errors.Is(err, io.EOF) {
			return Row{}, io.EOF
		}
		if err != nil {
			if _, ok := errors.AsType[*csv.ParseError](err); !ok {
				return Row{}, fmt.Errorf("the trace can't be read on: %w", err)
			}
		}
		var row Row
		if err == nil {
			line, _ := t.csv.FieldPos(0)
			if row, err = t.row(record, line); err == nil {
				return row, nil
			}
			err = fmt.Errorf("line %d: %w", line, err)
		}
		if t.total++; len(t.faults) < 10 {
			t.faults = append(t.faults, err)
		}
		if t.total > maxFaults {
			return Row{}, fmt.Errorf("over %d malformed rows; is it a trace? The first: %w", maxFaults, t.faults[0])
		}
	}
}

func (t *TraceReader) row(record []string, line int) (Row, error) {
	if len(record) != 4 {
		return Row{}, fmt.Errorf("%d fields instead of 4", len(record))
	}
	ms, err := strconv.ParseInt(record[0], 10, 64)
	if err != nil {
		return Row{}, fmt.Errorf("timestamp_ms %q is not a whole number", record[0])
	}
	size, err := strconv.ParseInt(record[3], 10, 64)
	if err != nil || size < 0 {
		return Row{}, fmt.Errorf("size %q is not a whole number from 0 up", record[3])
	}
	if record[2] == "" {
		return Row{}, errors.New("the key is empty")
	}
	if !t.begun {
		t.first, t.begun = ms, true
	}
	since := ms - t.first
	if since < 0 || since > (1<<62)/int64(time.Millisecond) {
		return Row{}, fmt.Errorf("timestamp_ms %d does not follow the trace's first, %d", ms, t.first)
	}
	row := Row{At: time.Duration(since) * time.Millisecond, Key: strings.Clone(record[2]), Size: size, Line: line}
	if row.At < t.last {
		return Row{}, fmt.Errorf("timestamp_ms %d is before that of the row above it", ms)
	}
	t.last = row.At
	if record[1] != "-" {
		row.Client = strings.Clone(record[1])
	}
	return row, nil
}

// Faults reports how many rows were malformed, and the first few of them.
func (t *TraceReader) Faults() (int, []error) { return t.total, t.faults }

// Close closes the file.
func (t *TraceReader) Close() error {
	var errs []error
	for _, c := range t.closer {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// ReadTrace reads up to limit rows (0: all) into memory.
func ReadTrace(t *TraceReader, limit int) ([]Row, error) {
	var rows []Row
	for limit == 0 || len(rows) < limit {
		row, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
