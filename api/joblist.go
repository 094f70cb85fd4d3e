package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"penstock/request"
)

// jobList is a page of a list of jobs.
type jobList struct {
	Jobs []Job `json:"jobs"`
	// Next is the before of the next page; empty: this is the last.
	Next string `json:"next,omitempty"`
	// Counts is how many jobs there are in each state; only the admin plane tells.
	Counts map[string]int `json:"counts,omitempty"`
}

// complete makes a list that is never null.
func (l jobList) complete() jobList {
	if l.Jobs == nil {
		l.Jobs = []Job{}
	}
	return l
}

const (
	defaultJobs = 100
	maxJobs     = 1000
)

// jobFilter reads the parameters of a list.
func jobFilter(query url.Values) (JobFilter, error) {
	f := JobFilter{Route: query.Get("route"), Before: query.Get("before"), Limit: defaultJobs}
	for _, v := range query["state"] {
		for state := range strings.SplitSeq(v, ",") {
			if !slices.Contains(jobStates, state) {
				return f, request.Errorf(request.ProblemBadRequest, "state must be of %s (several with commas between), not %.100q", strings.Join(jobStates, ", "), state)
			}
			f.States = append(f.States, state)
		}
	}
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxJobs {
			return f, request.Errorf(request.ProblemBadRequest, "limit must be a whole number from 1 to %d", maxJobs)
		}
		f.Limit = n
	}
	return f, nil
}

// listJobs gives one page.
func listJobs(ctx context.Context, jobs Jobs, f JobFilter) (l jobList, err error) {
	if l.Jobs, err = jobs.Jobs(ctx, f); err != nil {
		return l, err
	}
	if n := len(l.Jobs); n == f.Limit {
		l.Next = l.Jobs[n-1].ID
	}
	return l, nil
}

// errJobEnded ends an event stream.
var errJobEnded = errors.New("the job has ended")

// sendJob sends the job as it is now.
func (d *data) sendJob(e *events, x *exchange, id string) error {
	j, err := d.o.Jobs.Job(x, id)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if err := e.send("job", j.State+"-"+strconv.Itoa(j.Attempts), raw); err != nil {
		return err
	}
	if j.ended() {
		return errJobEnded
	}
	return nil
}
