package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Admin calls the admin plane.
type Admin struct {
	caller
}

// NewAdmin returns a client of the admin plane at adminURL, such as http://127.0.0.1:9090. token
// is admin.token of the server's configuration, "" if it has none. The calls go through hc, nil
// for a client of its own.
func NewAdmin(adminURL, token string, hc *http.Client) (*Admin, error) {
	h := make(http.Header)
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	c, err := newCaller(adminURL, hc, h)
	return &Admin{c}, err
}

// Change is one difference between two configurations. Secrets come masked.
type Change struct {
	Key           string `json:"key"`
	From          any    `json:"from"`
	To            any    `json:"to"`
	RestartNeeded bool   `json:"restart_needed"`
}

// Changes are the differences between two configurations.
type Changes struct {
	Changes []Change `json:"changes"`
	// RestartNeeded names the changed keys that only a restart puts in force.
	RestartNeeded []string `json:"restart_needed"`
}

// Reload has the server read its configuration again. A faulty one changes nothing and comes back
// as a *Problem that lists the faults.
func (a *Admin) Reload(ctx context.Context) (Changes, error) {
	var out Changes
	err := a.plane(ctx, http.MethodPost, "/admin/v1/config/reload", nil, &out)
	return out, err
}

// ConfigEntry is one value of the configuration in force. Secrets come masked.
type ConfigEntry struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Source string `json:"source"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
}

// Config is the configuration in force and how the last reload ended.
type Config struct {
	Entries    []ConfigEntry `json:"entries"`
	LastReload *struct {
		At    time.Time `json:"at"`
		OK    bool      `json:"ok"`
		Error string    `json:"error,omitempty"`
	} `json:"last_reload"`
}

// Config returns the configuration in force.
func (a *Admin) Config(ctx context.Context) (Config, error) {
	var out Config
	err := a.getJSON(ctx, "/admin/v1/config", &out)
	return out, err
}

// Knob is one knob. Its numbers are in its base unit (seconds for a duration, 0 or 1 for a bool);
// nil stands for infinity.
type Knob struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Unit    string   `json:"unit,omitempty"`
	Doc     string   `json:"doc,omitempty"`
	Default *float64 `json:"default"`
	Min     *float64 `json:"min"`
	Max     *float64 `json:"max"`
	Value   *float64 `json:"value"`
	// Text is the value as people write it.
	Text string `json:"text"`
	// Source is the layer that the value comes from: default, file, env, flag, tuner or pin.
	Source     string   `json:"source"`
	Base       *float64 `json:"base"`
	BaseSource string   `json:"base_source"`
	Tuned      *float64 `json:"tuned,omitempty"`
	Pin        *Pin     `json:"pin,omitempty"`
}

// Pin is a value that somebody fixed.
type Pin struct {
	Value    *float64   `json:"value"`
	Text     string     `json:"text"`
	Note     string     `json:"note,omitempty"`
	Author   string     `json:"author,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	FromFile bool       `json:"from_file"`
}

// Knobs lists the knobs by name.
func (a *Admin) Knobs(ctx context.Context) ([]Knob, error) {
	var out struct {
		Knobs []Knob `json:"knobs"`
	}
	err := a.getJSON(ctx, "/admin/v1/knobs", &out)
	return out.Knobs, err
}

// Pin fixes a knob at value, written as people write it ("12", "0.5", "1m30s", "true"), for the
// time given (0: until it is unpinned), and says why in note, which may be empty.
func (a *Admin) Pin(ctx context.Context, name, value string, lasts time.Duration, note string) (Knob, error) {
	in := struct {
		Value string `json:"value"`
		For   string `json:"for,omitempty"`
		Note  string `json:"note,omitempty"`
	}{Value: value, Note: note}
	if lasts != 0 {
		in.For = lasts.String()
	}
	var out Knob
	err := a.plane(ctx, http.MethodPut, pinPath(name), in, &out)
	return out, err
}

// Unpin gives a knob back to the tuner.
func (a *Admin) Unpin(ctx context.Context, name string) (Knob, error) {
	var out Knob
	err := a.plane(ctx, http.MethodDelete, pinPath(name), nil, &out)
	return out, err
}

func pinPath(name string) string { return "/admin/v1/knobs/" + url.PathEscape(name) + "/pin" }

// Purge says what to remove from the cache; exactly one field besides Soft must be set.
type Purge struct {
	Key      string `json:"key,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	Route    string `json:"route,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	// Tag is a surrogate key: a word of an answer's Surrogate-Key or Cache-Tag header.
	Tag string `json:"tag,omitempty"`
	All bool   `json:"all,omitempty"`
	// Soft keeps what matches as stale, to be served while it is refreshed or when the upstream fails.
	Soft bool `json:"soft,omitempty"`
}

// Purge removes answers from the cache and says how many went.
func (a *Admin) Purge(ctx context.Context, p Purge) (int, error) {
	var out struct {
		Purged int `json:"purged"`
	}
	err := a.plane(ctx, http.MethodPost, "/admin/v1/cache/purge", p, &out)
	return out.Purged, err
}

// Limits returns /admin/v1/limits as the server wrote it.
func (a *Admin) Limits(ctx context.Context) (json.RawMessage, error) {
	var raw json.RawMessage
	err := a.getJSON(ctx, "/admin/v1/limits", &raw)
	return raw, err
}

// Healthz fails unless the process is alive.
func (a *Admin) Healthz(ctx context.Context) error { return a.getJSON(ctx, "/healthz", nil) }

// Readyz fails unless the service takes new requests; a *Problem says why it does not.
func (a *Admin) Readyz(ctx context.Context) error { return a.getJSON(ctx, "/readyz", nil) }
