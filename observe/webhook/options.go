package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Defaults of Options.
const (
	DefaultGroupWait      = 10 * time.Second
	DefaultGroupInterval  = time.Minute
	DefaultRepeatInterval = 4 * time.Hour
	DefaultTimeout        = 10 * time.Second
	// MaxAlerts is how many alerts one receiver is told of at a time; more are counted as dropped.
	MaxAlerts = 1000
	// maxInNotice is how many of them one notice carries; the rest is told as truncatedAlerts.
	maxInNotice = 100
)

// Options are one receiver.
type Options struct {
	// Name tells receivers apart; it is the receiver in the notices.
	Name string
	// URL is where notices are sent to. It counts as a secret.
	URL string
	// Header is sent with each notice; it counts as secret.
	Header http.Header
	// GroupWait is how long the first alert of a group waits for others, default 10 s; longer makes fewer
	// notices, shorter tells sooner. GroupInterval is the time between notices of one group that changed,
	// default 1 min; RepeatInterval the time after which a group that did not is told again, default 4 h.
	GroupWait, GroupInterval, RepeatInterval time.Duration
	// Timeout bounds one attempt, default 10 s.
	Timeout time.Duration
	// SkipResolved leaves out that alerts ended.
	SkipResolved bool
	// ExternalURL is where people find the web page, for links; may be empty.
	ExternalURL string
	// Transport makes the calls; nil: one of its own, which obeys HTTP_PROXY and the like.
	Transport http.RoundTripper
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		v     *time.Duration
		value time.Duration
	}{
		{&o.GroupWait, DefaultGroupWait}, {&o.GroupInterval, DefaultGroupInterval},
		{&o.RepeatInterval, DefaultRepeatInterval}, {&o.Timeout, DefaultTimeout},
	} {
		if *d.v <= 0 {
			*d.v = d.value
		}
	}
	return o
}

// Validate reports what is wrong, without showing the URL.
func (o Options) Validate() error {
	if o.Name == "" {
		return errors.New("a webhook needs a name")
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("webhook %s: its address must be a URL with http:// or https:// and a host", o.Name)
	}
	return nil
}

// maskedURL shows where a webhook goes and nothing that could be a secret.
func maskedURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "***"
	}
	return u.Scheme + "://" + u.Host + "/***"
}
