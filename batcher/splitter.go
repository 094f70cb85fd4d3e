package batcher

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/tidwall/gjson"
)

// splitter takes an answer apart by id, order or key, and judges each item.
type splitter struct {
	rule Rule
	// judge turns one item into its outcome.
	judge func(gjson.Result) outcome
}

func newSplitter(r Rule) splitter {
	s := splitter{rule: r}
	s.judge = s.verdict
	return s
}

// split finds the outcome of each item. The answer is valid JSON.
func (s splitter) split(answer []byte, items []item) ([]outcome, error) {
	// A string once, since gjson would copy the answer at each look.
	all := gjson.Parse(string(answer))
	list := all
	if s.rule.ItemsPath != "" {
		list = all.Get(s.rule.ItemsPath)
	}
	want, isIt := "an array", list.IsArray()
	if s.rule.By == ByKey {
		want, isIt = "an object", list.IsObject()
	}
	if !isIt {
		where := "the answer"
		if s.rule.ItemsPath != "" {
			where = fmt.Sprintf("the answer at %q (batch.items_path)", s.rule.ItemsPath)
		}
		return nil, &malformed{
			detail: fmt.Sprintf("%s is not %s", where, want),
			// JSON-RPC and GraphQL servers answer one error object when they refuse the whole.
			suspect: s.rule.Form == FormJSONRPC && all.Get("error").Exists() ||
				s.rule.Form == FormGraphQL && all.Get("errors").Exists(),
		}
	}
	if s.rule.By == ByOrder {
		return s.byOrder(list, len(items))
	}
	return s.byID(list, items), nil
}

// byOrder takes the items in the order asked. If there are too few or too many, none can be told
// whose it is.
func (s splitter) byOrder(list gjson.Result, n int) ([]outcome, error) {
	results := list.Array()
	if len(results) != n {
		return nil, &malformed{
			detail:  fmt.Sprintf("the answer has %d items for the %d asked, so none can be told whose it is", len(results), n),
			suspect: true, ran: true,
		}
	}
	outcomes := make([]outcome, n)
	for i, r := range results {
		if r.Type != gjson.Null {
			outcomes[i] = s.judge(r)
		}
	}
	return outcomes, nil
}

// byID finds each item's by its id. Items that nobody asked for are passed over, and so is one
// that says the same twice. Two that differ under one id are broken: either may be wrong.
func (s splitter) byID(list gjson.Result, items []item) []outcome {
	place := make(map[string]int, len(items))
	for i, it := range items {
		place[it.id] = i
	}
	outcomes := make([]outcome, len(items))
	first := make([]string, len(items))
	list.ForEach(func(key, r gjson.Result) bool {
		id, ok := key.Str, true
		if s.rule.By == ByID {
			id, ok = idText(r.Get(s.rule.IDPath))
		}
		i, asked := place[id]
		switch {
		case !ok || !asked || r.Type == gjson.Null:
		case first[i] == "":
			first[i] = r.Raw
			outcomes[i] = s.judge(r)
		case first[i] != r.Raw:
			outcomes[i] = outcome{kind: broken, detail: "the answer holds different items under one id"}
		}
		return true
	})
	return outcomes
}

// idText is an id as it is compared: the text of a string, a number as written.
func idText(r gjson.Result) (string, bool) {
	switch r.Type {
	case gjson.String:
		return r.Str, true
	case gjson.Number, gjson.True, gjson.False:
		return r.Raw, true
	}
	return "", false
}

// verdict judges an item by the rule's paths. The body is copied out, so that one cached member
// does not keep the whole answer in memory.
func (s splitter) verdict(r gjson.Result) outcome {
	o := outcome{kind: found, status: http.StatusOK}
	if s.rule.ErrorPath != "" {
		if e := r.Get(s.rule.ErrorPath); e.Exists() && e.Type != gjson.Null && e.Type != gjson.False {
			o.status = s.rule.ErrorStatus
		}
	}
	if s.rule.StatusPath != "" {
		if st := r.Get(s.rule.StatusPath); st.Exists() && st.Type != gjson.Null {
			n, err := strconv.Atoi(st.String())
			if err != nil || n < 200 || n > 599 || n >= 300 && n < 400 {
				return outcome{kind: broken, detail: fmt.Sprintf("its status at %q (batch.status_path) is no HTTP status of an answer", s.rule.StatusPath)}
			}
			o.status = n
		}
	}
	body := r.Raw
	if s.rule.ItemPath != "" && o.status < http.StatusBadRequest {
		part := r.Get(s.rule.ItemPath)
		switch {
		case part.Exists() && part.Type == gjson.Null:
			return outcome{kind: missing}
		case !part.Exists() && o.status != http.StatusNoContent:
			return outcome{kind: broken, detail: fmt.Sprintf("it has nothing at %q (batch.item_path)", s.rule.ItemPath)}
		}
		body = part.Raw
	}
	if o.status != http.StatusNoContent {
		o.body = []byte(body)
	}
	return o
}
