package northbound_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"huawei_iot_batch_exporter/collector/northbound"
)

// sentinels by a short name, for tables.
var sentinels = map[string]error{
	"throttled":     northbound.ErrThrottled,
	"token":         northbound.ErrTokenInvalid,
	"unauthorized":  northbound.ErrNotAuthorized,
	"noApplication": northbound.ErrApplicationNotFound,
	"noTask":        northbound.ErrTaskNotFound,
	"input":         northbound.ErrInvalidInput,
	"credentials":   northbound.ErrCredentials,
	"internal":      northbound.ErrInternal,
	"paused":        northbound.ErrSignInPaused,
}

func matched(err error) string {
	for _, name := range slices.Sorted(maps.Keys(sentinels)) {
		if errors.Is(err, sentinels[name]) {
			return name
		}
	}
	return ""
}

// verdict is what a caller can learn of a failed call.
type verdict struct {
	Kind       northbound.Kind
	Status     int
	Label      string
	Is         string
	Temporary  bool
	RetryAfter time.Duration
}

func judge(t *testing.T, err error) verdict {
	t.Helper()
	var failed *northbound.Error
	if !errors.As(err, &failed) {
		t.Fatalf("error: %v", err)
	}
	return verdict{failed.Kind, failed.HTTPStatus, failed.Label(), matched(err), failed.Temporary(), failed.RetryAfter}
}

