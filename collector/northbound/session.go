package northbound

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Session is the state of a sign-in, for a status page. It holds no token.
type Session struct {
	// SignedIn tells whether there is a token that is thought to be valid.
	SignedIn bool
	// Since is when the token was got; zero if there is none.
	Since time.Time
	// ExpiresAt is when the platform will end the token; zero if there is none
	// or another program keeps it.
	ExpiresAt time.Time
	// EarlyDeaths counts tokens that the platform refused before they expired,
	// as it does when another program signs in as the same application.
	EarlyDeaths int
	// PausedUntil is when the next sign-in may be tried; zero if at once.
	PausedUntil time.Time
	// Err is why the last sign-in failed or the last token died; nil if all is
	// well, or nothing was tried so far.
	Err error
}

const (
	// After a refusal, or a token that died young.
	minPause = 30 * time.Second
	maxPause = 5 * time.Minute
	// After a login that failed for another reason: the platform out of reach, say.
	firstPause = 5 * time.Second
	lastPause  = time.Minute
	// settledAge is how long a token has to live for its end to be no sign of
	// another program that fights for the application. It is more than
	// maxPause, or two programs that pause in turns would never see it.
	settledAge = 10 * time.Minute
)

// pause doubles from minPause to maxPause with the number of failures in a row.
func pause(failures int) time.Duration {
	return min(minPause<<min(failures-1, 8), maxPause)
}

// tokens is where the access tokens come from.
type tokens interface {
	// token returns a token, having made sure of one.
	token(ctx context.Context) (string, error)
	// latest returns what has replaced the token since it was returned, or the
	// token itself. It is called just before the token is used.
	latest(token string) string
	// renew returns a token instead of one that the platform refused.
	renew(ctx context.Context, token string, refused *Error) (string, error)
	// reject tells that the platform refused a token.
	reject(token string, refused *Error)
	session() Session
	// secrets returns what nobody may see.
	secrets() []string
}

// grant is what a sign-in brings.
type grant struct {
	access, refresh string
	since           time.Time
	life            time.Duration
}

// loginTokens signs in with the application's secret.
type loginTokens struct {
	client  *Client
	secret  func() (string, error)
	account *account
}

// account is the state of an application's sign-in.
type account struct {
	mu      sync.Mutex
	attempt *attempt // under way; nil if none is

	secret           string // last signed in with
	grant                   // no access token: none, or it is known to be dead
	renewAt, expires time.Time
	early            int    // tokens that died before their time
	streak           int    // such tokens in a row, all but the first of them young
	refusals         int    // logins refused in a row
	stumbles         int    // logins in a row that failed without being refused
	refusedSecret    string // with which the last login was refused
	pausedUntil      time.Time
	cause            *Error // why it is paused
	err              error  // why there is no token
}

// attempt is a sign-in that all who need a token wait for.
type attempt struct {
	done  chan struct{}
	token string // valid once done is closed, as is err
	err   error
}

func (l loginTokens) token(ctx context.Context) (string, error) {
	a := l.account
	for {
		a.mu.Lock()
		if access := a.access; access != "" && time.Now().Before(a.renewAt) {
			a.mu.Unlock()
			return access, nil
		}
		try := a.attempt
		own := try == nil
		if own {
			try = &attempt{done: make(chan struct{})}
			a.attempt = try
			go l.run(ctx, try)
		}
		a.mu.Unlock()

		select {
		case <-try.done:
		case <-ctx.Done():
			kind := KindTimeout
			if errors.Is(ctx.Err(), context.Canceled) {
				kind = KindCanceled
			}
			return "", &Error{Operation: OperationLogin, Kind: kind, Err: fmt.Errorf("while waiting for the sign-in: %w", ctx.Err())}
		}
		// What the limiter said, it said to another caller. Whoever comes
		// first takes over.
		var unsent *unsentError
		if own || !errors.As(try.err, &unsent) {
			return try.token, try.err
		}
	}
}

func (l loginTokens) latest(token string) string {
	a := l.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.access != "" {
		return a.access
	}
	return token
}

func (l loginTokens) renew(ctx context.Context, token string, refused *Error) (string, error) {
	l.reject(token, refused)
	return l.token(ctx)
}

func (l loginTokens) reject(token string, refused *Error) {
	a := l.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if token != a.access {
		return // it has been replaced already
	}
	now := time.Now()
	lived, life := now.Sub(a.since), a.life
	a.grant = grant{} // its refresh token too: only a login is sure to help
	a.err = refused
	if !now.Before(a.expires) {
		a.streak = 0
		return
	}
	a.early++
	if lived >= min(settledAge, life/2) {
		a.streak = 1
		return
	}
	a.streak++
	if a.streak > 1 {
		a.pausedUntil, a.cause = now.Add(pause(a.streak-1)), refused
	}
}

func (l loginTokens) session() Session {
	a := l.account
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	s := Session{EarlyDeaths: a.early, Err: a.err}
	if a.access != "" && now.Before(a.expires) {
		s.SignedIn, s.Since, s.ExpiresAt = true, a.since, a.expires
	}
	if now.Before(a.pausedUntil) {
		s.PausedUntil = a.pausedUntil
	}
	return s
}

func (l loginTokens) secrets() []string {
	a := l.account
	a.mu.Lock()
	defer a.mu.Unlock()
	return []string{a.secret, a.access, a.refresh}
}

