package faults

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// good is an answer that would do, but for what a row makes of it.
const good = `{"pageNo":0,"pageSize":250,"totalCount":1,"taskDetails":[{"status":"Fail","error":"{\"error_code\":\"1\"}","param":{"deviceId":"d"}}]}`

// TestAnswers: what comes in place of a page of one task is no answer of the API.
func TestAnswers(t *testing.T) {
	malformed := func(status int) []string { return []string{fmt.Sprintf("task_details %d malformed", status)} }
	inFakeTime(t, []fault{
		// Of others than the platform.
		{name: "a proxy's page", hits: oneTask, counted: malformed(200), begin: toVictim(says(200, "text/html", "<html>Sign in to the network</html>"))},
		{name: "a proxy's page that holds an error_code", hits: oneTask, counted: malformed(200), begin: toVictim(says(200, "text/html", `<pre>{"error_code":"105005"}`))},
		{name: "a proxy's 502", hits: oneTask, counted: malformed(502), begin: toVictim(says(502, "text/html", "<h1>Bad gateway</h1>"))},
		{name: "a proxy's 404", hits: oneTask, counted: malformed(404), begin: toVictim(says(404, "text/plain", "not found"))},
		{name: "a proxy wants to be signed in to", hits: oneTask, counted: malformed(407), begin: toVictim(says(407, "text/plain", ""))},
		{name: "JSON of something else", hits: oneTask, counted: malformed(503), begin: toVictim(says(503, "application/json", `{"message":"no healthy upstream"}`))},

		// HTTP without an answer in it.
		{name: "204", hits: oneTask, counted: malformed(204), begin: toVictim(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusNoContent) })},
		{name: "an empty body", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(""))},
		{name: "blanks", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(" \n\t "))},
		{name: "informational answers first", hits: nothing, begin: toVictim(func(w http.ResponseWriter, r *http.Request, sound http.Handler) {
			for range 3 {
				w.WriteHeader(http.StatusProcessing)
			}
			w.WriteHeader(http.StatusEarlyHints)
			sound.ServeHTTP(w, r)
		})},
		{scrapes: 1, name: "informational answers without end", hits: oneTask, counted: []string{"task_details connection"}, begin: toVictim(raw(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000), 0))},
		{name: "101 to another protocol", hits: oneTask, counted: malformed(101), begin: toVictim(raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 1))},
		{name: "no HTTP", hits: oneTask, counted: []string{"task_details connection"}, begin: toVictim(raw("SSH-2.0-OpenSSH_9.6\r\n", 1))},
		{name: "a connection that is cut", hits: oneTask, counted: []string{"task_details connection"}, begin: toVictim(raw("", 1))},
		{scrapes: 1, name: "headers that never end", hits: oneTask, counted: []string{"task_details connection"}, begin: toVictim(raw("HTTP/1.1 200 OK\r\n"+strings.Repeat("X-More: of the same\r\n", 1000), 0))},
		{scrapes: 1, name: "one header that never ends", hits: oneTask, counted: []string{"task_details connection"}, begin: toVictim(raw("HTTP/1.1 200 OK\r\nX-More: "+strings.Repeat("x", 1<<20), 0))},

		// Not the JSON that is documented.
		{name: "null", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON("null"))},
		{name: "an array", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON("[" + good + "]"))},
		{name: "a string", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`"ok"`))},
		{name: "an empty object", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON("{}"))},
		{name: "no rows", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":1}`))},
		{name: "rows null", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":1,"taskDetails":null}`))},
		{name: "rows that are no array", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":1,"taskDetails":"none"}`))},
		{name: "a row that is no object", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":1,"taskDetails":[7]}`))},
		{name: "a row without status", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":1,"taskDetails":[{"output":""}]}`))},
		{name: "a status that is an object", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":1,"taskDetails":[{"status":{}}]}`))},
		{name: "totalCount that is no number", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":"many","taskDetails":[]}`))},
		{name: "totalCount negative", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":-1,"taskDetails":[]}`))},
		{name: "totalCount beyond all numbers", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":1e400,"taskDetails":[]}`))},
		{name: "numbers as text", hits: nothing, begin: toVictim(edited(func(b []byte) []byte {
			return regexp.MustCompile(`"(totalCount|pageNo|pageSize)": ?(\d+)`).ReplaceAll(b, []byte(`"$1":"$2"`))
		}))},
		{name: "numbers as decimal fractions", hits: nothing, begin: toVictim(edited(func(b []byte) []byte {
			return regexp.MustCompile(`"(totalCount|pageNo|pageSize)": ?(\d+)`).ReplaceAll(b, []byte(`"$1":$2.0`))
		}))},
		{name: "members that nobody knows", hits: nothing, begin: toVictim(edited(func(b []byte) []byte {
			return bytes.Replace(b, []byte("{"), []byte(`{"more":{"of":["this",{"error_code":"1"}]},`), 1)
		}))},

		// JSON that is none.
		{name: "truncated", hits: oneTask, counted: malformed(200), begin: toVictim(edited(func(b []byte) []byte { return b[:len(b)/2] }))},
		{name: "truncated under its Content-Length", hits: oneTask, counted: malformed(200), begin: toVictim(raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"+good[:40], 1))},
		{name: "something behind it", hits: oneTask, counted: malformed(200), begin: toVictim(edited(func(b []byte) []byte { return append(b, "<!-- proxied -->"...) }))},
		{name: "two answers", hits: oneTask, counted: malformed(200), begin: toVictim(edited(func(b []byte) []byte { return append(b, b...) }))},
		{name: "a byte order mark", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON("\ufeff" + good))},
		{name: "bytes that are no UTF-8 around the JSON", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON("\xff" + good))},
		{name: "deep nesting", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"totalCount":` + strings.Repeat("[", 1_000_000)))},
		{name: "deep nesting where nothing is read", hits: oneTask, counted: malformed(200), begin: toVictim(saysJSON(`{"more":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000) + "," + good[1:]))},

		// Bodies that are meant to hurt.
		{scrapes: 1, name: "a gigabyte in one string", hits: oneTask, counted: malformed(200), begin: toVictim(gigabyte(`{"totalCount":1,"taskDetails":[{"status":"`, "x"))},
		{scrapes: 1, name: "a gigabyte of refusal", hits: oneTask, counted: malformed(400), begin: toVictim(func(w http.ResponseWriter, r *http.Request, sound http.Handler) {
			w.WriteHeader(http.StatusBadRequest)
			gigabyte(`{"error_code":"`, "1")(w, r, sound)
		})},
		{scrapes: 1, name: "a gzip bomb", hits: oneTask, counted: malformed(200), begin: toVictim(bomb)},
		{name: "gzip that is none", hits: oneTask, counted: malformed(200), begin: toVictim(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, good)
		})},
		{name: "a byte a second", hits: oneTask, counted: []string{"task_details 200 timeout"}, begin: toVictim(dripping(good))},
		{name: "blanks, a byte a second", hits: oneTask, counted: []string{"task_details 200 timeout"}, begin: toVictim(dripping(strings.Repeat(" ", 1000)))},
		{name: "no answer", hits: oneTask, counted: []string{"task_details timeout"}, begin: toVictim(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })},
		{name: "slow, but in time", hits: nothing, begin: toVictim(func(w http.ResponseWriter, r *http.Request, sound http.Handler) {
			time.Sleep(3 * time.Second)
			sound.ServeHTTP(w, r)
		})},
	})
}

// edited changes the platform's own answer.
func edited(edit func([]byte) []byte) breakage {
	return func(w http.ResponseWriter, r *http.Request, sound http.Handler) {
		recorder := httptest.NewRecorder()
		sound.ServeHTTP(recorder, r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(recorder.Code)
		_, _ = w.Write(edit(recorder.Body.Bytes()))
	}
}

// raw writes text to the connection, some times or (0) without end, and closes it.
func raw(text string, times int) breakage {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = connection.Close() }()
		for n := 0; n < times || times == 0; n++ {
			if _, err := io.WriteString(connection, text); err != nil {
				return
			}
		}
	}
}

// gigabyte answers with so much text.
func gigabyte(before, text string) breakage {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		_, _ = io.WriteString(w, before)
		chunk := []byte(strings.Repeat(text, 1<<20))
		for range 1 << 10 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

// packed are some kilobytes that unpack to a quarter of a gigabyte.
var packed = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	_, _ = io.WriteString(w, `{"totalCount":"`) // memory does not fail
	for range 1 << 8 {
		_, _ = w.Write(chunk)
	}
	_ = w.Close()
	return b.Bytes()
})

func bomb(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(packed())
}

// dripping answers with a byte a second.
func dripping(text string) breakage {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		for i := range len(text) {
			_, _ = io.WriteString(w, text[i:i+1])
			_ = http.NewResponseController(w).Flush() // the other side may be gone
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return
			}
		}
	}
}
