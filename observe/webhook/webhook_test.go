package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"penstock/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inbox is a receiver: it answers with status and keeps what came.
type inbox struct {
	mu      sync.Mutex
	status  int
	header  http.Header
	err     error
	block   chan struct{} // closed: answers
	notices []notice
	times   []time.Time
	asked   []*http.Request
}

func (b *inbox) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.block != nil {
		select {
		case <-b.block:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	var n notice
	if err := json.Unmarshal(body, &n); err != nil {
		return nil, err
	}
	b.notices, b.times, b.asked = append(b.notices, n), append(b.times, time.Now()), append(b.asked, r)
	if b.err != nil {
		return nil, b.err
	}
	status := b.status
	if status == 0 {
		status = 200
	}
	return &http.Response{StatusCode: status, Header: b.header, Body: http.NoBody}, nil
}

// summary is each notice as "status:fingerprint/status,...".
func (b *inbox) summary() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, n := range b.notices {
		var alerts []string
		for _, a := range n.Alerts {
			alerts = append(alerts, a.Fingerprint+"/"+a.Status)
		}
		all = append(all, n.Status+":"+strings.Join(alerts, ","))
	}
	return strings.Join(all, " ")
}

func fires(rule, print string) observe.Alert {
	return observe.Alert{Rule: rule, Fingerprint: print, State: observe.AlertFiring, FiredAt: time.Now(), Summary: "It is wrong.",
		Labels: map[string]string{"alertname": rule, "upstream": print}, Comparison: ">", Threshold: .1, Clear: .05, Value: .5}
}

func ended(a observe.Alert) observe.Alert {
	a.ResolvedAt = time.Now()
	return a
}

// within runs f with a Sender to one inbox, in virtual time.
func within(t *testing.T, change func(*Options), f func(s *Sender, in *inbox)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		in := new(inbox)
		o := Options{Name: "ops", URL: "https://user:pw@hooks.example/s3cret?k=v", Transport: in, ExternalURL: "http://penstock.example/"}
		if change != nil {
			change(&o)
		}
		s := New(nil)
		defer s.Close()
		if err := s.Apply([]Options{o}); err != nil {
			t.Fatal(err)
		}
		f(s, in)
	})
}

func expect(t *testing.T, in *inbox, want string) {
	t.Helper()
	synctest.Wait()
	if got := in.summary(); got != want {
		t.Fatalf("the notices are\n  %q, want\n  %q", got, want)
	}
}

func TestAGroupWaitsForCompanyAndIsToldOfItsEnd(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		a, b := fires("E", "a"), fires("E", "b")
		s.Tell([]observe.Alert{a})
		time.Sleep(5 * time.Second)
		s.Tell([]observe.Alert{b, fires("Other", "x")})
		time.Sleep(5 * time.Second)
		expect(t, in, "firing:a/firing,b/firing")
		time.Sleep(5 * time.Second)
		expect(t, in, "firing:a/firing,b/firing firing:x/firing")
		s.Tell([]observe.Alert{ended(a)})
		time.Sleep(DefaultGroupInterval)
		expect(t, in, "firing:a/firing,b/firing firing:x/firing firing:b/firing,a/resolved")
		s.Tell([]observe.Alert{ended(b)})
		time.Sleep(DefaultGroupInterval)
		expect(t, in, "firing:a/firing,b/firing firing:x/firing firing:b/firing,a/resolved resolved:b/resolved")
	})
}

func TestANoticeHasAlertmanagersForm(t *testing.T) {
	within(t, func(o *Options) { o.Header = http.Header{"Authorization": {"Bearer x"}} }, func(s *Sender, in *inbox) {
		s.Tell([]observe.Alert{fires("E", "a"), fires("E", "b")})
		time.Sleep(DefaultGroupWait)
		synctest.Wait()
		n, r := in.notices[0], in.asked[0]
		if r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer x" {
			t.Errorf("asked %s %v", r.Method, r.Header)
		}
		if n.Version != "4" || n.Receiver != "ops" || n.GroupKey != `{}:{alertname="E"}` || n.GroupLabels["alertname"] != "E" || n.ExternalURL != "http://penstock.example/" {
			t.Errorf("the notice is %+v", n)
		}
		if len(n.CommonLabels) != 1 || n.CommonLabels["alertname"] != "E" || n.CommonAnnotations["summary"] != "It is wrong." {
			t.Errorf("common are %v, %v", n.CommonLabels, n.CommonAnnotations)
		}
		a := n.Alerts[0]
		if a.StartsAt.IsZero() || !a.EndsAt.IsZero() || a.GeneratorURL != "http://penstock.example/alerts" || !strings.Contains(a.Annotations["description"], "0.5") {
			t.Errorf("the alert is %+v", a)
		}
	})
}

