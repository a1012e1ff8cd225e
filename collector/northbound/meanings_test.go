package northbound

import (
	"errors"
	"net/http"
	"testing"
)

func TestMeaning(t *testing.T) {
	for code, want := range map[string]string{
		"100428":  "device is not online",                         // of a command
		"103028":  "licence is used up",                           // of a registration
		"105005":  "batch task does not exist",                    // of a call
		"1010009": "more calls a minute than the platform allows", // of any call
		"100501":  "platform is congested",                        // of a call and of a command
		"999999":  "",
		"unknown": "",
		"":        "",
	} {
		if got := Meaning(code); got != want {
			t.Errorf("%q: %q, want %q", code, got, want)
		}
	}
}

func TestEveryKnownCodeHasAMeaning(t *testing.T) {
	for code := range meanings {
		if Meaning(code) == "" {
			t.Errorf("%s has no meaning", code)
		}
	}
}

// A code that is documented for subtasks says nothing of a call that fails
// with it.
func TestCodesOfSubtasksAreNoRefusals(t *testing.T) {
	err := &Error{Operation: OperationTaskDetails, Kind: KindPlatform, HTTPStatus: http.StatusInternalServerError, Code: "100428"}
	for _, sentinel := range []error{
		ErrThrottled, ErrTokenInvalid, ErrNotAuthorized, ErrApplicationNotFound, ErrTaskNotFound, ErrInvalidInput, ErrCredentials, ErrInternal,
	} {
		if errors.Is(err, sentinel) {
			t.Errorf("it is %v", sentinel)
		}
	}
	if !err.Temporary() {
		t.Error("a failure of the platform with a code that says nothing of calls is not repeated")
	}
}
