package faults

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"huawei_iot_batch_exporter/collector/northbound/northboundtest"
)

const (
	tokenDied = "the access token died before its time"
	throttles = "the platform throttles"
	// died is how a revoked token is counted.
	died = "task_details 403 1010005"
)

// TestSignIn: the token has died, and the sign-in that is due fails.
func TestSignIn(t *testing.T) {
	// down is a row in which the application is down until it can sign in again.
	down := func(name, counted string, sound breakage) fault {
		return fault{
			name: name, hits: application, counted: []string{died, counted}, begin: toSignIn(sound),
			says: []string{tokenDied, "application is down"},
			// A sign-in that is refused waits for 30 s, then for 1 min; one that
			// stumbles for 5 s, 10 s, … up to 1 min.
			within: 2 * time.Minute,
		}
	}
	faults := []fault{
		down("the secret is refused", "login 401 100208", refuses(401, "100208")),
		down("the application is frozen", "login 400 100247", refuses(400, "100247")),
		down("a parameter is said to be empty", "login 400 102202", refuses(400, "102202")),
		down("refused under 200", "login 200 100208", refuses(200, "100208")),
		down("refused with a number", "login 401 100208", says(401, "application/json", `{"error_code":100208}`)),
		down("refused for a reason that nobody documents", "login 403 4711", refuses(403, "4711")),
		down("the platform's own failure", "login 500 50252", refuses(500, "50252")),
		down("a proxy's page", "login 200 malformed", says(200, "text/html", "<form>")),
		down("a proxy's 502", "login 502 malformed", says(502, "text/html", "<h1>Bad gateway</h1>")),
		down("404", "login 404 malformed", says(404, "text/plain", "404")),
		down("a redirect", "login 302 malformed", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "https://elsewhere.example/login", http.StatusFound)
		}),
		down("an empty body", "login 200 malformed", saysJSON("")),
		down("null", "login 200 malformed", saysJSON("null")),
		down("no token", "login 200 malformed", saysJSON(`{"expiresIn":3600}`)),
		down("a token that is null", "login 200 malformed", saysJSON(`{"accessToken":null}`)),
		down("a token that is an object", "login 200 malformed", saysJSON(`{"accessToken":{}}`)),
		down("a token that no header can hold", "login 200 malformed", saysJSON(`{"accessToken":"a\r\nb: c"}`)),
		down("truncated", "login 200 malformed", saysJSON(`{"accessToken":"abc`)),
		down("something behind it", "login 200 malformed", saysJSON(`{"accessToken":"abc"}{}`)),
		down("a megabyte", "login 200 malformed", saysJSON(`{"more":"`+strings.Repeat("x", 1<<20)+`","accessToken":"abc"}`)),
		down("a connection that is cut", "login connection", raw("", 1)),
		down("no answer", "login timeout", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }),
		down("a byte a second", "login 200 timeout", dripping(strings.Repeat(" ", 1000))),
	}
	for name, expires := range map[string]string{ //nolint:gosec // no credentials
		"expiresIn as text": `"3600"`, "expiresIn as a fraction": `3600.5`, "expiresIn missing": `null`,
		"expiresIn that is no number": `"soon"`, "expiresIn negative": `-5`, "expiresIn for ever": `1e300`, "refreshToken null": `3600,"refreshToken":null`,
	} {
		faults = append(faults, fault{
			name: name, hits: nothing, counted: []string{died}, says: []string{tokenDied},
			begin: func(w *world) { toSignIn(withToken(w, expires))(w) },
		})
	}
	inFakeTime(t, faults)
}

// withToken has sign-ins answered with a token that holds, and with an odd
// expiresIn.
func withToken(w *world, expires string) breakage {
	return func(rw http.ResponseWriter, r *http.Request, sound http.Handler) {
		saysJSON(fmt.Sprintf(`{"accessToken":%q,"expiresIn":%s}`, w.fleet.StealToken("fleet-id"), expires))(rw, r, sound)
	}
}