func TestAnAlertThatEndsBeforeAnybodyHeardIsNotTold(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		a := fires("E", "a")
		s.Tell([]observe.Alert{a})
		time.Sleep(time.Second)
		s.Tell([]observe.Alert{ended(a)})
		time.Sleep(time.Hour)
		expect(t, in, "")
		if r := s.receivers[0]; len(r.groups) != 0 || r.alerts != 0 {
			t.Errorf("%d groups and %d alerts are kept", len(r.groups), r.alerts)
		}
	})
}

func TestAFailedNoticeIsSentAgainAsThingsStandThen(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		in.status = 503
		a := fires("E", "a")
		s.Tell([]observe.Alert{a})
		time.Sleep(DefaultGroupWait + time.Minute)
		synctest.Wait()
		tries := len(in.times)
		if tries < 4 || tries > 10 {
			t.Fatalf("%d attempts in the first minute", tries)
		}
		for i := 2; i < tries; i++ { // each wait is drawn from [half, whole] of a delay that doubles
			if in.times[i].Sub(in.times[i-1]) < in.times[i-1].Sub(in.times[i-2])/2 {
				t.Errorf("the waits do not grow: %v", in.times)
			}
		}
		if st := s.Status()[0]; st.Queued != 1 || st.Failed != uint64(tries) || st.Sent != 0 || !strings.Contains(st.LastError, "503") {
			t.Errorf("the status is %+v", st)
		}
		s.Tell([]observe.Alert{fires("E", "b")})
		in.mu.Lock()
		in.status, in.notices = 200, nil
		in.mu.Unlock()
		time.Sleep(5 * time.Minute)
		expect(t, in, "firing:a/firing,b/firing")
		if st := s.Status()[0]; st.Queued != 0 || st.Sent != 1 || st.LastError != "" {
			t.Errorf("the status is %+v", st)
		}
	})
}

func TestAReceiverCanAskToBeLeftAlone(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		in.status, in.header = 429, http.Header{"Retry-After": {"120"}}
		s.Tell([]observe.Alert{fires("E", "a")})
		time.Sleep(DefaultGroupWait + 119*time.Second)
		expect(t, in, "firing:a/firing")
		time.Sleep(2 * time.Second)
		expect(t, in, "firing:a/firing firing:a/firing")
	})
}

func TestARefusedNoticeIsNotRepeatedUntilItsTime(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		in.status = 404
		s.Tell([]observe.Alert{fires("E", "a")})
		time.Sleep(time.Hour)
		expect(t, in, "firing:a/firing")
		time.Sleep(DefaultRepeatInterval)
		expect(t, in, "firing:a/firing firing:a/firing")
	})
}

func TestWhatGoesOnIsToldAgain(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		a := fires("E", "a")
		s.Tell([]observe.Alert{a})
		time.Sleep(DefaultGroupWait + DefaultRepeatInterval)
		expect(t, in, "firing:a/firing firing:a/firing")
		s.Tell([]observe.Alert{ended(a)})
		time.Sleep(DefaultGroupInterval)
		expect(t, in, "firing:a/firing firing:a/firing resolved:a/resolved")
		time.Sleep(24 * time.Hour)
		expect(t, in, "firing:a/firing firing:a/firing resolved:a/resolved")
	})
}

func TestWhoWantsNoEndsGetsNone(t *testing.T) {
	within(t, func(o *Options) { o.SkipResolved = true }, func(s *Sender, in *inbox) {
		a := fires("E", "a")
		s.Tell([]observe.Alert{a})
		time.Sleep(DefaultGroupWait)
		expect(t, in, "firing:a/firing")
		s.Tell([]observe.Alert{ended(a)})
		time.Sleep(24 * time.Hour)
		expect(t, in, "firing:a/firing")
	})
}

