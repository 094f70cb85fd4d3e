package main

import "testing"

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
