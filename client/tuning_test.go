package client

import (
	"encoding/json"
	"testing"
)

func TestAnOrderIsWrittenAsAMergePatch(t *testing.T) {
	none, frozen := "", false
	b, err := json.Marshal(TuningChange{Frozen: &frozen, Mode: &none, Modes: map[string]string{"a": "off", "b": ""}, Author: "ann"})
	if want := `{"author":"ann","frozen":false,"mode":null,"modes":{"a":"off","b":null}}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}
