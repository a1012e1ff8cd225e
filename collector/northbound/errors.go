package northbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"
)

// The platform's refusals, matched with [errors.Is]. The platform uses one HTTP
// status for several of them, and several statuses for one; only the code tells.
var (
	// ErrThrottled: flow control refused the call (codes 1010009 and 100501, HTTP status 429).
	ErrThrottled = errors.New("refused by flow control")
	// ErrTokenInvalid: the access token has expired or a newer sign-in replaced it (1010005).
	ErrTokenInvalid = errors.New("access token is not valid")
	// ErrNotAuthorized: the task is of an application that did not authorize this one (100217).
	ErrNotAuthorized = errors.New("application is not authorized")
	// ErrApplicationNotFound: the platform does not know the application (100203).
	ErrApplicationNotFound = errors.New("application does not exist")
	// ErrTaskNotFound: the platform does not know the task (105005).
	ErrTaskNotFound = errors.New("batch task does not exist")
	// ErrInvalidInput: a parameter is not valid (100022, 100019, 50400).
	ErrInvalidInput = errors.New("invalid input")
	// ErrCredentials: a sign-in was refused for the application's id or secret,
	// or because the application is frozen (100208, 102202, 100247).
	ErrCredentials = errors.New("credentials refused")
	// ErrInternal: the platform failed (50252).
	ErrInternal = errors.New("internal error of the platform")
	// ErrSignInPaused: no call was sent, because a sign-in was refused or tokens
	// keep dying, and the next sign-in waits. The error that is matched by it
	// wraps the cause too.
	ErrSignInPaused = errors.New("sign-in paused")
)

// Kind says how a call failed.
type Kind string

// The kinds of failure.
const (
	KindPlatform   Kind = "platform"   // the platform answered with an error code
	KindTimeout    Kind = "timeout"    // no complete answer in time
	KindConnection Kind = "connection" // the network, a proxy or the platform's port
	KindTLS        Kind = "tls"        // certificates, on either side
	KindMalformed  Kind = "malformed"  // an answer that is none of the API's: HTML, truncated, too large, a redirect, …
	KindCanceled   Kind = "canceled"   // the caller gave up
)

// Error is a call that failed. It never holds a secret or a token.
type Error struct {
	Operation   Operation
	Kind        Kind
	HTTPStatus  int           // 0 where none was read
	Code        string        // the platform's error_code; empty where none was read
	Description string        // the platform's error_desc
	RetryAfter  time.Duration // from the header of that name; 0 where there was none
	Err         error         // what lies beneath; may be nil
}

// Error says what happened and, where it is known, what can be done.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Operation))
	if e.Kind == KindPlatform {
		fmt.Fprintf(&b, ": refused with code %s", e.Code)
		if e.Description != "" {
			fmt.Fprintf(&b, " %q", e.Description)
		}
	} else {
		fmt.Fprintf(&b, ": %s", e.Kind)
	}
	if e.HTTPStatus != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.HTTPStatus)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if hint := e.hint(); hint != "" {
		fmt.Fprintf(&b, "; %s", hint)
	}
	return b.String()
}

// Unwrap returns what lies beneath.
func (e *Error) Unwrap() error { return e.Err }

// Is matches the sentinels of this package by the error code.
func (e *Error) Is(target error) bool {
	switch {
	case target == ErrThrottled && e.HTTPStatus == http.StatusTooManyRequests:
		return true
	case target == ErrCredentials && !e.signIn():
		return false
	}
	is := meanings[e.Code].is
	return is != nil && is == target
}

// Label names the failure in few words, for a metric: the platform's code, or
// the kind where there is none.
func (e *Error) Label() string {
	if e.Code != "" {
		return e.Code
	}
	return string(e.Kind)
}

