package main

import "testing"

const oneJob = `{"id":"j1","state":"dead","route":"movie","urgency":3,"created":"2026-01-02T03:04:05Z","attempts":5,"max_attempts":5,"error":{"type":"t","title":"t","detail":"no connection"}}`

func TestJobsAreListedShownAndSentAgain(t *testing.T) {
	list := `{"jobs":[` + oneJob + `],"counts":{"dead":1,"done":7}}`
	want(t, command(t, answering(t, "GET /admin/v1/jobs?limit=20&state=dead&tenant=shop", list), "jobs", "list", "--state", "dead", "--tenant", "shop"),
		exitOK, "j1", "dead", "in all: 0 queued, 0 running, 7 done")
	want(t, command(t, answering(t, "GET /admin/v1/jobs/j1", oneJob), "jobs", "show", "j1"), exitOK, "5 of 5", "no connection")
	want(t, command(t, answering(t, "POST /admin/v1/jobs/j1/retry", oneJob), "jobs", "retry", "j1", "--json"), exitOK, `"state": "dead"`)
	want(t, command(t, answering(t, "POST /admin/v1/jobs/j1/cancel", oneJob), "jobs", "cancel", "j1"), exitOK, "j1")
	want(t, command(t, nil, "jobs", "list", "--state", "lost"), exitUsage, "--state", "queued")
	want(t, command(t, nil, "jobs", "list", "--limit", "0"), exitUsage, "--limit")
}

func TestAJobIsSubmittedAndItsResultPrinted(t *testing.T) {
	want(t, command(t, answering(t, `POST /v1/jobs {"route":"movie","params":{"id":"42"},"max_attempts":2}`, oneJob),
		"jobs", "submit", "movie", "id=42", "--attempts", "2"), exitFailed, "dead")
	want(t, command(t, answering(t, "GET /v1/jobs/j1/result", `{"title":"Alien"}`), "jobs", "result", "j1"), exitOK, "Alien")
	want(t, command(t, nil, "jobs", "submit", "movie", "id"), exitUsage, "KEY=VALUE")
	want(t, command(t, nil, "jobs", "submit", "movie", "--urgency", "9"), exitUsage, "urgency")
}