// TestTokens: what becomes of a token that there is.
func TestTokens(t *testing.T) {
	inFakeTime(t, []fault{
		{
			name: "revoked", hits: nothing, counted: []string{died}, says: []string{tokenDied},
			begin: func(w *world) { w.fleet.RevokeToken("fleet-id") },
		},
		{
			name: "stolen by another sign-in", hits: nothing, counted: []string{died}, says: []string{tokenDied},
			begin: func(w *world) { w.fleet.StealToken("fleet-id") },
		},
		{
			name: "revoked in mid-page", hits: nothing, counted: []string{died}, says: []string{tokenDied},
			begin: func(w *world) {
				once := false
				toVictim(func(rw http.ResponseWriter, r *http.Request, sound http.Handler) {
					if !once {
						once = true
						w.fleet.RevokeToken("fleet-id")
					}
					sound.ServeHTTP(rw, r)
				})(w)
			},
		},
		{
			name: "stolen again and again", hits: application, counted: []string{died},
			says: []string{"application is down"}, maySay: []string{tokenDied}, within: 6 * time.Minute,
			begin: func(w *world) {
				w.fleet.breaks(func(rw http.ResponseWriter, r *http.Request, sound http.Handler) {
					if r.URL.Path == northboundtest.TaskDetailsPath {
						w.fleet.StealToken("fleet-id")
					}
					sound.ServeHTTP(rw, r)
				})
			},
		},
		{
			name: "the application is frozen, and thawed", hits: application, counted: []string{died, "login 400 100247"},
			says: []string{tokenDied, "application is down"}, within: 2 * time.Minute,
			begin: func(w *world) { w.fleet.SetFrozen("fleet-id", true) },
			end:   func(w *world) { w.fleet.SetFrozen("fleet-id", false) },
		},
		{
			name: "the secret is another, until the file holds it", hits: application, counted: []string{died, "login 401 100208"},
			says:  []string{tokenDied, "application is down"},
			begin: func(w *world) { w.fleet.SetSecret("fleet-id", "another-secret"); w.fleet.RevokeToken("fleet-id") },
			end:   func(w *world) { w.rewrite("app.secret", "another-secret\n") },
		},
	})
}

// TestRefresh: tokens live for five minutes, so that one is refreshed while the
// fault lasts. Whatever comes of that, nothing is lost.
func TestRefresh(t *testing.T) {
	refreshing := func(name, counted string, sound breakage) fault {
		return fault{
			name: name, hits: nothing, counted: []string{counted}, scrapes: 24,
			begin: func(w *world) {
				w.fleet.breaks(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
					if r.URL.Path == northboundtest.RefreshTokenPath {
						sound(rw, r, next)
						return
					}
					next.ServeHTTP(rw, r)
				})
			},
		}
	}
	inFakeTime(t, []fault{
		{name: "nothing is wrong", hits: nothing, scrapes: 50, begin: func(*world) {}},
		refreshing("refused", "refresh_token 400 50400", refuses(400, "50400")),
		refreshing("refused as a login is", "refresh_token 401 100208", refuses(401, "100208")),
		refreshing("refused under 200", "refresh_token 200 50400", refuses(200, "50400")),
		refreshing("not known to the platform", "refresh_token 404 malformed", says(404, "text/html", "not found")),
		refreshing("an answer that is none", "refresh_token 200 malformed", saysJSON("null")),
		refreshing("the platform's own failure", "refresh_token 500 50252", refuses(500, "50252")),
		refreshing("a proxy's 502", "refresh_token 502 malformed", says(502, "text/html", "")),
		refreshing("a connection that is cut", "refresh_token connection", raw("", 1)),
		refreshing("no answer", "refresh_token timeout", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }),
	}, northboundtest.WithTokenLifetime(5*time.Minute))
}

// TestThrottle: the platform's flow control refuses calls. The application rests;
// it is not down, and nothing is hammered.
func TestThrottle(t *testing.T) {
	var faults []fault
	for _, refusal := range []struct {
		name, counted string
		answer        breakage
	}{
		{"1010009", "403 1010009", refuses(403, "1010009")},
		{"1010009 under 200", "200 1010009", refuses(200, "1010009")},
		{"congestion", "503 100501", refuses(503, "100501")},
		{"429 without a code", "429 malformed", says(429, "text/html", "slow down")},
		{"429 with Retry-After", "429 malformed", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusTooManyRequests)
		}},
		{"Retry-After that nobody can mean", "403 1010009", func(w http.ResponseWriter, r *http.Request, sound http.Handler) {
			w.Header().Set("Retry-After", "-99999999999999999999")
			refuses(403, "1010009")(w, r, sound)
		}},
	} {
		for _, lasting := range []struct {
			name    string
			scrapes int
			within  time.Duration
		}{{"for a while", 0, 4 * time.Minute}, {"for an hour", 240, 6 * time.Minute}} {
			if lasting.scrapes > 0 && refusal.name != "1010009" {
				continue // one will do
			}
			faults = append(faults, fault{
				name: refusal.name + ", " + lasting.name, hits: allTasks, counted: []string{"task_details " + refusal.counted},
				scrapes: lasting.scrapes, mayCount: []string{died}, // the token's hour may be over while the application rests
				within: lasting.within, maySay: []string{"the allowance is whole again"},
				says: []string{throttles},
				begin: func(w *world) {
					w.fleet.breaks(func(rw http.ResponseWriter, r *http.Request, sound http.Handler) {
						if strings.HasPrefix(r.URL.Path, "/iocm/app/batchtask/") {
							refusal.answer(rw, r, sound)
							return
						}
						sound.ServeHTTP(rw, r)
					})
				},
				check: func(t *testing.T, w *world, got metrics) {
					if n := w.fleet.MaxCallsIn(10 * time.Second); n > 12 {
						t.Errorf("%d calls in 10 s: that hammers", n)
					}
					if got.sum("api_throttled_total", `application="fleet"`) == 0 {
						t.Error("the throttle is not counted")
					}
				},
			})
		}
	}
	inFakeTime(t, faults)
}
