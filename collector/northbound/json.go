package northbound

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decodeRefusal reads an answer of which nothing but a refusal is expected.
func decodeRefusal(r io.Reader) (refusal, error) {
	_, ref, err := decodeMembers(r)
	return ref, err
}

// decodeMembers reads a small object.
func decodeMembers(r io.Reader) (map[string]json.RawMessage, refusal, error) {
	var ref refusal
	members := make(map[string]json.RawMessage)
	dec := json.NewDecoder(r)
	err := eachMember(dec, func(key string) error {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		members[key] = value
		ref.set(key, value)
		return nil
	})
	return members, ref, err
}

// eachMember walks through the object that is all of the input. The function
// reads the member's value.
func eachMember(dec *json.Decoder, value func(key string) error) error {
	token, err := dec.Token()
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the answer is empty")
	case err != nil:
		return notJSON(err)
	case token != json.Delim('{'):
		return errors.New("the answer is not a JSON object")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return notJSON(err)
		}
		if err := value(key.(string)); err != nil { //nolint:forcetypeassert // the decoder takes no other keys
			return notJSON(err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return notJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end of the answer")
	}
	return nil
}

// notJSON makes an end within the object an unexpected one.
func notJSON(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
		fallthrough
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the answer is truncated: %w", err)
	case errors.As(err, &syntax):
		return fmt.Errorf("the answer is not valid JSON: %w", err)
	}
	return err
}

// withoutValue keeps the value of a wrong type, and Go's names, out of an error.
func withoutValue(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		if wrong.Field == "" {
			return errors.New("not an object")
		}
		return fmt.Errorf("%s has the wrong type", wrong.Field)
	}
	return err
}

// text takes a string, or a number as it is written. Null leaves it empty.
type text string

func (t *text) UnmarshalJSON(raw []byte) error {
	if s, ok := unquote(raw); ok {
		*t = text(s)
		return nil
	}
	switch {
	case string(raw) == "null":
		return nil
	case len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'):
		*t = text(raw)
		return nil
	}
	return errors.New("neither a string nor a number")
}

// count reads a number of things, which may come as text or as a decimal
// fraction without a fraction.
func count(raw json.RawMessage, missing int) (int, error) {
	s := strings.TrimSpace(plain(raw))
	if s == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(s, 10, 0)
	if err != nil {
		f, ferr := strconv.ParseFloat(s, 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
			return 0, errors.New("not a whole number")
		}
		n = int64(f)
	}
	if n < 0 {
		return 0, errors.New("a negative number")
	}
	return int(n), nil
}

// plain returns what a string holds, nothing for null or a missing value, and
// the JSON text of anything else.
func plain(raw json.RawMessage) string {
	if s, ok := unquote(raw); ok {
		return s
	}
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	return valid(string(raw))
}

// unquote returns what a JSON string holds.
func unquote(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if inner := raw[1 : len(raw)-1]; raw[len(raw)-1] == '"' && isPlain(inner) {
		return string(inner), true
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}

// isPlain tells whether a string stands in JSON as it is.
func isPlain(s []byte) bool {
	for _, b := range s {
		if b < ' ' || b == '"' || b == '\\' || b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// rawJSON keeps the JSON text of a value, and nothing of null.
func rawJSON(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return bytes.ToValidUTF8(raw, []byte("\uFFFD"))
}

// valid replaces what is not UTF-8, as encoding/json does inside strings.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func isDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// oneLine makes text fit for a line of a log.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, s))
}

// cut shortens text to at most so many bytes, between two characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