func TestAnswersThatAreFailures(t *testing.T) {
	const (
		plat = northbound.KindPlatform
		bad  = northbound.KindMalformed
	)
	code := func(code string) string { return fmt.Sprintf(`{"error_code":%q,"error_desc":"words"}`, code) }
	page := func(rows string) string {
		return `{"pageNo":0,"pageSize":1,"totalCount":1,"taskDetails":` + rows + `}`
	}
	for name, test := range map[string]struct {
		status  int
		content string // type; JSON by default
		header  http.Header
		body    string
		want    verdict
	}{
		// What the documents list.
		"input":                  {status: 400, body: code("100022"), want: verdict{plat, 400, "100022", "input", false, 0}},
		"input of task":          {status: 400, body: code("100019"), want: verdict{plat, 400, "100019", "input", false, 0}},
		"no application":         {status: 403, body: code("100203"), want: verdict{plat, 403, "100203", "noApplication", false, 0}},
		"no application as 500":  {status: 500, body: code("100203"), want: verdict{plat, 500, "100203", "noApplication", false, 0}},
		"not authorized":         {status: 403, body: code("100217"), want: verdict{plat, 403, "100217", "unauthorized", false, 0}},
		"throttled":              {status: 403, body: code("1010009"), want: verdict{plat, 403, "1010009", "throttled", false, 0}},
		"no task":                {status: 404, body: code("105005"), want: verdict{plat, 404, "105005", "noTask", false, 0}},
		"internal":               {status: 500, body: code("50252"), want: verdict{plat, 500, "50252", "internal", true, 0}},
		"congested":              {status: 503, body: code("100501"), want: verdict{plat, 503, "100501", "throttled", false, 0}},
		"sign-in code elsewhere": {status: 401, body: code("100208"), want: verdict{plat, 401, "100208", "", false, 0}},
		"unknown code":           {status: 400, body: code("7"), want: verdict{plat, 400, "7", "", false, 0}},
		"unknown code as 500":    {status: 500, body: code("7"), want: verdict{plat, 500, "7", "", true, 0}},

		// How they may come.
		"under 200":               {status: 200, body: code("105005"), want: verdict{plat, 200, "105005", "noTask", false, 0}},
		"as a number":             {status: 200, body: `{"error_code":1010009}`, want: verdict{plat, 200, "1010009", "throttled", false, 0}},
		"as HTML by its type":     {status: 403, content: "text/html", body: code("1010009"), want: verdict{plat, 403, "1010009", "throttled", false, 0}},
		"as HTML under 200":       {status: 200, content: "text/html", body: code("1010009"), want: verdict{plat, 200, "1010009", "throttled", false, 0}},
		"as a redirect":           {status: 302, body: code("105005"), want: verdict{plat, 302, "105005", "noTask", false, 0}},
		"beside good things":      {status: 200, body: `{"taskDetails":[],"totalCount":0,"error_code":"50252"}`, want: verdict{plat, 200, "50252", "internal", true, 0}},
		"beside wrong things":     {status: 200, body: `{"totalCount":"x","taskDetails":null,"error_code":"50252"}`, want: verdict{plat, 200, "50252", "internal", true, 0}},
		"and then broken off":     {status: 200, body: `{"error_code":"1010009","error_desc":"app thr`, want: verdict{plat, 200, "1010009", "throttled", false, 0}},
		"very long code":          {status: 400, body: code(strings.Repeat("é", 50)), want: verdict{plat, 400, strings.Repeat("é", 32), "", false, 0}},
		"cut before a character":  {status: 400, body: code("7" + strings.Repeat("é", 50)), want: verdict{plat, 400, "7" + strings.Repeat("é", 31), "", false, 0}},
		"code of full length":     {status: 400, body: code(strings.Repeat("7", 64)), want: verdict{plat, 400, strings.Repeat("7", 64), "", false, 0}},
		"empty code":              {status: 400, body: code(""), want: verdict{bad, 400, "malformed", "", false, 0}},
		"null code":               {status: 400, body: `{"error_code":null}`, want: verdict{bad, 400, "malformed", "", false, 0}},
		"only deeper down":        {status: 400, body: `{"error":{"error_code":"105005"}}`, want: verdict{bad, 400, "malformed", "", false, 0}},
		"only in the text":        {status: 404, body: `"error_code":"105005"`, want: verdict{bad, 404, "malformed", "", false, 0}},
		"behind much else":        {status: 400, body: `{"x":"` + strings.Repeat("x", 100_000) + `","error_code":"1"}`, want: verdict{bad, 400, "malformed", "", false, 0}},
		"429":                     {status: 429, content: "text/plain", body: "slow down", want: verdict{bad, 429, "malformed", "throttled", false, 0}},
		"retry after seconds":     {status: 429, header: http.Header{"Retry-After": {"120"}}, body: code("1010009"), want: verdict{plat, 429, "1010009", "throttled", false, 2 * time.Minute}},
		"retry after a date":      {status: 503, header: http.Header{"Retry-After": {"Sat, 01 Jan 2000 00:05:00 GMT"}}, body: code("100501"), want: verdict{plat, 503, "100501", "throttled", false, 5 * time.Minute}},
		"retry after a past date": {status: 503, header: http.Header{"Retry-After": {"Sat, 01 Jan 1999 00:05:00 GMT"}}, body: code("100501"), want: verdict{plat, 503, "100501", "throttled", false, 0}},
		"retry after a lifetime":  {status: 503, header: http.Header{"Retry-After": {"999999999999"}}, body: code("100501"), want: verdict{plat, 503, "100501", "throttled", false, 24 * time.Hour}},
		"retry after a word":      {status: 503, header: http.Header{"Retry-After": {"-5 soon"}}, body: code("100501"), want: verdict{plat, 503, "100501", "throttled", false, 0}},

		// Answers of somebody else.
		"bad gateway":       {status: 502, content: "text/html", body: "<html>", want: verdict{bad, 502, "malformed", "", true, 0}},
		"empty 500":         {status: 500, want: verdict{bad, 500, "malformed", "", true, 0}},
		"forbidden":         {status: 403, content: "text/html", body: "<html>", want: verdict{bad, 403, "malformed", "", false, 0}},
		"redirect":          {status: 302, header: http.Header{"Location": {"https://elsewhere.example/"}}, want: verdict{bad, 302, "malformed", "", false, 0}},
		"no content":        {status: 204, want: verdict{bad, 204, "malformed", "", false, 0}},
		"created":           {status: 201, body: emptyPage, want: verdict{bad, 201, "malformed", "", false, 0}},
		"empty":             {status: 200, want: verdict{bad, 200, "malformed", "", false, 0}},
		"page in HTML":      {status: 200, content: "text/html; charset=utf-8", body: emptyPage, want: verdict{bad, 200, "malformed", "", false, 0}},
		"HTML as JSON":      {status: 200, body: "<html>", want: verdict{bad, 200, "malformed", "", false, 0}},
		"truncated":         {status: 200, body: page(`[{"status":"Fail"}`)[:50], want: verdict{bad, 200, "malformed", "", true, 0}},
		"truncated key":     {status: 200, body: `{"pageNo":1,"pa`, want: verdict{bad, 200, "malformed", "", true, 0}},
		"truncated end":     {status: 200, body: strings.TrimSuffix(emptyPage, "}"), want: verdict{bad, 200, "malformed", "", true, 0}},
		"trailing garbage":  {status: 200, body: emptyPage + "x", want: verdict{bad, 200, "malformed", "", false, 0}},
		"two documents":     {status: 200, body: emptyPage + emptyPage, want: verdict{bad, 200, "malformed", "", false, 0}},
		"null":              {status: 200, body: "null", want: verdict{bad, 200, "malformed", "", false, 0}},
		"array":             {status: 200, body: "[]", want: verdict{bad, 200, "malformed", "", false, 0}},
		"string":            {status: 200, body: `"ok"`, want: verdict{bad, 200, "malformed", "", false, 0}},
		"object of nothing": {status: 200, body: `{}`, want: verdict{bad, 200, "malformed", "", false, 0}},
		"deep":              {status: 200, body: `{"x":` + strings.Repeat("[", 20_000), want: verdict{bad, 200, "malformed", "", false, 0}},
		"too large":         {status: 200, body: page(`[{"status":"Fail","output":"` + strings.Repeat("x", 1<<20) + `"}]`), want: verdict{bad, 200, "malformed", "", false, 0}},

		// Wrong shapes.
		"rows are null":         {status: 200, body: page(`null`), want: verdict{bad, 200, "malformed", "", false, 0}},
		"rows are missing":      {status: 200, body: `{"totalCount":1}`, want: verdict{bad, 200, "malformed", "", false, 0}},
		"rows are an object":    {status: 200, body: page(`{}`), want: verdict{bad, 200, "malformed", "", false, 0}},
		"rows are text":         {status: 200, body: page(`"none"`), want: verdict{bad, 200, "malformed", "", false, 0}},
		"row is null":           {status: 200, body: page(`[null]`), want: verdict{bad, 200, "malformed", "", false, 0}},
		"row is a number":       {status: 200, body: page(`[1]`), want: verdict{bad, 200, "malformed", "", false, 0}},
		"row without a status":  {status: 200, body: page(`[{"status":"Fail"},{"output":"x"}]`), want: verdict{bad, 200, "malformed", "", false, 0}},
		"status is a number":    {status: 200, body: page(`[{"status":1}]`), want: verdict{bad, 200, "malformed", "", false, 0}},
		"total is negative":     {status: 200, body: `{"totalCount":-1,"taskDetails":[]}`, want: verdict{bad, 200, "malformed", "", false, 0}},
		"total is a fraction":   {status: 200, body: `{"totalCount":1.5,"taskDetails":[]}`, want: verdict{bad, 200, "malformed", "", false, 0}},
		"total is huge":         {status: 200, body: `{"totalCount":1e999,"taskDetails":[]}`, want: verdict{bad, 200, "malformed", "", false, 0}},
		"total is a list":       {status: 200, body: `{"totalCount":[],"taskDetails":[]}`, want: verdict{bad, 200, "malformed", "", false, 0}},
		"page number is a word": {status: 200, body: `{"pageNo":"first","taskDetails":[]}`, want: verdict{bad, 200, "malformed", "", false, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the clock of the dates
				p := &platform{onGet: func(*http.Request) (*http.Response, error) {
					if test.content == "" {
						test.content = "application/json;charset=UTF-8"
					}
					response := answer(test.status, test.content, test.body)
					maps.Copy(response.Header, test.header)
					return response, nil
				}}
				c := newClient(t, p, northbound.WithMaxAnswerSize(1<<20))
				err := read(t.Context(), c)
				if diff := cmp.Diff(test.want, judge(t, err)); diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
				expectCalls(t, p, "login get")
			})
		})
	}
}