func TestAnAlertThatEndsWhileItIsToldIsToldToHaveEnded(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		in.block = make(chan struct{})
		a := fires("E", "a")
		s.Tell([]observe.Alert{a})
		time.Sleep(DefaultGroupWait + time.Second)
		s.Tell([]observe.Alert{ended(a)})
		close(in.block)
		time.Sleep(2 * DefaultGroupInterval)
		expect(t, in, "firing:a/firing resolved:a/resolved")
	})
}

func TestAReceiverThatHangsHoldsNobodyUp(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		stuck := &inbox{block: make(chan struct{})}
		if err := s.Apply([]Options{s.receivers[0].o, {Name: "stuck", URL: "http://stuck.example", Transport: stuck}}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		s.Tell([]observe.Alert{fires("E", "a")})
		time.Sleep(DefaultGroupWait + time.Second) // stuck has been asked and says nothing
		for i := range 100 {
			s.Tell([]observe.Alert{fires("E", fmt.Sprint(i))})
		}
		if waited := time.Since(begin); waited != DefaultGroupWait+time.Second {
			t.Errorf("telling took %s", waited)
		}
		expect(t, in, "firing:a/firing")
		time.Sleep(time.Minute)
		if st := s.Status(); st[1].Failed == 0 || st[0].Failed != 0 {
			t.Errorf("the status is %+v", st)
		}
	})
}

func TestMemoryIsBoundedWhenAReceiverIsAway(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		in.err = errors.New("connection refused")
		for i := range 3 * MaxAlerts {
			s.Tell([]observe.Alert{fires(fmt.Sprintf("Rule%d", i%7), fmt.Sprint(i))})
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		st := s.Status()[0]
		if st.Dropped != 2*MaxAlerts || s.receivers[0].alerts != MaxAlerts {
			t.Errorf("%d alerts are kept, %d dropped", s.receivers[0].alerts, st.Dropped)
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		if n := in.notices[0]; len(n.Alerts) != maxInNotice || n.TruncatedAlerts != MaxAlerts/7+1-maxInNotice && n.TruncatedAlerts != MaxAlerts/7-maxInNotice {
			t.Errorf("a notice has %d alerts and says %d are left out", len(n.Alerts), n.TruncatedAlerts)
		}
	})
}

func TestANewReceiverIsToldOfWhatFiresAndAnOldOneGoesOn(t *testing.T) {
	within(t, nil, func(s *Sender, in *inbox) {
		s.Tell([]observe.Alert{fires("E", "a")})
		time.Sleep(5 * time.Second)
		second := new(inbox)
		if err := s.Apply([]Options{s.receivers[0].o, {Name: "second", URL: "http://b.example", Transport: second}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // the first one's wait went on over the reload
		expect(t, in, "firing:a/firing")
		time.Sleep(5 * time.Second)
		expect(t, second, "firing:a/firing")
		if err := s.Apply([]Options{{Name: "x", URL: "ftp://x"}}); err == nil {
			t.Error("a faulty address was accepted")
		}
		if len(s.Status()) != 2 {
			t.Error("a faulty reload changed something")
		}
		if err := s.Apply(nil); err != nil || len(s.Status()) != 0 {
			t.Errorf("without receivers: %v, %v", err, s.Status())
		}
	})
}

func TestNoSecretOfAWebhookIsShown(t *testing.T) {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		s := New(slog.New(slog.NewTextHandler(&log, nil)))
		defer s.Close()
		in := &inbox{err: errors.New("no route to host")}
		o := Options{Name: "ops", URL: "https://user:pw-4711@hooks.example/T0/s3cret?key=k3y", Transport: in, Header: http.Header{"X-Key": {"h34der"}}}
		if err := s.Apply([]Options{o}); err != nil {
			t.Fatal(err)
		}
		s.Tell([]observe.Alert{fires("E", "a")})
		time.Sleep(time.Hour)
		synctest.Wait()
		shown, _ := json.Marshal(s.Status())
		text := string(shown) + log.String() + fmt.Sprint(Options{Name: "x", URL: "ftp://s3cret"}.Validate(), Options{Name: "x", URL: "http://[s3cret"}.Validate())
		for _, secret := range []string{"pw-4711", "s3cret", "k3y", "h34der"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is shown in %s", secret, text)
			}
		}
		if !strings.Contains(text, "https://hooks.example/***") {
			t.Errorf("where it goes is not shown: %s", text)
		}
	})
}
