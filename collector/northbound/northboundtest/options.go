package northboundtest

import (
	"net/http"
	"time"
)

// Option changes how a platform behaves.
type Option func(*options)

type options struct {
	middleware []func(http.Handler) http.Handler

	// Answers.
	errorsUnder200       bool
	numericErrorCodes    bool
	unknownApplicationAs *refusal

	// taskDetails.
	refuseWaitResult bool
	maxPageSize      int
	oversize         oversize
	unpagedByDefault bool
	defaultPageSize  int
	order            RowOrder
	shuffleSeed      uint64
	lies             lies

	// tasks/{taskId}.
	noTaskSummary bool
	counterLag    time.Duration
	expiredApart  bool

	// Sign-in.
	tokenLifetime        time.Duration
	refreshTokenLifetime time.Duration
	expiresInText        bool
	noRefreshToken       bool

	// Call limit.
	callLimit       int
	fixedMinute     bool
	countRefused    bool
	uncountedSignIn bool
	throttled       *refusal

	// Server.
	plainHTTP          bool
	clientCertificates bool
	certificateNames   []string
}

// oversize is what happens to a pageSize over the maximum.
type oversize int

const (
	oversizeRefused        oversize = iota
	oversizeClamped                 // the answer states the size used
	oversizeClampedQuietly          // the answer states the size asked for
)

func defaults() options {
	return options{
		unknownApplicationAs: errNoApplication,
		maxPageSize:          250,
		defaultPageSize:      25,
		tokenLifetime:        time.Hour,
		refreshTokenLifetime: 24 * time.Hour,
		callLimit:            100,
		throttled:            errThrottled,
	}
}

// WithMiddleware wraps the platform, for faults of any kind: delays, cut
// connections, answers of proxies. The first middleware is the outermost. Calls
// that it answers itself are recorded too, but cost nothing of the call limit.
// Use [http.NewResponseController] to flush, hijack or set deadlines.
func WithMiddleware(m func(http.Handler) http.Handler) Option {
	return func(o *options) { o.middleware = append(o.middleware, m) }
}

// WithErrorsUnder200 sends errors with HTTP status 200, as part of the
// platform's API family does.
func WithErrorsUnder200() Option {
	return func(o *options) { o.errorsUnder200 = true }
}

// WithNumericErrorCodes sends the top-level error_code as a number, not a string.
func WithNumericErrorCodes() Option {
	return func(o *options) { o.numericErrorCodes = true }
}

// WithUnknownApplicationAs500 sends 100203 (the application is not existed)
// with HTTP status 500, not 403; the documents have both.
func WithUnknownApplicationAs500() Option {
	return func(o *options) { o.unknownApplicationAs = errNoApplication5 }
}

// WithoutWaitResultFilter refuses WaitResult as a status filter (400/100022),
// as the documents that do not name it suggest. Rows still have that status.
func WithoutWaitResultFilter() Option {
	return func(o *options) { o.refuseWaitResult = true }
}

// WithMaxPageSize sets the largest pageSize; 0 allows any. Without this option
// it is 250, from the newest document. A larger one is refused with 400/100022.
func WithMaxPageSize(rows int) Option {
	return func(o *options) { o.maxPageSize = rows }
}

// WithPageSizeClamped uses the largest allowed pageSize in place of a larger
// one, and states it in the answer.
func WithPageSizeClamped() Option {
	return func(o *options) { o.oversize = oversizeClamped }
}

// WithPageSizeClampedSilently uses the largest allowed pageSize in place of a
// larger one, while the answer states the one that was asked for.
func WithPageSizeClampedSilently() Option {
	return func(o *options) { o.oversize = oversizeClampedQuietly }
}

// WithUnpagedByDefault answers all rows where pageNo is absent, whatever
// pageSize says, as the older documents have it; without this option an absent
// pageNo is page 0. The answer then states the number of its rows as pageSize.
func WithUnpagedByDefault() Option {
	return func(o *options) { o.unpagedByDefault = true }
}

// WithDefaultPageSize sets the pageSize where it is absent. Without this option
// it is 25, from the newest document; the older ones say 1.
func WithDefaultPageSize(rows int) Option {
	return func(o *options) { o.defaultPageSize = rows }
}

// RowOrder is the order of rows in taskDetails, which no document names.
type RowOrder int

