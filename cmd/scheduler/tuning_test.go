package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestATapeIsReplayed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tape.ndjson")
	tape := `{"t":"2026-01-02T03:04:05Z","plugs":{"interval_ns":5000000000,"appetite":{"min_samples":30},"plugs":[{"knob":"retry.budget.m","kind":"retry","mode":"active","spec":{"Name":"retry.budget.m","Kind":"float","Default":0.1,"Max":1},"value":0.1,"state":{}}]}}
{"t":"2026-01-02T03:04:30Z","tick":{"looks":{"retry.budget.m":{"value":0.1,"mode":"active","n":1000,"seen":{"seconds":15,"calls":1000,"ok":700,"first":900,"first_failed":300,"retries":100,"retries_ok":5}}}}}
{"t":"2026-01-02T03:05:30Z","tick":{"looks":{"retry.budget.m":{"value":0.1,"mode":"active","n":1000,"seen":{"seconds":15,"calls":1000,"ok":700,"first":900,"first_failed":300,"retries":100,"retries_ok":5}}}}}
`
	if err := os.WriteFile(path, []byte(tape), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, command(t, nil, "tuning", "replay", path), exitOK, "retry.budget.m 0.1 -> 0.067  wasted: only 5 %", "decided now, not in the recording", "1 decisions")
	want(t, command(t, nil, "tuning", "replay", path+"x"), exitFailed, "no such file")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, command(t, nil, "tuning", "replay", path), exitFailed, "line 1 of the tape")
}

func TestTuningCommandsGiveOrdersAndShowWhereItStands(t *testing.T) {
	answer := `{"mode":"active","frozen":true,"switches":{"frozen":true,"modes":{"workers.m":"shadow"}},"modes":{},` +
		`"knobs":[{"knob":"workers.m","mode":"shadow","value":8,"rule":"settled","reason":"neither more nor fewer pays"}]}`
	want(t, command(t, answering(t, "GET /admin/v1/tuning", answer), "tuning", "status"), exitOK, "active, frozen", "ordered: workers.m shadow", "neither more nor fewer")
	want(t, command(t, answering(t, "GET /admin/v1/tuning", answer), "tuning", "status", "--json"), exitOK, `"frozen": true`)
	want(t, command(t, answering(t, `PATCH /admin/v1/tuning {"author":"cli","frozen":true,"note":"sale"}`, answer), "tuning", "freeze", "--note", "sale"), exitOK, "frozen")
	want(t, command(t, answering(t, `PATCH /admin/v1/tuning {"author":"cli","frozen":false}`, answer), "tuning", "thaw"), exitOK)
	want(t, command(t, answering(t, `PATCH /admin/v1/tuning {"author":"cli","modes":{"workers.m":"shadow"}}`, answer), "tuning", "mode", "shadow", "workers.m"), exitOK, "shadow")
	want(t, command(t, answering(t, `PATCH /admin/v1/tuning {"author":"cli","mode":null}`, answer), "tuning", "mode", "configured"), exitOK)
	want(t, command(t, nil, "tuning", "mode", "on"), exitUsage, "off, shadow, active or configured")
	rolled := `{"id":"a-1","time":"2026-01-02T03:04:05Z","knob":"workers.m","from":8,"to":9,"rule":"grow","reason":"r","rolled_back":true}`
	want(t, command(t, answering(t, `POST /admin/v1/decisions/a-1/rollback {"author":"cli"}`, rolled), "decisions", "rollback", "a-1"), exitOK, "rolled back")
}
