package collector

import (
	"errors"

	"huawei_iot_batch_exporter/collector/northbound"
)

// health is whether the platform is reachable and the credentials hold. One
// task whose answers are broken does not speak for the application: of the calls
// since a scrape began, one that was answered is enough.
type health struct {
	known     bool // a call has ended that tells
	reachable bool // before the scrape under way
	answered  int  // calls since the scrape began
	failed    int
	refused   bool  // the last sign-in was refused
	dead      bool  // the last token was, when it was used
	silent    bool  // no call could be sent: the credentials cannot be read
	err       error // what last spoke against it
}

// turn begins a new scrape.
func (h *health) turn() {
	h.reachable = h.reach()
	h.answered, h.failed = 0, 0
}

func (h *health) reach() bool {
	return h.answered > 0 || h.failed == 0 && h.reachable
}

func (h *health) up() (up, known bool) {
	return h.reach() && !h.refused && !h.dead && !h.silent, h.known
}

// silence notes that no call could be sent, and why.
func (h *health) silence(err error) { h.known, h.silent, h.err = true, true, err }

// forgive forgets what was held against credentials that have been replaced.
func (h *health) forgive() { h.refused, h.dead, h.silent = false, false, false }

// note takes in how a call ended. A token whose time was over speaks for nothing:
// the client gets another one.
func (h *health) note(call northbound.Call, expired bool) {
	h.silent = false
	e, failed := asError(call.Err)
	signIn := call.Operation == northbound.OperationLogin || call.Operation == northbound.OperationRefreshToken
	switch {
	case failed && (e.Kind == northbound.KindCanceled || e.Is(northbound.ErrThrottled)):
		return
	case failed && e.Kind != northbound.KindPlatform:
		h.failed++
	case call.Operation == northbound.OperationRefreshToken:
		h.answered++ // a refusal is normal: the client logs in then
	case signIn:
		h.answered++
		h.refused = failed
	case failed && e.Is(northbound.ErrTokenInvalid):
		h.answered++
		h.dead = h.dead || !expired
	default:
		h.answered++
		h.dead = false
	}
	h.known = true
	if failed {
		h.err = call.Err
	}
}

// asError finds the client's error in err.
func asError(err error) (*northbound.Error, bool) {
	var e *northbound.Error
	ok := errors.As(err, &e)
	return e, ok
}
