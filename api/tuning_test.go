package api

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"penstock/request"
)

func tuningCases(t *testing.T) []contractCase {
	const path, rollback = "/admin/v1/tuning", "/admin/v1/decisions/{id}/rollback"
	h := newAdminHandler(t)
	patch := func(body string) contractCase {
		return contractCase{"patch", path, "", h, httptest.NewRequest("PATCH", path, strings.NewReader(body))}
	}
	post := func(id, body string) contractCase {
		return contractCase{"post", rollback, "", h, httptest.NewRequest("POST", strings.Replace(rollback, "{id}", id, 1), strings.NewReader(body))}
	}
	gives := func(status string, c contractCase) contractCase { c.status = status; return c }
	long := `{"note":"` + strings.Repeat("x", maxAdminBody) + `"}`
	return []contractCase{
		{"get", path, "200", h, httptest.NewRequest("GET", path, nil)},
		gives("200", patch(`{"frozen":true,"mode":null,"modes":{"workers.movies":"shadow"},"author":"ann","note":"a try"}`)),
		gives("400", patch(`{"freeze":true}`)),
		gives("413", patch(long)),
		gives("422", patch(`{"mode":"on"}`)),
		gives("422", patch(`{"modes":{"absent":"off"}}`)),
		gives("422", patch(`{}`)),
		gives("200", post("1", "")),
		gives("200", post("1", `{"author":"ann"}`)),
		gives("400", post("1", `{"by":"ann"}`)),
		gives("404", post("2", "")),
		gives("413", post("1", long)),
		gives("422", post("1", `{"note":"late"}`)),
	}
}

func TestABodyOfUnknownLengthMayBeEmptyWhereItIsOptional(t *testing.T) {
	h := newAdminHandler(t)
	for body, want := range map[string]int{"": 200, `{"author":"ann"}`: 200, "{": 400} {
		r := httptest.NewRequest("POST", "/admin/v1/decisions/1/rollback", io.MultiReader(strings.NewReader(body)))
		r.ContentLength = -1
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: %d, want %d: %s", body, w.Code, want, w.Body)
		}
	}
}

func TestEveryFaultOfATuningChangeIsTold(t *testing.T) {
	w := ask(newAdminHandler(t), "PATCH", "/admin/v1/tuning", `{"mode":3,"modes":{"a":"on","b":"off"},"author":"`+strings.Repeat("x", 200)+`"}`)
	doc := wantProblem(t, w, request.ProblemUnprocessable)
	if len(doc.Errors) != 3 {
		t.Errorf("the faults are %+v", doc.Errors)
	}
}