// The orders that do not change between calls, unless the task does.
const (
	ByPosition          RowOrder = iota // as in [Task.Subtasks]
	NewestFinishedFirst                 // unfinished rows last, by position
	OldestFinishedFirst                 // unfinished rows last, by position
	shuffled
)

// WithRowOrder sets the order of rows; without it they come [ByPosition].
func WithRowOrder(order RowOrder) Option {
	return func(o *options) { o.order = order }
}

// WithShuffledRows gives the rows another order at every call, so that pages
// overlap and leave gaps. The same seed and sequence of calls give the same
// orders.
func WithShuffledRows(seed uint64) Option {
	return func(o *options) { o.order, o.shuffleSeed = shuffled, seed }
}

// WithoutTaskSummary makes tasks/{taskId} unknown to the platform: HTTP 404
// without an error code.
func WithoutTaskSummary() Option {
	return func(o *options) { o.noTaskSummary = true }
}

// WithCounterLag makes the counters of tasks/{taskId} tell what was true some
// time ago.
func WithCounterLag(lag time.Duration) Option {
	return func(o *options) { o.counterLag = lag }
}

// WithExpiredApart takes subtasks that timed out before they were sent to the
// device out of timeoutCnt and completeCnt of tasks/{taskId}, and counts them
// as expiredCnt. Without this option expiredCnt is 0.
func WithExpiredApart() Option {
	return func(o *options) { o.expiredApart = true }
}

// WithTokenLifetime sets how long an access token holds, one hour without this
// option. The answer states it in whole seconds.
func WithTokenLifetime(d time.Duration) Option {
	return func(o *options) { o.tokenLifetime = d }
}

// WithRefreshTokenLifetime sets how long a refresh token holds: 24 hours
// without this option, from the REST documents; those of the SDKs say a month.
func WithRefreshTokenLifetime(d time.Duration) Option {
	return func(o *options) { o.refreshTokenLifetime = d }
}

// WithExpiresInAsText sends expiresIn as a string of digits, not a number.
func WithExpiresInAsText() Option {
	return func(o *options) { o.expiresInText = true }
}

// WithoutRefreshToken sends null as refreshToken.
func WithoutRefreshToken() Option {
	return func(o *options) { o.noRefreshToken = true }
}

// WithCallLimit sets how many calls an application has in a minute, 100 without
// this option; 0 switches the limit off.
func WithCallLimit(calls int) Option {
	return func(o *options) { o.callLimit = calls }
}

// WithFixedMinute counts calls by the minute of the clock; without this option
// those of the last 60 seconds count.
func WithFixedMinute() Option {
	return func(o *options) { o.fixedMinute = true }
}

// WithRefusedCallsCounted counts calls that the limit refused, so that an
// application that keeps calling stays shut out.
func WithRefusedCallsCounted() Option {
	return func(o *options) { o.countRefused = true }
}

// WithUncountedSignIn leaves login and refreshToken out of the call limit.
func WithUncountedSignIn() Option {
	return func(o *options) { o.uncountedSignIn = true }
}

// WithThrottle sets how calls over the limit are refused; without this option
// with 403/1010009. Known relatives are 503/100501 and HTTP status 429.
// Retry-After, in seconds rounded up, is left out where retryAfter is 0.
func WithThrottle(status int, code string, retryAfter time.Duration) Option {
	desc := errThrottled.desc
	if code != errThrottled.code {
		desc = descriptions[code]
	}
	return func(o *options) {
		o.throttled = &refusal{status: status, code: code, desc: desc, retryAfter: retryAfter}
	}
}

// WithPlainHTTP makes [NewServer] speak HTTP without TLS. [New] ignores it.
func WithPlainHTTP() Option {
	return func(o *options) { o.plainHTTP = true }
}

// WithClientCertificates makes [NewServer] refuse clients without a certificate
// of its authority (mutual TLS). [New] ignores it.
func WithClientCertificates() Option {
	return func(o *options) { o.clientCertificates = true }
}

// WithCertificateNames makes the certificate of [NewServer] valid for these DNS
// names only, and not for the loopback address in its URL: clients have to
// override the server name, as for a platform that is reached by its bare
// address. [New] ignores it.
func WithCertificateNames(names ...string) Option {
	return func(o *options) { o.certificateNames = names }
}