// run carries out an attempt and tells those who wait.
func (l loginTokens) run(ctx context.Context, try *attempt) {
	defer close(try.done)
	granted, err := l.signIn(ctx)

	a := l.account
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attempt = nil
	if err != nil {
		var unsent *unsentError
		if !errors.As(err, &unsent) && !errors.Is(err, ErrSignInPaused) {
			a.err = err
		}
		if a.outlives(err) {
			try.token = a.access
		} else {
			try.err = err
		}
		return
	}
	if a.access != "" { // the earlier token served its time
		a.streak = 0
	}
	margin := min(2*time.Minute, granted.life/10)
	a.grant = *granted
	a.expires = granted.since.Add(granted.life)
	a.renewAt = a.expires.Add(-margin)
	a.refusals, a.stumbles, a.refusedSecret = 0, 0, ""
	a.pausedUntil, a.cause, a.err = time.Time{}, nil, nil
	try.token = granted.access
}

// outlives tells whether the token can be used on, although its renewal failed:
// its time is not over, and the renewal was not refused. If it was lost on the
// way, it may have ended the token all the same; then the next call will tell.
func (a *account) outlives(err error) bool {
	var (
		unsent *unsentError
		failed *Error
	)
	switch {
	case errors.As(err, &unsent):
		return false
	case errors.As(err, &failed) && failed.answered():
		return false
	}
	return a.access != "" && time.Now().Before(a.expires)
}

// signIn refreshes the token, or logs in where there is none or its refresh was
// refused.
func (l loginTokens) signIn(ctx context.Context) (*grant, error) {
	secret, err := l.secret()
	if err != nil {
		return nil, fmt.Errorf("%s: not sent: read the application's secret: %w", OperationLogin, err)
	}
	if secret == "" {
		return nil, fmt.Errorf("%s: not sent: the application's secret is empty", OperationLogin)
	}
	refreshToken, err := l.account.begin(secret)
	if err != nil {
		return nil, err
	}

	var failed *Error
	if refreshToken != "" {
		granted, err := l.client.refresh(ctx, secret, refreshToken)
		if err == nil {
			return granted, nil
		}
		if !errors.As(err, &failed) || errors.Is(err, ErrThrottled) {
			return nil, err
		}
		// A refresh token is used once: an exchange that broke off may have
		// used it up. That is no reason to log in at once, though.
		l.account.dropRefresh()
		if !failed.answered() {
			return nil, err
		}
	}

	granted, err := l.client.login(ctx, secret)
	switch {
	case !errors.As(err, &failed) || errors.Is(err, ErrThrottled): // the limiter's to say
	case failed.refused():
		l.account.refuse(secret, failed)
	default:
		l.account.stumble(secret, failed)
	}
	return granted, err
}

// begin returns the refresh token, if there is one, or [ErrSignInPaused]. A
// refused secret does not stand in the way of another one.
func (a *account) begin(secret string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secret = secret
	left := time.Until(a.pausedUntil)
	if left > 0 && (a.refusals == 0 || a.refusedSecret == secret) {
		return "", fmt.Errorf("%w for another %s: %w", ErrSignInPaused, left.Round(time.Second), a.cause)
	}
	return a.refresh, nil
}

// stumble notes a login that failed, though not for what it said. One repeat may
// follow at once.
func (a *account) stumble(secret string, failed *Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stumbles++
	if a.stumbles > 1 {
		pause := min(firstPause<<min(a.stumbles-2, 8), lastPause)
		a.pausedUntil, a.cause, a.refusedSecret = time.Now().Add(pause), failed, secret
	}
}

func (a *account) dropRefresh() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refresh = ""
}

func (a *account) refuse(secret string, refused *Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if secret != a.refusedSecret {
		a.refusals = 0
	}
	a.refusals++
	a.refusedSecret = secret
	a.pausedUntil, a.cause = time.Now().Add(pause(a.refusals)), refused
}

// givenTokens takes the token that another program keeps.
type givenTokens struct {
	read func() (string, error)

	mu    sync.Mutex
	last  string
	since time.Time
	err   error // why the last token is not valid
}

var errGivenToken = errors.New("the access token that was given is not valid (any more), and was not replaced: " +
	"see to it that the program that keeps it signs in again and hands the new one over")

func (g *givenTokens) token(context.Context) (string, error) {
	token, err := g.read()
	token = strings.TrimSpace(token) // files end with a line break
	switch {
	case err != nil:
		err = fmt.Errorf("not sent: read the access token: %w", err)
	case !headerSafe(token):
		err = errors.New("not sent: the access token is empty, or has blanks or control characters in it")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.last, g.err = "", err
		return "", err
	}
	if token != g.last {
		g.last, g.since, g.err = token, time.Now(), nil
	}
	return token, nil
}

func (g *givenTokens) latest(token string) string {
	if now, err := g.token(context.Background()); err == nil {
		return now
	}
	return token
}

func (g *givenTokens) renew(ctx context.Context, token string, refused *Error) (string, error) {
	now, err := g.token(ctx)
	if err != nil {
		return "", err
	}
	if now == token {
		g.reject(token, refused)
		explained := *refused
		explained.Err = errGivenToken
		return "", &explained
	}
	return now, nil
}

func (g *givenTokens) reject(token string, refused *Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if token == g.last {
		g.err = refused
	}
}

func (g *givenTokens) session() Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Session{Err: g.err}
	if g.last != "" && g.err == nil {
		s.SignedIn, s.Since = true, g.since
	}
	return s
}

func (g *givenTokens) secrets() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return []string{g.last}
}