// Temporary tells whether the same call, repeated soon, can help: after a
// failed connection, an answer that broke off, an internal error, or a 5xx
// status without a code that is known to mean something else.
//
// It is false for flow control, which a repeat only makes worse, and for a
// timeout: it has cost its time already, and the platform may still be at work
// on the first call.
func (e *Error) Temporary() bool {
	if errors.Is(e, ErrThrottled) {
		return false
	}
	switch e.Kind {
	case KindConnection:
		return true
	case KindMalformed:
		return e.HTTPStatus >= 500 || errors.Is(e.Err, io.ErrUnexpectedEOF)
	case KindPlatform:
		known := meanings[e.Code].is != nil
		return errors.Is(e, ErrInternal) || !known && e.HTTPStatus >= 500
	}
	return false
}

func (e *Error) signIn() bool {
	return e.Operation == OperationLogin || e.Operation == OperationRefreshToken
}

// answered tells whether the call was answered, not just lost on the way or at
// a gateway.
func (e *Error) answered() bool {
	return e.Kind == KindPlatform || e.Kind == KindMalformed && e.HTTPStatus < 500
}

// refused tells whether the answer was a refusal that a repeat does not change.
func (e *Error) refused() bool {
	// From 500 on it is temporary.
	return (e.Kind == KindPlatform || e.Kind == KindMalformed && e.HTTPStatus >= 400) &&
		!errors.Is(e, ErrThrottled) && !e.Temporary()
}

func (e *Error) hint() string {
	switch e.Kind {
	case KindPlatform:
		return meanings[e.Code].hint
	case KindConnection:
		return "check address, port, proxy and firewalls"
	case KindTLS:
		return tlsHint(e.Err)
	}
	return ""
}

func tlsHint(err error) string {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		header    tls.RecordHeaderError
		alert     *net.OpError
		file      *fs.PathError
	)
	switch {
	case errors.As(err, &authority):
		return "check that ca_file holds the CA that signed the platform's certificate"
	case errors.As(err, &hostname):
		return "check the address, or set server_name to a name in the platform's certificate"
	case errors.As(err, &header):
		return "check the port, and whether it speaks https at all"
	case errors.As(err, &file):
		return "check that the file exists and may be read"
	case errors.As(err, &alert) && alert.Op == opRemoteAlert:
		return "the platform refused the handshake: check the client certificate and its key (cert_file, key_file) and the TLS version"
	}
	return "check ca_file, server_name, the client certificate and its key, and the TLS version"
}

// TLSError marks an error of a transport as one of TLS where its type does not
// tell, as with certificates that cannot be read.
type TLSError struct{ Err error }

func (e *TLSError) Error() string { return e.Err.Error() }

// Unwrap returns what lies beneath.
func (e *TLSError) Unwrap() error { return e.Err }

// Operations of a [net.OpError] by which crypto/tls reports an alert.
const (
	opRemoteAlert = "remote error"
	opLocalAlert  = "local error"
)

// transportKind sorts an error of the transport.
func transportKind(err error) Kind {
	var (
		verification *tls.CertificateVerificationError
		header       tls.RecordHeaderError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		roots        x509.SystemRootsError
		algorithm    x509.InsecureAlgorithmError
		constraint   x509.ConstraintViolationError
		file         *fs.PathError // certificates may be read anew at every handshake
		marked       *TLSError
		op           *net.OpError
		timeout      net.Error
	)
	switch {
	case errors.As(err, &verification), errors.As(err, &header), errors.As(err, &authority),
		errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &roots),
		errors.As(err, &algorithm), errors.As(err, &constraint), errors.As(err, &file), errors.As(err, &marked):
		return KindTLS
	case errors.As(err, &op) && (op.Op == opRemoteAlert || op.Op == opLocalAlert):
		return KindTLS
	case errors.As(err, &timeout) && timeout.Timeout():
		return KindTimeout
	}
	return KindConnection
}

// unsentError is a call that the limiter did not let pass.
type unsentError struct {
	operation Operation
	err       error
}

func (e *unsentError) Error() string { return fmt.Sprintf("%s: not sent: %v", e.operation, e.err) }
func (e *unsentError) Unwrap() error { return e.err }
