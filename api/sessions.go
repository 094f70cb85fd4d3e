package api

import (
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// sessionCookie is the cookie of a login.
	sessionCookie = "penstock_session"
	// maxSessions bounds the logins at once; a further one ends the oldest.
	maxSessions = 1000
	// DefaultSession is how long a login lasts unless set otherwise.
	DefaultSession = 12 * time.Hour
)

// session is one login. What the browser holds is a random number, which is kept here as a hash
// only.
type session struct {
	token    tokenHash // what it was opened with: gone from the configuration, the session ends
	author   string
	readOnly bool
	since    time.Time
	expires  time.Time
}

// sessions are the logins. They live in memory: a restart ends them all.
type sessions struct {
	mu sync.Mutex // guards m
	m  map[tokenHash]*session
}

// open begins a session and returns the cookie's value.
func (s *sessions) open(t AdminToken, author string, lasts time.Duration, now time.Time) (string, *session) {
	id := rand.Text()
	opened := &session{token: hashToken(t.Secret), author: author, readOnly: t.ReadOnly, since: now, expires: now.Add(lasts)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[tokenHash]*session)
	}
	if len(s.m) >= maxSessions {
		s.shrink(now)
	}
	s.m[hashToken(id)] = opened
	return id, opened
}

// shrink drops what has expired, and the oldest if that is nothing. The caller holds mu.
func (s *sessions) shrink(now time.Time) {
	var oldest tokenHash
	var at time.Time
	for key, x := range s.m {
		if !x.expires.After(now) {
			delete(s.m, key)
			continue
		}
		if at.IsZero() || x.since.Before(at) {
			oldest, at = key, x.since
		}
	}
	if len(s.m) >= maxSessions {
		delete(s.m, oldest)
	}
}

// find returns the session of a request, nil if it has none that holds. It holds while its token is
// in force with the same rights and name.
func (s *sessions) find(r *http.Request, tokens []AdminToken, now time.Time) *session {
	c, err := r.Cookie(sessionCookie)
	if err != nil || c.Value == "" {
		return nil
	}
	key := hashToken(c.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.m[key]
	if x == nil {
		return nil
	}
	if x.expires.After(now) {
		for _, t := range tokens {
			if t.Secret != "" && hashToken(t.Secret) == x.token && t.ReadOnly == x.readOnly && (t.Name == "" || t.Name == x.author) {
				return x
			}
		}
	}
	delete(s.m, key)
	return nil
}

// close ends the session of a request.
func (s *sessions) close(r *http.Request) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, hashToken(c.Value))
}

// cookie is what the browser is to keep: no script can read it, and no other site's page makes the
// browser send it.
func cookie(r *http.Request, value string, lasts time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
		MaxAge: int(lasts / time.Second),
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}
