package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"penstock/request"
)

// DefaultAuthor is the author of a change by somebody who gave no name.
const DefaultAuthor = "operator"

// AdminToken is one secret that opens the admin plane.
type AdminToken struct {
	// Name is the author of what is changed with it. Empty is the one token without a name, whose
	// users may name themselves when they log in.
	Name string
	// Secret is what has to be sent; one that is empty opens nothing.
	Secret string
	// ReadOnly: it may look and change nothing.
	ReadOnly bool
}

// identity is who asks the admin plane.
type identity struct {
	// author is what the ledger says of a change; named: it is that of a token or of a login, and not
	// only DefaultAuthor.
	author string
	named  bool
	// reserved are the names of tokens, under which nobody else can sign.
	reserved []string
	// readOnly: the token may change nothing.
	readOnly bool
	// session is the login that the request came with, nil if there was none.
	session *session
}

type identityKey struct{}

// AuthorOf names who asks, for what is written down about a change: the name of the token, the name
// given at the login, or DefaultAuthor.
func AuthorOf(ctx context.Context) string {
	if id, ok := ctx.Value(identityKey{}).(*identity); ok && id.author != "" {
		return id.author
	}
	return DefaultAuthor
}

func identityOf(r *http.Request) *identity {
	if id, ok := r.Context().Value(identityKey{}).(*identity); ok {
		return id
	}
	return &identity{author: DefaultAuthor}
}

// tokenHash is how a secret is compared and remembered: not even its length shows.
type tokenHash [sha256.Size]byte

func hashToken(secret string) tokenHash { return sha256.Sum256([]byte(secret)) }

// matchToken finds the token of a secret. It compares with every one of them, each in constant time.
func matchToken(tokens []AdminToken, secret string) (AdminToken, bool) {
	sent := hashToken(secret)
	found := -1
	for i := range tokens {
		own := hashToken(tokens[i].Secret)
		if subtle.ConstantTimeCompare(sent[:], own[:]) == 1 && tokens[i].Secret != "" {
			found = i
		}
	}
	if found < 0 {
		return AdminToken{}, false
	}
	return tokens[found], true
}

// sentSecret is the secret of the Authorization header, with the name beside it.
func sentSecret(r *http.Request) (name, secret string, ok bool) {
	if scheme, value, found := strings.Cut(r.Header.Get("Authorization"), " "); found && strings.EqualFold(scheme, "Bearer") {
		return "", strings.TrimSpace(value), true
	}
	return r.BasicAuth()
}

const maxAuthorBytes = 64

// authorName is the author that a token and a name given beside it make. The name counts only for
// the token without one, and nobody can take the name of another token.
func authorName(t AdminToken, tokens []AdminToken, given string) string {
	if t.Name != "" {
		return t.Name
	}
	if checkAuthor(namesOf(tokens), given) != nil || given == "" {
		return DefaultAuthor
	}
	return given
}

func namesOf(tokens []AdminToken) (names []string) {
	for _, t := range tokens {
		if t.Name != "" {
			names = append(names, t.Name)
		}
	}
	return names
}

// checkAuthor says what is wrong with a name that somebody gives himself.
func checkAuthor(reserved []string, name string) error {
	if len(name) > maxAuthorBytes {
		return fmt.Errorf("the name is over %d bytes; take a shorter one", maxAuthorBytes)
	}
	for _, c := range name {
		if c < ' ' || c == 0x7f || c == 0xfffd {
			return errors.New("the name holds a control character; take letters, digits, spaces and . _ @ -")
		}
	}
	for _, r := range reserved {
		if strings.EqualFold(r, strings.TrimSpace(name)) {
			return fmt.Errorf("the name %.64q is that of a token (admin.tokens); use that token or take another name", name)
		}
	}
	return nil
}

// signed fills in the author of a change, and checks who signs and why. What the token or the login says
// counts; only who has no name by them can give one.
func signed(ctx context.Context, author *string, note string) (faults []request.FieldError) {
	id, ok := ctx.Value(identityKey{}).(*identity)
	switch {
	case ok && id.named:
		*author = id.author
	case *author == "":
		*author = AuthorOf(ctx)
	default:
		var reserved []string
		if ok {
			reserved = id.reserved
		}
		if err := checkAuthor(reserved, *author); err != nil {
			faults = append(faults, request.FieldError{Pointer: "/author", Detail: err.Error()})
		}
	}
	if len(note) > maxNote {
		faults = append(faults, request.FieldError{Pointer: "/note", Detail: "note is over 1000 bytes"})
	}
	return faults
}

// identify finds out who asks: by a session's cookie, or by what the Authorization header says.
// With no token configured everybody is the operator.
func (a *admin) identify(r *http.Request, tokens []AdminToken) (*identity, error) {
	if len(tokens) == 0 {
		return &identity{author: DefaultAuthor}, nil
	}
	if s := a.sessions.find(r, tokens, time.Now()); s != nil {
		return &identity{author: s.author, named: s.author != DefaultAuthor, reserved: namesOf(tokens), readOnly: s.readOnly, session: s}, nil
	}
	name, secret, ok := sentSecret(r)
	if !ok || secret == "" {
		return nil, request.Errorf(request.ProblemUnauthorized, "send the admin.token as \"Authorization: Bearer TOKEN\", or log in at /login")
	}
	t, err := a.try(r, tokens, secret)
	if err != nil {
		return nil, err
	}
	author := authorName(t, tokens, name)
	return &identity{author: author, named: author != DefaultAuthor, reserved: namesOf(tokens), readOnly: t.ReadOnly}, nil
}

// try checks a secret, unless this client has guessed wrong too often.
func (a *admin) try(r *http.Request, tokens []AdminToken, secret string) (AdminToken, error) {
	client := clientAddress(r)
	if wait := a.guesses.wait(client, time.Now()); wait > 0 {
		return AdminToken{}, &request.Error{Problem: request.ProblemRateLimited, RetryAfter: wait,
			Detail: "too many wrong tokens came from this address; wait before you try again"}
	}
	t, ok := matchToken(tokens, secret)
	if !ok {
		a.guesses.failed(client, time.Now())
		a.log.WarnContext(r.Context(), "a wrong admin token was sent", "client", client)
		return AdminToken{}, request.Errorf(request.ProblemUnauthorized, "the token is not one of admin.token and admin.tokens")
	}
	return t, nil
}