func TestSignInCodes(t *testing.T) {
	for _, code := range []string{"100208", "100247", "102202"} {
		p := &platform{onLogin: func(*http.Request) (*http.Response, error) {
			return jsonAnswer(400, `{"error_code":"`+code+`"}`), nil
		}}
		if err := newClient(t, p).SignIn(t.Context()); !errors.Is(err, northbound.ErrCredentials) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestCarelessContentTypesAreTaken(t *testing.T) {
	for _, content := range []string{"", "application/json", "text/plain; charset=utf-8", "application/problem+json", "application/octet-stream", "application/json; charset"} {
		p := &platform{onGet: func(*http.Request) (*http.Response, error) { return answer(200, content, emptyPage), nil }}
		if err := read(t.Context(), newClient(t, p)); err != nil {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// What the platform or the transport echoes must not bring a secret to light.
func TestNoSecretInErrors(t *testing.T) {
	echo := func(secrets string) hook {
		return func(*http.Request) (*http.Response, error) {
			return jsonAnswer(400, `{"error_code":"`+secrets+`","error_desc":"`+strings.Repeat("x", 490)+`not `+secrets+` \n"}`), nil
		}
	}
	leak := func(secret string) hook {
		return func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("proxy: %w", &url.Error{Op: "Get", URL: r.URL.String(), Err: errors.New("sent " + secret)})
		}
	}
	for name, p := range map[string]*platform{
		"login":            {onLogin: echo(secret)},
		"refresh":          {onRefresh: echo("refresh-1 " + secret), life: "1"},
		"call":             {onGet: echo("token-1")},
		"login, transport": {onLogin: leak(secret)},
		"call, transport":  {onGet: leak("Bearer token-1")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var texts []string
				c := newClient(t, p, northbound.WithObserver(func(call northbound.Call) {
					if call.Err != nil {
						texts = append(texts, fmt.Sprintf("%v %#v", call.Err, call.Err))
					}
				}))
				for range 2 {
					if err := read(t.Context(), c); err != nil {
						texts = append(texts, err.Error())
					}
					texts = append(texts, fmt.Sprintf("%+v", c.Session()))
					time.Sleep(time.Second)
				}
				all := strings.Join(texts, "\n")
				if !strings.Contains(all, "400") && !strings.Contains(all, "connection") {
					t.Errorf("no failure in %s", all)
				}
				for _, s := range []string{secret, secret[:6], "token-1", "refresh-1", "taskId=t"} {
					if strings.Contains(all, s) {
						t.Errorf("%q is in %s", s, all)
					}
				}
			})
		})
	}
}

func TestTransportFailures(t *testing.T) {
	wrap := func(err error) error { return &url.Error{Op: "Get", URL: base, Err: fmt.Errorf("proxy: %w", err)} }
	for name, test := range map[string]struct {
		err       error
		kind      northbound.Kind
		temporary bool
	}{
		"refused":             {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, northbound.KindConnection, true},
		"dial timeout":        {&net.DNSError{IsTimeout: true}, northbound.KindTimeout, false},
		"unknown name":        {&net.DNSError{IsNotFound: true}, northbound.KindConnection, true},
		"verification":        {&tls.CertificateVerificationError{Err: errors.New("no")}, northbound.KindTLS, false},
		"plain HTTP":          {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, northbound.KindTLS, false},
		"unknown authority":   {x509.UnknownAuthorityError{}, northbound.KindTLS, false},
		"wrong name":          {x509.HostnameError{Host: "a", Certificate: &x509.Certificate{}}, northbound.KindTLS, false},
		"expired certificate": {x509.CertificateInvalidError{Reason: x509.Expired}, northbound.KindTLS, false},
		"alert":               {&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, northbound.KindTLS, false},
		"own alert":           {&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}, northbound.KindTLS, false},
		"certificate file":    {&fs.PathError{Op: "open", Path: "client.pem", Err: fs.ErrNotExist}, northbound.KindTLS, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &platform{onGet: func(*http.Request) (*http.Response, error) { return nil, wrap(test.err) }}
			err := read(t.Context(), newClient(t, p))
			want := verdict{Kind: test.kind, Label: string(test.kind), Temporary: test.temporary}
			if diff := cmp.Diff(want, judge(t, err)); diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if test.kind != northbound.KindTimeout && !strings.Contains(err.Error(), "; check ") && !strings.Contains(err.Error(), ": check ") {
				t.Errorf("the error does not say what to do: %v", err)
			}
		})
	}
}

// TestRealConnections lets the standard library fail as it does.
func TestRealConnections(t *testing.T) {
	start := func(t *testing.T, withTLS bool, configure func(*httptest.Server), handler http.HandlerFunc) *httptest.Server {
		s := httptest.NewUnstartedServer(handler)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		if configure != nil {
			configure(s)
		}
		if withTLS {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return s
	}
	page := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, emptyPage) }
	call := func(t *testing.T, url string, rt http.RoundTripper) error {
		c, err := northbound.NewClient(url, northbound.Credentials{AppID: appID, AccessToken: func() (string, error) { return "tok", nil }},
			northbound.WithTransport(rt), northbound.WithCallTimeout(10*time.Second), northbound.WithMaxAnswerSize(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		return read(t.Context(), c)
	}
	expect := func(t *testing.T, err error, kind northbound.Kind, hint string) {
		t.Helper()
		if got := judge(t, err); got.Kind != kind || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v (kind %s)\nwant kind %s and %q", err, got.Kind, kind, hint)
		}
	}

	t.Run("unknown authority", func(t *testing.T) {
		s := start(t, true, nil, page)
		expect(t, call(t, s.URL, &http.Transport{}), northbound.KindTLS, "ca_file")
	})
	t.Run("other name", func(t *testing.T) {
		s := start(t, true, nil, page)
		rt := s.Client().Transport.(*http.Transport).Clone()
		rt.TLSClientConfig.ServerName = "platform.test"
		expect(t, call(t, s.URL, rt), northbound.KindTLS, "server_name")
	})
	t.Run("client certificate is missing", func(t *testing.T) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s := start(t, true, func(s *httptest.Server) {
				s.TLS.ClientAuth = tls.RequireAnyClientCert
				s.TLS.MaxVersion = version
			}, page)
			expect(t, call(t, s.URL, s.Client().Transport), northbound.KindTLS, "refused the handshake: check the client certificate")
		}
	})
	t.Run("version is too old", func(t *testing.T) {
		s := start(t, true, func(s *httptest.Server) { s.TLS.MaxVersion = tls.VersionTLS12 }, page)
		rt := s.Client().Transport.(*http.Transport).Clone()
		rt.TLSClientConfig.MinVersion = tls.VersionTLS13
		expect(t, call(t, s.URL, rt), northbound.KindTLS, "TLS version")
	})
	t.Run("HTTPS to an HTTP port", func(t *testing.T) {
		s := start(t, false, nil, page)
		expect(t, call(t, strings.Replace(s.URL, "http:", "https:", 1), &http.Transport{}), northbound.KindTLS, "https")
	})
	t.Run("HTTP to an HTTPS port", func(t *testing.T) {
		s := start(t, true, nil, page)
		expect(t, call(t, strings.Replace(s.URL, "https:", "http:", 1), &http.Transport{}), northbound.KindMalformed, "base URL")
	})
	t.Run("nobody listens", func(t *testing.T) {
		s := start(t, false, nil, page)
		s.Close()
		expect(t, call(t, s.URL, &http.Transport{}), northbound.KindConnection, "check address")
	})
	t.Run("answer breaks off", func(t *testing.T) {
		s := start(t, false, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"taskDetails":[`)
		})
		err := call(t, s.URL, &http.Transport{})
		expect(t, err, northbound.KindMalformed, "truncated")
		if !judge(t, err).Temporary {
			t.Error("not temporary")
		}
	})
	t.Run("connection breaks off", func(t *testing.T) {
		s := start(t, false, nil, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
		})
		expect(t, call(t, s.URL, &http.Transport{}), northbound.KindConnection, "check address")
	})
	t.Run("redirect", func(t *testing.T) {
		other := start(t, false, nil, func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("followed with %v", r.Header)
		})
		s := start(t, false, nil, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		})
		expect(t, call(t, s.URL, &http.Transport{}), northbound.KindMalformed, "redirect")
	})
	t.Run("compressed", func(t *testing.T) {
		s := start(t, false, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "application/json")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, emptyPage)
			_ = z.Close()
		})
		if err := call(t, s.URL, &http.Transport{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("small only while compressed", func(t *testing.T) {
		s := start(t, false, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "application/json")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, `{"totalCount":"`+strings.Repeat(" ", 2<<20)+`0","taskDetails":[]}`)
			_ = z.Close()
		})
		expect(t, call(t, s.URL, &http.Transport{}), northbound.KindMalformed, "larger than 1048576 bytes")
	})
	t.Run("compressed badly", func(t *testing.T) {
		s := start(t, false, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, emptyPage)
		})
		expect(t, call(t, s.URL, &http.Transport{}), northbound.KindMalformed, "gzip")
	})
}

func TestAnswerOfExactlyTheMaximum(t *testing.T) {
	for most, fits := range map[int]bool{len(emptyPage): true, len(emptyPage) - 1: false} {
		c, err := northbound.NewClient(base, northbound.Credentials{AppID: appID, AccessToken: func() (string, error) { return "tok", nil }},
			northbound.WithTransport(&platform{valid: "tok"}), northbound.WithMaxAnswerSize(int64(most)))
		if err != nil {
			t.Fatal(err)
		}
		if err := read(t.Context(), c); (err == nil) != fits {
			t.Errorf("at most %d of %d bytes: %v", most, len(emptyPage), err)
		}
	}
}

// Who gets the wrong hint looks in the wrong place.
func TestOnlyRedirectsAreCalledSo(t *testing.T) {
	for status, want := range map[int]bool{299: false, 300: true, 399: true, 400: false} {
		p := &platform{onGet: func(*http.Request) (*http.Response, error) { return answer(status, "text/html", "<html>"), nil }}
		err := read(t.Context(), newClient(t, p))
		if got := strings.Contains(err.Error(), "redirect"); got != want {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		`task_details: refused with code 105005 "The batchTask is not existed" (HTTP 404); check the task's id; the platform may have removed the task`: &northbound.Error{
			Operation: "task_details", Kind: "platform", HTTPStatus: 404, Code: "105005", Description: "The batchTask is not existed",
		},
		`login: timeout: no complete answer within 30s`: &northbound.Error{
			Operation: "login", Kind: "timeout", Err: errors.New("no complete answer within 30s"),
		},
		`task: canceled: context canceled`: &northbound.Error{Operation: "task", Kind: "canceled", Err: context.Canceled},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
